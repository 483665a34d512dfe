"""Flash attention, forward: the work list of (batch, head, tile of queries) items."""

import math

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import NARROW_ROWS, TILE_VECTORS, lanes_of
from fastcore._core.validate import NO_BOUND
from fastcore._core.work import (
    ALONE,
    COUNTER,
    Direct,
    SharedWork,
    call_by_address,
    call_in_team,
    call_with_team,
    next_item,
)
from fastcore.attention.kernels.blocks import FLOAT32, FLOAT64
from fastcore.attention.kernels.emit_rows import WIDEST
from fastcore.attention.kernels.masking import BLOCK_KEYS, NO_MASK
from fastcore.attention.kernels.options import (
    ITEM_COUNT,
    ITEMS,
    KEY,
    KEY_LENGTHS,
    KEY_STARTS,
    LEFT,
    LONGEST,
    LSE,
    MASK_KIND,
    OUT,
    QUERY,
    QUERY_OFFSET,
    QUERY_STARTS,
    RIGHT,
    SEED,
    STORAGE,
    VALUE,
    blocks_of,
    enter_halves,
    integer_at,
    mask_of,
    options_of,
    scores_of,
    stored_rows_of,
)
from fastcore.attention.kernels.pairs import BFLOAT_PAIRS
from fastcore.attention.kernels.query_tile import attend_tile
from fastcore.attention.kernels.storage_formats import F32
from fastcore.attention.kernels.views import UNCHANGED, Bounds, Dropout, Place, Scratch

# Serial nanoseconds of a multiplication and addition, for the choice between serial and parallel: 100 GFLOP/s, 50 in
# float64.
NS_PER_FMA_BYTE = 0.02 / 4
WORDS = 4294967296.0


