"""Losses of predicted probabilities: log loss and the Brier score."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate_ranking as check
from fastcore._core import validate_targets as targets
from fastcore._core.warn import warn
from fastcore.metrics import ranking_inputs as inputs
from fastcore.metrics.kernels import probability as kernels
from fastcore.metrics.kernels.probability import LOG, OK, SQUARES

_INT64, _FLOAT64, _FLOAT32 = np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.float32)
_ndarray = np.ndarray
_NOT_GIVEN = "deprecated"


def log_loss(
    y_true: Any,
    y_proba: Any = None,
    *,
    normalize: bool = True,
    sample_weight: Any = None,
    labels: Any = None,
    y_pred: Any = _NOT_GIVEN,
) -> float:
    """Mean of -log of the probability given to the true class: log loss, or cross entropy, in nats.

    Parameters
    ----------
    y_true : (N,) labels of at least two classes, or (N, C) indicator
    y_proba : (N, C) probabilities, one column a label in sorted order, or (N,) of the greater of two labels
        Clipped to [eps, 1 - eps], eps of its dtype.
    normalize : the mean over samples, else the sum
    sample_weight : (N,) numbers, optional
    labels : (C,) labels of the columns in sorted order, optional: default those in y_true
    y_pred : the old name of y_proba

    Returns
    -------
    float

    Raises
    ------
    ValueError : lengths disagree, y_proba is not in [0, 1], labels and columns do not match
    TypeError : labels as bytes, sparse arrays
    ZeroDivisionError, also a ValueError : weights sum to zero

    Notes
    -----
    Warns of rows that do not sum to one. The same as scikit-learn's, but float32 and float16 are computed in float64.
    """
    # The short way: 2 us for ten samples. What compiled code does not find in order goes on to what has the messages.
    if (
        type(y_true) is type(y_proba) is _ndarray
        and sample_weight is None
        and labels is None
        and normalize is True
        and y_pred is _NOT_GIVEN
        and y_true.dtype is _INT64
        and y_proba.dtype is _FLOAT64
        and y_true.ndim == y_proba.ndim == 1
    ):
        loss, ones, status = kernels.two_classes_small.call(y_true, y_proba, LOG)
        count = len(y_true)
        if status == OK and 0.0 < ones < count:
            return loss / count
    name = "log_loss"
    normalize = targets.boolean(normalize, "normalize", name)
    if not (isinstance(y_pred, str) and y_pred == _NOT_GIVEN):
        check.array_like(y_pred, "y_pred", name)
        check.one_name(y_proba)
        warn(
            "`y_pred` was renamed to `y_proba` in version 1.9 and will be removed in 1.11. Use `y_proba` instead.",
            FutureWarning,
            stacklevel=2,
        )
        y_proba = y_pred
    check_loss_arguments(y_true, y_proba, sample_weight, labels, name)
    p = probabilities_of(y_proba)
    targets.same_lengths(p, y_true, sample_weight)
    weights = None if sample_weight is None else targets.sample_weights(sample_weight, len(p))
    loss, weight = sums_of_loss(y_true, p, weights, labels, LOG)
    return loss / check.weights_divide(weight) if normalize else loss


def brier_score_loss(
    y_true: Any,
    y_proba: Any,
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
    labels: Any = None,
    scale_by_half: bool | str = "auto",
) -> float:
    """Mean squared difference between probabilities and what happened.

    Parameters
    ----------
    y_true : (N,) labels, or (N, C) indicator
    y_proba : (N,) or (N, 1) probabilities of the positive class, or (N, C), one column a label in sorted order
    sample_weight : (N,) numbers, optional
    pos_label : label of the positive class for (N,); default 1 of {0, 1} and {-1, 1}, else the greater number
    labels : (C,) labels of the columns in sorted order, optional: default those in y_true
    scale_by_half : halve the sum over the classes, so that the score is at most 1; "auto": of two classes only

    Returns
    -------
    float, 0 at best

    Raises
    ------
    ValueError : lengths disagree, y_proba is not in [0, 1], labels and columns do not match, pos_label is needed
    TypeError : labels as bytes, sparse arrays
    ZeroDivisionError, also a ValueError : weights sum to zero

    Notes
    -----
    Source: Brier 1950, "Verification of forecasts expressed in terms of probability". The same as scikit-learn's, but
    float32 and float16 are computed in float64.
    """
    # The short way: 2 us for ten samples. What compiled code does not find in order goes on to what has the messages.
    if (
        type(y_true) is type(y_proba) is _ndarray
        and sample_weight is None
        and pos_label is None
        and labels is None
        and (scale_by_half is True or scale_by_half == "auto")
        and y_true.dtype is _INT64
        and y_proba.dtype is _FLOAT64
        and y_true.ndim == y_proba.ndim == 1
    ):
        loss, _, status = kernels.two_classes_small.call(y_true, y_proba, SQUARES)
        if status == OK:
            return loss / len(y_true)
    name = "brier_score_loss"
    check_loss_arguments(y_true, y_proba, sample_weight, labels, name)
    check.label(pos_label, name)
    scale_by_half = check.boolean_or_auto(scale_by_half, "scale_by_half", name)
    p = probabilities_of(y_proba)
    targets.same_lengths(p, y_true, sample_weight)
    weights = None if sample_weight is None else targets.sample_weights(sample_weight, len(p))
    if p.ndim == 1 or p.shape[1] == 1:
        loss, weight = _binary_squares(y_true, p.reshape(-1), weights, pos_label)
    else:
        loss, weight = sums_of_loss(y_true, p, weights, labels, SQUARES)
    halve = scale_by_half is True or (scale_by_half == "auto" and (p.ndim == 1 or p.shape[1] < 3))
    return loss / check.weights_divide(weight) * (0.5 if halve else 1.0)


def check_loss_arguments(y_true: Any, y_proba: Any, sample_weight: Any, labels: Any, name: str) -> None:
    check.array_like(y_true, "y_true", name)
    check.array_like(sample_weight, "sample_weight", name, optional=True)
    check.array_like(labels, "labels", name, optional=True)
    check.array_like(y_proba, "y_proba", name)  # last: where it is left out, faults of the others come first


def probabilities_of(y_proba: Any) -> np.ndarray:
    """(N,) or (N, C) of float16, float32 or float64; not yet checked to be in [0, 1]."""
    p = targets.array(y_proba, "y_proba")
    return p if p.dtype.kind == "f" and p.itemsize <= 8 else p.astype(_FLOAT64)


def _limits(dtype: np.dtype) -> tuple[float, float]:
    """What probabilities are clipped to: rounded to their dtype."""
    epsilon = np.finfo(dtype).eps
    return float(epsilon), float(dtype.type(1) - epsilon)


def _readable(x: np.ndarray) -> np.ndarray:
    return x if kernels.is_readable(x) else np.ascontiguousarray(x)


def sums_of_two_classes(codes: np.ndarray, p: np.ndarray, weights: np.ndarray | None, loss: int) -> tuple[Any, int]:
    """Sums of a loss of (N,) probabilities, and whether `codes` are 0 and 1, and p in [0, 1]."""
    if p.itemsize == 2:
        return _many_classes(codes.astype(_INT64), np.stack([1 - p, p], axis=1), weights, loss)[:2]
    sums = kernels.two_classes(_readable(codes), _readable(p), weights, *_limits(p.dtype), loss)
    return sums, sums[4]


def _many_classes(
    codes: np.ndarray, p: np.ndarray, weights: np.ndarray | None, loss: int
) -> tuple[Any, int, np.ndarray]:
    low, high = _limits(p.dtype)
    p = p.astype(_FLOAT64) if p.itemsize == 2 else p
    sums, seen = kernels.many_classes(codes.astype(_INT64, copy=False), p, weights, low, high, loss)
    return sums, sums[4], seen


def _binary_squares(y_true: Any, p: np.ndarray, weights: np.ndarray | None, pos_label: Any) -> tuple[float, float]:
    """Sum of squared differences of both columns, and of weights."""
    is_readable = type(y_true) is _ndarray and y_true.ndim == 1 and y_true.dtype.char in kernels.KINDS
    if pos_label is None and is_readable and p.itemsize > 2:
        sums, status = sums_of_two_classes(y_true, p, weights, SQUARES)
        if status == OK:
            return 2 * sums[0], sums[1]
    labels = inputs.read_labels(targets.vector(y_true, "y_true", numeric=False))
    check.binary_target(labels.type)
    codes = inputs.codes_of(labels, positive_label(pos_label, labels.classes))
    sums, status = sums_of_two_classes(codes, p, weights, SQUARES)
    if status != OK:
        check.probabilities(p, "less")
    return (2 if p.itemsize > 2 else 1) * sums[0], sums[1]


def positive_label(pos_label: Any, classes: np.ndarray) -> Any:
    """As `check.positive_label`, but of other numbers the greater."""
    if pos_label is None and classes.dtype.kind not in "OUS":
        return 1 if classes.tolist() in ([0], [-1]) else classes[-1]
    return check.positive_label(pos_label, classes)


def sums_of_loss(y_true: Any, p: np.ndarray, weights: np.ndarray | None, labels: Any, loss: int) -> tuple[float, float]:
    """Sum of a loss over samples and classes, and of weights."""
    if p.ndim == 2 and p.shape[1] == 1:
        p = p.reshape(-1)
    if labels is None and type(y_true) is _ndarray and y_true.ndim == 1 and y_true.dtype.kind in "biu":
        sums = _sums_of_integers(y_true, p, weights, loss)
        if sums is not None:
            return sums
    classes, codes = _classes_of(y_true, labels)
    if codes.ndim == 2:
        return _sums_of_indicator(codes, classes, p, weights, labels, loss)
    columns = 2 if p.ndim == 1 else p.shape[1]
    if len(classes) != columns:
        check.probabilities(p, "lower")
        check.a_column_a_class(classes, columns, labels)
    if p.ndim == 1:
        sums, status = sums_of_two_classes(codes.astype(np.uint8), p, weights, loss)
    else:
        sums, status, _ = _many_classes(codes, p, weights, loss)
    if status != OK:
        check.probabilities(p, "lower")
    _warn_of_sums(sums[3], p.dtype)
    return sums[0], sums[1]


def _sums_of_integers(
    y: np.ndarray, p: np.ndarray, weights: np.ndarray | None, loss: int
) -> tuple[float, float] | None:
    """The same where labels are 0, 1, ... C - 1, all of them, and all is in order; else None."""
    if p.ndim == 1:
        if p.itemsize == 2:
            return None
        sums, status = sums_of_two_classes(y, p, weights, loss)
        complete = 0.0 < sums[2] < len(y)
    else:
        sums, status, seen = _many_classes(y, p, weights, loss)
        complete = bool(seen.all())
    if status != OK or not complete:
        return None
    _warn_of_sums(sums[3], p.dtype)
    return sums[0], sums[1]


def _warn_of_sums(furthest: float, dtype: np.dtype) -> None:
    """Warn of rows that do not sum to one."""
    if furthest > 1e-8 + math.sqrt(np.finfo(dtype).eps):
        warn("The y_prob values do not sum to one. Make sure to pass probabilities.", UserWarning, stacklevel=5)


def _classes_of(y_true: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sorted labels, and each sample's place among them (N,), or the indicator (N, C) that y_true is."""
    y = inputs.read_labels(y_true)
    check.no_multioutput(y.type)
    if y.type == "multilabel-indicator":
        check.no_labels_of_indicator(labels)
        indicator = y.values.toarray() if targets.is_sparse(y.values) else y.values
        return np.arange(indicator.shape[1]), indicator
    check.target_has_samples(y.values)
    classes, codes = y.classes, y.codes
    if labels is not None:
        classes = _declared(labels)
        check.undeclared_labels(_undeclared(y.classes, classes), labels)
        codes = np.searchsorted(classes, y.classes)[y.codes]
    elif y.type not in ("binary", "multiclass"):
        targets.unique_labels(y_true)  # raises, and says which labels there may be
    check.two_labels(classes, labels)
    return classes, codes


