"""Exponents and powers of two through bits; exact_script.py holds vectors and other CPUs to the same."""

from fractions import Fraction

import numpy as np
import pytest

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels import scaling


@kernel
def _exponent(x):
    return scaling.exponent(x)


@kernel
def _scaled(x, k):
    return scaling.scaled(x, k)


@kernel
def _power(k):
    return scaling.power_of_two(k)


@pytest.mark.parametrize("k", [-1074, -1073, -1030, -1023, -1022, -1021, -1, 0, 1, 1023])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_exponent_of_both_ends_of_a_binade(k, sign):
    low = np.ldexp(1.0, k)
    high = np.nextafter(np.ldexp(1.0, k), np.inf) if k < 1023 else np.finfo(float).max
    assert _exponent(sign * low) == k
    assert _exponent(sign * high) == k + (high == np.ldexp(1.0, min(k + 1, 1023)))


def test_exponent_of_what_has_none():
    assert [_exponent(x) for x in (0.0, -0.0)] == [scaling.ZERO_EXPONENT] * 2
    assert [_exponent(x) for x in (np.inf, -np.inf, np.nan)] == [scaling.NOT_FINITE_EXPONENT] * 3


def test_power_of_two_over_the_normal_range():
    assert [_power(k) for k in range(-1022, 1024)] == [2.0**k for k in range(-1022, 1024)]
    assert _power(-1023) == 0.0
    assert _power(1024) == np.inf


def test_scaled_is_exact_in_the_normal_range_whatever_the_shift():
    for x, k in (
        (1.5, 1000),
        (1.5 * 2.0**1000, -2000),
        (-1.1 * 2.0**-1000, 2000),
        (2.0**-1074, 2044),
        (2.0**970, -2044),
    ):
        assert _scaled(x, k) == np.ldexp(x, k)


def test_scaled_out_of_range_is_zero_or_infinite():
    assert _scaled(1.0, -scaling.LARGEST_SHIFT) == 0.0
    assert _scaled(-1.0, scaling.LARGEST_SHIFT) == -np.inf
    assert _scaled(0.0, scaling.LARGEST_SHIFT) == 0.0
    assert np.isnan(_scaled(np.nan, 5))


def test_scaled_below_the_normal_range_is_within_one_last_bit(rng):
    x = rng.uniform(1, 2, 100)
    for k in range(-1080, -1020):
        assert abs(_scaled(x[k % 100], k) - np.ldexp(x[k % 100], k)) <= 2.0**-1074


@pytest.mark.parametrize("x", [1.0, -1.75, 2.0**-1074, 1e308])
@pytest.mark.parametrize("e", [-9000, -2098, -1022, 0, 1023, 2097, 9000])
def test_shifted_by_any_power_is_ldexps(x, e):
    with np.errstate(over="ignore"):
        assert scaling.shifted(x, e) == np.ldexp(x, e)


@pytest.mark.parametrize("base", [1.0, 0.7, 3e-310, 1e300])
@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_power_of_any_size_has_an_exponent(base, n):
    m, e = scaling.power_of(base, n)
    assert 1 <= m < 4
    exact = Fraction(base) ** n
    assert abs(Fraction(m) * Fraction(2) ** e - exact) <= (n + 1) * Fraction(1, 2**53) * exact
