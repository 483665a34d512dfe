"""P(x) = y of coefficients too far apart, or of a degree too high, for `solve`'s own search: by real roots of P - y.

Their search scales x as well, and takes x beyond 1 as 1 / x, so that nothing overflows.
Such problems are rare: what is not found by kernels is computed exactly, in rational numbers.
"""

import math
from fractions import Fraction

import numpy as np

from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.real_batch import real_roots_of_rows
from fastcore.polynomial.kernels.status import CONVERGED, DEGENERATE, MAX_ITERATIONS, NO_REAL_SOLUTION

__all__ = ["nearest_wide", "solve_wide"]


def solve_wide(
    c: np.ndarray, y: np.ndarray, low: float, high: float, ytol: float
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """(x, residual, error_bound, evaluations, status), each (M, K), ascending, and counts (M,).

    c (M, n) finite, each row of a degree above 0; y (M,) finite. Behind its count a row is padded.
    """
    shifted = c.copy()
    with np.errstate(over="ignore"):
        shifted[:, 0] -= y
    over = np.isinf(shifted[:, 0])
    shifted[over] = 0.5 * c[over]
    shifted[over, 0] -= 0.5 * y[over]
    x, residual, _, evaluations, status, _, counts = real_roots_of_rows(shifted, low, high)
    fine = (np.arange(x.shape[1]) < counts[:, None]) & (status != DEGENERATE)  # those lie beyond the largest float64
    order = np.argsort(~fine, axis=1, kind="stable")
    x, residual, evaluations, status, fine = (
        np.take_along_axis(each, order, 1) for each in (x, residual, evaluations, status, fine)
    )
    for row in np.flatnonzero(y):  # y was rounded into P
        for slot in np.flatnonzero(fine[row]):
            residual[row, slot] = _as_float(_exact_value(c[row], x[row, slot], y[row]))
    bound = _bound(c, y, x)
    # What fails the backward error may be below ytol; not by a bound, as it may be infinite.
    status = np.where(fine & (status == MAX_ITERATIONS) & (residual <= ytol), CONVERGED, status)
    x, residual, bound = (np.where(fine, each, np.nan) for each in (x, residual, bound))
    return (x, residual, bound, np.where(fine, evaluations, 0), np.where(fine, status, NO_REAL_SOLUTION)), fine.sum(1)


def nearest_wide(
    c: np.ndarray, y: np.ndarray, x0: np.ndarray, low: float, high: float, ytol: float
) -> tuple[np.ndarray, ...]:
    """(x, residual, error_bound, evaluations, status), each (M,): the solution nearest to x0 (M,), or, without one, the
    point where |P - y| is least."""
    answers, counts = solve_wide(c, y, low, high, ytol)
    out = tuple(each[:, 0].copy() for each in answers)
    for row, count in enumerate(counts.tolist()):
        start = min(max(x0[row], low), high)
        if count:
            slot = _nearest_slot(answers[0][row, :count], start)
            for target, answer in zip(out, answers, strict=True):
                target[row] = answer[row, slot]
        else:
            best = _least_point(c[row], y[row], start, low, high)
            out[0][row], out[1][row] = best, _as_float(_exact_value(c[row], best, y[row]))
            out[2][row] = _bound(c[row : row + 1], y[row : row + 1], np.array([[best]]))[0, 0]
    return out


def _nearest_slot(x: np.ndarray, x0: float) -> int:
    """Which of x, ascending, is nearest to x0; the lower one of two."""
    above = int(np.searchsorted(x, x0))
    below = above - 1
    # Of neighbours of x0 alone: to others, farther or not, the distances may be rounded to the same.
    return below if above == x.size or (above > 0 and x0 - x[below] <= x[above] - x0) else above


def _bound(c: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """4 d u sum |c_k| |x|**k and what rounding y may do; by logarithms, as powers of x overflow before the sum does."""
    degree = c.shape[1] - 1
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        powers = np.where(np.arange(degree + 1) == 0, 0.0, np.arange(degree + 1) * np.log2(np.abs(x))[..., None])
        terms = np.exp2(np.log2(np.abs(c))[:, None, :] + powers + np.log2(4.0 * degree * UNIT))
        return np.where(np.abs(c)[:, None, :] > 0.0, terms, 0.0).sum(-1) + UNIT * np.abs(y)[:, None] + 2.0**-1073


def _exact_value(c: np.ndarray, x: float, y: float) -> Fraction:
    """|P(x) - y|."""
    # Integers times powers of two: fractions are reduced at each step, which takes seconds of degree 1000.
    factor, step = _integer(x)
    value, exponent = 0, 0
    for coefficient in [*c[:0:-1].tolist(), (float(c[0]), -float(y))]:
        value, exponent = value * factor, exponent + step
        for term in coefficient if isinstance(coefficient, tuple) else (coefficient,):
            digits, power = _integer(term)
            if digits:
                lowest = min(exponent, power) if value else power
                value = (value << max(exponent - lowest, 0)) + (digits << (power - lowest))
                exponent = lowest
    return Fraction(abs(value)) * Fraction(2) ** exponent


def _integer(x: float) -> tuple[int, int]:
    """(m, e): x = m * 2**e."""
    digits, power = math.frexp(x)
    return int(math.ldexp(digits, 53)), power - 53


def _as_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _least_point(c: np.ndarray, y: float, x0: float, low: float, high: float) -> float:
    """The critical point or end of the domain where |P - y| is least."""
    points = [end for end in (low, high) if np.isfinite(end)]
    if c.size > 2:
        share = 2.0 ** -np.ceil(np.log2(c.size))  # so that the products do not overflow
        x, *_, counts = real_roots_of_rows((c[1:] * (np.arange(1, c.size) * share))[None], low, high)
        points += [each for each in x[0, : max(int(counts[0]), 0)].tolist() if np.isfinite(each)]
    return min(points or [x0], key=lambda point: _exact_value(c, point, y))
