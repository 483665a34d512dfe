"""Confusion matrices: of all labels at once, and of each label against the rest."""

from typing import Any

import numpy as np

from fastcore._core import validate_classification as validate
from fastcore._core.validate_classification import Targets
from fastcore.metrics.label_counts import count_indicators, count_labels, join, pairs_of, select
from fastcore.metrics.labels import encode

# Below it, sums of integers are exact in float64.
EXACT = 2.0**53


def confusion_matrix(
    y_true: Any, y_pred: Any, *, labels: Any = None, sample_weight: Any = None, normalize: str | None = None
) -> np.ndarray:
    """How many samples of each true label (rows) were given each label (columns).

    Parameters
    ----------
    y_true, y_pred : (N,) labels, as for `precision_score`
    labels : (K,) labels that index the matrix, in this order; by default those that occur, sorted. Samples of other
        labels are left out.
    sample_weight : (N,) numbers, optional
    normalize : 'true', 'pred' or 'all': over rows, columns or everything; 0 / 0 is 0. None for counts

    Returns
    -------
    (K, K) int64, or float64 where weights are floats or ``normalize`` is given

    Raises
    ------
    ValueError, TypeError : as for `precision_score`; no label of ``labels`` is in y_true; indicators

    Notes
    -----
    The same as scikit-learn's, to 1e-12. Warns where there is but one label.
    """
    normalize = validate.option(normalize, "normalize", ("true", "pred", "all", None), "confusion_matrix")
    targets = validate.targets(y_true, y_pred, sample_weight, "confusion_matrix", labels)
    if not validate.are_single(targets):
        validate.indicators(targets)
        validate.single_labels_only()
    matrix = _matrix_of_labels(targets, labels)
    if normalize is not None:
        axis = {"true": 1, "pred": 0, "all": None}[normalize]
        with np.errstate(all="ignore"):
            matrix = np.nan_to_num(matrix / matrix.sum(axis=axis, keepdims=True))
    if matrix.shape == (1, 1):
        validate.warn_single_label(stacklevel=3)
    return matrix


def _matrix_of_labels(targets: Targets, labels: Any) -> np.ndarray:
    """(K, K) int64 counts, or float64 sums of weights that are floats."""
    weights = targets.weights
    integers = weights is not None and weights.dtype.kind != "f"
    counted = None
    if weights is None or not integers or float(np.abs(weights, dtype=np.float64).sum()) < EXACT:
        counted = pairs_of(targets)
    if counted is None:  # many labels, of which few may be asked for, or integers that float64 does not hold
        counted = _few_labels(targets, labels)
    classes_true, classes_pred, cells = counted
    if integers:
        cells = cells.astype(np.int64, copy=False)
    validate.kind_of_labels(targets, classes_true, classes_pred)
    if labels is None:
        wanted, rows, columns = join(classes_true, classes_pred)
    else:
        wanted = validate.labels_of_confusion(labels, classes_true)
        place = {label: i for i, label in enumerate(wanted.tolist())}
        rows = np.array([place.get(label, -1) for label in classes_true.tolist()])
        columns = np.array([place.get(label, -1) for label in classes_pred.tolist()])
    matrix = np.zeros((len(wanted), len(wanted)), cells.dtype)
    (kept_rows,), (kept_columns,) = np.nonzero(rows >= 0), np.nonzero(columns >= 0)
    matrix[np.ix_(rows[kept_rows], columns[kept_columns])] = cells[np.ix_(kept_rows, kept_columns)]
    return matrix


def _few_labels(targets: Targets, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`pair_histogram` of labels too many for it, where few are asked for; integer weights are summed as such."""
    (classes_true, codes_true), (classes_pred, codes_pred) = encode(targets.true), encode(targets.pred)
    validate.kind_of_labels(targets, classes_true, classes_pred)
    if labels is None:
        wanted, _, _ = join(classes_true, classes_pred)
        kept_true, kept_pred = np.arange(len(classes_true)), np.arange(len(classes_pred))
    else:
        wanted = validate.labels_of_confusion(labels, classes_true)
        (kept_true,), (kept_pred,) = (np.nonzero(np.isin(c, wanted)) for c in (classes_true, classes_pred))
    validate.matrix_fits(len(wanted))
    number = len(kept_pred)
    row_of, column_of = np.full(len(classes_true), -1), np.full(len(classes_pred), -1)
    row_of[kept_true], column_of[kept_pred] = np.arange(len(kept_true)), np.arange(number)
    rows, columns = row_of[codes_true], column_of[codes_pred]
    inside = (rows >= 0) & (columns >= 0)
    weights = np.ones(len(rows), np.int64) if targets.weights is None else targets.weights
    cells = np.zeros((len(kept_true), number), np.float64 if weights.dtype.kind == "f" else np.int64)
    np.add.at(cells, (rows[inside], columns[inside]), weights[inside].astype(cells.dtype))
    return classes_true[kept_true], classes_pred[kept_pred], cells


def multilabel_confusion_matrix(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, labels: Any = None, samplewise: bool = False
) -> np.ndarray:
    """[[true negatives, false positives], [false negatives, true positives]] of each label against the rest.

    Parameters
    ----------
    y_true, y_pred : (N,) labels or (N, L) indicators, as for `precision_score`
    sample_weight : (N,) numbers, optional
    labels : (K,) labels to report, as for `precision_score`
    samplewise : a matrix for each sample of indicators, over their labels, rather than for each label

    Returns
    -------
    (K, 2, 2), or (N, 2, 2) where ``samplewise``, int64, or float64 with weights

    Raises
    ------
    ValueError, TypeError : as for `precision_score`; ``samplewise`` without indicators

    Notes
    -----
    The same as scikit-learn's, to 1e-12.
    """
    samplewise = validate.boolean(samplewise, "samplewise", "multilabel_confusion_matrix")
    targets = validate.targets(y_true, y_pred, sample_weight, "multilabel_confusion_matrix", labels)
    if validate.are_single(targets):
        counts = count_labels(targets)
        if samplewise:
            validate.samplewise_needs_indicators()
        if labels is not None:
            counts = select(counts, validate.labels_to_report(labels, counts.labels))
    else:
        validate.indicators(targets)
        columns = None if labels is None else validate.columns_to_report(labels, targets.true.shape[1])
        counts = count_indicators(targets, columns, of_samples=samplewise)
    tp, fp, fn = counts.both, counts.pred - counts.both, counts.true - counts.both
    return np.stack([counts.total - tp - fp - fn, fp, fn, tp], axis=-1).reshape(-1, 2, 2)
