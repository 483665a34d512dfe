"""Curves, areas and rankings of uplift against their twins, which the peers' tests hold to scikit-uplift."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.metrics import (
    UndefinedMetricWarning,
    qini_auc_score,
    qini_curve,
    uplift_at_k,
    uplift_auc_score,
    uplift_by_percentile,
    uplift_curve,
)
from fastcore.reference import metrics_uplift as reference

AREAS = [
    (qini_auc_score, {"adjustment": "cumulative"}),
    (qini_auc_score, {"adjustment": "total"}),
    (uplift_auc_score, {"ordering": "joint"}),
    (uplift_auc_score, {"ordering": "separate"}),
]
CURVES = [
    (qini_curve, {"adjustment": "cumulative"}),
    (qini_curve, {"adjustment": "total"}),
    (uplift_curve, {"ordering": "joint"}),
    (uplift_curve, {"ordering": "separate"}),
]
NAMES = ["uplift", "response_rate_treatment", "response_rate_control", "n_treatment", "n_control"]
ERRORS = ["std_treatment", "std_control", "std_uplift"]


def twin(function):
    return getattr(reference, function.__name__)


def problem(seed, size, ties=None, treated=0.5, responses=0.4):
    """Outcomes, scores and treatments in which all four groups occur."""
    rng = np.random.default_rng(seed)
    y, t = (rng.random(size) < responses).astype(int), (rng.random(size) < treated).astype(int)
    y[:4], t[:4] = [0, 1, 0, 1], [0, 0, 1, 1]
    score = 0.3 * y * (2 * t - 1) + rng.standard_normal(size)
    order = rng.permutation(size)
    return y[order], (score if ties is None else np.round(score * ties) / ties)[order], t[order]


problems = st.builds(
    problem,
    seed=st.integers(0, 2**31),
    size=st.integers(4, 400),
    ties=st.sampled_from([None, 0.001, 1, 10]),
    treated=st.sampled_from([0.03, 0.5, 0.9]),
    responses=st.sampled_from([0.03, 0.5, 0.97]),
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("normalization", ["perfect", "total", "none"])
@pytest.mark.parametrize("function, options", AREAS)
@given(data=problems)
def test_area_of_any_convention_matches_the_reference(function, options, normalization, data):
    result = function(*data, **options, normalization=normalization)
    with np.errstate(all="ignore"):
        expected = twin(function)(*data, **options, normalization=normalization)
    if np.isfinite(result) and np.isfinite(expected) and abs(expected) < 1e6:  # else the divisor is zero, or should be
        np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("function, options", CURVES)
@given(data=problems)
def test_curve_of_any_convention_matches_the_reference(function, options, data):
    x, y = function(*data, **options)
    expected_x, expected_y = twin(function)(*data, **options)
    np.testing.assert_allclose(x, expected_x, rtol=1e-13)
    np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-11)
    assert x[0] == y[0] == 0
    np.testing.assert_allclose(x[-1], len(data[0]), rtol=1e-13)


@pytest.mark.parametrize("size", [1000, 30_000, 100_000])
@pytest.mark.parametrize("ties", [None, 50])
@pytest.mark.parametrize("function", [qini_auc_score, uplift_auc_score])
def test_area_of_many_rows_matches_the_reference(function, ties, size):
    data = problem(size, size, ties)
    np.testing.assert_allclose(function(*data), twin(function)(*data), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f2", ">f8", "i8", "i4", "u1", "u8", "?", "g"])
@pytest.mark.parametrize("function", [qini_auc_score, uplift_auc_score])
def test_area_any_dtype_of_scores_matches_the_reference(function, dtype):
    y, score, t = problem(1, 300)
    score = (score * 20 + 50).astype(dtype) if dtype != "?" else score > 0
    np.testing.assert_allclose(function(y, score, t), twin(function)(y, score, t), rtol=1e-12)


@pytest.mark.parametrize("base", [2**53, -(2**53), 2**63 - 400, 2**63 + 2**53])
def test_qini_integers_beyond_float64_are_told_apart(base):
    y, score, t = problem(2, 300)
    ranks = np.argsort(np.argsort(score))
    wide = np.array([base + int(rank) for rank in ranks], np.uint64 if base >= 2**63 - 400 else np.int64)
    assert qini_auc_score(y, wide, t) == qini_auc_score(y, ranks, t)


def test_qini_long_doubles_that_float64_rounds_together_are_told_apart():
    y, score, t = problem(2, 300)
    ranks = np.argsort(np.argsort(score))
    wide = np.longdouble(1) + ranks * np.finfo(np.longdouble).eps
    assert qini_auc_score(y, wide, t) == qini_auc_score(y, ranks, t)


def test_qini_zeros_of_both_signs_are_equal():
    y, score, t = problem(3, 100)
    score = np.where(score > 0, 0.0, np.where(score > -0.5, -0.0, score))
    assert qini_auc_score(y, score, t) == qini_auc_score(y, score + 0.0, t)
    assert len(qini_curve(y, score, t)[0]) == len(np.unique(score)) + 1


@pytest.mark.parametrize("dtype", ["u1", "u8", "?", "f4", "i1"])
@pytest.mark.parametrize("function", [qini_auc_score, uplift_auc_score])
def test_area_any_dtype_of_labels_has_the_same_bits(function, dtype):
    y, score, t = problem(4, 200)
    assert function(y.astype(dtype), score, t.astype(dtype)) == function(y, score, t)


@pytest.mark.parametrize("wrap", [list, tuple, pd.Series, lambda x: x[:, None], lambda x: np.repeat(x, 2)[::2]])
@pytest.mark.parametrize("function", [qini_auc_score, uplift_auc_score])
def test_area_any_container_has_the_same_bits(function, wrap):
    data = problem(5, 200, ties=5)
    assert function(*(wrap(x) for x in data)) == function(*data)


def test_area_does_not_depend_on_the_order_of_rows(rng):
    y, score, t = problem(6, 500, ties=5)
    order = rng.permutation(500)
    assert qini_auc_score(y, score, t) == qini_auc_score(y[order], score[order], t[order])


def test_perfect_scores_have_area_one():
    y, _, t = problem(7, 200)
    assert qini_auc_score(y, y * (2 * t - 1), t) == pytest.approx(1.0, abs=1e-13)
    c1, t0 = np.sum((y == 1) & (t == 0)), np.sum((y == 0) & (t == 1))
    assert uplift_auc_score(y, 2 * (y == t) + (y if c1 > t0 else t), t) == pytest.approx(1.0, abs=1e-13)
    assert uplift_auc_score(y, y * (2 * t - 1), t, ordering="separate") == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize("function, options", AREAS)
def test_area_of_one_score_is_zero(function, options):
    y, _, t = problem(8, 200)
    assert function(y, np.ones(200), t, **options) == pytest.approx(0.0, abs=1e-13)


def test_qini_without_negative_effects_matches_the_reference():
    y, score, t = problem(9, 300)
    y[(t == 0) & (np.arange(300) % 3 > 0)] = 0
    result = qini_auc_score(y, score, t, negative_effect=False)
    assert result == pytest.approx(reference.qini_auc_score(y, score, t, False), rel=1e-12)
    assert qini_auc_score(y, score, t, False) == result


def test_qini_without_negative_effects_needs_a_positive_effect():
    y, score, t = problem(9, 300)
    y[(t == 1) & (np.arange(300) % 3 > 0)] = 0
    with pytest.raises(ValueError, match="negative_effect=False needs a curve that ends at zero or above"):
        qini_auc_score(y, score, t, negative_effect=False)


@pytest.mark.parametrize("options", [{"negative_effect": False}, {"normalization": "total"}])
def test_qini_of_no_effect_is_undefined(options):
    y, score, t = [0, 1, 0, 1], [1.0, 2.0, 3.0, 3.0], [0, 0, 1, 1]
    with pytest.warns(UndefinedMetricWarning, match="qini_auc_score is undefined where"):
        assert not np.isfinite(qini_auc_score(y, score, t, **options))


BAD_DATA = [
    (([0, 1, 1, 0], [1, 2, 3], [0, 1, 0, 1]), "inconsistent numbers of samples"),
    (([0, 1, 1, 2], [1, 2, 3, 4], [0, 1, 0, 1]), "Input array is not binary. y_true"),
    (([0, 0, 0, 0], [1, 2, 3, 4], [0, 1, 0, 1]), "y_true should contain both 0 and 1"),
    (([0, 1, 1, 0], [1, 2, 3, 4], [1, 1, 1, 1]), "treatment should contain both 0 and 1"),
    (([0, 1, 1, 0], [1, 2, 3, 4], [0, 1, -1, 1]), "Input array is not binary. treatment"),
    (([0, 1, 1, 0.5], [1, 2, 3, 4], [0, 1, 0, 1]), "Input array is not binary. y_true"),
    (([0, 1, 1, np.nan], [1, 2, 3, 4], [0, 1, 0, 1]), "y_true contains NaN"),
    (([0, 1, 1, 0], [1, 2, np.nan, 4], [0, 1, 0, 1]), "uplift contains NaN"),
    (([0, 1, 1, 0], [1, 2, np.inf, 4], [0, 1, 0, 1]), "uplift contains infinity"),
    (([0, 1, 1, 0], ["a", "b", "c", "d"], [0, 1, 0, 1]), "numeric"),
    (([], [], []), "0 sample"),
    ((np.ones((4, 2)), [1, 2, 3, 4], [0, 1, 0, 1]), "1d array"),
]
CALLS = {
    "qini_auc_score": qini_auc_score,
    "uplift_auc_score": uplift_auc_score,
    "qini_curve": qini_curve,
    "uplift_curve": uplift_curve,
    "uplift_at_k": lambda y, u, t: uplift_at_k(y, u, t, "overall", 0.5),
    "uplift_by_percentile": lambda y, u, t: uplift_by_percentile(y, u, t, bins=2),
}


@pytest.mark.parametrize("data, match", BAD_DATA)
@pytest.mark.parametrize("as_arrays", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_wrong_data_raises(name, data, match, as_arrays):
    with pytest.raises(ValueError, match=match):
        CALLS[name](*(np.array(x) if as_arrays else x for x in data))


@pytest.mark.parametrize(
    "call, options",
    [
        (qini_auc_score, {"negative_effect": 1}),
        (qini_auc_score, {"adjustment": "joint"}),
        (qini_auc_score, {"normalization": None}),
        (qini_curve, {"adjustment": 3}),
        (uplift_curve, {"ordering": "cumulative"}),
        (uplift_auc_score, {"ordering": True}),
        (uplift_at_k, {"strategy": "both"}),
        (uplift_at_k, {"strategy": "overall", "k": 0}),
        (uplift_at_k, {"strategy": "overall", "k": 1.0}),
        (uplift_at_k, {"strategy": "overall", "k": 200}),
        (uplift_at_k, {"strategy": "overall", "k": "half"}),
        (uplift_at_k, {"strategy": "overall", "k": True}),
        (uplift_at_k, {"strategy": "by_group", "k": 199}),
        (uplift_by_percentile, {"strategy": "both"}),
        (uplift_by_percentile, {"bins": 0}),
        (uplift_by_percentile, {"bins": 200}),
        (uplift_by_percentile, {"bins": 2.0}),
        (uplift_by_percentile, {"std": 1}),
        (uplift_by_percentile, {"total": "yes"}),
        (uplift_by_percentile, {"string_percentiles": None}),
        (uplift_by_percentile, {"total_std": "mean"}),
    ],
)
@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_wrong_option_raises_both_kinds(call, options, error):
    with pytest.raises(error):
        call(*problem(10, 200), **options)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("strategy", ["overall", "by_group"])
@given(data=problems, k=st.sampled_from([0.1, 0.3, 0.5, 0.99, 1, 2, 3]))
def test_uplift_at_k_matches_the_reference(strategy, data, k):
    y, _, t = data
    if isinstance(k, int) and k > min(t.sum(), y.size - t.sum()):
        k = 0.5
    result = uplift_at_k(*data, strategy, k)
    counts = [int(rows * k) if isinstance(k, float) else k for rows in (t.sum(), y.size - t.sum())]
    if strategy == "by_group" and 0 in counts:
        assert np.isnan(result)
        return
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        expected = reference.uplift_at_k(*data, strategy, k)
    np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-15)


def test_uplift_at_k_without_a_group_is_undefined():
    y, t = [1, 0, 1, 0], [1, 1, 0, 0]
    with pytest.warns(UndefinedMetricWarning, match="no control rows are among the first k=2"):
        assert np.isnan(uplift_at_k(y, [4, 3, 2, 1], t, "overall", 2))


def test_uplift_at_k_int_of_any_width():
    data = problem(11, 50)
    assert uplift_at_k(*data, "overall", np.uint8(20)) == uplift_at_k(*data, "overall", 20)
    assert uplift_at_k(*data, "overall", np.float32(0.5)) == uplift_at_k(*data, "overall", 25)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("strategy", ["overall", "by_group"])
@given(data=problems, bins=st.integers(1, 12))
def test_by_percentile_matches_the_reference(strategy, data, bins):
    bins = min(bins, len(data[0]) - 1)
    result = uplift_by_percentile(*data, strategy, bins, std=True)
    with np.errstate(all="ignore"):
        expected = reference.uplift_by_percentile(*data, strategy, bins)
    for name in NAMES + ERRORS:
        np.testing.assert_allclose(getattr(result, name), expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_by_percentile_record_without_options():
    result = uplift_by_percentile(*problem(12, 200), bins=4)
    assert result.percentile.tolist() == ["0-25", "25-50", "50-75", "75-100"]
    assert result.std_uplift is None
    assert result.n_treatment.sum() + result.n_control.sum() == 200


def test_by_percentile_totals():
    y, score, t = problem(13, 200)
    result = uplift_by_percentile(y, score, t, bins=4, total=True, std=True, string_percentiles=False)
    assert result.percentile.tolist() == [25, 50, 75, 100, "total"]
    assert result.uplift[-1] == pytest.approx(reference.uplift(y, t), abs=1e-15)
    assert result.std_uplift[-1] == pytest.approx(result.std_uplift[:-1].sum(), rel=1e-14)
    rate = y[t == 1].mean()
    pooled = uplift_by_percentile(y, score, t, bins=4, total=True, std=True, total_std="all_rows")
    assert pooled.std_treatment[-1] == pytest.approx(np.sqrt(rate * (1 - rate) / t.sum()), rel=1e-13)


def test_by_percentile_bin_without_a_group_is_undefined():
    with pytest.warns(UndefinedMetricWarning, match="a bin has no rows of a group"):
        result = uplift_by_percentile([0, 1, 0, 1], [4, 3, 2, 1], [1, 1, 0, 0], bins=2)
    assert np.isnan(result.uplift).all()


def test_by_percentile_to_frame():
    frame = uplift_by_percentile(*problem(14, 200), bins=4, std=True, total=True).to_frame()
    assert frame.index.name == "percentile"
    assert list(frame.index) == ["0-25", "25-50", "50-75", "75-100", "total"]
    assert set(frame.columns) == {*NAMES, *ERRORS}


def test_by_percentile_to_frame_needs_pandas(monkeypatch):
    result = uplift_by_percentile(*problem(14, 200), bins=4)
    monkeypatch.delitem(__import__("sys").modules, "pandas")
    with pytest.raises(ImportError, match="to_frame needs pandas"):
        result.to_frame()


def test_inputs_are_not_written_to():
    data = problem(15, 100, ties=2)
    copies = [x.copy() for x in data]
    for x in data:
        x.flags.writeable = False
    for call in CALLS.values():
        call(*data)
    for x, copy in zip(data, copies):
        np.testing.assert_array_equal(x, copy)
