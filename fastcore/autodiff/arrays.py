"""Arrays that a program is applied to: their common dtype and shape, and where a kernel finds them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core import simd, streaming, validate
from fastcore._core import validate_autodiff as check
from fastcore.autodiff.kernels.evaluate import HEAD, ITEM_ELEMENTS, PLACE, STREAMED_ELEMENTS
from fastcore.autodiff.program import Compiled

__all__ = ["evaluate", "evaluate_quickly"]

_FLOAT32, _FLOAT64, _INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
_ndarray, _empty = np.ndarray, np.empty
_VECTOR_BYTES = simd.VECTOR_BITS // 8


# Results are parts of one array up to this size in all: NumPy asks for large pages from 4 MiB on, and 12 MB of them are
# first written in 3.1 ms, three arrays of 4 MB in 7.8. Larger results should not keep each other's memory.
_TOGETHER_BYTES = 32 << 20


def evaluate_quickly(compiled: Compiled, values: Sequence[Any]) -> Any:
    """The results for arrays of one shape and one of float32 and float64; None if these are others.

    3 us for a call of 64 elements, where `evaluate` takes 25.
    """
    first = values[0]
    if type(first) is not _ndarray:
        return None
    dtype, shape, size = first.dtype, first.shape, first.size
    if (dtype is not _FLOAT32 and dtype is not _FLOAT64) or size == 0 or not shape:
        return None
    plan = _empty(HEAD + 2 * (compiled.outputs + len(values)), _INT64)
    put = PLACE[dtype].call
    kept = []  # copies of what has no order to read it in: the plan holds addresses
    for k, x in enumerate(values):
        if type(x) is not _ndarray or x.dtype is not dtype or x.shape != shape:
            return None
        x = x.reshape(-1)
        kept.append(x)
        if not put(plan, k, x, 1):
            return None
    plan[2] = False
    total = size * dtype.itemsize * compiled.outputs
    if total < streaming.STREAMED_BYTES:
        results: Any = _empty((compiled.outputs, *shape), dtype)
        put(plan, len(values), results.reshape(-1), compiled.outputs)
    else:
        results = _new_arrays(shape, dtype, compiled.outputs)
        for k, result in enumerate(results):
            put(plan, len(values) + k, result.reshape(-1), 1)
        plan[2], plan[3], plan[4] = True, len(values), STREAMED_ELEMENTS
    compiled.kernel(dtype)(size * compiled.cost(dtype), plan, compiled.constants)
    return results


def evaluate(
    compiled: Compiled, names: Sequence[str], values: Sequence[Any], outs: Sequence[np.ndarray | None] | None = None
) -> list[np.ndarray]:
    """The program's results for arrays that broadcast against each other.

    float32 and float64 are computed in themselves, float16 and bfloat16 in float32, integers and booleans in float64;
    a Python number takes the dtype of the arrays. An array of ``outs`` is written in place.
    """
    arrays = [_number_or_array(x, name) for x, name in zip(values, names, strict=True)]
    dtype = _result_dtype(arrays)
    computing = validate.computing_dtype(dtype)
    with np.errstate(over="ignore"):
        inputs = [np.asarray(x).astype(computing, copy=False) for x in arrays]
    shape = check.broadcast_shape(dict(zip(names, inputs)))
    results = _results(outs or [None] * compiled.outputs, shape, dtype)
    targets = _targets(results, inputs, computing)
    if results[0].size:
        _launch(compiled, inputs, targets, shape)
        for target, result in zip(targets, results):
            if target is not result:
                with np.errstate(over="ignore"):  # float16 ends at 65504
                    result[...] = target
    return results


def _number_or_array(x: Any, name: str) -> Any:
    """An array, or the Python number that will take the others' dtype."""
    if isinstance(x, int | float) and not isinstance(x, bool | np.generic):
        return check.number(x, name)
    array = validate.as_native_array(x, name)
    check.real_dtype(array.dtype, name)
    return array


def _result_dtype(arrays: Sequence[Any]) -> np.dtype:
    dtypes = [x.dtype for x in arrays if isinstance(x, np.ndarray)]
    if not dtypes or any(dtype.kind in "iub" for dtype in dtypes):
        return _FLOAT64
    if all(dtype == dtypes[0] for dtype in dtypes):
        return dtypes[0]
    return functools.reduce(np.promote_types, map(validate.computing_dtype, dtypes))  # float16 and bfloat16: float32


