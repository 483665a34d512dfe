"""Checks of meshes, partitions and collectives, and the messages they raise."""

import math
import operator
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from fastcore._core.validate import kind_of, shown

MOST_DEVICES = 10_000_000  # each takes some index arrays of 8 bytes
ENGINES = ("simulated", "mpi", "dry")


def engine_name(engine: Any) -> None:
    if not isinstance(engine, str):
        raise TypeError(f"engine must be one of {', '.join(map(repr, ENGINES))}. Got {kind_of(engine)}.")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}. Got {engine!r}.")


def mesh_axes(axes: Any) -> dict[str, int]:
    """Name → size, at least one device along each axis."""
    if not isinstance(axes, Mapping):
        raise TypeError(f"axes must map names to numbers of devices, e.g. {{'dp': 2, 'tp': 4}}. Got {kind_of(axes)}.")
    checked = {}
    for name, size in axes.items():
        if not isinstance(name, str):
            raise TypeError(f"Names of axes must be strings. Got {shown(name)}.")
        if not name:
            raise ValueError("Names of axes must not be empty.")
        try:
            count = operator.index(size)
        except TypeError:
            raise TypeError(f"axes[{name!r}] must be an integer. Got {shown(size)}.") from None
        if isinstance(size, bool) or count < 1:
            raise ValueError(f"axes[{name!r}] must be at least 1. Got {shown(size)}.")
        checked[name] = count
    if (devices := math.prod(checked.values())) > MOST_DEVICES:
        raise ValueError(f"A mesh must have at most {MOST_DEVICES:,} devices. Got {devices:,}, axes {checked}.")
    return checked


def mesh(value: Any, kind: type, name: str = "mesh") -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a Mesh, such as Mesh({{'dp': 2, 'tp': 4}}). Got {kind_of(value)}.")
    return value


def gathered_array(value: Any, kind: Any, mesh: Any) -> None:
    """An array of this mesh, of which every device has a block."""
    if not isinstance(value, kind):
        raise TypeError(f"gather takes a ShardedArray, which mesh.put makes. Got {kind_of(value)}.")
    if not same_mesh(value.mesh, mesh):
        raise ValueError(
            f"{mesh!r} gathers its own arrays. Got one of {value.mesh!r}: array.gather() asks the mesh it is on."
        )


def same_mesh(mesh: Any, other: Any) -> bool:
    """Whether two meshes are the same devices of one mesh, with the same axes."""
    return mesh is other or (mesh.ledger is other.ledger and mesh.axes == other.axes and mesh.fixed == other.fixed)


def different_copies(array: Any, first: int, position: int) -> NoReturn:
    raise ValueError(
        f"Copies of a block must be equal. Got different values on devices {first} and {position} of {array!r}. Is a"
        " psum missing? gather(check=False) takes the first."
    )


def axis_names(axis: Any, axes: Mapping[str, int]) -> tuple[str, ...]:
    """One axis of the mesh, or several, as a tuple."""
    names = axis if isinstance(axis, tuple) else (axis,)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"axis must be the name of a mesh axis, or a tuple of names. Got {shown(name)}.")
        _known(name, axes)
    if len(set(names)) < len(names):
        raise ValueError(f"axis must name each mesh axis once. Got {axis!r}.")
    return names


def _known(name: str, axes: Mapping[str, int]) -> None:
    if name not in axes:
        known = ", ".join(f"{each!r} ({size})" for each, size in axes.items()) or "no axes"
        raise ValueError(f"{name!r} is not an axis of the mesh, which has {known}.")


def mesh_indices(indices: Mapping[str, Any], axes: Mapping[str, int]) -> None:
    for name, index in indices.items():
        _known(name, axes)
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise TypeError(f"{name} must be an integer. Got {shown(index)}.")
        if not 0 <= index < axes[name]:
            raise ValueError(f"{name} must be between 0 and {axes[name] - 1}. Got {index}.")


