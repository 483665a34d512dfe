"""The report of all regression metrics at once against the metrics themselves."""

import numpy as np
import pytest

from fastcore import metrics
from fastcore.reference import metrics_regression as reference
from tests.metrics.regression_cases import ALL, targets


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "f2"])
@pytest.mark.parametrize("size", [2, 10, 300, 25_000, 150_000])
def test_report_holds_what_the_functions_give(dtype, size, rng):
    y, p = (np.abs(x * 10 + 20).astype(dtype) for x in targets(rng, size))
    for a, b in ((y, p), (y[::-1], p[::-1]), (y.tolist(), p.tolist())):
        report = metrics.regression_report(a, b)
        for name in ALL:
            assert getattr(report, name) == getattr(metrics, name)(a, b), name
    without = metrics.regression_report(y, p, median=False)
    assert np.isnan(without.median_absolute_error)
    assert without[:-1] == metrics.regression_report(y, p)[:-1]
    np.testing.assert_allclose(metrics.regression_report(y, p), reference.regression_report(y, p), rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["raw_values", "uniform_average", [0.2, 0.8]])
def test_report_of_outputs_and_weights(weighted, average, rng):
    y, p = targets(rng, (400, 2))
    w = rng.random(400) if weighted else None
    report = metrics.regression_report(y, p, sample_weight=w, multioutput=average)
    for name in ALL:
        if name != "max_error":
            expected = getattr(metrics, name)(y, p, sample_weight=w, multioutput=average)
            np.testing.assert_array_equal(getattr(report, name), expected)
    largest = np.abs(y - p).max(axis=0)
    expected = (
        largest
        if average == "raw_values"
        else np.average(largest, weights=None if average == "uniform_average" else average)
    )
    np.testing.assert_allclose(report.max_error, expected)
    by_variance = metrics.regression_report(y, p, multioutput="variance_weighted")
    assert by_variance.r2_score == metrics.r2_score(y, p, multioutput="variance_weighted")
    assert by_variance.mean_squared_error == metrics.mean_squared_error(y, p)


def test_report_of_zero_targets():
    y, p = np.array([0.0, 2.0]), np.array([1.0, 1.0])
    assert np.isnan(metrics.regression_report(y, p).mean_percentage_error)
    assert metrics.regression_report(y, p, zero_target="skip").mean_percentage_error == 0.5
    with pytest.raises(ValueError, match="Got 1 zeros"):
        metrics.regression_report(y, p, zero_target="error")
    with pytest.raises(ValueError, match="contains NaN"):
        metrics.regression_report(np.array([np.nan, 1.0]), p)
