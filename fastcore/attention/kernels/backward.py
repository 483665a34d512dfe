"""Gradients of attention by queries, keys and values, tile by tile: no L x S matrix is ever formed.

Source: Dao 2023, "FlashAttention-2", algorithm 2. As in our forward kernel the queries of a tile lie in the vector
lanes and the keys of a block in the rows, so that four of the five products read keys and values in place:

    P^T = exp(scale K Q^T - lse)       dP^T = V dO^T       dS^T = P^T (dP^T - sum(dO O))
    dV += P^T dO                       dK += scale dS^T Q  dQ^T += scale K^T dS^T

An item is a sequence and a key/value head: it alone writes the gradients of its keys and of the queries that share
them, in one order, so results depend neither on threads nor on how many sequences there are.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import NARROW_ROWS, TILE_ROWS, TILE_VECTORS, filled, lanes_of, multiply_add
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.attention.kernels.forward import NS_PER_FMA_BYTE, align_up, rows_of
from fastcore.attention.kernels.masking import BLOCK_KEYS
from fastcore.attention.kernels.panels import fill_panel, pack_rows, scale_panel
from fastcore.attention.kernels.softmax import LOG2_E

# Bounds relative to a block are clipped to this, so that 64-bit positions fit the 32-bit lanes; blocks are far smaller.
_FAR = 1 << 20


class Panels(NamedTuple):
    """Scratch. Panels of ``width`` queries: packed ones and their gradients, a block's weights and slopes, statistics;
    the tile's queries and gradients as rows of ``columns`` and ``value_columns``; sums for all keys, in such rows."""

    width: int
    columns: int
    value_columns: int
    queries: Any
    grad_out: Any
    weights: Any
    slopes: Any
    grad_queries: Any
    lse: Any
    delta: Any
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
    rows = size + value_size + 2 * (BLOCK_KEYS + NARROW_ROWS) + max(size, value_size) + NARROW_ROWS + 2
    return rows * width + (width + keys + NARROW_ROWS) * (columns + value_columns) + 64 // itemsize


@kernel
def carve_panels(buffer, size, value_size, keys, width):
    """Panels inside one buffer; products may overhang theirs by `NARROW_ROWS` rows."""
    queries = align_up(simd.pointer(buffer), buffer.ctypes.data, buffer.itemsize)
    lanes = lanes_of(queries)
    columns, value_columns = whole_vectors(size, lanes), whole_vectors(value_size, lanes)
    grad_out = simd.advance(queries, size * width)
    weights = simd.advance(grad_out, value_size * width)
    slopes = simd.advance(weights, (BLOCK_KEYS + NARROW_ROWS) * width)
    grad_queries = simd.advance(slopes, (BLOCK_KEYS + NARROW_ROWS) * width)
    lse = simd.advance(grad_queries, (max(size, value_size) + NARROW_ROWS) * width)
    delta = simd.advance(lse, width)
    query_rows = simd.advance(delta, width)
    grad_out_rows = simd.advance(query_rows, width * columns)
    grad_keys = simd.advance(grad_out_rows, width * value_columns)
    grad_values = simd.advance(grad_keys, (keys + NARROW_ROWS) * columns)
    return Panels(
        width, columns, value_columns, queries, grad_out, weights, slopes, grad_queries, lse, delta, query_rows,
        grad_out_rows, grad_keys, grad_values,
    )  # fmt: skip


@kernel
def add_product(out, matrix, row_stride, depth_stride, rows, depth, panel, width, vectors):
    """out[r, :] += sum_k matrix[r, k] * panel[k, :] for ``vectors`` vectors; rows of out and panel are ``width`` apart.

    Up to `NARROW_ROWS` - 1 rows past the last one are written, too.
    """
    lanes = lanes_of(out)
    first = 0
    while first < vectors:
        wide = vectors - first >= TILE_VECTORS
        columns = simd.advance(panel, first * lanes)
        step = TILE_ROWS if wide else NARROW_ROWS
        for row in range(0, rows, step):
            at = simd.advance(out, row * width + first * lanes)
            factors = simd.advance(matrix, row * row_stride)
            left = rows - row
            if wide:
                multiply_add(
                    at, at, factors, columns, width, row_stride, depth_stride, left, depth, TILE_ROWS, TILE_VECTORS
                )
            else:
                multiply_add(at, at, factors, columns, width, row_stride, depth_stride, left, depth, NARROW_ROWS, 1)
        first += TILE_VECTORS if wide else 1


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
def add_rows(source, columns, size, target):
    """target[i, :] += source[i, :] for the first ``size`` columns."""
    lanes = lanes_of(source)
    for i in range(target.length):
        row = simd.advance(target.pointer, i * target.stride)
        for j in range(0, size, lanes):
            count = min(size - j, lanes)
            at = simd.advance(row, j)
            total = simd.load_first(at, lanes, count) + simd.load(simd.advance(source, i * columns + j), lanes)
            simd.store_first(at, total, count)


