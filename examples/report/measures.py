"""Metrics with bootstrap intervals, each compared with the same number by somebody else."""

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import sklearn.metrics
import sklearn.metrics.cluster

from fastcore import metrics
from fastcore.metrics import bootstrap
from fastcore.reference import metrics_classification, metrics_clustering, metrics_regression, metrics_uplift

SCIKIT_LEARN, NUMPY = "scikit-learn", "NumPy"
UPLIFT = (
    "average_treatment_effect",
    "qini_auc_score",
    "qini_curve",
    "uplift",
    "uplift_at_k",
    "uplift_auc_score",
    "uplift_by_percentile",
    "uplift_curve",
)


class Settings(NamedTuple):
    """resamples : of each metric, fewer where a table says so; seed : of data, models and resamples"""

    resamples: int
    seed: int


class Row(NamedTuple):
    """One number of a table.

    metric : the function; what : which number of it, or of what
    low, high : ends of the interval at 95 %
    difference : from the peer's number, relative where that is above 1
    truth : the number that the estimate is of, where it is known
    """

    metric: str
    what: str
    value: float
    low: float
    high: float
    peer: str
    difference: float
    truth: float | None = None


def _peers() -> tuple[SimpleNamespace, set[str]]:
    """scikit-learn's functions by name, and the NumPy twins of what it does not have; names of the latter."""
    twins = {
        "lift_score": metrics_classification.lift_score,
        "lift_curve": metrics_classification.lift_curve,
        "entropy": metrics_clustering.entropy,  # scikit-learn 1.8 deprecates its own
        "mean_percentage_error": metrics_regression.mean_percentage_error,
        **{name: getattr(metrics_uplift, name) for name in UPLIFT},
    }
    functions = {
        name: getattr(module, name)
        for module in (sklearn.metrics.cluster, sklearn.metrics)
        for name in module.__all__
        if hasattr(module, name)
    }
    return SimpleNamespace(**{**functions, **twins}), set(twins)


PEERS, TWINS = _peers()


def difference(value: Any, other: Any) -> np.ndarray:
    """|value - other|, relative to other where that is above 1."""
    value, other = np.asarray(value, np.float64), np.asarray(other, np.float64)
    return np.abs(value - other) / np.maximum(1.0, np.abs(other))


class Table:
    """Rows that belong together, with what is to be said about them."""

    def __init__(self, title: str, settings: Settings) -> None:
        self.title = title
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self._settings = settings

    def add(
        self,
        name: str,
        *data: np.ndarray,
        what: str | Sequence[str] = "",
        how: Callable[..., Any] | None = None,
        theirs: Any = None,
        resamples: int | None = None,
        strata: np.ndarray | None = None,
        truth: Any = None,
        **options: Any,
    ) -> np.ndarray:
        """Bootstrap a metric and put its numbers into the table.

        Parameters
        ----------
        name : of the function in fastcore.metrics
        *data : arrays whose rows are drawn
        what : says what the number is, or each of them if the metric returns several
        how : function (library, *data) that computes the numbers by the functions of a library, where the metric itself
            does not return what is wanted; called with fastcore.metrics, and once with the peers
        theirs : the peer's numbers, where `how` cannot compute them
        resamples : where it should be fewer
        strata : labels to draw within
        truth : of the numbers, where it is known
        **options : of the metric

        Returns
        -------
        The numbers
        """
        if resamples is None:
            resamples = self._settings.resamples
        metric = getattr(metrics, name) if how is None else partial(how, metrics)
        found = bootstrap(metric, *data, n_resamples=resamples, strata=strata, seed=self._settings.seed, **options)
        if theirs is None:
            theirs = getattr(PEERS, name)(*data, **options) if how is None else how(PEERS, *data)
        self.put(name, what, found.estimate, (found.low, found.high), theirs, truth)
        return np.asarray(found.estimate)

    def put(
        self,
        name: str,
        what: str | Sequence[str],
        value: Any,
        interval: tuple[Any, Any],
        theirs: Any,
        truth: Any = None,
    ) -> None:
        """Numbers with an interval of their own."""
        differences = difference(value, theirs).ravel()
        columns = [np.ravel(np.asarray(x, np.float64)) for x in (value, *interval)]
        truths = [None] * len(differences) if truth is None else np.ravel(truth).tolist()
        names = [what] if isinstance(what, str) else what
        self.rows += [
            Row(
                name, label, *map(float, numbers), NUMPY if {name, label} & TWINS else SCIKIT_LEARN, float(error), known
            )
            for label, *numbers, error, known in zip(names, *columns, differences, truths, strict=True)
        ]


def largest_difference(tables: Sequence[Table], peer: str) -> Row:
    """The row that is farthest from the peer."""
    rows = [row for table in tables for row in table.rows if row.peer == peer]
    # NaN is farther than anything.
    return max(rows, key=lambda row: np.inf if np.isnan(row.difference) else row.difference)
