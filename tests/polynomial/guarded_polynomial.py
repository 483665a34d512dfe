"""Roots and inverses of polynomials and values beside a page nobody may touch: access out of bounds kills the process.

Run by test_polynomial_processes.py; prints the cases. Results are those of plain memory, bit by bit. The other
functions have scripts of their own beside this one.
"""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import polynomial

SIZES = [1, 7, 8, 9, 17, 65]
DEGREES = [0, 1, 2, 3, 10, 21]


def check(function, at_end, *arrays):
    got = function(*(guarded(array, at_end, range(array.ndim)) for array in arrays))
    for name, mine, plain in zip(got._fields, got, function(*arrays), strict=True):
        np.testing.assert_array_equal(mine, plain, err_msg=name)


def cases(rng, size, degree):
    rows = rng.standard_normal((size, degree + 1))
    yield polynomial.roots, rows
    yield lambda c: polynomial.roots(c, polish=False), rows
    yield polynomial.roots, rows[:, None] + 1j * rows[::-1, None]
    for dtype in (np.float32, np.float64):
        y = rng.standard_normal(size).astype(dtype)
        yield lambda c, y: polynomial.inverse(c, (-1, 1))(y), rows[0], y
        yield lambda c, y: polynomial.inverse(c)(y), np.abs(rows[0]) + 0.1, y


def main():
    rng = np.random.default_rng(0)
    number = 0
    for at_end, size, degree in itertools.product((True, False), SIZES, DEGREES):
        for function, *arrays in cases(rng, size, degree):
            check(function, at_end, *arrays)
            number += 1
    print(number)


if __name__ == "__main__":
    main()
