"""Checks of inverses of polynomials and their messages."""

from typing import Any

import numpy as np

from fastcore._core import validate_polynomial
from fastcore._core.validate import as_native_array, shown

__all__ = ["branch", "one_polynomial", "tolerance", "values"]


def one_polynomial(c: Any) -> np.ndarray:
    """c as (n,) float64, contiguous, n >= 1."""
    array = validate_polynomial.coefficients(c)
    if array.ndim != 1:
        raise ValueError(f"c must be one polynomial, of shape (n,). Got shape {array.shape}: make an inverse of each.")
    return array.copy()


def tolerance(ytol: Any) -> float:
    """ytol as a float, 0 or more."""
    if isinstance(ytol, bool) or not isinstance(ytol, (int, float, np.number)):
        raise TypeError(f"ytol must be a number. Got {type(ytol).__name__} {shown(ytol)}.")
    number = float(ytol)
    if not 0.0 <= number < np.inf:
        raise ValueError(f"ytol must be a finite number, 0 or more. Got {shown(ytol)}.")
    return number


def branch(name: Any, pieces: int) -> int:
    """The number of a monotone piece; -1 and -2 for 'lowest' and 'highest'."""
    if isinstance(name, str):
        if name not in ("lowest", "highest"):
            raise ValueError(
                f"branch must be 'lowest', 'highest' or the number of a monotone piece. Got {shown(name)}."
            )
        return -1 if name == "lowest" else -2
    if isinstance(name, bool) or not isinstance(name, (int, np.integer)):
        raise TypeError(f"branch must be a str or an integer. Got {type(name).__name__} {shown(name)}.")
    if not -pieces <= name < pieces:
        raise ValueError(
            f"branch must be the number of one of the {pieces} monotone pieces of the domain, "
            f"{-pieces} to {pieces - 1}. Got {int(name)}."
        )
    return int(name) % pieces


def values(y: Any) -> np.ndarray:
    """y as a contiguous array of float64, or of float32 where it came as float32 or less."""
    array = as_native_array(y, "y")
    if array.dtype.kind == "f" and array.dtype.itemsize <= 4:
        return np.ascontiguousarray(array, np.float32).reshape(array.shape)
    return np.ascontiguousarray(validate_polynomial.values(array, "y")).reshape(array.shape)
