"""Argument checks of what changes the scores of attention: slopes, sinks, block masks."""

from types import FunctionType
from typing import Any, NoReturn

import numpy as np
from numba.core import config
from numba.core.registry import CPUDispatcher

from fastcore._core.validate import LARGEST_SCALE, as_native_array, casts_to_float, is_float_type, kind_of

# Rows and keys of a block of `block_mask`.
MASK_BLOCK = 64


def slopes(x: Any, batch: int, heads: int) -> np.ndarray | None:
    """`alibi_slopes` as (B or 1, H), C-contiguous float64."""
    if x is None:
        return None
    array = _real_array(x, "alibi_slopes")
    if array.shape not in ((heads,), (batch, heads)):
        raise ValueError(
            f"alibi_slopes must have shape ({heads},), one for each head of query, or ({batch}, {heads}), one for each"
            f" sequence and head. Got shape {array.shape}."
        )
    for slope in array[~(np.abs(array) <= LARGEST_SCALE)][:1]:
        raise ValueError(f"alibi_slopes must be finite, within ±{LARGEST_SCALE:g}. Got {slope}.")
    return array.reshape(-1, heads)


def sinks(x: Any, heads: int) -> np.ndarray | None:
    """`sinks` as (H,), C-contiguous float64."""
    if x is None:
        return None
    array = _real_array(x, "sinks")
    if array.shape != (heads,):
        raise ValueError(f"sinks must have shape ({heads},), one for each head of query. Got shape {array.shape}.")
    for sink in array[~((np.abs(array) <= LARGEST_SCALE) | (array == -np.inf))][:1]:
        raise ValueError(f"sinks must lie within ±{LARGEST_SCALE:g}, or be -inf for a head without. Got {sink}.")
    return array


def block_mask(x: Any, axes: tuple[int, ...], queries: int, keys: int) -> np.ndarray | None:
    """`block_mask` as a view of shape (*axes, blocks of queries, blocks of keys)."""
    if x is None:
        return None
    array = as_native_array(x, "block_mask")
    if array.dtype != np.bool_:
        fix = " Pass block_mask.astype(bool)." if array.dtype.kind in "iu" else ""
        raise TypeError(f"block_mask must be bool (True = the block takes part). Got {array.dtype}.{fix}")
    shape = (*axes, -(-queries // MASK_BLOCK), -(-keys // MASK_BLOCK))
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"block_mask must broadcast to {shape}: the axes of query in front, then the blocks of {MASK_BLOCK} queries"
            f" and of {MASK_BLOCK} keys. Got shape {array.shape}."
        ) from None


def compiled_function(x: Any, name: str) -> None:
    """A function that Numba compiles; without JIT `numba.njit` leaves Python's own."""
    if not isinstance(x, CPUDispatcher) and not (config.DISABLE_JIT and isinstance(x, FunctionType)):
        raise TypeError(
            f"{name} must be a function (score, b, h, i, j) decorated with @numba.njit. Got {kind_of(x)}."
            + (f" Pass numba.njit({x.__name__})." if isinstance(x, FunctionType) else "")
        )


def refuse_function(name: str, dtype: Any, error: Exception) -> NoReturn:
    """For a function that Numba does not compile."""
    raise TypeError(
        f"{name} must take (score, b, h, i, j), a {np.dtype(dtype)} and four int64, and return a real number. Numba"
        f" cannot compile it so: {error}"
    ) from error


def _real_array(x: Any, name: str) -> np.ndarray:
    """A C-contiguous float64 copy of a few numbers."""
    array = as_native_array(x, name)
    if not (is_float_type(array.dtype) or array.dtype.kind in "iu"):
        fix = f" Pass {name}.astype(np.float32)." if casts_to_float(array.dtype) else ""
        raise TypeError(f"{name} must hold real numbers. Got {array.dtype}.{fix}")
    return np.array(array, np.float64, order="C")
