"""Accuracy, precision, recall and F scores."""

from typing import Any

import numpy as np

from fastcore._core import validate_classification as validate
from fastcore.metrics.label_counts import as_float64, count_labels, count_positives, same_labels, same_rows
from fastcore.metrics.label_scores import FSCORE, PRECISION, RECALL, WARN, question, scores


def accuracy_score(y_true: Any, y_pred: Any, *, normalize: bool = True, sample_weight: Any = None) -> float:
    """The share of samples whose label, or whose whole set of labels, is predicted.

    Parameters
    ----------
    y_true, y_pred : (N,) labels or (N, L) indicators, as for `precision_score`
    normalize : whether the share, rather than the number (or weight) of samples
    sample_weight : (N,) numbers, optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError : as for `precision_score`
    ZeroDivisionError : weights sum to 0

    Notes
    -----
    The same as scikit-learn's, to 1e-12.
    """
    if normalize is True and sample_weight is None:
        ones = count_positives(y_true, y_pred, 1, None)
        if ones is not None:
            both, true, pred, number = ones
            return (number - true - pred + 2 * both) / number
    normalize = validate.boolean(normalize, "normalize", "accuracy_score")
    targets = validate.targets(y_true, y_pred, sample_weight, "accuracy_score")
    weights = as_float64(targets.weights)
    if validate.are_single(targets):
        same = same_labels(targets)
    else:
        validate.indicators(targets)
        same = same_rows(targets.true, targets.pred)
    if same is None:
        counts = count_labels(targets)
        right, total = counts.both.sum(), counts.total
    elif weights is None:
        right, total = np.count_nonzero(same), len(same)
    else:
        right, total = weights[same].sum(), weights.sum()
    if not normalize:
        return float(right)
    return float(right / validate.total_weight(total))


def precision_score(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = WARN,
) -> Any:
    """Of the samples that were given a label, the share that has it.

    Axes: N samples, L labels of indicator matrices, K labels that are reported.

    Parameters
    ----------
    y_true, y_pred : (N,) labels: bools, integers, floats that are integers, fixed-width or object strings, pandas
        categoricals; or (N, L > 1) indicators, dense or scipy.sparse, in which all but 0 is a 1. Of any container.
    labels : (K,) labels to report, in this order; by default those that occur, sorted. Of indicators numbers of
        columns. Ignored where ``average`` is 'binary'.
    pos_label : the label scored where ``average`` is 'binary'
    average : 'binary', one label of two; 'micro', counts summed over labels; 'macro', the mean over labels;
        'weighted', their mean by support; 'samples', the mean over samples of indicators; None, each label's score
    sample_weight : (N,) numbers, optional
    zero_division : 0, 1 or NaN, what stands for 0 / 0, and NaN is left out of means; 'warn' is 0 with an
        `UndefinedMetricWarning`

    Returns
    -------
    float, or (K,) float64 where ``average`` is None

    Raises
    ------
    ValueError : lengths differ, no samples, continuous targets, a mix of kinds of targets or labels, a ``pos_label``
        that does not occur, an average that does not apply, weights that are not finite or all zero
    TypeError : labels that cannot be compared, bytes, sparse targets that are no indicators

    Notes
    -----
    The same as scikit-learn's, to 1e-12.
    """
    # The short way, 1.5 us for 10 samples: labels 0 and 1, or two strings, in arrays, which one call proves and counts.
    if average == "binary" and zero_division is WARN:
        ones = count_positives(y_true, y_pred, pos_label, sample_weight)
        if ones is not None and ones[2]:
            return ones[0] / ones[2]
    asked = question(labels, pos_label, average, zero_division, (PRECISION,), "precision_score")
    return scores(y_true, y_pred, sample_weight, asked, 1.0, (PRECISION,))[0][PRECISION]


def recall_score(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = WARN,
) -> Any:
    """Of the samples that have a label, the share that was given it.

    Axes: N samples, L labels of indicator matrices, K labels that are reported.

    Parameters
    ----------
    y_true, y_pred : (N,) labels or (N, L > 1) indicators, of any container and of the kinds `precision_score` takes
    labels : (K,) labels to report, in this order; by default those that occur, sorted. Of indicators numbers of
        columns. Ignored where ``average`` is 'binary'.
    pos_label : the label scored where ``average`` is 'binary'
    average : 'binary', one label of two; 'micro', counts summed over labels; 'macro', the mean over labels;
        'weighted', their mean by support; 'samples', the mean over samples of indicators; None, each label's score
    sample_weight : (N,) numbers, optional
    zero_division : 0, 1 or NaN, what stands for 0 / 0, and NaN is left out of means; 'warn' is 0 with an
        `UndefinedMetricWarning`

    Returns
    -------
    float, or (K,) float64 where ``average`` is None

    Raises
    ------
    ValueError : lengths differ, no samples, continuous targets, a mix of kinds of targets or labels, a ``pos_label``
        that does not occur, an average that does not apply, weights that are not finite or all zero
    TypeError : labels that cannot be compared, bytes, sparse targets that are no indicators

    Notes
    -----
    The same as scikit-learn's, to 1e-12.
    """
    # The short way, 1.5 us for 10 samples: labels 0 and 1, or two strings, in arrays, which one call proves and counts.
    if average == "binary" and zero_division is WARN:
        ones = count_positives(y_true, y_pred, pos_label, sample_weight)
        if ones is not None and ones[1]:
            return ones[0] / ones[1]
    asked = question(labels, pos_label, average, zero_division, (RECALL,), "recall_score")
    return scores(y_true, y_pred, sample_weight, asked, 1.0, (RECALL,))[0][RECALL]


