"""Queries and weights in fixed point, for int8 keys and values: 16 bits, split into bytes.

The largest element of a query becomes 32767, so an element is off by at most 2^-16 of the largest one, where an 8-bit
key is off by 2^-8: of queries distributed as the keys the rounding adds 1/256 to the error that the format has anyway
(tests/kvcache/test_formats.py). The largest weight of a block of keys becomes 65535, the others are off by at
most 2^-17 of it; values that vanish beside 2^-110 count as zero.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.attention.kernels.emit_rows import LANES, WIDEST
from fastcore.attention.kernels.fixed_products import BYTES, split_weights
from fastcore.attention.kernels.peaks import peaks_of

LARGEST = 32767.0
WEIGHT_STEPS = 65535.0
# Queries and weights below count as zero: the inverse of a step would overflow.
SMALLEST = 2.0**-110
# Adding it leaves the nearest integer in the low bits of a float32.
_ROUNDER = 12582912.0
_ROUNDER_BITS = 0x4B400000


@kernel
def plane_stride(columns):
    """Bytes of the high or low bytes of one query."""
    return (columns + BYTES - 1) // BYTES * BYTES


@kernel
def largest_element(row, columns):
    """max |row|, or NaN where an element is NaN or inf."""
    lanes = lanes_of(row)
    highest, tainted = filled(row, 0.0), filled(row, 0.0)
    for first in range(0, columns, lanes):
        part = simd.load(simd.advance(row, first), lanes)
        highest = simd.maximum(simd.maximum(part, -part), highest)
        tainted = tainted + (part - part)
    return simd.reduce_max(highest) if simd.reduce_add(tainted) == 0 else math.nan


@kernel
def split_row(row, columns, high, low):
    """Write a query's high and low bytes; return the value of one step and 2^15 times the sum of its high bytes."""
    lanes = lanes_of(row)
    stride = plane_stride(columns)
    largest = largest_element(row, columns)
    to_steps = LARGEST / largest if largest > SMALLEST else 0.0
    zero = simd.convert(filled(row, 0.0), simd.i32)
    total = zero
    for first in range(0, stride, lanes):
        steps = zero
        if first < columns:
            scaled = simd.load(simd.advance(row, first), lanes) * to_steps
            steps = simd.bitcast(scaled + _ROUNDER, simd.i32) - _ROUNDER_BITS
        upper = steps >> 8
        simd.store(simd.advance(high, first), simd.convert(upper, simd.i8))
        simd.store(simd.advance(low, first), simd.convert(steps & 255, simd.i8))
        total = total + upper
    return largest / LARGEST, simd.reduce_add(total) * 32768


@kernel
def split_tile(tile, queries):
    """Fill the fixed-point form of a tile from its queries."""
    fixed = tile.fixed
    for query in range(queries):
        high = simd.advance(fixed.planes, 2 * query * fixed.stride)
        row = simd.advance(tile.queries, query * tile.columns)
        step, correction = split_row(row, tile.columns, high, simd.advance(high, fixed.stride))
        for lane in range(query, LANES, queries):
            simd.store_scalar(simd.advance(fixed.factors, lane), step)
            simd.store_scalar(simd.advance(fixed.corrections, lane), correction)


@kernel
def split_planes(planes, panel, inverse, keys, queries):
    """`split_weights` of a block of keys."""
    for key in range(0, keys, LANES):
        if queries == 1:
            split_weights(planes, panel, inverse, key, 1)
        elif queries == 2:
            split_weights(planes, panel, inverse, key, 2)
        elif queries == 4:
            split_weights(planes, panel, inverse, key, 4)
        else:
            split_weights(planes, panel, inverse, key, WIDEST)


@kernel
def split_block(panel, count, queries, planes, factors, scratch):
    """Split the weights [key, query] of a block, times their rows' scales; ``factors[query]`` is the value of one step.

    A weight that is NaN or inf makes the factor NaN. Keys from ``count`` on get weight 0.
    """
    lanes = lanes_of(panel)
    keys = (count + LANES - 1) // LANES * LANES
    for i in range(count * queries, keys * queries):
        simd.store_scalar(simd.advance(panel, i), 0.0)
    highest, total = filled(panel, 0.0), filled(panel, 0.0)
    for i in range(0, keys * queries, lanes):
        weight = simd.load(simd.advance(panel, i), lanes)
        highest = simd.maximum(weight, highest)
        total = total + weight
    highest = peaks_of(highest, queries)
    # 0, or inf where a lane of the query is NaN or inf; times 0 that is NaN.
    infinite = filled(panel, math.inf)
    tainted = peaks_of(simd.select(total - total == 0, filled(panel, 0.0), infinite), queries) * 0.0
    inverse = simd.select((highest > SMALLEST) & (tainted == 0), WEIGHT_STEPS / highest, filled(panel, 0.0))
    simd.store(factors, highest * (1.0 / WEIGHT_STEPS) + tainted)
    simd.store(scratch, inverse)
    split_planes(planes, panel, scratch, keys, queries)