def _declared(labels: Any) -> np.ndarray:
    """The given labels, sorted; warns where they were not."""
    classes = targets.unique_labels(labels)
    given = np.asarray(labels)
    if given.shape != classes.shape or not (classes == given).all():
        warn(
            f"Labels passed were {labels}. But this function assumes labels are ordered lexicographically. Pass the"
            f" ordered labels={classes.tolist()} and ensure that the columns of y_prob correspond to this ordering.",
            UserWarning,
            stacklevel=6,
        )
    return classes


def _undeclared(present: np.ndarray, classes: np.ndarray) -> set[Any]:
    return set(present.tolist()) - set(classes.tolist())


def _sums_of_indicator(
    indicator: np.ndarray, classes: np.ndarray, p: np.ndarray, weights: np.ndarray | None, labels: Any, loss: int
) -> tuple[float, float]:
    """The same of an indicator, in which a sample may have no class or several: cells are samples of two classes."""
    check.probabilities(p, "lower")
    table = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p
    check.a_column_a_class(classes, table.shape[1], labels)
    _warn_of_sums(float(np.abs(table.sum(axis=1, dtype=np.float64) - 1).max()), p.dtype)
    total = float(len(p)) if weights is None else float(weights.sum())
    if loss == SQUARES:
        squares = (indicator - table.astype(_FLOAT64)) ** 2
    else:
        squares = -indicator * np.log(np.clip(table, *_limits(table.dtype)).astype(_FLOAT64))
    of_rows = squares.sum(axis=1)
    return float((of_rows if weights is None else of_rows * weights).sum()), total
