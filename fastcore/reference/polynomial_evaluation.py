"""Values and derivatives of polynomials, plainly; coefficients (..., n) ascend along the last axis."""

from typing import Any

import numpy as np

__all__ = ["polyder", "polyval", "polyval_and_derivative"]


def polyder(c: np.ndarray, m: int = 1, scl: complex = 1, axis: int = -1) -> np.ndarray:
    """The coefficients of the m-th derivative, each differentiation followed by a multiplication by scl."""
    c = np.moveaxis(np.atleast_1d(np.asarray(c) * 1.0), axis, -1)
    for _ in range(m):
        powers = np.arange(1, c.shape[-1])
        c = c[..., 1:] * powers * scl if c.shape[-1] > 1 else c * 0
    return np.moveaxis(c, -1, axis)


def polyval(
    x: np.ndarray, c: np.ndarray, *, derivative: int = 0, compensated: bool = False, error_bound: bool = False
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Horner's rule; compensated in NumPy's longest floats, where those are longer.

    The bound is the a-priori one, (2 n + k) u times the sum of |c_k x**k|, which is larger than a running one.
    """
    x, c = np.asarray(x) * 1.0, np.asarray(c) * 1.0
    if compensated:
        x, c = (each.astype(np.result_type(each, np.longdouble)) for each in (x, c))
    c = polyder(c, derivative)
    value = c[..., -1] + np.zeros_like(x)
    size = np.abs(value)
    for k in range(c.shape[-1] - 2, -1, -1):
        value = value * x + c[..., k]
        size = size * np.abs(x) + np.abs(c[..., k])
    wide = np.complex128 if value.dtype.kind == "c" else np.float64
    result = value.astype(wide) if compensated else value
    if not error_bound:
        return result
    terms = 4 * c.shape[-1] + 2 * derivative
    bound = terms * np.finfo(value.real.dtype).eps * size.astype(np.float64)
    return result, bound + np.finfo(result.real.dtype).eps * np.abs(result)


def polyval_and_derivative(x: np.ndarray, c: np.ndarray) -> tuple[Any, Any]:
    """The polynomial and its first derivative."""
    return polyval(x, c), polyval(x, c, derivative=1)
