"""Shapes of normalisation and activations."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from fastcore._core.validate import index, kind_of, output_array, shares_memory


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


def gradient_outputs(
    out: Any, shapes: Mapping[str, tuple[int, ...] | None], dtype: np.dtype
) -> tuple[np.ndarray | None, ...]:
    """`out` of a function with several gradients: for each, in the order of `shapes`, an array or None for a new one.

    A gradient that is not asked for has the shape None.
    """
    if out is None:
        return (None,) * len(shapes)
    rule = f"out must be a tuple of {len(shapes)} arrays or None, for {', '.join(shapes)}."
    if not isinstance(out, tuple):
        raise TypeError(f"{rule} Got {kind_of(out)}.")
    if len(out) != len(shapes):
        raise ValueError(f"{rule} Got {len(out)}.")
    given = {f"out[{i}]": x for i, x in enumerate(out) if x is not None}
    for (name, shape), at in zip(shapes.items(), (f"out[{i}]" for i in range(len(out))), strict=True):
        if at in given and shape is None:
            raise ValueError(f"{at} must be None: there is no {name} to have a gradient. Got {kind_of(given[at])}.")
        if at in given and shape is not None:
            output_array(given[at], shape, dtype, at)
    for (name, a), (other, b) in combinations(given.items(), 2):
        if shares_memory(a, [b]):
            raise ValueError(f"{name} and {other} must not overlap: both are written.")
    return out
