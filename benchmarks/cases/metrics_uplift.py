"""Effects of a treatment: its average, and how well predicted effects rank it.

Axes: N rows, half of them treated.
"""

from collections.abc import Sequence
from functools import partial
from math import log2

import numpy as np

from benchmarks.cases.metrics_task import Task, cases_of, zeros_and_ones
from benchmarks.peers import metrics_sklift
from benchmarks.registry import Case
from fastcore.reference import metrics_uplift as twins

DOMAIN = "metrics_uplift"
ROWS = (10, 1_000, 100_000, 1_000_000, 10_000_000)


def make_ranking(random: np.random.Generator, rows: int) -> Sequence[np.ndarray]:
    """Outcome, predicted uplift, treatment; the prediction tells something, and no two are equal."""
    y, treatment = zeros_and_ones(random, rows), random.integers(0, 2, rows)
    y[:4], treatment[:4] = (0, 1, 0, 1), (0, 0, 1, 1)
    return y, random.standard_normal(rows) + 0.3 * y * (2 * treatment - 1), treatment


def make_experiment(random: np.random.Generator, rows: int, kind: str) -> Sequence[np.ndarray]:
    treatment = random.integers(0, 2, rows)
    treatment[:4] = 0, 0, 1, 1
    return 5 + random.standard_normal(rows) + 0.5 * treatment, treatment.astype(kind)


def qini(y: np.ndarray, uplift: np.ndarray, treatment: np.ndarray) -> float:
    """The curve at each distinct prediction, trapezoids under it, over those under the best curve."""
    order = np.argsort(uplift)[::-1]
    y, uplift, treatment = y[order], uplift[order], treatment[order]
    last = np.append(np.flatnonzero(np.diff(uplift)), len(uplift) - 1)
    treated, taken = np.cumsum(treatment)[last], last + 1
    good = np.cumsum(y * treatment)[last]
    bad = np.cumsum(y)[last] - good
    values = good - bad * (treated / np.maximum(taken - treated, 1))
    found = np.trapezoid(np.append(0, values), np.append(0, taken))
    n, yt, yc = int(taken[-1]), int(good[-1]), int(bad[-1])
    best = np.trapezoid([0, yt, yt, values[-1]], [0, yt, n - yc, n])
    chance = n * values[-1] / 2
    return (found - chance) / (best - chance)


def effect(outcome: np.ndarray, treatment: np.ndarray) -> tuple[float, float]:
    """Difference of the means and its standard error."""
    treated, control = outcome[treatment == 1], outcome[treatment == 0]
    error = np.sqrt(treated.var(ddof=1) / len(treated) + control.var(ddof=1) / len(control))
    return treated.mean() - control.mean(), error


def effect_task(kind: str, rows: Sequence[int]) -> Task:
    return Task(
        domain=DOMAIN,
        function="average_treatment_effect",
        kind=kind,
        rows=rows,
        make=partial(make_experiment, kind=kind),
        naive=effect,
        twin=twins.average_treatment_effect,
        peers={},  # no library has it; NumPy is what it is compared with
        row_bytes=8.0 + np.dtype(kind).itemsize,
        row_flops=6.0,
        streams=True,
        collect=lambda result: np.array(result[:2]),
    )


def tasks() -> list[Task]:
    return [
        Task(
            domain=DOMAIN,
            function="qini_auc_score",
            kind="f64",
            rows=ROWS,
            make=make_ranking,
            naive=qini,
            twin=twins.qini_auc_score,
            peers={"scikit-uplift": metrics_sklift.prepare},
            row_bytes=24.0,
            flops=lambda rows: rows * log2(rows),
            quick_rows=100_000,
        ),
        effect_task("int64", ROWS),
        effect_task("bool", ROWS[2:]),
    ]


def cases() -> list[Case]:
    return cases_of(tasks())
