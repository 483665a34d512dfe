"""The normal equations of a small Chebyshev basis from its moments: eigenvalues by Jacobi rotations, and the solution.

LAPACK does the same. For eleven coefficients the calls around it took 30 us, and 110 us right after the moments of a
million points, which leave nothing of it in the caches; this takes 10.
"""

import math

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct

# Sweeps over all pairs: six suffice for condition 1e11, tests/polynomial/test_normal_equations.py.
SWEEPS = 20
EPSILON = 2.0**-53


@kernel
def rotate_rows(first, second, c, s):
    """Both rows of a rotation: first = c first - s second, second = s first + c second."""
    for k in range(first.size):
        a, b = first[k], second[k]
        first[k] = c * a - s * b
        second[k] = s * a + c * b


@kernel
def diagonalize(matrix, vectors):
    """Rotate the symmetric matrix until it is diagonal, and the rows of vectors, at first the unit matrix, likewise.

    Golub and Van Loan 2013, algorithm 8.4.3, cyclic by rows. An element is left where it is small beside both of its
    diagonal ones: that keeps small eigenvalues exact (Demmel and Veselic 1992).
    """
    size = matrix.shape[0]
    for _ in range(SWEEPS):
        is_diagonal = True
        for p in range(size - 1):
            for q in range(p + 1, size):
                corner, left, right = matrix[p, q], matrix[p, p], matrix[q, q]
                if abs(corner) <= EPSILON * math.sqrt(abs(left * right)):
                    continue
                is_diagonal = False
                theta = 0.5 * (right - left) / corner
                t = (1.0 if theta >= 0.0 else -1.0) / (abs(theta) + math.sqrt(theta * theta + 1.0))
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                rotate_rows(matrix[p], matrix[q], c, s)
                for k in range(size):  # the same for columns, of which symmetry knows all but two elements a row
                    matrix[k, p], matrix[k, q] = matrix[p, k], matrix[q, k]
                matrix[p, p], matrix[q, q] = left - t * corner, right + t * corner
                matrix[p, q] = matrix[q, p] = 0.0
                rotate_rows(vectors[p], vectors[q], c, s)
        if is_diagonal:
            break


def solve_normal(sums_x, sums_y, eigenvalues, vectors, series):
    """Solve for the d + 1 coefficients of each row of sums_y, and return the smallest and the largest eigenvalue.

    sums_x (2d + 1,), sums_y (K, d + 1): of `moments`. eigenvalues (d + 1,), of the matrix of products of columns of
    length 1; vectors (d + 1, d + 1), its eigenvectors as rows, each element over the length of its column; series
    (K, d + 1), the solution. (0, 1) where a column has no length.
    """
    size = eigenvalues.size
    matrix = np.empty((size, size))
    scales = np.empty(size)
    for k in range(size):
        square = 0.5 * (sums_x[0] + sums_x[2 * k])
        if not square > 0.0:
            return 0.0, 1.0
        scales[k] = 1.0 / math.sqrt(square)
    for i in range(size):
        for j in range(size):
            matrix[i, j] = 0.5 * (sums_x[i + j] + sums_x[abs(i - j)]) * scales[i] * scales[j]
            vectors[i, j] = 1.0 if i == j else 0.0
    diagonalize(matrix, vectors)
    smallest, largest = matrix[0, 0], matrix[0, 0]
    for k in range(size):
        eigenvalues[k] = matrix[k, k]
        smallest, largest = min(smallest, matrix[k, k]), max(largest, matrix[k, k])
        for j in range(size):
            vectors[k, j] *= scales[j]
    for row in range(sums_y.shape[0]):
        for j in range(size):
            series[row, j] = 0.0
        for k in range(size):
            part = 0.0
            for j in range(size):
                part += vectors[k, j] * sums_y[row, j]
            part /= eigenvalues[k]
            for j in range(size):
                series[row, j] += part * vectors[k, j]
    return smallest, largest


_VECTOR = types.Array(types.float64, 1, "C")
_ROWS = types.Array(types.float64, 2, "C")
_READ = types.Array(types.float64, 1, "A", readonly=True)
_READ_ROWS = types.Array(types.float64, 2, "A", readonly=True)

SOLVE_NORMAL = Direct(solve_normal, types.UniTuple(types.float64, 2)(_READ, _READ_ROWS, _VECTOR, _ROWS, _ROWS))
