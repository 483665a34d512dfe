"""What turns raw scores into masked ones: soft cap, additive and boolean masks, position bounds.

A panel holds one key a row and one query a lane. Masked entries become -inf whatever stood there, NaN included.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.attention.kernels.panels import pack_rows, used_keys
from fastcore.attention.kernels.views import Rows

# Keys a block: a panel of weights (64 x 64 float32, 16 KiB) stays in the first-level cache. A multiple of 4: dropout
# draws its random words by fours.
BLOCK_KEYS = 64

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
def bound_scores(scores, keys, peak, width, lowest, diagonal):
    """-inf where key ``j`` lies outside ``[lowest + lane, diagonal + lane]``; ``peak`` <- the columns' maxima.

    Keys that the products do not use for a vector of queries are passed over.
    """
    lanes = lanes_of(scores)
    low = min(max(lowest, -_FAR), _FAR)
    high = min(max(diagonal, -_FAR), _FAR)
    outside = filled(scores, -math.inf)
    for first in range(0, width, lanes):
        lane = simd.convert(simd.iota_i64(lanes), simd.i32)
        lane_low = lane + (low + first)
        lane_high = lane + (high + first)
        highest = outside
        at = simd.advance(scores, first)
        for j in range(used_keys(diagonal, keys, width, first, lanes)):
            score = simd.select((lane_low <= j) & (lane_high >= j), simd.load(at, lanes), outside)
            simd.store(at, score)
            highest = simd.maximum(score, highest)
            at = simd.advance(at, width)
        simd.store(simd.advance(peak, first), highest)


@kernel
def copy_mask_rows(mask, strides, queries, keys, rows):
    """rows[i, j] = mask[i, j] for a mask whose keys do not lie side by side."""
    for i in range(queries):
        for j in range(keys):
            at = simd.advance(mask, i * strides[0] + j * strides[1])
            simd.store_scalar(simd.advance(rows, i * BLOCK_KEYS + j), simd.load_scalar(at))


@kernel
def convert_mask_rows(mask, strides, queries, keys, rows):
    """rows[i, j] = 0 where the byte mask[i, j] is set, else -inf."""
    lanes = lanes_of(rows)
    taken, dropped = filled(rows, 0.0), filled(rows, -math.inf)
    for i in range(queries):
        at = simd.advance(mask, i * strides[0])
        to = simd.advance(rows, i * BLOCK_KEYS)
        if strides[1] == 1:
            for j in range(0, keys, lanes):
                kept = simd.load_first(simd.advance(at, j), lanes, keys - j)
                simd.store(simd.advance(to, j), simd.select(kept != 0, taken, dropped))
        else:
            for j in range(keys):
                kept_scalar = simd.load_scalar(simd.advance(at, j * strides[1]))
                simd.store_scalar(simd.advance(to, j), 0.0 if kept_scalar != 0 else -math.inf)


@kernel
def expand_mask(mask, first_key, queries, keys, panel, rows, width):
    """panel[j, lane] = addend of query ``lane`` and key ``first_key + j``; ``rows`` is room for its transpose.

    A mask that is the same for all queries (stride 0) is converted once.
    """
    distinct = 1 if mask.strides[0] == 0 else queries
    start = first_key * mask.strides[1]
    if mask.kind == FLOAT_MASK and mask.strides[1] == 1:
        pack_rows(Rows(simd.advance(mask.added, start), mask.strides[0], queries), keys, panel, width)
        return
    if mask.kind == FLOAT_MASK:
        copy_mask_rows(simd.advance(mask.added, start), mask.strides, distinct, keys, rows)
    else:
        convert_mask_rows(simd.advance(mask.kept, start), mask.strides, distinct, keys, rows)
    pack_rows(Rows(rows, BLOCK_KEYS if distinct > 1 else 0, queries), keys, panel, width)


@kernel
def all_finite(values, size):
    """Whether a block of rows holds neither NaN nor inf."""
    lanes = lanes_of(values.pointer)
    zero, one = filled(values.pointer, 0.0), filled(values.pointer, 1.0)
    tainted = zero
    for row in range(values.length):
        at = simd.advance(values.pointer, row * values.stride)
        for first in range(0, size, lanes):
            part = simd.load_first(simd.advance(at, first), lanes, min(size - first, lanes))
            tainted = tainted + simd.select(part - part == 0, zero, one)
    return not simd.any_lane(tainted > 0)
