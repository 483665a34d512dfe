"""How often each pair of labels occurs: the counts behind confusion and contingency matrices."""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.metrics.kernels import columns
from fastcore.metrics.kernels.columns import BLOCK, add_codes
from fastcore.metrics.kernels.integer_labels import range_of
from fastcore.metrics.kernels.small_histogram import LONGEST, small_histogram
from fastcore.metrics.labels import encode

# Counts are kept in copies that neighbours take turns with: one cell that is counted twice in a row would wait for its
# own store. Of more cells than FEW_CELLS there is one copy, of more than LOCAL_CELLS none but the result, which one
# thread counts: making and adding copies would take longer.
COPIES, FEW_CELLS, LOCAL_CELLS = 4, 1 << 12, 1 << 15
# A dense matrix has at most so many cells a sample, or so many, and at most so many in all.
CELLS_PER_SAMPLE, SMALLEST_LIMIT, LARGEST_LIMIT = 4, 1 << 16, 1 << 27
ITEM = 16 * BLOCK
# Items of weighted counts: each is summed for itself, and then in order, whatever number of threads takes part.
WEIGHED_ITEM = 1 << 16
NS_PER_PAIR, NS_PER_WEIGHED_PAIR = 0.8, 1.5
# Ranges of longer columns are first guessed from so many labels.
SAMPLE = 4096


@kernel
def add_one(cells, code):
    """cells[code] += 1, of a pointer: an array would look whether the code is negative, which takes as long."""
    cell = simd.advance(cells, np.int64(code))
    simd.store_scalar(cell, simd.load_scalar(cell) + 1)


@kernel
def count_block(codes, count, cells, distance):
    """cells[k * distance + codes[i]] += 1, k the turn of i."""
    first, code = simd.pointer(cells), simd.pointer(codes)
    second = simd.advance(first, distance)
    third, fourth = simd.advance(second, distance), simd.advance(second, 2 * distance)
    for i in range(0, count - 3, COPIES):
        add_one(first, simd.load_scalar(simd.advance(code, i)))
        add_one(second, simd.load_scalar(simd.advance(code, i + 1)))
        add_one(third, simd.load_scalar(simd.advance(code, i + 2)))
        add_one(fourth, simd.load_scalar(simd.advance(code, i + 3)))
    for i in range(count - count % COPIES, count):
        add_one(first, simd.load_scalar(simd.advance(code, i)))


@kernel
def pair_codes(record, start, count, codes, scratch):
    """codes = (label of a - low_a) * num_b + (label of b - low_b) of a block; whether all are in their ranges.

    record: address, stride, kind, lowest label, number of labels for each of the two columns, then the length.
    """
    codes[:count] = 0
    a, b = record[:5], record[5:10]
    in_a = add_codes(a[0], a[1], a[2], start, count, a[3], a[4], b[4], codes, scratch)
    in_b = add_codes(b[0], b[1], b[2], start, count, b[3], b[4], 1, codes, scratch)
    return in_a and in_b


def count_pairs(record, counts, outside, counter):
    """Counts of the pairs of two columns; ``outside`` [0] becomes 1 where a label is not in its range."""
    length, num_cells = record[10], counts.size
    copies = COPIES if num_cells <= FEW_CELLS else 1
    is_local = num_cells <= LOCAL_CELLS
    codes, scratch = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int64)
    cells = np.zeros(copies * num_cells, np.int64) if is_local else counts
    distance = num_cells if copies > 1 else 0
    item = next_item(counter, -1)
    inside = True
    while item * ITEM < length and inside and outside[0] == 0:
        for start in range(item * ITEM, min((item + 1) * ITEM, length), BLOCK):
            count = min(BLOCK, length - start)
            inside &= pair_codes(record, start, count, codes, scratch)
            count_block(codes, count, cells, distance)
        item = next_item(counter, item)
    if not inside:
        outside[0] = 1
    if is_local:
        for cell in range(num_cells):
            total = 0
            for k in range(copies):
                total += cells[k * num_cells + cell]
            if total != 0:
                threads.atomic_add(counts, cell, total)


def count_pairs_parallel(body, workers, record, counts, outside, counter):
    """`count_pairs` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (record, counts, outside, counter))


def weigh_pairs(record, weights, chunk, sums, counter):
    """sums (chunks, cells) += the weights of the pairs of two columns; all labels are in their ranges."""
    length = record[10]
    codes, scratch = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int64)
    item = next_item(counter, -1)
    while item * chunk < length:
        cells = sums[item]
        for start in range(item * chunk, min((item + 1) * chunk, length), BLOCK):
            count = min(BLOCK, length - start)
            pair_codes(record, start, count, codes, scratch)
            of_block = weights[start : start + count]
            for i in range(count):
                cells[np.int64(codes[i])] += of_block[i]
        item = next_item(counter, item)


def weigh_pairs_parallel(body, workers, record, weights, chunk, sums, counter):
    """`weigh_pairs` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (record, weights, chunk, sums, counter))


_INTEGERS = types.Array(types.int64, 1, "C")
_COUNT = SharedWork(count_pairs, count_pairs_parallel, [_INTEGERS, _INTEGERS, _INTEGERS])
_WEIGHTS = types.Array(types.float64, 1, "A", readonly=True)
_WEIGH = SharedWork(
    weigh_pairs, weigh_pairs_parallel, [_INTEGERS, _WEIGHTS, types.int64, types.Array(types.float64, 2, "C")]
)


