"""What ranking metrics are given, as their kernels want it: labels as 0 and 1, scores that they can sort."""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_ranking as check
from fastcore._core import validate_targets as targets
from fastcore._core.validate_labels import read_target, type_of_distinct
from fastcore._core.warn import warn
from fastcore.metrics.kernels.score_order import ranked_groups
from fastcore.metrics.labels import encode
from fastcore.metrics.warning import warn_undefined

_ARRAY = np.ndarray
_NOTHING = np.empty(0, np.int64)


class Ranking(NamedTuple):
    """Distinct scores, falling, in the dtype that came, and cumulative negatives and positives (G, 2)."""

    scores: np.ndarray
    counts: np.ndarray


class Labels(NamedTuple):
    """A target: its type, itself, and of a vector of labels the distinct ones and each sample's place among them."""

    type: str
    values: Any
    classes: np.ndarray
    codes: np.ndarray


def zeros_and_ones(y: Any) -> np.ndarray | None:
    """An integer or boolean vector of 0 and 1 only as uint8, else None."""
    if type(y) is not _ARRAY or y.ndim != 1 or y.size == 0:
        return None
    kind = y.dtype.kind
    if kind == "b":
        return y.view(np.uint8)
    if kind not in "iu" or y.min() < 0 or y.max() > 1:
        return None
    return y.astype(np.uint8)


def read_labels(y_true: Any) -> Labels:
    """The kind of target, and for a vector of labels the distinct ones and each sample's place among them."""
    y = read_target(y_true, "y_true")
    is_vector = not targets.is_sparse(y) and (y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)) and y.size > 0
    if is_vector and (y.dtype.kind in "biufU" or (y.dtype.kind == "O" and isinstance(y.flat[0], str))):
        flat = y.reshape(-1)
        try:
            classes, codes = encode(flat)
        except TypeError:  # of objects that do not compare; below it is said in words
            return Labels(targets.type_of_target(y, "y_true"), flat, flat, flat)
        return Labels(type_of_distinct(y, classes, "y_true"), flat, classes, codes)
    return Labels(targets.type_of_target(y, "y_true"), y, _NOTHING, _NOTHING)


def codes_of(labels: Labels, pos_label: Any) -> np.ndarray:
    """1 where the label is the positive one, else 0, as (N,) uint8."""
    is_positive = np.broadcast_to(labels.classes == pos_label, labels.classes.shape)
    if is_positive.tolist() == [False, True]:
        return labels.codes.astype(np.uint8)
    return is_positive.view(np.uint8)[labels.codes]


def codes_of_positives(y_true: Any, pos_label: Any, known: tuple[str, ...]) -> np.ndarray:
    """1 where y_true is the positive label, else 0, as (N,) uint8.

    ``known`` : types of target that are allowed
    """
    if pos_label is None or (type(pos_label) is int and pos_label == 1):
        codes = zeros_and_ones(y_true)
        if codes is not None:
            return codes
    labels = read_labels(y_true)
    check.format_is(labels.type, known)
    return codes_of(labels, check.positive_label(pos_label, labels.classes))


def finite_array(y_score: Any) -> np.ndarray:
    """Scores as finite numbers (N,) or (N, C)."""
    scores = targets.array(y_score, "y_score")
    targets.finite(scores, "y_score")
    return scores


def finite_scores(y_score: Any) -> np.ndarray:
    """Scores as a finite vector of numbers."""
    score = targets.vector(y_score, "y_score")
    targets.finite(score, "y_score")
    return score


def sortable(score: np.ndarray) -> np.ndarray:
    """Floats as float32 or float64, which sorting kernels know beside integers."""
    if score.dtype.kind != "f" or score.itemsize in (4, 8):
        return score
    return score.astype(np.float32 if score.itemsize == 2 else np.float64)


def weights_of(sample_weight: Any, length: int) -> np.ndarray | None:
    """Weights as (N,) float64, or None."""
    if sample_weight is None:
        return None
    return targets.sample_weights(targets.vector(sample_weight, "sample_weight"), length)


