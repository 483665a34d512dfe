"""Vector functions of two numbers against mpmath and NumPy, and rounding against NumPy.

test_simd_targets.py runs this file again for AVX2, for plain x86-64 and with the JIT disabled.
"""

import mpmath
import numpy as np
import pytest

from fastcore._core import simd
from tests._core.simd_arrays import native, of_two

INF, NAN = np.inf, np.nan


def pairs(dtype):
    """Two numbers of any size, of like size, and of a base with an exponent that keep their power finite."""
    rng = np.random.default_rng(10)
    top = 60 if dtype == np.float32 else 500
    x = np.exp2(rng.uniform(-2 * top, 2 * top, 2000)) * rng.choice([-1, 1], 2000)
    y = np.concatenate([np.exp2(rng.uniform(-2 * top, 2 * top, 1000)), np.abs(x[1000:]) * rng.uniform(0.1, 9, 1000)])
    y *= rng.choice([-1, 1], 2000)
    base = np.exp2(rng.uniform(-3, 3, 2000))
    exponent = rng.uniform(-top, top, 2000) / 3
    return np.concatenate([x, base]).astype(dtype), np.concatenate([y, exponent]).astype(dtype)


BINARY = {
    # NumPy's function, mpmath's, and the bounds
    "arctan2": (np.arctan2, mpmath.atan2, 2.0),
    "hypot": (np.hypot, mpmath.hypot, 1.2),
    "power": (np.power, mpmath.power, 0.9),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_are_within_their_bound(name, dtype):
    _, in_mpmath, limit = BINARY[name]
    x, y = pairs(dtype)
    if name == "power":
        x, y = np.abs(x[2000:]), y[2000:]
    result = of_two(name, dtype)(x, y)
    with mpmath.workprec(120), np.errstate(over="ignore"):
        exact = [in_mpmath(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        rounded = np.array([float(value) for value in exact]).astype(dtype)
        finite = np.flatnonzero(np.isfinite(rounded))
        error = [float(abs(result[i].item() - exact[i])) / np.spacing(np.abs(rounded[i])).item() for i in finite]
    np.testing.assert_array_equal(np.isinf(result), np.isinf(rounded))
    assert max(error) <= limit + (0.0 if simd.HAS_FMA else 0.4), (x, y, finite[int(np.argmax(error))])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_agree_with_numpy_at_zeros_infinities_and_nan(name, dtype):
    numbers = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, -2.5, 1e30, -1e30, 1e-40, -1e-40, INF, -INF, NAN]
    x, y = (each.ravel() for each in np.meshgrid(np.array(numbers, dtype), np.array(numbers, dtype)))
    result = of_two(name, dtype)(x, y)
    with np.errstate(all="ignore"):
        expected = BINARY[name][0](x, y)
    np.testing.assert_allclose(result, expected, rtol=3 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result[number]), np.signbit(expected[number]))


ROUNDING = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint, "absolute": np.abs}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROUNDING)
def test_rounding_is_that_of_numpy(name, dtype):
    x = np.concatenate([np.arange(-3, 3, 0.25), [0.0, -0.0, INF, -INF, NAN, -NAN, 1e30, -1e30, 2.0**22 + 0.5]])
    x = x.astype(dtype)
    result = native(name, dtype)(x)
    np.testing.assert_array_equal(result, ROUNDING[name](x))
    np.testing.assert_array_equal(np.signbit(result), np.signbit(ROUNDING[name](x)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copysign_takes_the_sign_of_zeros_and_nan(dtype):
    x, y = (each.ravel() for each in np.meshgrid(*2 * [np.array([0.0, -0.0, 1.5, -1.5, INF, -INF, NAN, -NAN], dtype)]))
    result = of_two("copysign", dtype)(x, y)
    np.testing.assert_array_equal(result, np.copysign(x, y))
    np.testing.assert_array_equal(np.signbit(result), np.signbit(y))
