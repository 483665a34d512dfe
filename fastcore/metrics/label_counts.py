"""Counts from which all classification metrics follow: for each label, samples that have it, were given it, or both.

Labels are counted in pairs (a confusion matrix of the labels that occur), or, where there are too many, each for
itself. Indicator matrices are counted by columns, or by rows for ``average='samples'``.
"""

import math
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_classification as validate
from fastcore._core.validate_classification import Targets
from fastcore._core.validate_containers import is_sparse
from fastcore.metrics.kernels import binary_counts, string_counts
from fastcore.metrics.kernels.pair_histogram import pair_histogram, per_label_counts
from fastcore.metrics.labels import encode

# Objects that Python counts sooner than they are coded.
FEW_OBJECTS = 100

_ndarray = np.ndarray
_FLOAT64 = np.dtype(np.float64)


class LabelCounts(NamedTuple):
    """Counts of K labels, or of samples: int64, with weights float64."""

    kind: str  # 'binary', 'multiclass' or 'multilabel-indicator'
    labels: np.ndarray  # (K,) sorted; of indicators the numbers of columns
    both: np.ndarray  # (K,) samples that have the label and were given it: true positives
    true: np.ndarray  # (K,) samples that have it
    pred: np.ndarray  # (K,) samples that were given it
    total: Any  # of all samples; an array where each has a weight and is counted for itself


