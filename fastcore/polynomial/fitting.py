"""Least-squares fits of polynomials."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev

from fastcore._core import validate_polynomial_fit as check
from fastcore._core.warn import warn
from fastcore.polynomial.general_fit import Solved, fit_chebyshev, fit_complex, fit_powers, power_of_two_above, widened
from fastcore.polynomial.kernels.moments import Mapping, extent, moments, residuals
from fastcore.polynomial.kernels.normal_equations import SOLVE_NORMAL

__all__ = ["Fit", "fit"]

_FLOAT64 = np.dtype(np.float64)
_ndarray = np.ndarray

# Of the Gram matrix with a unit diagonal; that of the basis is its root. Beyond, its smallest eigenvalue has less than
# five digits, and a step of refinement wins less than four: QR then.
LARGEST_CONDITION = 1e11
# Of that condition times the columns. Up to here the normal equations reproduce a polynomial to 2e-14 of its largest
# value (degree 30, uniform points), at degree 50 to 6e-14, normally distributed points to 1e-11. A step makes it 1e-14.
LARGEST_LOSS = 1000.0
# Coefficients up to which Jacobi's rotations are faster than LAPACK.
LARGEST_SMALL = 20
# Coefficients beyond: the values are scaled by a power of two, so that squares of errors keep clear of float64's ends.
LARGEST_COEFFICIENT = 2.0**300


class Fit(NamedTuple):
    """A polynomial, and how well it is determined.

    Attributes
    ----------
    polynomial : numpy.polynomial.Chebyshev on the domain; a tuple of K for y of shape (N, K)
        `polynomial(x)` evaluates it; `polynomial.convert(kind=numpy.polynomial.Polynomial).coef` are the coefficients
        of the powers of x, ascending, as `polyval` takes them.
    residual : float, or (K,) float64; sum of (w * (y - p(x)))**2
    rank : int; of the basis at the (weighted) points, degree + 1 unless they are too few or too close
    condition : float; ratio of the largest and the smallest singular value of that basis with its columns scaled to
        length 1, as numpy.polynomial does; inf where there are fewer points than columns
    """

    polynomial: Any
    residual: Any
    rank: int
    condition: float


def fit(x: Any, y: Any, degree: Any, *, weights: Any = None, domain: Any = None) -> Fit:
    """Fit a polynomial by least squares: the one of least sum of (weights * (y - p(x)))**2.

    Parameters
    ----------
    x : (N,) numbers, in any order
    y : (N,) numbers, or (N, K): K fits at the same points, which share the work on x
    degree : int, or a list of the degrees of the powers of x that the polynomial may have
    weights : (N,) real numbers, optional; they multiply errors, not their squares: 1 / sigma for a known deviation
    domain : (low, high), optional; the interval mapped to [-1, 1]. Default: smallest and largest x

    Returns
    -------
    Fit, a record of polynomial, residual, rank and condition

    Raises
    ------
    ValueError : NaN or inf in x, y or weights; negative degree; domain is not an interval, or far from x
    TypeError : not numbers; degree is not an integer
    InvalidParameterError : lengths or axes disagree, no points; both a ValueError, and numpy.polynomial's TypeError

    Warns
    -----
    numpy.exceptions.RankWarning : the points do not determine the polynomial; the answer is the one of least norm

    Notes
    -----
    Same as `numpy.polynomial.Chebyshev.fit`, with listed degrees as `numpy.polynomial.polynomial.polyfit`. All is
    computed in float64; x and weights that are not C-contiguous float64 are copied once, y of float64 never.

    Source: Clenshaw and Hayes 1965, "Curve and surface fitting", for the basis; Bjorck 1987, "Stability analysis of the
    method of seminormal equations", for their correction. The inner products of the Chebyshev basis are sums of T_k(x),
    k <= 2 degree, so the normal equations take one read of the data. Their condition is checked: where it is high the
    errors y - p(x) are fitted once more, or twice; where it is too high a QR decomposition block by block takes over.
    The residual is summed from errors in another read, since from moments nothing would be left of that of a good fit.
    One thread and many give the same bits.

    Complex x, and degrees with gaps, are always solved by QR: about as fast as numpy.polynomial.
    """
    if not (
        type(x) is type(y) is _ndarray
        and x.dtype is y.dtype is _FLOAT64
        and x.ndim == y.ndim == 1
        and x.size == y.size > 0
        and x.flags.c_contiguous
        and y.flags.c_contiguous
        and x.flags.aligned
        and y.flags.aligned
        and weights is None
        and type(degree) is int
        and degree >= 0
    ):
        return _general(x, y, degree, weights, domain)
    ends, solved = _fit_rows(x, y.reshape(1, -1), None, degree, domain)
    _warn_of_rank(solved, degree + 1)
    return Fit(Chebyshev(solved.series[0], domain=ends), float(solved.squares[0]), solved.rank, solved.condition)


def _general(x: Any, y: Any, degree: Any, weights: Any, domain: Any) -> Fit:
    """Input of any kind."""
    degree = check.degrees(degree)
    x = check.points(x, "x", (1,))
    y = check.points(y, "y", (1, 2))
    if weights is not None:
        weights = np.require(check.points(weights, "weights", (1,)), requirements=["C", "A"])
    check.same_length(x, y, weights)
    x, rows = np.require(x, requirements=["C", "A"]), np.require(y, requirements=["A"]).reshape(len(x), -1).T
    size = degree + 1 if isinstance(degree, int) else len(degree)
    if x.dtype.kind == "c" or not isinstance(degree, int):
        check.all_finite(x, y, weights)
        general = fit_complex if isinstance(degree, int) else fit_powers
        ends, solved = general(x, rows, weights, degree, domain)
    elif y.dtype.kind == "c":
        check.all_finite(x, y, weights)  # before the columns become those of real and imaginary parts, fitted alone
        ends, solved = _fit_rows(x, np.concatenate([rows.real, rows.imag]), weights, degree, domain)
        real, imaginary = np.split(solved.series, 2)
        squares = solved.squares.reshape(2, -1).sum(axis=0)
        solved = solved._replace(series=real + 1j * imaginary, squares=squares)
    else:
        ends, solved = _fit_rows(x, rows, weights, degree, domain)
    _warn_of_rank(solved, size, 1)
    polynomials = tuple(Chebyshev(each, domain=ends) for each in solved.series)
    if y.ndim == 2:
        return Fit(polynomials, solved.squares, solved.rank, solved.condition)
    return Fit(polynomials[0], float(solved.squares[0]), solved.rank, solved.condition)


def _warn_of_rank(solved: Solved, size: int, deeper: int = 0) -> None:
    if solved.rank != size:
        warn("The fit may be poorly conditioned", np.exceptions.RankWarning, stacklevel=3 + deeper)


def _fit_rows(
    x: np.ndarray, rows: np.ndarray, weights: np.ndarray | None, degree: int, domain: Any
) -> tuple[list[float], Solved]:
    """x (N,), rows (K, N) of any strides, weights (N,) or None: float64. The domain, and what was found."""
    low, high = extent(x) if domain is None else check.domain_of_fit(domain)
    if domain is None and not (math.isfinite(low) and math.isfinite(high)):
        check.all_finite(x, rows.T, weights)
    if low == high:
        low, high = widened(low)
    # numpy.polynomial.polyutils.mapparms: u is what the polynomial will compute, however it is rounded.
    width = high - low
    offset, scale = ((-high - low) / width, 2.0 / width) if width > 0.0 else (math.nan, math.nan)
    check.mapping_is_finite(low, high, offset, scale)
    mapping = Mapping(offset, scale, 1.0 if weights is None else _scale_of(weights))
    if len(rows) == 0:
        solved = _solve(x, np.zeros((1, len(x))), weights, mapping, degree)
        return [low, high], solved._replace(series=solved.series[:0], squares=solved.squares[:0])
    return [low, high], _solve(x, rows, weights, mapping, degree)


def _scale_of(weights: np.ndarray) -> float:
    """The power of two that brings the largest weight to [0.5, 1), so that squares neither over- nor underflow."""
    largest = max(map(abs, extent(weights)))
    return 1.0 / power_of_two_above(largest) if largest < math.inf else 1.0


def _solve(x: np.ndarray, rows: np.ndarray, weights: np.ndarray | None, mapping: Mapping, degree: int) -> Solved:
    size = degree + 1
    if len(x) < size:
        check.all_finite(x, rows.T, weights)
        return fit_chebyshev(x, rows, weights, mapping, degree)
    sums_x, sums_y = moments(x, rows, weights, mapping, max(degree, 1))
    if not (math.isfinite(sums_x[1]) and math.isfinite(sums_x[-1]) and np.isfinite(sums_y[:, :: max(degree, 1)]).all()):
        check.all_finite(x, rows.T, weights)
        largest = float(np.abs(rows).max())
        if largest > LARGEST_COEFFICIENT:
            return _solve_scaled(x, rows, weights, mapping, degree, largest)
        return fit_chebyshev(x, rows, weights, mapping, degree)
    smallest, largest, series, solution = _solve_normal(sums_x, sums_y[:, :size])
    if not smallest * LARGEST_CONDITION > largest:
        return fit_chebyshev(x, rows, weights, mapping, degree)
    condition = largest / smallest
    peak = float(np.abs(series).max())
    if peak > LARGEST_COEFFICIENT or 0.0 < peak < 1.0 / LARGEST_COEFFICIENT:
        return _solve_scaled(x, rows, weights, mapping, degree, peak)
    for _ in range(_refinements(condition, size)):
        series = series + solution(residuals(x, rows, weights, mapping, series, True)[1])
    squares = residuals(x, rows, weights, mapping, series, False)[0]
    if weights is not None:
        squares = squares / mapping.weight_scale / mapping.weight_scale
    return Solved(series, squares, size, math.sqrt(condition))


def _refinements(condition: float, size: int) -> int:
    """Each step leaves about 1e-16 * condition * size of the error."""
    return 0 if condition * size <= LARGEST_LOSS else 1 if condition < 1e8 else 2


def _solve_scaled(
    x: np.ndarray, rows: np.ndarray, weights: np.ndarray | None, mapping: Mapping, degree: int, peak: float
) -> Solved:
    """The same with values whose size is ``peak`` brought near 1."""
    unit = power_of_two_above(peak)
    solved = _solve(x, rows / unit, weights, mapping, degree)
    with np.errstate(over="ignore"):
        return solved._replace(series=solved.series * unit, squares=solved.squares * unit * unit)


def _solve_normal(sums_x: np.ndarray, sums_y: np.ndarray) -> tuple[float, float, np.ndarray, Callable[..., np.ndarray]]:
    """Smallest and largest eigenvalue, the solution (K, d + 1), and what solves for other sums of y."""
    size = sums_y.shape[1]
    if size <= LARGEST_SMALL:
        eigenvalues, vectors, series = np.empty(size), np.empty((size, size)), np.empty(sums_y.shape)
        smallest, largest = SOLVE_NORMAL.call(sums_x, sums_y, eigenvalues, vectors, series)
        return smallest, largest, series, lambda sums: (sums @ vectors.T / eigenvalues) @ vectors
    squares = 0.5 * (sums_x[::2] + sums_x[0])
    if not squares.min() > 0.0:
        return 0.0, 1.0, sums_y, lambda sums: sums
    scales = 1.0 / np.sqrt(squares)
    each = np.arange(size)
    products = 0.5 * (sums_x[each[:, None] + each] + sums_x[abs(each[:, None] - each)])
    eigenvalues, vectors = np.linalg.eigh(products * scales * scales[:, None])
    vectors *= scales[:, None]

    def solution(sums: np.ndarray) -> np.ndarray:
        return (sums @ vectors / eigenvalues) @ vectors.T

    return float(eigenvalues[0]), float(eigenvalues[-1]), solution(sums_y), solution
