"""Checks of attention over sequences that are split over devices, and the messages they raise."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core.validate import is_float_type, kind_of, shown
from fastcore._core.validate_sharding import axis_names, sharded
from fastcore._core.validate_sharding_device import device_arguments

LAYOUTS = ("contiguous", "zigzag")
AXES = "(B, H, L, D)"


def _sharded(arrays: dict[str, Any]) -> None:
    """Arrays of floats on one mesh, four axes each."""
    for name, x in arrays.items():
        sharded(x, name)
    device_arguments("attention", [x.mesh for x in arrays.values()])
    for name, x in arrays.items():
        if x.ndim != 4:
            raise ValueError(f"{name} must have four axes, {AXES}. Got shape {x.shape}.")
        if not is_float_type(x.dtype):
            raise TypeError(f"{name} must be float32, float64, float16 or bfloat16. Got {x.dtype}.")
    validate.same_dtype(arrays)


def split_sequences(query: Any, key: Any, value: Any, axis: Any) -> tuple[str, ...]:
    """query, key and value of one attention, whose tokens are split over `axis`; answers its names."""
    arrays = {"query": query, "key": key, "value": value}
    _sharded(arrays)
    names = axis_names(axis, query.mesh.axes)
    for name, x in arrays.items():
        if x.spec.names(2) != names or x.spec.names(3):
            wanted = repr(names[0] if len(names) == 1 else names)
            raise ValueError(
                f"The tokens of {name}, its third axis, must be split over axis, and its last axis over nothing:"
                f" P(None, None, {wanted}). Got {x.spec!r} for axis {wanted}."
            )
        if x.spec.names(0) != query.spec.names(0) or x.spec.names(1) != query.spec.names(1):
            raise ValueError(
                f"query, key and value must be split over the same mesh axes. Got query {query.spec!r}, {name}"
                f" {x.spec!r}."
            )
    _shapes(query, key, value)
    return names


def _shapes(query: Any, key: Any, value: Any) -> None:
    got = f"Got query {query.shape}, key {key.shape}, value {value.shape}."
    if key.shape[:3] != value.shape[:3]:
        raise ValueError(f"key and value must have the same batch, heads and tokens. {got}")
    if query.shape[0] != key.shape[0]:
        raise ValueError(f"query and key must have the same batch. {got}")
    if query.shape[3] != key.shape[3]:
        raise ValueError(f"query has head size {query.shape[3]} and key {key.shape[3]}; they must be equal. {got}")
    if query.shape[3] == 0 or value.shape[3] == 0:
        raise ValueError(f"The last axes must not be empty. {got}")
    heads, groups = query.shape[1], key.shape[1]
    if groups == 0 or heads % groups:
        raise ValueError(f"key has {groups} heads; the {heads} heads of query must be a multiple of it. {got}")
    if query.block_shape[1] * groups != key.block_shape[1] * heads:
        raise ValueError(
            f"A device must hold the key heads of its query heads: their number must divide by the devices along"
            f" {query.spec.names(1)}. {got}"
        )


def token_layout(layout: Any, query: Any, key: Any, parts: int) -> None:
    """Of `zigzag`: blocks of two chunks, queries and keys of the same tokens."""
    if not isinstance(layout, str):
        raise TypeError(f"layout must be one of {', '.join(map(repr, LAYOUTS))}. Got {kind_of(layout)}.")
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(map(repr, LAYOUTS))}. Got {layout!r}.")
    if layout == "contiguous":
        return
    if query.shape[2] != key.shape[2]:
        raise ValueError(
            f"layout='zigzag' is for queries and keys of the same tokens. Got {query.shape[2]} and {key.shape[2]}."
        )
    if query.shape[2] % (2 * parts):
        raise ValueError(
            f"layout='zigzag' needs two chunks a device: tokens must divide by {2 * parts}. Got {query.shape[2]}."
            f" zigzag(array, {parts}) puts them in order and fills up with zeros."
        )


def token_count(length: Any, query: Any, key: Any, padding_attends: bool) -> tuple[int, int]:
    """Queries and keys that are not padding: as many as the arrays have, or `length` of both."""
    if length is None:
        if padding_attends:
            raise ValueError(
                "layout='zigzag' needs length=, the number of tokens, unless is_causal: zigzag fills up with zeros"
                f" behind the last token, which all queries would see. Got None for {key.shape[2]} tokens and zeros."
            )
        return query.shape[2], key.shape[2]
    count = validate.index(length, "length")
    if not 0 <= count <= min(query.shape[2], key.shape[2]):
        raise ValueError(
            f"length must lie between 0 and the tokens of query and key, {query.shape[2]} and {key.shape[2]}."
            f" Got {count}."
        )
    return count, count


def gradient(grad_out: Any, mesh: Any, result: Any) -> None:
    """The gradient of a result: on its mesh, of its dtype, shape and split."""
    sharded(grad_out, "grad_out")
    device_arguments("attention", [mesh, grad_out.mesh])
    if grad_out.dtype != result.dtype:
        raise TypeError(f"grad_out must have the dtype of the result, {result.dtype}. Got {grad_out.dtype}.")
    same_split = all(grad_out.spec.names(dimension) == result.spec.names(dimension) for dimension in range(4))
    if grad_out.shape != result.shape or not same_split:
        raise ValueError(
            f"grad_out must be split as the result, {result.shape} by {result.spec!r}. Got {grad_out.shape} by"
            f" {grad_out.spec!r}."
        )


def saved(value: Any, kind: type, function: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(
            f"saved must be what {function}(..., return_saved=True) gave, a {kind.__name__}. Got {kind_of(value)}."
        )


def chunks(array: Any, devices: Any, axis: Any) -> tuple[np.ndarray, int, int]:
    """An array, a number of devices of at least 1, and an axis of it, not negative."""
    values = validate.as_native_array(array, "array")
    count, place = validate.index(devices, "devices"), validate.index(axis, "axis")
    if count < 1:
        raise ValueError(f"devices must be at least 1. Got {count}.")
    if not -values.ndim <= place < values.ndim:
        raise ValueError(f"axis must be an axis of array, which has shape {values.shape}. Got {place}.")
    return values, count, place % values.ndim


def whole_chunks(length: int, chunks: int, kept: Any) -> int:
    """Tokens that are in chunks already, and how many of them are to be kept: all, if None."""
    if length % chunks:
        raise ValueError(f"The axis must hold {chunks} equal chunks, as zigzag makes them. Got {length} tokens.")
    count = length if kept is None else validate.index(kept, "length")
    if not 0 <= count <= length:
        raise ValueError(f"length must lie between 0 and {length}. Got {shown(kept)}.")
    return count
