"""A few query rows against a block of stored keys: the inner part of decoding.

Scores are dot products along the head size, several keys and up to eight queries at once; a panel holds them as
[key, query], so a vector carries the same queries again and again and the softmax is lane-wise.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.attention.kernels.emit_rows import LANES, WIDEST
from fastcore.attention.kernels.fixed_products import BYTES, PLANE, add_fixed, dot_fixed
from fastcore.attention.kernels.peaks import peaks_of
from fastcore.attention.kernels.records import Ahead, QueryRows
from fastcore.attention.kernels.row_products import add_rows, dot_rows, scale_weights
from fastcore.attention.kernels.softmax import REFERENCE_MARGIN

# Units of a value row that are added at once, for up to 4 and for 8 queries: 16 sums (of 16 registers 8) stay in them.
WIDE_UNITS = 4 if simd.NUM_REGISTERS >= 32 else 2
HALF_UNITS = WIDE_UNITS // 2


@kernel
def queries_of_tile(left):
    """How many queries the next tile carries, ``left`` of them being left: 1, 2, 4 or 8."""
    if left > 4:
        return WIDEST
    if left > 2:
        return 4
    return left


@kernel
def dot_keys(out, tile, side, rows, ahead, queries):
    """out[key, query] = key . query for a vector of them."""
    base, row_bytes, scales, scale_bytes, units = side.base, side.row_bytes, side.scales, side.scale_bytes, side.units
    if queries == 1:
        dot_rows(
            out, tile.queries, tile.columns, base, row_bytes, scales, scale_bytes, rows, units, ahead.address,
            ahead.row_bytes, ahead.rows, 1,
        )  # fmt: skip
    elif queries == 2:
        dot_rows(
            out, tile.queries, tile.columns, base, row_bytes, scales, scale_bytes, rows, units, ahead.address,
            ahead.row_bytes, ahead.rows, 2,
        )  # fmt: skip
    elif queries == 4:
        dot_rows(
            out, tile.queries, tile.columns, base, row_bytes, scales, scale_bytes, rows, units, ahead.address,
            ahead.row_bytes, ahead.rows, 4,
        )  # fmt: skip
    else:
        dot_rows(
            out, tile.queries, tile.columns, base, row_bytes, scales, scale_bytes, rows, units, ahead.address,
            ahead.row_bytes, ahead.rows, WIDEST,
        )  # fmt: skip


@kernel
def dot_keys_fixed(out, fixed, side, rows, ahead, queries):
    """The same in fixed point; whether this kind of row has it."""
    planes, stride, factors, corrections = fixed.planes, fixed.stride, fixed.factors, fixed.corrections
    base, row_bytes, scales, step, columns = side.base, side.row_bytes, side.scales, side.scale_bytes, side.columns
    if queries == 1:
        return dot_fixed(
            out, planes, stride, factors, corrections, base, row_bytes, scales, step, rows, columns, ahead.address,
            ahead.row_bytes, ahead.rows, 1,
        )  # fmt: skip
    if queries == 2:
        return dot_fixed(
            out, planes, stride, factors, corrections, base, row_bytes, scales, step, rows, columns, ahead.address,
            ahead.row_bytes, ahead.rows, 2,
        )  # fmt: skip
    if queries == 4:
        return dot_fixed(
            out, planes, stride, factors, corrections, base, row_bytes, scales, step, rows, columns, ahead.address,
            ahead.row_bytes, ahead.rows, 4,
        )  # fmt: skip
    return dot_fixed(
        out, planes, stride, factors, corrections, base, row_bytes, scales, step, rows, columns, ahead.address,
        ahead.row_bytes, ahead.rows, WIDEST,
    )  # fmt: skip


@kernel
def dot_block(panel, tile, side, rows, ahead, count, queries):
    """panel[key, query] = key . query for ``count`` rows, up to a whole vector of which the table goes on."""
    for key in range(0, count, LANES // queries):
        out, table = simd.advance(panel, key * queries), simd.advance(rows, key)
        following = Ahead(ahead.address, ahead.row_bytes, simd.advance(ahead.rows, key))
        if tile.fixed.stride == 0 or not dot_keys_fixed(out, tile.fixed, side, table, following, queries):
            dot_keys(out, tile, side, table, following, queries)


@kernel
def raise_rows(tile, highest, queries, scratch):
    """Raise the references to ``highest`` and rescale what was summed so far."""
    lanes = lanes_of(scratch)
    old = simd.load(tile.reference, lanes)
    new = peaks_of(simd.maximum(highest, old), queries)
    factor = simd.softmax_exp2(old - new)
    simd.store(tile.reference, new)
    simd.store(tile.total, simd.load(tile.total, lanes) * factor)
    simd.store(scratch, factor)
    for query in range(queries):
        scale = simd.load_scalar(simd.advance(scratch, query))
        row = simd.advance(tile.accumulated, query * tile.value_columns)
        for first in range(0, tile.value_columns, lanes):
            at = simd.advance(row, first)
            simd.store(at, simd.load(at, lanes) * scale)


@kernel
def weigh_block(panel, tile, vectors, queries, scratch):
    """panel <- 2^(panel - reference) in place, the reference raised where needed; the total gains the sums."""
    lanes = lanes_of(panel)
    highest = filled(panel, -math.inf)
    for i in range(vectors):
        highest = simd.maximum(simd.load(simd.advance(panel, i * lanes), lanes), highest)
    if simd.any_lane(highest > simd.load(tile.reference, lanes) + REFERENCE_MARGIN):
        raise_rows(tile, highest, queries, scratch)
    reference = simd.load(tile.reference, lanes)
    total = simd.load(tile.total, lanes)
    for i in range(vectors):
        at = simd.advance(panel, i * lanes)
        weight = simd.softmax_exp2(simd.load(at, lanes) - reference)
        simd.store(at, weight)
        total = total + weight
    simd.store(tile.total, total)


@kernel
def add_units(weights, tile, side, rows, ahead, count, unit, queries, units):
    """Add ``units`` units of ``count`` rows, each times its weight, to the tile's sums."""
    out, stride, base, row_bytes = tile.accumulated, tile.value_columns, side.base, side.row_bytes
    scales, scale_bytes = side.scales, side.scale_bytes
    if queries == 1:
        if units == WIDE_UNITS:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 1, WIDE_UNITS,
            )  # fmt: skip
        elif units == HALF_UNITS:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 1, HALF_UNITS,
            )  # fmt: skip
        else:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 1, 1,
            )  # fmt: skip
    elif queries == 2:
        if units == WIDE_UNITS:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 2, WIDE_UNITS,
            )  # fmt: skip
        elif units == HALF_UNITS:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 2, HALF_UNITS,
            )  # fmt: skip
        else:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 2, 1,
            )  # fmt: skip
    elif queries == 4:
        if units == WIDE_UNITS:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 4, WIDE_UNITS,
            )  # fmt: skip
        elif units == HALF_UNITS:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 4, HALF_UNITS,
            )  # fmt: skip
        else:
            add_rows(
                out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
                ahead.row_bytes, ahead.rows, 4, 1,
            )  # fmt: skip
    elif units == HALF_UNITS:
        add_rows(
            out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
            ahead.row_bytes, ahead.rows, WIDEST, HALF_UNITS,
        )  # fmt: skip
    else:
        add_rows(
            out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, unit, ahead.address,
            ahead.row_bytes, ahead.rows, WIDEST, 1,
        )  # fmt: skip


