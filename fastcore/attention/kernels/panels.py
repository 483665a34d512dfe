"""Moving queries, keys and values through panels: packing, the two products of a key block, writing the rows out.

Widths: a *wide* panel carries ``TILE_VECTORS`` vectors of queries, a *narrow* one a single vector, for the few queries
that are left over or asked for.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import (
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
def score_keys(keys, size, queries, scores, peak, width):
    """scores[j, :] = keys[j] . queries for the block's keys; ``peak`` rises to the columns' maxima."""
    if width > lanes_of(scores):
        for j in range(0, keys.length, TILE_ROWS):
            out = simd.advance(scores, j * width)
            matrix = simd.advance(keys.pointer, j * keys.stride)
            multiply_peak(out, peak, matrix, queries, keys.stride, 1, keys.length - j, size, TILE_ROWS, TILE_VECTORS)
    else:
        for j in range(0, keys.length, NARROW_ROWS):
            out = simd.advance(scores, j * width)
            matrix = simd.advance(keys.pointer, j * keys.stride)
            multiply_peak(out, peak, matrix, queries, keys.stride, 1, keys.length - j, size, NARROW_ROWS, 1)


@kernel
def add_values(values, size, weights, accumulated, width):
    """accumulated[d, :] += values[:, d] . weights over the block's keys."""
    if width > lanes_of(weights):
        for d in range(0, size, TILE_ROWS):
            out = simd.advance(accumulated, d * width)
            matrix = simd.advance(values.pointer, d)
            multiply_add(out, out, matrix, weights, 1, values.stride, size - d, values.length, TILE_ROWS, TILE_VECTORS)
    else:
        for d in range(0, size, NARROW_ROWS):
            out = simd.advance(accumulated, d * width)
            matrix = simd.advance(values.pointer, d)
            multiply_add(out, out, matrix, weights, 1, values.stride, size - d, values.length, NARROW_ROWS, 1)


@kernel
def add_values_where_kept(values, size, weights, accumulated, width):
    """The same, passing over keys of weight 0: a masked NaN or inf must not reach the output as 0 * NaN."""
    lanes = lanes_of(weights)
    for d in range(size):
        for first in range(0, width, lanes):
            out = simd.advance(accumulated, d * width + first)
            total = simd.load(out, lanes)
            for j in range(values.length):
                weight = simd.load(simd.advance(weights, j * width + first), lanes)
                value = simd.load_scalar(simd.advance(values.pointer, j * values.stride + d))
                total = simd.select(weight == 0, total, simd.fma(weight, value, total))
            simd.store(out, total)
