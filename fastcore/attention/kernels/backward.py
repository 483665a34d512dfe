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
from fastcore.attention.kernels import options as F
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
from fastcore.attention.kernels.blocks import FLOAT32
from fastcore.attention.kernels.forward import NS_PER_FMA_BYTE, WORDS, count_tiles, tile_rows
from fastcore.attention.kernels.masking import BLOCK_KEYS, all_finite
from fastcore.attention.kernels.options import blocks_of, integer_at, mask_of, rows_of, scores_of
from fastcore.attention.kernels.panels import fill_panel
from fastcore.attention.kernels.query_tile import is_empty
from fastcore.attention.kernels.softmax import LOG2_E
from fastcore.attention.kernels.views import UNCHANGED, Bounds, Dropout, Place

# Keys are cut into so many chunks that a sequence has this many items, but none below the smallest chunk: each chunk
# packs all tiles of queries again, 3 % of the work of 512 keys.
ITEMS_A_SEQUENCE = 16
SMALLEST_CHUNK = 512

# Places in the array of options behind those of the forward kernel.
SEQUENCES, CHUNK, CHUNKS, SCORE_MOD_GRAD, GRAD_MASK, GRAD_STRIDES = range(F.OPTIONS, F.OPTIONS + 6)
# Of packed sequences: the keys of a chunk of each (B), at most those of CHUNK.
CHUNKS_OF = GRAD_STRIDES + 4
OPTIONS = CHUNKS_OF + 1


class Span(NamedTuple):
    """What an item goes through: sequences, heads, tiles of queries and keys, each from the first to before the end."""

    sequence: int
    sequence_end: int
    head: int
    head_end: int
    tile: int
    tile_end: int
    key: int
    key_end: int


@kernel
def span_of(number, heads, groups, tiles, keys, options):
    """The span of an item: of the gradients of a chunk of keys, or of a tile of the mask's gradient."""
    sequences, chunk, chunks = options[SEQUENCES], options[CHUNK], options[CHUNKS]
    if options[GRAD_MASK] == 0:
        sequence, group = number // groups % sequences, number % groups
        chunk = integer_at(options[CHUNKS_OF], sequence, chunk)
        key = number // (groups * sequences) * chunk
        sharing = heads // groups
        return Span(sequence, sequence + 1, group * sharing, (group + 1) * sharing, 0, tiles, key, key + chunk)
    sequence, head, tile, key = 0, 0, 0, 0
    sequence_end, head_end, tile_end, key_end = sequences, heads, tiles, keys
    if options[GRAD_STRIDES + 3] != 0:
        key, key_end = number % chunks * chunk, (number % chunks + 1) * chunk
        number //= chunks
    if options[GRAD_STRIDES + 2] != 0:
        tile, tile_end = number % tiles, number % tiles + 1
        number //= tiles
    if options[GRAD_STRIDES + 1] != 0:
        head, head_end = number % heads, number % heads + 1
        number //= heads
    if options[GRAD_STRIDES] != 0:
        sequence, sequence_end = number, number + 1
    return Span(sequence, sequence_end, head, head_end, tile, tile_end, key, key_end)


@kernel
def count_items(heads, groups, tiles, options):
    """How many items there are."""
    if options[F.ITEMS] != 0:
        return options[F.ITEM_COUNT]
    if options[GRAD_MASK] == 0:
        return options[SEQUENCES] * groups * options[CHUNKS]
    items = 1
    for axis, size in enumerate((options[SEQUENCES], heads, tiles, options[CHUNKS])):
        if options[GRAD_STRIDES + axis] != 0:
            items *= size
    return items


@kernel
def sequence_of(sequence, query, key, options):
    """Where the queries of a sequence start and how many there are, and the same of its keys; see `views.Place`."""
    start, key_start = integer_at(options[F.QUERY_STARTS], sequence, 0), integer_at(options[F.KEY_STARTS], sequence, 0)
    rows = integer_at(options[F.QUERY_STARTS], sequence + 1, query.shape[2]) - start
    keys = integer_at(options[F.KEY_STARTS], sequence + 1, key.shape[2]) - key_start
    return start, rows, key_start, integer_at(options[F.KEY_LENGTHS], sequence, keys)


