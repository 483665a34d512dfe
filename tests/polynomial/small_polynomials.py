"""A few polynomials through every function, with NUMBA_DISABLE_JIT=1 or compiled for any CPU.

Run by test_polynomial_processes.py; prints "right".
"""

import numpy as np
from flint import ctx

from fastcore import polynomial
from tests.polynomial.hard_cases import HARD, WORK_BITS, value_and_terms
from tests.polynomial.judges import judge_real_roots, judge_roots, judge_solutions, one_of, report

NAMES = [
    "cubic, one real",
    "(x - 1)^3",
    "x^8 - 1",
    "quadratic, real",
    "cluster of 2, 1e-8",
    "random 5, 0",
    "random 5, 1",
    "roots ±1e-50 to ±1e50",
    "source, degree 10",
    "two leading zeros",
    "two trailing zeros",
]


def check_values():
    x, c = np.linspace(-1.5, 1.5, 19), HARD["source, degree 10"]
    with ctx.workprec(WORK_BITS):
        exact = np.array([float(value_and_terms(c, point)[0].real) for point in x])
    np.testing.assert_allclose(polynomial.polyval(x, c), exact, rtol=1e-13)
    value, bound = polynomial.polyval(x, c, compensated=True, error_bound=True)
    np.testing.assert_allclose(value, exact, rtol=4e-16)
    assert (np.abs(value - exact) <= bound + 2**-52 * np.abs(exact)).all()
    np.testing.assert_allclose(polynomial.polyval(x.astype("f4"), c.astype("f4")), exact, rtol=1e-5)
    np.testing.assert_allclose(polynomial.polyval(x + 1j, c), np.polyval(c[::-1], x + 1j), rtol=1e-12)
    _, slope = polynomial.polyval_and_derivative(x, c)
    np.testing.assert_allclose(slope, np.polyval(polynomial.polyder(c)[::-1], x), rtol=1e-11)


def check_roots():
    longest = max(len(HARD[name]) for name in NAMES)
    padded = np.array([np.pad(HARD[name], (0, longest - len(HARD[name]))) for name in NAMES])
    every, real = polynomial.roots(padded), polynomial.real_roots(padded)
    for number, name in enumerate(NAMES):
        assert not report({name: judge_roots(padded[number], one_of(every, number))})
        assert not report({name: judge_real_roots(padded[number], one_of(real, number))})


def check_solutions():
    c = HARD["source, degree 10"]
    for which in ("nearest", "all"):
        assert not report({which: judge_solutions(c, np.pi, polynomial.solve(c, np.pi, which=which))})
    for method in ("newton", "descent"):
        got = polynomial.solve([1.0, 2, 0, 1], 0.25, x0=0.5, method=method)
        assert got.converged
        assert not report({method: judge_solutions([1.0, 2, 0, 1], 0.25, got)})
    rising, x = np.array([0.5, 1.0, 0.25, 0.125]), np.linspace(0, 4, 13)
    y = polynomial.polyval(x, rising)
    for dtype, tolerance in (("f8", 1e-14), ("f4", 1e-6)):
        got = polynomial.inverse(rising, (0, 4))(y.astype(dtype))
        np.testing.assert_allclose(got.x[1:-1], x[1:-1], rtol=tolerance)
    fitted = polynomial.fit(x, y, 3)
    np.testing.assert_allclose(fitted.polynomial.convert(kind=np.polynomial.Polynomial).coef, rising, rtol=1e-12)


if __name__ == "__main__":
    with np.errstate(over="ignore"):  # NumPy's scalars warn where compiled code does not
        check_values()
        check_roots()
        check_solutions()
    print("right")
