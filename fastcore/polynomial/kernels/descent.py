"""Local methods for P(x) = 0 from a starting point: gradient descent on P**2 / 2, and damped Newton.

Both may end at a critical point of P, where the gradient is 0 and no solution is near: on random problems every fifth
time. They never leave the domain, and the value at the answer is the least that was seen.
"""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.monotone import HIDDEN, LARGEST, TOP, exact_steps, taylor

# Newton's steps converge from where |P P''| <= P'**2 / 2 (Kantorovich); descent hands over with this much to spare.
HANDOVER = 0.25
ARMIJO = 1e-4
FIRST_STEP = 0.1  # of 1 + abs(x): the gradient says nothing about how far to go before there are two of it
LONGEST_GROWTH = 4.0  # of a step over the last one, where the curvature of P**2 is negative
HALVINGS = 60


@kernel
def is_near(value, slope, curvature):
    """Whether Newton's steps converge from here."""
    return abs(value / slope) * abs(curvature / slope) * 2.0 <= HANDOVER


@kernel
def backtracked(heads, degree, x, step, value, decrease, low, high, tries):
    """The first of step, step / 2, step / 4, ... after which abs(value) is less, by Armijo's rule.

    decrease : what the squared value, relative to the one at x, falls by at least for the whole step, to first order,
        times ARMIJO
    tries : steps at most

    Returns
    -------
    x, evaluations : the old x where no step is short enough
    """
    for halving in range(tries):
        following = min(max(x + step, low), high)
        if following == x:
            return x, halving
        there, _, _, _ = taylor(heads, TOP, degree, following)
        share = there / value
        if share * share <= 1.0 - decrease:
            return following, halving + 1
        step *= 0.5
        decrease *= 0.5
    return x, tries


@kernel
def descend(heads, tails, degree, x, low, high, newton, tolerance, limit):
    """From x to a zero of the polynomial, or to where the method gets stuck.

    Parameters
    ----------
    heads, tails : the polynomial, in the first degree + 1 elements
    x, low, high : float64, low <= x <= high
    newton : whether all steps are Newton's, halved until the value falls; otherwise they follow the gradient of
        P**2 / 2 with Barzilai and Borwein's length (1988, eq. 5), which in one dimension is the secant of the gradient,
        under Armijo's rule, until Newton's steps converge
    tolerance : of the last step, relative to abs(x)
    limit : evaluations at most

    Returns
    -------
    x, iterations : evaluations
    """
    unit = 0.0
    last_x = last_gradient = 0.0
    iterations = 0
    while iterations < limit:
        value, slope, curvature, scale = taylor(heads, TOP, degree, x)
        iterations += 1
        if not abs(value) > min(HIDDEN * scale, LARGEST) or is_near(value, slope, curvature):
            rises = slope > 0.0
            if iterations == limit:
                return x, iterations
            x, _, more = exact_steps(heads, tails, TOP, degree, low, high, rises, x, tolerance, limit - iterations)
            return x, iterations + more
        if newton:
            step = -value / slope
            decrease = 2.0 * ARMIJO
        else:
            if unit == 0.0:
                unit = abs(value)
            gradient = (value / unit) * (slope / unit)
            moved, bent = x - last_x, gradient - last_gradient
            if iterations == 1:
                step = -np.sign(gradient) * FIRST_STEP * (1.0 + abs(x))
            elif moved * bent > 0.0:
                step = -gradient * (moved / bent)
            else:
                step = -np.sign(gradient) * LONGEST_GROWTH * abs(moved)
            last_x, last_gradient = x, gradient
            decrease = 2.0 * ARMIJO * abs(step * slope / value)
        if not abs(step) < np.inf:
            return x, iterations
        tries = min(limit - iterations, HALVINGS)
        following, more = backtracked(heads, degree, x, step, value, min(decrease, 0.5), low, high, tries)
        iterations += more
        if following == x:
            return x, iterations
        x = following
    return x, iterations
