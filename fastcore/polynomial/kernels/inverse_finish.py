"""One answer of an inverse, by safeguarded steps in a bracket: where the table does not tell, and outside of it."""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.error_free import UNIT, two_sum
from fastcore.polynomial.kernels.inverse_sections import AT, BAND, CRITICAL, CUT, TAIL, VALUE
from fastcore.polynomial.kernels.monotone import LARGEST, compensated, find_root, taylor

__all__ = ["answer"]


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
def rounded_to(x, narrow, low, high):
    """x in [low, high], as float32 where `narrow`."""
    x = min(max(x, low), high)
    return np.float64(np.float32(x)) if narrow else x


@kernel(fastmath=False)
def judged(c, tails, x, unit):
    """(|P(x)|, bound): compensated, and what rounding of x by unit * |x| and of the value contribute."""
    value, slope, size = compensated(c, tails, 0, c.size - 1, x)
    _, _, curvature, _ = taylor(c, 0, c.size - 1, x)
    step = unit * abs(x)
    squares = (4.0 * c.size * UNIT) * (c.size * UNIT)
    bound = step * (abs(slope) + step * abs(curvature)) + 2.0 * UNIT * abs(value) + squares * size
    return abs(value), bound


@kernel(fastmath=False)
def answer(c, sections, y, guess, ytol, unit, narrow, low, high, heads, tails):
    """(x, residual, bound, iterations, status), all scaled as c is.

    Parameters
    ----------
    c (n,), sections : `lay_sections`
    guess : where to look first, if in the bracket
    ytol : a residual that is good enough
    unit : the largest relative rounding error of x that counts as none
    narrow : whether x is rounded to float32
    low, high : of the domain
    heads, tails : (n,) float64, scratch
    """
    number = 0
    while number + 1 < sections.shape[0] and y > sections[number + 1, CUT]:
        number += 1
    section = sections[number]
    end = 0 if y < section[VALUE] or not y <= section[VALUE + 1] else 1
    if y > section[VALUE + 1]:
        end = 1
    heads[:] = c
    tails[:] = 0.0
    heads[0], rest = two_sum(c[0], -y)
    tails[0] = rest
    inside = section[VALUE] <= y <= section[VALUE + 1]
    iterations = 0
    a, b = min(section[AT], section[AT + 1]), max(section[AT], section[AT + 1])
    if inside and a < b:
        rises = section[AT] < section[AT + 1]
        if not a < guess < b:
            guess = first_guess(c, section, y)
        if not a < guess < b:
            guess = 0.5 * a + 0.5 * b
        x, _, iterations = find_root(heads, tails, 0, c.size - 1, a, b, rises, guess, 2.0**-50, 300)
    else:
        x = section[AT + end]
    x = rounded_to(x, narrow, low, high)
    residual, bound = judged(heads, tails, x, unit)
    nearer = 0 if y - section[VALUE] < section[VALUE + 1] - y else 1
    distance = abs(y - section[VALUE + nearer] - section[TAIL + nearer])
    if section[CRITICAL + nearer] != 0.0 and distance <= section[BAND + nearer]:
        return x, residual, max(bound, section[BAND + nearer]), iterations, status.TOUCHING
    if not inside:
        bound = max(bound, section[BAND + end])
    if residual <= max(ytol, bound):
        return x, residual, bound, iterations, status.CONVERGED
    return x, residual, bound, iterations, status.MAX_ITERATIONS if inside else status.NO_REAL_SOLUTION
