"""Regression metrics against scikit-learn and against their plain twins."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning

import fastcore
from fastcore import metrics
from fastcore.metrics.kernels.regression import CHUNK
from fastcore.reference import metrics_regression as reference
from tests.metrics.regression_cases import ALL, FRACTIONS, SHARED, both, targets


@pytest.mark.parametrize("name", [*SHARED, "max_error"])
@pytest.mark.parametrize("size", [2, 3, 7, 8, 9, 31, 33, 1000, 2049, CHUNK + 1, 200_000])
def test_metric_of_vectors_equals_scikit_learn(name, size, rng):
    ours, theirs = both(name)
    y, p = targets(rng, size)
    result = ours(y, p)
    assert type(result) is float
    np.testing.assert_allclose(result, theirs(y, p), rtol=1e-12)


@pytest.mark.parametrize("name", [*SHARED, "max_error"])
@pytest.mark.parametrize("size", [1, 5, 500])
def test_metric_of_containers_is_the_same_to_the_bit(name, size, rng):
    pandas = pytest.importorskip("pandas")
    ours, _ = both(name)
    y, p = targets(rng, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        expected = ours(y, p)
        for container in (
            list,
            tuple,
            pandas.Series,
            lambda x: x[:, None],
            lambda x: pandas.DataFrame({"a": x}),
            lambda x: np.asarray(x, object),
            lambda x: x.astype(">f8"),
            lambda x: np.repeat(x, 2)[::2],
            lambda x: np.ascontiguousarray(x[::-1])[::-1],
            lambda x: np.asfortranarray(np.stack([x, x], axis=1))[:, 0],
            lambda x: np.array([(each, 0) for each in x], [("a", "<f8"), ("b", "i4")])["a"],
        ):
            np.testing.assert_equal(ours(container(y), container(p)), expected)
            np.testing.assert_equal(ours(container(y), p), expected)


@given(
    name=st.sampled_from(SHARED),
    rows=st.integers(2, 60),
    columns=st.integers(1, 4),
    dtypes=st.tuples(*[st.sampled_from(["f2", "f4", "f8", "i1", "u2", "i4", "i8", "?"])] * 2),
    weights=st.sampled_from([None, "ints", "floats", "float32", "zeros", "list"]),
    average=st.sampled_from(["raw_values", "uniform_average", "variance_weighted", "array"]),
    seed=st.integers(0, 2**32),
)
def test_metric_equals_scikit_learn(name, rows, columns, dtypes, weights, average, seed):
    ours, theirs = both(name)
    rng = np.random.default_rng(seed)
    shape = (rows, columns) if columns > 1 or seed % 2 else rows
    y, p = (rng.integers(1, 9, size=shape).astype(dtype) for dtype in dtypes)
    if name == "median_absolute_error" and {"?", "u2"} & set(dtypes):
        y, p = y.astype("i4"), p.astype("i4")  # scikit-learn cannot subtract bools, and wraps unsigned numbers around
    w = None if weights is None else rng.integers(1, 5, size=rows).astype(float)
    if weights == "floats":
        w = w + rng.random(rows)
        if name == "median_absolute_error":
            w = w * 0 + 1.5
    elif weights == "float32":
        w = w.astype(np.float32)
    elif weights == "zeros":
        w[1:] = np.where(rng.random(rows - 1) < 0.5, 0, w[1:])
    elif weights == "list":
        w = w.tolist()
    if average == "variance_weighted" and name not in FRACTIONS:
        average = "uniform_average"
    if average == "array":
        average = rng.random(columns) + 0.1 if columns > 1 else "uniform_average"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = theirs(y, p, sample_weight=w, multioutput=average)
        result = ours(y, p, sample_weight=w, multioutput=average)
    assert type(result) is type(expected)
    if isinstance(expected, np.ndarray):
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape
    narrow = min([np.dtype(dtype).itemsize for dtype in dtypes if dtype[0] == "f"], default=8)
    # scikit-learn computes in the dtype of the input, and its constant columns of weighted numbers vary by rounding.
    tolerance = {2: 0.1, 4: 1e-4, 8: 1e-9}[narrow]
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@given(st.integers(1, 128), st.integers(0, 2**32), st.sampled_from([1.0, 1e-300, 1e150, 1e10]))
def test_errors_of_few_rows_are_scikit_learns_to_the_bit(rows, seed, scale):
    rng = np.random.default_rng(seed)
    y, p = rng.normal(size=(2, rows)) * scale
    assert metrics.mean_absolute_error(y, p) == sklearn.metrics.mean_absolute_error(y, p)
    assert metrics.mean_squared_error(y, p) == sklearn.metrics.mean_squared_error(y, p)


@pytest.mark.parametrize("name", [name for name in ALL if name != "max_error"])
@pytest.mark.parametrize("size", [1, 6, 300, 70_000])
def test_weighted_metric_equals_the_twin(name, size, rng):
    y, p = targets(rng, size)
    w = rng.random(size)
    if name == "r2_score" and size == 1:
        return
    expected = getattr(reference, name)(y, p, w)
    np.testing.assert_allclose(getattr(metrics, name)(y, p, sample_weight=w), expected, rtol=1e-11)
    zeroed = np.where(np.arange(size) % 3 == 0, w, 0.0)
    if size > 6:
        kept = getattr(metrics, name)(y[::3], p[::3], sample_weight=w[::3])
        np.testing.assert_allclose(getattr(metrics, name)(y, p, sample_weight=zeroed), kept, rtol=1e-11)


@pytest.mark.parametrize("name", SHARED)
def test_negative_weights_as_scikit_learn(name, rng):
    ours, theirs = both(name)
    y, p = targets(rng, 40)
    w = rng.random(40) - 0.2
    if name != "median_absolute_error":
        np.testing.assert_allclose(ours(y, p, sample_weight=w), theirs(y, p, sample_weight=w), rtol=1e-11)
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
            ours([1, 2], [3, 4], sample_weight=[1, -1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHARED)
def test_metric_does_not_depend_on_threads(name, dtype, rng):
    y, p = (x.astype(dtype) for x in targets(rng, 600_001))
    result = getattr(metrics, name)(y, p)
    with fastcore.num_threads(1):
        assert getattr(metrics, name)(y, p) == result
    assert getattr(metrics, name)(y[:, None], p[:, None]) == result


# --- right where others are wrong ------------------------------------------------------------------------------------


def test_r2_of_float32_far_from_zero_is_right():
    y = np.full(20_000_000, 1000.0, np.float32)
    y[::2] += 1.0
    p = np.full_like(y, 1001.5)  # torchmetrics gives 0.0
    assert metrics.r2_score(y, p) == pytest.approx(1 - (0.5**2 + 1.5**2) / 2 / 0.25, rel=1e-12)


@pytest.mark.parametrize("first", [0.0, 1e9])
def test_r2_of_nearly_constant_targets_is_right(first, rng):
    y = 1e8 + rng.integers(0, 3, size=5000) * 2.0**-20
    y[0] += first
    p = y + rng.integers(-2, 3, size=5000) * 2.0**-21
    exact, errors = [Fraction(x) for x in y], [Fraction(a) - Fraction(b) for a, b in zip(y, p, strict=True)]

    def variance(x):
        return sum(each * each for each in x) - Fraction(sum(x)) ** 2 / len(x)

    r2 = 1 - sum(each * each for each in errors) / variance(exact)
    assert metrics.r2_score(y, p) == pytest.approx(float(r2), rel=1e-12)
    explained = 1 - variance(errors) / variance(exact)
    assert metrics.explained_variance_score(y, p) == pytest.approx(float(explained), rel=1e-12)
    assert metrics.r2_score(y, p, sample_weight=np.full(5000, 0.5)) == pytest.approx(float(r2), rel=1e-12)


@pytest.mark.parametrize("name", FRACTIONS)
@pytest.mark.parametrize("weight", [None, 0.3])
def test_constant_targets_have_no_variance(name, weight):
    score = getattr(metrics, name)
    y = np.full(3, 0.1)  # whose mean NumPy rounds
    w = None if weight is None else np.full(3, weight)
    p = y + np.arange(3)
    assert score(y, p, sample_weight=w) == 0.0
    assert score(y, p, sample_weight=w, force_finite=False) == -np.inf
    assert score(y, y, sample_weight=w) == 1.0
    assert np.isnan(score(y, y, sample_weight=w, force_finite=False))


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_order_statistics_of_64_bit_integers_are_exact(dtype):
    y = np.array([2**62 + 1, 2**62 + 7, 2**62], dtype)
    p = np.array([2**62 + 4, 2**62 + 2, 2**62 + 1], dtype)
    assert metrics.max_error(y, p) == 5.0
    assert metrics.median_absolute_error(y, p) == 3.0
    # The means convert first, as scikit-learn does.
    assert metrics.mean_absolute_error(y, p) == sklearn.metrics.mean_absolute_error(y, p)


def test_unsigned_integers_and_bools_do_not_wrap_around():
    assert metrics.max_error(np.array([1, 2], np.uint8), np.array([2, 2], np.uint8)) == 1.0
    assert metrics.median_absolute_error(np.array([1], np.uint16), np.array([3], np.uint16)) == 2.0
    assert metrics.max_error(np.array([True]), np.array([False])) == 1.0


@pytest.mark.parametrize("name", ["mean_absolute_percentage_error", "r2_score"])
def test_more_rows_than_int32_counts(name):
    rows = 2**31 + 5
    y, p = np.broadcast_to(np.float32(3.0), rows), np.broadcast_to(np.float32(1.0), rows)
    assert getattr(metrics, name)(y, p) == pytest.approx(0.0 if name == "r2_score" else 2 / 3, rel=1e-15)


# --- medians ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [24, 25, 26, 100, 1001, 20_000, 20_001, 100_000, 300_001])
@pytest.mark.parametrize("kind", ["normal", "ties", "sorted", "equal", "few differ", "periodic"])
def test_median_is_numpys(dtype, size, kind, rng):
    y = {
        "normal": lambda: rng.normal(size=size),
        "ties": lambda: rng.integers(0, 4, size=size) - 1.0,
        "sorted": lambda: np.linspace(0, 1, size) ** 3,
        "equal": lambda: np.full(size, 0.7),
        "few differ": lambda: np.where(np.arange(size) % 1000 == 7, 5.0, 0.0),
        "periodic": lambda: np.sin(np.arange(size) * (2 * np.pi / 48)),
    }[kind]().astype(dtype)
    p = np.zeros_like(y)
    assert metrics.median_absolute_error(y, p) == np.median(np.abs(y))
    assert metrics.regression_report(y + 1, p + 1).median_absolute_error == np.median(np.abs((y + 1) - (p + 1)))


@pytest.mark.parametrize("size", [50, 9000, 100_000])
def test_weighted_median_of_integer_weights_is_of_repeated_rows(size, rng):
    y, p = targets(rng, size)
    w = rng.integers(0, 4, size=size)
    repeated = metrics.median_absolute_error(np.repeat(y, w), np.repeat(p, w))
    assert metrics.median_absolute_error(y, p, sample_weight=w) == repeated
    y = y.round()
    repeated = metrics.median_absolute_error(np.repeat(y, w), np.repeat(p.round(), w))
    assert metrics.median_absolute_error(y, p.round(), sample_weight=w) == repeated


# --- what is refused, and warnings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 9, 130, 40_000])
def test_not_finite_raises(name, value, size):
    y, p = np.ones(size), np.ones(size)
    for arguments in ("y_true", "y_pred", "y_true and y_pred"):
        a, b = y.copy(), p.copy()
        if "y_true" in arguments:
            a[size // 2] = value
        if "y_pred" in arguments:
            b[size // 2] = value
        word = "NaN" if np.isnan(value) else "infinity"
        for dtype in (np.float64, np.float32):
            with pytest.raises(ValueError, match=f"Input {arguments[:6]} contains {word}"):
                getattr(metrics, name)(a.astype(dtype), b.astype(dtype))
        with pytest.raises(ValueError, match=f"contains {word}"):
            getattr(metrics, name)(a.tolist(), b.tolist())


@pytest.mark.parametrize("name", ALL)
def test_wrong_arguments_raise(name):
    score = getattr(metrics, name)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 2\]"):
        score(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="0 sample"):
        score(np.ones(0), np.ones(0))
    with pytest.raises(ValueError, match=r"different number of output \(2!=1\)"):
        score(np.ones((3, 2)), np.ones(3))
    with pytest.raises(ValueError, match="dim 3"):
        score(np.ones((3, 1, 1)), np.ones(3))
    for wrong in (None, 1.0, "abc", {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            score(wrong, np.ones(3))
    with pytest.raises(ValueError, match="Complex data"):
        score(np.ones(3) * 1j, np.ones(3))
    if name == "max_error":
        with pytest.raises(ValueError, match="Multioutput not supported in max_error"):
            score(np.ones((3, 2)), np.ones((3, 2)))
        return
    with pytest.raises(TypeError, match="The 'multioutput' parameter of"):
        score([1, 2], [1, 2], multioutput="average")
    with pytest.raises(ValueError, match="only in multi-output"):
        score([1, 2], [1, 2], multioutput=[1])
    with pytest.raises(ValueError, match=r"equally many custom weights \(3\) as outputs \(2\)"):
        score(np.ones((3, 2)), np.ones((3, 2)), multioutput=[1, 2, 3])
    with pytest.raises(ValueError, match="at least one non-zero"):
        score([1, 2], [1, 2], sample_weight=[0, 0])
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        score([1, 2], [1, 2], sample_weight=[0, np.nan])


def test_r2_of_one_sample_warns():
    for y in (np.ones(1), [1.0]):
        with pytest.warns(UndefinedMetricWarning, match="not well-defined with less than two samples"):
            assert np.isnan(metrics.r2_score(y, y))
    with pytest.warns(UndefinedMetricWarning, match="not well-defined"):
        report = metrics.regression_report(np.ones(1), np.zeros(1))
    assert np.isnan(report.r2_score)
    assert report.mean_squared_error == 1.0


def test_overflowing_sums_are_infinite_and_no_error():
    y, p = np.array([1e200, 1.0]), np.array([-1e200, 1.0])
    assert metrics.mean_squared_error(y, p) == np.inf
    assert metrics.mean_absolute_error(y, p) == 1e200
    assert metrics.median_absolute_error(np.full(9, 1e308), np.zeros(9)) == 1e308


@pytest.mark.parametrize("rows", [3, 1000, 5000])
@pytest.mark.parametrize("changed", ["target", "prediction", "both"])
@pytest.mark.parametrize("weighted", [False, True])
def test_fractions_of_overflowing_squares_are_scikit_learns(rows, changed, weighted, rng):
    for at, size in ((0, 1e200), (1, 1e200), (rows - 1, -1e160)):
        y = rng.normal(size=rows)
        p = y + rng.normal(size=rows) * 0.1
        for x, name in ((y, "target"), (p, "prediction")):
            if changed in (name, "both"):
                x[at] = size if name == "target" else size * 0.75
        w = rng.random(rows) + 0.5 if weighted else None
        for name in FRACTIONS:
            ours, theirs = both(name)
            for outputs in (y, np.stack([y, y], axis=1)):
                predictions = p if outputs is y else np.stack([p, p], axis=1)
                with np.errstate(all="ignore"):
                    expected = theirs(outputs, predictions, sample_weight=w)
                np.testing.assert_equal(ours(outputs, predictions, sample_weight=w), expected)


def test_explained_variance_of_first_error_beyond_the_others():
    y, p = np.zeros(1000), np.zeros(1000)
    y[::2], p[0] = 1.0, 1e153  # 999 squares of the distance from it overflow, the variance does not
    expected = sklearn.metrics.explained_variance_score(y, p)
    assert np.isfinite(expected)
    np.testing.assert_allclose(metrics.explained_variance_score(y, p), expected, rtol=1e-12)
