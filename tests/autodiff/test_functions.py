"""Every function on traced values: NumPy's values, and the derivatives of the twin, one kernel for many functions."""

import math

import numpy as np
import pytest
from scipy import special

from fastcore import reference
from fastcore.autodiff import grad, jvp

EVERYWHERE = [
    np.negative, np.positive, np.square, np.absolute, np.fabs, np.exp, np.exp2, np.expm1, np.sin, np.cos, np.tan,
    np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.cbrt, np.sign, np.deg2rad, np.rad2deg, np.radians, np.degrees,
    np.conjugate,
]  # fmt: skip
POSITIVE = [np.reciprocal, np.sqrt, np.log, np.log2, np.log10, np.log1p, np.floor, np.ceil, np.trunc, np.rint]
WITHIN_ONE = [np.arcsin, np.arccos, np.arctanh]
ABOVE_ONE = [np.arccosh]
TWO = [
    np.add, np.subtract, np.multiply, np.divide, np.power, np.float_power, np.maximum, np.minimum, np.fmax, np.fmin,
    np.hypot, np.arctan2, np.logaddexp,
]  # fmt: skip
POWERS = [-3, -2, -1, 0, 0.5, 1, 2, 3, 7, 16, 2.5, -1.5, 20]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.5, -2.5, 1e-310, 1e300]


def bound(want, dtype):
    """20 roundings: formulas of up to ten operations, each of up to 2.6 ulp."""
    return 20 * np.finfo(dtype).eps * np.maximum(np.abs(want), np.finfo(dtype).tiny)


def assert_like(got, want, dtype, name=""):
    with np.errstate(all="ignore"):
        # 1 - tanh**2 is exact to roundings of 1, here as in JAX.
        close = np.abs(got - want) <= bound(np.ones(1) if name == "tanh" else want, dtype)
    wrong = ~(close | (got == want) | (np.isnan(got) & np.isnan(want)))
    assert not wrong.any(), (name, got[wrong], want[wrong])


