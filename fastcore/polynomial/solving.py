"""Solutions of P(x) = y."""

from typing import Any, Literal

import numpy as np

from fastcore._core import validate_polynomial as check
from fastcore._core import validate_polynomial_solving as options
from fastcore.polynomial.kernels import solving as kernels
from fastcore.polynomial.kernels.many_values import LEAST_LIMIT
from fastcore.polynomial.kernels.solving_values import solve_values
from fastcore.polynomial.record import Solution, Status, solution_of_arrays
from fastcore.polynomial.solving_wide import nearest_wide, solve_wide

__all__ = ["solve"]

_EPSILON = 2.0**-52
_XTOL = 4 * _EPSILON
_YTOL = 1e-10
_MAX_ITERATIONS = 100

_FLOAT64 = np.dtype(np.float64)
_STATUSES = tuple(Status(number) for number in range(len(Status)))
_FINE = (_STATUSES[kernels.CONVERGED], _STATUSES[kernels.TOUCHING])
_float64 = np.float64
_NO_TABLE = kernels.NO_TABLE
_WIDE = int(kernels.WIDE)
_LARGEST_INT = 2**53
_MANY = 4  # y with one polynomial, from which on lanes are faster


def solve(
    c: Any,
    y: Any = 0,
    *,
    x0: Any = None,
    domain: Any = None,
    which: Literal["nearest", "all"] = "nearest",
    method: Literal["hybrid", "newton", "descent"] = "hybrid",
    xtol: float = _XTOL,
    ytol: float = _YTOL,
    max_iterations: int = _MAX_ITERATIONS,
) -> Solution:
    """Solve P(x) = y for real x.

    n coefficients, of degree n - 1 or, with leading zeros, less.

    Parameters
    ----------
    c : (..., n) real numbers, ascending: c[..., k] belongs to x**k. Pass c[..., ::-1] where they descend.
    y : real numbers whose shape broadcasts with c.shape[:-1]
    x0 : real numbers whose shape broadcasts with both, optional: near which solution, and where the local methods
        start. Values beyond the domain count as its end; default 0 or, where the domain is without, its end nearest 0.
    domain : (low, high), optional: closed, either end may be infinite. Default all real numbers.
    which : "nearest" to x0, the lower one of two as near; or "all", ascending
    method : "hybrid" finds the solutions asked for, wherever x0 is. The others follow P from x0 alone: they give some
        solution, not the nearest, or get stuck at a critical point (status MAX_ITERATIONS). "newton": steps halved
        until |P - y| falls; on random problems of degree 10 it gets stuck every fifth time. "descent": gradient descent
        on (P(x) - y)**2 / 2 with Barzilai and Borwein's steps under Armijo's rule, handing over to Newton's near a
        solution; stuck every third time.
    xtol : the last step, relative to abs(x); iteration goes on to it past ytol
    ytol : residual up to which, or up to the rounding error of P(x) - y, an answer has converged
    max_iterations : evaluations of P and its derivatives for each answer, at most; those on the way to the critical
        points, which an answer shares with others, and the one that judges it are not counted. The search by
        `real_roots` (see Notes) has a limit of its own.

    Returns
    -------
    Solution of arrays of the broadcast shape; with which="all" (..., K), NaN behind the count of each problem: in all
    slots where that is 0, and the first has the status. One problem with which="nearest" gives scalars. error_bound
    bounds the rounding error of P(x) - y by Horner's rule:
    residual <= max(ytol, error_bound) where an answer has converged; where |P(x)| is beyond float64 both are infinite,
    and it was judged with coefficients scaled by a power of two. Statuses:

    - NO_REAL_SOLUTION: x is, of which="nearest", the point of the domain where |P - y| is least
    - TOUCHING: P comes as near to y as rounding its coefficients once could move it, and may not quite reach it. At an
        end of the domain as near as rounding x, too, could: the solution may be just beyond. An end that hits y exactly
        has CONVERGED.
    - ZERO_POLYNOMIAL: P is y everywhere, x is x0 (of which="all" NaN)
    - NOT_FINITE: a coefficient, y or x0 is NaN, or one of the first two infinite; x is NaN
    - MAX_ITERATIONS: residual > max(ytol, error_bound); x is the best that was found

    Raises
    ------
    ValueError : c has no axis or no coefficients, shapes do not broadcast, an option is out of range; which="all" with
        a local method
    TypeError : c, y or x0 are not real numbers

    Notes
    -----
    The critical points, by the chain of derivatives, cut the line into pieces on which P is monotone. A change of sign
    brackets one solution, found by Halley's and Newton's steps; bisection replaces a step that leaves the bracket or
    does not halve the residual. Signs and last steps are computed in twice the working precision where rounding would
    decide, so that x is within a few units in the last place where the problem's condition is below 1e12.

    Many y of one polynomial are solved in SIMD lanes and may differ from single calls in the last digits; no result
    depends on the number of threads. Coefficients are scaled by powers of two. Where they
    differ by more than 2**250, or the degree is above 40 (of many y of one polynomial: 100), the solutions are
    `real_roots` of P - y, and slower.

    Higham 2002, "Accuracy and Stability of Numerical Algorithms", sec. 5.1; Graillat, Langlois, Louvet 2009,
    "Algorithms for accurate, validated and fast polynomial evaluation".
    """
    if type(c) is list and c and (type(c[0]) is float or type(c[0]) is _float64):
        c = _as_vector(c)
    if (
        type(c) is np.ndarray
        and c.dtype is _FLOAT64
        and c.ndim == 1
        and c.size
        and (type(y) is float or type(y) is _float64 or (type(y) is int and -_LARGEST_INT < y < _LARGEST_INT))
        and x0 is domain is None
        and which == "nearest"
        and method == "hybrid"
        and xtol is _XTOL
        and ytol is _YTOL
        and max_iterations is _MAX_ITERATIONS
        and c.flags.c_contiguous
    ):
        found = kernels.SINGLE.call(
            c, y, 0.0, -np.inf, np.inf, _XTOL, _YTOL, _MAX_ITERATIONS, kernels.HYBRID, _NO_TABLE
        )
        if found[4] != _WIDE:
            return _record(*found)
    return _solve(c, y, x0, domain, which, method, xtol, ytol, max_iterations)


