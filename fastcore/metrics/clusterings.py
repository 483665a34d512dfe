"""What the metrics of clusterings share: labels of any kind compared, on the shortest way there is for them."""

from typing import Any, NamedTuple

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
from fastcore.metrics.kernels.label_pairs import MANY_CELLS, NUM_LOOKED_AT, Pairs
from fastcore.metrics.kernels.pair_histogram import code_histogram, pair_histogram
from fastcore.metrics.labels import encode

__all__ = ["COUNTS", "EXPECTED", "INFORMATION", "Comparison", "compare", "compare_clusterings", "find_pairs"]

_INT64 = np.dtype(np.int64)
_ndarray = np.ndarray
_NO_SAMPLES = Comparison(0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)


class CountedClusterings(NamedTuple):
    """Stands for labels of which only the counts of pairs are left: both clusterings of `samples`."""

    pairs: Pairs
    samples: int


def compare_clusterings(labels_true: Any, labels_pred: Any, level: int, function: str) -> Comparison:
    """The `Comparison` of two clusterings, for the public ``function``.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind, or `CountedClusterings`
    level : COUNTS, INFORMATION or EXPECTED: how much is computed

    Raises
    ------
    ValueError, TypeError : as `validate_clustering.clusterings`
    """
    if type(labels_true) is type(labels_pred) is _ndarray and labels_true.ndim == labels_pred.ndim == 1:
        true, pred = labels_true, labels_pred
        if not true.dtype is pred.dtype is _INT64 and true.size <= MOST_LABELS and _are_integers(true, pred):
            true, pred = true.astype(_INT64, copy=False), pred.astype(_INT64, copy=False)
        if true.dtype is pred.dtype is _INT64:
            found = compare_if_small(true, pred, level)
            if found.samples > 0 and found.expected == found.expected:
                return found
    return _compare(labels_true, labels_pred, level, function)


def _are_integers(*arrays: np.ndarray) -> bool:
    """Whether all are of integers, or bools, that int64 holds."""
    return all(x.dtype.kind in "ib" or (x.dtype.kind == "u" and x.itemsize < 8) for x in arrays)


def _compare(labels_true: Any, labels_pred: Any, level: int, function: str) -> Comparison:
    """`compare_clusterings` for any arguments."""
    if type(labels_true) is CountedClusterings:
        return compare(labels_true.pairs, labels_true.samples, level)
    true, pred = validate.clusterings(labels_true, labels_pred, function)
    samples = len(true)
    if samples == 0:
        return _NO_SAMPLES
    if samples <= MOST_LABELS:  # above, int64 has been there, and all else is encoded once below
        found = compare_if_small(_integers(true), _integers(pred), level)
        if found.samples > 0 and found.expected == found.expected:
            return found
    return compare(find_pairs(true, pred)[2], samples, level)


def _integers(labels: np.ndarray) -> np.ndarray:
    """(N,) int64 that are equal, and ordered, as the labels are."""
    if _are_integers(labels):
        return labels.astype(np.int64, copy=False)
    return encode(labels)[1].astype(np.int64, copy=False)


def find_matrix(true: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(classes, clusters, contingency matrix) of (N,) integers, N > 0; None for other labels, and for many pairs."""
    if true.dtype.kind not in "iufb" or pred.dtype.kind not in "iufb" or _span(true) * _span(pred) > MANY_CELLS:
        return None
    return pair_histogram(true, pred)


def _span(labels: np.ndarray) -> float:
    few = labels[:: len(labels) // NUM_LOOKED_AT + 1]
    return float(few.max()) - float(few.min())


def find_pairs(true: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray, Pairs]:
    """(classes, clusters, pairs) of (N,) labels, N > 0, of fewer than 2**31 kinds each."""
    found = find_matrix(true, pred)
    if found is not None:
        return found[0], found[1], pairs_in(found[2])
    (classes, codes_true), (clusters, codes_pred) = encode(true), encode(pred)
    sizes = len(classes), len(clusters)
    if sizes[0] * sizes[1] <= MANY_CELLS:
        return classes, clusters, pairs_in(code_histogram(codes_true, sizes[0], codes_pred, sizes[1]))
    codes_true, codes_pred = (np.ascontiguousarray(codes, np.int32) for codes in (codes_true, codes_pred))
    return classes, clusters, pairs_of(codes_true, sizes[0], codes_pred, sizes[1])
