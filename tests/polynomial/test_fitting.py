"""fit: against numpy.polynomial, the twin, exact arithmetic."""

import math
import warnings
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.exceptions import RankWarning
from numpy.polynomial import Chebyshev, Polynomial

import fastcore
from fastcore.polynomial import Fit, fit
from fastcore.polynomial import fitting as implementation
from fastcore.polynomial.kernels.moments import CHUNK, Mapping, extent, moments
from fastcore.reference.polynomial_fit import fit as reference

STEP = 32  # of the kernel on AVX-512; its tails are tested around it
SIZES = [1, 2, 7, STEP - 1, STEP, STEP + 1, 2 * STEP + 3, 1023, 1025, CHUNK - 1, CHUNK + 1, 3 * CHUNK + 77]


def draw(rng, kind, size):
    return {
        "uniform": lambda: rng.uniform(-3.0, 5.0, size),
        "rising": lambda: np.linspace(0.0, 1.0, size),
        "falling": lambda: np.linspace(1.0, -7.0, size),
        "normal": lambda: rng.standard_normal(size),
        "exponential": lambda: rng.exponential(size=size),
        "far": lambda: 1000.0 + rng.uniform(size=size),
        "ends": lambda: np.cos(rng.uniform(0.0, math.pi, size)),
    }[kind]()


def exact_fit(x, y, degree, weights=None):
    """The series of the normal equations in 120 digits, on the domain of x as float64 maps it."""
    low, high = float(x.min()), float(x.max())
    offset, scale = (-high - low) / (high - low), 2.0 / (high - low)
    with mpmath.workdps(120):
        u = [mpmath.mpf(offset) + mpmath.mpf(scale) * mpmath.mpf(float(each)) for each in x]
        w = [mpmath.mpf(1)] * len(x) if weights is None else [mpmath.mpf(float(each)) for each in weights]
        basis = mpmath.matrix(len(x), degree + 1)
        for i, each in enumerate(u):
            past, now = each, mpmath.mpf(1)
            for k in range(degree + 1):
                basis[i, k] = now * w[i]
                past, now = now, 2 * each * now - past
        values = mpmath.matrix([mpmath.mpf(float(each)) * w[i] for i, each in enumerate(y)])
        series = mpmath.lu_solve(basis.T * basis, basis.T * values)
        errors = values - basis * series
        return np.array([float(each) for each in series]), float(mpmath.fsum(each**2 for each in errors))


@pytest.mark.parametrize("size", SIZES)
def test_moments_of_any_size_are_the_sums(rng, size):
    x, rows, w = rng.uniform(-1, 1, size), rng.standard_normal((2, size)), rng.uniform(0.5, 2, size)
    basis = np.polynomial.chebyshev.chebvander(x, 14)
    for weights, factor in ((None, np.ones(size)), (w, (w * 0.5) ** 2)):
        sums_x, sums_y = moments(x, rows, weights, Mapping(0.0, 1.0, 0.5), 7)
        bound = 1e-15 * math.sqrt(size) + 1e-14
        np.testing.assert_allclose(sums_x, factor @ basis, rtol=0, atol=bound * max(1, factor.sum()))
        expected = (rows * factor) @ basis[:, :8]
        np.testing.assert_allclose(sums_y, expected, rtol=0, atol=bound * max(1, abs(rows * factor).sum()))


@pytest.mark.parametrize("size", SIZES)
def test_extent_of_any_size_is_min_and_max(rng, size):
    x = rng.standard_normal(size)
    assert extent(x) == (x.min(), x.max())
    assert extent(-x) == (-x.max(), -x.min())


