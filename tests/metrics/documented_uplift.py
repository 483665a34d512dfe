"""The rows of docs/metrics.md that say what scikit-uplift 0.5.1 does: each is called with `sklift.metrics`."""

from collections.abc import Callable

import numpy as np
import pytest

from fastcore import metrics as ours
from tests.metrics.documented_differences import raises, undefined

NAN = np.nan
RESPONSES, TREATED = np.array([0, 1, 1, 0, 1, 0, 1, 1]), np.array([0, 1, 0, 1, 1, 0, 1, 0])
SCORES = np.array([0.1, 0.5, 0.5, 0.2, 0.9, 0.9, 0.3, 0.1])

PEER: dict[str, Callable] = {}


def row(words):
    def add(check):
        PEER[words] = check
        return check

    return add


AREAS = ("qini_auc_score", "uplift_auc_score")


@row("equal scores: curves and areas")
def _(uplift):
    for name in AREAS:
        their, our = getattr(uplift, name), getattr(ours, name)
        assert our(RESPONSES, SCORES, TREATED) == pytest.approx(their(RESPONSES, SCORES, TREATED), rel=1e-12)
    plus, minus = SCORES * (SCORES > 0.1), np.where(SCORES > 0.1, SCORES, -0.0)
    assert ours.qini_auc_score(RESPONSES, plus, TREATED) == ours.qini_auc_score(RESPONSES, minus, TREATED)


@row("equal scores: uplift_at_k, uplift_by_percentile")
def _(uplift):
    for strategy in ("overall", "by_group"):
        data = RESPONSES, SCORES, TREATED, strategy
        assert ours.uplift_at_k(*data, 0.5) == uplift.uplift_at_k(*data, 0.5)
        theirs = uplift.uplift_by_percentile(*data, bins=2)["uplift"]
        np.testing.assert_allclose(ours.uplift_by_percentile(*data, bins=2).uplift, theirs)


@row("y_true or treatment of one value; values such as {0, 2} or {-1, 1}")
def _(uplift):
    for name in AREAS:
        for y, t in ((RESPONSES * 0, TREATED), (RESPONSES, TREATED * 0), (2 * RESPONSES, TREATED)):
            for library in (uplift, ours):
                raises(ValueError, "Input array is not binary", getattr(library, name), y, SCORES, t)


@row("three values, or no rows")
def _(uplift):
    none = np.empty(0, int)
    for data, words in (((RESPONSES + TREATED, SCORES, TREATED), "not binary"), ((none,) * 3, "0 sample")):
        raises(ValueError, "broadcast", uplift.qini_auc_score, *data)
        raises(ValueError, words, ours.qini_auc_score, *data)


@row("NaN or infinite uplift scores")
def _(uplift):
    for odd, words in ((NAN, "contains NaN"), (np.inf, "contains infinity")):
        scores = np.where(SCORES == 0.9, odd, SCORES)
        assert np.isfinite(uplift.qini_auc_score(RESPONSES, scores, TREATED))
        raises(ValueError, words, ours.qini_auc_score, RESPONSES, scores, TREATED)


@row("no rows of a group among the first k, or in a bin")
def _(uplift):
    data = RESPONSES, np.arange(8.0)[::-1], np.array([1, 1, 0, 0, 0, 1, 1, 0])
    assert np.isnan(uplift.uplift_at_k(*data, "overall", 2))
    assert np.isnan(undefined(ours.uplift_at_k, *data, "overall", 2))
    assert np.isnan(undefined(ours.uplift_by_percentile, *data, bins=4).uplift[0])


@row("area where the perfect curve is the diagonal")
def _(uplift):
    data = np.array([1, 1, 0, 1, 0]), np.array([0, 1, 3, 2, 4]), np.array([1, 1, 0, 1, 0])
    raises(ZeroDivisionError, "division by zero", uplift.uplift_auc_score, *data)
    assert undefined(ours.uplift_auc_score, *data) == -np.inf


@row("negative_effect=False and a total effect below zero")
def _(uplift):
    data = np.array([0, 0, 0, 1, 1, 1]), np.arange(6.0)[::-1], np.array([1, 1, 1, 0, 0, 1])
    raises(ValueError, "neither increasing nor decreasing", uplift.qini_auc_score, *data, False)
    raises(ValueError, "negative_effect=False needs", ours.qini_auc_score, *data, False)


@row("y_true and treatment unsigned")
def _(uplift):
    right = ours.qini_auc_score(RESPONSES, SCORES, TREATED)
    unsigned = RESPONSES.astype(np.uint8), SCORES, TREATED.astype(np.uint8)
    assert ours.qini_auc_score(*unsigned) == right
    assert abs(uplift.qini_auc_score(*unsigned) - right) > 1


@row("uplift_by_percentile: total row without string_percentiles")
def _(uplift):
    options = {"bins": 2, "total": True, "string_percentiles": False}
    raises(TypeError, "total", uplift.uplift_by_percentile, RESPONSES, SCORES, TREATED, **options)
    assert list(ours.uplift_by_percentile(RESPONSES, SCORES, TREATED, **options).percentile) == [50, 100, "total"]


@row("uplift_by_percentile: standard errors of the total row")
def _(uplift):
    options = {"bins": 2, "total": True, "std": True}
    frame = uplift.uplift_by_percentile(RESPONSES, SCORES, TREATED, **options)
    result = ours.uplift_by_percentile(RESPONSES, SCORES, TREATED, **options)
    np.testing.assert_allclose(result.std_uplift, frame["std_uplift"])
    all_rows = ours.uplift_by_percentile(RESPONSES, SCORES, TREATED, total_std="all_rows", **options)
    assert all_rows.std_uplift[-1] < result.std_uplift[-1]


@row("uplift_auc_score above 1")
def _(uplift):
    rng = np.random.default_rng(0)
    y, t = np.array([0, 0, 0, 1, 1, 0, 1, 1]), np.array([1, 0, 1, 0, 0, 1, 0, 0])
    scores = rng.random((200, 8))
    best = max(ours.uplift_auc_score(y, each, t) for each in scores)
    assert best > 1
    assert best == pytest.approx(max(uplift.uplift_auc_score(y, each, t) for each in scores))
    assert max(ours.uplift_auc_score(y, each, t, ordering="separate") for each in scores) <= 1 + 1e-12
