"""average_treatment_effect and uplift against their twins, SciPy's t-tests and exact fractions."""

import math
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import fastcore
from fastcore.metrics import UndefinedMetricWarning, average_treatment_effect, uplift
from fastcore.metrics.kernels.treatment import BLOCK, CHUNK, t_quantile
from fastcore.reference import metrics_uplift as reference

OUTCOMES = ["f8", "f4", "f2", "i8", "i4", "u1", "?", ">f8", "u8"]
TREATMENTS = ["i8", "?", "u1", "i1", "i4", "f8", ">i8"]


def groups(rng, size):
    """Treatments with at least two rows of each."""
    treatment = rng.integers(0, 2, size)
    treatment[:4] = 0, 1, 0, 1
    return treatment


@pytest.mark.parametrize("size", [4, 5, 15, 16, 17, 1000, BLOCK, BLOCK + 1, 5000, CHUNK + 3, 3 * CHUNK])
def test_effect_any_length_matches_the_reference(rng, size):
    y, t = rng.standard_normal(size) * 3 + 10, groups(rng, size)
    result = average_treatment_effect(y, t)
    np.testing.assert_allclose(result[:2], reference.average_treatment_effect(y, t), rtol=1e-12)
    assert (result.n_treated, result.n_control) == (t.sum(), size - t.sum())


@pytest.mark.parametrize("treatment_dtype", TREATMENTS)
@pytest.mark.parametrize("dtype", OUTCOMES)
def test_effect_any_dtype_matches_the_reference(rng, dtype, treatment_dtype):
    y, t = np.abs(rng.standard_normal(500) * 9 + 20).astype(dtype), groups(rng, 500).astype(treatment_dtype)
    expected = reference.average_treatment_effect(y, t)
    np.testing.assert_allclose(average_treatment_effect(y, t)[:2], expected, rtol=1e-12)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_effect_interval_is_the_one_of_welchs_test(rng, confidence):
    y, t = rng.standard_normal(37), groups(rng, 37)
    y[t == 1] *= 4
    test = stats.ttest_ind(y[t == 1], y[t == 0], equal_var=False)
    result = average_treatment_effect(y, t, confidence=confidence)
    expected = test.confidence_interval(confidence)
    np.testing.assert_allclose(result[2:5], (expected.low, expected.high, test.df), rtol=1e-11)


def test_effect_normal_distribution_is_the_limit(rng):
    y, t = rng.standard_normal(37), groups(rng, 37)
    result = average_treatment_effect(y, t, distribution="normal")
    half = 1.959963984540054 * result.standard_error
    np.testing.assert_allclose(result[2:4], (result.effect - half, result.effect + half), rtol=1e-13)
    assert result.degrees_of_freedom == math.inf


def test_effect_of_pairs_is_the_paired_test(rng):
    before, after = rng.standard_normal((2, 40))
    labels = np.array([f"pair {i}" for i in range(40)])
    order = rng.permutation(80)
    y, t = np.concatenate([before, after])[order], np.repeat([0, 1], 40)[order]
    test = stats.ttest_rel(after, before)
    result = average_treatment_effect(y, t, pairs=np.tile(labels, 2)[order])
    expected = test.confidence_interval()
    np.testing.assert_allclose(result[2:5], (expected.low, expected.high, 39), rtol=1e-11)
    np.testing.assert_allclose(result.effect / result.standard_error, test.statistic, rtol=1e-11)
    expected = reference.average_treatment_effect(y, t, pairs=np.tile(labels, 2)[order])
    np.testing.assert_allclose(result[:2], expected, rtol=1e-12)


