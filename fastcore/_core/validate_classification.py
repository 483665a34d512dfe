"""Checks of classification targets and options, in scikit-learn's words."""

import math
import numbers
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastcore._core.validate_containers import InvalidParameterError, is_sparse
from fastcore._core.validate_labels import (
    is_indicator,
    one_kind_of_labels,
    read_target,
    type_of_distinct,
    type_of_target,
)
from fastcore._core.validate_targets import array_like, boolean, invalid, option, real, same_lengths, sample_weights
from fastcore._core.warn import warn

__all__ = ["InvalidParameterError", "Targets", "boolean", "option"]

AVERAGES = ("binary", "micro", "macro", "weighted", "samples", None)
INDICATOR = "multilabel-indicator"
LARGEST_MATRIX = 1 << 15  # labels a side, 8 GiB


class Targets(NamedTuple):
    """Targets that were read, not yet known to be labels of one kind."""

    true: Any
    pred: Any
    weights: np.ndarray | None


def targets(y_true: Any, y_pred: Any, sample_weight: Any, function: str, labels: Any = None) -> Targets:
    """Targets as arrays, columns ravelled, or as sparse matrices; weights as they came: integers, bools or floats."""
    array_like(y_true, "y_true", function)
    array_like(y_pred, "y_pred", function)
    array_like(sample_weight, "sample_weight", function, optional=True)
    array_like(labels, "labels", function, optional=True)
    same_lengths(y_true, y_pred, sample_weight)
    true, pred = _ravelled(read_target(y_true, "y_true")), _ravelled(read_target(y_pred, "y_pred"))
    for y, name in ((true, "y_true"), (pred, "y_pred")):
        if y.shape[0] < 1:
            type_of_target(y, name)
            raise ValueError(
                "Found empty input array (e.g., `y_true` or `y_pred`) while a minimum of 1 sample is required."
            )
    weights = None if sample_weight is None else sample_weights(sample_weight, true.shape[0], None)
    return Targets(true, pred, weights)


def _ravelled(y: Any) -> Any:
    return y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 and not is_sparse(y) else y


def are_single(targets: Targets) -> bool:
    """Whether each target has one label a sample, as far as containers tell; what else they may be goes to `refuse`."""
    return _is_single(targets.true) and _is_single(targets.pred)


def _is_single(y: Any) -> bool:
    if type(y) is not np.ndarray or y.ndim != 1:
        return False
    return y.dtype.kind in "iubfU" or (y.dtype.kind == "O" and isinstance(y[0], str)) or y.dtype.kind in "mM"


def kind_of_labels(targets: Targets, distinct_true: np.ndarray, distinct_pred: np.ndarray) -> str:
    """'binary' or 'multiclass', by each target's own labels; their union may still have more than two."""
    kind_true = type_of_distinct(targets.true, distinct_true, "y_true")
    kind_pred = type_of_distinct(targets.pred, distinct_pred, "y_pred")
    kind = _one_kind(kind_true, kind_pred)
    one_kind_of_labels(distinct_true, distinct_pred)
    return kind


def _one_kind(kind_true: str, kind_pred: str) -> str:
    kinds = {kind_true, kind_pred}
    if kinds == {"binary", "multiclass"}:
        return "multiclass"
    if len(kinds) > 1:
        raise ValueError(f"Classification metrics can't handle a mix of {kind_true} and {kind_pred} targets")
    if kind_true not in ("binary", "multiclass", INDICATOR):
        raise ValueError(f"{kind_true} is not supported")
    return kind_true


def indicators(targets: Targets) -> None:
    """Both targets are indicator matrices of as many labels; of anything else the message says what is wrong."""
    kinds = [
        INDICATOR if is_indicator(y) else type_of_target(y, name)
        for y, name in ((targets.true, "y_true"), (targets.pred, "y_pred"))
    ]
    if _one_kind(*kinds) != INDICATOR:
        if is_sparse(targets.true) or is_sparse(targets.pred):
            raise TypeError("Sparse input is only supported when targets are of multilabel type")
        shapes = f"{targets.true.shape} and {targets.pred.shape}"
        raise ValueError(f"y should be a 1d array, got arrays of shapes {shapes} instead.")
    if targets.true.shape[1] != targets.pred.shape[1]:
        raise ValueError("Multi-label binary indicator input with different numbers of labels")


def labels_to_report(labels: Any, present: np.ndarray) -> np.ndarray:
    """`labels` as an array of the kind of those present."""
    wanted = np.asarray(labels)
    if wanted.ndim != 1:
        raise ValueError(f"labels must be a list of labels. Got shape {wanted.shape}.")
    one_kind_of_labels(wanted, present)
    return wanted


