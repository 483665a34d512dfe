"""What `fit` promises: as good as `numpy.polynomial.Chebyshev.fit`, on data where that is known."""

import numpy as np
import pytest
from numpy.polynomial import Chebyshev

from fastcore.polynomial import fit


def grid(kind: str, size: int, rng) -> np.ndarray:
    return {
        "even": lambda: np.linspace(-1, 1, size),
        "shuffled": lambda: rng.permutation(np.linspace(-1, 1, size)),
        "far": lambda: 1e6 + np.linspace(0, 1, size),
        "tiny": lambda: np.linspace(2e-300, 3e-300, size),
        "huge": lambda: np.linspace(-1e300, 1e300, size),
        "clustered": lambda: rng.uniform(-1, 1, size) ** 5,
        "one side": lambda: np.exp(rng.uniform(0, 8, size)),
    }[kind]()


@pytest.mark.parametrize("degree", [0, 1, 3, 10, 25])
@pytest.mark.parametrize("kind", ["even", "shuffled", "far", "tiny", "huge", "clustered", "one side"])
def test_fit_of_exact_polynomial_data_has_a_residual_of_rounding(rng, kind, degree):
    x = grid(kind, 2003, rng)
    truth = Chebyshev(rng.standard_normal(degree + 1), domain=[x.min(), x.max()])
    y = truth(x)
    got = fit(x, y, degree)
    error = np.linalg.norm(got.polynomial(x) - y) / np.linalg.norm(y)
    assert error <= 1e-13
    theirs = Chebyshev.fit(x, y, degree)
    assert np.linalg.norm(got.polynomial(x) - y) <= 4 * np.linalg.norm(theirs(x) - y) + 1e-14 * np.linalg.norm(y)
    assert got.rank == degree + 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("degree", [0, 2, 10, 30])
def test_fit_of_noise_is_numpys(rng, degree, weighted):
    x, y = rng.uniform(3, 8, 1500), rng.standard_normal(1500)
    weights = rng.uniform(0.1, 3, 1500) if weighted else None
    got, theirs = fit(x, y, degree, weights=weights), Chebyshev.fit(x, y, degree, w=weights)
    np.testing.assert_allclose(got.polynomial.domain, theirs.domain)
    np.testing.assert_allclose(got.polynomial.coef, theirs.coef, rtol=1e-9, atol=1e-11)
    w = 1 if weights is None else weights
    np.testing.assert_allclose(got.residual, ((w * (y - theirs(x))) ** 2).sum(), rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-160, 1e-300, 1e160, 1e300])
def test_fit_of_values_at_the_ends_of_float64_is_the_scaled_fit(rng, scale):
    x, y = np.linspace(0, 1, 500), rng.uniform(1, 2, 500)
    got, plain = fit(x, y * scale, 4).polynomial, fit(x, y, 4).polynomial
    np.testing.assert_allclose(got.coef / scale, plain.coef, rtol=1e-11, atol=1e-13)


def test_fit_converts_to_the_coefficients_of_the_source_problem(rng):
    c = np.array([10.238723, 1.283, 0.3423, -12.322, 44.121, 17.0, -2.32, 9.11, -1.233, 0.32])
    x = rng.uniform(-1, 1, 5000)
    got = fit(x, np.polyval(c[::-1], x), 9).polynomial.convert(kind=np.polynomial.Polynomial).coef
    np.testing.assert_allclose(got, c, rtol=1e-10)


def test_fit_of_columns_is_a_fit_of_each(rng):
    x, y = rng.uniform(-1, 1, 300), rng.standard_normal((300, 3))
    together = fit(x, y, 5)
    for column, polynomial in enumerate(together.polynomial):
        alone = fit(x, y[:, column], 5)
        np.testing.assert_allclose(polynomial.coef, alone.polynomial.coef, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(together.residual[column], alone.residual, rtol=1e-12)


@pytest.mark.parametrize("points, degree", [([1.0, 1.0, 1.0], 1), ([0.0, 1.0], 4), ([2.0], 3)])
def test_fit_of_too_few_points_warns_and_passes_through_their_means(points, degree):
    x = np.array(points)
    y = np.arange(1.0, len(x) + 1)
    with pytest.warns(np.exceptions.RankWarning):
        got = fit(x, y, degree)
    assert got.rank == len(set(points)) < degree + 1
    for point in set(points):
        np.testing.assert_allclose(got.polynomial(point), y[x == point].mean(), rtol=1e-12)
