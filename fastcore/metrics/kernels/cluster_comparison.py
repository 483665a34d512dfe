"""Two clusterings compared: all that the metrics of clusterings are made of, from the pairs of labels that occur."""

from typing import Any, NamedTuple

import numpy as np
from numba import types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import Direct
from fastcore.metrics.kernels.expected_mutual_information import (
    expected_if_little,
    expected_mutual_information,
    log_table,
)
from fastcore.metrics.kernels.label_pairs import Pairs, codes_of, have_many_pairs, pairs_of_codes, pairs_of_matrix

LANES = simd.F64_LANES
# How much is computed: numbers of pairs; entropies and mutual information too; what is expected by chance too.
COUNTS, INFORMATION, EXPECTED = 0, 1, 2
# Up to so many labels are compared in one call and one thread; up to the second number if they have many pairs, which
# are sorted by one thread anyhow.
MOST_LABELS, MOST_SORTED = 1 << 14, 1 << 18
# What it would cost to begin again for the sake of threads.
NS_PER_LABEL = 20.0
# Terms whose sum is rounded to the others' only once.
BLOCK = 512
# Above, squares of counts overflow int64.
MOST_SQUARED = 1 << 31


class Comparison(NamedTuple):
    """Two clusterings of ``samples``; -1 samples stand for arguments that are none of `compare_labels`'s.

    classes, clusters, pairs : how many of each occur
    squares, squares_true, squares_pred : sums of the squared numbers of samples of pairs, classes and clusters
    mutual, entropy_true, entropy_pred, expected : in nats; 0 where they were not asked for. NaN stands for an expected
        mutual information that threads should compute.
    """

    samples: Any
    classes: Any
    clusters: Any
    pairs: Any
    squares: Any
    squares_true: Any
    squares_pred: Any
    mutual: Any
    entropy_true: Any
    entropy_pred: Any
    expected: Any


@kernel
def entropy_of(sizes, total):
    """Entropy of clusters of these sizes, in nats."""
    sums = 0.0
    for block in range(0, sizes.size, BLOCK):
        terms = simd.broadcast(0.0, LANES)
        end = min(block + BLOCK, sizes.size)
        for first in range(block, end, LANES):
            size = simd.load_first(simd.advance(simd.pointer(sizes), first), LANES, end - first)
            terms = simd.fma(size, simd.log(total / simd.maximum(size, 1.0)), terms)
        sums += simd.reduce_add(terms)
    return sums / total


@kernel
def mutual_of(pairs, total):
    """Mutual information, in nats: each logarithm is of one quotient, so that independent clusterings give 0."""
    sums = 0.0
    for block in range(0, pairs.num, BLOCK):
        terms = simd.broadcast(0.0, LANES)
        end = min(block + BLOCK, pairs.num)
        for first in range(block, end, LANES):
            rows = simd.load_first(simd.advance(simd.pointer(pairs.rows), first), LANES, end - first)
            cols = simd.load_first(simd.advance(simd.pointer(pairs.cols), first), LANES, end - first)
            numbers = simd.load_first(simd.advance(simd.pointer(pairs.counts), first), LANES, end - first)
            count = simd.convert(numbers, simd.f64)
            sizes_true = simd.gather(simd.pointer(pairs.sizes_true), rows)
            sizes_pred = simd.gather(simd.pointer(pairs.sizes_pred), cols)
            quotient = count * total / (sizes_true * sizes_pred)
            terms = simd.fma(count, simd.log(simd.select(numbers > 0, quotient, 1.0)), terms)
        sums += simd.reduce_add(terms)
    return max(sums / total, 0.0)


@kernel
def sum_of_squares(counts, num):
    """Sum of the squares of the first ``num`` counts."""
    total = np.int64(0)
    for i in range(num):
        total += np.int64(counts[i]) * np.int64(counts[i])
    return total


@kernel
def compare_pairs(pairs, samples, level, logs, most_ns):
    """The comparison, from the pairs that occur; what is expected only if it is less work than ``most_ns``."""
    classes, clusters, num = pairs.sizes_true.size, pairs.sizes_pred.size, pairs.num
    squares = (
        sum_of_squares(pairs.counts, num),
        sum_of_squares(pairs.sizes_true, classes),
        sum_of_squares(pairs.sizes_pred, clusters),
    )
    mutual, entropy_true, entropy_pred, expected = 0.0, 0.0, 0.0, 0.0
    if level >= INFORMATION:
        total = np.float64(samples)
        entropy_true, entropy_pred = entropy_of(pairs.sizes_true, total), entropy_of(pairs.sizes_pred, total)
        # Where one determines the other, exactly what that implies; rounding gave 1 - 1e-16 for equal clusterings.
        if num == classes:
            mutual = entropy_pred
        elif num == clusters:
            mutual = entropy_true
        else:
            mutual = mutual_of(pairs, total)
        if level >= EXPECTED and classes > 1 and clusters > 1:
            if classes == samples or clusters == samples:  # each sample on its own: chance changes nothing
                expected = mutual
            else:
                expected = expected_if_little(pairs.sizes_true, pairs.sizes_pred, total, logs, most_ns)
    return Comparison(samples, classes, clusters, num, *squares, mutual, entropy_true, entropy_pred, expected)


