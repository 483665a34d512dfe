"""Checks of kernels that run on devices and of linear layers, and the messages they raise."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from fastcore._core.validate import counted, is_float_type, kind_of, same_dtype
from fastcore._core.validate_sharding import same_mesh, sharded

_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


def device_function(function: Any) -> None:
    if not callable(function):
        raise TypeError(f"A function must be given, for each device to run. Got {kind_of(function)}.")


def device_arguments(name: str, meshes: Sequence[Any]) -> Any:
    """The one mesh of the arguments of a call."""
    if not meshes:
        raise TypeError(
            f"{name} needs at least one ShardedArray among its arguments, which says on which mesh it runs."
        )
    first = meshes[0]
    for mesh in meshes[1:]:
        if not same_mesh(mesh, first):
            raise ValueError(f"All arguments of {name} must be on one mesh. Got {first!r} and {mesh!r}.")
    return first


def plain_argument(name: str, place: int, value: Any) -> np.ndarray:
    """An argument that is the same on all devices: a number, as an array without axes, or an array."""
    if type(value) in (bool, float):  # in a fifth of the time
        return np.array(value)
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


def number_of_arguments(name: str, names: Sequence[str], count: int) -> NoReturn:
    raise TypeError(f"{name} takes {counted(len(names), 'argument')} ({', '.join(names)}). Got {count}.")


def kernel_dtype(name: str, place: int, dtype: np.dtype) -> NoReturn:
    raise TypeError(
        f"Argument {place} of {name} must be of booleans, integers, floats or complex numbers in native byte order."
        f" Got dtype {dtype}."
    )


def not_compiled(name: str, error: Exception) -> NoReturn:
    raise TypeError(f"device_kernel {name} cannot be compiled for these arguments: {error}") from error


def sharded_floats(arrays: Mapping[str, Any]) -> None:
    """Sharded arrays of one floating dtype on one mesh."""
    for name, array in arrays.items():
        sharded(array, name)
        if not is_float_type(array.dtype):
            raise TypeError(f"{name} must be float32, float64, float16 or bfloat16. Got {array.dtype}.")
    same_dtype(arrays)
    device_arguments(", ".join(arrays), [each.mesh for each in arrays.values()])


def linear_weight(weight: Any, split: int, names: tuple[str, ...]) -> None:
    """A weight (in, out) split by `names` along its axis `split` alone."""
    if weight.ndim != 2:
        raise ValueError(f"weight must have two axes, (in, out). Got shape {weight.shape}.")
    wanted = "P(None, axis)" if split else "P(axis)"
    if weight.spec.names(split) != names or weight.spec.names(1 - split):
        raise ValueError(f"weight must be put with {wanted}, axis {_shown(names)}. Got {weight.spec!r}.")


def fits_weight(x: Any, weight: Any) -> None:
    if x.ndim < 1 or x.shape[-1] != weight.shape[0]:
        raise ValueError(f"The last axis of x must be the first of weight. Got x {x.shape}, weight {weight.shape}.")


def last_axis(name: str, array: Any, length: int, split: tuple[str, ...], names: tuple[str, ...]) -> None:
    """An array (..., length) whose last axis is split by `split`, and no other by `names`, the axes of the layer."""
    if array.ndim < 1 or array.shape[-1] != length:
        raise ValueError(f"The last axis of {name} must have {length} elements. Got shape {array.shape}.")
    if array.spec.names(array.ndim - 1) != split:
        rule = f"split over {_shown(split)}" if split else "whole on each device"
        raise ValueError(f"The last axis of {name} must be {rule}. Got {array.spec!r}.")
    others = [each for axis in range(array.ndim - 1) for each in array.spec.names(axis)]
    if set(others) & set(names):
        raise ValueError(f"Only the last axis of {name} may be split over {_shown(names)}. Got {array.spec!r}.")


def linear_bias(bias: Any, length: int, split: tuple[str, ...], names: tuple[str, ...]) -> None:
    if bias.ndim != 1:
        raise ValueError(f"bias must have one axis. Got shape {bias.shape}.")
    last_axis("bias", bias, length, split, names)


def same_rows(x: Any, grad: Any) -> None:
    """A gradient of the rows of x, in the same blocks."""
    rows = [(each.shape[:-1], [each.spec.names(axis) for axis in range(each.ndim - 1)]) for each in (x, grad)]
    if rows[0] != rows[1]:
        raise ValueError(
            f"grad_y must have the axes of x but the last, split in the same way. Got grad_y {grad.shape} by"
            f" {grad.spec!r}, x {x.shape} by {x.spec!r}."
        )


def _shown(names: tuple[str, ...]) -> str:
    return repr(names[0] if len(names) == 1 else names)


def failed_once(name: str, device: int) -> NoReturn:
    """A kernel that raises in parallel raises again when it runs alone; what does not is a lack of memory."""
    raise MemoryError(f"{name} failed on device {device} of this process, and did not when it ran again.")
