"""Solving P(x) = y in plain NumPy: one polynomial, one y; coefficients ascend."""

import itertools

import numpy as np
from numpy.polynomial.polynomial import polyder, polyroots, polyval

__all__ = ["descent_path", "newton_path", "solve"]

HANDOVER = 0.25
ARMIJO = 1e-4
FIRST_STEP = 0.1
LONGEST_GROWTH = 4.0


def solve(c, y=0.0, domain=(-np.inf, np.inf)) -> np.ndarray:
    """All x in the domain with P(x) = y, ascending: by bisection between the critical points.

    Solutions where P touches y count where the value there is exactly y.
    """
    c = np.trim_zeros(np.asarray(c, float), "b")
    shifted = c - y * np.eye(1, len(c))[0]
    bound = 1.0 + np.abs(shifted[:-1] / shifted[-1]).max(initial=0)  # Cauchy's
    low, high = max(domain[0], -bound), min(domain[1], bound)
    critical = polyroots(polyder(c))
    critical = np.sort(critical.real[np.abs(critical.imag) <= 1e-6 * np.abs(critical)])
    points = np.concatenate([[low], critical[(critical > low) & (critical < high)], [high]])
    solutions = list(points[polyval(points, shifted) == 0])
    for a, b in itertools.pairwise(points):
        sign = np.sign(polyval(a, shifted))
        if sign * np.sign(polyval(b, shifted)) < 0:
            solutions.append(_bisect(shifted, a, b, sign))
    return np.unique(solutions)


def _bisect(c, a, b, sign) -> float:
    while a < (x := a + (b - a) / 2) < b:
        a, b = (x, b) if np.sign(polyval(x, c)) == sign else (a, x)
    return x


def newton_path(c, y=0.0, x0=0.0, domain=(-np.inf, np.inf), max_iterations=100) -> np.ndarray:
    """The iterates of `fastcore.polynomial.solve(..., method="newton")` up to rounding, x0 first.

    A step is halved until |P - y| falls.
    """
    return _path(c, y, x0, domain, max_iterations, newton=True)


def descent_path(c, y=0.0, x0=0.0, domain=(-np.inf, np.inf), max_iterations=100) -> np.ndarray:
    """The iterates of `fastcore.polynomial.solve(..., method="descent")` up to rounding, x0 first.

    Down the gradient of (P - y)**2 / 2 by Barzilai and Borwein's steps (1988, eq. 5), under Armijo's rule, until
    Newton's converge (Kantorovich).
    """
    return _path(c, y, x0, domain, max_iterations, newton=False)


def _path(c, y, x0, domain, max_iterations, newton) -> np.ndarray:
    c = np.asarray(c, float)
    x = float(np.clip(x0, *domain))
    unit = abs(polyval(x, c) - y)
    path = [x]
    last_x = last_gradient = np.nan
    while len(path) < max_iterations:
        value, slope, curvature = polyval(x, c) - y, polyval(x, polyder(c)), polyval(x, polyder(c, 2)) / 2
        rounding = np.finfo(float).eps * len(c) * (polyval(abs(x), np.abs(c)) + abs(y))
        near = 2.0 * abs(value * curvature) <= HANDOVER * slope**2
        if slope == 0 or abs(value) <= rounding:
            break
        if newton or near:
            step = -value / slope
        else:
            gradient = (value / unit) * (slope / unit)
            moved, bent = x - last_x, gradient - last_gradient
            if len(path) == 1:
                step = -np.sign(gradient) * FIRST_STEP * (1.0 + abs(x))
            elif moved * bent > 0.0:
                step = -gradient * moved / bent
            else:
                step = -np.sign(gradient) * LONGEST_GROWTH * abs(moved)
            last_x, last_gradient = x, gradient
        following = _backtracked(c, y, x, step, value, slope, domain)
        if following == x:
            break
        x = following
        path.append(x)
    return np.array(path)


def _backtracked(c, y, x, step, value, slope, domain) -> float:
    """The first of step, step / 2, ... to fulfil Armijo's rule for the squared value; x where none does."""
    decrease = min(2.0 * ARMIJO * abs(step * slope / value), 0.5)
    for _ in range(60):
        following = float(np.clip(x + step, *domain))
        if ((polyval(following, c) - y) / value) ** 2 <= 1.0 - decrease:
            return following
        step, decrease = step / 2, decrease / 2
    return x
