"""Errors of predictions of a real number: targets around 10, so that percentages are defined.

Axes: N rows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.cases.metrics_task import Task, cases_of
from benchmarks.peers import metrics_sklearn, metrics_torchmetrics
from benchmarks.registry import Case, Factory
from fastcore.reference import metrics_regression as twins

ROWS = (10, 1_000, 100_000, 1_000_000, 10_000_000)
SKLEARN: dict[str, Factory] = {"scikit-learn": metrics_sklearn.prepare}
BOTH = SKLEARN | {"torchmetrics": metrics_torchmetrics.prepare}


def make(random: np.random.Generator, rows: int) -> Sequence[np.ndarray]:
    y = 10 + random.standard_normal(rows)
    return y, y + 0.3 * random.standard_normal(rows)


def mean_squared_error(y: np.ndarray, p: np.ndarray) -> float:
    return np.mean((y - p) ** 2)


def mean_absolute_error(y: np.ndarray, p: np.ndarray) -> float:
    return np.mean(np.abs(y - p))


def r2_score(y: np.ndarray, p: np.ndarray) -> float:
    return 1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2)


def report(y: np.ndarray, p: np.ndarray) -> tuple[float, ...]:
    """All of them, of errors that are computed once."""
    errors = y - p
    sizes, shares = np.abs(errors), errors / y
    mse, variance = np.mean(errors**2), np.var(y)
    return (
        mse,
        np.sqrt(mse),
        np.mean(sizes),
        np.mean(shares),
        np.mean(np.abs(shares)),
        1 - mse / variance,
        1 - np.var(errors) / variance,
        np.max(sizes),
        np.median(sizes),
    )


def tasks() -> list[Task]:
    def task(function: str, naive: Callable[..., Any], row_flops: float, peers: dict, **more: Any) -> Task:
        return Task(
            domain="metrics_regression",
            function=function,
            kind="f64",
            rows=ROWS,
            make=make,
            naive=naive,
            twin=getattr(twins, function),
            twin_rows=max(ROWS),
            peers=peers,
            row_bytes=16.0,
            row_flops=row_flops,
            streams=True,
            **more,
        )

    return [
        task("mean_squared_error", mean_squared_error, 3.0, BOTH, quick_rows=1_000_000),
        task("mean_absolute_error", mean_absolute_error, 3.0, BOTH),
        task("r2_score", r2_score, 6.0, BOTH),
        task("regression_report", report, 15.0, SKLEARN),
    ]


def cases() -> list[Case]:
    return cases_of(tasks())
