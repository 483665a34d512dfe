"""What the solvers return: arrays of one shape, and a status for each answer."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from fastcore.polynomial.kernels import status

__all__ = ["Solution", "Status", "solution_of_arrays"]


class Status(IntEnum):
    """How the search for one solution ended.

    Attributes
    ----------
    CONVERGED : the residual is within its tolerance, or a root's backward error within its bound
    NO_REAL_SOLUTION : there is none (in the domain). Where `solve` gives one answer, it is then the point of least
        |P(x) - y|; elsewhere x is NaN, as it is where an array of answers is padded.
    NOT_FINITE : a coefficient or y is NaN or infinite
    ZERO_POLYNOMIAL : all coefficients are zero (after y is subtracted): every x solves it
    DEGENERATE : the problem has no place for an answer: a root at infinity (leading coefficient 0), the inverse of a
        constant
    TOUCHING : the curve touches y within the rounding error of its values; the exact one may just miss it, or cross it
        twice
    MAX_ITERATIONS : the tolerance was not reached
    """

    CONVERGED = status.CONVERGED
    NO_REAL_SOLUTION = status.NO_REAL_SOLUTION
    NOT_FINITE = status.NOT_FINITE
    ZERO_POLYNOMIAL = status.ZERO_POLYNOMIAL
    DEGENERATE = status.DEGENERATE
    TOUCHING = status.TOUCHING
    MAX_ITERATIONS = status.MAX_ITERATIONS


class Solution(NamedTuple):
    """Answers, and how far each can be trusted. Scalars where the problem was one and its answer is one.

    Attributes
    ----------
    x : (...,) or (..., K) float64 (`roots`: complex128), NaN where there is no answer
    residual : shape of x, float64; |P(x) - y|, evaluated in twice the working precision
    error_bound : shape of x, float64; of `solve` and inverses on the rounding error of P(x) - y as it was judged, of
        `roots` and `real_roots` on the distance between x and a root
    iterations : shape of x, integers
    status : shape of x, int8 of `Status`; `Status` where it is one
    converged : shape of x, bool; status is CONVERGED or TOUCHING
    count : (...,) int64, the answers of each problem, or None where each has just one. x[..., count:] is padding: NaN,
        as are residual and error_bound, with status NO_REAL_SOLUTION. K is the largest count, and at least 1: where
        count is 0, the first slot has the status that says why.
    """

    x: Any
    residual: Any
    error_bound: Any
    iterations: Any
    status: Any
    converged: Any
    count: np.ndarray | int | None = None  # type: ignore[assignment]  # hides tuple.count, as the field's name must


def solution_of_arrays(arrays: Sequence[np.ndarray], shape: tuple[int, ...], count: Any = None) -> Solution:
    """The six arrays of answers, in the fields' order, as a record of this shape."""
    x, residual, error_bound, iterations, state, converged = (each.reshape(shape) for each in arrays)
    return Solution(x, residual, error_bound, iterations, state, converged, count)
