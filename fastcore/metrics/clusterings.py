"""What the metrics of clusterings share: labels of any kind compared, on the shortest way there is for them."""

from typing import Any

import numpy as np

from fastcore._core import validate_clustering as validate
from fastcore.metrics.kernels.cluster_comparison import (
    COUNTS,
    EXPECTED,
    INFORMATION,
    MOST_LABELS,
    Comparison,
    compare,
    compare_if_small,
    pairs_in,
    pairs_of,
)
from fastcore.metrics.kernels.label_pairs import Pairs
from fastcore.metrics.kernels.pair_histogram import pair_histogram
from fastcore.metrics.labels import encode

__all__ = ["COUNTS", "EXPECTED", "INFORMATION", "Comparison", "compare", "compare_clusterings", "find_pairs"]

_INT64 = np.dtype(np.int64)
_ndarray = np.ndarray
_NO_SAMPLES = Comparison(0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)


def compare_clusterings(labels_true: Any, labels_pred: Any, level: int, function: str) -> Comparison:
    """The `Comparison` of two clusterings, for the public ``function``.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind
    level : COUNTS, INFORMATION or EXPECTED: how much is computed

    Raises
    ------
    ValueError, TypeError : as `validate_clustering.clusterings`
    """
    if (
        type(labels_true) is type(labels_pred) is _ndarray
        and labels_true.dtype is labels_pred.dtype is _INT64
        and labels_true.ndim == labels_pred.ndim == 1
    ):
        found = compare_if_small(labels_true, labels_pred, level)
        if found.samples > 0 and found.expected == found.expected:
            return found
    return _compare(labels_true, labels_pred, level, function)


def _compare(labels_true: Any, labels_pred: Any, level: int, function: str) -> Comparison:
    """`compare_clusterings` for any arguments."""
    true, pred = validate.clusterings(labels_true, labels_pred, function)
    samples = len(true)
    if samples == 0:
        return _NO_SAMPLES
    if samples <= MOST_LABELS:
        found = compare_if_small(_integers(true), _integers(pred), level)
        if found.samples > 0 and found.expected == found.expected:
            return found
    return compare(find_pairs(true, pred)[2], samples, level)


def _integers(labels: np.ndarray) -> np.ndarray:
    """(N,) int64 that are equal, and ordered, as the labels are."""
    if labels.dtype.kind in "ib" or (labels.dtype.kind == "u" and labels.itemsize < 8):
        return labels.astype(np.int64, copy=False)
    return encode(labels)[1].astype(np.int64)


def find_pairs(true: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray, Pairs]:
    """(classes, clusters, pairs) of (N,) labels, N > 0."""
    histogram = pair_histogram(true, pred)
    if histogram is not None:
        classes, clusters, matrix = histogram
        return classes, clusters, pairs_in(matrix)
    (classes, codes_true), (clusters, codes_pred) = encode(true), encode(pred)
    codes = codes_true.astype(np.int64, copy=False), codes_pred.astype(np.int64, copy=False)
    return classes, clusters, pairs_of(codes[0], len(classes), codes[1], len(clusters))
