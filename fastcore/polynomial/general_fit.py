"""Least-squares fits by QR, block by block: any basis, real or complex, however ill-conditioned."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.polynomial import chebyshev as chebyshev_series
from numpy.polynomial.polynomial import polyvander
from numpy.polynomial.polyutils import getdomain, mapparms

from fastcore._core import validate_polynomial_fit as check
from fastcore.polynomial.kernels.moments import Mapping

__all__ = ["Solved", "fit_chebyshev", "fit_complex", "fit_powers", "power_of_two_above", "widened"]

# Points whose basis is formed at a time: 90 KB a column, where NumPy's way forms it of all.
BLOCK = 8192
_EPSILON = 2.0**-52


class Solved(NamedTuple):
    """series (K, d + 1) of Chebyshev polynomials; squares (K,), sums of (w * (y - p))**2; rank, condition: `Fit`."""

    series: np.ndarray
    squares: np.ndarray
    rank: int
    condition: float


def power_of_two_above(largest: float) -> float:
    """The power of two just above a magnitude, within float64's normal range; 1 for 0."""
    return math.ldexp(1.0, min(max(math.frexp(largest)[1], -1020), 1020)) if largest > 0.0 else 1.0


def widened(place: Any) -> tuple[Any, Any]:
    """The domain of points at one place: 1 to each side, as numpy.polynomial has it, or a few steps of float64."""
    aside = max(1.0, abs(place) * 2.0**-51)
    return place - aside, place + aside


def fit_chebyshev(x: np.ndarray, rows: np.ndarray, weights: np.ndarray | None, mapping: Mapping, degree: int) -> Solved:
    """x (N,), rows (K, N), weights (N,) or None: finite."""

    def basis(part: np.ndarray) -> np.ndarray:
        return chebyshev_series.chebvander(mapping.offset + mapping.scale * part, degree)

    return _least_squares(basis, degree + 1, x, rows, weights)


def fit_complex(
    x: np.ndarray, rows: np.ndarray, weights: np.ndarray | None, degree: int, domain: Any
) -> tuple[list[Any], Solved]:
    """The same for complex x; the default domain is numpy.polynomial's, two corners of the rectangle that holds x."""
    low, high = getdomain(x) if domain is None else check.domain_of_complex(domain)
    if low == high:
        low, high = widened(low)
    with np.errstate(all="ignore"):
        mapping = Mapping(*mapparms((low, high), (-1.0, 1.0)))
    check.mapping_is_finite(low, high, mapping.offset, mapping.scale)
    return [low, high], fit_chebyshev(x, rows, weights, mapping, degree)


def fit_powers(
    x: np.ndarray, rows: np.ndarray, weights: np.ndarray | None, degrees: np.ndarray, domain: Any
) -> tuple[list[Any], Solved]:
    """A sum of x**k for the given k alone, real or complex x: solved in powers of x, written as Chebyshev series."""
    if x.dtype.kind == "c":
        low, high = getdomain(x) if domain is None else check.domain_of_complex(domain)
    else:
        low, high = (x.min(), x.max()) if domain is None else check.domain_of_fit(domain)
    if low == high:
        low, high = widened(low)
    with np.errstate(all="ignore"):
        check.mapping_is_finite(low, high, *mapparms((low, high), (-1.0, 1.0)))
    # Powers of x / unit, |x / unit| <= 1, do not overflow; a power of two takes nothing from x.
    unit = power_of_two_above(float(np.abs(x).max()))

    def basis(part: np.ndarray) -> np.ndarray:
        return polyvander(part / unit, int(degrees[-1]))[:, degrees]

    solved = _least_squares(basis, len(degrees), x, rows, weights)
    powers = np.zeros((len(rows), degrees[-1] + 1), solved.series.dtype)
    powers[:, degrees] = solved.series
    series = np.zeros_like(powers, np.result_type(powers, type(low)))
    for each, coefficients in zip(series, powers, strict=True):
        polynomial = Polynomial(coefficients, domain=[-unit, unit]).convert(domain=[low, high], kind=Chebyshev)
        each[: len(polynomial.coef)] = polynomial.coef
    return [low, high], solved._replace(series=series)


def _least_squares(
    basis: Callable[[np.ndarray], np.ndarray], size: int, x: np.ndarray, rows: np.ndarray, weights: np.ndarray | None
) -> Solved:
    """Coefficients (K, size) of the functions whose values ``basis`` gives in columns; of least norm if many do.

    The triangle of all rows so far is decomposed again with each block below it, so that memory is that of one block.
    Columns are scaled to length 1, and singular values below N * eps of the largest count as 0, as in numpy.polynomial.
    """
    unit = power_of_two_above(float(np.abs(rows).max(initial=0.0)))
    weight_unit = 1.0 if weights is None else power_of_two_above(float(np.abs(weights).max()))

    def blocks() -> Any:
        for first in range(0, len(x), BLOCK):
            part = slice(first, first + BLOCK)
            with np.errstate(all="ignore"):
                matrix = basis(x[part])
            check.basis_is_finite(matrix)
            values = rows[:, part].T / unit
            if weights is not None:
                factor = (weights[part] / weight_unit)[:, None]
                matrix, values = matrix * factor, values * factor
            yield matrix, values

    triangle, projected = np.zeros((0, size)), np.zeros((0, len(rows)))
    for matrix, values in blocks():
        orthogonal, triangle = np.linalg.qr(np.concatenate([triangle, matrix]))
        values = np.concatenate([projected, values])
        projected = orthogonal.conj().T @ values
    peaks = np.abs(triangle).max(axis=0)
    peaks[peaks == 0.0] = 1.0
    lengths = peaks * np.sqrt((np.abs(triangle / peaks) ** 2).sum(axis=0))
    lengths[lengths == 0.0] = 1.0
    solution, _, rank, singular = np.linalg.lstsq(triangle / lengths, projected, len(x) * _EPSILON)
    solution = solution / lengths[:, None]
    squares = np.zeros(len(rows))
    for matrix, values in blocks():
        squares += (np.abs(values - matrix @ solution) ** 2).sum(axis=0)
    is_full = len(singular) == size and singular[-1] > 0.0
    condition = float(singular[0] / singular[-1]) if is_full else math.inf
    with np.errstate(over="ignore"):
        return Solved(solution.T * unit, squares * (unit * weight_unit) * (unit * weight_unit), int(rank), condition)
