"""Checks of expert parallelism, and the messages they raise."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core.validate import kind_of, positive_float, positive_index, same_dtype
from fastcore._core.validate_sharding import axis_names, sharded
from fastcore._core.validate_sharding_device import device_arguments

_WEIGHTS = ("router_weight", "up_weight", "up_bias", "down_weight", "down_bias")


def logits(x: Any) -> None:
    _sharded(x, "logits")
    _split_by_tokens(x, "logits")
    if x.shape[-1] < 1:
        raise ValueError(f"logits must have at least one expert along the last axis. Got shape {x.shape}.")


def top_k(x: Any, experts: int) -> int:
    k = positive_index(x, "top_k")
    if k > experts:
        raise ValueError(f"top_k must be at most the number of experts, {experts}. Got {k}.")
    return k


def capacity(factor: Any, k: int, tokens: int, experts: int) -> int:
    """Slots of an expert for the tokens of one device."""
    if factor is None:
        return tokens
    return min(math.ceil(positive_float(factor, "capacity_factor") * k * tokens / experts), tokens)


def tokens(x: Any, router: Any, axis: tuple[str, ...]) -> None:
    _sharded(x, "x")
    same_dtype({"x": x, "weights": router})
    device_arguments("forward", [router.mesh, x.mesh])
    _split_by_tokens(x, "x")
    if x.shape[-1] != router.shape[0]:
        raise ValueError(f"The last axis of x must have {router.shape[0]} elements, as router_weight. Got {x.shape}.")
    _split_over(x, axis)


def gradient_of_tokens(grad: Any, x: Any) -> None:
    _sharded(grad, "grad_y")
    if (grad.shape, grad.block_shape, grad.dtype) != (x.shape, x.block_shape, x.dtype):
        raise ValueError(
            f"grad_y must be as y: {x.dtype} {x.shape} in blocks of {x.block_shape}."
            f" Got {grad.dtype} {grad.shape} in blocks of {grad.block_shape}."
        )


def dispatched(x: Any, routing: Any, axis: Any) -> tuple[str, ...]:
    """The axes of the mesh over which experts are divided."""
    _sharded(x, "x")
    _split_by_tokens(x, "x")
    names = axis_names(axis, x.mesh.axes)
    _split_over(x, names)
    if x.block_shape[:-1] != routing.experts.block_shape[:-1] or x.shape[:-1] != routing.experts.shape[:-1]:
        raise ValueError(f"x must have the tokens that were routed, {routing.experts.shape[:-1]}. Got shape {x.shape}.")
    return names


def answers(x: Any, routing: Any, axis: Any) -> None:
    _sharded(x, "answers")
    n = math.prod(x.mesh.axes[name] for name in axis_names(axis, x.mesh.axes))
    block = (-(-routing.num_experts // n), n * routing.capacity)
    if x.ndim != 3 or x.block_shape[:2] != block:
        raise ValueError(
            f"answers must be (experts, slots, D) as dispatch_tokens gives them, {block[0]} experts and {block[1]}"
            f" slots on a device. Got shape {x.shape} in blocks of {x.block_shape}."
        )


def expert_weights(x: Any) -> dict[str, np.ndarray]:
    """The five weights as arrays of one dtype, whose shapes agree."""
    if not isinstance(x, Mapping):
        raise TypeError(f"weights must map {', '.join(_WEIGHTS)} to arrays. Got {kind_of(x)}.")
    if set(x) != set(_WEIGHTS):
        raise ValueError(f"weights must be {', '.join(_WEIGHTS)}. Got {', '.join(map(str, x)) or 'none'}.")
    arrays = {name: np.asarray(x[name]) for name in _WEIGHTS}
    for name, array in arrays.items():
        _float(array.dtype, name)
    same_dtype(arrays)
    router, up = arrays["router_weight"], arrays["up_weight"]
    if router.ndim != 2 or up.ndim != 3:
        raise ValueError(f"router_weight must be (D, E), up_weight (E, D, F). Got {router.shape} and {up.shape}.")
    (features, experts), hidden = router.shape, up.shape[2]
    shapes = {
        "up_weight": (experts, features, hidden),
        "up_bias": (experts, hidden),
        "down_weight": (experts, hidden, features),
        "down_bias": (experts, features),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"{name} must have shape {shape}: {experts} experts, {features} features, {hidden} hidden columns."
                f" Got {arrays[name].shape}."
            )
    return arrays


def _sharded(x: Any, name: str) -> None:
    sharded(x, name)
    _float(x.dtype, name)


def _float(dtype: np.dtype, name: str) -> None:
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64. Got {dtype}.")


def _split_by_tokens(x: Any, name: str) -> None:
    if x.ndim < 2:
        raise ValueError(f"{name} must have axes of tokens and a last axis. Got shape {x.shape}.")
    if x.spec.names(x.ndim - 1):
        raise ValueError(f"The last axis of {name} must not be split. Got {x.spec!r}.")
    for dimension in range(1, x.ndim - 1):
        if x.shape[dimension] % x.block_shape[dimension]:
            raise ValueError(
                f"Only the first axis of {name} may be padded. Got shape {x.shape} in blocks of {x.block_shape}."
            )


def _split_over(x: Any, axis: tuple[str, ...]) -> None:
    missing = [name for name in axis if name not in x.spec.used()]
    if missing:
        raise ValueError(
            f"Tokens must be split over {', '.join(map(repr, missing))}, as experts are: put x with P({missing[0]!r})."
            f" Got {x.spec!r}."
        )