def dense_limit(length):
    """The most cells a dense matrix of pairs has, for so many samples."""
    return min(LARGEST_LIMIT, max(SMALLEST_LIMIT, CELLS_PER_SAMPLE * length))


def _record(a, range_a, b, range_b):
    """What the kernels read of two columns, and the shape of their matrix."""
    (low_a, high_a), (low_b, high_b) = range_a, range_b
    shape = high_a - low_a + 1, high_b - low_b + 1
    numbers = *columns.column(a), low_a, shape[0], *columns.column(b), low_b, shape[1], len(a)
    return np.array(numbers, np.int64), shape


def _count(record, shape):
    """(num_a, num_b) int64 counts of pairs of integers; None where one is outside of its range."""
    counts, outside = np.zeros(shape[0] * shape[1], np.int64), np.zeros(1, np.int64)
    _COUNT(record[10] * NS_PER_PAIR if counts.size <= LOCAL_CELLS else 0.0, record, counts, outside)
    return None if outside[0] else counts.reshape(shape)


def _weigh(record, shape, weights):
    """(num_a, num_b) float64 sums of the weights of pairs."""
    length, cells = len(weights), shape[0] * shape[1]
    chunk = WEIGHED_ITEM if cells <= FEW_CELLS else length
    sums = np.zeros((max(1, -(-length // chunk)), cells))
    _WEIGH(length * NS_PER_WEIGHED_PAIR if len(sums) > 1 else 0.0, record, weights, chunk, sums)
    return (sums.sum(0) if len(sums) > 1 else sums).reshape(shape)


def code_histogram(codes_a, num_a, codes_b, num_b, weights=None):
    """(num_a, num_b) int64, with weights float64, counts of pairs of codes (N,) below num_a and num_b."""
    if len(codes_a) == 0:
        return np.zeros((num_a, num_b), np.int64 if weights is None else np.float64)
    record, shape = _record(codes_a, (0, num_a - 1), codes_b, (0, num_b - 1))
    return _count(record, shape) if weights is None else _weigh(record, shape, weights)


def _count_within(a, range_a, b, range_b, weights):
    """`pair_histogram` of integers; None where the ranges are too wide, or a label is outside of them."""
    if (range_a[1] - range_a[0] + 1) * (range_b[1] - range_b[0] + 1) > SMALLEST_LIMIT:
        return None
    record, shape = _record(a, range_a, b, range_b)
    counts = _count(record, shape)
    if counts is None:
        return None
    present_a, present_b = counts.any(1).nonzero()[0], counts.any(0).nonzero()[0]
    matrix = counts if weights is None else _weigh(record, shape, weights)
    if (len(present_a), len(present_b)) != shape:
        matrix = matrix[present_a][:, present_b]  # a third of the time of both at once
    present_a += range_a[0]
    present_b += range_b[0]
    return present_a, present_b, matrix


def _count_integers(a, b, weights):
    """`pair_histogram` of integers, also in floats, of a narrow range; None for others."""
    numbers_a, numbers_b = columns.readable(a), columns.readable(b)
    if numbers_a is None or numbers_b is None:
        return None
    counted, step = None, len(a) // SAMPLE
    if len(a) <= LONGEST and weights is None:
        counted = small_histogram(numbers_a, numbers_b)
    elif step > 1:
        # One pass instead of two: labels that the sample does not show are rarely beyond those it does.
        guess_a, guess_b = range_of(numbers_a[::step]), range_of(numbers_b[::step])
        if guess_a is None or guess_b is None:
            return None
        counted = _count_within(numbers_a, guess_a, numbers_b, guess_b, weights)
    if counted is None:
        range_a, range_b = range_of(numbers_a), range_of(numbers_b)
        if range_a is None or range_b is None:
            return None
        counted = _count_within(numbers_a, range_a, numbers_b, range_b, weights)
    if counted is None:
        return None
    classes_a, classes_b, matrix = counted
    return classes_a.astype(a.dtype, copy=False), classes_b.astype(b.dtype, copy=False), matrix


def pair_histogram(a, b, weights=None):
    """(classes_a, classes_b, matrix): matrix[i, j] samples have the labels classes_a[i] and classes_b[j].

    a, b (N,) labels as `encode` takes them, weights (N,) float64 or None. matrix (Ka, Kb) is int64, with
    weights float64. None where Ka * Kb is beyond `dense_limit(N)`: then `encode` and `label_pairs`.
    """
    if len(a):
        counted = _count_integers(a, b, weights)
        if counted is not None:
            return counted
    (classes_a, codes_a), (classes_b, codes_b) = encode(a), encode(b)
    if len(classes_a) * len(classes_b) > dense_limit(len(a)):
        return None
    return classes_a, classes_b, code_histogram(codes_a, len(classes_a), codes_b, len(classes_b), weights)


def per_label_counts(codes_true, codes_pred, num_labels, weights=None):
    """(tp, true_sum, pred_sum), each (num_labels,): samples right, with and given each label; float64 with weights."""
    right = codes_true == codes_pred
    right_weights = None if weights is None else weights[right]
    return (
        np.bincount(codes_true[right], right_weights, minlength=num_labels),
        np.bincount(codes_true, weights, minlength=num_labels),
        np.bincount(codes_pred, weights, minlength=num_labels),
    )
