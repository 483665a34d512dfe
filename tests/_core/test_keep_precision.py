"""Scalar functions of users whose arithmetic stays in the type of their first argument."""

import math
import operator

import numpy as np
import pytest
from numba import config, njit

from fastcore._core.jit import user_kernel

TABLE = np.array([0.5, 0.25])
FACTOR = 0.1


def sloped(score, h, i, j):
    return score - TABLE[h] * abs(i - j) + FACTOR / 3


def powered(score, h, i, j):
    score += 2.0 ** (-(h + 1)) * i
    score *= 3
    return (score**2 + score**0.5) / (1 + j)


def whole_numbers(score, h, i, j):
    distance = (i - j) * 3 + 7 // 2
    distance += h
    return score + distance % 5 + i**2


def of_quotients(score, h, i, j):
    return score * (i / 3) + math.exp(j / 7)


@pytest.mark.skipif(config.DISABLE_JIT, reason="what Numba makes of types")
@pytest.mark.parametrize("function", [sloped, powered, whole_numbers, of_quotients])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_user_kernel_scalar_stays_in_the_type_of_its_first_argument(function, kind):
    compiled = user_kernel(function, scalar=True)
    got = compiled(kind(2.5), 1, 11, 40)
    assert compiled.nopython_signatures[0].return_type.name == np.dtype(kind).name
    np.testing.assert_allclose(got, function(2.5, 1, 11, 40), rtol=5 * np.finfo(kind).eps)


@pytest.mark.skipif(config.DISABLE_JIT, reason="what Numba makes of types")
def test_user_kernel_scalar_leaves_other_types_alone():
    @njit
    def parts(x):
        return x + 1, x

    def function(score, h, i, j):
        both = parts(score)
        names = "a" + "b"
        together = both + both
        return both[0] + len(names) + together[3] if operator.lt(i, j) else both[1]

    compiled = user_kernel(function, scalar=True)
    assert compiled(np.float32(1.5), 0, 2, 3) == 2.5 + 2 + 1.5


def test_user_kernel_division_by_zero_gives_infinity():
    if config.DISABLE_JIT:
        pytest.skip("Python raises")
    compiled = user_kernel(lambda score, h, i, j: score / (i - j), scalar=True)
    assert compiled(np.float32(1.0), 0, 2, 2) == np.inf