def f1_score(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = WARN,
) -> Any:
    """The harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn).

    Axes: N samples, L labels of indicator matrices, K labels that are reported.

    Parameters
    ----------
    y_true, y_pred : (N,) labels or (N, L > 1) indicators, of any container and of the kinds `precision_score` takes
    labels : (K,) labels to report, in this order; by default those that occur, sorted. Of indicators numbers of
        columns. Ignored where ``average`` is 'binary'.
    pos_label : the label scored where ``average`` is 'binary'
    average : 'binary', one label of two; 'micro', counts summed over labels; 'macro', the mean over labels;
        'weighted', their mean by support; 'samples', the mean over samples of indicators; None, each label's score
    sample_weight : (N,) numbers, optional
    zero_division : 0, 1 or NaN, what stands for 0 / 0, and NaN is left out of means; 'warn' is 0 with an
        `UndefinedMetricWarning`

    Returns
    -------
    float, or (K,) float64 where ``average`` is None

    Raises
    ------
    ValueError : lengths differ, no samples, continuous targets, a mix of kinds of targets or labels, a ``pos_label``
        that does not occur, an average that does not apply, weights that are not finite or all zero
    TypeError : labels that cannot be compared, bytes, sparse targets that are no indicators

    Notes
    -----
    It is 0 / 0 where a label neither occurs nor is given. The same as scikit-learn's, to 1e-12.
    """
    # The short way, 1.5 us for 10 samples: labels 0 and 1, or two strings, in arrays, which one call proves and counts.
    if average == "binary" and zero_division is WARN:
        ones = count_positives(y_true, y_pred, pos_label, sample_weight)
        if ones is not None:
            return 2.0 * ones[0] / (ones[1] + ones[2])
    asked = question(labels, pos_label, average, zero_division, (FSCORE,), "f1_score")
    return scores(y_true, y_pred, sample_weight, asked, 1.0, (FSCORE,))[0][FSCORE]


def fbeta_score(
    y_true: Any,
    y_pred: Any,
    *,
    beta: float,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = WARN,
) -> Any:
    """The weighted harmonic mean of precision and recall, (1 + β²) tp / ((1 + β²) tp + β² fn + fp).

    Axes: N samples, L labels of indicator matrices, K labels that are reported.

    Parameters
    ----------
    y_true, y_pred : (N,) labels or (N, L > 1) indicators, of any container and of the kinds `precision_score` takes
    beta : float, 0 to infinity; what recall counts beside precision: 0 is the precision, infinity the recall
    labels : (K,) labels to report, in this order; by default those that occur, sorted. Of indicators numbers of
        columns. Ignored where ``average`` is 'binary'.
    pos_label : the label scored where ``average`` is 'binary'
    average : 'binary', one label of two; 'micro', counts summed over labels; 'macro', the mean over labels;
        'weighted', their mean by support; 'samples', the mean over samples of indicators; None, each label's score
    sample_weight : (N,) numbers, optional
    zero_division : 0, 1 or NaN, what stands for 0 / 0, and NaN is left out of means; 'warn' is 0 with an
        `UndefinedMetricWarning`

    Returns
    -------
    float, or (K,) float64 where ``average`` is None

    Raises
    ------
    ValueError : lengths differ, no samples, continuous targets, a mix of kinds of targets or labels, a ``pos_label``
        that does not occur, an average that does not apply, weights that are not finite or all zero, ``beta``
        below 0 or NaN
    TypeError : labels that cannot be compared, bytes, sparse targets that are no indicators

    Notes
    -----
    It is 0 / 0 where a label neither occurs nor is given. The same as scikit-learn's, to 1e-12.
    """
    if average == "binary" and zero_division is WARN:
        usual = (type(beta) is float or type(beta) is int) and 1e-100 < beta < 1e100
        ones = count_positives(y_true, y_pred, pos_label, sample_weight) if usual else None
        if ones is not None:
            square = float(beta) * float(beta)
            return (1.0 + square) * ones[0] / (square * ones[1] + ones[2])
    asked = question(labels, pos_label, average, zero_division, (FSCORE,), "fbeta_score")
    beta = validate.beta(beta, "fbeta_score")
    return scores(y_true, y_pred, sample_weight, asked, beta, (FSCORE,))[0][FSCORE]
