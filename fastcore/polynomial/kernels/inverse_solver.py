"""The two searches of an inverse that the derivative chain makes, compiled once and called by address."""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, call_by_address
from fastcore.polynomial.kernels.derivative_chain import chain_size, critical_points, fill_chain
from fastcore.polynomial.kernels.error_free import two_sum
from fastcore.polynomial.kernels.monotone import LARGEST, find_root

__all__ = ["CRITICAL", "SOLVER", "solution"]

STEP = 2.0**-50  # the last one, relative to x
ITERATIONS = 300


def search(heads, tails, a, b, rises, x, result):
    """x and the iterations of `find_root` into result (2,)."""
    result[0], _, result[1] = find_root(heads, tails, 0, heads.size - 1, a, b, rises, x, STEP, ITERATIONS)


def critical(c, low, high, found):
    """Points in (low, high) that cut it into monotone pieces into found (n,), ascending; how many.

    c (n,), n > 1, finite, the last one not 0.
    """
    degree = c.size - 1
    size = chain_size(degree)
    heads, tails = np.zeros(size), np.zeros(size)
    heads[: degree + 1] = c
    fill_chain(heads, tails, degree)
    return critical_points(heads, tails, degree, low, high, found, np.empty(degree + 1))


@kernel(fastmath=False)
def solution(solver, c, y, a, b, rises, x):
    """Where P is y in [a, b], on which it rises or falls, first looked for at x."""
    heads, tails, result = c.copy(), np.zeros(c.size), np.empty(2)
    heads[0], tails[0] = two_sum(c[0], -y)
    if not a < x < b:
        x = a + 0.5 * (b - a) if b - a <= LARGEST else 0.0
    call_by_address(solver, (heads, tails, a, b, rises, x, result))
    return min(max(result[0], a), b)


_F64 = types.float64
_VECTOR = types.Array(_F64, 1, "C")
SOLVER = Direct(search, types.void(_VECTOR, _VECTOR, _F64, _F64, types.boolean, _F64, _VECTOR))
CRITICAL = Direct(critical, types.int64(types.Array(_F64, 1, "C", readonly=True), _F64, _F64, _VECTOR))