@pytest.mark.parametrize("kind", ["uniform", "rising", "falling", "normal", "exponential", "far", "ends"])
@pytest.mark.parametrize(
    "degree, size",
    [(0, 60), (1, 1000), (2, 60), (5, 1000), (10, 60), (10, 20_000), (20, 60), (20, 5000), (50, 1000)],
)
def test_fit_of_an_exact_polynomial_reproduces_it(rng, kind, degree, size):
    x = draw(rng, kind, size)
    polynomial = Chebyshev(rng.standard_normal(degree + 1), domain=[x.min(), x.max()])
    y = polynomial(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        found, theirs = fit(x, y, degree), Chebyshev.fit(x, y, degree)
    error, error_of_theirs = (np.abs(each(x) - y).max() / np.abs(y).max() for each in (found.polynomial, theirs))
    assert error <= max(1e-13, 2 * error_of_theirs)
    if found.rank == degree + 1:
        assert found.residual <= size * (1e-13 * np.abs(y).max()) ** 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["uniform", "normal", "exponential", "far"])
@pytest.mark.parametrize("degree", [0, 1, 3, 10, 20])
def test_fit_of_noise_is_numpys_and_the_twins(rng, kind, degree, weighted):
    x = draw(rng, kind, 3000)
    y = np.sin(3 * x) + 0.1 * rng.standard_normal(x.size)
    w = rng.uniform(0.1, 10, x.size) if weighted else None
    found = fit(x, y, degree, weights=w)
    theirs, (residual, rank, singular, _) = Chebyshev.fit(x, y, degree, w=w, full=True)
    twin = reference(x, y, degree, weights=w)
    assert isinstance(found, Fit)
    np.testing.assert_array_equal(found.polynomial.domain, theirs.domain)
    scale = np.abs(theirs(x)).max()
    np.testing.assert_allclose(found.polynomial(x), theirs(x), rtol=0, atol=1e-12 * scale * max(1, found.condition))
    assert found.residual == pytest.approx(residual[0], rel=1e-12)
    assert found.residual == pytest.approx(twin[1], rel=1e-12)
    assert found.rank == rank == twin[2] == degree + 1
    assert found.condition == pytest.approx(singular[0] / singular[-1], rel=1e-4)
    assert found.condition == pytest.approx(twin[3], rel=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind, degree", [("uniform", 4), ("uniform", 9), ("normal", 6), ("exponential", 7)])
def test_fit_is_exact_to_the_condition(rng, kind, degree, weighted):
    x = draw(rng, kind, 60)
    y = rng.standard_normal(60)
    w = 10.0 ** rng.uniform(-3, 3, 60) if weighted else None
    found = fit(x, y, degree, weights=w)
    series, residual = exact_fit(x, y, degree, w)
    np.testing.assert_allclose(
        found.polynomial.coef, series, rtol=0, atol=1e-15 * found.condition**2 * np.abs(series).max() + 1e-14
    )
    assert found.residual == pytest.approx(residual, rel=1e-11)


def test_fit_one_thread_equals_many(rng):
    x, y, w = rng.uniform(-1, 3, 300_001), rng.standard_normal((300_001, 3)), rng.uniform(0, 1, 300_001)
    many = fit(x, y, 12, weights=w)
    with fastcore.num_threads(1):
        one = fit(x, y, 12, weights=w)
    for a, b in zip(many.polynomial, one.polynomial, strict=True):
        np.testing.assert_array_equal(a.coef, b.coef)
    np.testing.assert_array_equal(many.residual, one.residual)
    assert many[2:] == one[2:]


def test_fit_convert_gives_coefficients_of_powers():
    x = np.linspace(-1.0, 4.0, 500)
    coefficients = [1.0, -2.0, 0.0, 0.5]
    found = fit(x, Polynomial(coefficients)(x), 3)
    np.testing.assert_allclose(found.polynomial.convert(kind=Polynomial).coef, coefficients, atol=1e-13)


@pytest.mark.parametrize("degree", [0, 3, [0, 2, 5]])
@pytest.mark.parametrize("columns", [0, 1, 4])
def test_fit_of_columns_is_the_fit_of_each(rng, degree, columns):
    x, y, w = rng.uniform(0, 1, 9000), rng.standard_normal((9000, columns)), rng.uniform(0, 1, 9000)
    found = fit(x, y, degree, weights=w)
    assert isinstance(found.polynomial, tuple)
    assert len(found.polynomial) == columns
    assert found.residual.shape == (columns,)
    for column in range(columns):
        alone = fit(x, y[:, column], degree, weights=w)
        np.testing.assert_allclose(found.polynomial[column].coef, alone.polynomial.coef, rtol=1e-11, atol=1e-13)
        assert found.residual[column] == pytest.approx(alone.residual, rel=1e-12)
        assert (found.rank, found.condition) == (alone.rank, alone.condition)


def test_fit_with_domain_is_the_same_polynomial(rng):
    x = rng.uniform(2, 3, 1000)
    y = np.exp(x)
    found, default = fit(x, y, 6, domain=(1.5, 3.25)), fit(x, y, 6)
    np.testing.assert_array_equal(found.polynomial.domain, [1.5, 3.25])
    np.testing.assert_allclose(found.polynomial(x), default.polynomial(x), rtol=1e-12)
    narrow = fit(x, y, 6, domain=(2.2, 2.4))  # points outside are no fault
    np.testing.assert_allclose(narrow.polynomial(x), default.polynomial(x), rtol=1e-10)


@pytest.mark.parametrize("x", [[3.0], [3.0, 3.0, 3.0], [0.0, 0.0], [1e20, 1e20], [-1e300]])
def test_fit_of_one_place_is_the_mean(x):
    y = np.arange(1.0, len(x) + 1)
    found = fit(x, y, 0)
    assert found.polynomial.coef == pytest.approx([y.mean()])
    assert found.polynomial.domain[0] < x[0] < found.polynomial.domain[1]
    assert found.residual == pytest.approx(((y - y.mean()) ** 2).sum())
    assert found[2:] == (1, 1.0)


def test_fit_of_one_place_to_a_line_warns_as_numpy():
    with pytest.warns(RankWarning, match="poorly conditioned") as record:
        found = fit([1, 1], [2, 2.1], 1)
    assert record[0].filename == __file__
    assert found.rank == 1
    assert found.polynomial(1.0) == pytest.approx(2.05)
    assert math.isinf(found.condition) or found.condition > 1e15


@pytest.mark.parametrize("size", [1, 2, 5])
def test_fit_of_too_few_points_warns_and_is_numpys(rng, size):
    x, y = rng.uniform(-1, 1, size), rng.standard_normal(size)
    with pytest.warns(RankWarning) as record:
        found = fit(x, y, 6)
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        theirs = Chebyshev.fit(x, y, 6)
    assert found.rank == size
    assert found.condition == np.inf
    np.testing.assert_allclose(found.polynomial.coef, theirs.coef, atol=1e-12)
    assert found.residual < 1e-25


def test_fit_through_all_points_leaves_nothing(rng):
    x = np.cos(np.linspace(0, np.pi, 12))
    y = rng.standard_normal(12)
    found = fit(x, y, 11)
    np.testing.assert_allclose(found.polynomial(x), y, atol=1e-14)


@pytest.mark.parametrize("how", ["zero weights", "few weights", "high degree", "far domain"])
def test_fit_that_is_not_determined_is_numpys(rng, how):
    x = np.linspace(0, 1, 20_000)
    y, w, degree, domain = np.cos(9 * x), None, 5, None
    if how == "zero weights":
        w = np.zeros_like(x)
    elif how == "few weights":
        w = np.zeros_like(x)
        w[100:104] = 2.0
    elif how == "high degree":
        x, degree = rng.exponential(size=x.size) ** 3, 40
    else:
        degree, domain = 8, [-1e6, 1e6]
    with warnings.catch_warnings(record=True) as ours_warned:
        warnings.simplefilter("always")
        found = fit(x, y, degree, weights=w, domain=domain)
    with warnings.catch_warnings(record=True) as theirs_warned:
        warnings.simplefilter("always")
        theirs = Chebyshev.fit(x, y, degree, w=w, domain=domain)
    assert [each.category for each in ours_warned] == [each.category for each in theirs_warned] == [RankWarning]
    w = np.ones_like(x) if w is None else w
    ours_left, theirs_left = (math.sqrt(((w * (each(x) - y)) ** 2).sum()) for each in (found.polynomial, theirs))
    assert ours_left <= 1.01 * theirs_left + 1e-9
    assert math.sqrt(found.residual) == pytest.approx(ours_left, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind, size, degree, condition", [("exponential", 30_000, 21, 1e3), ("normal", 2000, 20, 2e4)])
def test_fit_of_high_condition_is_qrs(rng, monkeypatch, kind, size, degree, condition):
    x = draw(rng, kind, size)
    polynomial = Chebyshev(rng.standard_normal(degree + 1), domain=[x.min(), x.max()])
    found = fit(x, polynomial(x), degree)
    assert condition < found.condition < 10 * condition
    np.testing.assert_allclose(found.polynomial(x), polynomial(x), rtol=0, atol=1e-13 * np.abs(polynomial(x)).max())
    monkeypatch.setattr(implementation, "LARGEST_CONDITION", 1.0)
    by_qr = fit(x, polynomial(x), degree)
    np.testing.assert_allclose(found.polynomial(x), by_qr.polynomial(x), rtol=0, atol=1e-12)
    assert found.condition == pytest.approx(by_qr.condition, rel=1e-4)


@pytest.mark.parametrize("exponent", [-300, -200, 150, 300])
def test_fit_of_tiny_and_huge_values_is_scaled(rng, exponent):
    x, y = rng.uniform(0, 1, 5000), rng.standard_normal(5000)
    unit = 2.0 ** (exponent * 3.2)
    found, scaled = fit(x, y, 4), fit(x, y * unit, 4)
    np.testing.assert_allclose(scaled.polynomial.coef, found.polynomial.coef * unit, rtol=1e-12)
    if 1e-300 < found.residual * unit * unit < np.inf:
        assert scaled.residual == pytest.approx(found.residual * unit * unit)


@pytest.mark.parametrize("exponent", [-300, -160, 150, 300])
def test_fit_of_tiny_and_huge_weights_is_scaled(rng, exponent):
    x, y, w = rng.uniform(0, 1, 5000), rng.standard_normal(5000), rng.uniform(0.1, 1, 5000)
    found, scaled = fit(x, y, 4, weights=w), fit(x, y, 4, weights=-w * 2.0**exponent)
    np.testing.assert_allclose(scaled.polynomial.coef, found.polynomial.coef, rtol=1e-12)


@pytest.mark.parametrize("width", [1e-300, 1e-3, 1e300])
def test_fit_of_narrow_and_wide_points_is_scaled(rng, width):
    x, y = rng.uniform(0, 1, 500), rng.standard_normal(500)
    np.testing.assert_allclose(fit(x * width, y, 4).polynomial.coef, fit(x, y, 4).polynomial.coef, rtol=1e-9)


def test_fit_of_complex_values_is_that_of_their_parts(rng):
    x, y = rng.uniform(0, 1, 500), rng.standard_normal(500) + 1j * rng.standard_normal(500)
    found, real, imaginary = fit(x, y, 4), fit(x, y.real, 4), fit(x, y.imag, 4)
    np.testing.assert_allclose(found.polynomial.coef, real.polynomial.coef + 1j * imaginary.polynomial.coef, rtol=1e-12)
    assert found.residual == pytest.approx(real.residual + imaginary.residual)


@pytest.mark.parametrize("degree", [2, [0, 1, 2], [0, 2], [3]])
def test_fit_of_complex_points_is_numpys(rng, degree):
    x = rng.standard_normal(400) + 1j * rng.standard_normal(400)
    y = np.stack([x**2 - 1j, x + rng.standard_normal(400)], axis=1)
    w = rng.uniform(0.1, 1, 400)
    found = fit(x, y, degree, weights=w)
    theirs = np.polynomial.polynomial.polyfit(x, y, degree, w=w)
    for column in range(2):
        np.testing.assert_allclose(
            found.polynomial[column](x), np.polynomial.polynomial.polyval(x, theirs[:, column]), atol=1e-11
        )


@pytest.mark.parametrize("degree", [[0, 2, 5], [1, 3], [4], [7, 2, 2], np.array([1, 6], np.uint8)])
def test_fit_of_listed_degrees_is_numpys(rng, degree):
    x, y = rng.uniform(-2, 3, 700), rng.standard_normal(700)
    found = fit(x, y, degree)
    listed = sorted({int(each) for each in degree})
    theirs = np.polynomial.polynomial.polyfit(x, y, listed)
    coefficients = found.polynomial.convert(kind=Polynomial).coef
    np.testing.assert_allclose(np.pad(coefficients, (0, max(listed) + 1 - len(coefficients))), theirs, atol=1e-12)
    assert found.rank == len(listed)


def test_fit_of_all_degrees_listed_is_that_of_the_highest(rng):
    x, y = rng.uniform(-2, 3, 700), rng.standard_normal(700)
    np.testing.assert_array_equal(fit(x, y, [2, 0, 3, 1]).polynomial.coef, fit(x, y, 3).polynomial.coef)


@given(
    st.integers(0, 12),
    st.integers(1, 400),
    st.integers(0, 2**32 - 1),
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
    st.booleans(),
)
def test_fit_of_values_of_a_polynomial_gives_it_back(degree, more, seed, middle, width, weighted):
    rng = np.random.default_rng(seed)
    x = middle + width * rng.uniform(-1, 1, degree + more)
    polynomial = Chebyshev(rng.standard_normal(degree + 1), domain=[middle - width, middle + width])
    w = rng.uniform(0.5, 2, x.size) if weighted else None
    y = polynomial(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        found = fit(x, y, degree, weights=w, domain=polynomial.domain)
    assert np.abs(found.polynomial(x) - y).max() <= 1e-12 * np.abs(polynomial.coef).sum()
    assert found.residual <= 1e-22 * x.size * np.abs(polynomial.coef).sum() ** 2


@given(st.integers(0, 8), st.integers(20, 300), st.integers(0, 2**32 - 1))
def test_fit_leaves_errors_at_right_angles_to_the_basis(degree, size, seed):
    rng = np.random.default_rng(seed)
    x, y, w = rng.uniform(-1, 1, size), rng.standard_normal(size), rng.uniform(0.1, 3, size)
    found = fit(x, y, degree, weights=w)
    errors = w * (found.polynomial(x) - y)
    basis = w[:, None] * np.polynomial.chebyshev.chebvander(x, degree)
    assert np.abs(basis.T @ errors).max() <= 1e-12 * size * max(1, np.abs(found.polynomial.coef).max())
    assert found.residual == pytest.approx(errors @ errors, rel=1e-12)


@pytest.mark.parametrize("degree", [implementation.LARGEST_SMALL - 1, implementation.LARGEST_SMALL])
def test_fit_with_and_without_lapack_are_exact(rng, degree):
    x = rng.uniform(2, 3, 5000)
    polynomial = Chebyshev(rng.standard_normal(degree + 1), domain=[x.min(), x.max()])
    found = fit(x, polynomial(x), degree)
    np.testing.assert_allclose(found.polynomial.coef, polynomial.coef, rtol=0, atol=1e-13)


# The vectors of AVX2 are tested by polyval and roots: a cold compile less.
@pytest.mark.parametrize("run_guarded", ["host", "plain x86-64", "no compiler"], indirect=True)
def test_fit_is_right_and_touches_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_fit.py")).endswith("cases")