@kernel
def add_columns(panel, width, size, factor, target):
    """target[i, j] += factor * panel[j, i]."""
    for i in range(target.length):
        row = simd.advance(target.pointer, i * target.stride)
        for j in range(size):
            at = simd.advance(row, j)
            gained = simd.load_scalar(simd.advance(panel, j * width + i)) * factor
            simd.store_scalar(at, simd.load_scalar(at) + gained)


@kernel
def start_panels(queries, out, grad_out, lse, size, value_size, scale, panels):
    """Pack a tile: scaled queries, gradients, sum(dO O) and lse of each query, in units of exp2.

    A query without any key has lse -inf: infinity makes all its weights 0, as those of the lanes behind the last query.
    """
    width = panels.width
    lanes = lanes_of(panels.queries)
    vectors = width // lanes
    pack_rows(queries, size, panels.queries, width)
    scale_panel(panels.queries, size * vectors, scale * LOG2_E)
    pack_rows(grad_out, value_size, panels.grad_out, width)
    copy_rows(queries, size, panels.query_rows, panels.columns, scale)
    copy_rows(grad_out, value_size, panels.grad_out_rows, panels.value_columns, 1.0)
    pack_rows(out, value_size, panels.grad_queries, width)  # room that is free until the first block
    for first in range(0, width, lanes):
        total = filled(panels.delta, 0.0)
        for j in range(value_size):
            place = j * width + first
            gradient = simd.load(simd.advance(panels.grad_out, place), lanes)
            total = simd.fma(gradient, simd.load(simd.advance(panels.grad_queries, place), lanes), total)
        simd.store(simd.advance(panels.delta, first), total)
    fill_panel(panels.lse, vectors, math.inf)
    for i in range(queries.length):
        if lse[i] != -math.inf:
            simd.store_scalar(simd.advance(panels.lse, i), lse[i] * LOG2_E)
    fill_panel(panels.grad_queries, size * vectors, 0.0)


@kernel
def weigh_block(keys, vectors, diagonal, panels):
    """weights <- P^T, slopes <- dS^T from scores and dP^T; 0 where key ``j`` lies beyond ``diagonal + lane``."""
    lanes = lanes_of(panels.weights)
    zero = filled(panels.weights, 0.0)
    high = min(max(diagonal, -_FAR), _FAR)
    for i in range(vectors):
        first = i * lanes
        lse = simd.load(simd.advance(panels.lse, first), lanes)
        delta = simd.load(simd.advance(panels.delta, first), lanes)
        lane_high = simd.convert(simd.iota_i64(lanes), simd.i32) + (high + first)
        for j in range(keys):
            weights = simd.advance(panels.weights, j * panels.width + first)
            slopes = simd.advance(panels.slopes, j * panels.width + first)
            seen = lane_high >= j
            weight = simd.select(seen, simd.softmax_exp2(simd.load(weights, lanes) - lse), zero)
            simd.store(weights, weight)
            simd.store(slopes, simd.select(seen, weight * (simd.load(slopes, lanes) - delta), zero))