def _results(outs: Sequence[np.ndarray | None], shape: tuple[int, ...], dtype: np.dtype) -> list[np.ndarray]:
    for number, out in enumerate(outs):
        if out is not None:
            validate.output_array(out, shape, dtype, f"out[{number}]")
    check.distinct([out for out in outs if out is not None])
    new = iter(_new_arrays(shape, dtype, sum(out is None for out in outs)))
    return [next(new) if out is None else out for out in outs]


def _new_arrays(shape: tuple[int, ...], dtype: np.dtype, count: int) -> list[np.ndarray]:
    """New arrays that begin with a vector, so that all of each can be written past the caches."""
    size = math.prod(shape) * dtype.itemsize
    step = size + -size % _VECTOR_BYTES
    if count > 1 and step * count > _TOGETHER_BYTES:
        return [array for _ in range(count) for array in _new_arrays(shape, dtype, 1)]
    memory = np.empty(step * count + _VECTOR_BYTES, np.uint8)
    start = -_address(memory) % _VECTOR_BYTES
    places = range(start, start + step * count, step) if step else [start] * count
    return [memory[place : place + size].view(dtype).reshape(shape) for place in places]


def _targets(results: Sequence[np.ndarray], inputs: Sequence[np.ndarray], computing: np.dtype) -> list[np.ndarray]:
    """What the kernel writes: results, or temporary arrays where they cannot be written in place."""
    targets = []
    for result in results:
        usable = result.dtype == computing and _is_contiguous_along(result)
        if usable and any(np.may_share_memory(result, x) for x in inputs):
            usable = not validate.shares_memory(result, [x for x in inputs if not _is_same_memory(result, x)])
        targets.append(result if usable else np.empty(result.shape, computing))
    return targets


def _address(x: np.ndarray) -> int:
    return x.__array_interface__["data"][0]


def _is_same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether equal indices are equal places."""
    return _address(a) == _address(b) and a.strides == b.strides and a.shape == b.shape


def _launch(
    compiled: Compiled, inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray], shape: tuple[int, ...]
) -> None:
    operands = [*inputs, *targets]
    itemsize, size = targets[0].itemsize, targets[0].size
    axes = _joined_axes(shape, [_broadcast_strides(x, shape) for x in operands]) or [(1, *[itemsize] * len(operands))]
    lengths, *strides = zip(*axes)
    if any(each[-1] not in (0, itemsize) or not x.flags.aligned for each, x in zip(strides, operands)):
        # Elements apart: copied, so that the kernel reads vectors.
        _launch(compiled, [x.copy(order="C") for x in inputs], targets, shape)
        return
    places = [(_address(x), each[-1], *each[:-1]) for x, each in zip(operands, strides)]
    aligned = all(place % _VECTOR_BYTES == 0 for each in places[len(inputs) :] for place in (each[0], *each[2:]))
    streamed = aligned and size * itemsize * len(targets) >= streaming.STREAMED_BYTES
    head = (len(lengths) - 1, lengths[-1], streamed, len(inputs), STREAMED_ELEMENTS if streamed else ITEM_ELEMENTS)
    plan = np.array([*head, *lengths[:-1], *(n for each in places for n in each)], np.int64)
    dtype = operands[0].dtype
    compiled.kernel(dtype)(size * compiled.cost(dtype), plan, compiled.constants)


def _is_contiguous_along(x: np.ndarray) -> bool:
    """Whether a kernel can write it where it lies: aligned, and elements of the last axis side by side."""
    step = next((step for length, step in zip(x.shape[::-1], x.strides[::-1]) if length > 1), x.itemsize)
    return x.flags.aligned and step == x.itemsize


def _broadcast_strides(x: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of `x` seen in a shape that it broadcasts to; `np.broadcast_to` takes 4 us for each."""
    if x.shape == shape:
        return x.strides
    missing = (0,) * (len(shape) - x.ndim)
    return missing + tuple(stride if length > 1 else 0 for length, stride in zip(x.shape, x.strides))


def _joined_axes(shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """(length, stride of each operand) of as few axes as give the same places, the last one last."""
    axes: list[tuple[int, ...]] = []
    for axis in zip(shape, *strides):
        if axis[0] == 1:
            continue
        if axes and all(outer == inner * axis[0] for outer, inner in zip(axes[-1][1:], axis[1:])):
            axes[-1] = (axes[-1][0] * axis[0], *axis[1:])
        else:
            axes.append(axis)
    return axes
