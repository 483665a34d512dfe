"""Argument checks of the bootstrap, and every message they raise."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core import validate, validate_targets


def metric(x: Any) -> Any:
    if not callable(x):
        raise TypeError(
            f"metric must be a function of the data, e.g. fastcore.metrics.f1_score. Got {validate.shown(x)}."
        )
    return x


def data(arrays: Sequence[Any]) -> list[np.ndarray]:
    """Arrays of one length, at least one row; rows of more axes may be anything."""
    if not arrays:
        raise ValueError(
            "bootstrap needs the data behind the metric, e.g. bootstrap(metric, y_true, y_pred). Got none."
        )
    read = [x if type(x) is np.ndarray else np.asarray(x) for x in arrays]
    for position, x in enumerate(read):
        if x.ndim == 0:
            raise ValueError(f"data[{position}] must have rows to draw from. Got a scalar.")
    validate_targets.same_lengths(*read)
    if len(read[0]) == 0:
        raise ValueError("The data must have at least one row to draw from. Got 0.")
    return read


def same_length_as_data(x: Any, name: str, rows: int) -> np.ndarray:
    array = np.asarray(x)
    if array.ndim != 1 or len(array) != rows:
        raise ValueError(
            f"{name} must have one entry for each of the {rows} rows of the data. Got shape {array.shape}."
        )
    return array


def confidence(x: Any) -> float:
    value = validate.finite_float(x, "confidence")
    if not 0.0 < value < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, e.g. 0.95. Got {value}.")
    return value


def takes_weights(function: Any, accepted: bool) -> None:
    if not accepted:
        name = getattr(function, "__name__", validate.kind_of(function))
        raise TypeError(f"by='weights' needs a metric with an argument sample_weight. {name} has none. Pass by='rows'.")


def result_of_metric(x: Any) -> np.ndarray:
    """A number, or an array of some shape, as float64."""
    try:
        result = np.asarray(x, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"metric must return a number or an array of numbers. Got {validate.kind_of(x)}."
            " Wrap it in a function that picks one."
        ) from None
    return result


def some_defined(defined: int, resamples: int) -> None:
    if not defined:
        raise ValueError(
            f"The metric is undefined (NaN) in all of {resamples} resamples. Check it on the data itself, or pass"
            " strata=y_true, so that every resample has each class."
        )


def interval_of(confidence: float) -> tuple[float, float]:
    """The two quantiles."""
    tail = (1.0 - confidence) / 2.0
    return tail, 1.0 - tail