@pytest.mark.parametrize("freedom", [400.0, 555.5, 1e3, 1e5, 1e9])
@pytest.mark.parametrize("confidence", [1e-6, 0.5, 0.9, 0.99, 0.9995])
def test_t_quantile_of_many_rows(freedom, confidence):
    normal = float(mpmath.sqrt(2) * mpmath.erfinv(confidence))
    with mpmath.workdps(40):
        v = mpmath.mpf(freedom)

        def excess(t):
            return mpmath.betainc(0.5, v / 2, 0, t * t / (v + t * t), regularized=True) - mpmath.mpf(confidence)

        exact = float(mpmath.findroot(excess, normal))
    assert t_quantile(normal, freedom) == pytest.approx(exact, rel=1e-13 if freedom < 1e3 else 2e-15)


def test_t_quantile_of_few_rows_is_not_given():
    assert math.isnan(t_quantile(1.96, 399.0))
    assert math.isnan(t_quantile(3.6, 1000.0))


@pytest.mark.parametrize("wrap", [list, tuple, pd.Series, lambda x: x[:, None], lambda x: np.repeat(x, 2)[::2]])
def test_effect_any_container_has_the_same_bits(rng, wrap):
    y, t = rng.standard_normal(300), groups(rng, 300)
    expected = average_treatment_effect(y, t)
    assert average_treatment_effect(wrap(y), wrap(t)) == expected


def test_effect_readonly_arrays(rng):
    y, t = rng.standard_normal(30), groups(rng, 30)
    expected = average_treatment_effect(y, t)
    y.flags.writeable = t.flags.writeable = False
    assert average_treatment_effect(y, t) == expected


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_effect_one_thread_equals_many(rng, dtype):
    y, t = rng.standard_normal(12 * CHUNK + 77).astype(dtype), groups(rng, 12 * CHUNK + 77)
    with fastcore.num_threads(1):
        serial = average_treatment_effect(y, t)
    assert average_treatment_effect(y, t) == serial


@given(
    offset=st.sampled_from([0.0, 1e3, 1e9, -1e12]),
    gap=st.sampled_from([0.0, 1.0, 1e6]),
    size=st.integers(4, 3000),
    drift=st.booleans(),
)
@settings(max_examples=30)
def test_effect_far_from_zero_keeps_its_digits(offset, gap, size, drift):
    rng = np.random.default_rng(size)
    t = groups(rng, size)
    y = rng.standard_normal(size) + offset + gap * t + (np.arange(size) if drift else 0)
    values = [Fraction(float(v)) for v in y]
    means, squares = [], []
    for group in (1, 0):
        members = [v for v, flag in zip(values, t) if flag == group]
        mean = sum(members) / len(members)
        means.append(mean)
        squares.append(sum((v - mean) ** 2 for v in members) / (len(members) - 1) / len(members))
    result = average_treatment_effect(y, t)
    spacing = np.finfo(float).eps * (abs(offset) + gap + size)
    assert abs(result.effect - float(means[0] - means[1])) <= 2 * spacing
    np.testing.assert_allclose(result.standard_error, math.sqrt(sum(squares)), rtol=1e-12)


def test_effect_group_that_appears_late_and_far_away(rng):
    y = np.concatenate([rng.standard_normal(5000), 1e8 + rng.standard_normal(3000)])
    t = np.repeat([0, 1], [5000, 3000])
    expected = y[5000:] - 1e8, y[:5000]
    error = math.sqrt(sum(part.var(ddof=1) / part.size for part in expected))
    np.testing.assert_allclose(average_treatment_effect(y, t).standard_error, error, rtol=1e-11)


def test_effect_squares_beyond_float64():
    y = np.array([3e200, 1e200, 5e200, 2e200])
    expected = average_treatment_effect(y / 1e200, np.array([0, 1, 0, 1]))
    result = average_treatment_effect(y, np.array([0, 1, 0, 1]))
    np.testing.assert_allclose(result[:4], np.array(expected[:4]) * 1e200, rtol=1e-12)


def test_effect_constant_outcomes_have_no_error():
    result = average_treatment_effect(np.array([2.0, 2.0, 5.0, 5.0, 5.0]), np.array([0, 0, 1, 1, 1]))
    assert result == (3.0, 0.0, 3.0, 3.0, 3.0, 3, 2)


