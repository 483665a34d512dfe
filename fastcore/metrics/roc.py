"""Area under the ROC curve, the curve, and the area under any curve."""

from itertools import combinations
from typing import Any

import numpy as np

from fastcore._core import validate_ranking as check
from fastcore._core import validate_targets as targets
from fastcore.metrics import ranking_inputs as inputs
from fastcore.metrics.kernels import ranking_curves as kernels
from fastcore.metrics.kernels.roc_area import FINE, Area, roc_area
from fastcore.metrics.kernels.score_order import as_floats
from fastcore.metrics.warning import warn_undefined

_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)
_LABELS = "lqbBhHiILQ?"
_ndarray = np.ndarray
_MULTI_CLASS = ("raise", "ovr", "ovo")

# Of the weights of both classes. Beyond, areas are taken from rates, which are ratios before they are multiplied.
SMALLEST_PRODUCT, LARGEST_PRODUCT = 1e-200, 1e200


def roc_auc_score(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    max_fpr: float | None = None,
    multi_class: str = "raise",
    labels: Any = None,
) -> Any:
    """Area under the receiver operating characteristic: the chance that a positive ranks above a negative.

    Parameters
    ----------
    y_true : (N,) labels of two or more classes, or (N, L) indicator of 0 and 1
    y_score : (N,) finite numbers, for the greater of two labels; (N, C) probabilities of several classes; (N, L)
    average : 'macro', 'weighted' (by positives), 'micro', 'samples', or None for all; of two classes there is one
        Of several classes not 'samples', and with 'ovo' neither 'micro' nor None.
    sample_weight : (N,) numbers, optional; not for 'ovo'
    max_fpr : float in (0, 1], optional
        The area up to this false positive rate, standardised: 0.5 for chance, 1 at best (McClish 1989). Two classes.
    multi_class : 'ovr', each class against the rest, or 'ovo', each pair of classes; 'raise' refuses several classes
    labels : (C,) distinct, rising labels of the columns of y_score, optional: default those in y_true

    Returns
    -------
    float, or (L,) float64 for an average of None. NaN with a warning where only one class is present.

    Raises
    ------
    ValueError : lengths or shapes disagree, y_score is not finite, classes and columns do not match, an option is wrong
    NotImplementedError : average=None of 'ovo'
    TypeError : labels as bytes, sparse arrays

    Notes
    -----
    The same as scikit-learn's. Without weights the area is an integer count of pairs, ties as half ones, divided once.
    Sources: Fawcett 2006, "An introduction to ROC analysis"; Hand and Till 2001 for 'ovo'.
    """
    # The short way: 2 us for ten samples. What compiled code does not find in order goes on to what has the messages.
    if (
        type(y_true) is type(y_score) is _ndarray
        and y_true.ndim == y_score.ndim == 1
        and y_true.size == y_score.size
        and y_true.dtype.char in _LABELS
        and (y_score.dtype is _FLOAT64 or y_score.dtype is _FLOAT32)
        and max_fpr is labels is None
        and average == "macro"
        and multi_class == "raise"
        and (
            sample_weight is None
            or (
                type(sample_weight) is _ndarray
                and sample_weight.dtype is _FLOAT64
                and sample_weight.shape == y_true.shape
            )
        )
    ):
        area = _normalized(roc_area(y_true, y_score, sample_weight))
        if area is not None:
            return area
    name = "roc_auc_score"
    _check_arguments(y_true, y_score, sample_weight, name)
    check.array_like(labels, "labels", name, optional=True)
    average = check.average(average, name)
    limit = check.max_fpr(max_fpr)
    multi_class = targets.option(multi_class, "multi_class", _MULTI_CLASS, name)

    labels_read = inputs.read_labels(y_true)
    y_type = labels_read.type
    scores = inputs.finite_array(y_score)
    if y_type == "multiclass" or (y_type == "binary" and scores.ndim == 2 and scores.shape[1] > 2):
        check.multiclass_options(multi_class, limit, max_fpr)
        return _several_classes(labels_read, scores, labels, multi_class, average, sample_weight)
    check.format_is(y_type, ("binary", "multiclass", "multilabel-indicator"))
    if y_type == "binary":
        return _two_classes(labels_read, scores, sample_weight, limit)
    indicator, scores, weights = inputs.indicator_pair(labels_read.values, scores, sample_weight)

    def area_of_label(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> float:
        present = np.unique(labels)
        if len(present) != 2:
            return _one_class()
        return _area((labels == check.positive_label(None, present)).view(np.uint8), scores, weights, limit)

    return inputs.average_over_labels(area_of_label, indicator, scores, average, weights)


def roc_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true positive rates at each distinct score taken as threshold.

    Parameters
    ----------
    y_true : (N,) labels of two classes; of more with pos_label, against all others
    y_score : (N,) finite numbers: probabilities of the positive class, or any scores that rise with it
    pos_label : label of the positive class; default 1, where labels are of {0, 1} or {-1, 1}
    sample_weight : (N,) numbers, optional. Samples of weight 0 count as left out.
    drop_intermediate : leave out thresholds whose point lies in line with, and as far from, both neighbours

    Returns
    -------
    fpr, tpr : (T,) float64, rising from 0 to 1
    thresholds : (T,) float64, falling, at first infinity

    Raises
    ------
    ValueError : lengths disagree, y_score is not finite, y_true is not binary or pos_label is needed
    TypeError : labels as bytes, sparse arrays

    Notes
    -----
    Without negatives fpr is NaN, without positives tpr, with a warning. The same as scikit-learn's.
    """
    name = "roc_curve"
    _check_arguments(y_true, y_score, sample_weight, name)
    check.label(pos_label, name)
    drop = targets.boolean(drop_intermediate, "drop_intermediate", name)
    known = ("binary",) if pos_label is None else ("binary", "multiclass")
    codes = inputs.codes_of_positives(y_true, pos_label, known)
    return _curve(inputs.ranking(codes, y_score, sample_weight), drop)


def auc(x: Any, y: Any) -> float:
    """Area under a curve by the trapezoidal rule.

    Parameters
    ----------
    x : (N,) rising or falling numbers, N > 1
    y : (N,) numbers

    Returns
    -------
    float; of falling x the same as of the reversed curve

    Raises
    ------
    ValueError : lengths disagree, fewer than two points, x neither rises nor falls

    Notes
    -----
    The same as scikit-learn's.
    """
    check.array_like(x, "x", "auc")
    check.array_like(y, "y", "auc")
    targets.same_lengths(x, y)
    x, y = targets.vector(x, "x", may_be_empty=True), targets.vector(y, "y", may_be_empty=True)
    check.enough_points(x)
    return _trapezoids(x, y)


def _check_arguments(y_true: Any, y_score: Any, sample_weight: Any, name: str) -> None:
    check.array_like(y_true, "y_true", name)
    check.array_like(y_score, "y_score", name)
    check.array_like(sample_weight, "sample_weight", name, optional=True)


def _trapezoids(x: np.ndarray, y: np.ndarray) -> float:
    steps = np.diff(x.astype(np.float64, copy=False))
    direction = check.curve_is_monotonic(x, steps)
    return float(direction * (steps * (y[1:] + y[:-1]) / 2.0).sum())


def _curve(ranking: inputs.Ranking, drop: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    has_negatives, has_positives = inputs.rates_or_nan(ranking.counts)
    fpr, tpr, thresholds = kernels.roc_points(ranking.counts, ranking.scores.astype(np.float64, copy=False), drop)
    if not has_negatives:
        fpr[:] = np.nan
    if not has_positives:
        tpr[:] = np.nan
    return fpr, tpr, thresholds


def _one_class() -> float:
    warn_undefined("Only one class is present in y_true. ROC AUC score is not defined in that case.", stacklevel=5)
    return np.nan


def _normalized(pairs: Area) -> float | None:
    """The share of pairs in order, or None where it is not defined, or products of weights leave float64's range."""
    if pairs.status != FINE or pairs.negatives <= 0.0 or pairs.positives <= 0.0:
        return None
    both = pairs.negatives * pairs.positives
    return pairs.area / both if SMALLEST_PRODUCT < both < LARGEST_PRODUCT else None


def _two_classes(labels: inputs.Labels, scores: np.ndarray, sample_weight: Any, limit: float | None) -> float:
    """The area for the greater of two labels."""
    if len(labels.classes) < 2:
        return _one_class()
    targets.same_lengths(labels.codes, scores, sample_weight)
    scores = targets.vector(scores, "y_score")
    weights = inputs.weights_of(sample_weight, len(scores))
    return _area(labels.codes.astype(np.uint8), scores, weights, limit)


def _area(codes: np.ndarray, scores: np.ndarray, weights: np.ndarray | None, limit: float | None) -> float:
    """The area, or its standardised part, for codes 0 and 1 of which both occur."""
    if limit is not None and limit != 1.0:
        return _partial_area(*_curve(inputs.ranking_of(codes, scores, weights), True)[:2], limit)
    if weights is None or weights.min() >= 0:
        area = _normalized(roc_area(codes, as_floats(inputs.sortable(scores))[0], weights))
        if area is not None:
            return area
    fpr, tpr, _ = _curve(inputs.ranking_of(codes, scores, weights), True)
    return _trapezoids(fpr, tpr)


def _partial_area(fpr: np.ndarray, tpr: np.ndarray, limit: float) -> float:
    """The area left of a false positive rate, standardised (McClish 1989, eq. 5): 0.5 for chance, 1 at best."""
    stop = int(np.searchsorted(fpr, limit, "right"))
    check.enough_points(np.append(fpr[:stop], limit))  # none are at hand where rates are NaN: no negatives that weigh
    there = np.interp(limit, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
    x, y = np.append(fpr[:stop], limit), np.append(tpr[:stop], there)
    by_chance = 0.5 * limit**2
    return 0.5 * (1 + (_trapezoids(x, y) - by_chance) / (limit - by_chance))


def _several_classes(
    y: inputs.Labels, scores: np.ndarray, labels: Any, multi_class: str, average: str | None, sample_weight: Any
) -> Any:
    check.one_score_a_class(scores)
    check.scores_sum_to_one(scores)
    check.multiclass_average(average, multi_class)
    classes, codes = y.classes, y.codes
    if labels is None:
        check.classes_have_columns(len(classes), scores.shape[1])
    else:
        known = check.ordered_labels(labels, scores.shape[1])
        places = np.searchsorted(known, classes)
        check.known_labels(bool((known[np.minimum(places, len(known) - 1)] == classes).all()))
        codes = places[codes]
    if multi_class == "ovo":
        check.no_weights(sample_weight)
        targets.same_lengths(codes, scores)
        return _one_against_one(codes, scores, average)
    targets.same_lengths(codes, scores, sample_weight)
    return _one_against_rest(codes, scores, average, inputs.weights_of(sample_weight, len(codes)))


def _area_of_class(codes: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    if codes.min() == codes.max():
        return _one_class()
    return _area(codes, scores, weights, None)


def _one_against_rest(codes: np.ndarray, scores: np.ndarray, average: str | None, weights: np.ndarray | None) -> Any:
    count = scores.shape[1]
    if average == "micro":
        hits = (codes[:, None] == np.arange(count)).view(np.uint8)
        return inputs.average_over_labels(_area_of_class, hits, scores, average, weights)
    support = None
    if average == "weighted":
        support = np.bincount(codes, weights, count)
        if abs(support.sum()) <= 1e-8:
            return 0
    areas = np.empty(count)
    for each, column in enumerate(inputs.columns_of(scores)):
        areas[each] = _area_of_class((codes == each).view(np.uint8), column, weights)
    return inputs.average_of(areas, average, support)


def _one_against_one(codes: np.ndarray, scores: np.ndarray, average: str | None) -> float:
    """Hand and Till 2001, eq. 7: the mean over pairs of classes of the areas with each as the positive one."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=scores.shape[1]))
    rows = np.split(order, ends[:-1])
    present = [each for each, members in enumerate(rows) if len(members)]
    areas, sizes = [], []
    for a, b in combinations(present, 2):
        both = np.concatenate([rows[a], rows[b]])
        is_a = np.zeros(len(both), np.uint8)
        is_a[: len(rows[a])] = 1
        areas.append((_area_of_class(is_a, scores[both, a]) + _area_of_class(1 - is_a, scores[both, b])) / 2)
        sizes.append(len(both))
    weights = np.array(sizes) / len(codes) if average == "weighted" else None
    return float(np.average(areas, weights=weights))
