"""Results of several arrays, and the axis and dtype of softmax."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core import validate


def output_pair(out: Any) -> Sequence[np.ndarray | None]:
    """`out` of a function with two results: two arrays, each of which may be None."""
    if out is None:
        return None, None
    if not isinstance(out, tuple) or len(out) != 2:
        got = f"a tuple of {len(out)}" if isinstance(out, tuple) else validate.kind_of(out)
        raise TypeError(f"out must be a tuple of two, each an array or None. Got {got}.")
    return out


def separate_outputs(results: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """No array of the results overlaps another."""
    for i, result in enumerate(results):
        if validate.shares_memory(result, results[:i]):
            raise ValueError(f"{' and '.join(names)} must not overlap. Got arrays that share memory.")


def dimension(dim: Any, x: np.ndarray, name: str) -> int:
    """`dim` counted from 0, an axis of `x`; a number counts as an array of one axis, as in PyTorch."""
    axes = max(x.ndim, 1)
    value = validate.index(dim, "dim")
    if not -axes <= value < axes:
        raise ValueError(
            f"dim must be an axis of {name}, {-axes} to {axes - 1}. Got {validate.integer(value)}, {name} {x.shape}."
        )
    return value % axes


def result_dtype(dtype: Any, default: np.dtype) -> np.dtype:
    """The dtype of a result: `default` where none is asked for, else one of the four float types."""
    if dtype is None:
        return default
    try:
        wanted = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        wanted = None
    if wanted is None or not validate.is_float_type(wanted):
        shown = validate.shown(dtype) if wanted is None else wanted
        raise TypeError(
            f"dtype must be float32, float64, float16 or bfloat16, as a NumPy dtype. Got {shown}. Pass e.g. np.float32."
        )
    return wanted
