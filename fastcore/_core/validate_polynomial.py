"""Checks of the polynomial functions and their messages."""

from typing import Any

import numpy as np

from fastcore._core.validate import as_native_array, shown

__all__ = ["coefficients", "interval", "values", "with_coefficients"]


def coefficients(c: Any, name: str = "c", *, allow_complex: bool = False) -> np.ndarray:
    """c as (..., n) float64 (or complex128), native and C-contiguous, n >= 1. NaN and inf are left to the kernels.

    Raises
    ------
    ValueError : c has no axis or its last axis is empty
    TypeError : c is not of numbers, or complex where it must be real
    """
    return np.ascontiguousarray(with_coefficients(_numbers(c, name, allow_complex), name))


def with_coefficients(array: np.ndarray, name: str = "c") -> np.ndarray:
    """The array, unless it has no axis or nothing along the last."""
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(
            f"{name} must have shape (..., n) with n >= 1 ascending coefficients along its last axis. "
            f"Got shape {array.shape}: pass [{name}] for a constant."
        )
    return array


def values(y: Any, name: str = "y", *, allow_complex: bool = False) -> np.ndarray:
    """y as a float64 (or complex128) array of any shape, native; strides as they came where the dtype fits."""
    return _numbers(y, name, allow_complex)


def _numbers(x: Any, name: str, allow_complex: bool) -> np.ndarray:
    array = as_native_array(x, name)
    if array.dtype.kind == "c":
        if not allow_complex:
            raise TypeError(f"{name} must be real. Got dtype {array.dtype}: pass {name}.real if that is what you mean.")
        return array.astype(np.complex128, copy=False)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of numbers. Got dtype {array.dtype}.")
    return array.astype(np.float64, copy=False)


def interval(domain: Any, name: str = "domain") -> tuple[float, float]:
    """(low, high) of a closed interval, -inf and inf allowed; (-inf, inf) for None.

    Raises
    ------
    ValueError : not two numbers, NaN, low > high, or no finite number between
    TypeError : not a sequence of numbers
    """
    if domain is None:
        return -np.inf, np.inf
    bounds = values(domain, name)
    if bounds.shape != (2,) or not bounds[0] <= bounds[1]:
        numbers = (
            f"({', '.join(map(repr, bounds.tolist()))})" if bounds.ndim == 1 and bounds.size <= 3 else shown(domain)
        )
        raise ValueError(f"{name} must be two numbers, low <= high. Got {numbers}.")
    low, high = bounds.tolist()
    if low == np.inf or high == -np.inf:
        raise ValueError(f"{name} must contain finite numbers. Got ({low}, {high}).")
    return low, high
