"""Checks of collectives, and the messages they raise."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core.validate import kind_of, shown
from fastcore._core.validate_sharding import axis_names


def group_axes(axis_name: Any, axes: Mapping[str, int]) -> tuple[str, ...]:
    """One axis of the mesh, or several; a list is taken, too, as in JAX."""
    return axis_names(tuple(axis_name) if isinstance(axis_name, list) else axis_name, axes)


def sharded(x: Any, kind: type, name: str) -> None:
    if not isinstance(x, kind):
        raise TypeError(f"{name} takes a ShardedArray. Got {kind_of(x)}. Make one with mesh.put(...).")


def numeric(dtype: np.dtype, name: str) -> None:
    """What can be added up."""
    if dtype.kind not in "biufc" and dtype.name != "bfloat16":
        raise TypeError(f"{name} adds numbers: booleans, integers, floats, bfloat16 or complex. Got {dtype}.")


def ordered(dtype: np.dtype, name: str) -> None:
    """What has a largest and a smallest."""
    if dtype.kind not in "biuf" and dtype.name != "bfloat16":
        raise TypeError(f"{name} compares numbers: booleans, integers, floats or bfloat16. Got {dtype}.")


def dimension(axis: Any, ndim: int, name: str) -> int:
    """An axis of the block, counted from its end if negative."""
    try:
        index = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name} must be an integer. Got {shown(axis)}.") from None
    if isinstance(axis, bool) or not -ndim <= index < ndim:
        allowed = f"between {-ndim} and {ndim - 1}" if ndim else "an axis of the block, which has none"
        raise ValueError(f"{name} must be {allowed}. Got {shown(axis)}.")
    return index % ndim


def divides(block: tuple[int, ...], axis: int, n: int, name: str, names: tuple[str, ...]) -> None:
    if block[axis] % n:
        raise ValueError(
            f"{name} is {axis}, an axis of the block that must divide by {n}, the devices along {', '.join(names)}."
            f" Got blocks of shape {block}."
        )


def one_each(block: tuple[int, ...], axis: int, n: int, name: str, names: tuple[str, ...]) -> None:
    if block[axis] != n:
        raise ValueError(
            f"{name} is {axis}, an axis of the block that must have one element for each of the {n} devices along"
            f" {', '.join(names)}. Got blocks of shape {block}. tiled=True cuts it into parts."
        )


def no_filling(padded: list[int], name: str, names: tuple[str, ...]) -> None:
    """Zeros that fill up blocks would count as numbers."""
    if padded:
        raise ValueError(
            f"{name} over {', '.join(names)} must not meet padding: axis {padded[0]} of the array is split over it and"
            " filled up with zeros, which would count. Pass an array that divides."
        )


def one_origin(is_one: bool) -> None:
    if not is_one:
        raise ValueError("target must be a part of the same mesh, made by its `at`. Got a mesh of its own.")
