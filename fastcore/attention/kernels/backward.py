"""Gradients of attention by queries, keys, values and mask, tile by tile: no L x S matrix is ever formed.

An item is a sequence, a key/value head and a chunk of its keys: it alone writes the gradients of its keys, over all
queries that share them, in one order. Gradients of the queries are partial where there are several chunks; those are
added in the chunks' order. Chunks depend on the numbers of heads and keys alone, so results depend neither on threads
nor on how many sequences there are.

The gradient of a mask has items of its own, tiles of the mask, each with all heads and sequences that share it, and
recomputes what it needs: two products of seven, and no memory.
"""

from typing import NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import NARROW_ROWS, TILE_VECTORS, lanes_of
from fastcore._core.validate import NO_BOUND
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.attention.kernels import forward as F
from fastcore.attention.kernels.backward_panels import (
    add_grad_queries,
    add_rows,
    carve_panels,
    pack_tile,
    panels_elements,
)
from fastcore.attention.kernels.backward_tile import (
    add_mask_gradient,
    add_products,
    block_rows,
    slopes_of_block,
)
from fastcore.attention.kernels.forward import count_tiles, integer_at, mask_of, rows_of, tile_rows
from fastcore.attention.kernels.masking import BLOCK_KEYS, FLOAT_MASK, all_finite
from fastcore.attention.kernels.panels import fill_panel
from fastcore.attention.kernels.softmax import LOG2_E, LOWEST_F32, LOWEST_F64
from fastcore.attention.kernels.views import Bounds, Dropout, Scores

# Keys are cut into so many chunks that a sequence has this many items, but none below the smallest chunk: each chunk
# packs all tiles of queries again, 3 % of the work of 512 keys.
ITEMS_A_SEQUENCE = 16
SMALLEST_CHUNK = 512

# Places in the array of options behind those of the forward kernel.
CHUNK, CHUNKS, PARTIAL, GRAD_MASK, GRAD_STRIDES = range(F.OPTIONS, F.OPTIONS + 5)
OPTIONS = GRAD_STRIDES + 4


class Span(NamedTuple):
    """What an item goes through: sequences, heads, tiles of queries and keys, each from the first to before the end."""

    batch: int
    batch_end: int
    head: int
    head_end: int
    tile: int
    tile_end: int
    key: int
    key_end: int


@kernel
def span_of(item, batches, heads, groups, tiles, keys, options):
    """The span of an item: of the gradients of a chunk of keys, or of a tile of the mask's gradient."""
    if options[GRAD_MASK] == 0:
        batch, group, chunk = item // groups % batches, item % groups, item // (groups * batches)
        sharing = heads // groups
        return Span(
            batch, batch + 1, group * sharing, (group + 1) * sharing, 0, tiles, chunk * options[CHUNK],
            min((chunk + 1) * options[CHUNK], keys),
        )  # fmt: skip
    batch, batch_end, head, head_end, tile, tile_end, key, key_end = 0, batches, 0, heads, 0, tiles, 0, keys
    if options[GRAD_STRIDES + 3] != 0:
        key = item % options[CHUNKS] * options[CHUNK]
        key_end = min(key + options[CHUNK], keys)
        item //= options[CHUNKS]
    if options[GRAD_STRIDES + 2] != 0:
        tile = item % tiles
        tile_end = tile + 1
        item //= tiles
    if options[GRAD_STRIDES + 1] != 0:
        head = item % heads
        head_end = head + 1
        item //= heads
    if options[GRAD_STRIDES] != 0:
        batch = item
        batch_end = batch + 1
    return Span(batch, batch_end, head, head_end, tile, tile_end, key, key_end)


@kernel
def count_items(batches, heads, groups, tiles, options):
    """How many items there are."""
    if options[GRAD_MASK] == 0:
        return batches * groups * options[CHUNKS]
    items = 1
    for axis, size in enumerate((batches, heads, tiles, options[CHUNKS])):
        if options[GRAD_STRIDES + axis] != 0:
            items *= size
    return items


