"""What the normalisations and their gradients do with their arguments."""

from typing import Any

import numpy as np

_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray
EPSILON_F32, EPSILON_F64 = 2.0**-23, 2.0**-52


def default_epsilon(dtype: np.dtype) -> float:
    """eps of `rms_norm` where none is given: of the dtype that is computed in."""
    return EPSILON_F64 if dtype == np.float64 else EPSILON_F32


def is_short(input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: Any, other: Any = None) -> bool:
    """Whether these are plain float32 arrays with a last axis of `normalized_shape`, weights of one axis and a float.

    `other`, if any, must have the shape of input.
    """
    return (
        type(input) is type(weight) is type(bias) is _ndarray
        and type(normalized_shape) is int
        and type(eps) is float
        and input.dtype is weight.dtype is bias.dtype is _FLOAT32
        and weight.ndim == bias.ndim == 1
        and input.shape[-1:] == (normalized_shape,)
        and normalized_shape > 0
        and (other is None or (type(other) is _ndarray and other.dtype is _FLOAT32 and other.shape == input.shape))
    )


def two_axes(first: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays of one shape with all axes but the last joined."""
    if first.ndim == 2:
        return first, *others
    rows = -1, first.shape[-1]
    return tuple(x.reshape(rows) for x in (first, *others))


def flat_vector(vector: np.ndarray | None, default: Any, size: int, dtype: np.dtype) -> np.ndarray:
    """`vector`, or what stands for none, as (size,)."""
    return default(size, dtype) if vector is None else np.ascontiguousarray(vector, dtype).reshape(size)
