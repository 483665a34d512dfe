"""Curves and average precision from cumulative counts, and average precision of few samples at once."""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct

# Samples up to which sorting by insertion beats a general sort.
FEW = 64
OK, OTHER_INPUT = 0, 1


@kernel(fastmath=False)
def ratio(count, total):
    """count / total, rounded once: with the usual options it would be count * (1 / total), unlike scikit-learn's."""
    return np.float64(count) / np.float64(total)


@kernel
def precision_of(positives, negatives):
    """tp / (tp + fp), and 0 where nothing is predicted."""
    predicted = np.float64(positives) + np.float64(negatives)
    return ratio(positives, predicted) if predicted != 0.0 else 0.0


@kernel(fastmath=False)
def goes_straight_on(counts, i, column):
    """Whether a count grows at a group as it did before: differences of differences, whose rounding decides."""
    return (counts[i + 1, column] - counts[i, column]) - (counts[i, column] - counts[i - 1, column]) == 0


def roc_of_counts(counts, scores, drop, fpr, tpr, thresholds):
    """Number of points written: without those in line with both neighbours if ``drop``. From (0, 0) at infinity on."""
    groups = counts.shape[0]
    last = groups - 1
    negatives, positives = np.float64(counts[last, 0]), np.float64(counts[last, 1])
    fpr[0], tpr[0], thresholds[0] = 0.0, 0.0, np.inf
    point = 1
    for i in range(groups):
        if drop and 0 < i < last and goes_straight_on(counts, i, 0) and goes_straight_on(counts, i, 1):
            continue
        fpr[point] = ratio(counts[i, 0], negatives)
        tpr[point] = ratio(counts[i, 1], positives)
        thresholds[point] = scores[i]
        point += 1
    return point


def precision_recall_of_counts(counts, precision, recall):
    """Precision and recall of all groups, lowest score first, and at last 1 and 0."""
    groups = counts.shape[0]
    positives = np.float64(counts[groups - 1, 1])
    for i in range(groups):
        precision[groups - 1 - i] = precision_of(counts[i, 1], counts[i, 0])
        recall[groups - 1 - i] = ratio(counts[i, 1], positives) if positives != 0.0 else 1.0
    precision[groups], recall[groups] = 1.0, 0.0


def average_precision_of_counts(counts):
    """Sum over groups of precision times what recall gains; without positives recall is 1 from the first group on."""
    groups = counts.shape[0]
    positives = np.float64(counts[groups - 1, 1])
    if positives == 0.0:
        return max(0.0, precision_of(counts[0, 1], counts[0, 0]))
    total = precision_of(counts[0, 1], counts[0, 0]) * counts[0, 1]
    for i in range(1, groups):
        total += precision_of(counts[i, 1], counts[i, 0]) * (counts[i, 1] - counts[i - 1, 1])
    return max(0.0, total / positives)


def average_precision_of_few(labels, scores):
    """(status, average precision) of at most FEW samples, some of them positive."""
    rows = scores.size
    if labels.size != rows or rows == 0 or rows > FEW:
        return OTHER_INPUT, 0.0
    counts, ordered = np.empty((rows, 2), np.int64), np.empty(rows, np.float64)
    codes = np.empty(rows, np.int64)
    found, positives = 0, 0
    for i in range(rows):
        score, label = scores[i], labels[i]
        if not (abs(score) < np.inf) or label < 0 or label > 1:
            return OTHER_INPUT, 0.0
        positives += label
        place = i
        while place > 0 and ordered[place - 1] < score:
            ordered[place], codes[place] = ordered[place - 1], codes[place - 1]
            place -= 1
        ordered[place], codes[place] = score, label
    if positives == 0:
        return OTHER_INPUT, 0.0
    negatives, positives = 0, 0
    for i in range(rows):
        positives += codes[i]
        negatives += 1 - codes[i]
        if i == rows - 1 or ordered[i] != ordered[i + 1]:
            counts[found, 0], counts[found, 1] = negatives, positives
            found += 1
    return OK, average_precision_whole(counts[:found])


def _counts(dtype):
    return types.Array(dtype, 2, "C", readonly=True)


def _roc(dtype):
    out = types.Array(types.float64, 1, "C")
    read = types.Array(types.float64, 1, "C", readonly=True)
    return Direct(roc_of_counts, types.int64(_counts(dtype), read, types.boolean, out, out, out))


def _precision_recall(dtype):
    out = types.Array(types.float64, 1, "C")
    return Direct(precision_recall_of_counts, types.void(_counts(dtype), out, out))


def _average_precision(dtype):
    return Direct(average_precision_of_counts, types.float64(_counts(dtype)))


average_precision_whole = kernel(average_precision_of_counts)
_DTYPES = {np.dtype(np.int64): types.int64, np.dtype(np.float64): types.float64}
_ROC = {dtype: _roc(kind) for dtype, kind in _DTYPES.items()}
_PRECISION_RECALL = {dtype: _precision_recall(kind) for dtype, kind in _DTYPES.items()}
_AVERAGE_PRECISION = {dtype: _average_precision(kind) for dtype, kind in _DTYPES.items()}
# labels (N,) int64, scores (N,) float64 -> (status, average precision), for N <= FEW.
few_samples = Direct(
    average_precision_of_few,
    types.Tuple((types.int64, types.float64))(
        types.Array(types.int64, 1, "A", readonly=True), types.Array(types.float64, 1, "A", readonly=True)
    ),
)


def roc_points(counts, scores, drop):
    """False and true positive rates and thresholds.

    counts (G, 2) int64 or float64, C-contiguous: negatives and positives up to a group; scores (G,) float64.
    """
    fpr, tpr, thresholds = np.empty(len(counts) + 1), np.empty(len(counts) + 1), np.empty(len(counts) + 1)
    points = _ROC[counts.dtype].call(counts, scores, drop, fpr, tpr, thresholds)
    if points == len(fpr):
        return fpr, tpr, thresholds
    return fpr[:points].copy(), tpr[:points].copy(), thresholds[:points].copy()


def precision_recall_points(counts):
    """Precision and recall, (G + 1,) each, by rising score."""
    precision, recall = np.empty(len(counts) + 1), np.empty(len(counts) + 1)
    _PRECISION_RECALL[counts.dtype].call(counts, precision, recall)
    return precision, recall


def average_precision(counts):
    """Average precision, at least 0."""
    return _AVERAGE_PRECISION[counts.dtype].call(counts)
