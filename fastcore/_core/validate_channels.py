"""Arguments of normalisation over batches and groups."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core.validate import (
    float_array,
    kind_of,
    output_array,
    positive_index,
    same_dtype,
    shares_memory,
)
from fastcore._core.validate_nn import one_shape


def channel_array(x: Any, name: str) -> np.ndarray:
    """`x` of at least the axes (N, C)."""
    array = float_array(x, name)
    if array.ndim < 2:
        raise ValueError(f"{name} must have the axes (N, C, ...). Got {array.shape}.")
    return array


def one_a_channel(vectors: Mapping[str, Any], channels: int, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Those of the vectors that are given: one number a channel, in one dtype.

    That is `dtype`, or where this is float16 or bfloat16 it may be float32.
    """
    arrays = {name: float_array(x, name) for name, x in vectors.items() if x is not None}
    allowed = (dtype,) if dtype.itemsize > 2 else (dtype, np.dtype(np.float32))
    for name, x in arrays.items():
        if x.dtype not in allowed or x.dtype != next(iter(arrays.values())).dtype:
            got = ", ".join(f"{n} {a.dtype}" for n, a in arrays.items())
            kinds = " or ".join(str(kind) for kind in allowed)
            raise TypeError(f"{', '.join(arrays)} must have one dtype, {kinds}. Got {got}. Convert with .astype.")
        if x.shape != (channels,):
            raise ValueError(f"{name} must have one number for each of {channels} channels. Got {x.shape}.")
    return arrays


def running_statistics(mean: Any, variance: Any) -> None:
    """Both are given."""
    for name, x in (("running_mean", mean), ("running_var", variance)):
        if x is None:
            raise ValueError(f"{name} must be given: inference uses it. Got None.")


def updatable(mean: Any, variance: Any) -> None:
    """Running statistics, so far as they are given, are arrays that training can update."""
    for name, x in (("running_mean", mean), ("running_var", variance)):
        if x is not None:
            if not isinstance(x, np.ndarray):
                raise TypeError(f"{name} must be a numpy.ndarray: training updates it in place. Got {kind_of(x)}.")
            if not x.dtype.isnative:
                raise TypeError(f"{name} must be in native byte order: training updates it. Got {x.dtype.str}.")
            output_array(x, x.shape, x.dtype, name)
    if mean is not None and variance is not None and shares_memory(mean, [variance]):
        raise ValueError("running_mean and running_var must not share memory: training updates both. Pass copies.")


def own_memory(arrays: Mapping[str, Any], out: np.ndarray | None) -> None:
    """`out` overlaps none of the arrays, which are updated after it."""
    for name, x in arrays.items():
        if out is not None and x is not None and shares_memory(out, [x]):
            raise ValueError(f"out and {name} must not share memory: training updates both. Pass a copy.")


def more_than_one_value(shape: tuple[int, ...], groups: int, group: str) -> None:
    """Elements that share their moments: any number but one, whose result would be the bias whatever it is."""
    if groups and math.prod(shape) == groups:
        raise ValueError(f"input must have more than one value per {group}. Got {shape}, {groups} in all.")


def group_count(num_groups: Any, input: np.ndarray) -> int:
    groups = positive_index(num_groups, "num_groups")
    if input.shape[1] % groups:
        raise ValueError(f"num_groups must divide the channels of input. Got {groups} groups, input {input.shape}.")
    return groups


def gradient_of_result(grad_out: Any, input: np.ndarray) -> np.ndarray:
    """`grad_out` of the shape and dtype of `input`."""
    array = float_array(grad_out, "grad_out")
    same_dtype({"input": input, "grad_out": array})
    one_shape({"input": input, "grad_out": array})
    return array


def gradients(
    out: Any, input: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """What to write the gradients to: new arrays, or where `out` has one that; none where there is no vector."""
    given = (None, None, None) if out is None else out
    if not isinstance(given, tuple) or len(given) != 3:
        got = f"a tuple of {len(given)}" if isinstance(given, tuple) else kind_of(given)
        raise TypeError(f"out must be (grad_input, grad_weight, grad_bias), each an array or None. Got {got}.")
    grad_input = _gradient(given[0], input, "input")
    results: list[np.ndarray | None] = [grad_input]
    for target, x, name in ((given[1], weight, "weight"), (given[2], bias, "bias")):
        if x is None and target is not None:
            raise ValueError(f"out must have None for grad_{name}: {name} is None. Got {kind_of(target)}.")
        results.append(None if x is None else _gradient(target, x, name))
        if target is not None and shares_memory(target, results[:-1]):
            raise ValueError(f"grad_{name} must not share memory with what comes before it in out. Pass a copy.")
    return grad_input, results[1], results[2]


def _gradient(target: Any, x: np.ndarray, name: str) -> np.ndarray:
    if target is None:
        return np.empty_like(x, subok=False)
    return output_array(target, x.shape, x.dtype, f"grad_{name}")


def size_of_axis(x: np.ndarray, name: str, axis: int) -> int:
    """Elements along an axis that must be there."""
    if x.ndim <= axis:
        raise ValueError(f"{name} must have an axis {axis}, of output channels. Got {x.shape}.")
    return x.shape[axis]
