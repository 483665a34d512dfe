"""Counts of pairs of integers in one pass over memory: their ranges are guessed from a few, and all are checked."""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels import columns
from fastcore.metrics.kernels.columns import BLOCK, gather_items
from fastcore.metrics.kernels.label_pairs import NUM_LOOKED_AT, span_of

# A matrix has at most 2**16 cells.
MOST_BITS = 16
# Up to so many cells there are copies of it that neighbours take turns with: a cell that is counted twice in a row
# waits for its own store.
COPIED_CELLS, COPIES = 1 << 12, 4
ITEM = 8 * BLOCK
NS_PER_PAIR = 1.0


@kernel
def guess_range(labels):
    """(lowest label, bits of a label less the lowest), as a few labels have it."""
    low, span = span_of(labels)
    if low >= 0 and np.uint64(low) <= span + np.uint64(BLOCK // 64):  # most likely they begin at 0
        low, span = np.int64(0), span + np.uint64(low)
    bits = 0
    while bits < 64 and span >> np.uint64(bits) > 0:
        bits += 1
    return np.int64(low), bits


def guess(true, pred):
    """(low, bits, low, bits): `guess_range` of both."""
    low_true, bits_true = guess_range(true)
    low_pred, bits_pred = guess_range(pred)
    return low_true, bits_true, low_pred, bits_pred


@kernel
def join_codes(items, count, low, bits, shift, codes):
    """codes |= (items - low) << shift, cut to ``bits``; 0 if there was nothing to cut."""
    outside = np.uint64(0)
    low, bits, shift = np.uint64(low), np.uint64(bits), np.uint64(shift)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    for i in range(count):
        code = np.uint64(np.int64(simd.load_scalar(simd.advance(items, i)))) - low
        outside |= code >> bits
        codes[i] |= np.int32((code & mask) << shift)
    return outside


@kernel
def join_column(address, stride, kind, start, count, low, bits, shift, codes, scratch):
    """`join_codes` of a part of a column; kind I32 or I64."""
    width = 4 if kind == columns.I32 else 8
    base = address + start * stride
    if stride != width:
        gather_items(base, stride, width, count, scratch)
        base = np.int64(scratch.ctypes.data)
    if kind == columns.I32:
        return join_codes(simd.pointer_at(base, simd.i32), count, low, bits, shift, codes)
    return join_codes(simd.pointer_at(base, simd.i64), count, low, bits, shift, codes)


@kernel
def count_codes(codes, count, counts, stride):
    """counts[codes] += 1, in COPIES copies that are ``stride`` apart."""
    whole = count - count % COPIES
    for i in range(0, whole, COPIES):
        counts[np.int64(codes[i])] += 1
        counts[stride + np.int64(codes[i + 1])] += 1
        counts[2 * stride + np.int64(codes[i + 2])] += 1
        counts[3 * stride + np.int64(codes[i + 3])] += 1
    for i in range(whole, count):
        counts[np.int64(codes[i])] += 1


def count_items(record, totals, outside, counter):
    """Add the counts of all pairs to ``totals``; outside[0] is not 0 afterwards if a label was not as guessed.

    record: address, stride, kind, low, bits of each column, then the length.
    """
    length, cells = record[10], totals.size
    stride = cells if cells <= COPIED_CELLS else 0
    counts = np.zeros(cells + 3 * stride, np.int64)
    codes, scratch = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int64)
    wrong = np.uint64(0)
    item = next_item(counter, -1)
    while item * ITEM < length and outside[0] == 0:
        for start in range(item * ITEM, min((item + 1) * ITEM, length), BLOCK):
            count = min(BLOCK, length - start)
            codes[:] = 0
            for first, shift in ((0, record[9]), (5, 0)):
                address, step, kind, low, bits = record[first : first + 5]
                wrong |= join_column(address, step, kind, start, count, low, bits, shift, codes, scratch)
            count_codes(codes, count, counts, stride)
        if wrong != 0:
            outside[0] = 1
        item = next_item(counter, item)
    for cell in range(cells):
        total = counts[cell]
        if stride > 0:
            total += counts[stride + cell] + counts[2 * stride + cell] + counts[3 * stride + cell]
        if total != 0:
            threads.atomic_add(totals, cell, total)


def count_parallel(body, workers, record, totals, outside, counter):
    """`count_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (record, totals, outside, counter))


_INTEGERS = types.Array(types.int64, 1, "C")
_COUNT = SharedWork(count_items, count_parallel, [_INTEGERS, _INTEGERS, _INTEGERS])


_LABELS = types.Array(types.int64, 1, "A", readonly=True)
_GUESS = Direct(guess, types.UniTuple(types.int64, 4)(_LABELS, _LABELS))
_READ = (np.dtype(np.int32), np.dtype(np.int64))


def count_guessed(true, pred):
    """(Ka, Kb) int64 counts of (N,) int32 or int64 labels, N > 0, with rows and columns of zeros; None otherwise.

    None too if there may be more than 2**MOST_BITS cells, or if the guess was wrong.
    """
    if true.dtype not in _READ or pred.dtype not in _READ or not (true.flags.aligned and pred.flags.aligned):
        return None
    few_true, few_pred = (y[:: len(y) // NUM_LOOKED_AT + 1].astype(np.int64, copy=False) for y in (true, pred))
    low_true, bits_true, low_pred, bits_pred = _GUESS.call(few_true, few_pred)
    if bits_true + bits_pred > MOST_BITS:
        return None
    of_true, of_pred = columns.column(true), columns.column(pred)
    record = np.array([*of_true, low_true, bits_true, *of_pred, low_pred, bits_pred, len(true)], np.int64)
    counts, outside = np.zeros((1 << bits_true, 1 << bits_pred), np.int64), np.zeros(1, np.int64)
    _COUNT(len(true) * NS_PER_PAIR, record, counts.reshape(-1), outside)
    return None if outside[0] else counts
