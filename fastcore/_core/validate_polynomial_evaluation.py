"""Checks of polyval, polyder and polyval_and_derivative, and their messages."""

from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core.validate_polynomial import with_coefficients

__all__ = ["broadcast_shape", "coefficient_array", "coefficients_along", "numbers", "order", "points", "scale"]

_KEPT = "fdFD"


def numbers(x: Any, name: str) -> np.ndarray:
    """x as a native array of float32, float64, complex64 or complex128, which hold float16, integers and longer floats.

    Raises
    ------
    TypeError : x is not of numbers
    """
    array = validate.as_native_array(x, name)
    dtype = array.dtype
    if dtype.char in _KEPT:
        return array
    if dtype.kind not in "fciub":
        raise TypeError(f"{name} must be an array of numbers. Got dtype {dtype}.")
    if dtype.char == "e":
        return array.astype(np.float32)
    return array.astype(np.complex128 if dtype.kind == "c" else np.float64)


def points(x: Any) -> np.ndarray:
    """The numbers of x, which may be masked: those under the mask are numbers, too."""
    return numbers(np.ma.getdata(x) if isinstance(x, np.ma.MaskedArray) else x, "x")


def coefficient_array(c: Any) -> np.ndarray:
    """c as (..., n) of `numbers`, n >= 1.

    Raises
    ------
    ValueError : c has no axis, or none with coefficients
    """
    return with_coefficients(numbers(c, "c"))


def order(x: Any, name: str) -> int:
    """How often to differentiate.

    Raises
    ------
    TypeError : not an integer
    ValueError : negative
    """
    number = validate.index(x, name)
    if number < 0:
        raise ValueError(f"{name} must be 0 or more. Got {validate.integer(number)}.")
    return number


def coefficients_along(c: Any, axis: Any) -> np.ndarray:
    """c as an array of `numbers`, a number as one coefficient, with coefficients along an axis that it has.

    Raises
    ------
    ValueError : there is no such axis, or nothing on it
    TypeError : axis is no integer
    """
    array = np.atleast_1d(numbers(c, "c"))
    number = validate.index(axis, "axis")
    if not -array.ndim <= number < array.ndim:
        raise ValueError(f"axis must be one of the {array.ndim} axes of c. Got {validate.integer(number)}.")
    if array.shape[number] == 0:
        raise ValueError(f"c must have at least one coefficient along axis {number}. Got shape {array.shape}.")
    return array


def scale(x: Any) -> Any:
    """A number, Python's as it came, others as NumPy's.

    Raises
    ------
    ValueError : several numbers
    """
    array = numbers(x, "scl")
    if array.ndim:
        raise ValueError(f"scl must be one number. Got shape {array.shape}.")
    return array.item() if isinstance(x, int | float | complex) and not isinstance(x, np.generic) else array[()]


def broadcast_shape(x: np.ndarray, c: np.ndarray) -> tuple[int, ...]:
    """The shape of the result, of points and polynomials.

    Raises
    ------
    ValueError : they do not broadcast
    """
    if c.ndim == 1:  # 3 us less
        return x.shape
    try:
        return np.broadcast_shapes(x.shape, c.shape[:-1])
    except ValueError:
        raise ValueError(
            f"x must broadcast with the polynomials, c.shape[:-1]. Got x {x.shape}, c {c.shape}: "
            "c[..., None, :] evaluates each polynomial at all points of x's last axis."
        ) from None
