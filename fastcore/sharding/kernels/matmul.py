"""Products of matrices on one device: serial, called from device kernels.

Each element of a product is one chain of fused multiply-adds in ascending order of the summed index, whatever the
shapes, the tiles and the threads: a column of the result has the same bits in a block as in the whole matrix. So
sharded layers can be compared with unsharded ones bit for bit.

How. Columns of ``w`` go into a panel (`fastcore._core.tile`), ``DEPTH`` rows at a time, which stays in the level 2
cache; rows of ``x`` are read where they are; results go through a tile of a few rows, so that ragged edges need no code
of their own.
"""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import TILE_ROWS, TILE_VECTORS, lanes_of, multiply_add, native_lanes, transpose, transpose_part

__all__ = [
    "as_matrix",
    "most_parts",
    "multiply_part",
    "product",
    "product_add",
    "product_nt",
    "product_nt_add",
    "product_tn",
    "product_tn_add",
    "transposed",
]

# Rows of a panel: 64 KB of 4 vectors of 64 bytes, in a level 2 cache of 512 KB and more beside the rows of x.
DEPTH = 256
# Rows of x that are copied at a time, 256 KB of float32; and how many panels use a copy that pays.
PACKED_ROWS = 256
USES = 8
# Rows of a share of the rows: enough for the panel, packed once a share, to be used often.
BAND = 64


class Matrix(NamedTuple):
    """A matrix in memory; strides in elements."""

    pointer: Any
    rows: int
    columns: int
    row_stride: int
    column_stride: int


