"""Checks of kernels that run on devices and of linear layers, and the messages they raise."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from fastcore._core.validate import kind_of

_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


def device_arguments(name: str, meshes: Sequence[Any]) -> Any:
    """The one mesh of the arguments of a call."""
    if not meshes:
        raise TypeError(
            f"{name} needs at least one ShardedArray among its arguments, which says on which mesh it runs."
        )
    first = meshes[0]
    for mesh in meshes[1:]:
        if mesh is not first and not (
            mesh.ledger is first.ledger and mesh.axes == first.axes and mesh.fixed == first.fixed
        ):
            raise ValueError(f"All arguments of {name} must be on one mesh. Got {first!r} and {mesh!r}.")
    return first


def plain_argument(name: str, place: int, value: Any) -> np.ndarray:
    """An argument that is the same on all devices: a number, as an array without axes, or an array."""
    if not isinstance(value, np.ndarray) and not isinstance(value, _NUMBERS):
        raise TypeError(
            f"Argument {place} of {name} must be a ShardedArray, a NumPy array or a number. Got {kind_of(value)}."
        )
    array = np.ascontiguousarray(value) if isinstance(value, np.ndarray) and value.ndim else np.asarray(value)
    if array.dtype.kind == "O":
        raise ValueError(f"Argument {place} of {name} must fit into 64 bits. Got {kind_of(value)}.")
    array = array.view()
    array.flags.writeable = False  # all devices share it
    return array


def kernel_dtype(name: str, place: int, dtype: np.dtype) -> None:
    if dtype.kind not in "biufc" or dtype.itemsize > 16 or not dtype.isnative:
        raise TypeError(
            f"Argument {place} of {name} must be of booleans, integers, floats or complex numbers in native byte order."
            f" Got dtype {dtype}."
        )


def not_compiled(name: str, error: Exception) -> NoReturn:
    raise TypeError(f"device_kernel {name} cannot be compiled for these arguments: {error}") from error
