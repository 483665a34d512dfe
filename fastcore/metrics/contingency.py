"""Contingency matrices of two clusterings: how many samples, and how many pairs of samples, they agree on."""

from typing import Any

import numpy as np

from fastcore._core import validate_clustering as validate
from fastcore.metrics.clusterings import COUNTS, Comparison, compare_clusterings, find_matrix, find_pairs

_LARGEST = 2**63 - 1
_LARGEST_INDEX = 2**31 - 1


def contingency_matrix(
    labels_true: Any, labels_pred: Any, *, eps: float | None = None, sparse: bool = False, dtype: Any = np.int64
) -> Any:
    """How many samples of each class are in each cluster.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind; NaN is a label too
    eps : float, not negative, optional; added to each cell, so that none is 0
    sparse : whether to return a CSR matrix: where there are tens of thousands of labels on each side, a dense one would
        not fit into memory
    dtype : of the cells; with eps they become floats

    Returns
    -------
    (K_true, K_pred) ndarray, or `scipy.sparse.csr_matrix`, of the sorted labels that occur

    Raises
    ------
    ValueError : not one axis, not of one length, eps with sparse=True
    TypeError : objects that cannot be compared

    Notes
    -----
    The numbers of scikit-learn's `sklearn.metrics.cluster.contingency_matrix`.
    """
    sparse = validate.is_sparse_wanted(sparse)
    eps = validate.added(eps, sparse)
    dtype = validate.cell_dtype(dtype)
    true, pred = validate.label_columns(labels_true, labels_pred, "contingency_matrix")
    if sparse:
        return _sparse_matrix(true, pred, dtype)
    found = find_matrix(true, pred) if len(true) else None
    if found is not None:
        cells = found[2].astype(dtype, copy=False)
    elif len(true) == 0:
        cells = np.zeros((0, 0), dtype)
    else:
        classes, clusters, (rows, cols, counts, num, _, _) = find_pairs(true, pred)
        cells = np.zeros((len(classes), len(clusters)), dtype)
        cells[rows[:num], cols[:num]] = counts[:num]
    return cells if eps is None else cells + eps


def _sparse_matrix(true: np.ndarray, pred: np.ndarray, dtype: np.dtype) -> Any:
    from scipy.sparse import csr_matrix  # 0.1 s

    if len(true) == 0:
        return csr_matrix((0, 0), dtype=dtype)
    classes, clusters, (rows, cols, counts, num, _, _) = find_pairs(true, pred)
    index = np.int32 if max(num, len(classes), len(clusters)) <= _LARGEST_INDEX else np.int64
    starts = np.searchsorted(rows[:num], np.arange(len(classes) + 1)).astype(index)
    return csr_matrix(
        (counts[:num].astype(dtype), cols[:num].astype(index), starts), shape=(len(classes), len(clusters))
    )


def pair_confusion_matrix(labels_true: Any, labels_pred: Any) -> np.ndarray:
    """Pairs of samples, each counted both ways round, by whether the clusterings put them together.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind

    Returns
    -------
    (2, 2) int64; [i, j] pairs are together (1) or not (0) in labels_true, i, and in labels_pred, j. Python integers
    where N is beyond 3.03e9 and they would overflow.

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    Source: Hubert and Arabie 1985, "Comparing Partitions". The numbers of scikit-learn's
    `sklearn.metrics.cluster.pair_confusion_matrix`.
    """
    found = compare_clusterings(labels_true, labels_pred, COUNTS, "pair_confusion_matrix")
    return np.array(pair_counts(found), np.int64 if found.samples**2 <= _LARGEST else object)


def pair_counts(found: Comparison) -> tuple[tuple[int, int], tuple[int, int]]:
    """((neither, only in pred), (only in true, both)): pairs of samples that are together, as Python integers."""
    only_pred, only_true = found.squares_pred - found.squares, found.squares_true - found.squares
    neither = found.samples**2 - only_pred - only_true - found.squares
    return (neither, only_pred), (only_true, found.squares - found.samples)
