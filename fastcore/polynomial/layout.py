"""Polynomials and points of any shapes that broadcast, as the flat arrays that kernels read."""

from math import prod
from typing import NamedTuple

import numpy as np

__all__ = ["Arrangement", "arrange", "distinct", "repeats"]


class Arrangement(NamedTuple):
    """Every polynomial with its points in one piece.

    Attributes
    ----------
    x : the points, flat and contiguous: those of each polynomial in turn, or only once where all have the same
    polynomials : how many there are
    shape : of the results as they are computed, axes along which polynomials differ first
    axes : where each axis of the results belongs, or None where they are in order
    """

    x: np.ndarray
    polynomials: int
    shape: tuple[int, ...]
    axes: tuple[int, ...] | None

    def in_order(self, results: np.ndarray) -> np.ndarray:
        """Results of this shape as the caller expects them."""
        return results if self.axes is None else results.transpose(np.argsort(self.axes))


def arrange(x: np.ndarray, batch: tuple[int, ...], shape: tuple[int, ...]) -> Arrangement:
    """Points x and polynomials of shape ``batch``, which broadcast to ``shape``."""
    polynomials = prod(batch)
    if polynomials == 1:
        return Arrangement(np.ascontiguousarray(x).reshape(-1), 1, shape, None)
    lead = len(shape) - len(batch)
    differ = [lead + i for i, size in enumerate(batch) if size != 1]
    alike = [i for i in range(len(shape)) if i not in differ]
    axes = (*differ, *alike)
    ordered = tuple(shape[i] for i in axes)
    # For all polynomials the same points, or points of its own for each.
    own = (1,) * (len(shape) - x.ndim) + x.shape
    shared = all(own[i] == 1 for i in differ)
    wanted = tuple(1 if shared and i in differ else size for i, size in enumerate(shape))
    points = np.broadcast_to(x, wanted).transpose(axes)
    flat = np.ascontiguousarray(points).reshape(-1)
    return Arrangement(flat, polynomials, ordered, None if axes == tuple(range(len(shape))) else axes)


def repeats(x: np.ndarray) -> bool:
    """Whether an axis has a stride of 0: the same elements again and again."""
    return (
        0 in x.strides
        and x.size > 0
        and any(not step and size > 1 for step, size in zip(x.strides, x.shape, strict=True))
    )


def distinct(x: np.ndarray) -> np.ndarray:
    """x of length 1 along the axes on which it repeats its elements."""
    return x[
        tuple(slice(None) if step or not size else slice(1) for step, size in zip(x.strides, x.shape, strict=True))
    ]