@kernel
def align_up(pointer, address, itemsize):
    """Move a pointer to the next multiple of 64 bytes: a split cache line costs a second load."""
    return simd.advance(pointer, (-address % 64) // itemsize)


@kernel
def copy_elements(source, target, count):
    """Copy ``count`` elements."""
    for i in range(count):
        simd.store_scalar(simd.advance(target, i), simd.load_scalar(simd.advance(source, i)))


@kernel
def count_tiles(rows, lanes):
    """Wide and narrow tiles of one head; a remainder above two vectors is worth a wide one."""
    wide_width = lanes * TILE_VECTORS
    wide = rows // wide_width
    left_over = rows - wide * wide_width
    if left_over > 2 * lanes:
        return wide + 1, 0
    return wide, (left_over + lanes - 1) // lanes


@kernel
def tile_rows(tile, lanes, wide_tiles):
    """First query and width of a tile."""
    wide_width = lanes * TILE_VECTORS
    if tile < wide_tiles:
        return tile * wide_width, wide_width
    return wide_tiles * wide_width + (tile - wide_tiles) * lanes, lanes


@kernel
def scratch_elements(size, value_size, masked, width, itemsize, columns):
    """Elements of the buffer that `carve_scratch` divides; ``columns`` are those of a row of `Scratch.block_keys`."""
    rows = size + (value_size + NARROW_ROWS) + (BLOCK_KEYS + NARROW_ROWS) + 3 + BLOCK_KEYS
    if masked:
        rows += BLOCK_KEYS
    return rows * width + 2 * BLOCK_KEYS * columns + 64 // itemsize


@kernel
def carve_scratch(buffer, size, value_size, width, columns):
    """Panels of ``width`` queries inside one buffer; products may overhang theirs by `NARROW_ROWS` rows."""
    queries = align_up(simd.pointer(buffer), buffer.ctypes.data, buffer.itemsize)
    accumulated = simd.advance(queries, size * width)
    weights = simd.advance(accumulated, (value_size + NARROW_ROWS) * width)
    peak = simd.advance(weights, (BLOCK_KEYS + NARROW_ROWS) * width)
    reference = simd.advance(peak, width)
    total = simd.advance(reference, width)
    block_keys = simd.advance(total, width)
    block_values = simd.advance(block_keys, BLOCK_KEYS * columns)
    mask = simd.advance(block_values, BLOCK_KEYS * columns)
    mask_rows = simd.advance(mask, BLOCK_KEYS * width)
    return Scratch(
        width, queries, weights, accumulated, mask, mask_rows, peak, reference, total, block_keys, block_values
    )


@kernel
def count_items(query, options, lanes):
    """How many items there are, the factor of a head in their numbers, and the width of the widest tile."""
    longest = query.shape[2] if options[QUERY_STARTS] == 0 else options[LONGEST]
    wide_tiles, narrow_tiles = count_tiles(longest, lanes)
    widest = lanes * TILE_VECTORS if wide_tiles > 0 else lanes
    # Shorter sequences can have more tiles, narrow ones; never more than this.
    tiles = wide_tiles + narrow_tiles if options[QUERY_STARTS] == 0 else (longest + lanes - 1) // lanes
    items = query.shape[0] * query.shape[1] * tiles if options[ITEMS] == 0 else options[ITEM_COUNT]
    return items, tiles, widest


@kernel
def place_of(item, tiles, query, key, options, lanes):
    """Where the item's queries and keys are; in a head, the long causal tiles come first."""
    number = integer_at(options[ITEMS], item, item)
    heads = query.shape[1]
    sequence, head = number // (tiles * heads), number // tiles % heads
    packed = options[QUERY_STARTS] != 0
    batch = 0 if packed else sequence
    start = integer_at(options[QUERY_STARTS], sequence, 0)
    rows = integer_at(options[QUERY_STARTS], sequence + 1, query.shape[2]) - start
    key_start = integer_at(options[KEY_STARTS], sequence, 0)
    keys = integer_at(options[KEY_STARTS], sequence + 1, key.shape[2]) - key_start
    keys = integer_at(options[KEY_LENGTHS], sequence, keys)
    wide_tiles, narrow_tiles = count_tiles(rows, lanes)
    first_row, width = tile_rows(wide_tiles + narrow_tiles - 1 - number % tiles, lanes, wide_tiles)
    return Place(sequence, batch, head, start, first_row, min(width, rows - first_row), width, key_start, keys)


@kernel
def attend_items(kind, query, key, value, out, options, scale, softcap, dropout_p, counter):
    """Take (sequence, head, tile of queries) items until none is left."""
    heads, rows, size = query.shape[1:]
    value_size = value.shape[3]
    lanes = lanes_of(simd.pointer(query))
    items, tiles, widest = count_items(query, options, lanes)
    masked = options[MASK_KIND] != NO_MASK
    columns = kind.columns(size, value_size, options[STORAGE])
    buffer = np.empty(scratch_elements(size, value_size, masked, widest, query.itemsize, columns), query.dtype)
    item = next_item(counter, -1)
    while item < items:
        at = place_of(item, tiles, query, key, options, lanes)
        group = at.head // (heads // key.shape[1])
        position = at.first_row + integer_at(options[QUERY_OFFSET], at.sequence, 0)
        keep = 1.0 - dropout_p
        threshold = np.uint64(dropout_p * WORDS)
        scratch = carve_scratch(buffer, size, value_size, at.width, columns)
        attend_tile(
            kind,
            stored_rows_of(query, QUERY, options, at.batch, at.head, at.start + at.first_row, at.rows),
            stored_rows_of(key, KEY, options, at.batch, group, at.key_start, at.keys),
            stored_rows_of(value, VALUE, options, at.batch, group, at.key_start, at.keys),
            stored_rows_of(out, OUT, options, at.batch, at.head, at.start + at.first_row, at.rows),
            size,
            value_size,
            Bounds(position, options[LEFT], options[RIGHT]),
            scores_of(kind, options, scale, softcap, query.itemsize, at.sequence, at.head),
            mask_of(options, query.dtype, at.batch, at.head, at.first_row),
            blocks_of(options, at.batch, at.head, at.first_row),
            Dropout(threshold, 1.0 / keep, np.uint64(options[SEED]), at.sequence * heads + at.head, at.first_row),
            scratch,
        )
        if options[LSE] != 0:
            row = (at.batch * heads + at.head) * rows + at.start + at.first_row
            copy_elements(scratch.total, simd.advance(simd.pointer_at(options[LSE], query.dtype), row), at.rows)
        item = next_item(counter, item)


def attend_float32(query, key, value, out, options, scale, softcap, dropout_p, counter):
    """Items of float32, or of half precision computed in it."""
    attend_items(FLOAT32, query, key, value, out, options, scale, softcap, dropout_p, counter)


def attend_float64(query, key, value, out, options, scale, softcap, dropout_p, counter):
    """Items of float64."""
    attend_items(FLOAT64, query, key, value, out, options, scale, softcap, dropout_p, counter)


def attend_pairs(query, key, value, out, options, scale, softcap, dropout_p, counter):
    """Items of bfloat16, or of float32 rounded to it, multiplied as it."""
    attend_items(BFLOAT_PAIRS, query, key, value, out, options, scale, softcap, dropout_p, counter)


def attend_parallel(body, workers, query, key, value, out, options, scale, softcap, dropout_p, counter):
    """Such a body in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (query, key, value, out, options, scale, softcap, dropout_p, counter))


def _argument_types(dtype):
    read = types.Array(dtype, 4, "A", readonly=True)
    options = types.Array(types.int64, 1, "C", readonly=True)
    return [read, read, read, types.Array(dtype, 4, "A"), options, types.float64, types.float64, types.float64]


_FORWARD_F32 = SharedWork(attend_float32, attend_parallel, _argument_types(types.float32))
_FORWARD_F64 = SharedWork(attend_float64, attend_parallel, _argument_types(types.float64))
_FORWARD_PAIRS = SharedWork(attend_pairs, _FORWARD_F32, _argument_types(types.float32))


_PLAIN = options_of(NO_BOUND, NO_BOUND)
_CAUSAL = options_of(NO_BOUND, 0)


@kernel
def is_plain(array):
    """Whether rows can be read in place: contiguous elements, all addresses multiples of the element's size."""
    itemsize = array.itemsize
    strides = array.strides
    odd = array.ctypes.data % itemsize + strides[0] % itemsize + strides[1] % itemsize + strides[2] % itemsize
    return odd == 0 and strides[3] == itemsize


def attend_plain(body, launch, workers, query, key, value, out, options, alone):
    """`attend_float32` if the shapes are in order, and there is a team or little work; whether that was so."""
    batch, heads, rows, size = query.shape
    groups, keys, value_size = value.shape[1], value.shape[2], value.shape[3]
    if query.size == 0 or value.size == 0 or heads % groups != 0:
        return False
    if key.shape != (batch, groups, keys, size) or value.shape[0] != batch:
        return False
    # A tile has whole vectors of queries, however few there are.
    lanes = lanes_of(simd.pointer(query))
    fmas = batch * heads * ((rows + lanes - 1) // lanes * lanes) * keys * (size + value_size)
    parallel = fmas * query.itemsize * NS_PER_FMA_BYTE >= threads.SMALLEST_WORK_NS
    if parallel and (launch == 0 or rows * (heads // groups) <= WIDEST):
        return False
    if not (is_plain(query) and is_plain(key) and is_plain(value)):
        return False
    scale = 1.0 / math.sqrt(size)
    if not parallel:
        return call_by_address(body, (query, key, value, out, options, scale, 0.0, 0.0, alone))
    counter = np.zeros(1, np.int64)
    call_in_team(launch, workers, body, (query, key, value, out, options, scale, 0.0, 0.0, counter))
    return counter[0] > 0


_WORDS = [types.int64] * 3
_ATTEND_PLAIN = Direct(attend_plain, types.boolean(*_WORDS, *_argument_types(types.float32)[:5], COUNTER))


def flash_forward_small(query, key, value, out, is_causal):
    """Whether the attention of these arrays was small, without options and in order; then it is in ``out``.

    float32 arrays of four axes, ``out`` of the right shape; nothing else is relied on. All checks in compiled code: in
    Python they cost as much as the attention of 8 queries and 8 keys.
    """
    options = _CAUSAL if is_causal else _PLAIN
    return _ATTEND_PLAIN.call(_FORWARD_F32.body.address, 0, 1, query, key, value, out, options, ALONE)


def flash_forward_plain(query, key, value, out, is_causal):
    """`flash_forward_small` of any size inside a framework, whose threads compiled code can launch."""
    work_ns = query.size * value.shape[2] * (2 * query.itemsize * NS_PER_FMA_BYTE)
    options = _CAUSAL if is_causal else _PLAIN
    body = _FORWARD_F32.body.address
    return call_with_team(work_ns, _ATTEND_PLAIN, body, query, key, value, out, options, ALONE)


def _single_queries(array, groups):
    """(B, H, 1, n) seen as (B, G, H / G, n): one query each of the heads that share keys become the rows of a tile.

    They are read and multiplied together, so the keys of grouped heads are read once (decoding).
    """
    if array is None:
        return None
    batches, heads, _, size = array.shape
    return array[:, :, 0].reshape(batches, groups, heads // groups, size)


def keys_up_to(right, query_offset, key_lengths, batches, keys):
    """A bound to the right of single queries, which share one position, as lengths of keys."""
    offsets = np.zeros(batches, np.int64) if query_offset is None else query_offset
    return np.clip(offsets + (right + 1), 0, keys if key_lengths is None else key_lengths)


def flash_forward(
    query,
    key,
    value,
    mask_bool,
    mask_float,
    query_offset,
    key_lengths,
    left,
    right,
    scale,
    softcap,
    dropout_p,
    seed,
    out,
    lse,
    packed=None,
    changes=UNCHANGED,
    storage=F32,
    as_bfloat=False,
):
    """Attention of validated arguments, written into ``out`` and ``lse``.

    query (B, H, L, D), key (B, G, S, D), value (B, G, S, Dv), out (B, H, L, Dv): one of float32 and float64, last axis
    contiguous; B = 1 with ``packed`` sequences, whose number is then that of offsets. Masks (B, H, L, S) or None;
    query_offset, key_lengths (B,) int64 or None; left, right: `NO_BOUND` where open; softcap 0 for none;
    0 <= dropout_p < 1; lse (B, H, L), C-contiguous, or None; changes: see `Changes`. Of ``storage`` F16 and BF16 the
    four arrays hold the bits, uint16. ``as_bfloat``: multiply as bfloat16, float32 or BF16.
    """
    batches, heads, rows, _ = query.shape
    groups = key.shape[1]
    plain = packed is None and left == NO_BOUND and dropout_p == 0.0 and changes is UNCHANGED
    if plain and rows == 1 and heads > groups:
        query, out, mask_bool, mask_float = (_single_queries(x, groups) for x in (query, out, mask_bool, mask_float))
        if right != NO_BOUND:
            key_lengths = keys_up_to(right, query_offset, key_lengths, batches, key.shape[2])
            right = NO_BOUND
    # The addresses in here are good as long as the caller's arrays, which this frame refers to until the end.
    options = options_of(left, right, mask_bool, mask_float, query_offset, key_lengths, seed, lse, changes)
    itemsize = query.itemsize
    fmas = (query.size + out.size) * key.shape[2]
    if packed is not None:
        options[QUERY_STARTS], options[KEY_STARTS] = packed.query_starts.ctypes.data, packed.key_starts.ctypes.data
        options[ITEMS], options[ITEM_COUNT] = packed.items.ctypes.data, packed.items.size
        options[LONGEST] = packed.longest
        fmas = packed.pairs * heads * (query.shape[3] + out.shape[3])
    # Kept alive here too: the addresses in the options are theirs.
    arrays = (query, key, value, out)
    if storage != F32:
        options[STORAGE] = storage
        places = (QUERY, KEY, VALUE, OUT)
        query, key, value, out = (enter_halves(x, place, options) for x, place in zip(arrays, places, strict=True))
    work = _FORWARD_PAIRS if as_bfloat else _FORWARD_F64 if itemsize == 8 else _FORWARD_F32
    fma_bytes = 2 if as_bfloat else query.itemsize
    work(fmas * fma_bytes * NS_PER_FMA_BYTE, query, key, value, out, options, scale, softcap, dropout_p)
