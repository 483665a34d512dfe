"""The inverse of a straight line: one division, corrected by the exact remainder, whatever the sizes of x and y."""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.either import fma
from fastcore.polynomial.kernels.error_free import UNIT, two_sum
from fastcore.polynomial.kernels.monotone import LARGEST

__all__ = ["LINE"]

OVERFLOWS = 2.0**1000  # of y or c_0: halved ten times, their difference does not


@kernel(fastmath=False)
def on_line(y, c0, c1, low, high, single):
    """x, residual, bound and status of one y; see `solve_line`."""
    rounding = 1.25 * 2.0**-23 if single else 3.0 * UNIT
    least = 2.0**-149 if single else 2.0**-1074
    scale = 2.0**-10 if max(abs(y), abs(c0)) > OVERFLOWS else 1.0
    value, constant, slope = y * scale, c0 * scale, c1 * scale
    difference, tail = two_sum(value, -constant)
    exact = min(max(difference / slope, -LARGEST), LARGEST)
    exact += (fma(-exact, slope, difference) + tail) / slope
    x = min(max(exact, low), high) + 0.0
    if single:  # Veltkamp's splitting to 24 bits
        wide = x * (2.0**29 + 1.0)
        x = wide - (wide - x)
    size = abs(x * slope)
    left = abs(fma(-x, slope, difference) + tail)
    limit = rounding * size + 4.0 * UNIT * left + abs(slope) * least
    inside = low <= exact <= high
    if not inside:  # y is the rounded value at the end, perhaps
        limit += 2.0 * UNIT * (abs(value) + abs(constant) + size)
    reached = status.NO_REAL_SOLUTION
    if left <= limit < np.inf:
        reached = status.CONVERGED if inside else status.TOUCHING
    if not abs(y) < np.inf:
        return np.nan, np.nan, np.nan, status.NOT_FINITE
    return x, left / scale, limit / scale, reached


def solve_line(y, c0, c1, low, high, single, x, residual, bound, iterations, statuses, converged):
    """Solve c0 + c1 x = y for each of y.

    Parameters
    ----------
    y (N,) float64; c0, c1 : float64, finite, c1 not 0
    low, high : finite; x is between, to which it is cut
    single : whether x is rounded to float32
    x, residual, bound (N,) float64; iterations, statuses (N,) int8; converged (N,) bool; written
    """
    for i in range(y.size):
        x[i], residual[i], bound[i], reached = on_line(y[i], c0, c1, low, high, single)
        iterations[i] = 0 if reached == status.NOT_FINITE else 1
        statuses[i] = reached
        converged[i] = reached == status.CONVERGED or reached == status.TOUCHING


_F64 = types.float64
_NUMBERS, _BYTES = types.Array(_F64, 1, "C"), types.Array(types.int8, 1, "C")
LINE = Direct(
    solve_line,
    types.void(
        types.Array(_F64, 1, "C", readonly=True),
        *[_F64] * 4,
        types.boolean,
        *[_NUMBERS] * 3,
        *[_BYTES] * 2,
        types.Array(types.boolean, 1, "C"),
    ),
)
