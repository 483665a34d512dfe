"""Scores of rankings and of probabilities: random scores in [0, 1], higher for positives; no two are equal.

Axes: N rows.
"""

from collections.abc import Sequence
from functools import partial
from math import log2
from typing import Any

import numpy as np

from benchmarks.cases.metrics_task import Task, cases_of, zeros_and_ones
from benchmarks.peers import metrics_scors, metrics_sklearn, metrics_sklearnex, metrics_torchmetrics
from benchmarks.registry import Case, Factory
from fastcore.reference import metrics_ranking as twins

DOMAIN = "metrics_ranking"
ROWS = (10, 1_000, 100_000, 1_000_000, 10_000_000)
PEERS: dict[str, Factory] = {
    "scikit-learn": metrics_sklearn.prepare,
    "scors": metrics_scors.prepare,
    "sklearnex": metrics_sklearnex.prepare,
    "torchmetrics": metrics_torchmetrics.prepare,
}


def make(random: np.random.Generator, rows: int, weighted: bool = False) -> Sequence[np.ndarray]:
    y = zeros_and_ones(random, rows)
    return y, 0.3 * y + 0.7 * random.random(rows), *([random.random(rows)] * weighted)


def make_probabilities(random: np.random.Generator, rows: int) -> Sequence[np.ndarray]:
    p = random.uniform(0.01, 0.99, rows)
    y = (random.random(rows) < p).astype(np.int64)
    y[:2] = 0, 1
    return y, p


def cumulative(y: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Negatives and positives, or their weights, down to each distinct score."""
    order = np.argsort(score)[::-1]
    y, score = y[order], score[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    if weights is None:
        positives = np.cumsum(y)[last]
        return last + 1 - positives, positives
    weights = weights[order]
    return np.cumsum(weights * (1 - y))[last], np.cumsum(weights * y)[last]


def area(y: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> Any:
    fp, tp = cumulative(y, score, weights)
    return np.trapezoid(np.append(0, tp), np.append(0, fp)) / (fp[-1] * tp[-1])


def average_precision(y: np.ndarray, score: np.ndarray) -> float:
    fp, tp = cumulative(y, score)
    return np.sum(np.diff(tp, prepend=0) * (tp / (tp + fp))) / tp[-1]


def curve(y: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates at the points where the curve bends."""
    fp, tp = cumulative(y, score)
    bends = np.r_[True, (np.diff(fp, 2) != 0) | (np.diff(tp, 2) != 0), True] if len(fp) > 2 else np.full(len(fp), True)
    return np.append(0, fp[bends] / fp[-1]), np.append(0, tp[bends] / tp[-1])


def both_rates(result: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(result[:2])


def log_loss(y: np.ndarray, p: np.ndarray) -> Any:
    return -np.mean(np.log(np.where(y == 1, p, 1 - p)))


def tasks() -> list[Task]:
    task = partial(Task, domain=DOMAIN, kind="f64", row_bytes=16.0, peer_tolerance=1e-6)  # torchmetrics gives float32
    ranking = partial(task, make=make, flops=lambda rows: rows * log2(rows))
    without = {name: peer for name, peer in PEERS.items() if name != "sklearnex"}
    sklearn = {"scikit-learn": PEERS["scikit-learn"]}
    return [
        ranking(
            function="roc_auc_score",
            rows=ROWS,
            naive=area,
            twin=twins.roc_auc_score,
            peers=PEERS,
            quick_rows=1_000_000,
        ),
        ranking(
            function="roc_auc_score",
            rows=ROWS,
            naive=area,
            twin=twins.roc_auc_score,
            peers={name: peer for name, peer in PEERS.items() if name != "torchmetrics"},
            option="weighted",
            by_keyword=("sample_weight",),
            make=partial(make, weighted=True),
            row_bytes=24.0,
        ),
        ranking(
            function="average_precision_score",
            rows=(100_000, 1_000_000),
            naive=average_precision,
            twin=twins.average_precision_score,
            peers=without,
        ),
        ranking(
            function="roc_curve",
            rows=(1_000_000,),
            naive=curve,
            twin=twins.roc_curve,
            peers=sklearn,
            collect=both_rates,
        ),
        task(
            function="log_loss",
            rows=(10, 100_000, 1_000_000),
            make=make_probabilities,
            naive=log_loss,
            twin=twins.log_loss,
            peers=sklearn,
        ),
    ]


def cases() -> list[Case]:
    return cases_of(tasks())
