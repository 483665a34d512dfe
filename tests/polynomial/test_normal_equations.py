"""The small normal equations: eigenvalues against LAPACK and exact ones, solutions against the equations."""

import numpy as np
import pytest

from fastcore.polynomial.kernels.normal_equations import SOLVE_NORMAL


def moments_of(points, weights, size):
    basis = np.polynomial.chebyshev.chebvander(points, 2 * size - 2)
    return weights @ basis, basis[:, :size]


def solve(sums_x, sums_y):
    size = sums_y.shape[1]
    eigenvalues, vectors, series = np.empty(size), np.empty((size, size)), np.empty(sums_y.shape)
    ends = SOLVE_NORMAL.call(sums_x, sums_y, eigenvalues, vectors, series)
    return ends, eigenvalues, vectors, series


@pytest.mark.parametrize("size", [1, 2, 3, 8, 11, 20])
@pytest.mark.parametrize("power", [1, 3, 6])
def test_eigenvalues_are_lapacks_and_vectors_solve(rng, size, power):
    points = rng.uniform(-1, 1, 500) ** power  # the higher, the more points in the middle
    sums_x, basis = moments_of(points, np.ones(500), size)
    sums_y = rng.standard_normal((3, size))
    (smallest, largest), eigenvalues, vectors, series = solve(sums_x, sums_y)
    gram = basis.T @ basis
    scales = 1 / np.sqrt(gram.diagonal())
    expected = np.linalg.eigvalsh(gram * scales * scales[:, None])
    np.testing.assert_allclose(np.sort(eigenvalues), expected, rtol=0, atol=1e-14 * size)
    assert (smallest, largest) == (eigenvalues.min(), eigenvalues.max())
    condition = largest / smallest
    if 0 < condition < 1e11:
        np.testing.assert_allclose(series @ gram, sums_y, rtol=0, atol=1e-13 * size * condition)
        np.testing.assert_allclose((vectors.T / eigenvalues) @ (vectors @ sums_y.T), series.T, rtol=1e-12)


def test_eigenvalues_of_points_without_one_column_are_none():
    sums_x, _ = moments_of(np.zeros(5), np.ones(5), 3)  # T_1 is 0 at all points
    assert solve(sums_x, np.ones((1, 3)))[0] == (0.0, 1.0)


def test_eigenvalues_of_too_few_points_are_not_positive_enough():
    sums_x, _ = moments_of(np.array([-0.5, 0.25]), np.ones(2), 4)
    smallest, largest = solve(sums_x, np.ones((1, 4)))[0]
    assert not smallest * 1e11 > largest


def test_known_eigenvalues():
    # Chebyshev nodes: T_k are orthogonal, and all columns have their length.
    points = np.cos((np.arange(12) + 0.5) * np.pi / 12)
    sums_x, _ = moments_of(points, np.ones(12), 6)
    np.testing.assert_allclose(solve(sums_x, np.ones((1, 6)))[1], 1.0, rtol=1e-14)
