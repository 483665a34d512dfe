"""Mutual information of two clusterings, as it is, normalised, and adjusted for chance."""

import math
import sys
from typing import Any

import numpy as np

from fastcore._core import validate_clustering as validate
from fastcore.metrics.clusterings import EXPECTED, INFORMATION, compare, compare_clusterings
from fastcore.metrics.kernels import expected_mutual_information as kernels
from fastcore.metrics.kernels.cluster_comparison import pairs_in
from fastcore.metrics.kernels.label_pairs import Pairs

_EPSILON = sys.float_info.epsilon


def mutual_info_score(labels_true: Any, labels_pred: Any, *, contingency: Any = None) -> float:
    """Mutual information of two clusterings, in nats.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind; not looked at if contingency is given
    contingency : (K_true, K_pred) counts, array or scipy.sparse matrix, optional

    Returns
    -------
    float, 0 to the smaller entropy; exactly that where one clustering determines the other, 0 for no sample

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    The numbers of scikit-learn's `mutual_info_score`; for no sample that has "math domain error".
    """
    if contingency is None:
        found = compare_clusterings(labels_true, labels_pred, INFORMATION, "mutual_info_score")
        return float(found.mutual)
    cells = validate.contingency(contingency, "mutual_info_score")
    pairs = pairs_in(cells) if type(cells) is np.ndarray else _pairs_of_sparse(cells)
    samples = int(pairs.counts[: pairs.num].sum())
    if 1 in cells.shape or samples == 0:
        return 0.0
    if pairs.counts[: pairs.num].min() < 0:
        return math.nan
    return float(compare(pairs, samples, INFORMATION).mutual)


def _pairs_of_sparse(cells: Any) -> Pairs:
    """`Pairs` of a scipy.sparse matrix: what is stored twice is added up, rows and columns of zeros go."""
    cells = cells.astype(np.int64).tocsr()
    cells.sum_duplicates()
    cells.eliminate_zeros()
    cells = cells.tocoo()
    parts = []
    for index, size in zip((cells.row, cells.col), cells.shape, strict=True):
        totals = np.bincount(index, cells.data, size)
        present = np.bincount(index, minlength=size) > 0
        parts.append(((np.cumsum(present, dtype=np.int32) - np.int32(1))[index], totals[present]))
    (rows, sizes_true), (cols, sizes_pred) = parts
    return Pairs(rows, cols, cells.data, len(cells.data), sizes_true, sizes_pred)


def expected_mutual_information(contingency: Any, n_samples: Any) -> float:
    """Mutual information, in nats, that clusterings with clusters of these sizes have by chance.

    Parameters
    ----------
    contingency : (K_true, K_pred) counts, array or scipy.sparse matrix; only the sums of its rows and columns matter
    n_samples : int, how many samples there are

    Returns
    -------
    float

    Raises
    ------
    ValueError : a negative sum, or fewer samples than in the largest cluster

    Notes
    -----
    Source: Vinh, Epps and Bailey 2010, "Information Theoretic Measures for Clusterings Comparison", eq. 24a. What
    scikit-learn's `expected_mutual_information` sums by differences of lgamma, which costs it up to 2e-12 at 1e5
    samples, is summed here by ratios, and off by 1e-15.
    """
    sizes = validate.cluster_sizes(contingency)
    samples = validate.number_of_samples(n_samples, *sizes)
    if any(len(size) == 1 for size in sizes):
        return 0.0
    sizes_true, sizes_pred = (size[size > 0].astype(np.float64) for size in sizes)
    if len(sizes_true) == 0 or len(sizes_pred) == 0:
        return 0.0
    return kernels.expected_mutual_information(sizes_true, sizes_pred, samples)


def adjusted_mutual_info_score(labels_true: Any, labels_pred: Any, *, average_method: str = "arithmetic") -> float:
    """Mutual information less what is expected by chance, over the most it can be.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind
    average_method : 'arithmetic', 'geometric', 'max' or 'min' of the two entropies is the most

    Returns
    -------
    float, at most 1; around 0 for independent labels, exactly 1 for equal clusterings

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite; unknown average_method
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    Source: Vinh, Epps and Bailey 2010, "Information Theoretic Measures for Clusterings Comparison". The numbers of
    scikit-learn's `adjusted_mutual_info_score`, where its own rounding allows. Where each sample is a cluster of its
    own, what is expected is the mutual information itself, and 0 is exact: scikit-learn divides what rounding left.
    """
    if average_method != "arithmetic":
        average_method = validate.average_method(average_method, "adjusted_mutual_info_score")
    found = compare_clusterings(labels_true, labels_pred, EXPECTED, "adjusted_mutual_info_score")
    if found.classes == found.clusters == found.pairs:  # equal, or without a sample
        return 1.0
    if found.classes == 1 or found.clusters == 1:
        return 0.0
    most = _average(found.entropy_true, found.entropy_pred, average_method)
    return _away_from_zero(found.mutual - found.expected) / _away_from_zero(most - found.expected)


def _away_from_zero(x: float) -> float:
    """`x`, at least epsilon in size: 0 / 0 is 1."""
    return min(x, -_EPSILON) if x < 0 else max(x, _EPSILON)


def _average(a: float, b: float, method: str) -> float:
    if method == "arithmetic":
        return 0.5 * (a + b)
    if method == "geometric":
        return math.sqrt(a * b)
    return max(a, b) if method == "max" else min(a, b)


def normalized_mutual_info_score(labels_true: Any, labels_pred: Any, *, average_method: str = "arithmetic") -> float:
    """Mutual information over an average of the two entropies.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind
    average_method : 'arithmetic', 'geometric', 'max' or 'min' of the two entropies

    Returns
    -------
    float, 0 to 1; exactly 1 for equal clusterings

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite; unknown average_method
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    The numbers of scikit-learn's `normalized_mutual_info_score`.
    """
    if average_method != "arithmetic":
        average_method = validate.average_method(average_method, "normalized_mutual_info_score")
    found = compare_clusterings(labels_true, labels_pred, INFORMATION, "normalized_mutual_info_score")
    if found.classes == found.clusters == found.pairs:
        return 1.0
    if found.mutual == 0.0:
        return 0.0
    return float(found.mutual / _average(found.entropy_true, found.entropy_pred, average_method))


def entropy(labels: Any) -> float:
    """Entropy of a clustering, in nats.

    Parameters
    ----------
    labels : (N,) labels of any kind

    Returns
    -------
    float; 1 for no sample, as scikit-learn has it

    Raises
    ------
    ValueError : not one axis, NaN or infinite
    TypeError : bytes, or objects that cannot be compared
    """
    found = compare_clusterings(labels, labels, INFORMATION, "entropy")
    return float(found.entropy_true) if found.samples else 1.0
