"""Checks of the ranking metrics and of those of probabilities, in scikit-learn's words."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core import validate_targets as targets
from fastcore._core.validate import shown
from fastcore._core.validate_targets import InvalidParameterError
from fastcore._core.validate_targets import array_like as array_like

AVERAGES = ("micro", "macro", "samples", "weighted", None)


class ZeroWeightsError(ZeroDivisionError, ValueError):
    """Weights that sum to zero divide a mean; numpy.average raises the first, all else here the second."""


def average(x: Any, function: str) -> str | None:
    chosen: str | None = targets.option(x, "average", AVERAGES, function)
    return chosen


def label(x: Any, function: str, *, optional: bool = True) -> Any:
    """`pos_label`: a number, string or bool, or None where nothing is given."""
    if not (isinstance(x, numbers.Real | str | np.bool_) or (optional and x is None)):
        rule = "a float, str or bool" + (" or None" if optional else "")
        raise InvalidParameterError(f"The 'pos_label' parameter of {function} must be {rule}. Got {shown(x)} instead.")
    return x


def boolean_or_auto(x: Any, name: str, function: str) -> bool | str:
    if isinstance(x, bool | np.bool_):
        return bool(x)
    if isinstance(x, str) and x == "auto":
        return x
    rule = "an instance of 'bool' or a str among {'auto'}"
    raise InvalidParameterError(f"The {name!r} parameter of {function} must be {rule}. Got {shown(x)} instead.")


def max_fpr(x: Any) -> float | None:
    if x is None:
        return None
    return targets.real(x, "max_fpr", 0.0, 1.0, "roc_auc_score", closed="right")


def format_is(y_type: str, known: Sequence[str]) -> None:
    """What a target may be."""
    if y_type not in known:
        raise ValueError(f"{y_type} format is not supported. Supported are: {', '.join(known)}.")


def positive_label(pos_label: Any, y_true: np.ndarray) -> Any:
    """The given label of the positive class, or 1 where the labels of y_true are of {0, 1} or {-1, 1}."""
    if pos_label is not None:
        return pos_label
    classes = np.unique(y_true)
    known = ([0, 1], [-1, 1], [0], [-1], [1])
    if classes.dtype.kind in "OUS" or classes.tolist() not in known:
        found = ", ".join(repr(each) for each in classes.tolist())
        raise ValueError(
            f"y_true takes value in {{{found}}} and pos_label is not specified: either make y_true take value in"
            " {0, 1} or {-1, 1} or pass pos_label explicitly."
        )
    return 1


# --- ROC AUC of several classes ---------------------------------------------------------------------------------------


def one_score_a_class(y_score: np.ndarray) -> None:
    if y_score.ndim != 2:
        raise ValueError(
            "`y_score` needs to be of shape `(n_samples, n_classes)`, since `y_true` contains multiple classes."
            f" Got `y_score.shape={y_score.shape}`."
        )


def multiclass_options(multi_class: str, limit: float | None, given_limit: Any) -> None:
    """What `roc_auc_score` of several classes can do."""
    if limit is not None and limit != 1.0:
        raise ValueError(
            "Partial AUC computation not available in multiclass setting, 'max_fpr' must be set to `None`,"
            f" received `max_fpr={given_limit}` instead"
        )
    if multi_class == "raise":
        raise ValueError("multi_class must be in ('ovo', 'ovr'): y_true has several classes. Pass one of them.")


def multiclass_average(average: str | None, multi_class: str) -> None:
    known = ("micro", "macro", "weighted", None) if multi_class == "ovr" else ("macro", "weighted", None)
    if average not in known:
        raise ValueError(f"average must be one of {known} for multiclass problems. Got {average!r}.")
    if average is None and multi_class == "ovo":
        raise NotImplementedError("average=None is not implemented for multi_class='ovo'. Pass 'macro' or 'weighted'.")


def scores_sum_to_one(y_score: np.ndarray) -> None:
    sums = y_score @ np.ones(y_score.shape[1], y_score.dtype)  # 8 ms, sum(axis=1) 24, for 1e6 rows of ten
    if not np.all(np.abs(sums - 1) <= 1e-8 + 1e-5 * np.abs(sums)):
        raise ValueError(
            "Target scores need to be probabilities for multiclass roc_auc, i.e. they should sum up to 1.0 over"
            f" classes. Got sums from {sums.min()} to {sums.max()}."
        )


def ordered_labels(labels: Any, columns: int) -> np.ndarray:
    """`labels` as distinct, rising values, one a column."""
    given = targets.vector(labels, "labels", numeric=False, may_be_empty=True)
    classes = np.unique(given)
    if len(classes) != len(given):
        raise ValueError("Parameter 'labels' must be unique")
    if not np.array_equal(classes, given):
        raise ValueError(f"Parameter 'labels' must be ordered. Pass {classes.tolist()}.")
    if len(classes) != columns:
        raise ValueError(
            f"Number of given labels, {len(classes)}, not equal to the number of columns in 'y_score', {columns}"
        )
    return classes


def classes_have_columns(count: int, columns: int) -> None:
    if count != columns:
        raise ValueError(
            "Number of classes in y_true not equal to the number of columns in 'y_score'."
            f" Got {count} and {columns}. Pass labels if some class does not occur."
        )


def known_labels(are_known: bool) -> None:
    if not are_known:
        raise ValueError("'y_true' contains labels not in parameter 'labels'")


def no_weights(sample_weight: Any) -> None:
    if sample_weight is not None:
        raise ValueError(
            "sample_weight is not supported for multiclass one-vs-one ROC AUC, 'sample_weight' must be None"
            " in this case."
        )


# --- curves and average precision -------------------------------------------------------------------------------------


def curve_is_monotonic(x: np.ndarray, steps: np.ndarray) -> int:
    """1 or -1: the direction of `x`, of which ``steps`` are the differences."""
    if not (steps < 0).any():
        return 1
    if not (steps <= 0).all():
        raise ValueError(f"x is neither increasing nor decreasing : {x}.")
    return -1


def enough_points(x: np.ndarray) -> None:
    if len(x) < 2:
        raise ValueError(f"At least 2 points are needed to compute area under curve, but x.shape = {x.shape}")


def label_occurs(pos_label: Any, present: np.ndarray) -> None:
    """Of two labels one must be the positive one."""
    if len(present) == 2 and pos_label not in present:
        raise ValueError(f"pos_label={pos_label} is not a valid label. It should be one of {present}")


def shape_is_that_of_classes(y_score: np.ndarray, samples: int, classes: int) -> None:
    if y_score.shape != (samples, classes):
        raise ValueError(
            "`y_score` needs to be of shape `(n_samples, n_classes)`, since `y_true` contains multiple classes."
            f" Got `y_score.shape={y_score.shape}` for {samples} samples of {classes} classes."
        )


def scores_of_indicator(y_true: np.ndarray, y_score: np.ndarray) -> np.ndarray:
    """Scores of the shape of the indicator (N, L)."""
    if y_score.shape != y_true.shape:
        raise ValueError(
            f"y_score must have the shape of y_true, one score for each label. Got {y_score.shape} and {y_true.shape}."
        )
    return y_score


def label_is_one(pos_label: Any, y_type: str) -> None:
    if pos_label != 1:
        raise ValueError(
            f"Parameter pos_label is fixed to 1 for {y_type} y_true. Do not set pos_label or set pos_label to 1."
        )


# --- probabilities ----------------------------------------------------------------------------------------------------


def probabilities(p: np.ndarray, word: str) -> None:
    """Numbers from 0 to 1; ``word`` is what scikit-learn's message says for too low ones."""
    targets.finite(p, "y_proba")
    if p.max() > 1:
        raise ValueError(f"y_prob contains values greater than 1: {p.max()}")
    if p.min() < 0:
        raise ValueError(f"y_prob contains values {word} than 0: {p.min()}")