def compare_labels(true, pred, level, logs):
    """Compare (N,) labels; -1 samples if there are too many, none or not as many of each, or too wide a range."""
    size = true.size
    nothing = Comparison(-1, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    if size != pred.size or size == 0 or size > MOST_SORTED or (size > MOST_LABELS and not have_many_pairs(true, pred)):
        return nothing
    codes_true, size_true = codes_of(true)
    codes_pred, size_pred = codes_of(pred)
    if size_true == 0 or size_pred == 0:
        return nothing
    pairs = pairs_of_codes(codes_true, size_true, codes_pred, size_pred)
    return compare_pairs(pairs, size, level, logs, threads.SMALLEST_WORK_NS + NS_PER_LABEL * size)


def read_matrix(matrix):
    """Pairs of a contingency matrix."""
    return pairs_of_matrix(matrix)


def pair_codes(true, size_true, pred, size_pred):
    """Pairs of (N,) codes below size_true and size_pred."""
    return pairs_of_codes(true, size_true, pred, size_pred)


def compare_listed(rows, cols, counts, sizes_true, sizes_pred, samples, level, logs, most_ns):
    """Compare by pairs in arrays, (P,) sorted by row, then column, and the sizes (Ka,), (Kb,)."""
    return compare_pairs(Pairs(rows, cols, counts, counts.size, sizes_true, sizes_pred), samples, level, logs, most_ns)


_LABELS = types.Array(types.int64, 1, "A", readonly=True)
_CODES = types.Array(types.int32, 1, "C")
_INTEGERS, _FLOATS = types.Array(types.int64, 1, "C"), types.Array(types.float64, 1, "C")
_LOGS = types.Array(types.float64, 1, "C", readonly=True)
_COMPARISON = types.NamedTuple([types.int64] * 7 + [types.float64] * 4, Comparison)
_PAIRS = types.NamedTuple([_CODES, _CODES, _INTEGERS, types.int64, _FLOATS, _FLOATS], Pairs)

_LABELS_COMPARED = Direct(compare_labels, _COMPARISON(_LABELS, _LABELS, types.int64, _LOGS))
_MATRIX_READ = Direct(read_matrix, _PAIRS(types.Array(types.int64, 2, "A", readonly=True)))
_CODES_PAIRED = Direct(pair_codes, _PAIRS(_CODES, types.int64, _CODES, types.int64))
_LIST_COMPARED = Direct(
    compare_listed,
    _COMPARISON(_CODES, _CODES, _INTEGERS, _FLOATS, _FLOATS, types.int64, types.int64, _LOGS, types.float64),
)


def compare_if_small(true, pred, level):
    """`Comparison` of two (N,) int64 arrays of any stride; -1 samples where `compare_labels` does not take them."""
    return _LABELS_COMPARED.call(true, pred, level, log_table())


def pairs_in(matrix):
    """`Pairs` of a (Ka, Kb) int64 contingency matrix."""
    return _MATRIX_READ.call(matrix)


def pairs_of(codes_true, size_true, codes_pred, size_pred):
    """`Pairs` of (N,) int32 codes below size_true and size_pred, N > 0; time and memory follow N, not the cells."""
    return _CODES_PAIRED.call(codes_true, size_true, codes_pred, size_pred)


def square_sum(counts):
    """Sum of the squares of whole numbers below 2**40, as an int of any size."""
    counts = np.asarray(counts).astype(np.int64)
    high, low = counts >> 20, counts & 0xFFFFF
    return (int(high @ high) << 40) + (int(high @ low) << 21) + int(low @ low)


def compare(pairs, samples, level):
    """`Comparison` by `Pairs`, samples > 0; what is much work is shared by threads."""
    rows, cols, counts, num, sizes_true, sizes_pred = pairs
    rows, cols, counts = rows[:num], cols[:num], counts[:num]
    most_ns = threads.SMALLEST_WORK_NS
    found = _LIST_COMPARED.call(rows, cols, counts, sizes_true, sizes_pred, samples, level, log_table(), most_ns)
    if found.expected != found.expected:
        found = found._replace(expected=expected_mutual_information(sizes_true, sizes_pred, samples))
    if samples >= MOST_SQUARED:
        squares, squares_true, squares_pred = (square_sum(x) for x in (counts, sizes_true, sizes_pred))
        found = found._replace(squares=squares, squares_true=squares_true, squares_pred=squares_pred)
    return found