def _as_vector(c: list) -> Any:
    """A list of floats as an array; what is none as it came, for the general way to complain of."""
    try:
        return np.array(c)
    except ValueError:
        return c


def _record(x: float, residual: float, error_bound: float, iterations: int, status: int) -> Solution:
    state = _STATUSES[status]
    return Solution(_float64(x), _float64(residual), _float64(error_bound), iterations, state, state in _FINE)


def _solve(
    c: Any, y: Any, x0: Any, domain: Any, which: Any, method: Any, xtol: Any, ytol: Any, max_iterations: Any
) -> Solution:
    """The general way."""
    c, y = check.coefficients(c), check.values(y)
    low, high = check.interval(domain)
    x0 = np.float64(0.0) if x0 is None else check.values(x0, "x0")
    number = options.method(
        method, which, {"hybrid": kernels.HYBRID, "newton": kernels.NEWTON, "descent": kernels.DESCENT}
    )
    xtol, ytol = options.tolerance(xtol, "xtol"), options.tolerance(ytol, "ytol")
    limit = options.max_iterations(max_iterations)
    shape = options.common_shape(c, y, x0)
    if shape == () and which == "nearest":
        start = float(x0)
        one = kernels.SINGLE.call(c, float(y), start, low, high, xtol, ytol, limit, number, _NO_TABLE)
        if one[4] == _WIDE:
            found = nearest_wide(c[None], np.array([float(y)]), np.array([start]), low, high, ytol)
            one = tuple(each[0].item() for each in found)
        return _record(*one)
    every = which == "all"
    is_hybrid = number == kernels.HYBRID and limit >= LEAST_LIMIT
    if c.ndim == 1 and x0.ndim == 0 and y.size >= _MANY and is_hybrid and not every:
        found = solve_values(c, np.ascontiguousarray(y).ravel(), float(x0), low, high, xtol, ytol, limit)
        if found is not None:
            wide = np.flatnonzero(found[4] == _WIDE)
            if wide.size:
                rows = np.broadcast_to(c, (wide.size, c.size))
                near = np.full(wide.size, x0)
                _put_wide(found, None, wide, 1, False, rows, y.reshape(-1)[wide], near, low, high, ytol)
            return solution_of_arrays(found, shape)
    table = c.reshape(-1, c.shape[-1])
    rows = np.arange(len(table)).reshape(c.shape[:-1])
    rows, y, x0 = (_spread(each, shape) for each in (rows, y, x0))
    slots = max(c.shape[-1] - 1, 1) if every else 1
    out, counts = kernels.solve_many(table, rows, y, x0, low, high, xtol, ytol, limit, number, slots, every)
    wide = np.flatnonzero(out[4][::slots] == _WIDE)
    if wide.size:
        _put_wide(out, counts, wide, slots, every, table[rows[wide]], y[wide], x0[wide], low, high, ytol)
    if not every:
        return solution_of_arrays(out, shape)
    largest = max(int(counts.max(initial=0)), 1)
    trimmed = [each.reshape(*shape, slots)[..., :largest].copy() for each in out]
    return solution_of_arrays(trimmed, (*shape, largest), counts.reshape(shape) if shape else int(counts[0]))


def _put_wide(
    out: tuple[np.ndarray, ...],
    counts: Any,
    wide: np.ndarray,
    slots: int,
    every: bool,
    c: np.ndarray,
    y: np.ndarray,
    x0: np.ndarray,
    low: float,
    high: float,
    ytol: float,
) -> None:
    """Write the answers to the problems `wide`, which kernels.solve_many left out."""
    if every:
        answers, counts[wide] = solve_wide(c, y, low, high, ytol)
        columns = min(slots, answers[0].shape[1])
        for target, answer in zip(out, answers, strict=False):
            target.reshape(-1, slots)[wide, :columns] = answer[:, :columns]
    else:
        for target, answer in zip(out, nearest_wide(c, y, x0, low, high, ytol), strict=False):
            target[wide] = answer
    out[5][:] = (out[4] == kernels.CONVERGED) | (out[4] == kernels.TOUCHING)


def _spread(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x broadcast, as a vector."""
    if x.shape != shape:
        x = np.broadcast_to(x, shape)
    return np.ascontiguousarray(x).reshape(-1)
