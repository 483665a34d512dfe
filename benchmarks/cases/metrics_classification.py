"""Scores of labels: of integers, bools and strings, right in seven rows of ten.

Axes: N rows, K labels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases.metrics_task import Task, cases_of, zeros_and_ones
from benchmarks.peers import metrics_sklearn, metrics_torchmetrics
from benchmarks.registry import Case, Factory
from fastcore.reference import metrics_classification as twins

DOMAIN = "metrics_classification"
ROWS = (10, 1_000, 100_000, 1_000_000, 10_000_000)
LABELS = 10
WORDS = np.array(["no", "yes"])
SKLEARN: dict[str, Factory] = {"scikit-learn": metrics_sklearn.prepare}
TORCHMETRICS: dict[str, Factory] = {"torchmetrics": metrics_torchmetrics.prepare}
ROW_BYTES = {"int64": 16.0, "bool": 2.0, "str": 2.0 * 12, "object": 16.0}


def predictions(random: np.random.Generator, y: np.ndarray, labels: int) -> np.ndarray:
    return np.where(random.random(len(y)) < 0.6, y, random.integers(0, labels, len(y)))


def make(random: np.random.Generator, rows: int, kind: str) -> Sequence[np.ndarray]:
    """Two labels as `kind` has them; strings are <U3."""
    y = zeros_and_ones(random, rows)
    pair = y, predictions(random, y, 2)
    if kind in ("str", "object"):
        words = WORDS.astype(object) if kind == "object" else WORDS
        return [words[x] for x in pair]
    return [x.astype(kind) for x in pair]


def make_many(random: np.random.Generator, rows: int) -> Sequence[np.ndarray]:
    y = random.integers(0, LABELS, rows)
    y[:LABELS] = np.arange(LABELS)[:rows]
    return y, predictions(random, y, LABELS)


def counted(y_true: np.ndarray, y_pred: np.ndarray, positive: Any, score: Callable[..., float]) -> float:
    """`score` of how many rows are positive, were called so, and both."""
    true, pred = y_true == positive, y_pred == positive
    return score(np.count_nonzero(true), np.count_nonzero(pred), np.count_nonzero(true & pred))


def lift(y_true: np.ndarray, y_pred: np.ndarray, positive: Any) -> float:
    precision = counted(y_true, y_pred, positive, lambda true, pred, both: both / pred)
    return precision / np.mean(y_true == positive)


NAIVE: dict[str, Callable[..., float]] = {
    "f1_score": partial(counted, score=lambda true, pred, both: 2 * both / (true + pred)),
    "precision_score": partial(counted, score=lambda true, pred, both: both / pred),
    "recall_score": partial(counted, score=lambda true, pred, both: both / true),
    "lift_score": lift,
}


def accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return np.mean(y_true == y_pred)


def confusion(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    return np.bincount(LABELS * y_true + y_pred, minlength=LABELS * LABELS).reshape(LABELS, LABELS)


def task(function: str, kind: str, rows: Sequence[int], **more: Any) -> Task:
    words = kind in ("str", "object")
    positive: Any = "yes" if words else 1
    peers = SKLEARN | (TORCHMETRICS if kind == "int64" and function == "f1_score" else {})
    return Task(
        domain=DOMAIN,
        function=function,
        kind=kind,
        rows=rows,
        make=partial(make, kind=kind),
        naive=partial(NAIVE[function], positive=positive),
        twin=partial(getattr(twins, function), pos_label=positive),
        peers=peers,
        row_bytes=ROW_BYTES[kind],
        options={"pos_label": positive} if words else {},
        streams=not words,
        peer_tolerance=1e-6,  # torchmetrics gives float32
        **more,
    )


def tasks() -> list[Task]:
    whole = partial(Task, domain=DOMAIN, kind="int64", peers=SKLEARN, row_bytes=16.0, streams=True)
    return [
        task("f1_score", "int64", ROWS, quick_rows=1_000_000),
        task("f1_score", "bool", ROWS),
        *(
            task(function, kind, (100_000,))
            for function in ("precision_score", "recall_score", "lift_score")
            for kind in ("int64", "bool")
        ),
        *(task("f1_score", kind, ROWS[:-1]) for kind in ("str", "object")),
        whole(
            function="accuracy_score",
            rows=(10, 1_000_000),
            make=partial(make, kind="int64"),
            naive=accuracy,
            twin=twins.accuracy_score,
        ),
        whole(
            function="confusion_matrix",
            rows=(100_000, 1_000_000),
            make=make_many,
            naive=confusion,
            twin=twins.confusion_matrix,
            sizes={"K": LABELS},
        ),
    ]


def cases() -> list[Case]:
    return cases_of(tasks())
