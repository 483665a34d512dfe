"""Moving queries, keys and values through panels: packing, the two products of a key block, writing the rows out.

Widths: a *wide* panel carries ``TILE_VECTORS`` vectors of queries, a *narrow* one a single vector, for the few queries
that are left over or asked for.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import (
    HALF_VECTORS,
    NARROW_ROWS,
    TILE_ROWS,
    TILE_VECTORS,
    filled,
    lanes_of,
    multiply_add,
    multiply_peak,
    transpose,
    transpose_part,
)


@kernel
def fill_panel(panel, vectors, value):
    """Set ``vectors`` vectors to a scalar."""
    lanes = lanes_of(panel)
    constant = filled(panel, value)
    for i in range(vectors):
        simd.store(simd.advance(panel, i * lanes), constant)


@kernel
def scale_panel(panel, vectors, factor):
    """panel <- panel * factor."""
    lanes = lanes_of(panel)
    for i in range(vectors):
        at = simd.advance(panel, i * lanes)
        simd.store(at, simd.load(at, lanes) * factor)


@kernel
def copy_panel(source, target, vectors):
    """target <- source."""
    lanes = lanes_of(source)
    for i in range(vectors):
        simd.store(simd.advance(target, i * lanes), simd.load(simd.advance(source, i * lanes), lanes))


@kernel
def pack_rows(rows, columns, panel, width):
    """panel[j, i] = rows[i, j], block by block; lanes beyond the last row repeat it."""
    lanes = lanes_of(panel)
    for i in range(0, width, lanes):
        first = min(i, rows.length - 1)
        count = min(rows.length - first, lanes)
        for j in range(0, columns, lanes):
            at = simd.advance(rows.pointer, first * rows.stride + j)
            to = simd.advance(panel, j * width + i)
            if count == lanes and columns - j >= lanes:
                transpose(at, to, rows.stride, width)
            else:
                transpose_part(at, to, rows.stride, width, count, lanes, min(columns - j, lanes))


@kernel
def write_rows(panel, width, columns, rows):
    """rows[i, j] = panel[j, i], block by block."""
    lanes = lanes_of(panel)
    for i in range(0, rows.length, lanes):
        count = min(rows.length - i, lanes)
        for j in range(0, columns, lanes):
            at = simd.advance(panel, j * width + i)
            to = simd.advance(rows.pointer, i * rows.stride + j)
            part = min(columns - j, lanes)
            if count == lanes and part == lanes:
                transpose(at, to, width, rows.stride)
            else:
                transpose_part(at, to, width, rows.stride, part, part, count)


@kernel
def score_part(keys, first, end, size, queries, scores, peak, width, start, vectors):
    """scores[j, :] = keys[j] . queries for first <= j < end and ``vectors`` vectors of queries from ``start`` on."""
    skipped = start * lanes_of(scores)
    panel, highest = simd.advance(queries, skipped), simd.advance(peak, skipped)
    step = NARROW_ROWS if vectors == 1 else TILE_ROWS
    for j in range(first, end, step):
        out = simd.advance(scores, j * width + skipped)
        matrix = simd.advance(keys.pointer, j * keys.stride)
        if vectors == TILE_VECTORS:
            multiply_peak(out, highest, matrix, panel, width, keys.stride, 1, end - j, size, TILE_ROWS, TILE_VECTORS)
        elif vectors == HALF_VECTORS and HALF_VECTORS > 1:
            multiply_peak(out, highest, matrix, panel, width, keys.stride, 1, end - j, size, TILE_ROWS, HALF_VECTORS)
        else:
            multiply_peak(out, highest, matrix, panel, width, keys.stride, 1, end - j, size, NARROW_ROWS, 1)


@kernel
def add_part(values, first, end, size, weights, accumulated, width, start, vectors):
    """accumulated[d, :] += values[j, d] * weights[j, :] over first <= j < end, for the same queries."""
    skipped = start * lanes_of(weights)
    panel = simd.advance(weights, first * width + skipped)
    depth = end - first
    step = NARROW_ROWS if vectors == 1 else TILE_ROWS
    for d in range(0, size, step):
        out = simd.advance(accumulated, d * width + skipped)
        matrix = simd.advance(values.pointer, first * values.stride + d)
        if vectors == TILE_VECTORS:
            multiply_add(out, out, matrix, panel, width, 1, values.stride, size - d, depth, TILE_ROWS, TILE_VECTORS)
        elif vectors == HALF_VECTORS and HALF_VECTORS > 1:
            multiply_add(out, out, matrix, panel, width, 1, values.stride, size - d, depth, TILE_ROWS, HALF_VECTORS)
        else:
            multiply_add(out, out, matrix, panel, width, 1, values.stride, size - d, depth, NARROW_ROWS, 1)


@kernel
def diagonal_parts(diagonal, keys, width, lanes):
    """Keys at which the first half and then all but the last vector of a wide panel's queries see nothing more.

    Query ``i`` of the panel sees key ``j`` iff j <= diagonal + i.
    """
    if width == lanes:
        return keys, keys
    half = min(max(diagonal + (TILE_VECTORS - HALF_VECTORS) * lanes, 0), keys)
    last = min(max(diagonal + (TILE_VECTORS - 1) * lanes, 0), keys)
    return half, last


@kernel
def score_keys(keys, size, queries, scores, peak, width, diagonal):
    """Scores of the block's keys; ``peak`` rises to the columns' maxima.

    Above the diagonal vectors without a query that sees the key are left out: 5 of 16 in a square block.
    """
    lanes = lanes_of(scores)
    vectors = width // lanes
    half, last = diagonal_parts(diagonal, keys.length, width, lanes)
    score_part(keys, 0, half, size, queries, scores, peak, width, 0, vectors)
    if half < last:
        score_part(keys, half, last, size, queries, scores, peak, width, TILE_VECTORS - HALF_VECTORS, HALF_VECTORS)
    if last < keys.length:
        score_part(keys, last, keys.length, size, queries, scores, peak, width, TILE_VECTORS - 1, 1)


@kernel
def add_values(values, size, weights, accumulated, width, diagonal):
    """Add the block's values, each times its weight, leaving out the same vectors."""
    lanes = lanes_of(weights)
    vectors = width // lanes
    half, last = diagonal_parts(diagonal, values.length, width, lanes)
    if half > 0:
        add_part(values, 0, half, size, weights, accumulated, width, 0, vectors)
    if half < last:
        add_part(values, half, last, size, weights, accumulated, width, TILE_VECTORS - HALF_VECTORS, HALF_VECTORS)
    if last < values.length:
        add_part(values, last, values.length, size, weights, accumulated, width, TILE_VECTORS - 1, 1)


@kernel
def used_keys(diagonal, keys, width, first_lane, lanes):
    """How many of the block's keys the products use for the vector of queries that starts at ``first_lane``."""
    half, last = diagonal_parts(diagonal, keys, width, lanes)
    if first_lane < width - HALF_VECTORS * lanes:
        return half
    return last if first_lane < width - lanes else keys


@kernel
def add_values_where_kept(values, size, weights, scores, accumulated, width, diagonal):
    """The same, passing over keys whose score is -inf: a masked NaN or inf must not reach the output as 0 * NaN."""
    lanes = lanes_of(weights)
    for d in range(size):
        for first in range(0, width, lanes):
            out = simd.advance(accumulated, d * width + first)
            total = simd.load(out, lanes)
            for j in range(used_keys(diagonal, values.length, width, first, lanes)):
                place = j * width + first
                weight = simd.load(simd.advance(weights, place), lanes)
                masked = simd.load(simd.advance(scores, place), lanes) == -math.inf
                value = simd.load_scalar(simd.advance(values.pointer, j * values.stride + d))
                total = simd.select(masked, total, simd.fma(weight, value, total))
            simd.store(out, total)
