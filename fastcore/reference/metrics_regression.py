"""The plain NumPy twins of the regression metrics, for vectors and, output by output, matrices.

Everything is computed in float64 by the formulas as they stand in textbooks: two passes for a variance, a sort for a
median.
"""

from typing import Any, NamedTuple

import numpy as np

SMALLEST_TARGET = 2.0**-52


class RegressionReport(NamedTuple):
    """All metrics of one output."""

    mean_squared_error: float
    root_mean_squared_error: float
    mean_absolute_error: float
    mean_percentage_error: float
    mean_absolute_percentage_error: float
    r2_score: float
    explained_variance_score: float
    max_error: float
    median_absolute_error: float


def _read(y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, p = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    return y, p, np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)


def mean_squared_error(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Mean of (y - p)**2."""
    y, p, w = _read(y_true, y_pred, sample_weight)
    return float(np.sum(w * (y - p) ** 2) / np.sum(w))


def root_mean_squared_error(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Its square root."""
    return float(np.sqrt(mean_squared_error(y_true, y_pred, sample_weight)))


def mean_absolute_error(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Mean of |y - p|."""
    y, p, w = _read(y_true, y_pred, sample_weight)
    return float(np.sum(w * np.abs(y - p)) / np.sum(w))


def mean_percentage_error(y_true: Any, y_pred: Any, sample_weight: Any = None, *, zero_target: str = "error") -> float:
    """Mean of (y - p) / y; zeros of y as in `fastcore.metrics.mean_percentage_error`."""
    y, p, w = _read(y_true, y_pred, sample_weight)
    zero = (y == 0) & (w != 0)
    if zero.any() and zero_target == "error":
        raise ValueError("y_true must not be 0")
    if zero.any() and zero_target == "nan":
        return float("nan")
    if zero_target == "epsilon":
        divisor = np.where(np.abs(y) < SMALLEST_TARGET, np.where(y < 0, -1, 1) * SMALLEST_TARGET, y)
    else:
        kept = y != 0
        y, p, w = y[kept], p[kept], w[kept]
        divisor = y
    return float(np.sum(w * ((y - p) / divisor)) / np.sum(w)) if len(y) else float("nan")


def mean_absolute_percentage_error(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Mean of |y - p| / max(|y|, 2**-52)."""
    y, p, w = _read(y_true, y_pred, sample_weight)
    return float(np.sum(w * np.abs(y - p) / np.maximum(np.abs(y), SMALLEST_TARGET)) / np.sum(w))


def _fraction(numerator: float, denominator: float) -> float:
    if numerator == 0:
        return 1.0
    return 0.0 if denominator == 0 else float(1 - numerator / denominator)


def _around_mean(x: np.ndarray, w: np.ndarray) -> float:
    """Weighted sum of the squares around the mean; of equal elements exactly 0."""
    x = x - x[0]
    return float(np.sum(w * (x - np.sum(w * x) / np.sum(w)) ** 2))


def r2_score(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """1 - sum of (y - p)**2 / sum of (y - mean(y))**2."""
    y, p, w = _read(y_true, y_pred, sample_weight)
    return _fraction(float(np.sum(w * (y - p) ** 2)), _around_mean(y, w)) if len(y) > 1 else float("nan")


def explained_variance_score(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """1 - variance(y - p) / variance(y)."""
    y, p, w = _read(y_true, y_pred, sample_weight)
    return _fraction(_around_mean(y - p, w), _around_mean(y, w))


def max_error(y_true: Any, y_pred: Any) -> float:
    """Largest |y - p|."""
    y, p, _ = _read(y_true, y_pred, None)
    return float(np.max(np.abs(y - p)))


def median_absolute_error(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Median of |y - p|: where the sorted weights reach half their sum; the mean with the next if exactly there."""
    y, p, w = _read(y_true, y_pred, sample_weight)
    errors, w = np.abs(y - p)[w != 0], w[w != 0]
    order = np.argsort(errors, kind="stable")
    up_to = np.cumsum(w[order])
    at = int(np.argmax(up_to >= up_to[-1] / 2))
    is_between = up_to[at] - up_to[-1] / 2 <= np.finfo(np.float64).eps and at + 1 < len(order)
    following = at + 1 if is_between else at
    return float((errors[order[at]] + errors[order[following]]) / 2)


def regression_report(y_true: Any, y_pred: Any, sample_weight: Any = None) -> RegressionReport:
    """All of them, one after the other."""
    return RegressionReport(
        mean_squared_error(y_true, y_pred, sample_weight),
        root_mean_squared_error(y_true, y_pred, sample_weight),
        mean_absolute_error(y_true, y_pred, sample_weight),
        mean_percentage_error(y_true, y_pred, sample_weight, zero_target="nan"),
        mean_absolute_percentage_error(y_true, y_pred, sample_weight),
        r2_score(y_true, y_pred, sample_weight),
        explained_variance_score(y_true, y_pred, sample_weight),
        max_error(y_true, y_pred),
        median_absolute_error(y_true, y_pred, sample_weight),
    )