@kernel
def mark_tainted(rows, size, tainted):
    """tainted[n] = 1 where the n-th block of rows holds NaN or inf; whether there is one."""
    found = False
    for n in range((rows.length + BLOCK_KEYS - 1) // BLOCK_KEYS):
        first = n * BLOCK_KEYS
        tainted[n] = not all_finite(block_rows(rows, first, min(BLOCK_KEYS, rows.length - first)), size)
        found = found or tainted[n] != 0
    return found


@kernel
def tile_backward(
    query, key, value, out, lse, grad_out, batch, head, first_row, count, span, scores, options, dropout, tainted,
    panels,
):  # fmt: skip
    """One tile of queries against the keys of a span; whether there were any."""
    size, value_size = query.shape[3], value.shape[3]
    group = head // (query.shape[1] // key.shape[1])
    position = first_row + integer_at(options[F.QUERY_OFFSET], batch, 0)
    bounds = Bounds(position, options[F.LEFT], options[F.RIGHT])
    # Up to the end of the keys, not of what is seen: only behind the last key may products overhang.
    end = min(span.key_end, integer_at(options[F.KEY_LENGTHS], batch, key.shape[2]))
    seen = min(end, position + count + bounds.right)
    begin = max(span.key, (max(0, position - bounds.left) // BLOCK_KEYS) * BLOCK_KEYS)
    if seen <= begin:
        return False
    queries = rows_of(query, batch, head, first_row, count)
    gradients = rows_of(grad_out, batch, head, first_row, count)
    factor = scores.scale / scores.softcap if scores.softcap > 0 else scores.scale * LOG2_E / scores.unit
    pack_tile(
        queries, rows_of(out, batch, head, first_row, count), gradients, lse[batch, head, first_row:], size, value_size,
        factor, scores.unit, panels,
    )  # fmt: skip
    rows_tainted = not (all_finite(queries, size) and all_finite(gradients, value_size))
    mask = mask_of(options, query.dtype, batch, head, first_row)
    of_mask = options[GRAD_MASK] != 0
    for first_key in range(begin, seen, BLOCK_KEYS):
        block = min(BLOCK_KEYS, end - first_key)
        keys = rows_of(key, batch, group, first_key, block)
        keys_tainted = tainted[(first_key - span.key) // BLOCK_KEYS] != 0
        masked = slopes_of_block(
            first_key, keys, rows_of(value, batch, group, first_key, block), size, value_size, count, bounds, scores,
            mask, dropout, of_mask, keys_tainted or rows_tainted, panels,
        )  # fmt: skip
        diagonal = position + bounds.right - first_key
        if of_mask:
            start = batch * options[GRAD_STRIDES] + head * options[GRAD_STRIDES + 1]
            start += first_row * options[GRAD_STRIDES + 2] + first_key * options[GRAD_STRIDES + 3]
            target = simd.advance(simd.pointer_at(options[GRAD_MASK], query.dtype), start)
            add_mask_gradient(
                panels.slopes, panels.tile.width, block, count, diagonal, target, options[GRAD_STRIDES + 2],
                options[GRAD_STRIDES + 3],
            )  # fmt: skip
        else:
            add_products(
                keys, size, count, diagonal, first_key - span.key, masked and keys_tainted, masked and rows_tainted,
                panels,
            )  # fmt: skip
    return True


@kernel
def clear_sums(keys, panels):
    """Set the gradients of an item's keys to 0, with the rows that products overhang."""
    lanes = lanes_of(panels.grad_keys)
    fill_panel(panels.grad_keys, (keys + NARROW_ROWS) * panels.columns // lanes, 0.0)
    fill_panel(panels.grad_values, (keys + NARROW_ROWS) * panels.value_columns // lanes, 0.0)


@kernel
def span_backward(
    query, key, value, out, lse, grad_out, grad_query, partial, options, span, scores, dropout_p, wide_tiles, tainted,
    buffer,
):  # fmt: skip
    """Go through a span: sequences, heads and tiles in order."""
    heads, rows, size = query.shape[1:]
    sharing = heads // key.shape[1]
    lanes = lanes_of(simd.pointer(query))
    threshold, inverse_keep = np.uint64(dropout_p * F.WORDS), 1.0 / (1.0 - dropout_p)
    chunk = options[CHUNK] if options[GRAD_MASK] == 0 else 0
    for batch in range(span.batch, span.batch_end):
        end = min(span.key_end, integer_at(options[F.KEY_LENGTHS], batch, key.shape[2]))
        for head in range(span.head, span.head_end):
            mark_tainted(rows_of(key, batch, head // sharing, span.key, max(end - span.key, 0)), size, tainted)
            for tile in range(span.tile, span.tile_end):
                first_row, width = tile_rows(tile, lanes, wide_tiles)
                count = min(width, rows - first_row)
                panels = carve_panels(buffer, size, value.shape[3], chunk, width)
                seed = np.uint64(options[F.SEED])
                dropout = Dropout(threshold, inverse_keep, seed, batch * heads + head, first_row)
                some = tile_backward(
                    query, key, value, out, lse, grad_out, batch, head, first_row, count, span, scores, options,
                    dropout, tainted, panels,
                )  # fmt: skip
                if some and options[GRAD_MASK] == 0:
                    number = span.key // options[CHUNK]
                    if number == 0:
                        target = rows_of(grad_query, batch, head, first_row, count)
                    else:
                        target = rows_of(partial, (number - 1) * query.shape[0] + batch, head, first_row, count)
                    add_grad_queries(size, scores.scale, panels, target)


@kernel
def add_sums(grad_key, grad_value, options, span, scale, chunk, widest, buffer):
    """Add an item's sums to the gradients of the keys and values that exist."""
    size, value_size = grad_key.shape[3], grad_value.shape[3]
    end = min(span.key_end, integer_at(options[F.KEY_LENGTHS], span.batch, span.key_end))
    count = max(end - span.key, 0)
    panels = carve_panels(buffer, size, value_size, chunk, widest)
    group = span.head // (span.head_end - span.head)
    target = rows_of(grad_key, span.batch, group, span.key, count)
    add_rows(panels.grad_keys, panels.columns, size, scale, target)
    target = rows_of(grad_value, span.batch, group, span.key, count)
    add_rows(panels.grad_values, panels.value_columns, value_size, 1.0, target)


def backward_items(
    query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, partial, options, scale, softcap,
    dropout_p, counter,
):  # fmt: skip
    """Take items until none is left."""
    batches, heads, rows, size = query.shape
    groups, keys, value_size = value.shape[1:]
    lanes = lanes_of(simd.pointer(query))
    wide_tiles, narrow_tiles = count_tiles(rows, lanes)
    tiles = wide_tiles + narrow_tiles
    widest = lanes * TILE_VECTORS if wide_tiles > 0 else lanes
    of_mask = options[GRAD_MASK] != 0
    chunk = 0 if of_mask else options[CHUNK]
    buffer = np.empty(panels_elements(size, value_size, chunk, widest, lanes, query.itemsize), query.dtype)
    tainted = np.empty(keys // BLOCK_KEYS + 1, np.uint8)
    lowest = LOWEST_F32 if query.itemsize == 4 else LOWEST_F64
    scores = Scores(scale, softcap, LOG2_E if options[F.MASK_KIND] == FLOAT_MASK else 1.0, lowest)
    items = count_items(batches, heads, groups, tiles, options)
    item = next_item(counter, -1)
    while item < items:
        span = span_of(item, batches, heads, groups, tiles, keys, options)
        if not of_mask:
            clear_sums(span.key_end - span.key, carve_panels(buffer, size, value_size, chunk, widest))
        span_backward(
            query, key, value, out, lse, grad_out, grad_query, partial, options, span, scores, dropout_p,
            wide_tiles, tainted, buffer,
        )  # fmt: skip
        if not of_mask:
            add_sums(grad_key, grad_value, options, span, scale, chunk, widest, buffer)
        item = next_item(counter, item)


def backward_parallel(
    body, workers, query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, partial, options, scale,
    softcap, dropout_p, counter,
):  # fmt: skip
    """`backward_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(
            body,
            (
                query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, partial, options, scale,
                softcap, dropout_p, counter,
            ),
        )  # fmt: skip


def _argument_types(dtype):
    read, write = types.Array(dtype, 4, "A", readonly=True), types.Array(dtype, 4, "A")
    statistics = types.Array(dtype, 3, "A", readonly=True)
    options = types.Array(types.int64, 1, "C", readonly=True)
    numbers = [types.float64] * 3
    return [read, read, read, read, statistics, read, write, write, write, write, options, *numbers]


_BACKWARD_F32 = SharedWork(backward_items, backward_parallel, _argument_types(types.float32))
_BACKWARD_F64 = SharedWork(backward_items, backward_parallel, _argument_types(types.float64))


def _chunks_of(groups, keys):
    """Keys of a chunk, a multiple of the block, and how many chunks there are."""
    wanted = max(1, min(-(-ITEMS_A_SEQUENCE // groups), keys // SMALLEST_CHUNK))
    chunk = -(-keys // (wanted * BLOCK_KEYS)) * BLOCK_KEYS
    return chunk, -(-keys // chunk)


def flash_backward(
    query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, grad_mask, mask_bool, mask_float,
    query_offset, key_lengths, left, right, scale, softcap, dropout_p, seed,
):  # fmt: skip
    """Add the gradients of attention to ``grad_query``, ``grad_key``, ``grad_value`` and, if given, ``grad_mask``.

    Arguments are those of `flash_forward`; ``out``, ``grad_out`` (B, H, L, Dv), ``lse`` (B, H, L), of any strides whose
    last axis is contiguous. ``grad_mask`` (B, H, L, S) is a view of any strides, 0 where the mask is stretched.
    """
    options = np.zeros(OPTIONS, np.int64)
    options[: F.OPTIONS] = F._options(left, right, mask_bool, mask_float, query_offset, key_lengths, seed)
    batches, keys, itemsize = query.shape[0], key.shape[2], query.itemsize
    options[CHUNK], options[CHUNKS] = _chunks_of(key.shape[1], keys)
    more = int(options[CHUNKS]) - 1
    partial = np.zeros((more * batches, *query.shape[1:]), query.dtype) if more else grad_query
    arrays = (query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, partial)
    numbers = (scale, softcap, dropout_p)
    work = _BACKWARD_F32 if itemsize == 4 else _BACKWARD_F64
    cost_ns = (query.size + out.size) * keys * itemsize * F.NS_PER_FMA_BYTE
    work(2.5 * cost_ns, *arrays, options, *numbers)
    for n in range(more):
        grad_query += partial[n * batches : (n + 1) * batches]
    if grad_mask is not None:
        options[CHUNK] = SMALLEST_CHUNK
        options[CHUNKS] = -(-keys // SMALLEST_CHUNK)
        options[GRAD_MASK] = grad_mask.ctypes.data
        options[GRAD_STRIDES : GRAD_STRIDES + 4] = [stride // itemsize for stride in grad_mask.strides]
        work(cost_ns, *arrays, options, *numbers)


def attention_backward(
    query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, *, is_causal, scale, query_offset=None,
    key_lengths=None,
):  # fmt: skip
    """Add the gradients of attention over some of the keys, as around a ring.

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
    """
    if query.size and key.size:
        flash_backward(
            query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, None, None, None, query_offset,
            key_lengths, NO_BOUND, 0 if is_causal else NO_BOUND, scale, 0.0, 0.0, 0,
        )  # fmt: skip
