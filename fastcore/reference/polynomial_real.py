"""The plain NumPy twin of real roots."""

import numpy as np

__all__ = ["real_roots"]

UNIT = 2.0**-53


def real_roots(c: np.ndarray, domain: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(x (..., K) padded with NaN, counts (...)): distinct real roots between the roots of the derivative."""
    c = np.asarray(c, np.float64)
    low, high = (-np.inf, np.inf) if domain is None else domain
    found = []
    for row in c.reshape(-1, c.shape[-1]):
        roots = _roots(np.trim_zeros(row, "b")) if np.isfinite(row).all() else np.zeros(0)
        found.append(roots[(low <= roots) & (roots <= high)])
    counts = np.array([len(roots) for roots in found], np.int64)
    x = np.full((len(found), max(1, counts.max(initial=1))), np.nan)
    for row, roots in zip(x, found, strict=True):
        row[: len(roots)] = roots
    return x.reshape(*c.shape[:-1], -1), counts.reshape(c.shape[:-1])


def _value(c: np.ndarray, x: float) -> tuple[float, float]:
    """P(x), and what of it may be rounding."""
    value = size = 0.0
    for coefficient in c[::-1]:
        value, size = value * x + coefficient, size * abs(x) + abs(coefficient)
    return value, 2 * len(c) * UNIT * size


def _roots(c: np.ndarray) -> np.ndarray:
    if len(c) < 2:
        return np.zeros(0)
    bound = 1 + np.abs(c[:-1] / c[-1]).max()  # Cauchy's, of all roots
    nodes = [-bound, *_roots(c[1:] * np.arange(1, len(c))), bound]
    signs = [np.sign(value) * (abs(value) > error) for value, error in (_value(c, x) for x in nodes)]
    roots = [x for x, sign in zip(nodes, signs, strict=True) if sign == 0]
    for left, right, before, after in zip(nodes, nodes[1:], signs, signs[1:], strict=False):
        if before * after < 0:
            roots.append(_bisect(c, left, right, before))
    return np.unique(roots)


def _bisect(c: np.ndarray, left: float, right: float, sign: float) -> float:
    while True:
        x = left + (right - left) / 2
        if not left < x < right:
            return x
        if _value(c, x)[0] * sign > 0:
            left = x
        else:
            right = x
