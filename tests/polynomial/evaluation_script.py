"""Run in a process of its own, for each CPU: evaluation next to unmapped pages, with bounds that fractions confirm."""

from fractions import Fraction

import numpy as np
from guard_pages import guarded

from fastcore.polynomial import polyval, polyval_and_derivative


def exact(c, x):
    result = Fraction(0)
    for coefficient in c[::-1]:
        result = result * Fraction(float(x)) + Fraction(float(coefficient))
    return result


def check_edges(rng, dtype):
    for size in (1, 9, 70):  # less and more than one register, than all of a block
        for shape in ((3,), (2, 1, 4), (size, 2)):
            x, c = (
                guarded(rng.standard_normal(each).astype(dtype), True, range(len(each))) for each in ((size,), shape)
            )
            expected = sum(c[..., k].astype("c16") * x.astype("c16") ** k for k in range(shape[-1]))
            tolerance = {"atol": 1e-4 if np.dtype(dtype).char in "fF" else 1e-12}
            np.testing.assert_allclose(polyval(x, c), expected, **tolerance)
            np.testing.assert_allclose(polyval_and_derivative(x, c)[0], expected, **tolerance)
            for compensated in (False, True):
                values, bounds = polyval(x, c, compensated=compensated, error_bound=True)
                np.testing.assert_allclose(values, expected, **tolerance)
                assert (bounds <= tolerance["atol"]).all()


def check_bounds(x, c):
    for compensated in (False, True):
        values, bounds = polyval(x, c, compensated=compensated, error_bound=True)
        for point, value, bound in zip(x, values, bounds, strict=True):
            assert abs(Fraction(float(value)) - exact(c, point)) <= Fraction(float(bound))


def main():
    rng = np.random.default_rng(3)
    for dtype in ("f4", "f8", "c16"):
        check_edges(rng, dtype)
    check_bounds(1 + np.linspace(-1e-2, 1e-2, 11), np.poly(np.ones(9))[::-1])
    check_bounds(rng.uniform(-2, 2, 11), rng.standard_normal(15))
    for size, count in ((19, 7), (101, 6), (101, 30)):  # 30 coefficients: in longer blocks
        x, c = guarded(rng.standard_normal(size), True, [0]), rng.standard_normal(count)
        one_by_one = [polyval(float(each), c) for each in x]
        np.testing.assert_array_equal(polyval(x, c), one_by_one)
        np.testing.assert_array_equal(polyval(x, np.tile(c, (size, 1))), one_by_one)
    print("ok")


main()
