"""Coefficients of derivatives, to twice the precision."""

from functools import lru_cache
from math import perm

import numpy as np
from numba import types

from fastcore._core.work import Direct
from fastcore.polynomial.kernels.error_free import UNIT, two_product

__all__ = ["exact_derivative", "falling_factorials"]


@lru_cache(maxsize=256)
def falling_factorials(count: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """(high, low) of k! / (k - order)! for order <= k < count, infinite where they leave float64's range."""
    exact = [perm(k, order) for k in range(order, count)]
    high = np.array([float(each) if each < 2**1023 else np.inf for each in exact])
    low = np.array([float(each - int(near)) if near < np.inf else 0.0 for each, near in zip(exact, high, strict=True)])
    return high, low


def multiply(c, factors, factors_low, order, parts, high, low, slack, compensated):
    """high + low = coefficient times factor; slack as in horner_bounds.py. `parts` numbers a coefficient."""
    size = factors.size * parts
    for start in range(0, high.size // size):
        for k in range(size):
            number = c[start * (size + order * parts) + order * parts + k]
            factor, factor_low = factors[k // parts], factors_low[k // parts]
            if number == 0.0:
                factor = 0.0  # it may be infinite
            product, error = two_product(number, factor)
            rest = number * factor_low
            place = start * size + k
            high[place] = product
            low[place] = error + rest
            # The sum and the rest are rounded where there is a rest, by u of 2 u |product| at most.
            beyond = 4.0 * UNIT * abs(product) if rest != 0.0 else 0.0
            slack[place] = abs(low[place]) * (1.0 if compensated else 1.0 / UNIT * (1.0 + 8.0 * UNIT)) + beyond


_READ, _WRITE = types.Array(types.float64, 1, "C", readonly=True), types.Array(types.float64, 1, "C")
_MULTIPLY = Direct(
    multiply,
    types.void(_READ, _READ, _READ, types.int64, types.int64, _WRITE, _WRITE, _WRITE, types.boolean),
)


def exact_derivative(c: np.ndarray, order: int, compensated: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(high, low, slack) of a derivative's coefficients, flat, as horner_bounds.py takes them.

    c (..., n) contiguous float64 or complex128.
    """
    count = c.shape[-1]
    parts = 2 if c.dtype.kind == "c" else 1
    zeros = np.zeros(parts)
    if order >= count:
        return np.ascontiguousarray(c[..., :1] * 0).reshape(-1).view(np.float64), zeros, zeros
    flat = c.reshape(-1).view(np.float64)
    if order == 0:
        return flat, zeros, zeros
    high, low, slack = np.empty((3, flat.size // count * (count - order)))
    _MULTIPLY.call(flat, *falling_factorials(count, order), order, parts, high, low, slack, compensated)
    return high, low, slack
