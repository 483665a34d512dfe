"""The pairs of labels that occur, of integers of a narrow range, and of a contingency matrix.

Pairs are listed by class, then cluster, both numbered without gaps, so that whatever is summed over them is summed in
one order, whatever the labels are.
"""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core.jit import kernel

# A range of labels is counted if it has at most so many numbers a sample, and a matrix of them so many cells. A matrix
# that is emptier takes longer than two counting sorts: 1000 samples of 1000 x 1000 labels 900 against 11 us.
NUMBERS_PER_SAMPLE, SMALLEST_RANGE = 4, 256
CELLS_PER_SAMPLE, SMALLEST_MATRIX = 2, 1024
# Beyond so many cells even copies of a matrix for threads leave the caches: pairs are sorted.
MANY_CELLS = 1 << 16
# Labels that are looked at to tell.
NUM_LOOKED_AT = 256


class Pairs(NamedTuple):
    """Pairs: rows, cols int32, counts int64, the first ``num`` of each; and float sizes of classes and clusters."""

    rows: Any
    cols: Any
    counts: Any
    num: Any
    sizes_true: Any
    sizes_pred: Any


@kernel
def span_of(labels):
    """(lowest, highest - lowest) of (N,) labels, N > 0; the difference wraps around to the right one."""
    low = high = labels[0]
    for label in labels:
        low = min(low, label)
        high = max(high, label)
    return low, np.uint64(high) - np.uint64(low)


@kernel
def codes_of(labels):
    """(codes (N,) int32, size): labels less the lowest, all below ``size``; 0 where their range is too wide. N > 0."""
    together = np.empty(labels.size, np.int64)  # what is side by side is read eight at a time
    for i in range(labels.size):
        together[i] = labels[i]
    low, span = span_of(together)
    codes = np.empty(labels.size, np.int32)
    if span >= np.uint64(NUMBERS_PER_SAMPLE * labels.size + SMALLEST_RANGE):
        return codes, np.int64(0)
    for i in range(codes.size):
        codes[i] = np.int32(together[i] - low)
    return codes, np.int64(span) + 1


@kernel
def have_many_pairs(true, pred):
    """Whether a few of the labels, spread over all, span more than MANY_CELLS pairs."""
    step = true.size // NUM_LOOKED_AT + 1
    span_true, span_pred = span_of(true[::step])[1], span_of(pred[::step])[1]
    return np.float64(span_true) * np.float64(span_pred) > MANY_CELLS


@kernel
def count_each(codes, size):
    """(size,) how often each code occurs."""
    counts = np.zeros(size, np.int64)
    for code in codes:
        counts[code] += 1
    return counts


@kernel
def number_present(counts):
    """(numbers, sizes): numbers[label] of those that occur, without gaps, and how often each occurs, as floats."""
    numbers = np.empty(counts.size, np.int32)
    present = 0
    for i in range(counts.size):
        numbers[i] = present
        present += counts[i] > 0
    sizes = np.empty(present, np.float64)
    for i in range(counts.size):
        if counts[i] > 0:
            sizes[numbers[i]] = counts[i]
    return numbers, sizes


@kernel
def pairs_of_matrix(matrix):
    """Pairs of a (Ka, Kb) int64 contingency matrix."""
    num_rows, num_cols = matrix.shape
    counts_true, counts_pred = np.zeros(num_rows, np.int64), np.zeros(num_cols, np.int64)
    cells = 0
    for i in range(num_rows):
        for j in range(num_cols):
            counts_true[i] += matrix[i, j]
            counts_pred[j] += matrix[i, j]
            cells += matrix[i, j] != 0
    numbers_true, sizes_true = number_present(counts_true)
    numbers_pred, sizes_pred = number_present(counts_pred)
    rows, cols, counts = np.empty(cells, np.int32), np.empty(cells, np.int32), np.empty(cells, np.int64)
    num = 0
    for i in range(num_rows):
        for j in range(num_cols):
            if matrix[i, j] != 0:
                rows[num], cols[num], counts[num] = numbers_true[i], numbers_pred[j], matrix[i, j]
                num += 1
    return Pairs(rows, cols, counts, num, sizes_true, sizes_pred)


@kernel
def first_places(counts):
    """Where each label's samples begin when they are sorted."""
    places = np.empty(counts.size, np.int64)
    place = 0
    for i in range(counts.size):
        places[i] = place
        place += counts[i]
    return places


@kernel
def list_sorted(true, counts_true, numbers_true, pred, counts_pred, numbers_pred):
    """(rows, cols, counts, num) without a matrix: samples sorted by cluster, then by class; equal ones are neighbours.

    Pairs are written over what has been read: fresh memory took longer than all the rest.
    """
    counts = np.empty(true.size, np.int64)
    places = first_places(counts_pred)
    by_cluster, clusters = np.empty(true.size, np.int32), np.empty(true.size, np.int32)
    for i in range(true.size):
        by_cluster[places[pred[i]]] = true[i]
        places[pred[i]] += 1
    places = first_places(counts_true)
    start = 0
    for cluster in range(counts_pred.size):
        end = start + counts_pred[cluster]
        for i in range(start, end):
            clusters[places[by_cluster[i]]] = cluster
            places[by_cluster[i]] += 1
        start = end
    num, start = 0, 0
    for code in range(counts_true.size):
        end = start + counts_true[code]
        while start < end:
            first = start
            while start < end and clusters[start] == clusters[first]:
                start += 1
            by_cluster[num], clusters[num] = numbers_true[code], numbers_pred[clusters[first]]
            counts[num] = start - first
            num += 1
    return by_cluster, clusters, counts, num


@kernel
def pairs_of_codes(true, size_true, pred, size_pred):
    """Pairs of (N,) int32 codes, N > 0, as `codes_of` gives them."""
    cells = size_true * size_pred
    if cells <= CELLS_PER_SAMPLE * true.size + SMALLEST_MATRIX:
        matrix = np.zeros((size_true, size_pred), np.int64)
        for i in range(true.size):
            matrix[true[i], pred[i]] += 1
        return pairs_of_matrix(matrix)
    counts_true, counts_pred = count_each(true, size_true), count_each(pred, size_pred)
    numbers_true, sizes_true = number_present(counts_true)
    numbers_pred, sizes_pred = number_present(counts_pred)
    rows, cols, counts, num = list_sorted(true, counts_true, numbers_true, pred, counts_pred, numbers_pred)
    return Pairs(rows, cols, counts, num, sizes_true, sizes_pred)