def target_has_samples(y_true: np.ndarray) -> None:
    if len(y_true) == 0:
        raise ValueError(f"y has 0 samples: {y_true!r}")


def no_multioutput(y_type: str) -> None:
    if "multioutput" in y_type:
        raise ValueError("Multioutput target data is not supported with label binarization")
    if y_type == "unknown":
        raise ValueError("The type of target data is not known")


def no_labels_of_indicator(labels: Any) -> None:
    if labels is not None:
        raise ValueError(
            "The object was not fitted with multilabel input: labels go with a vector of labels. Leave labels out where"
            " y_true is an indicator."
        )


def undeclared_labels(values: set[Any], labels: Any) -> None:
    if values:
        raise ValueError(f"y_true contains values {values} not belonging to the passed labels {labels}.")


def two_labels(classes: np.ndarray, labels: Any) -> None:
    """At least two classes, in y_true or in the given ``labels``."""
    if len(classes) != 1:
        return
    if labels is None:
        raise ValueError(
            f"y_true contains only one label ({classes[0]}). Please provide the list of all expected class labels"
            " explicitly through the labels argument."
        )
    raise ValueError(f"The labels array needs to contain at least two labels, got {classes}.")


def a_column_a_class(classes: np.ndarray, columns: int, labels: Any) -> None:
    if len(classes) == columns:
        return
    if labels is None:
        raise ValueError(
            f"y_true and y_prob contain different number of classes: {len(classes)} vs {columns}. Please provide the"
            f" true labels explicitly through the labels argument. Classes found in y_true: {classes}"
        )
    raise ValueError(
        f"The number of classes in labels is different from that in y_prob. Classes found in labels: {classes}"
    )


def binary_target(y_type: str) -> None:
    if y_type != "binary":
        raise ValueError(
            f"The type of the target inferred from y_true is {y_type} but should be binary according to the shape of"
            " y_prob."
        )


def one_name(y_proba: Any) -> None:
    if y_proba is not None:
        raise ValueError("Cannot use both `y_pred` and `y_proba`. `y_pred` is deprecated, use `y_proba` instead.")


def weights_divide(total: float) -> float:
    """The sum of weights that a mean is divided by."""
    if total == 0.0:
        raise ZeroWeightsError("Weights sum to zero, can't be normalized. Pass sample_weight of another sum.")
    return total
