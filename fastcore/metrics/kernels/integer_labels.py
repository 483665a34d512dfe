"""Labels that hold integers: their range, and codes by a table over it."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.metrics.kernels import columns
from fastcore.metrics.kernels.columns import BLOCK, add_codes, item_size, place, scratch_for

ITEM = 16 * BLOCK
# Serial nanoseconds an element: the range from memory, a table (mark or look up) from cache.
NS_OF_RANGE, NS_OF_TABLE = 0.3, 0.7
# A table has at most so many entries a label, or this many.
ENTRIES_PER_LABEL = 2
SMALLEST_LIMIT = 1 << 16
# Beyond, float64 no longer holds each integer.
LARGEST_FLOAT = 2.0**53
SMALLEST, LARGEST = -(2**63), 2**63 - 1


@kernel
def integer_range(items, count, low, high):
    """(low, high, True), widened by ``count`` integers."""
    for i in range(count):
        value = np.int64(simd.load_scalar(simd.advance(items, i)))
        low = min(low, value)
        high = max(high, value)
    return low, high, True


@kernel
def float_range(items, count, low, high):
    """`integer_range` of floats, and whether each holds an integer."""
    others = np.int64(0)
    lowest, highest = np.float64(low), np.float64(high)
    for i in range(count):
        value = np.float64(simd.load_scalar(simd.advance(items, i)))
        is_integer = (np.abs(value) <= LARGEST_FLOAT) & (np.floor(value) == value)
        others |= np.int64(not is_integer)
        value = value if is_integer else np.float64(0.0)
        lowest = min(lowest, value)
        highest = max(highest, value)
    return np.int64(lowest), np.int64(highest), others == 0


@kernel
def block_range(base, kind, count, low, high):
    """(low, high, whether all are integers) of contiguous elements."""
    if kind == columns.I8:
        return integer_range(simd.pointer_at(base, simd.i8), count, low, high)
    if kind == columns.U8:
        return integer_range(simd.pointer_at(base, simd.u8), count, low, high)
    if kind == columns.I16:
        return integer_range(simd.pointer_at(base, simd.i16), count, low, high)
    if kind == columns.I32:
        return integer_range(simd.pointer_at(base, simd.i32), count, low, high)
    if kind in (columns.I64, columns.U64):
        return integer_range(simd.pointer_at(base, simd.i64), count, low, high)
    return float_range(simd.pointer_at(base, simd.f64), count, low, high)


@kernel
def column_range(address, stride, kind, start, stop, scratch):
    """(lowest, highest, whether all are integers) of the elements [start, stop); start < stop."""
    width = item_size(kind)
    low, high, are_integers = LARGEST, SMALLEST, True
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        base = place(address, stride, width, begin, count, scratch)
        low, high, of_block = block_range(base, kind, count, low, high)
        are_integers &= of_block
    return low, high, are_integers and not (kind == columns.U64 and low < 0)


def find_range(address, stride, kind, length, ranges, counter):
    """ranges[item] = lowest, highest, 1 if all hold integers, of items of ITEM elements."""
    scratch = scratch_for(stride == item_size(kind))
    item = next_item(counter, -1)
    while item * ITEM < length:
        low, high, integers = column_range(address, stride, kind, item * ITEM, min((item + 1) * ITEM, length), scratch)
        ranges[item, 0], ranges[item, 1], ranges[item, 2] = low, high, np.int64(integers)
        item = next_item(counter, item)


def find_range_parallel(body, workers, address, stride, kind, length, ranges, counter):
    """`find_range` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (address, stride, kind, length, ranges, counter))


def use_table(address, stride, kind, length, low, table, mark, codes, counter):
    """mark: table[label - low] = 1 for each label that occurs; else codes = table[label - low]."""
    scratch, offsets = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int32)
    item = next_item(counter, -1)
    while item * ITEM < length:
        for start in range(item * ITEM, min((item + 1) * ITEM, length), BLOCK):
            count = min(BLOCK, length - start)
            offsets[:] = 0
            add_codes(address, stride, kind, start, count, low, table.size, 1, offsets, scratch)
            if mark:
                for i in range(count):
                    table[np.int64(offsets[i])] = 1
            else:
                block = codes[start : start + count]
                for i in range(count):
                    block[i] = table[np.int64(offsets[i])]
        item = next_item(counter, item)


def use_table_parallel(body, workers, address, stride, kind, length, low, table, mark, codes, counter):
    """`use_table` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (address, stride, kind, length, low, table, mark, codes, counter))


_COLUMN = [types.int64, types.int64, types.int64, types.int64]
_CODES = types.Array(types.int32, 1, "C")
_RANGE = SharedWork(find_range, find_range_parallel, [*_COLUMN, types.Array(types.int64, 2, "C")])
_TABLE = SharedWork(use_table, use_table_parallel, [*_COLUMN, types.int64, _CODES, types.boolean, _CODES])


def range_of(labels):
    """(lowest, highest) of (N,) labels as `columns.readable` gives them; None where one holds no integer in int64.

    N > 0.
    """
    length = len(labels)
    ranges = np.empty((-(-length // ITEM), 3), np.int64)
    _RANGE(length * NS_OF_RANGE, *columns.column(labels), length, ranges)
    if len(ranges) == 1:
        low, high, are_integers = ranges[0].tolist()
    else:
        low, high, are_integers = int(ranges[:, 0].min()), int(ranges[:, 1].max()), ranges[:, 2].all()
    return (low, high) if are_integers else None


def encode_by_table(labels, low, high):
    """(classes, codes (N,) int32) of (N,) labels in [low, high]; None where their range is too wide for a table."""
    length, size = len(labels), high - low + 1
    if size > max(SMALLEST_LIMIT, ENTRIES_PER_LABEL * length):
        return None
    where = columns.column(labels)
    table = np.zeros(size, np.int32)
    codes = np.empty(length, np.int32)
    _TABLE(length * NS_OF_TABLE, *where, length, low, table, True, codes)
    present = np.flatnonzero(table)
    np.cumsum(table, out=table)
    table -= 1
    _TABLE(length * NS_OF_TABLE, *where, length, low, table, False, codes)
    return (present + low).astype(labels.dtype), codes
