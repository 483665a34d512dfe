"""Checks of `fastcore.polynomial.fit` and their messages: kinds of errors and words of `numpy.polynomial`."""

from typing import Any

import numpy as np

from fastcore._core.validate import kind_of, shown
from fastcore._core.validate_containers import InvalidParameterError
from fastcore._core.validate_polynomial import interval, values

__all__ = ["all_finite", "degrees", "domain_of_complex", "domain_of_fit", "mapping_is_finite", "points", "same_length"]


def degrees(degree: Any) -> int | np.ndarray:
    """The highest degree, or the degrees in rising order if they are a list with gaps.

    Raises
    ------
    TypeError : not an integer or a list of some
    ValueError : one is negative
    """
    if type(degree) is int and degree >= 0:
        return degree
    array = np.asarray(degree)
    if array.ndim > 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise TypeError(
            f"degree: deg must be an int or non-empty 1-D array of int. Got {shown(degree)}"
            f"{'' if array.ndim == 0 else f', {array.dtype} of shape {array.shape}'}."
        )
    if array.min() < 0:
        raise ValueError(f"degree: expected deg >= 0. Got {array.min()}.")
    if array.ndim == 0:
        return int(array)
    each = np.unique(array).astype(np.int64)
    return int(each[-1]) if len(each) == each[-1] + 1 else each


def points(x: Any, name: str, dimensions: tuple[int, ...]) -> np.ndarray:
    """x as float64 or complex128, of that many axes; strides as they came.

    Raises
    ------
    InvalidParameterError : other axes; a ValueError as for shapes everywhere, a TypeError as in numpy.polynomial
    TypeError : not numbers
    """
    array = values(x, name, allow_complex=name != "weights")
    if array.ndim not in dimensions:
        raise InvalidParameterError(
            f"{name}: expected {' or '.join(f'{each}D' for each in dimensions)} "
            f"{'array' if len(dimensions) > 1 else 'vector'} for {name}. Got shape {array.shape}."
        )
    return array


def same_length(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
    """x is not empty, and all have its length; InvalidParameterError as `points`."""
    if len(x) == 0:
        raise InvalidParameterError("x: expected non-empty vector for x. Got no points.")
    for array, name in ((y, "y"), (weights, "weights")):
        if array is not None and len(array) != len(x):
            raise InvalidParameterError(
                f"{name}: expected x and {name} to have same length. Got {len(x)} and {len(array)}."
            )


def all_finite(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
    """ValueError that names the argument and the place of the first NaN or inf."""
    for array, name in ((x, "x"), (y, "y"), (weights, "weights")):
        if array is None:
            continue
        finite = np.isfinite(array)
        if not finite.all():
            place = tuple(int(each) for each in np.unravel_index(int(np.argmin(finite)), array.shape))
            at = place[0] if array.size == len(array) else place
            raise ValueError(f"{name} must be finite. Got {array[place]} at {at}: leave such points out.")


def domain_of_fit(domain: Any) -> tuple[float, float]:
    """(low, high), finite, low < high."""
    low, high = interval(domain)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"domain must be two finite numbers, low < high. Got ({low}, {high}): leave it out for that of x."
        )
    return low, high


def domain_of_complex(domain: Any) -> tuple[complex, complex]:
    """Two finite, distinct complex numbers, the ends of the segment that is mapped to [-1, 1]."""
    ends = values(domain, "domain", allow_complex=True)
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] == ends[1]:
        raise ValueError(f"domain must be two finite numbers that differ. Got {kind_of(domain)} of shape {ends.shape}.")
    return complex(ends[0]), complex(ends[1])


def mapping_is_finite(low: Any, high: Any, offset: Any, scale: Any) -> None:
    """ValueError where the domain is too wide or too narrow for float64 to map it to [-1, 1]."""
    if not (np.isfinite(offset) and np.isfinite(scale) and scale != 0):
        raise ValueError(
            f"x (or domain) must span an interval that float64 can map to [-1, 1]. Got {low} to {high}: scale x first."
        )


def basis_is_finite(matrix: np.ndarray) -> None:
    """ValueError where powers or Chebyshev polynomials of points overflow."""
    if not np.isfinite(matrix).all():
        raise ValueError(
            "x lies so far outside domain that polynomials of this degree overflow there. Pass a domain that holds x."
        )
