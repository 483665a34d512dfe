"""Shapes of normalisation and activations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core.validate import index


def shape_of_last_axis(bias: np.ndarray, input: np.ndarray) -> None:
    if input.ndim == 0 or bias.shape != input.shape[-1:]:
        raise ValueError(
            f"bias must have the shape of the last axis of input. Got bias {bias.shape}, input {input.shape}."
        )


def normalized_axes(normalized_shape: Any, input: np.ndarray) -> tuple[int, ...]:
    """`normalized_shape` as a tuple that is the end of input's shape."""
    given = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    axes = tuple(index(n, "normalized_shape") for n in given)
    if not axes or min(axes) < 1 or axes != input.shape[-len(axes) :]:
        raise ValueError(
            f"normalized_shape must be the last axes of input, none of them empty. Got {axes}, input {input.shape}."
        )
    return axes


def one_shape(arrays: Mapping[str, np.ndarray]) -> None:
    """All arrays have the shape of the first."""
    (first, model), *others = arrays.items()
    for name, x in others:
        if x.shape != model.shape:
            raise ValueError(f"{name} must have the shape of {first}. Got {name} {x.shape}, {first} {model.shape}.")


def shapes_of_vectors(vectors: Mapping[str, np.ndarray], axes: tuple[int, ...]) -> None:
    for name, x in vectors.items():
        if x.shape != axes:
            raise ValueError(f"{name} must have the shape normalized_shape, {axes}. Got {x.shape}.")