def ranking(codes: np.ndarray, y_score: Any, sample_weight: Any) -> Ranking:
    """Samples by falling score. Those of weight 0 are left out, as scikit-learn does."""
    targets.same_lengths(codes, y_score, sample_weight)
    score = finite_scores(y_score)
    weights = weights_of(sample_weight, len(codes))
    return ranking_of(codes, score, weights)


def ranking_of(codes: np.ndarray, score: np.ndarray, weights: np.ndarray | None) -> Ranking:
    """`ranking` of what is checked."""
    if weights is not None and not weights.all():
        weighs = weights != 0
        codes, score, weights = codes[weighs], score[weighs], weights[weighs]
    scores, counts = ranked_groups(sortable(score), codes, 2, weights)
    return Ranking(scores.astype(score.dtype, copy=False), counts)


def rates_or_nan(counts: np.ndarray) -> tuple[bool, bool]:
    """Whether there are negatives and positives; warns where there are none."""
    negatives, positives = counts[-1].tolist()
    if negatives <= 0:
        warn_undefined("No negative samples in y_true, false positive value should be meaningless", stacklevel=5)
    if positives <= 0:
        warn_undefined("No positive samples in y_true, true positive value should be meaningless", stacklevel=5)
    return negatives > 0, positives > 0


def warn_no_positives(counts: np.ndarray) -> None:
    if counts[-1, 1] == 0:
        warn("No positive class found in y_true, recall is set to one for all thresholds.", UserWarning, stacklevel=5)


def average_of(scores: np.ndarray, average: str | None, weights: np.ndarray | None) -> Any:
    """All scores, or their mean; what weighs nothing may be NaN."""
    if average is None:
        return scores
    if weights is None:
        return float(scores.mean())
    scores[weights == 0] = 0
    return float((scores * weights).sum() / check.weights_divide(float(weights.sum())))


def average_over_labels(
    metric: Any, y_true: np.ndarray, y_score: np.ndarray, average: str | None, weights: np.ndarray | None
) -> Any:
    """A metric of two classes over the columns of an indicator, its rows, or all its cells.

    Parameters
    ----------
    metric : function of (labels, scores, weights or None), vectors, that returns a float
    y_true, y_score : (N, L)
    average : None, 'macro', 'weighted', 'samples' or 'micro'
    weights : (N,) or None

    Returns
    -------
    float, or (L,) for an average of None
    """
    if average == "micro":
        return metric(y_true.ravel(), y_score.ravel(), None if weights is None else weights.repeat(y_true.shape[1]))
    if average == "samples":
        rows = zip(y_true, y_score, strict=True)
        return average_of(np.array([metric(labels, scores, None) for labels, scores in rows]), average, weights)
    support = None
    if average == "weighted":
        support = (y_true if weights is None else y_true * weights[:, None]).sum(axis=0)
        if abs(support.sum()) <= 1e-8:
            return 0
    columns = zip(y_true.T, columns_of(y_score), strict=True)
    scores = np.array([metric(labels, scores, weights) for labels, scores in columns], np.float64)
    return average_of(scores, average, support)


def columns_of(scores: np.ndarray, together: int = 8, rows: int = 4096) -> Any:
    """The columns of (N, L), contiguous.

    As many are copied as share cache lines, by blocks of rows that stay in the cache: 25 instead of 44 ms for a million
    rows of ten.
    """
    for first in range(0, scores.shape[1], together):
        part = scores[:, first : first + together].T
        columns = np.empty(part.shape, part.dtype)
        for start in range(0, part.shape[1], rows):
            columns[:, start : start + rows] = part[:, start : start + rows]
        yield from columns


def indicator_pair(y_true: Any, y_score: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """An indicator and its scores as (N, L), and weights."""
    targets.same_lengths(y_true, y_score, sample_weight)
    labels = targets.matrix(y_true, "y_true")
    scores = targets.matrix(y_score, "y_score")
    targets.finite(scores, "y_score")
    scores = check.scores_of_indicator(labels, scores)
    return labels, scores, weights_of(sample_weight, len(labels))
