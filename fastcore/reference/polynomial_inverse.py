"""The inverse of a polynomial on an interval, the plain NumPy twin."""

from itertools import pairwise

import numpy as np

__all__ = ["inverse"]

UNIT = 2.0**-53


def inverse(c, domain, *, branch="lowest", ytol=1e-10):
    """A function of y that gives (x, residual, converged): bisection of each monotone piece. The domain is finite."""
    c = np.asarray(c, float)
    low, high = map(float, domain)
    slope = c[1:] * np.arange(1, len(c))
    turns = np.roots(np.trim_zeros(slope, "b")[::-1])
    turns = np.sort(turns.real[np.abs(turns.imag) <= 1e-12 * (1 + np.abs(turns))])
    points = [low, *turns[(low < turns) & (turns < high)], high]
    pieces = list(pairwise(points))
    if isinstance(branch, str):
        order = pieces if branch == "lowest" else pieces[::-1]
    else:
        order = [pieces[branch]]

    def solve(y):
        y = np.asarray(y, float)
        x = np.array([_one(c, order, each) for each in y.ravel()]).reshape(y.shape)
        residual = np.abs(_value(c, x) - y)
        size = _value(np.abs(c), np.abs(x))
        return x, residual, residual <= np.maximum(ytol, 2 * len(c) * UNIT * (size + np.abs(y)))

    return solve


def _value(c, x):
    value = np.zeros_like(x)
    for coefficient in c[::-1]:
        value = value * x + coefficient
    return value


def _one(c, pieces, y):
    if not np.isfinite(y):
        return np.nan
    for a, b in pieces:
        below, above = _value(c, np.array([a, b])) - y
        if below * above <= 0:
            return _bisect(c, a, b, y, above > below)
    ends = np.array(pieces).ravel()
    return ends[np.argmin(np.abs(_value(c, ends) - y))]


def _bisect(c, a, b, y, rises):
    while True:
        x = a + (b - a) / 2
        if not a < x < b:
            return a if abs(_value(c, np.float64(a)) - y) <= abs(_value(c, np.float64(b)) - y) else b
        if (_value(c, np.float64(x)) > y) == rises:
            b = x
        else:
            a = x
