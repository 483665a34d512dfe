"""All distinct real roots."""

from typing import Any

import numpy as np

from fastcore._core import validate_polynomial as check
from fastcore.polynomial.kernels.real_batch import real_roots_of_rows
from fastcore.polynomial.record import Solution, solution_of_arrays

__all__ = ["real_roots"]

_FLOAT64 = np.dtype(np.float64)
_ndarray = np.ndarray


def real_roots(c: Any, domain: Any = None) -> Solution:
    """The distinct real roots of polynomials, ascending, each with a bound on its error.

    Parameters
    ----------
    c : (..., n) real numbers, n >= 1 coefficients ascending along the last axis; for the other order pass c[..., ::-1].
        Anything but C-contiguous float64 is converted.
    domain : (low, high), optional; only roots in this closed interval, whose ends may be infinite. A root counts as
        what float64 it rounds to.

    Returns
    -------
    Solution of arrays (..., K), K the largest count and at least 1, padded with NaN of status NO_REAL_SOLUTION, and

    count : (...,) int64, or int for one polynomial: the number of its roots, a multiple one counted once
    error_bound : radius of a disc around x that holds a root
    residual : |P(x)|, evaluated in twice the precision; infinite beyond float64's range
    status : CONVERGED, the backward error |P(x)| / sum |c_k x**k| is at most 4 d 2**-53, d the degree, or else
        MAX_ITERATIONS; TOUCHING, P has the same sign on both sides, and x within the same bound: an even multiplicity,
        or two roots or none; DEGENERATE, a root beyond the largest float64, x = inf or -inf. Without a root, in the
        first slot: NO_REAL_SOLUTION, ZERO_POLYNOMIAL, NOT_FINITE.

    Raises
    ------
    ValueError : c has no coefficients; domain is not low <= high
    TypeError : complex numbers, or none at all

    Notes
    -----
    Changes of sign that double-double arithmetic can tell are told apart: of coefficients rounded to float64, roots
    meant to be double are often two at a distance of 1e-8, or TOUCHING.

    Sources: Collins and Loos 1976, "Polynomial real root isolation by differentiation"; Graillat, Langlois and Louvet
    2009 for the evaluation.
    """
    coefficients = c if type(c) is _ndarray and c.dtype is _FLOAT64 else check.coefficients(c)
    if coefficients.ndim == 0 or coefficients.shape[-1] == 0 or not coefficients.flags.c_contiguous:
        coefficients = check.coefficients(c)
    low, high = check.interval(domain)
    shape = coefficients.shape[:-1]
    rows = coefficients.reshape(-1, coefficients.shape[-1])
    x, residual, bound, evaluations, status, converged, counts = real_roots_of_rows(rows, low, high)
    if not shape:
        return Solution(x[0], residual[0], bound[0], evaluations[0], status[0], converged[0], int(counts[0]))
    answers = (x, residual, bound, evaluations, status, converged)
    return solution_of_arrays(answers, (*shape, x.shape[1]), counts.reshape(shape))
