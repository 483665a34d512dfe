"""Panels of a tile of queries, backward: scratch memory, what is packed into it, and sums for keys and values."""

import math
from typing import Any, NamedTuple

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
)
from fastcore.attention.kernels.forward import align_up
from fastcore.attention.kernels.masking import BLOCK_KEYS
from fastcore.attention.kernels.panels import diagonal_parts, fill_panel, pack_rows, scale_panel, used_keys, write_rows
from fastcore.attention.kernels.softmax import LOG2_E
from fastcore.attention.kernels.views import Rows, Scratch


class Panels(NamedTuple):
    """Scratch of a tile, backward.

    ``tile`` : panels as forward has them, where ``accumulated`` is the gradient of the queries, ``reference`` the lse
    and ``total`` the sums of dO O. Further panels of ``tile.width`` queries: ``grad_out``; of a block ``slopes``, which
    become the gradients of the scores, ``factors`` of dropout and ``derivative`` of what changes scores. Rows of
    ``columns`` or ``value_columns`` elements: the tile's queries and gradients, and sums for the item's keys.
    """

    tile: Any
    grad_out: Any
    slopes: Any
    factors: Any
    derivative: Any
    columns: int
    value_columns: int
    query_rows: Any
    grad_out_rows: Any
    grad_keys: Any
    grad_values: Any


@kernel
def whole_vectors(size, lanes):
    """Elements of a row that fills whole vectors."""
    return (size + lanes - 1) // lanes * lanes


@kernel
def panels_elements(size, value_size, keys, width, lanes, itemsize):
    """Elements of the buffer that `carve_panels` divides."""
    columns, value_columns = whole_vectors(size, lanes), whole_vectors(value_size, lanes)
    block = BLOCK_KEYS + NARROW_ROWS
    rows = size + value_size + 2 * block + max(size, value_size) + NARROW_ROWS + 3 + 3 * BLOCK_KEYS
    sums = (width + keys + NARROW_ROWS) * (columns + value_columns)
    return rows * width + BLOCK_KEYS * width + sums + 64 // itemsize


@kernel
def carve_panels(buffer, size, value_size, keys, width):
    """Panels for tiles of ``width`` queries and ``keys`` keys; products may overhang theirs by `NARROW_ROWS` rows.

    The sums for the keys come first: tiles of any width find them at the same place.
    """
    grad_keys = align_up(simd.pointer(buffer), buffer.ctypes.data, buffer.itemsize)
    lanes = lanes_of(grad_keys)
    columns, value_columns = whole_vectors(size, lanes), whole_vectors(value_size, lanes)
    grad_values = simd.advance(grad_keys, (keys + NARROW_ROWS) * columns)
    queries = simd.advance(grad_values, (keys + NARROW_ROWS) * value_columns)
    block = (BLOCK_KEYS + NARROW_ROWS) * width
    grad_out = simd.advance(queries, size * width)
    weights = simd.advance(grad_out, value_size * width)
    slopes = simd.advance(weights, block)
    grad_queries = simd.advance(slopes, block)
    peak = simd.advance(grad_queries, (max(size, value_size) + NARROW_ROWS) * width)
    lse = simd.advance(peak, width)
    delta = simd.advance(lse, width)
    factors = simd.advance(delta, width)
    derivative = simd.advance(factors, BLOCK_KEYS * width)
    mask = simd.advance(derivative, BLOCK_KEYS * width)
    query_rows = simd.advance(mask, BLOCK_KEYS * width)
    grad_out_rows = simd.advance(query_rows, width * columns)
    mask_rows = simd.advance(grad_out_rows, width * value_columns)
    # Blocks are packed into rows of their own: `query_rows` and the like.
    forward = Scratch(width, queries, weights, grad_queries, mask, mask_rows, peak, lse, delta, query_rows, query_rows)
    return Panels(
        forward, grad_out, slopes, factors, derivative, columns, value_columns, query_rows, grad_out_rows, grad_keys,
        grad_values,
    )  # fmt: skip


@kernel
def copy_rows(source, size, target, columns, factor):
    """target[i, :] = factor * source[i, :], rows of ``columns`` elements, zeros behind the first ``size``."""
    lanes = lanes_of(target)
    for i in range(source.length):
        row = simd.advance(source.pointer, i * source.stride)
        for j in range(0, columns, lanes):
            part = simd.load_first(simd.advance(row, j), lanes, min(size - j, lanes))
            simd.store(simd.advance(target, i * columns + j), part * factor)


@kernel
def add_rows(source, columns, size, factor, target):
    """target[i, :] += factor * source[i, :] for the first ``size`` columns."""
    lanes = lanes_of(source)
    for i in range(target.length):
        row = simd.advance(target.pointer, i * target.stride)
        for j in range(0, size, lanes):
            count = min(size - j, lanes)
            at = simd.advance(row, j)
            total = simd.load_first(at, lanes, count) + simd.load(simd.advance(source, i * columns + j), lanes) * factor
            simd.store_first(at, total, count)


@kernel
def add_grad_queries(size, factor, panels, target):
    """target[i, :] += factor * the gradients of the tile's queries; their rows are room for the transpose."""
    rows = Rows(panels.query_rows, panels.columns, target.length)
    write_rows(panels.tile.accumulated, panels.tile.width, size, rows)
    add_rows(panels.query_rows, panels.columns, size, factor, target)