def join(classes_a: np.ndarray, classes_b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labels, places_a, places_b): the sorted union, and where each class of either is in it."""
    if classes_a.dtype == classes_b.dtype and classes_a.dtype.kind != "O":
        if len(classes_a) == len(classes_b) and (classes_a == classes_b).all():
            places = np.arange(len(classes_a))
            return classes_a, places, places
        labels = np.unique(np.concatenate([classes_a, classes_b]))
        return labels, np.searchsorted(labels, classes_a), np.searchsorted(labels, classes_b)
    # Python's numbers compare exactly across kinds, where NumPy rounds int64 beside uint64 to float64.
    a, b = classes_a.tolist(), classes_b.tolist()
    try:
        union = sorted(set(chain(a, b)))
    except TypeError as error:
        validate.labels_do_not_compare(error)
    place = {label: i for i, label in enumerate(union)}
    dtype = None if "O" in classes_a.dtype.kind + classes_b.dtype.kind else np.result_type(classes_a, classes_b)
    return np.asarray(union, dtype), np.array([place[x] for x in a]), np.array([place[x] for x in b])


def count_positives(
    y_true: Any, y_pred: Any, pos_label: Any, sample_weight: Any
) -> tuple[float, float, float, float] | None:
    """(both, true, pred, total): samples, or weights, of the positive label in both targets, in each, and of all.

    None unless the targets are 1-D arrays of labels 0 and 1 in one dtype and the positive one is 1, with weights that
    are float64, finite and sum to something; or of two strings, fixed-width or few objects, without weights; and unless
    the positive label occurs. All else is for those who check everything.
    """
    if type(y_true) is not _ndarray or type(y_pred) is not _ndarray or y_true.ndim != 1 or y_pred.ndim != 1:
        return None
    if type(pos_label) is int and pos_label == 1:
        if sample_weight is not None:
            return _weigh_ones(y_true, y_pred, sample_weight)
        code, true, pred, both, total = binary_counts.count(y_true, y_pred)
    elif type(pos_label) is str and sample_weight is None:
        if y_true.dtype.kind == "O" and y_pred.dtype.kind == "O":
            return _count_few_strings(y_true, y_pred, pos_label) if len(y_true) <= FEW_OBJECTS else None
        code, true, pred, both, total = string_counts.count(y_true, y_pred, pos_label)
    else:
        return None
    return (both, true, pred, total) if code == binary_counts.BINARY and (true or pred) else None


def _count_few_strings(y_true: np.ndarray, y_pred: np.ndarray, pos_label: str) -> tuple[int, int, int, int] | None:
    """`count_positives` of objects: 3 us for 10 samples, where coding them takes 30."""
    a, b = y_true.tolist(), y_pred.tolist()
    if {*map(type, a), *map(type, b)} != {str} or len({*a, *b}) > 2 or len(a) != len(b):
        return None
    true, pred = a.count(pos_label), b.count(pos_label)
    both = sum([x == pos_label == y for x, y in zip(a, b)])
    return (both, true, pred, len(a)) if true or pred else None


def _weigh_ones(y_true: np.ndarray, y_pred: np.ndarray, sample_weight: Any) -> tuple[float, float, float, float] | None:
    """`count_positives` of the label 1 with weights."""
    if type(sample_weight) is not _ndarray or sample_weight.ndim != 1 or sample_weight.dtype is not _FLOAT64:
        return None
    code, true, pred, both, total = binary_counts.count(y_true, y_pred, sample_weight)
    usable = code == binary_counts.BINARY and 0 < true + pred < math.inf and 0 < total < math.inf
    return (both, true, pred, total) if usable else None


def as_float64(weights: np.ndarray | None) -> np.ndarray | None:
    return None if weights is None else np.ascontiguousarray(weights, np.float64)


def pairs_of(targets: Targets) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """`pair_histogram` of targets; None where it is."""
    try:
        counted: Any = pair_histogram(targets.true, targets.pred, as_float64(targets.weights))
    except TypeError as error:
        validate.labels_do_not_compare(error)
    return counted


def count_labels(targets: Targets) -> LabelCounts:
    """Counts of labels, one a sample."""
    weights = as_float64(targets.weights)
    total = len(targets.true) if weights is None else weights.sum()
    counted = pairs_of(targets)
    if counted is None:
        return _count_many_labels(targets, weights, total)
    classes_true, classes_pred, matrix = counted
    kind = validate.kind_of_labels(targets, classes_true, classes_pred)
    labels, rows, columns = join(classes_true, classes_pred)
    number = len(labels)
    both, true, pred = (np.zeros(number, matrix.dtype) for _ in range(3))
    true[rows], pred[columns] = matrix.sum(1), matrix.sum(0)
    column_of = np.full(number, -1)
    column_of[columns] = np.arange(len(columns))
    (shared,) = np.nonzero(column_of[rows] >= 0)
    both[rows[shared]] = matrix[shared, column_of[rows[shared]]]
    return LabelCounts(_kind_of_union(kind, number), labels, both, true, pred, total)


def _kind_of_union(kind: str, number: int) -> str:
    return "multiclass" if number > 2 else kind


def _count_many_labels(targets: Targets, weights: np.ndarray | None, total: Any) -> LabelCounts:
    (classes_true, codes_true), (classes_pred, codes_pred) = encode(targets.true), encode(targets.pred)
    kind = validate.kind_of_labels(targets, classes_true, classes_pred)
    labels, places_true, places_pred = join(classes_true, classes_pred)
    both, true, pred = per_label_counts(places_true[codes_true], places_pred[codes_pred], len(labels), weights)
    return LabelCounts(_kind_of_union(kind, len(labels)), labels, both, true, pred, total)


def select(counts: LabelCounts, labels: np.ndarray) -> LabelCounts:
    """Counts of the labels asked for, in this order; 0 for labels that do not occur."""
    place = {label: i for i, label in enumerate(counts.labels.tolist())}
    places = np.array([place.get(label, -1) for label in labels.tolist()], np.int64)
    both, true, pred = (np.where(places < 0, 0, x[places]) for x in (counts.both, counts.true, counts.pred))
    return counts._replace(labels=labels, both=both, true=true, pred=pred)


# --- indicators -------------------------------------------------------------------------------------------------------


def count_indicators(targets: Targets, columns: np.ndarray | None, *, of_samples: bool) -> LabelCounts:
    """Counts of indicator matrices (N, L), of which all values but 0 count as 1.

    columns : labels to report, all if None
    of_samples : counts for each sample, weighted by its weight, rather than for each label
    """
    true, pred = targets.true, targets.pred
    if is_sparse(true) or is_sparse(pred):
        true, pred = _sparse_ones(true), _sparse_ones(pred)
        both = true.multiply(pred).tocsr()
    else:
        true, pred = true != 0, pred != 0
        both = true & pred
    chosen = np.arange(true.shape[1]) if columns is None else columns
    if columns is not None:
        true, pred, both = true[:, columns], pred[:, columns], both[:, columns]
    weights = as_float64(targets.weights)
    if of_samples:
        total: Any = true.shape[1] if weights is None else weights * true.shape[1]
    else:
        total = true.shape[0] if weights is None else weights.sum()
    both, true, pred = (_count_ones(x, weights, of_samples=of_samples) for x in (both, true, pred))
    return LabelCounts(validate.INDICATOR, chosen, both, true, pred, total)


def _sparse_ones(y: Any) -> Any:
    """Indicators as CSR of ones, without stored zeros; y stays as it is."""
    from scipy.sparse import csr_array

    ones = csr_array(y, copy=True)
    ones.sum_duplicates()
    ones.eliminate_zeros()
    return csr_array((np.ones(ones.nnz, np.int64), ones.indices, ones.indptr), shape=ones.shape)


def _count_ones(ones: Any, weights: np.ndarray | None, *, of_samples: bool) -> np.ndarray:
    if is_sparse(ones):
        rows = np.diff(ones.indptr)
        if of_samples:
            return rows if weights is None else rows * weights
        repeated = None if weights is None else np.repeat(weights, rows)
        return np.bincount(ones.indices, repeated, minlength=ones.shape[1])
    if of_samples:
        counts = np.count_nonzero(ones, axis=1)
        return counts if weights is None else counts * weights
    # Columns one by one: along axis 0 NumPy takes six times as long.
    columns = np.ascontiguousarray(ones.T)
    if weights is None:
        return np.array([np.count_nonzero(column) for column in columns], np.int64)
    return np.array([weights[column].sum() for column in columns])


def same_labels(targets: Targets) -> np.ndarray | None:
    """(N,) bool: whether both labels are equal; None of targets that may be no labels, as floats and objects may."""
    kinds = {targets.true.dtype.kind, targets.pred.dtype.kind}
    return np.asarray(targets.true == targets.pred) if kinds <= {*"iub"} or kinds == {"U"} else None


def same_rows(true: Any, pred: Any) -> np.ndarray:
    """(N,) bool: whether all values of a sample are equal."""
    if is_sparse(true) or is_sparse(pred):
        from scipy.sparse import csr_array

        return np.diff(csr_array(csr_array(true) != csr_array(pred)).indptr) == 0
    return np.asarray((true == pred).all(axis=1))
