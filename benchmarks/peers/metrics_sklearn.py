"""scikit-learn with its defaults: it checks its arguments, as we do ours."""

from typing import Any

import numpy as np

from benchmarks.peers import require
from benchmarks.registry import Side

# What `regression_report` gives, in its order. scikit-learn has no mean percentage error: None stands for NumPy's.
REPORT = (
    "mean_squared_error", "root_mean_squared_error", "mean_absolute_error", None, "mean_absolute_percentage_error",
    "r2_score", "explained_variance_score", "max_error", "median_absolute_error",
)  # fmt: skip


def prepare(data: Any) -> Side:
    metrics = require("sklearn.metrics")
    function = data.task.function
    if function == "regression_report":
        functions = [name and getattr(metrics, name) for name in REPORT]

        def report(y: np.ndarray, p: np.ndarray) -> list[float]:
            return [each(y, p) if each else np.mean((y - p) / y) for each in functions]

        return data.side(data.call_of(report), "separate calls")
    if function == "lift_score":

        def lift(y: np.ndarray, p: np.ndarray) -> float:
            return metrics.precision_score(y, p) / np.mean(y)

        return data.side(data.call_of(lift), "precision_score over the mean of the labels")
    return data.side(data.call_of(getattr(metrics, function)))