@kernel
def pack_tile(queries, out, grad_out, lse, size, value_size, factor, unit, panels):
    """Pack a tile: queries times ``factor``, gradients, sum(dO O) and lse of each query, in units of the scores.

    A query without any key has lse -inf: infinity makes all its weights 0, as those of the lanes behind the last query.
    """
    tile = panels.tile
    width = tile.width
    lanes = lanes_of(tile.queries)
    vectors = width // lanes
    pack_rows(queries, size, tile.queries, width)
    scale_panel(tile.queries, size * vectors, factor)
    pack_rows(grad_out, value_size, panels.grad_out, width)
    copy_rows(queries, size, panels.query_rows, panels.columns, 1.0)
    copy_rows(grad_out, value_size, panels.grad_out_rows, panels.value_columns, 1.0)
    pack_rows(out, value_size, tile.accumulated, width)  # room that is free until the first block
    for first in range(0, width, lanes):
        total = filled(tile.total, 0.0)
        for j in range(value_size):
            place = j * width + first
            gradient = simd.load(simd.advance(panels.grad_out, place), lanes)
            total = simd.fma(gradient, simd.load(simd.advance(tile.accumulated, place), lanes), total)
        simd.store(simd.advance(tile.total, first), total)
    fill_panel(tile.reference, vectors, math.inf)
    for i in range(queries.length):
        if lse[i] != -math.inf:
            simd.store_scalar(simd.advance(tile.reference, i), lse[i] * (LOG2_E / unit))
    fill_panel(tile.accumulated, size * vectors, 0.0)


@kernel
def add_product(out, weights, keys, first_query, queries, width, rows, columns):
    """out[j, :] += sum_i weights[j, i] * rows[i, :] over the queries from ``first_query`` on; ``columns`` a row.

    Up to `NARROW_ROWS` - 1 rows of ``out`` past the last key are written, too.
    """
    lanes = lanes_of(out)
    vectors = columns // lanes
    matrix = simd.advance(weights, first_query)
    panel = simd.advance(rows, first_query * columns)
    depth = queries - first_query
    first = 0
    while first < vectors:
        at = simd.advance(panel, first * lanes)
        left = vectors - first
        step = TILE_ROWS if left >= HALF_VECTORS > 1 or left >= TILE_VECTORS else NARROW_ROWS
        for j in range(0, keys, step):
            to = simd.advance(out, j * columns + first * lanes)
            factors = simd.advance(matrix, j * width)
            if left >= TILE_VECTORS:
                multiply_add(to, to, factors, at, columns, width, 1, keys - j, depth, TILE_ROWS, TILE_VECTORS)
            elif left >= HALF_VECTORS and HALF_VECTORS > 1:
                multiply_add(to, to, factors, at, columns, width, 1, keys - j, depth, TILE_ROWS, HALF_VECTORS)
            else:
                multiply_add(to, to, factors, at, columns, width, 1, keys - j, depth, NARROW_ROWS, 1)
        first += TILE_VECTORS if left >= TILE_VECTORS else HALF_VECTORS if left >= HALF_VECTORS else 1


@kernel
def whole_steps(keys, limit):
    """``keys`` up to the next multiple of what products take at once, so that they overhang none but the last key."""
    return min((keys + NARROW_ROWS - 1) // NARROW_ROWS * NARROW_ROWS, limit)


@kernel
def add_to_keys(weights, keys, queries, width, diagonal, rows, columns, out):
    """out[j, :] += sum_i weights[j, i] * rows[i, :], leaving out vectors of queries that see none of the keys.

    Up to `whole_steps` the weights that are behind `used_keys` must be 0.
    """
    lanes = lanes_of(out)
    half, last = diagonal_parts(diagonal, keys, width, lanes)
    half, last = whole_steps(half, keys), whole_steps(last, keys)
    if half > 0:
        add_product(out, weights, half, 0, queries, width, rows, columns)
    first = (TILE_VECTORS - HALF_VECTORS) * lanes
    if half < last and first < queries:
        at, to = simd.advance(weights, half * width), simd.advance(out, half * columns)
        add_product(to, at, last - half, first, queries, width, rows, columns)
    first = (TILE_VECTORS - 1) * lanes
    if last < keys and first < queries:
        at, to = simd.advance(weights, last * width), simd.advance(out, last * columns)
        add_product(to, at, keys - last, first, queries, width, rows, columns)


@kernel
def add_to_keys_where_kept(weights, scores, keys, queries, width, diagonal, rows, columns, out):
    """The same, passing over pairs whose score is -inf: a NaN or inf in a query that does not see a key."""
    lanes = lanes_of(out)
    for i in range(queries):
        for j in range(used_keys(diagonal, keys, width, i // lanes * lanes, lanes)):
            if simd.load_scalar(simd.advance(scores, j * width + i)) == -math.inf:
                continue
            weight = filled(out, simd.load_scalar(simd.advance(weights, j * width + i)))
            for first in range(0, columns, lanes):
                at = simd.advance(out, j * columns + first)
                row = simd.load(simd.advance(rows, i * columns + first), lanes)
                simd.store(at, simd.fma(weight, row, simd.load(at, lanes)))
