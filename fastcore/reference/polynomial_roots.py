"""The plain NumPy twin of all complex roots."""

import numpy as np

__all__ = ["roots"]

STEPS = 6


def roots(c: np.ndarray) -> np.ndarray:
    """All roots, (..., n - 1) complex128 sorted, infinite ones last: eigenvalues, then Newton in long double."""
    c = np.asarray(c)
    rows = c.reshape(-1, c.shape[-1])
    x = np.array([_row(row) for row in rows], np.complex128)
    return x.reshape(*c.shape[:-1], c.shape[-1] - 1)


def _row(row: np.ndarray) -> np.ndarray:
    x = np.full(len(row) - 1, np.inf, np.complex128)
    if not np.isfinite(row).all() or not row.any():
        return x * np.nan
    trimmed = np.trim_zeros(row, "b")
    start = np.roots(trimmed[::-1]).astype(np.clongdouble)
    coefficients = trimmed[::-1].astype(np.clongdouble)
    slope = np.polyder(coefficients)
    for _ in range(STEPS):
        with np.errstate(all="ignore"):
            step = np.polyval(coefficients, start) / np.polyval(slope, start)
        near = np.isfinite(step) & (np.abs(step) < 1e-3 * np.abs(start))
        start = np.where(near, start - np.where(near, step, 0), start)
    x[: len(start)] = np.sort(start.astype(np.complex128))
    return x
