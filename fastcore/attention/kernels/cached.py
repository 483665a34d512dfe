"""Attention of new tokens to stored keys and values: plans the work of all sequences and runs it in one launch.

Two regimes of one design: with few query rows a key/value head, memory is the limit and an item is a share of the keys
(`decode`); with many, arithmetic is, and an item is a tile of queries (`many_rows`). Each sequence takes the one that
is estimated to cost less.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import TILE_VECTORS
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.decode import (
    carve_decode_scratch,
    count_shares,
    decode_item,
    decode_scratch_elements,
    share_elements,
)
from fastcore.attention.kernels.emit_rows import LANES, WIDEST
from fastcore.attention.kernels.forward import count_tiles
from fastcore.attention.kernels.many_rows import ATTEND_MANY, many_rows_elements
from fastcore.attention.kernels.stored_rows import MOST_KEYS, TABLE_ROWS, padded, span_of

# Shares of a long sequence, and keys that a share has at least: below, its overhead would show.
SHARES = 16
SMALLEST_SHARE = 256
# Relative cost of a query row: products of few rows add across lanes, which tiles do not; but a tile has whole vectors.
FEW_ROWS_COST = 1.3
# Serial nanoseconds, for the choice between serial and parallel: of a byte from memory (from cache it is half of that,
# but a model's other layers have passed through the caches since), of a multiplication and addition.
NS_PER_BYTE = 0.05
NS_PER_FMA = 0.025


@kernel
def takes_few(record, layout):
    """Whether a sequence's new tokens are few query rows."""
    group_heads = layout[R.HEADS] // layout[R.GROUPS]
    rows = record[R.NEW] * group_heads
    few = (rows + WIDEST - 1) // WIDEST * WIDEST if rows > WIDEST else rows
    many = group_heads * ((record[R.NEW] + LANES - 1) // LANES * LANES)
    return few * FEW_ROWS_COST <= many


@kernel
def plan_few(record, layout, columns, value_columns):
    """Shares of the keys of one sequence; (items, elements of shares, heads to merge, scratch)."""
    rows = record[R.NEW] * (layout[R.HEADS] // layout[R.GROUPS])
    keys = span_of(record, layout, record[R.LENGTH] - record[R.NEW]).keys
    share = max(SMALLEST_SHARE, (keys + SHARES - 1) // SHARES)
    record[R.SHARE_KEYS] = (share + MOST_KEYS - 1) // MOST_KEYS * MOST_KEYS
    shares = count_shares(keys, record[R.SHARE_KEYS])
    scratch = decode_scratch_elements(rows, columns, value_columns)
    groups = layout[R.GROUPS]
    if shares == 1:
        return groups, 0, 0, scratch
    return groups * shares, groups * shares * share_elements(rows, value_columns), groups, scratch


@kernel
def plan_many(record, layout, columns, value_columns):
    """The same for tiles of queries."""
    record[R.SHARE_KEYS] = 0
    wide_tiles, narrow_tiles = count_tiles(record[R.NEW], LANES)
    widest = LANES * TILE_VECTORS if wide_tiles > 0 else LANES
    scratch = many_rows_elements(layout[R.SIZE], layout[R.VALUE_SIZE], columns, value_columns, widest)
    return layout[R.HEADS] * (wide_tiles + narrow_tiles), 0, 0, scratch


@kernel
def plan(records, layout):
    """Fill in the planned places of the records and the layout; return the nanoseconds of the work in one thread."""
    columns = padded(layout[R.SIZE], layout[R.FORMAT])
    value_columns = padded(layout[R.VALUE_SIZE], layout[R.FORMAT])
    key_bytes = layout[R.KEY_ROW] + layout[R.VALUE_ROW] + layout[R.KEY_SCALE_ROW] + layout[R.VALUE_SCALE_ROW]
    layout[R.ITEMS : R.HAS_MANY + 1] = 0
    work = 0.0
    for i in range(layout[R.SEQUENCES]):
        record = records[i]
        record[R.FIRST_ITEM] = layout[R.ITEMS]
        if record[R.NEW] == 0:
            continue
        if takes_few(record, layout):
            items, elements, finishers, scratch = plan_few(record, layout, columns, value_columns)
        else:
            items, elements, finishers, scratch = plan_many(record, layout, columns, value_columns)
            layout[R.HAS_MANY] = 1
        record[R.SHARES_AT], record[R.FINISHED] = layout[R.SHARES], layout[R.FINISHERS]
        layout[R.ITEMS] += items
        layout[R.SHARES] += elements
        layout[R.FINISHERS] += finishers
        layout[R.SCRATCH] = max(layout[R.SCRATCH], scratch)
        keys = span_of(record, layout, record[R.LENGTH] - record[R.NEW]).keys
        bytes_read = NS_PER_BYTE * keys * layout[R.GROUPS] * key_bytes
        fmas = NS_PER_FMA * keys * layout[R.HEADS] * record[R.NEW] * (columns + value_columns)
        work += max(bytes_read, fmas)
    return work


def describe(records, layout, query, out, apart, lengths, firsts, counts):
    """Fill in the records and plan their work; see `attend_cached`. Returns the nanoseconds in one thread."""
    sequences, itemsize = records.shape[0], query.itemsize
    heads, value_size = query.shape[1], layout[R.VALUE_SIZE]
    layout[R.SEQUENCES], layout[R.HEADS] = sequences, heads
    for i in range(sequences):
        record = records[i]
        place = i if query.shape[0] > 1 else 0
        first = firsts[i] if firsts.size > 0 else 0
        new = counts[i] if counts.size > 0 else query.shape[2]
        record[R.NEW], record[R.LENGTH] = new, lengths[i]
        record[R.QUERY] = query.ctypes.data + place * query.strides[0] + first * query.strides[2]
        record[R.QUERY_HEAD] = query.strides[1] // itemsize
        record[R.QUERY_TOKEN] = query.strides[2] // itemsize
        if apart:
            record[R.OUT] = out.ctypes.data + first * heads * value_size * itemsize
            record[R.OUT_HEAD] = new * value_size
            record[R.OUT_TOKEN] = value_size
        else:
            record[R.OUT] = out.ctypes.data + place * out.strides[0] + first * out.strides[2]
            record[R.OUT_HEAD] = out.strides[1] // itemsize
            record[R.OUT_TOKEN] = out.strides[2] // itemsize
        for side in range(4):
            record[R.KEYS + side] = layout[R.STORED + side]
    return plan(records, layout)


@kernel
def sequence_of(item, records, count):
    """The last sequence whose first item is not behind ``item``; those without items share their successor's."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if records[middle, R.FIRST_ITEM] <= item:
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def attend_items(dtype, records, layout, shares, finished, scale, softcap, many, counter):
    """Take items until none is left. ``many`` is the address of `attend_many`, or 0 where no sequence needs it."""
    columns = padded(layout[R.SIZE], layout[R.FORMAT])
    value_columns = padded(layout[R.VALUE_SIZE], layout[R.FORMAT])
    group_heads = layout[R.HEADS] // layout[R.GROUPS]
    buffer = np.empty(layout[R.SCRATCH], np.float32)
    table = np.empty(2 * TABLE_ROWS, np.int64)
    item = next_item(counter, -1)
    while item < layout[R.ITEMS]:
        record = records[sequence_of(item, records, layout[R.SEQUENCES])]
        within = item - record[R.FIRST_ITEM]
        if record[R.SHARE_KEYS] == 0:
            call_by_address(many, (record, layout, scale, softcap, within, buffer, table))
        else:
            rows = record[R.NEW] * group_heads
            scratch = carve_decode_scratch(simd.pointer(buffer), rows, columns, value_columns, layout[R.FORMAT])
            decode_item(dtype, within, record, layout, shares, finished, scale, softcap, simd.pointer(table), scratch)
        item = next_item(counter, item)


def attend_f32(records, layout, shares, finished, scale, softcap, many, counter):
    """Items over float32 rows; the next ones by the types that `row_products` tells formats by."""
    attend_items(simd.f32, records, layout, shares, finished, scale, softcap, many, counter)


def attend_f16(records, layout, shares, finished, scale, softcap, many, counter):
    attend_items(simd.u16, records, layout, shares, finished, scale, softcap, many, counter)


def attend_bf16(records, layout, shares, finished, scale, softcap, many, counter):
    attend_items(simd.i16, records, layout, shares, finished, scale, softcap, many, counter)


def attend_int8(records, layout, shares, finished, scale, softcap, many, counter):
    attend_items(simd.i8, records, layout, shares, finished, scale, softcap, many, counter)


def attend_int4(records, layout, shares, finished, scale, softcap, many, counter):
    attend_items(simd.u8, records, layout, shares, finished, scale, softcap, many, counter)


def attend_parallel(body, workers, records, layout, shares, finished, scale, softcap, many, counter):
    """A body in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (records, layout, shares, finished, scale, softcap, many, counter))


_RECORDS = types.Array(types.int64, 2, "C")
_LAYOUT = types.Array(types.int64, 1, "C")
_ARGUMENTS = [
    _RECORDS, _LAYOUT, types.Array(types.float32, 1, "C"), _LAYOUT, types.float64, types.float64, types.int64,
]  # fmt: skip
# By the numbers of `storage_formats`.
_WORKS = [
    SharedWork(body, attend_parallel, _ARGUMENTS)
    for body in (attend_f32, attend_f16, attend_bf16, attend_int8, attend_int4)
]
# For callers that plan one small call in compiled code.
ATTEND_F32 = _WORKS[0].body
_NUMBERS = types.Array(types.int64, 1, "A", readonly=True)
_TOKENS = types.Array(types.float32, 4, "A", readonly=True)
_DESCRIBE = Direct(
    describe,
    types.float64(
        _RECORDS, _LAYOUT, _TOKENS, types.Array(types.float32, 4, "A"), types.boolean, _NUMBERS, _NUMBERS, _NUMBERS
    ),
)
_NO_SHARES, NO_NUMBERS = np.zeros(0, np.float32), np.zeros(0, np.int64)


def attend_cached(
    records, layout, query, out, lengths, *, scale, softcap, firsts=NO_NUMBERS, counts=NO_NUMBERS, apart=False
):
    """Attention of new tokens to the stored ones of their sequences.

    Parameters
    ----------
    records : (n, RECORD) int64, C-contiguous; of each sequence TABLE is given, all else filled in here
    layout : (LAYOUT,) int64, C-contiguous, likewise up to STORED_VALUE_SCALES but SEQUENCES and HEADS; see `records`
    query : (n, H, T, D) float32, last axis contiguous, or (1, H, total, D) with the new tokens of all sequences
    out : (n, H, T, Dv) or (1, H, total, Dv), likewise; written
    lengths : (n,) int64, tokens of each sequence, the new ones included
    firsts, counts : (n,) int64: sequence i has counts[i] new tokens from firsts[i] on; by default all T
    apart : whether ``out`` is (1, 1, 1, all elements), with the result of each sequence (H, counts[i], Dv) by itself
    softcap : 0 for none

    New tokens <= length, H a multiple of G, all addresses good: nothing is checked.
    """
    work_ns = _DESCRIBE.call(records, layout, query, out, apart, lengths, firsts, counts)
    run_planned(work_ns, records, layout, scale, softcap)


def run_planned(work_ns, records, layout, scale, softcap):
    """Run what `plan` made of the records; everything they refer to is the caller's to keep."""
    if layout[R.ITEMS] == 0:
        return
    shares, finished = _NO_SHARES, NO_NUMBERS
    if layout[R.FINISHERS]:
        shares = np.empty(layout[R.SHARES], np.float32)
        finished = np.zeros(layout[R.FINISHERS], np.int64)
    many = ATTEND_MANY.address if layout[R.HAS_MANY] else 0
    _WORKS[layout[R.FORMAT]](work_ns, records, layout, shares, finished, scale, softcap, many)