@kernel
def mark_tainted(rows, size, tainted):
    """tainted[n] = 1 where the n-th block of rows holds NaN or inf."""
    for n in range((rows.length + BLOCK_KEYS - 1) // BLOCK_KEYS):
        first = n * BLOCK_KEYS
        tainted[n] = not all_finite(block_rows(rows, first, min(BLOCK_KEYS, rows.length - first)), size)


@kernel
def block_backward(
    first_key, keys, values, size, value_size, at, bounds, scores, mask, dropout, options, span, keys_tainted,
    rows_tainted, grad_mask, panels,
):  # fmt: skip
    """One block of keys: its share of the gradients, or its part of the mask's."""
    of_mask = options[GRAD_MASK] != 0
    diagonal = bounds.first_position + bounds.right - first_key
    masked = slopes_of_block(
        first_key, keys, values, size, value_size, at.rows, bounds, scores, options[SCORE_MOD_GRAD], mask, dropout,
        of_mask, keys_tainted or rows_tainted, panels,
    )  # fmt: skip
    if not of_mask:
        add_products(
            keys, size, at.rows, diagonal, first_key - span.key, masked and keys_tainted, masked and rows_tainted,
            panels,
        )  # fmt: skip
        return
    row_stride, key_stride = options[GRAD_STRIDES + 2], options[GRAD_STRIDES + 3]
    target = simd.advance(grad_mask, first_key * key_stride)
    add_mask_gradient(panels.slopes, panels.tile.width, keys.length, at.rows, diagonal, target, row_stride, key_stride)


@kernel
def tile_backward(
    query, key, value, out, lse, grad_out, at, span, scores, options, dropout, tainted, panels,
):  # fmt: skip
    """One tile of queries against the keys of a span; whether there were any."""
    size, value_size = query.shape[3], value.shape[3]
    group = at.head // (query.shape[1] // key.shape[1])
    bounds = Bounds(
        at.first_row + integer_at(options[F.QUERY_OFFSET], at.sequence, 0), options[F.LEFT], options[F.RIGHT]
    )
    # Up to the end of the keys, not of what is seen: only behind the last key may products overhang.
    end = min(span.key_end, at.keys)
    seen = min(end, bounds.first_position + at.rows + bounds.right)
    begin = max(span.key, max(0, bounds.first_position - bounds.left) // BLOCK_KEYS * BLOCK_KEYS)
    if seen <= begin:
        return False
    row = at.start + at.first_row
    queries = rows_of(query, at.batch, at.head, row, at.rows)
    gradients = rows_of(grad_out, at.batch, at.head, row, at.rows)
    factor = scores.scale / scores.softcap if scores.softcap > 0 else scores.scale * LOG2_E / scores.unit
    pack_tile(
        queries, rows_of(out, at.batch, at.head, row, at.rows), gradients, lse[at.batch, at.head, row:], size,
        value_size, factor, scores.unit, panels,
    )  # fmt: skip
    rows_tainted = not (all_finite(queries, size) and all_finite(gradients, value_size))
    mask = mask_of(options, query.dtype, at.batch, at.head, at.first_row)
    blocks = blocks_of(options, at.batch, at.head, at.first_row)
    place = at.sequence * options[GRAD_STRIDES] + at.head * options[GRAD_STRIDES + 1]
    place += at.first_row * options[GRAD_STRIDES + 2]
    grad_mask = simd.advance(simd.pointer_at(options[GRAD_MASK], query.dtype), place)
    for first_key in range(begin, seen, BLOCK_KEYS):
        if is_empty(blocks, first_key):
            continue
        count = min(BLOCK_KEYS, end - first_key)
        keys = rows_of(key, at.batch, group, at.key_start + first_key, count)
        values = rows_of(value, at.batch, group, at.key_start + first_key, count)
        keys_tainted = tainted[(first_key - span.key) // BLOCK_KEYS] != 0
        block_backward(
            first_key, keys, values, size, value_size, at, bounds, scores, mask, dropout, options, span, keys_tainted,
            rows_tainted, grad_mask, panels,
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
    query, key, value, out, lse, grad_out, grad_query, partial, options, span, scale, softcap, dropout_p, tainted,
    buffer,
):  # fmt: skip
    """Go through a span: sequences, heads and tiles in order."""
    heads, size = query.shape[1], query.shape[3]
    lanes = lanes_of(simd.pointer(query))
    of_mask = options[GRAD_MASK] != 0
    for sequence in range(span.sequence, span.sequence_end):
        batch = 0 if options[F.QUERY_STARTS] != 0 else sequence
        start, rows, key_start, keys = sequence_of(sequence, query, key, options)
        held = max(min(span.key_end, keys) - span.key, 0)
        wide_tiles, narrow_tiles = count_tiles(rows, lanes)
        for head in range(span.head, span.head_end):
            group = head // (heads // key.shape[1])
            scores = scores_of(FLOAT32, options, scale, softcap, query.itemsize, sequence, head)
            mark_tainted(rows_of(key, batch, group, key_start + span.key, held), size, tainted)
            for tile in range(span.tile, min(span.tile_end, wide_tiles + narrow_tiles)):
                row, width = tile_rows(tile, lanes, wide_tiles)
                at = Place(sequence, batch, head, start, row, min(width, rows - row), width, key_start, keys)
                panels = carve_panels(buffer, size, value.shape[3], 0 if of_mask else options[CHUNK], width)
                seed = np.uint64(options[F.SEED])
                threshold, inverse_keep = np.uint64(dropout_p * WORDS), 1.0 / (1.0 - dropout_p)
                dropout = Dropout(threshold, inverse_keep, seed, sequence * heads + head, row)
                some = tile_backward(
                    query, key, value, out, lse, grad_out, at, span, scores, options, dropout, tainted, panels,
                )  # fmt: skip
                if some and not of_mask:
                    add_tile(grad_query, partial, at, span, scale, panels)


@kernel
def add_tile(grad_query, partial, at, span, scale, panels):
    """Add the gradients of a tile's queries: of the first chunk of keys to the result, of others to their own array."""
    chunk = span.key // (span.key_end - span.key)
    row = at.start + at.first_row
    if chunk == 0:
        target = rows_of(grad_query, at.batch, at.head, row, at.rows)
    else:
        target = rows_of(partial, (chunk - 1) * grad_query.shape[0] + at.batch, at.head, row, at.rows)
    add_grad_queries(grad_query.shape[3], scale, panels, target)


@kernel
def add_sums(query, key, grad_key, grad_value, options, span, scale, panels):
    """Add an item's sums to the gradients of the keys and values that exist."""
    _, _, key_start, keys = sequence_of(span.sequence, query, key, options)
    batch = 0 if options[F.QUERY_STARTS] != 0 else span.sequence
    group = span.head // (span.head_end - span.head)
    first, count = key_start + span.key, max(min(span.key_end, keys) - span.key, 0)
    target = rows_of(grad_key, batch, group, first, count)
    add_rows(panels.grad_keys, panels.columns, grad_key.shape[3], scale, target)
    target = rows_of(grad_value, batch, group, first, count)
    add_rows(panels.grad_values, panels.value_columns, grad_value.shape[3], 1.0, target)


def backward_items(
    query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, partial, options, scale, softcap,
    dropout_p, counter,
):  # fmt: skip
    """Take items until none is left."""
    heads, rows, size = query.shape[1:]
    groups, keys, value_size = value.shape[1:]
    lanes = lanes_of(simd.pointer(query))
    wide_tiles, narrow_tiles = count_tiles(rows if options[F.QUERY_STARTS] == 0 else options[F.LONGEST], lanes)
    # Shorter ones of packed sequences can have more tiles, narrow ones; never more than this.
    tiles = wide_tiles + narrow_tiles if options[F.QUERY_STARTS] == 0 else (rows + lanes - 1) // lanes
    widest = lanes * TILE_VECTORS if wide_tiles > 0 else lanes
    of_mask = options[GRAD_MASK] != 0
    chunk = 0 if of_mask else options[CHUNK]
    buffer = np.empty(panels_elements(size, value_size, chunk, widest, lanes, query.itemsize), query.dtype)
    tainted = np.empty(keys // BLOCK_KEYS + 1, np.uint8)
    items = count_items(heads, groups, tiles, options)
    item = next_item(counter, -1)
    while item < items:
        number = integer_at(options[F.ITEMS], item, item)
        span = span_of(number, heads, groups, tiles, keys, options)
        panels = carve_panels(buffer, size, value_size, chunk, widest)
        if not of_mask:
            held = sequence_of(span.sequence, query, key, options)[3]
            clear_sums(max(min(span.key_end, held) - span.key, 0), panels)
        span_backward(
            query, key, value, out, lse, grad_out, grad_query, partial, options, span, scale, softcap, dropout_p,
            tainted, buffer,
        )  # fmt: skip
        if not of_mask:
            add_sums(query, key, grad_key, grad_value, options, span, scale, panels)
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


BACKWARD_F32 = SharedWork(backward_items, backward_parallel, _argument_types(types.float32))
BACKWARD_F64 = SharedWork(backward_items, backward_parallel, _argument_types(types.float64))


def chunks_of(groups, keys):
    """Keys of a chunk, a multiple of the block, and how many chunks there are; of one sequence or an array of them."""
    wanted = np.clip(keys // SMALLEST_CHUNK, 1, -(-ITEMS_A_SEQUENCE // groups))
    chunk = np.maximum(-(-keys // (wanted * BLOCK_KEYS)), 1) * BLOCK_KEYS
    return chunk, -(-keys // chunk)


def flash_backward(
    query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, grad_mask, mask_bool, mask_float,
    query_offset, key_lengths, left, right, scale, softcap, dropout_p, seed, changes=UNCHANGED, score_mod_grad=0,
):  # fmt: skip
    """Add the gradients of attention to ``grad_query``, ``grad_key``, ``grad_value`` and, if given, ``grad_mask``.

    Arguments are those of `flash_forward`; ``out``, ``grad_out`` (B, H, L, Dv), ``lse`` (B, H, L), of any strides whose
    last axis is contiguous. ``grad_mask`` (B, H, L, S) is a view of any strides, 0 where the mask is stretched.
    ``score_mod_grad`` is the address of the derivative of ``changes.score_mod``, over a panel as that is.
    """
    options = np.zeros(OPTIONS, np.int64)
    options[: F.OPTIONS] = F.options_of(
        left, right, mask_bool, mask_float, query_offset, key_lengths, seed, None, changes
    )
    batches, keys, itemsize = query.shape[0], key.shape[2], query.itemsize
    options[SEQUENCES], options[SCORE_MOD_GRAD] = batches, score_mod_grad
    options[CHUNK], options[CHUNKS] = chunks_of(key.shape[1], keys)
    more = int(options[CHUNKS]) - 1
    partial = np.zeros((more * batches, *query.shape[1:]), query.dtype) if more else grad_query
    arrays = (query, key, value, out, lse, grad_out, grad_query, grad_key, grad_value, partial)
    numbers = (scale, softcap, dropout_p)
    work = BACKWARD_F32 if itemsize == 4 else BACKWARD_F64
    cost_ns = (query.size + out.size) * keys * itemsize * NS_PER_FMA_BYTE
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