@kernel
def add_block(weights, tile, side, rows, ahead, count, queries):
    """Add ``count`` rows of values, each times its weight, to the tile's sums."""
    widest = HALF_UNITS if queries == WIDEST else WIDE_UNITS
    if side.columns > side.units * LANES:  # units of several vectors
        widest = max(widest // 2, 1)
    unit = 0
    while unit < side.units:
        units = widest
        while units > side.units - unit:
            units //= 2
        add_units(weights, tile, side, rows, ahead, count, unit, queries, units)
        unit += units


@kernel
def add_block_fixed(planes, factors, tile, side, rows, ahead, count, queries):
    """`add_block` of int8 rows with the split weights of a block."""
    stride, base, row_bytes, columns = tile.value_columns, side.base, side.row_bytes, side.columns
    for first in range(0, columns, BYTES):
        for query in range(0, queries, 2):
            out = simd.advance(tile.accumulated, query * stride)
            own, factor = simd.advance(planes, 2 * query * PLANE), simd.advance(factors, query)
            if queries == 1:
                add_fixed(
                    out, stride, own, factor, base, row_bytes, side.scales, side.scale_bytes, rows, count, first,
                    columns, ahead.address, ahead.row_bytes, ahead.rows, 1,
                )  # fmt: skip
            else:
                add_fixed(
                    out, stride, own, factor, base, row_bytes, side.scales, side.scale_bytes, rows, count, first,
                    columns, ahead.address, ahead.row_bytes, ahead.rows, 2,
                )  # fmt: skip


@kernel
def has_nan(panel, elements):
    """Whether a NaN is among the elements, a whole number of vectors."""
    lanes = lanes_of(panel)
    found = False
    for first in range(0, elements, lanes):
        part = simd.load(simd.advance(panel, first), lanes)
        found = found or simd.any_lane(part != part)
    return found


@kernel
def add_visible(weights, scores, tile, side, rows, ahead, count, queries):
    """`add_block` key by key, passing over keys whose score is -inf: a NaN behind a mask must not reach the sums."""
    for query in range(queries):
        sums = simd.advance(tile.accumulated, query * tile.value_columns)
        row = QueryRows(tile.queries, tile.columns, sums, tile.value_columns, tile.reference, tile.total, tile.fixed)
        for key in range(count):
            place = key * queries + query
            if simd.load_scalar(simd.advance(scores, place)) != -math.inf:
                add_block(simd.advance(weights, place), row, side, simd.advance(rows, key), ahead, 1, 1)


@kernel
def scale_block(weights, side, rows, count, queries):
    """Multiply the weights of int8 values by the scales of their rows."""
    for key in range(0, count, LANES // queries):
        at = simd.advance(weights, key * queries)
        table = simd.advance(rows, key)
        if queries == 1:
            scale_weights(at, side.base, side.row_bytes, side.scales, side.scale_bytes, table, 1)
        elif queries == 2:
            scale_weights(at, side.base, side.row_bytes, side.scales, side.scale_bytes, table, 2)
        elif queries == 4:
            scale_weights(at, side.base, side.row_bytes, side.scales, side.scale_bytes, table, 4)
        else:
            scale_weights(at, side.base, side.row_bytes, side.scales, side.scale_bytes, table, WIDEST)
