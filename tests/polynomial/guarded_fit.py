"""Fits to points that end, or begin, right at a page nobody may touch; prints the cases.

Run by test_fitting.py, also for other vector widths and without the compiler.
"""

import itertools
import os

import numpy as np
from guard_pages import guarded
from numpy.polynomial import Chebyshev

from fastcore.polynomial import fit
from fastcore.reference.polynomial_fit import fit as reference

SIZES = (9, 16, 31, 33, 64, 65)
MANY = (1023, 8193)  # a block and a chunk, almost and more


def main():
    rng = np.random.default_rng(0)
    is_compiled = os.environ.get("NUMBA_DISABLE_JIT") != "1"
    sizes = SIZES + MANY if is_compiled else SIZES
    cases = list(itertools.product(sizes, (0, 6, 7), (False, True), (1, 3), (True, False)))
    if not is_compiled:
        cases = cases[::5]
    for size, degree, is_weighted, columns, at_end in cases:
        x = guarded(rng.uniform(-1, 3, size), at_end, [0])
        y = guarded(rng.standard_normal((size, columns)), at_end, [0, 1])
        w = guarded(rng.uniform(0.1, 2, size), at_end, [0]) if is_weighted else None
        if columns == 1:
            y = y[:, 0]
        found, expected = fit(x, y, degree, weights=w), reference(x, y, degree, weights=w)
        np.testing.assert_allclose(coefficients(found.polynomial), coefficients(expected[0]), rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.residual, expected[1], rtol=1e-9, atol=1e-20)
        if degree == 7:
            series = Chebyshev(rng.standard_normal(8), domain=[x.min(), x.max()])
            left = fit(x, series(x), degree, weights=w).polynomial(x) - series(x)
            assert np.abs(left).max() <= 1e-13 * np.abs(series.coef).sum()
    print(f"{len(cases)} cases")


def coefficients(polynomial):
    return [each.coef for each in (polynomial if isinstance(polynomial, tuple) else (polynomial,))]


if __name__ == "__main__":
    main()
