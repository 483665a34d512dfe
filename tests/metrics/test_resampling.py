"""The bootstrap: against its twin and SciPy's, and what it promises about threads, strata and undefined resamples."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_matrix

import fastcore
from fastcore import metrics
from fastcore.metrics import bootstrap
from fastcore.reference import metrics_resampling as reference


@pytest.fixture
def scored(rng):
    y = rng.integers(0, 2, 400)
    return y, 0.4 * y + rng.random(400)


@pytest.mark.parametrize("by", ["auto", "weights", "rows"])
def test_bootstrap_equals_the_twin(scored, by):
    got = bootstrap(metrics.roc_auc_score, *scored, n_resamples=50, by=by, seed=3)
    want = reference.bootstrap(metrics.roc_auc_score, *scored, n_resamples=50, seed=3)
    np.testing.assert_allclose(got[:3], want, rtol=1e-12)
    assert got.samples.shape == (50,)
    assert got.standard_error == pytest.approx(got.samples.std(ddof=1))


def test_bootstrap_strata_equal_the_twin_and_keep_the_sizes(scored, rng):
    y, score = scored
    strata = rng.integers(0, 3, len(y))
    got = bootstrap(metrics.roc_auc_score, y, score, n_resamples=20, strata=strata)
    want = reference.bootstrap(metrics.roc_auc_score, y, score, n_resamples=20, strata=strata)
    np.testing.assert_allclose(got[:3], want, rtol=1e-12)
    labels = np.array(["no", "yes"])[y]
    shares = bootstrap(lambda flags: flags.mean(), y, n_resamples=20, strata=labels).samples
    assert (shares == y.mean()).all()


def test_bootstrap_agrees_with_scipy(rng):
    x = rng.standard_normal(200)
    got = bootstrap(np.mean, x, n_resamples=4000, seed=1)
    want = stats.bootstrap((x,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert got.standard_error == pytest.approx(want.standard_error, rel=0.05)
    # A 2.5 % quantile of 4000 normal numbers of deviation 0.07 has deviation 0.003; of two, 3.5 deviations.
    assert got.low == pytest.approx(want.confidence_interval.low, abs=0.015)
    assert got.high == pytest.approx(want.confidence_interval.high, abs=0.015)
    basic = bootstrap(np.mean, x, n_resamples=4000, seed=1, method="basic")
    assert (basic.low, basic.high) == (2 * got.estimate - got.high, 2 * got.estimate - got.low)


def test_bootstrap_covers_the_true_value_as_often_as_it_says(rng):
    covered = 0
    for trial in range(200):
        got = bootstrap(np.mean, rng.standard_normal(60), n_resamples=200, confidence=0.9, seed=trial)
        covered += got.low <= 0.0 <= got.high
    assert 0.82 <= covered / 200 <= 0.96  # 0.9 less what the percentile method lacks at 60 rows, within 2.5 deviations


def test_bootstrap_threads_change_no_bit(rng):
    y = rng.integers(0, 2, 20_000)
    score = y + rng.standard_normal(len(y))
    many = bootstrap(metrics.roc_auc_score, y, score, n_resamples=20)
    with fastcore.num_threads(1):
        one = bootstrap(metrics.roc_auc_score, y, score, n_resamples=20)
    np.testing.assert_array_equal(many.samples, one.samples)


def test_bootstrap_of_a_metric_with_several_numbers(rng):
    y, p = rng.integers(0, 3, 300), rng.integers(0, 3, 300)
    got = bootstrap(metrics.f1_score, y, p, average=None, n_resamples=30)
    assert got.estimate.shape == got.low.shape == got.high.shape == (3,)
    assert got.samples.shape == (30, 3)
    assert (got.low <= got.high).all()


def test_bootstrap_named_tuples_keep_their_names_and_an_entry_may_be_nan(rng):
    y = rng.random(100)
    got = bootstrap(metrics.regression_report, y, y + rng.random(100), n_resamples=30, median=False)
    assert got.low.r2_score <= got.estimate.r2_score <= got.high.r2_score
    assert np.isnan(got.low.median_absolute_error)
    assert got.undefined == 0


def test_bootstrap_groups_are_drawn_whole(rng):
    groups = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    names = np.char.add("patient ", groups.astype(str))
    seen = []
    got = bootstrap(lambda rows: seen.append(rows) or rows.mean(), np.arange(groups.size), groups=names, n_resamples=10)
    for rows in seen[1:]:
        drawn = np.bincount(rows, minlength=groups.size)
        for group in range(30):
            assert len(set(drawn[groups == group])) == 1
        assert sum(drawn[groups == group][0] for group in range(30)) == 30
    y, score = rng.integers(0, 2, groups.size), rng.random(groups.size)
    weights = bootstrap(metrics.roc_auc_score, y, score, groups=groups, n_resamples=10, by="weights")
    rows = bootstrap(metrics.roc_auc_score, y, score, groups=groups, n_resamples=10, by="rows")
    np.testing.assert_allclose(weights.samples, rows.samples, rtol=1e-12)
    assert got.undefined == 0


def test_bootstrap_a_resample_of_another_shape_raises():
    rare = np.arange(300) < 3
    with pytest.raises(ValueError, match=r"one shape. Got \(2, 2\) for the data and \(1, 1\) for resample"):
        bootstrap(metrics.confusion_matrix, rare, rare, n_resamples=200)
    assert bootstrap(metrics.confusion_matrix, rare, rare, n_resamples=20, labels=[False, True]).undefined == 0


def test_bootstrap_resamples_that_the_metric_refuses_are_undefined(rng):
    rare = np.arange(300) < 3
    got = bootstrap(metrics.log_loss, rare, rng.random(300), n_resamples=200)
    assert 0 < got.undefined < 40  # exp(-3) of them have no positive: 10
    seed = next(seed for seed in range(20) if reference.draw_rows(seed, 0, 2).tolist() == [1, 1])
    with pytest.raises(ValueError, match="undefined in all of 1 resamples"):
        bootstrap(metrics.roc_auc_score, np.arange(2), np.arange(2.0), n_resamples=1, seed=seed)


def test_bootstrap_result_is_shown_without_its_samples(scored):
    shown = repr(bootstrap(metrics.roc_auc_score, *scored, n_resamples=5))
    assert "samples=<array of shape (5,)>" in shown
    assert len(shown) < 250


def test_bootstrap_weights_of_the_caller_are_resampled_too(scored, rng):
    weights = rng.random(len(scored[0]))
    rows = bootstrap(metrics.roc_auc_score, *scored, sample_weight=weights, n_resamples=20, by="rows")
    counts = bootstrap(metrics.roc_auc_score, *scored, sample_weight=weights, n_resamples=20, by="weights")
    np.testing.assert_allclose(rows.samples, counts.samples, rtol=1e-12)


def test_bootstrap_undefined_resamples_are_counted_and_left_out():
    y, score = np.array([0, 0, 0, 1]), np.array([0.1, 0.4, 0.2, 0.3])
    got = bootstrap(metrics.roc_auc_score, y, score, n_resamples=200)
    assert 20 < got.undefined < 120  # (3/4)**4 of them have no positive: 63
    assert np.isnan(got.samples).sum() == got.undefined
    assert 0 <= got.low <= got.high <= 1
    assert bootstrap(metrics.roc_auc_score, y, score, n_resamples=50, strata=y).undefined == 0


def test_bootstrap_rows_may_have_more_axes_and_other_containers(rng):
    x, labels = rng.standard_normal((60, 3)), rng.integers(0, 2, 60)
    got = bootstrap(lambda x, labels: x[labels == 1].mean(), x.tolist(), list(labels), n_resamples=10)
    assert got.low <= got.high


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((3, [1]), {}, TypeError, "metric must be a function"),
        ((np.mean,), {}, ValueError, "needs the data"),
        ((np.mean, 3.0), {}, ValueError, r"data\[0\] must have rows"),
        ((np.mean, []), {}, ValueError, "at least one row"),
        ((np.mean, [1, 2], [1]), {}, ValueError, "inconsistent numbers of samples"),
        ((np.mean, [1, 2]), {"n_resamples": 0}, ValueError, "n_resamples must be positive"),
        ((np.mean, [1, 2]), {"confidence": 1.0}, ValueError, "confidence must lie between 0 and 1"),
        ((np.mean, [1, 2]), {"method": "bca"}, ValueError, "method must be 'percentile' or 'basic'"),
        ((np.mean, [1, 2]), {"by": "counts"}, ValueError, "by must be"),
        ((np.mean, [1, 2]), {"strata": [1]}, ValueError, "strata must have one entry"),
        ((np.mean, [1, 2]), {"groups": [1]}, ValueError, "groups must have one entry"),
        ((np.mean, [1, 2]), {"groups": [1, 1], "strata": [1, 1]}, ValueError, "cannot go together"),
        ((np.mean, csr_matrix((3, 2))), {}, TypeError, "Got a sparse"),
        ((lambda x: 0.0, [1, 2]), {"by": "weights"}, TypeError, "needs a metric with an argument sample_weight"),
        ((lambda x: "a", [1, 2]), {}, TypeError, "metric must return a number"),
        ((lambda x: np.nan, [1, 2]), {}, ValueError, "undefined"),
    ],
)
def test_bootstrap_wrong_arguments_raise(arguments, options, error, message):
    with pytest.raises(error, match=message):
        bootstrap(*arguments, **options)


def test_bootstrap_leaves_the_filters_of_warnings_alone(scored):
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(bootstrap, metrics.roc_auc_score, *scored, n_resamples=300) for _ in range(8)]
        for call in calls:
            call.result()
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="mine"):
        bootstrap(lambda x: warnings.warn("mine", stacklevel=1) or 0.0, np.zeros(4), n_resamples=2)


def test_bootstrap_an_error_ends_all_threads():
    calls = []

    def failing(x):
        calls.append(len(calls))
        if len(calls) == 5:
            raise ZeroDivisionError
        return 0.0

    with pytest.raises(ZeroDivisionError):
        bootstrap(failing, np.zeros(10_000), n_resamples=1000)
    assert len(calls) < 500


def test_bootstrap_an_error_of_the_metric_is_the_callers(scored):
    def failing(y, score):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        bootstrap(failing, *scored)