def columns_to_report(labels: Any, number: int) -> np.ndarray:
    """`labels` as numbers of columns of an indicator matrix."""
    wanted = np.asarray(labels)
    if wanted.dtype.kind not in "iub" or wanted.ndim != 1:
        raise ValueError(f"labels must be numbers of columns for multilabel targets. Got dtype {wanted.dtype}.")
    if wanted.size and wanted.max() >= number:
        raise ValueError(
            f"All labels must be in [0, n labels) for multilabel targets. Got {wanted.max()} > {number - 1}"
        )
    if wanted.size and wanted.min() < 0:
        raise ValueError(f"All labels must be in [0, n labels) for multilabel targets. Got {wanted.min()} < 0")
    return wanted.astype(np.int64)


def average(x: Any, function: str) -> str | None:
    """The way of averaging."""
    if not (x is None or isinstance(x, str)):
        option(x, "average", AVERAGES, function)
    if x not in AVERAGES:
        option(x, "average", AVERAGES, function)
    return x


def zero_division(x: Any, function: str) -> float:
    """What stands for 0 / 0: 0.0 (also for 'warn'), 1.0 or NaN."""
    if isinstance(x, str) and x == "warn":
        return 0.0
    if isinstance(x, numbers.Real) and (x in (0, 1) or math.isnan(x)):
        return float(x)
    raise invalid(x, "zero_division", "among {0.0, 1.0}, numpy.nan or 'warn'", function)


def beta(x: Any, function: str) -> float:
    """The weight of recall, which may be infinite."""
    return real(x, "beta", 0.0, None, function)


def pos_label(x: Any, function: str) -> Any:
    if x is None or isinstance(x, numbers.Real | str | np.bool_):
        return x
    raise invalid(x, "pos_label", "an instance of 'float', an instance of 'str', a bool or None", function)


def positive_of_binary(label: Any, kind: str, present: np.ndarray) -> None:
    """With ``average='binary'`` the targets are binary, and `label` is one of them, or may be the one unseen."""
    if kind != "binary":
        options = [x for x in ("micro", "macro", "weighted", "samples") if x != "samples" or kind == INDICATOR]
        raise ValueError(
            f"Target is {kind} but average='binary'. Please choose another average setting,"
            f" one of {[None, *options]!r}."
        )
    if label is None or (len(present) >= 2 and label not in present.tolist()):
        raise ValueError(f"pos_label={label} is not a valid label. It should be one of {present}")


def labels_do_not_compare(error: TypeError) -> NoReturn:
    raise TypeError(
        f"Labels in y_true and y_pred must be of one kind that can be sorted: {error}."
        " Convert both to strings or to integers."
    ) from error


def samplewise_needs_indicators() -> NoReturn:
    raise ValueError("Samplewise metrics are not available outside of multilabel classification.")


def labels_of_confusion(labels: Any, present_true: np.ndarray) -> np.ndarray:
    """Labels that index a confusion matrix: at least one, and one that is in y_true."""
    wanted = np.asarray(labels)
    if wanted.size == 0:
        raise ValueError("'labels' should contain at least one label.")
    if wanted.ndim != 1:
        raise ValueError(f"labels must be a list of labels. Got shape {wanted.shape}.")
    if not set(wanted.tolist()) & set(present_true.tolist()):
        raise ValueError("At least one label specified must be in y_true")
    return wanted


def single_labels_only() -> NoReturn:
    raise ValueError(f"{INDICATOR} is not supported")


def positive_label(label: Any, classes: np.ndarray) -> Any:
    """The positive label of binary scores: 1 where none is given and the labels are {0, 1}, {-1, 1} or one of these."""
    if label is not None:
        return label
    known = classes.dtype.kind not in "OUS" and set(classes.tolist()) in ({0, 1}, {-1, 1}, {0}, {-1}, {1})
    if not known:
        shown = ", ".join(repr(c) for c in classes.tolist()[:20])
        raise ValueError(
            f"y_true takes value in {{{shown}}} and pos_label is not specified: either make y_true take value in"
            " {0, 1} or {-1, 1} or pass pos_label explicitly."
        )
    return 1


def total_weight(total: float) -> float:
    if total == 0:
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    return total


def warn_ignored_pos_label(label: Any, average: Any, stacklevel: int) -> None:
    warn(
        f"Note that pos_label (set to {label!r}) is ignored when average != 'binary' (got {average!r})."
        " You may use labels=[pos_label] to specify a single positive class.",
        UserWarning,
        stacklevel=stacklevel,
    )


def warn_for(x: Any, function: str) -> Any:
    if isinstance(x, list | tuple | set):
        return x
    raise invalid(x, "warn_for", "an instance of 'list', 'tuple' or 'set'", function)


def warn_single_label(stacklevel: int) -> None:
    warn(
        "A single label was found in 'y_true' and 'y_pred'. For the confusion matrix to have the correct shape, use the"
        " 'labels' parameter to pass all known labels.",
        UserWarning,
        stacklevel=stacklevel,
    )


def matrix_fits(number: int) -> None:
    """A dense matrix of so many labels a side is no larger than 8 GiB."""
    if number > LARGEST_MATRIX:
        raise ValueError(
            f"A dense matrix of {number} labels a side is too large. Pass fewer labels, or see contingency_matrix."
        )
