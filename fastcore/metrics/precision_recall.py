"""Precision over recall: the curve, and its mean."""

from typing import Any

import numpy as np

from fastcore._core import validate_ranking as check
from fastcore._core import validate_targets as targets
from fastcore.metrics import ranking_inputs as inputs
from fastcore.metrics.kernels import ranking_curves as kernels

_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
_ndarray = np.ndarray


def precision_recall_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall at each distinct score taken as threshold.

    Parameters
    ----------
    y_true : (N,) labels of two classes; of more with pos_label, against all others
    y_score : (N,) finite numbers: probabilities of the positive class, or any scores that rise with it
    pos_label : label of the positive class; default 1, where labels are of {0, 1} or {-1, 1}
    sample_weight : (N,) numbers, optional. Samples of weight 0 count as left out.
    drop_intermediate : leave out thresholds at which recall is that of both neighbours

    Returns
    -------
    precision : (T + 1,) float64, at scores >= thresholds; at last 1
    recall : (T + 1,) float64, falling; at last 0
    thresholds : (T,) dtype of y_score, rising

    Raises
    ------
    ValueError : lengths disagree, y_score is not finite, y_true is not binary or pos_label is needed
    TypeError : labels as bytes, sparse arrays

    Notes
    -----
    Without positives recall is 1 at all thresholds, with a warning. The same as scikit-learn's.
    """
    name = "precision_recall_curve"
    _check_arguments(y_true, y_score, sample_weight, name)
    check.label(pos_label, name)
    drop = targets.boolean(drop_intermediate, "drop_intermediate", name)
    known = ("binary",) if pos_label is None else ("binary", "multiclass")
    codes = inputs.codes_of_positives(y_true, pos_label, known)
    scores, counts = inputs.ranking(codes, y_score, sample_weight)
    if drop and len(scores) > 2:
        gains = counts[1:, 1] != counts[:-1, 1]
        keep = np.concatenate([[True], gains[:-1] | gains[1:], [True]])
        scores, counts = scores[keep], counts[keep]
    inputs.warn_no_positives(counts)
    precision, recall = kernels.precision_recall_points(counts)
    return precision, recall, scores[::-1]


def average_precision_score(
    y_true: Any, y_score: Any, *, average: str | None = "macro", pos_label: Any = 1, sample_weight: Any = None
) -> Any:
    """Mean of the precisions at all thresholds, each weighted with the recall it gains.

    Parameters
    ----------
    y_true : (N,) labels of two or more classes, or (N, L) indicator of 0 and 1
    y_score : (N,) finite numbers; (N, C) for several classes, one column a label in sorted order; (N, L)
    average : 'macro', 'weighted' (by positives), 'micro', 'samples', or None for all; of two classes there is one
    pos_label : label of the positive class of two
    sample_weight : (N,) numbers, optional. Samples of weight 0 count as left out.

    Returns
    -------
    float, or (L,) float64 for an average of None. Without positives 0, with a warning.

    Raises
    ------
    ValueError : lengths or shapes disagree, y_score is not finite, pos_label is no label
    TypeError : labels as bytes, sparse arrays

    Notes
    -----
    AP = sum over thresholds of (R[n] - R[n - 1]) * P[n], without interpolation. The same as scikit-learn's, and more
    exact: positives are counted as integers, and each term is rounded once.
    """
    # The short way: 2 us for ten samples. What compiled code does not find in order goes on to what has the messages.
    if (
        type(y_true) is type(y_score) is _ndarray
        and sample_weight is None
        and y_true.ndim == y_score.ndim == 1
        and y_true.dtype is _INT64
        and y_score.dtype is _FLOAT64
        and type(pos_label) is int
        and pos_label == 1
        and average == "macro"
    ):
        status, result = kernels.few_samples.call(y_true, y_score)
        if status == kernels.OK:
            return result
    name = "average_precision_score"
    _check_arguments(y_true, y_score, sample_weight, name)
    average = check.average(average, name)
    check.label(pos_label, name, optional=False)
    if pos_label == 1 and isinstance(y_score, _ndarray) and y_score.ndim == 1:
        codes = inputs.zeros_and_ones(y_true)
        if codes is not None:
            return _of_two_classes(codes, y_score, sample_weight)
    return _average_precision(y_true, y_score, average, pos_label, sample_weight)


def _check_arguments(y_true: Any, y_score: Any, sample_weight: Any, name: str) -> None:
    check.array_like(y_true, "y_true", name)
    check.array_like(y_score, "y_score", name)
    check.array_like(sample_weight, "sample_weight", name, optional=True)


def _average_precision(y_true: Any, y_score: Any, average: str | None, pos_label: Any, sample_weight: Any) -> Any:
    """`average_precision_score` of any kind of target."""
    labels = inputs.read_labels(y_true)
    check.format_is(labels.type, ("binary", "multiclass", "multilabel-indicator"))
    if labels.type == "binary":
        check.label_occurs(pos_label, labels.classes)
        return _of_two_classes(inputs.codes_of(labels, pos_label), y_score, sample_weight)
    check.label_is_one(pos_label, labels.type)
    indicator = labels.values
    if labels.type == "multiclass":
        count = len(labels.classes)
        check.shape_is_that_of_classes(targets.array(y_score, "y_score"), len(labels.codes), count)
        indicator = (labels.codes[:, None] == np.arange(count)).view(np.uint8)
    indicator, scores, weights = inputs.indicator_pair(indicator, y_score, sample_weight)
    return inputs.average_over_labels(_of_labels, indicator, scores, average, weights)


def _of_labels(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> float:
    return _of_ranks((labels == 1).view(np.uint8), scores, weights)


def _of_two_classes(codes: np.ndarray, y_score: Any, sample_weight: Any) -> float:
    targets.same_lengths(codes, y_score, sample_weight)
    scores = inputs.finite_scores(y_score)
    return _of_ranks(codes, scores, inputs.weights_of(sample_weight, len(codes)))


def _of_ranks(codes: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> float:
    """Average precision of codes 0 and 1, checked."""
    if weights is None and len(codes) <= kernels.FEW and scores.dtype.kind == "f" and scores.itemsize <= 8:
        # The kernel of the short way, whose sums may be added in another order.
        status, result = kernels.few_samples.call(codes.astype(_INT64), scores.astype(_FLOAT64, copy=False))
        if status == kernels.OK:
            return float(result)
    _, counts = inputs.ranking_of(codes, scores, weights)
    inputs.warn_no_positives(counts)
    return float(kernels.average_precision(counts))