@kernel
def as_matrix(array):
    """A two-dimensional array of any layout."""
    step = array.itemsize
    rows, columns = array.shape
    return Matrix(simd.pointer(array), rows, columns, array.strides[0] // step, array.strides[1] // step)


@kernel
def transposed(matrix):
    return Matrix(matrix.pointer, matrix.columns, matrix.rows, matrix.column_stride, matrix.row_stride)


@kernel
def pack_panel(w, first_row, depth, first_column, columns, panel, width):
    """panel[k, j] = w[first_row + k, first_column + j] for k < depth, j < columns; the rest of a row is any number."""
    lanes = lanes_of(panel)
    start = simd.advance(w.pointer, first_row * w.row_stride + first_column * w.column_stride)
    if w.column_stride == 1:
        for k in range(depth):
            for j in range(0, width, lanes):
                row = simd.load_first(simd.advance(start, k * w.row_stride + j), lanes, max(columns - j, 0))
                simd.store(simd.advance(panel, k * width + j), row)
    elif w.row_stride == 1:
        for j in range(0, columns, lanes):
            count = min(columns - j, lanes)
            for k in range(0, depth, lanes):
                at = simd.advance(start, j * w.column_stride + k)
                to = simd.advance(panel, k * width + j)
                if count == lanes and depth - k >= lanes:
                    transpose(at, to, w.column_stride, width)
                else:
                    transpose_part(at, to, w.column_stride, width, count, lanes, min(depth - k, lanes))
    else:
        for k in range(depth):
            for j in range(columns):
                value = simd.load_scalar(simd.advance(start, k * w.row_stride + j * w.column_stride))
                simd.store_scalar(simd.advance(panel, k * width + j), value)


@kernel
def load_tile(out, row, rows, column, columns, tile, width):
    """tile[i, j] = out[row + i, column + j] inside the tile."""
    lanes = lanes_of(tile)
    for i in range(rows):
        start = simd.advance(out.pointer, (row + i) * out.row_stride + column * out.column_stride)
        to = simd.advance(tile, i * width)
        if out.column_stride == 1:
            for j in range(0, columns, lanes):
                simd.store(simd.advance(to, j), simd.load_first(simd.advance(start, j), lanes, columns - j))
        else:
            for j in range(columns):
                simd.store_scalar(simd.advance(to, j), simd.load_scalar(simd.advance(start, j * out.column_stride)))


@kernel
def store_tile(tile, width, out, row, rows, column, columns):
    """out[row + i, column + j] = tile[i, j] inside the tile."""
    lanes = lanes_of(tile)
    for i in range(rows):
        start = simd.advance(out.pointer, (row + i) * out.row_stride + column * out.column_stride)
        at = simd.advance(tile, i * width)
        if out.column_stride == 1:
            for j in range(0, columns, lanes):
                simd.store_first(simd.advance(start, j), simd.load(simd.advance(at, j), lanes), columns - j)
        else:
            for j in range(columns):
                simd.store_scalar(simd.advance(start, j * out.column_stride), simd.load_scalar(simd.advance(at, j)))


@kernel
def multiply_panel(x, out, k, first_row, end, panel, column, columns, add, tiles, width):
    """out[:, column:] += x @ panel for the rows from `first_row` to `end` of out; x begins at that row and at k."""
    tile = simd.pointer(tiles)
    for row in range(first_row, end, TILE_ROWS):
        rows = min(end - row, TILE_ROWS)
        if add or k > 0:
            load_tile(out, row, rows, column, columns, tile, width)
        else:
            tiles[:] = 0
        matrix = simd.advance(x.pointer, (row - first_row) * x.row_stride)
        multiply_add(
            tile, tile, matrix, panel, width, x.row_stride, x.column_stride, rows, x.columns, TILE_ROWS, TILE_VECTORS
        )
        store_tile(tile, width, out, row, rows, column, columns)


@kernel
def multiply_columns(x, w, out, first, end, add, panels, tiles, packed):
    """out[:, first:end] = x @ w[:, first:end], added to what is there if ``add``.

    panels, tiles: scratch of DEPTH and TILE_ROWS rows of TILE_VECTORS vectors. packed: scratch of PACKED_ROWS rows of
    DEPTH elements, where it pays to copy x; empty, where x is read in place.
    """
    panel, copy = simd.pointer(panels), simd.pointer(packed)
    width = TILE_VECTORS * lanes_of(panel)
    step = max(x.rows, 1) if packed.size == 0 else PACKED_ROWS
    for k in range(0, max(x.columns, 1), DEPTH):
        depth = min(x.columns - k, DEPTH)
        for row in range(0, x.rows, step):
            rows = min(x.rows - row, step)
            at = simd.advance(x.pointer, row * x.row_stride + k * x.column_stride)
            block = Matrix(at, rows, depth, x.row_stride, x.column_stride)
            if packed.size > 0:
                pack_panel(block, 0, rows, 0, depth, copy, DEPTH)
                block = Matrix(copy, rows, depth, DEPTH, 1)
            for column in range(first, end, width):
                columns = min(end - column, width)
                pack_panel(w, k, depth, column, columns, panel, width)
                multiply_panel(block, out, k, row, row + rows, panel, column, columns, add, tiles, width)


@kernel
def add_row(x, w, out, columns, depth, k):
    """out[0] += x[0, k] * w[k] + ... + x[0, k + depth - 1] * w[k + depth - 1], one after another; depth: 1 or 4."""
    lanes = lanes_of(out)
    factors = simd.advance(x.pointer, k * x.column_stride)
    rows = simd.advance(w.pointer, k * w.row_stride)
    for j in range(0, columns, lanes):
        at, place = simd.advance(rows, j), simd.advance(out, j)
        total = simd.load_first(place, lanes, columns - j)
        total = simd.fma(simd.load_scalar(factors), simd.load_first(at, lanes, columns - j), total)
        for i in range(1, depth):
            factor = simd.load_scalar(simd.advance(factors, i * x.column_stride))
            total = simd.fma(factor, simd.load_first(simd.advance(at, i * w.row_stride), lanes, columns - j), total)
        simd.store_first(place, total, columns - j)


@kernel
def stream_columns(x, w, out, first, end, add):
    """`multiply_columns` of few rows: w, which is all there is to read, goes by once a row, in the order of memory."""
    for row in range(x.rows):
        target = simd.advance(out.pointer, row * out.row_stride + first)
        if not add:
            for j in range(end - first):
                simd.store_scalar(simd.advance(target, j), 0)
        factors, columns = rows_from(x, row, row + 1), columns_from(w, first, end)
        whole = x.columns // 4 * 4
        for k in range(0, whole, 4):
            add_row(factors, columns, target, end - first, 4, k)
        for k in range(whole, x.columns):
            add_row(factors, columns, target, end - first, 1, k)


@kernel
def multiply(x, w, out, add, dtype):
    """out = x @ w, added to what is there if ``add``; matrices of `dtype`."""
    multiply_part(x, w, out, add, dtype, 0, 1)


@kernel
def rows_from(matrix, first, end):
    return Matrix(
        simd.advance(matrix.pointer, first * matrix.row_stride),
        end - first,
        matrix.columns,
        matrix.row_stride,
        matrix.column_stride,
    )


@kernel
def columns_from(matrix, first, end):
    pointer = simd.advance(matrix.pointer, first * matrix.column_stride)
    return Matrix(pointer, matrix.rows, end - first, matrix.row_stride, matrix.column_stride)


@kernel
def multiply_part(x, w, out, add, dtype, part, parts):
    """The same, of `parts` about equal shares of the columns of `out` or, if these are few, of its rows."""
    width = TILE_VECTORS * lanes_of(out.pointer)
    panels, bands = -(-w.columns // width), -(-x.rows // BAND)
    first, end = 0, w.columns
    if panels >= bands:
        first, end = panels * part // parts * width, min(panels * (part + 1) // parts * width, w.columns)
    else:
        top, bottom = bands * part // parts * BAND, min(bands * (part + 1) // parts * BAND, x.rows)
        x, out = rows_from(x, top, bottom), rows_from(out, top, bottom)
    if x.rows < TILE_ROWS and w.column_stride == 1 and out.column_stride == 1:
        stream_columns(x, w, out, first, end, add)
    elif x.rows > 0 and first < end:
        panel_rows, tile_rows = np.empty(DEPTH * width, dtype), np.empty(TILE_ROWS * width, dtype)
        pays = x.column_stride != 1 or end - first >= USES * width
        packed = np.empty(PACKED_ROWS * DEPTH if pays else 0, dtype)
        multiply_columns(x, w, out, first, end, add, panel_rows, tile_rows, packed)


def most_parts(rows, columns, dtype):
    """How many shares `multiply_part` can make of an output of this shape."""
    return max(1, -(-columns // (TILE_VECTORS * native_lanes(dtype))), -(-rows // BAND))


@kernel
def product(x, w, out):
    """out (M, N) = x (M, K) @ w (K, N): all float32 or all float64, of any strides; out shares no memory with them."""
    multiply(as_matrix(x), as_matrix(w), as_matrix(out), False, out.dtype)


@kernel
def product_add(x, w, out):
    """out (M, N) += x (M, K) @ w (K, N)."""
    multiply(as_matrix(x), as_matrix(w), as_matrix(out), True, out.dtype)


@kernel
def product_nt(x, w, out):
    """out (M, N) = x (M, K) @ w.T, w (N, K)."""
    multiply(as_matrix(x), transposed(as_matrix(w)), as_matrix(out), False, out.dtype)


@kernel
def product_nt_add(x, w, out):
    """out (M, N) += x (M, K) @ w.T, w (N, K)."""
    multiply(as_matrix(x), transposed(as_matrix(w)), as_matrix(out), True, out.dtype)


@kernel
def product_tn(x, w, out):
    """out (M, N) = x.T @ w, x (K, M), w (K, N)."""
    multiply(transposed(as_matrix(x)), as_matrix(w), as_matrix(out), False, out.dtype)


@kernel
def product_tn_add(x, w, out):
    """out (M, N) += x.T @ w, x (K, M), w (K, N)."""
    multiply(transposed(as_matrix(x)), as_matrix(w), as_matrix(out), True, out.dtype)
