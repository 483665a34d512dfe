"""Argument checks of linear attention."""

from typing import Any

import numpy as np

from fastcore._core.validate import float_array, kind_of

FEATURE_MAPS = ("elu", "relu", "identity")


def as_many_keys(query: np.ndarray, key: np.ndarray) -> None:
    """Causal: query i and key i are the same token."""
    if query.shape[-2] != key.shape[-2]:
        raise ValueError(
            "query and key must have the same number of positions with is_causal=True. Got"
            f" query {query.shape}, key {key.shape}. Pass the keys before the first query by initial_state."
        )


def state_of_keys(x: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    """(sums of keys times values of ``shape``, sums of keys without the last axis) in `dtype`, or None."""
    if x is None:
        return None
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(f"{name} must be a pair of arrays, as return_state gives it, or None. Got {kind_of(x)}.")
    arrays = []
    for i, wanted in enumerate((shape, shape[:-1])):
        array = float_array(x[i], f"{name}[{i}]")
        if array.shape != wanted:
            what = "axes of key but the last two, D, Dv" if i == 0 else "axes of key but the last two, D"
            raise ValueError(f"{name}[{i}] must have shape {wanted}: {what}. Got {array.shape}.")
        arrays.append(array.astype(dtype, copy=False))
    return arrays[0], arrays[1]