def check_one(functions, x, dtype):
    """Values of NumPy in float64 and derivatives of the twin, of functions of one argument."""
    x = x.astype(dtype)
    values, slopes = jvp(lambda v: tuple(f(v) for f in functions), (x,), (dtype(1.0),))
    for function, value, slope in zip(functions, values, slopes):
        assert value.dtype == slope.dtype == dtype
        want = reference.value_and_grad(function)(x.astype(np.float64))
        name = getattr(function, "__name__", "")
        assert_like(value, want[0], dtype, name)
        assert_like(slope, want[1], dtype, name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_one_argument(rng, dtype):
    near = rng.uniform(-3.0, 3.0, 60)
    check_one(EVERYWHERE, near, dtype)
    check_one(WITHIN_ONE, near / 3.1, dtype)
    check_one([*POSITIVE, *(lambda x, n=n: x**n for n in POWERS)], np.abs(near) + 0.1, dtype)
    check_one(ABOVE_ONE, np.abs(near) + 1.1, dtype)


def test_functions_of_one_argument_at_the_ends_of_their_domains():
    functions = [*EVERYWHERE, *WITHIN_ONE, *ABOVE_ONE, *POSITIVE]
    functions = [f for f in functions if f not in (np.deg2rad, np.radians, np.tan)]
    x = np.array(SPECIAL)
    values, slopes = jvp(lambda v: tuple(f(v) for f in functions), (x,), (1.0,))
    for function, value, slope in zip(functions, values, slopes):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(value, function(x), rtol=1e-15, atol=5e-324, err_msg=function.__name__)
        want = reference.grad(function)(x)
        np.testing.assert_allclose(slope, want, rtol=1e-14, atol=5e-324, err_msg=function.__name__)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_two_arguments(rng, dtype):
    x, y = (rng.uniform(0.2, 3.0, 60).astype(dtype) for _ in range(2))
    y[:5] = x[:5]  # ties
    for one_first in (True, False):
        tangents = (dtype(one_first), dtype(not one_first))
        values, slopes = jvp(lambda a, b: tuple(f(a, b) for f in TWO), (x, y), tangents)
        for function, value, slope in zip(TWO, values, slopes):
            plain = {np.fmax: np.maximum, np.fmin: np.minimum, np.float_power: np.power}.get(function, function)
            assert_like(value, function(x.astype(float), y.astype(float)), dtype)
            if function is np.logaddexp:
                share = special.expit((x.astype(float) - y) * (1 if one_first else -1))
                assert_like(slope, share, dtype)
            else:
                assert_like(slope, reference.jvp(plain, (x.astype(float), y.astype(float)), tangents)[1], dtype)


def test_power_at_zero_is_as_in_jax():
    x = np.array([0.0, 0.0, 0.0, -2.0, 2.0, 0.0])
    y = np.array([0.0, 1.0, 2.0, 2.0, 0.0, 0.5])
    by_x, by_y = grad(lambda a, b: a**b)(x, y)
    np.testing.assert_array_equal(by_x, [0.0, 1.0, 0.0, -4.0, 0.0, np.inf])
    np.testing.assert_allclose(by_y, [0.0, 0.0, 0.0, np.nan, math.log(2.0), 0.0])
    np.testing.assert_array_equal(grad(lambda a: 0.0**a)(np.array([0.0, 1.0])), [0.0, 0.0])
    np.testing.assert_allclose(grad(lambda a: 2.0**a)(np.array([0.0, 3.0])), [math.log(2.0), 8 * math.log(2.0)])


def test_functions_of_scipy():
    x = np.linspace(-4.0, 4.0, 33)
    values, slopes = jvp(lambda v: (special.erf(v), special.expit(v)), (x,), (1.0,))
    np.testing.assert_allclose(values, [special.erf(x), special.expit(x)], rtol=1e-15)
    np.testing.assert_allclose(slopes[0], 2 / math.sqrt(math.pi) * np.exp(-x * x), rtol=1e-15)
    np.testing.assert_allclose(slopes[1], special.expit(x) * special.expit(-x), rtol=1e-13)


def test_extrema_share_ties_and_pass_nan_on():
    x, y = np.array([1.0, 2.0, 2.0, np.nan, 1.0]), np.array([2.0, 1.0, 2.0, 1.0, np.nan])
    values, (larger, smaller, size) = jvp(
        lambda a, b: (np.maximum(a, b), np.minimum(a, b), abs(a - a)), (x, y), (1.0, 0.0)
    )
    np.testing.assert_array_equal(values[0], np.maximum(x, y))
    np.testing.assert_array_equal(values[1], np.minimum(x, y))
    np.testing.assert_array_equal(larger, [0.0, 1.0, 0.5, 0.0, 0.0])
    np.testing.assert_array_equal(smaller, [1.0, 0.0, 0.5, 0.0, 0.0])
    np.testing.assert_array_equal(size, [0.0, 0.0, 0.0, np.nan, 0.0])


def test_where_gives_the_branch_not_taken_exactly_nothing():
    x = np.array([-1.0, 0.0, 4.0, np.nan])

    def twice(v):  # both sums use sqrt(v), whose derivative is infinite or undefined where neither takes it
        root = np.sqrt(v)
        return np.where(v > 0, root, 0.0) + np.where(v > 1, root * root, -v)

    np.testing.assert_array_equal(grad(lambda v: np.where(v > 0, np.sqrt(v), 2 * v))(x), [2.0, 2.0, 0.25, 2.0])
    np.testing.assert_array_equal(grad(twice)(x), [-1.0, -1.0, 1.25, -1.0])
    np.testing.assert_array_equal(grad(lambda v: np.where(v > 0, v, v))(x), [1.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(grad(lambda v: np.maximum(np.log(v), 0.0))(x), [0.0, 0.0, 0.25, 0.0])


def test_conditions_combine():
    x = np.array([-2.0, -0.5, 0.0, 0.5, 2.0, np.nan, np.inf])

    def pieces(v):
        inside = (v > -1) & (v <= 0.5)
        return (
            np.where(inside, 1.0, 0.0),
            np.where(~inside | (v == 0), 1.0, 0.0),
            np.where((v < 0) ^ (v != -2), 1.0, 0.0),
            np.where(np.isnan(v), 1.0, np.where(np.isinf(v), 2.0, np.where(np.isfinite(v), 3.0, 4.0))),
            np.select([v < -1, v > 1], [-1.0, v], 0.0),
            np.clip(v, -1.0, 1.0),
            np.clip(v, None, 0.25),
            np.where(np.logical_and(v >= 0, np.logical_not(v > 1)), np.ones_like(v), np.zeros_like(v)),
        )

    values, _ = jvp(pieces, (x,), (1.0,))
    inside = (x > -1) & (x <= 0.5)
    np.testing.assert_array_equal(values[0], inside)
    np.testing.assert_array_equal(values[1], ~inside | (x == 0))
    np.testing.assert_array_equal(values[2], (x < 0) ^ (x != -2))
    np.testing.assert_array_equal(values[3], [3.0, 3.0, 3.0, 3.0, 3.0, 1.0, 2.0])
    np.testing.assert_array_equal(values[4], np.select([x < -1, x > 1], [-1.0, x], 0.0))
    np.testing.assert_array_equal(values[5], np.clip(x, -1.0, 1.0))
    np.testing.assert_array_equal(values[6], np.clip(x, None, 0.25))
    np.testing.assert_array_equal(values[7], (x >= 0) & (x <= 1))
