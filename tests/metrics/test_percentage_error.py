"""Percentage errors, of which the signed one is our own, where targets are 0."""

import numpy as np
import pytest
import sklearn.metrics
from sklearn.exceptions import UndefinedMetricWarning

from fastcore import metrics
from fastcore.reference import metrics_regression as reference
from tests.metrics.regression_cases import targets


def test_mean_percentage_error_sign_and_unit(rng):
    y, p = np.array([100.0, 50.0]), np.array([90.0, 50.0])
    assert metrics.mean_percentage_error(y, p) == pytest.approx(0.05)
    assert metrics.mean_percentage_error(y, p, unit="percent") == pytest.approx(5.0)
    assert metrics.mean_percentage_error(y, p, sign="pred_minus_true") == pytest.approx(-0.05)
    y, p = targets(rng, (50, 3))
    expected = [reference.mean_percentage_error(y[:, i], p[:, i]) for i in range(3)]
    np.testing.assert_allclose(metrics.mean_percentage_error(y, p, multioutput="raw_values"), expected, rtol=1e-13)


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_mean_percentage_error_of_zero_targets(zero, weighted, rng):
    y, p = targets(rng, 3000)
    y[5] = zero
    y[6], y[7] = 2.0**-60, -(2.0**-60)
    w = rng.random(3000) if weighted else None
    with pytest.raises(ValueError, match="Got 1 zeros"):
        metrics.mean_percentage_error(y, p, sample_weight=w)
    for choice in ("skip", "epsilon", "nan"):
        expected = reference.mean_percentage_error(y, p, w, zero_target=choice)
        result = metrics.mean_percentage_error(y, p, sample_weight=w, zero_target=choice)
        np.testing.assert_allclose(result, expected, rtol=1e-11)
    with pytest.warns(UndefinedMetricWarning, match="not defined where all targets are 0"):
        assert np.isnan(metrics.mean_percentage_error([0, 0], [1, 2], zero_target="skip"))
    with pytest.raises(ValueError, match="The 'zero_target' parameter"):
        metrics.mean_percentage_error(y, p, zero_target="raise")


def test_absolute_percentage_error_of_zero_targets_as_scikit_learn(rng):
    y, p = targets(rng, 3000)
    y[::7] = 0.0
    expected = sklearn.metrics.mean_absolute_percentage_error(y, p)
    assert metrics.mean_absolute_percentage_error(y, p) == pytest.approx(expected, rel=1e-13)
