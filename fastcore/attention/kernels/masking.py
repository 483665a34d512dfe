"""What turns raw scores into masked ones: soft cap, additive and boolean masks, position bounds.

A panel holds one key a row and one query a lane. Masked entries become -inf whatever stood there, NaN included.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of

NO_MASK, BOOL_MASK, FLOAT_MASK = 0, 1, 2

# Bounds relative to a block are clipped to this, so that 64-bit positions fit the 32-bit lanes; blocks are far smaller.
_FAR = 1 << 20


@kernel
def cap_scores(scores, vectors, factor):
    """scores <- factor * tanh(scores); the division by the cap is in the scale of the queries."""
    lanes = lanes_of(scores)
    for i in range(vectors):
        at = simd.advance(scores, i * lanes)
        simd.store(at, simd.tanh(simd.load(at, lanes)) * factor)


@kernel
def add_mask_panel(scores, mask, vectors):
    """scores <- scores + mask, and -inf where the mask is."""
    lanes = lanes_of(scores)
    for i in range(vectors):
        at = simd.advance(scores, i * lanes)
        added = simd.load(simd.advance(mask, i * lanes), lanes)
        simd.store(at, simd.select(added == -math.inf, added, simd.load(at, lanes) + added))


@kernel
def bound_scores(scores, keys, width, lowest, highest):
    """-inf where key ``j`` of the block lies outside ``[lowest + lane, highest + lane]``."""
    lanes = lanes_of(scores)
    low = min(max(lowest, -_FAR), _FAR)
    high = min(max(highest, -_FAR), _FAR)
    outside = filled(scores, -math.inf)
    for first in range(0, width, lanes):
        lane = simd.convert(simd.iota_i64(lanes), simd.i32)
        lane_low = lane + (low + first)
        lane_high = lane + (high + first)
        at = simd.advance(scores, first)
        for j in range(keys):
            inside = (lane_low <= j) & (lane_high >= j)
            simd.store(at, simd.select(inside, simd.load(at, lanes), outside))
            at = simd.advance(at, width)


@kernel
def find_peak(scores, keys, peak, width):
    """Column maxima of a masked panel."""
    lanes = lanes_of(scores)
    for first in range(0, width, lanes):
        highest = filled(scores, -math.inf)
        at = simd.advance(scores, first)
        for _ in range(keys):
            highest = simd.maximum(simd.load(at, lanes), highest)
            at = simd.advance(at, width)
        simd.store(simd.advance(peak, first), highest)


@kernel
def expand_float_mask(mask, strides, queries, keys, panel, width):
    """panel[j, lane] = mask[lane, j]; queries beyond the last one repeat it."""
    for lane in range(width):
        at = simd.advance(mask, min(lane, queries - 1) * strides[0])
        for j in range(keys):
            simd.store_scalar(simd.advance(panel, j * width + lane), simd.load_scalar(simd.advance(at, j * strides[1])))


@kernel
def expand_bool_mask(mask, strides, queries, keys, panel, width):
    """The same with 0 for True and -inf for False."""
    for lane in range(width):
        at = simd.advance(mask, min(lane, queries - 1) * strides[0])
        for j in range(keys):
            kept = simd.load_scalar(simd.advance(at, j * strides[1]))
            simd.store_scalar(simd.advance(panel, j * width + lane), 0.0 if kept != 0 else -math.inf)


@kernel
def all_finite(values, size):
    """Whether a block of rows holds neither NaN nor inf."""
    lanes = lanes_of(values.pointer)
    zero, one = filled(values.pointer, 0.0), filled(values.pointer, 1.0)
    tainted = zero
    for row in range(values.count):
        at = simd.advance(values.pointer, row * values.stride)
        for first in range(0, size, lanes):
            part = simd.load_first(simd.advance(at, first), lanes, min(size - first, lanes))
            tainted = tainted + simd.select(part - part == 0, zero, one)
    return not simd.any_lane(tainted > 0)