def test_effect_group_of_one_row_has_no_interval():
    with pytest.warns(UndefinedMetricWarning, match="a group has one row"):
        result = average_treatment_effect([1.0, 2.0, 4.0], [1, 0, 0])
    assert result.effect == -2.0
    assert np.isnan(result[1:4]).all()


def test_effect_of_one_pair_has_no_interval():
    with pytest.warns(UndefinedMetricWarning, match="one pair"):
        result = average_treatment_effect([1.0, 2.0], [1, 0], pairs=["a", "a"])
    assert result.effect == -1.0
    assert math.isnan(result.low)


@pytest.mark.parametrize("size", [10, 2 * CHUNK])
@pytest.mark.parametrize("bad, match", [(np.nan, "contains NaN"), (np.inf, "contains infinity")])
def test_effect_outcome_not_finite_raises(rng, size, bad, match):
    y, t = rng.standard_normal(size), groups(rng, size)
    y[size // 2] = bad
    with pytest.raises(ValueError, match=match):
        average_treatment_effect(y, t)


@pytest.mark.parametrize("dtype", ["i8", "u1", "i1", "f8"])
@pytest.mark.parametrize("position", [0, 3, 20, 70_000])
def test_effect_other_treatments_raise(rng, dtype, position):
    size = max(2 * position, 40)
    t = groups(rng, size).astype(dtype)
    t[position] = 2 if dtype == "u1" else -1
    with pytest.raises(ValueError, match="Input array is not binary"):
        average_treatment_effect(rng.standard_normal(size), t)


@pytest.mark.parametrize("value", [0, 1])
def test_effect_one_group_raises(value):
    with pytest.raises(ValueError, match="treatment should contain both 0 and 1"):
        average_treatment_effect(np.arange(4.0), np.full(4, value))


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        (([1.0, 2.0, 3.0], [0, 1]), ValueError, "inconsistent numbers of samples"),
        (([], []), ValueError, "0 sample"),
        ((["a", "b"], [0, 1]), ValueError, "numeric"),
        (([1j, 2j], [0, 1]), ValueError, "Complex data"),
        ((np.ones((2, 2)), [0, 1]), ValueError, "1d array"),
    ],
)
def test_effect_wrong_arrays_raise(arguments, error, match):
    with pytest.raises(error, match=match):
        average_treatment_effect(*arguments)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"distribution": "z"}, "distribution"),
        ({"pairs": [0, 0, 1, 2]}, "Label 1 has 0 treated and 1 control rows"),
        ({"pairs": [0, 0, 0, 0]}, "Label 0 has 2 treated and 2 control rows"),
        ({"pairs": [0, 0, 1]}, "inconsistent"),
    ],
)
def test_effect_wrong_options_raise(options, match):
    with pytest.raises(ValueError, match=match):
        average_treatment_effect([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], **options)


@pytest.mark.parametrize("dtype", ["i8", "?", "u1", "f8", "i4"])
@pytest.mark.parametrize("size", [5, 1000])
def test_uplift_matches_the_reference(rng, size, dtype):
    y, t = rng.integers(0, 2, size), groups(rng, size)
    expected = reference.uplift(y, t)
    np.testing.assert_allclose(uplift(y.astype(dtype), t.astype(dtype)), expected, rtol=1e-14, atol=1e-16)
    assert uplift(y.tolist(), t) == uplift(y, t)


def test_uplift_of_one_outcome_is_zero():
    assert uplift([1, 1, 1], [0, 1, 1]) == 0.0


@pytest.mark.parametrize("arguments", [([0, 1], [1, 1]), ([0, 2], [0, 1]), ([0, 1], [0, 1, 1]), ([0, np.nan], [0, 1])])
def test_uplift_wrong_arrays_raise(arguments):
    with pytest.raises(ValueError):
        uplift(*arguments)


def test_effect_is_right_and_touches_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_treatments.py")).endswith("cases")