@kernel
def backward_block(keys, values, first_key, count, rows, size, value_size, diagonal, panels):
    """The five products of a tile of ``rows`` queries and the keys [first_key, first_key + count)."""
    width = panels.width
    lanes = lanes_of(panels.weights)
    vectors = (rows + lanes - 1) // lanes
    key = simd.advance(keys.pointer, first_key * keys.stride)
    value = simd.advance(values.pointer, first_key * values.stride)
    fill_panel(panels.weights, count * (width // lanes), 0.0)
    fill_panel(panels.slopes, count * (width // lanes), 0.0)
    add_product(panels.weights, key, keys.stride, 1, count, size, panels.queries, width, vectors)
    add_product(panels.slopes, value, values.stride, 1, count, value_size, panels.grad_out, width, vectors)
    weigh_block(count, vectors, diagonal, panels)
    add_product(panels.grad_queries, key, 1, keys.stride, size, count, panels.slopes, width, vectors)
    columns = panels.columns
    out = simd.advance(panels.grad_keys, first_key * columns)
    add_product(out, panels.slopes, width, 1, count, rows, panels.query_rows, columns, columns // lanes)
    columns = panels.value_columns
    out = simd.advance(panels.grad_values, first_key * columns)
    add_product(out, panels.weights, width, 1, count, rows, panels.grad_out_rows, columns, columns // lanes)


def backward_items(
    query, key, value, out, lse, grad_out, query_offset, key_lengths, grad_query, grad_key, grad_value, right, scale,
    counter,
):  # fmt: skip
    """Take (sequence, key/value head) items until none is left."""
    batches, heads, rows, size = query.shape
    groups, value_size = value.shape[1], value.shape[3]
    sharing = heads // groups
    lanes = lanes_of(simd.pointer(query))
    width = lanes * TILE_VECTORS if rows > lanes else lanes
    elements = panels_elements(size, value_size, key.shape[2], width, lanes, query.itemsize)
    buffer = np.empty(elements, query.dtype)
    item = next_item(counter, -1)
    while item < batches * groups:
        # Here and not before the loop: Numba frees an array behind its last use, and pointers are no use.
        panels = carve_panels(buffer, size, value_size, key.shape[2], width)
        batch, group = item // groups, item % groups
        end = min(key_lengths[batch], query_offset[batch] + rows + right)
        if end <= 0:
            item = next_item(counter, item)
            continue
        keys, values = rows_of(key, batch, group, 0, end), rows_of(value, batch, group, 0, end)
        fill_panel(panels.grad_keys, (end + NARROW_ROWS) * panels.columns // lanes, 0.0)
        fill_panel(panels.grad_values, (end + NARROW_ROWS) * panels.value_columns // lanes, 0.0)
        for tile in range(sharing * ((rows + width - 1) // width)):
            head = group * sharing + tile % sharing
            first_row = tile // sharing * width
            count = min(width, rows - first_row)
            position = query_offset[batch] + first_row
            seen = min(end, position + count + right)
            if seen <= 0:
                continue
            start_panels(
                rows_of(query, batch, head, first_row, count), rows_of(out, batch, head, first_row, count),
                rows_of(grad_out, batch, head, first_row, count), lse[batch, head, first_row:], size, value_size, scale,
                panels,
            )  # fmt: skip
            for first_key in range(0, seen, BLOCK_KEYS):
                # Up to the end of the keys, not of what is seen: only behind the last key may products overhang.
                block = min(BLOCK_KEYS, end - first_key)
                diagonal = position + right - first_key
                backward_block(keys, values, first_key, block, count, size, value_size, diagonal, panels)
            target = rows_of(grad_query, batch, head, first_row, count)
            add_columns(panels.grad_queries, width, size, scale, target)
        add_rows(panels.grad_keys, panels.columns, size, rows_of(grad_key, batch, group, 0, end))
        add_rows(panels.grad_values, panels.value_columns, value_size, rows_of(grad_value, batch, group, 0, end))
        item = next_item(counter, item)


def backward_parallel(
    body, workers, query, key, value, out, lse, grad_out, query_offset, key_lengths, grad_query, grad_key, grad_value,
    right, scale, counter,
):  # fmt: skip
    """`backward_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(
            body,
            (
                query, key, value, out, lse, grad_out, query_offset, key_lengths, grad_query, grad_key, grad_value,
                right, scale, counter,
            ),
        )  # fmt: skip


def _argument_types(dtype):
    read, write = types.Array(dtype, 4, "A", readonly=True), types.Array(dtype, 4, "A")
    lengths = types.Array(types.int64, 1, "C", readonly=True)
    statistics = types.Array(dtype, 3, "A", readonly=True)
    numbers = [types.int64, types.float64]
    return [read, read, read, read, statistics, read, lengths, lengths, write, write, write, *numbers]


_BACKWARD_F32 = SharedWork(backward_items, backward_parallel, _argument_types(types.float32))
_BACKWARD_F64 = SharedWork(backward_items, backward_parallel, _argument_types(types.float64))


def attention_backward(
    query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, *, is_causal, scale, query_offset=None,
    key_lengths=None,
):  # fmt: skip
    """Add the gradients of attention to ``grad_query``, ``grad_key`` and ``grad_value``.

    Sequences of several devices may be given as one batch: (n_local, B, ...) blocks, reshaped to (n_local * B, ...).

    Parameters
    ----------
    query, grad_query : (B, H, L, D); key, grad_key : (B, G, S, D); value, grad_value : (B, G, S, Dv), H % G == 0
        One of float32 and float64, as all arrays here; any strides whose last axis is contiguous.
    out, grad_out : (B, H, L, Dv), attention's result and the gradient that came for it
    lse : (B, H, L), natural log, over all keys that `out` has seen; these here may be a part of them. -inf: no keys.
    is_causal : bool, key j takes part iff j <= query_offset[b] + i
    scale : float
    query_offset : (B,) int64, 0 by default, any values
    key_lengths : (B,) int64 in [0, S], S by default; keys behind it do not exist

    Notes
    -----
    Not checked. Ten floating-point operations for each query, key and element of a head.

    A NaN or inf in a key that the causal mask hides may reach the gradients of queries before it, as 0 times NaN; in a
    value or behind key_lengths it does not.
    """
    batches, keys = key.shape[0], key.shape[2]
    offsets = np.zeros(batches, np.int64) if query_offset is None else query_offset
    lengths = np.full(batches, keys, np.int64) if key_lengths is None else key_lengths
    work = _BACKWARD_F32 if query.itemsize == 4 else _BACKWARD_F64
    fmas = 2.5 * (query.size + out.size) * keys
    work(
        fmas * query.itemsize * NS_PER_FMA_BYTE,
        query, key, value, out, lse, grad_out, offsets, lengths, grad_query, grad_key, grad_value,
        0 if is_causal else 1 << 40, scale,
    )  # fmt: skip
