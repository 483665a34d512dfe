"""The uplift metrics against scikit-uplift, which defines their numbers."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastcore import metrics

pytestmark = [
    pytest.mark.peer,
    # scikit-uplift 0.5.1 calls what scikit-learn 1.9 and pandas 3 deprecate, and takes means of nothing.
    pytest.mark.filterwarnings("ignore"),
]

sklift = pytest.importorskip("sklift.metrics")


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    size = draw(st.integers(4, 500))
    y = (rng.random(size) < draw(st.sampled_from([0.05, 0.5, 0.9]))).astype(int)
    t = (rng.random(size) < draw(st.sampled_from([0.1, 0.5, 0.9]))).astype(int)
    score = rng.standard_normal(size) + 0.5 * y * (2 * t - 1)
    kind = draw(st.sampled_from(["f8", "f4", "i8", "tied"]))
    score = np.round(score, 1) if kind == "tied" else (score * (100 if kind == "i8" else 1)).astype(kind)
    assume(0 < y.sum() < size)
    assume(0 < t.sum() < size)
    return y, score, t


def same(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["qini_auc_score", "uplift_auc_score"])
@given(data=problems())
@settings(max_examples=150)
def test_area_matches_scikit_uplift(name, data):
    try:
        theirs = getattr(sklift, name)(*data)
    except ZeroDivisionError:  # the perfect curve is the diagonal: ours warns, and is NaN or infinite
        theirs = np.nan
    if np.isfinite(theirs):
        same(getattr(metrics, name)(*data), theirs)
    else:
        assert not np.isfinite(getattr(metrics, name)(*data))


@given(data=problems())
@settings(max_examples=150)
def test_qini_without_negative_effects_matches_scikit_uplift(data):
    try:
        theirs = sklift.qini_auc_score(*data, negative_effect=False)
    except ZeroDivisionError:  # no effect: ours warns, and is NaN or infinite
        assert not np.isfinite(metrics.qini_auc_score(*data, negative_effect=False))
    except ValueError:
        with pytest.raises(ValueError, match="negative_effect=False"):
            metrics.qini_auc_score(*data, negative_effect=False)
    else:
        assume(np.isfinite(theirs))
        same(metrics.qini_auc_score(*data, negative_effect=False), theirs)


@pytest.mark.parametrize("name", ["qini_curve", "uplift_curve"])
@given(data=problems())
@settings(max_examples=100)
def test_curve_matches_scikit_uplift(name, data):
    for ours, theirs in zip(getattr(metrics, name)(*data), getattr(sklift, name)(*data)):
        same(ours, theirs)


@pytest.mark.parametrize("strategy", ["overall", "by_group"])
@given(data=problems(), k=st.sampled_from([0.05, 0.3, 0.7, 0.999, 1, 2, 3]))
@settings(max_examples=100)
def test_uplift_at_k_matches_scikit_uplift(strategy, data, k):
    try:
        theirs = sklift.uplift_at_k(*data, strategy, k)
    except ValueError:
        with pytest.raises(ValueError, match="number of the first k"):
            metrics.uplift_at_k(*data, strategy, k)
    else:
        same(metrics.uplift_at_k(*data, strategy, k), theirs)


@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("strategy", ["overall", "by_group"])
@given(data=problems(), bins=st.integers(1, 12), std=st.booleans())
@settings(max_examples=40)
def test_by_percentile_matches_scikit_uplift(strategy, total, data, bins, std):
    assume(bins < len(data[0]))
    ours = metrics.uplift_by_percentile(*data, strategy, bins, std, total).to_frame()
    theirs = sklift.uplift_by_percentile(*data, strategy, bins, std, total)
    assert list(ours.index) == list(theirs.index)
    assert list(ours.columns) == list(theirs.columns)
    same(ours, theirs)


@pytest.mark.parametrize("size", [10_000, 200_000])
@pytest.mark.parametrize("name", ["qini_auc_score", "uplift_auc_score"])
def test_area_of_many_rows_matches_scikit_uplift(rng, name, size):
    y, t = rng.integers(0, 2, (2, size))
    score = rng.standard_normal(size).astype(np.float32)
    same(getattr(metrics, name)(y, score, t), getattr(sklift, name)(y, score, t))


@pytest.mark.parametrize("data", [([0, 0, 0], [1, 2, 3], [0, 1, 1]), ([0, 1, 1], [1, 2, 3], [1, 1, 1]), ([], [], [])])
@pytest.mark.parametrize("name", ["qini_auc_score", "uplift_auc_score", "qini_curve", "uplift_curve"])
def test_what_scikit_uplift_refuses_is_refused(name, data):
    for function in (getattr(sklift, name), getattr(metrics, name)):
        with warnings.catch_warnings(), pytest.raises(ValueError):
            function(*data)
