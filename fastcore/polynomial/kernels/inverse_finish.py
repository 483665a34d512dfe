"""One answer of an inverse, by safeguarded steps in a bracket: where the table does not tell, and outside of it."""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, call_by_address
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.error_free import UNIT, two_sum
from fastcore.polynomial.kernels.inverse import (
    HIGH,
    LOW,
    NARROW,
    ROUNDING,
    X_BACK,
    X_SCALE,
    Y_BACK,
    Y_SCALE,
    YTOL,
)
from fastcore.polynomial.kernels.inverse_sections import AT, BAND, CRITICAL, CUT, TAIL, VALUE
from fastcore.polynomial.kernels.monotone import LARGEST, compensated, taylor

__all__ = ["ANSWER"]


@kernel(fastmath=False)
def first_guess(c, section, y):
    """Where the parabola at the nearer end of the section has the value y."""
    end = 0 if y - section[VALUE] < section[VALUE + 1] - y else 1
    x, other = section[AT + end], section[AT + 1 - end]
    _, slope, curvature, _ = taylor(c, 0, c.size - 1, x)
    distance = abs(y - section[VALUE + end])
    if abs(x) == LARGEST or not distance < LARGEST:
        return 0.5 * x + 0.5 * other
    root = np.sqrt(slope * slope + 4.0 * abs(curvature) * distance)
    step = 2.0 * distance / (abs(slope) + root)
    return x + step if other > x else x - step


@kernel(fastmath=False)
def judged(c, tails, x, unit):
    """(|P(x)|, bound): compensated, and what rounding of x by unit * |x| and of the value contribute."""
    value, slope, size = compensated(c, tails, 0, c.size - 1, x)
    _, _, curvature, _ = taylor(c, 0, c.size - 1, x)
    step = unit * abs(x)
    squares = (4.0 * c.size * UNIT) * (c.size * UNIT)
    bound = step * (abs(slope) + step * abs(curvature)) + 2.0 * UNIT * abs(value) + squares * size
    return abs(value), bound


def answer(c, sections, settings, y, guess, heads, tails, result, solver):
    """x, residual, bound, iterations and status of one finite y, unscaled, into result (5,).

    Parameters
    ----------
    c (n,), sections : `lay_sections`
    settings : of inverse.py
    guess : where to look first, if in the bracket
    heads, tails : (n,) float64, scratch
    solver : address of `search`
    """
    y = min(max(y * settings[Y_SCALE], -LARGEST), LARGEST)
    number = 0
    while number + 1 < sections.shape[0] and y > sections[number + 1, CUT]:
        number += 1
    section = sections[number]
    inside = section[VALUE] <= y <= section[VALUE + 1]
    nearer = 0 if y - section[VALUE] < section[VALUE + 1] - y else 1
    heads[:] = c
    tails[:] = 0.0
    heads[0], tails[0] = two_sum(c[0], -y)
    iterations = 0.0
    a, b = min(section[AT], section[AT + 1]), max(section[AT], section[AT + 1])
    x = section[AT + nearer]
    if inside and a < b and y != section[VALUE + nearer]:
        first = guess * settings[X_SCALE]
        if not a < first < b:
            first = first_guess(c, section, y)
        if not a < first < b:
            first = 0.5 * a + 0.5 * b
        call_by_address(solver, (heads, tails, a, b, section[AT] < section[AT + 1], first, result))
        x, iterations = result[0], result[1]
    x = min(max(x, settings[LOW]), settings[HIGH])
    wide = x * settings[NARROW]
    x = wide - (wide - x) if abs(wide) < np.inf else x
    residual, bound = judged(heads, tails, x, settings[ROUNDING])
    if not inside or y == section[VALUE + nearer]:
        bound = max(bound, section[BAND + nearer])
    reached = status.MAX_ITERATIONS if inside else status.NO_REAL_SOLUTION
    # A tolerance makes no solution of the end of the range: only rounding does.
    if residual <= (max(settings[YTOL], bound) if inside else bound) and bound < np.inf:
        reached = status.CONVERGED if inside else status.TOUCHING
    distance = abs(y - section[VALUE + nearer] - section[TAIL + nearer])
    if section[CRITICAL + nearer] != 0.0 and distance <= section[BAND + nearer]:
        bound = max(bound, section[BAND + nearer])
        reached = status.TOUCHING
    result[0], result[1], result[2] = x * settings[X_BACK], residual * settings[Y_BACK], bound * settings[Y_BACK]
    result[3], result[4] = min(iterations, 127.0), reached


_F64 = types.float64
_READ, _VECTOR = types.Array(_F64, 1, "C", readonly=True), types.Array(_F64, 1, "C")
_SECTIONS = types.Array(_F64, 2, "C", readonly=True)
ANSWER = Direct(answer, types.void(_READ, _SECTIONS, _READ, _F64, _F64, _VECTOR, _VECTOR, _VECTOR, types.int64))