def array_shape(shape: Any) -> tuple[int, ...]:
    """A shape as NumPy takes it: integers, or one."""
    try:
        lengths = (operator.index(shape),) if not isinstance(shape, tuple | list) else tuple(map(operator.index, shape))
    except TypeError:
        raise TypeError(f"shape must be an integer or a tuple of integers. Got {shown(shape)}.") from None
    if any(length < 0 for length in lengths):
        raise ValueError(f"shape must not have negative lengths. Got {lengths}.")
    return lengths


def array_dtype(dtype: Any) -> np.dtype:
    """A dtype whose values lie in the array itself."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be one of NumPy's. Got {shown(dtype)}.") from None
    if found.hasobject:
        raise TypeError(f"dtype must not hold Python objects. Got {found}.")
    return found.newbyteorder("=")


def partition(spec: Any, shape: tuple[int, ...], axes: Mapping[str, int], pad: bool) -> Any:
    """A specification that fits the shape: known axes, each once, sizes that divide unless padded."""
    if len(spec) > len(shape):
        raise ValueError(f"spec must have at most one entry an axis of the array. Got {spec!r} for shape {shape}.")
    used = spec.used()
    for name in used:
        _known(name, axes)
    if len(set(used)) < len(used):
        raise ValueError(f"spec must name each mesh axis once. Got {spec!r}.")
    for dimension in range(len(spec)):
        parts = 1
        for name in spec.names(dimension):
            parts *= axes[name]
        if shape[dimension] % parts and not pad:
            raise ValueError(
                f"Axis {dimension} of shape {shape} must divide into {parts} blocks, the devices along"
                f" {spec[dimension]!r}. Got {shape[dimension]}. Pass pad=True to fill up with zeros."
            )
    return spec


def blocks(local: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if not isinstance(local, np.ndarray):
        raise TypeError(f"local must be a NumPy array. Got {kind_of(local)}.")
    if local.shape != shape or local.dtype != dtype:
        raise ValueError(f"local must be {dtype} of shape {shape}. Got {local.dtype} of shape {local.shape}.")
    return np.ascontiguousarray(local)


def sharded(x: Any, name: str) -> None:
    """A ShardedArray, which only it looks like: this floor does not know the class."""
    if not hasattr(x, "block_shape"):
        raise TypeError(f"{name} must be a ShardedArray: mesh.put makes one. Got {kind_of(x)}.")


def divides(length: int, parts: int, name: str, axes: tuple[str, ...]) -> None:
    if length % parts:
        raise ValueError(
            f"The block's axis {name} must divide by {parts}, the devices along {', '.join(axes)}. Got {length}."
        )


def permutation(perm: Any, n: int) -> list[tuple[int, int]]:
    """(source, destination) pairs: each device sends and receives at most once."""
    try:
        pairs = [(operator.index(start), operator.index(end)) for start, end in perm]
    except (TypeError, ValueError):
        raise TypeError(f"perm must be (source, destination) pairs of integers. Got {kind_of(perm)}.") from None
    for index, what in ((0, "source"), (1, "destination")):
        ends = [pair[index] for pair in pairs]
        if len(set(ends)) < len(ends):
            raise ValueError(f"perm must name each {what} once. Got {pairs}.")
        if any(not 0 <= end < n for end in ends):
            raise ValueError(f"perm must hold indices between 0 and {n - 1}. Got {pairs}.")
    return pairs


def same_axes(axes: Mapping[str, int], others: Mapping[str, int]) -> None:
    if dict(axes) != dict(others):
        raise ValueError(f"Both meshes must have the same axes. Got {dict(axes)} and {dict(others)}.")


def not_pickled(kind: str, instead: str) -> NoReturn:
    raise TypeError(f"A {kind} cannot be pickled: it belongs to the devices of this program. {instead}")


def no_operator(symbol: str) -> NoReturn:
    raise TypeError(
        f"ShardedArrays have no operator {symbol}: each device computes in a function of yours on its blocks, which"
        " device_kernel makes of e.g. def add(x, y, out): out[:] = x + y."
    )


def not_an_array(array: Any) -> NoReturn:
    raise TypeError(
        f"A ShardedArray must be gathered before it is a NumPy array, by all processes: array.gather(). Got {array!r}."
    )
