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
    for position, x in enumerate(arrays):
        if hasattr(x, "tocsr"):
            raise TypeError(
                f"data[{position}] must be an array. Got a sparse {validate.kind_of(x)}. Pass its .toarray(), or draw"
                " from row numbers: bootstrap(lambda rows: metric(X[rows]), numpy.arange(N))."
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


def resample_like(x: np.ndarray, shape: tuple[int, ...], resample: int) -> np.ndarray:
    if x.shape != shape:
        raise ValueError(
            f"metric must return one shape. Got {shape} for the data and {x.shape} for resample {resample}. Pass"
            " labels= or strata= if a class is missing there; return a curve on a fixed grid, by numpy.interp."
        )
    return x


def one_of_two(strata: Any, groups: Any) -> None:
    if strata is not None and groups is not None:
        raise ValueError("strata and groups cannot go together: groups are drawn from all. Got both. Pass one.")


def some_defined(defined: int, resamples: int, refused: Exception | None) -> None:
    if not defined:
        reason = "NaN" if refused is None else f"refused: {refused}"
        raise ValueError(
            f"The metric is undefined in all of {resamples} resamples ({reason}). If a class is missing in them, pass"
            " strata=y_true, so that each has every class."
        ) from refused


def interval_of(confidence: float) -> tuple[float, float]:
    """The two quantiles."""
    tail = (1.0 - confidence) / 2.0
    return tail, 1.0 - tail
