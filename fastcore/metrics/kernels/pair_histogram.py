"""How often each pair of labels occurs: the counts behind confusion and contingency matrices."""

import numpy as np
from numba import prange, types

from fastcore._core import threads
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.metrics.kernels import columns
from fastcore.metrics.kernels.columns import BLOCK, add_codes
from fastcore.metrics.kernels.integer_labels import range_of
from fastcore.metrics.labels import encode

# Counts of blocks are kept in copies that neighbours take turns with: one cell that is counted twice in a row would
# wait for its own store.
COPIES = 4
# A dense matrix has at most so many cells a sample, and at most so many in all.
CELLS_PER_SAMPLE = 4
SMALLEST_LIMIT = 1 << 16
LARGEST_LIMIT = 1 << 27
ITEM = 16 * BLOCK
NS_PER_PAIR = 1.0


@kernel
def count_block(codes, count, copies, stride):
    """copies[k * stride + codes[i]] += 1, k the turn of i."""
    whole = count - count % COPIES
    for i in range(0, whole, COPIES):
        copies[np.int64(codes[i])] += 1
        copies[stride + np.int64(codes[i + 1])] += 1
        copies[2 * stride + np.int64(codes[i + 2])] += 1
        copies[3 * stride + np.int64(codes[i + 3])] += 1
    for i in range(whole, count):
        copies[np.int64(codes[i])] += 1


def count_pairs(record, counts, outside, counter):
    """Counts of the pairs of two columns; ``outside`` [0] becomes 1 where a label is not in its range.

    record: address, stride, kind, lowest label, number of labels for each of the two columns, then the length.
    """
    length, num_b = record[10], record[9]
    cells = record[4] * num_b
    codes, scratch = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int64)
    copies = np.zeros(COPIES * cells, np.int64)
    item = next_item(counter, -1)
    inside = True
    while item * ITEM < length and inside and outside[0] == 0:
        for start in range(item * ITEM, min((item + 1) * ITEM, length), BLOCK):
            count = min(BLOCK, length - start)
            codes[:] = 0
            for each in range(2):
                address, stride, kind, low, size = record[5 * each : 5 * each + 5]
                factor = num_b if each == 0 else 1
                inside &= add_codes(address, stride, kind, start, count, low, size, factor, codes, scratch)
            count_block(codes, count, copies, cells)
        item = next_item(counter, item)
    if not inside:
        outside[0] = 1
    for cell in range(cells):
        total = 0
        for k in range(COPIES):
            total += copies[k * cells + cell]
        if total != 0:
            threads.atomic_add(counts, cell, total)


def count_pairs_parallel(body, workers, record, counts, outside, counter):
    """`count_pairs` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (record, counts, outside, counter))


_INTEGERS = types.Array(types.int64, 1, "C")
_COUNT = SharedWork(count_pairs, count_pairs_parallel, [_INTEGERS, _INTEGERS, _INTEGERS])


def dense_limit(length):
    """The most cells a dense matrix of pairs has, for so many samples."""
    return min(LARGEST_LIMIT, max(SMALLEST_LIMIT, CELLS_PER_SAMPLE * length))


def _count(a, low_a, num_a, b, low_b, num_b):
    """(num_a, num_b) int64 counts of pairs of integers; None where one is outside of its range."""
    record = np.array([*columns.column(a), low_a, num_a, *columns.column(b), low_b, num_b, len(a)], np.int64)
    counts, outside = np.zeros(num_a * num_b, np.int64), np.zeros(1, np.int64)
    _COUNT(len(a) * NS_PER_PAIR, record, counts, outside)
    return None if outside[0] else counts.reshape(num_a, num_b)


def _count_integers(a, b):
    """`pair_histogram` of integers of a narrow range; None for others."""
    numbers_a, numbers_b = columns.readable(a), columns.readable(b)
    if numbers_a is None or numbers_b is None:
        return None
    range_a, range_b = range_of(numbers_a), range_of(numbers_b)
    if range_a is None or range_b is None:
        return None
    (low_a, high_a), (low_b, high_b) = range_a, range_b
    num_a, num_b = high_a - low_a + 1, high_b - low_b + 1
    if num_a * num_b > SMALLEST_LIMIT:
        return None
    counts = _count(numbers_a, low_a, num_a, numbers_b, low_b, num_b)
    present_a, present_b = np.flatnonzero(counts.any(1)), np.flatnonzero(counts.any(0))
    if len(present_a) < num_a or len(present_b) < num_b:
        counts = counts[np.ix_(present_a, present_b)]
    return (present_a + low_a).astype(a.dtype), (present_b + low_b).astype(b.dtype), counts


def code_histogram(codes_a, num_a, codes_b, num_b, weights=None):
    """(num_a, num_b) int64, with weights float64, counts of pairs of codes (N,) below num_a and num_b."""
    if weights is None:
        return _count(codes_a, 0, num_a, codes_b, 0, num_b) if len(codes_a) else np.zeros((num_a, num_b), np.int64)
    pairs = codes_a.astype(np.int64) * num_b + codes_b
    return np.bincount(pairs, weights, minlength=num_a * num_b).reshape(num_a, num_b)


def pair_histogram(a, b, weights=None):
    """(classes_a, classes_b, matrix): matrix[i, j] samples have the labels classes_a[i] and classes_b[j].

    a, b (N,) labels as `encode` takes them, weights (N,) float64 or None. matrix (Ka, Kb) is int64, with
    weights float64. None where Ka * Kb is beyond `dense_limit(N)`: then `encode` and `pair_counts`.
    """
    if weights is None and len(a):
        counted = _count_integers(a, b)
        if counted is not None:
            return counted
    (classes_a, codes_a), (classes_b, codes_b) = encode(a), encode(b)
    if len(classes_a) * len(classes_b) > dense_limit(len(a)):
        return None
    return classes_a, classes_b, code_histogram(codes_a, len(classes_a), codes_b, len(classes_b), weights)


def pair_counts(codes_a, codes_b):
    """(rows, cols, counts) of the pairs of codes (N,) that occur, sorted by row, then column; all int64."""
    pairs, counts = np.unique(np.left_shift(codes_a, 32, dtype=np.int64) + codes_b, return_counts=True)
    return pairs >> 32, pairs & 0xFFFFFFFF, counts


def per_label_counts(codes_true, codes_pred, num_labels, weights=None):
    """(tp, true_sum, pred_sum), each (num_labels,): samples right, with and given each label; float64 with weights."""
    right = codes_true == codes_pred
    right_weights = None if weights is None else weights[right]
    return (
        np.bincount(codes_true[right], right_weights, minlength=num_labels),
        np.bincount(codes_true, weights, minlength=num_labels),
        np.bincount(codes_pred, weights, minlength=num_labels),
    )
