"""The area under the ROC curve, as the probability that a positive scores above a negative, times their weights."""

from typing import NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.pair_area import area_of_bucket, scratch_of, total_of
from fastcore.metrics.kernels.score_buckets import (
    LARGEST_SMALL,
    NEGATIVE_WEIGHT,
    NOT_FINITE,
    OTHER_CODE,
    divide_into_buckets,
)

# Serial nanoseconds a score of the last pass, for the choice between serial and parallel.
AREA_NS = 6.0
_INT64 = np.dtype(np.int64)  # native: the type number is that of either byte order

FINE = 0  # the status of an area; the others are the faults of `divide_into_buckets`


class Area(NamedTuple):
    """Weight of the ordered pairs (a tie counts half), of the negatives and of the positives; all of them counts
    where nothing is weighted.

    status: FINE, or OTHER_CODE (a label beside 0 and 1), NOT_FINITE (a score or a weight), NEGATIVE_WEIGHT (a negative
    one); the numbers mean nothing then.
    """

    status: int
    area: float
    negatives: float
    positives: float


@kernel
def status_of(labels, scores, weights):
    """What is wrong with the input, and how many labels are 0."""
    ones = 0
    others = False
    finite = True
    negative = False
    for i in range(labels.size):
        label = int(labels[i])
        ones += label
        others |= label & ~1 != 0
        finite &= abs(scores[i]) < np.inf
    if weights is not None:
        for weight in weights:
            finite &= abs(weight) < np.inf
            negative |= weight < 0.0
    if others:
        return OTHER_CODE, 0
    if not finite:
        return NOT_FINITE, 0
    return NEGATIVE_WEIGHT if negative else FINE, labels.size - ones


def small_area(labels, scores, weights):
    status, negatives = status_of(labels, scores, weights)
    if status != FINE:
        return status, 0.0, 0.0, 0.0
    size = scores.size
    moved, spare = np.empty(size), np.empty(size)
    moved_weights = None if weights is None else np.empty(size)
    spare_weights = None if weights is None else np.empty(size)
    below, above = 0, negatives
    for i in range(size):
        label = int(labels[i])
        place = np.uint64(above if label else below)
        moved[place] = scores[i]
        if moved_weights is not None:
            moved_weights[place] = weights[i]
        above += label
        below += 1 - label
    negative_weight, positive_weight = total_of(moved_weights, 0, negatives), total_of(moved_weights, negatives, size)
    area = area_of_bucket(moved, moved_weights, negatives, spare, spare_weights, scratch_of(size))
    return FINE, area, negative_weight, positive_weight


def area_items(scores, weights, starts, largest, results, counter):
    """results[bucket]: its area, and the weight of its negatives and of its positives."""
    spare = np.empty(largest)
    spare_weights = np.empty(largest if weights.size else 0)
    scratch = scratch_of(largest)
    bucket = next_item(counter, -1)
    while 2 * bucket < starts.size - 1:
        first, middle, end = starts[2 * bucket], starts[2 * bucket + 1], starts[2 * bucket + 2]
        part, row = scores[first:end], results[bucket]
        if weights.size:
            own = weights[first:end]
            row[1], row[2] = total_of(own, 0, middle - first), total_of(own, middle - first, end - first)
            row[0] = area_of_bucket(part, own, middle - first, spare, spare_weights, scratch)
        else:
            row[1], row[2] = np.float64(middle - first), np.float64(end - middle)
            row[0] = area_of_bucket(part, None, middle - first, spare, None, scratch)
        bucket = next_item(counter, bucket)


def area_parallel(body, workers, scores, weights, starts, largest, results, counter):
    for _ in prange(workers):
        call_by_address(body, (scores, weights, starts, largest, results, counter))


def sum_of_buckets(results):
    """(area, negatives, positives): pairs within buckets, and a bucket's positives with all negatives below it."""
    area = 0.0
    below = 0.0
    above = 0.0
    for bucket in range(results.shape[0]):
        row = results[bucket]
        area += row[0] + row[2] * below
        below += row[1]
        above += row[2]
    return area, below, above


_F64, _I64 = types.float64, types.int64
_READ_F64, _READ_I64 = (types.Array(each, 1, "A", readonly=True) for each in (_F64, _I64))
_VECTOR = types.Array(_F64, 1, "C")
_ROWS = types.Array(_F64, 2, "C")

_SMALL = Direct(small_area, types.Tuple((_I64, _F64, _F64, _F64))(_READ_I64, _READ_F64, types.none))
_SMALL_WEIGHTED = Direct(small_area, types.Tuple((_I64, _F64, _F64, _F64))(_READ_I64, _READ_F64, _READ_F64))
_AREA_ITEMS = SharedWork(
    area_items, area_parallel, [_VECTOR, _VECTOR, types.Array(_I64, 1, "C", readonly=True), _I64, _ROWS]
)
_SUM = Direct(sum_of_buckets, types.UniTuple(_F64, 3)(_ROWS))


def roc_area(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Area:
    """The area that positives have over negatives.

    labels (N,) integers or bools; scores (N,) float32 or float64; weights (N,) float64 or None; any strides.
    """
    if scores.size <= LARGEST_SMALL:
        return small_roc_area(labels, scores, weights)
    codes = labels.view(np.uint8) if labels.itemsize == 1 else labels
    if codes.itemsize != 1 and codes.dtype is not _INT64:
        codes = codes.astype(np.int64)
    faults, buckets = divide_into_buckets(scores, codes, 2, weights)
    if faults:
        return Area(faults & -faults, 0.0, 0.0, 0.0)  # one of them, if there are several
    starts = buckets.starts
    results = np.empty((starts.size // 2, 3))
    largest = int((starts[2::2] - starts[:-1:2]).max())
    _AREA_ITEMS(AREA_NS * scores.size, buckets.scores, buckets.weights, starts, largest, results)
    return Area(FINE, *_SUM.call(results))


def small_roc_area(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Area:
    """The same in one call, for few scores."""
    if labels.dtype is not _INT64:
        labels = labels.astype(np.int64)
    if scores.itemsize != 8:
        scores = scores.astype(np.float64)
    if weights is None:
        return Area(*_SMALL.call(labels, scores, None))
    return Area(*_SMALL_WEIGHTED.call(labels, scores, weights))
