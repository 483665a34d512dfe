"""Lift: how many times more often positives are found among the samples that a model picks than among all."""

from typing import Any

import numpy as np

from fastcore._core import validate_classification as validate
from fastcore._core.validate_targets import same_lengths, sample_weights
from fastcore.metrics.label_counts import count_positives
from fastcore.metrics.label_scores import WARN, counts_of, question
from fastcore.metrics.ranking_inputs import codes_of_positives, ranking
from fastcore.metrics.warning import warn_undefined


def lift_score(
    y_true: Any, y_pred: Any, *, pos_label: Any = 1, sample_weight: Any = None, zero_division: Any = WARN
) -> float:
    """Precision over the proportion of positives: (tp / (tp + fp)) / ((tp + fn) / n).

    Parameters
    ----------
    y_true, y_pred : (N,) labels of two kinds at most, as for `precision_score`
    pos_label : the label that is positive
    sample_weight : (N,) numbers, optional; tp, fp, fn and n are then sums of weights
    zero_division : 0, 1 or NaN, what stands for the lift where no sample is, or is predicted, positive; 'warn' is 0
        with an `UndefinedMetricWarning`

    Returns
    -------
    float : 1 for picks at random, at most n / (tp + fn), 0 where no pick is positive

    Raises
    ------
    ValueError, TypeError : as for `precision_score` with ``average='binary'``

    Notes
    -----
    Source: Brin, Motwani, Ullman and Tsur 1997, "Dynamic Itemset Counting and Implication Rules for Market Basket
    Data", section 4: the interest P(A and B) / (P(A) P(B)) of "predicted positive" and "positive". The same as
    mlxtend's `lift_score`.
    """
    if zero_division is WARN:
        ones = count_positives(y_true, y_pred, pos_label, sample_weight)
        if ones is not None and ones[1] and ones[2]:
            return _lift(*ones)
    asked = question(None, pos_label, "binary", zero_division, ("lift",), "lift_score")
    counts, _ = counts_of(y_true, y_pred, sample_weight, asked)
    both, true, pred = (x.item() for x in (counts.both, counts.true, counts.pred))
    if true and pred:
        return _lift(both, true, pred, float(counts.total))
    if asked.warns:
        what = "predicted" if not pred else "true"
        warn_undefined(
            f"Lift is ill-defined and being set to 0.0 due to no {what} samples. Use `zero_division` parameter to"
            " control this behavior."
        )
    return asked.zero_division


def _lift(both: float, true: float, pred: float, total: float) -> float:
    return (both / pred) / (true / total)


def lift_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lift of the samples that score highest, by how many of them are taken.

    Parameters
    ----------
    y_true : (N,) labels of two kinds, as for `roc_curve`
    y_score : (N,) finite numbers; high ones are taken first
    pos_label : the label that is positive; by default 1, where the labels are of {0, 1} or {-1, 1}
    sample_weight : (N,) numbers, not negative, optional; samples of weight 0 are left out

    Returns
    -------
    fraction : (G,) float64, rising to 1: of the samples, or of their weight, those with a score of at least a threshold
    lift : (G,) float64, the proportion of positives among them over that among all; ends at 1. NaN without positives.
    thresholds : (G,) the G distinct scores, falling. Samples of one score are taken together: their order says nothing.

    Raises
    ------
    ValueError : lengths differ, no samples, scores that are not finite, more than two labels, negative weights

    Notes
    -----
    There is no point for a fraction of 0, whose lift would be 0 / 0. ``lift * fraction`` is the recall, so that
    (fraction, lift * fraction) is the cumulative gains curve.
    """
    pos_label = validate.pos_label(pos_label, "lift_curve")
    same_lengths(y_true, y_score, sample_weight)
    known = ("binary",) if pos_label is None else ("binary", "multiclass")
    codes = codes_of_positives(y_true, pos_label, known)
    if sample_weight is not None:
        sample_weight = sample_weights(sample_weight, len(codes), may_be_negative=False)
    thresholds, counts = ranking(codes, y_score, sample_weight)
    positives = counts[:, 1]
    taken = counts[:, 0] + positives
    fraction = taken / taken[-1]
    if not positives[-1]:
        warn_undefined("No positive samples in y_true, lift is undefined and set to NaN")
        return fraction, np.full(len(fraction), np.nan), thresholds
    return fraction, (positives / taken) / (positives[-1] / taken[-1]), thresholds
