"""Arrays of attention of any number of axes as the (B, heads, rows, size) that kernels take."""

import math
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate, validate_attention


class Layout(NamedTuple):
    """Where the axes in front of (L, D) go: `batch_axes` are folded into B; without a head axis H = G = 1."""

    batch_axes: tuple[int, ...]
    has_heads: bool
    heads: int
    groups: int

    @property
    def batch(self) -> int:
        return math.prod(self.batch_axes)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of the result in front of (L, Dv)."""
        return (*self.batch_axes, self.heads) if self.has_heads else self.batch_axes


def layout_of(query: np.ndarray, key: np.ndarray, value: np.ndarray, enable_gqa: Any) -> Layout:
    """Check the shapes of query, key and value, and say what their axes mean."""
    grouped = enable_gqa is not None and validate.flag(enable_gqa, "enable_gqa")
    validate_attention.attention_ranks(query, key, value)
    validate_attention.attention_sizes(query, key, value)
    if query.ndim == 2 or (query.ndim == 3 and not (grouped and query.shape[0] != key.shape[0])):
        return Layout(validate_attention.attention_batch(query, key, value, 2), False, 1, 1)
    validate_attention.attention_heads(query, key, value)
    return Layout(validate_attention.attention_batch(query, key, value, 3), True, query.shape[-3], key.shape[-3])


def four_axes(x: np.ndarray, layout: Layout, heads: int, dtype: np.dtype) -> np.ndarray:
    """`x` as (B, heads, rows, size) of the computing dtype, in place where possible.

    Copied are half precision, a last axis that is not contiguous, and batch axes that no strides can join.
    """
    x = validate.readable_in_place(x if x.dtype == dtype else x.astype(dtype))
    stretched = layout.batch_axes + x.shape[-3 if layout.has_heads else -2 :]
    if x.shape != stretched:
        x = np.broadcast_to(x, stretched)
    return x if x.ndim == 4 and layout.has_heads else x.reshape(layout.batch, heads, *x.shape[-2:])


def four_mask_axes(mask: np.ndarray, batch: int, heads: int) -> np.ndarray:
    """A mask broadcast to (..., [H,] L, S) as (B, H, L, S).

    Only the axes in front are copied, where no stride can join them: stretched heads, queries and keys stay a view.
    """
    if mask.ndim <= 4:
        return mask.reshape(batch, heads, *mask.shape[-2:])
    stored = tuple(slice(None) if stride else slice(1) for stride in mask.strides[-3:])
    compact = mask[(..., *stored)]
    joined = compact.reshape(batch, *compact.shape[-3:])
    return np.broadcast_to(joined, (batch, *mask.shape[-3:]))


def gradient_like(gradient: np.ndarray, x: np.ndarray, layout: Layout) -> np.ndarray:
    """A gradient (B, heads, rows, size) in shape and dtype of its array, summed over batch axes that were stretched."""
    front = layout.batch_axes + gradient.shape[1:2] if layout.has_heads else layout.batch_axes
    gradient = gradient.reshape(*front, *x.shape[-2:])
    stretched = tuple(axis for axis, size in enumerate(x.shape) if size == 1 != gradient.shape[axis])
    with np.errstate(over="ignore", invalid="ignore"):  # float16 ends at 65504; inf - inf
        if stretched:
            gradient = gradient.sum(axis=stretched, keepdims=True)
        return gradient.astype(x.dtype, copy=False)
