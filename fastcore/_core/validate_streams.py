"""Checks of streams of metrics, and every message they raise."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from fastcore._core.validate import shown
from fastcore._core.validate_containers import InvalidParameterError, is_sparse
from fastcore._core.validate_labels import finite, one_kind_of_labels
from fastcore._core.validate_targets import array, invalid, real, sample_weights


def metric(x: Any) -> str:
    """Name of a metric of this package."""
    name = getattr(x, "__name__", None)
    if not callable(x) or name is None or not str(getattr(x, "__module__", "")).startswith("fastcore.metrics."):
        raise TypeError(
            f"metric must be a function of fastcore.metrics, e.g. fastcore.metrics.f1_score. Got {shown(x)}."
        )
    return str(name)


def cannot_be_streamed(name: str, why: str | None) -> NoReturn:
    reason = why or "its result does not follow from sums, counts or distinct scores of batches"
    raise TypeError(f"{name} cannot be streamed: {reason}. Call it on all the data at once.")


def options(function: Callable[..., Any], arguments: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """Every option of a metric: those given, of known names, and the defaults of the others."""
    name = function.__name__
    parameters = inspect.signature(function).parameters
    known = {key: each.default for key, each in parameters.items() if key not in (*arguments, "sample_weight")}
    for key in given:
        if key == "sample_weight" and key in parameters:
            raise TypeError("sample_weight belongs to a batch: pass it to update(..., sample_weight=...).")
        if key not in known:
            raise TypeError(f"{name} has no option {key!r}. It has {', '.join(known) or 'none'}.")
    return known | given


def option_values(function: Callable[..., Any], sample: Sequence[Any], given: dict[str, Any]) -> None:
    """Refuse values that no data makes valid, in the metric's own words: it is asked about a tiny sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(*sample, **given)
        except InvalidParameterError:
            raise
        except (ValueError, TypeError, ArithmeticError):
            pass  # which the sample may be at fault for


def without_median(given: Any) -> None:
    if given:
        raise TypeError(
            "regression_report cannot be streamed with its median, which needs all the errors at once."
            " Pass median=False."
        )


def without_pairs(given: Any) -> None:
    if given is not None:
        raise TypeError(
            "average_treatment_effect cannot be streamed with pairs: the two rows of a pair may come in different"
            " batches. Leave pairs out, or stream the differences."
        )


def number_of_bins(bins: Any, low: Any, high: Any) -> tuple[int, float, float]:
    """The histogram of scores: bins, from low to high."""
    number = int(real(bins, "bins", 1, 2**31, "stream", kind="int"))
    bounds = [real(x, name, None, None, "stream") for x, name in ((low, "low"), (high, "high"))]
    if not (np.isfinite(bounds).all() and bounds[0] < bounds[1] and np.isfinite(bounds[1] - bounds[0])):
        raise invalid(high, "high", f"a finite float above low={bounds[0]}", "stream")
    return number, bounds[0], bounds[1]


def bins_are_for(name: str) -> None:
    if name != "roc_auc_score":
        raise TypeError(f"bins is an option of streams of roc_auc_score. Leave it out for {name}.")


def plain_area(max_fpr: Any) -> None:
    if max_fpr is not None and max_fpr != 1.0:
        raise ValueError(
            f"A histogram of scores (bins=...) has no bound for max_fpr={shown(max_fpr)}. Leave out bins, which keeps"
            " the distinct scores, or max_fpr."
        )


# --- batches ----------------------------------------------------------------------------------------------------------


def number_of_arrays(given: Sequence[Any], arguments: Sequence[str], name: str) -> None:
    if len(given) != len(arguments):
        raise TypeError(
            f"update of a stream of {name} takes {', '.join(arguments)}. Got {len(given)} array(s);"
            " weights go by name, sample_weight=..."
        )


def no_weights(name: str) -> NoReturn:
    raise TypeError(f"{name} takes no sample_weight. Leave it out.")


def weights(x: Any, length: int, *, may_be_negative: bool = True) -> np.ndarray | None:
    """(N,) float64; all of a batch may be zero, of which only the sum over all batches has to be something else."""
    if x is None:
        return None
    return sample_weights(
        array(x, "sample_weight"), length, np.float64, may_be_zero=True, may_be_negative=may_be_negative
    )


def single_labels(is_single: bool, name: str) -> None:
    if not is_single:
        raise ValueError(
            f"A stream of {name} takes one label a sample, y_true and y_pred (N,). Indicator matrices, and what else"
            " has more axes, cannot be streamed; stream each column by itself."
        )


def vector_of_scores(x: Any) -> np.ndarray:
    """(N,) finite scores."""
    if is_sparse(x):
        raise TypeError("y_score must be a dense array of scores. Got a sparse one; pass y_score.toarray().")
    scores = array(x, "y_score")
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim != 1:
        raise ValueError(
            f"A stream takes one score a sample, y_score (N,). Got shape {scores.shape}. Stream each column by itself."
        )
    finite(scores, "y_score")
    return scores


def kinds_agree(*distinct: np.ndarray) -> None:
    """Labels of batches are either all strings, or all numbers."""
    one_kind_of_labels(*distinct)


def two_classes(classes: Sequence[Any], name: str) -> None:
    """Labels of all batches together."""
    if len(classes) > 2:
        raise ValueError(
            f"A stream of {name} takes labels of two classes: multiclass format is not supported. Got"
            f" {', '.join(repr(x) for x in list(classes)[:10])} in the batches so far. Stream a class against the rest:"
            " update(y_true == label, scores)."
        )


def same_number_of_outputs(seen: int, came: int, what: str) -> None:
    if seen != came:
        raise ValueError(f"Batches must have as many {what} as those before. Got {came} after {seen}.")


def known_without_labels(are_known: bool, name: str, option: str) -> None:
    if not are_known:
        raise ValueError(
            f"A stream of {name} has to know the labels before it has seen them all. Without the option {option} they"
            f" are 0 and 1 (or -1 and 1), with probabilities (N,). Pass stream({name}, {option}=...)."
        )


# --- merging ----------------------------------------------------------------------------------------------------------


def same_stream(ours: Any, other: Any, agree: Callable[[Any], tuple[bool, str]]) -> None:
    """`other` is a state of the same metric with the same options."""
    if type(other) is not type(ours):
        raise TypeError(f"{ours!r} merges with a state of its kind. Got {shown(other)}.")
    good, what = agree(other)
    if not good:
        raise ValueError(f"States merge that have the same {what}. Got {ours!r} and {other!r}.")


def equal_options(a: Any, b: Any) -> bool:
    """Whether two values of an option are the same: numbers, strings, None, or arrays of these."""
    if a is b:
        return True
    if a is None or b is None or isinstance(a, str) != isinstance(b, str):
        return False
    left, right = np.asarray(a), np.asarray(b)
    if left.shape != right.shape:
        return False
    both_nan = (left != left) & (right != right)
    return bool(np.all((left == right) | both_nan))
