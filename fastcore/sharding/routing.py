"""Tokens to experts on other devices and back: top-k routing, dispatch and combine, each with its backward."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_sharding_experts as check
from fastcore._core.validate import flag
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import all_to_all
from fastcore.sharding.device import device_kernel
from fastcore.sharding.kernels import experts as kernels
from fastcore.sharding.spec import P, entry_of, parts_of

__all__ = ["Routing", "combine_tokens", "dispatch_tokens", "route_tokens"]

Axis = str | tuple[str, ...]


class Routing(NamedTuple):
    """Which experts see which tokens. (..., k) arrays are laid out as the tokens are.

    experts : (..., k) int64, largest weight first
    weights : (..., k) of the experts' answers
    slots : (..., k) int64, place of the token among those its device sends to the expert; −1: dropped, it was full
    dropped : int64, one number a device: choices of its tokens that were dropped
    capacity : slots of an expert for the tokens of one device
    num_experts : of them
    normalize : whether the weights of a token add up to 1
    """

    experts: ShardedArray
    weights: ShardedArray
    slots: ShardedArray
    dropped: ShardedArray
    capacity: int
    num_experts: int
    normalize: bool


def _count(array: ShardedArray) -> float:
    return float(math.prod(array.block_shape))


def _flops_of_routing(logits: ShardedArray, *others: Any) -> float:
    return 10.0 * _count(logits)


def _flops_of_copies(x: ShardedArray, *others: Any) -> float:
    return 0.0


def _flops_of_choices(x: ShardedArray, buffer: Any, experts: ShardedArray, *others: Any) -> float:
    """Two operations for each choice and feature."""
    return 2.0 * _count(experts) * x.block_shape[-1]


_route = device_kernel(kernels.route, flops=_flops_of_routing, as_rows=True)
_route_backward = device_kernel(kernels.route_backward, flops=_flops_of_routing, as_rows=True)
_dispatch = device_kernel(kernels.dispatch, flops=_flops_of_copies, as_rows=True)
_dispatch_backward = device_kernel(kernels.dispatch_backward, flops=_flops_of_copies, as_rows=True)
_combine = device_kernel(
    kernels.combine, flops=lambda buffer, experts, *others: 2.0 * _count(experts) * buffer.block_shape[-1], as_rows=True
)
_combine_backward = device_kernel(
    kernels.combine_backward, flops=lambda *given: 2 * _flops_of_choices(*given), as_rows=True
)


def route_tokens(
    logits: ShardedArray, top_k: int, *, capacity_factor: float | None = None, normalize: bool = True
) -> Routing:
    """The k experts of each token, by the largest logits, and a slot with each. No communication.

    Parameters
    ----------
    logits : (..., E) float32 or float64, split by tokens alone; only the first axis may be padded
    top_k : int, from 1 to E
    capacity_factor : float, positive: an expert has ceil(capacity_factor · k · T / E) slots for the T tokens of a
        device; what comes when they are taken is dropped, and counted in the result. Default: T slots, none is dropped.
    normalize : whether weights are the softmax over the chosen experts alone (Mixtral), or over all (Switch, GShard)

    Raises
    ------
    ValueError, TypeError : shape, partition, dtype or an option is wrong

    Notes
    -----
    Slots go to first choices before second ones, then by the order of tokens: Lepikhin et al. 2020, "GShard",
    algorithm 1; each device is a group there.
    """
    check.logits(logits)
    mesh, num_experts = logits.mesh, logits.shape[-1]
    k = check.top_k(top_k, num_experts)
    tokens = math.prod(logits.block_shape[:-1])
    capacity = check.capacity(capacity_factor, k, tokens, num_experts)
    experts, slots = (_like(logits, k, np.int64) for _ in range(2))
    weights = _like(logits, k, logits.dtype)
    used = logits.spec.used()
    dropped = mesh.empty((math.prod(mesh.axes[name] for name in used),), np.int64, P(entry_of(used)))
    index, inner = mesh.axis_index(logits.spec.names(0)), math.prod(logits.block_shape[1:-1])
    place = (index, logits.shape[0], logits.block_shape[0], inner)
    _route(logits, *place, capacity, flag(normalize, "normalize"), experts, weights, slots, dropped)
    return Routing(experts, weights, slots, dropped, capacity, num_experts, normalize)


def route_tokens_backward(logits: ShardedArray, routing: Routing, grad_weights: ShardedArray) -> ShardedArray:
    """Gradient of `route_tokens` by the logits; choices themselves have none."""
    grad = _like(logits, logits.shape[-1], logits.dtype)
    _route_backward(logits, routing.experts, routing.weights, grad_weights, routing.normalize, grad)
    return grad


def dispatch_tokens(x: ShardedArray, routing: Routing, *, axis: Axis = "ep") -> ShardedArray:
    """Each token to the devices of its experts. One all_to_all.

    Parameters
    ----------
    x : (..., D), split by tokens as the logits are, over `axis` among others
    routing : of these tokens
    axis : mesh axis, or several: experts are divided over its n devices in order, ceil(E / n) on each

    Returns
    -------
    (experts, slots, D), the first axis split over `axis`: for each expert the n · capacity slots of the devices along
    `axis`, in their order; free slots are zero. Where E does not divide, experts without tokens come at the end.

    Raises
    ------
    ValueError, TypeError : shapes or partitions do not go together, `axis` does not split the tokens
    """
    names = check.dispatched(x, routing, axis)
    buffer = _buffer(x, routing, names)
    _dispatch(x, routing.experts, routing.slots, routing.capacity, buffer)
    return all_to_all(buffer, names, 0, 1, tiled=True)


def dispatch_tokens_backward(grad: ShardedArray, routing: Routing, grad_x: ShardedArray, *, axis: Axis = "ep") -> None:
    """Add the gradient of `dispatch_tokens` by x to `grad_x`. One all_to_all."""
    buffer = all_to_all(grad, axis, 1, 0, tiled=True)
    _dispatch_backward(buffer, routing.experts, routing.slots, routing.capacity, grad_x)


def combine_tokens(answers: ShardedArray, routing: Routing, *, axis: Axis = "ep") -> tuple[ShardedArray, ShardedArray]:
    """Each token's weighted sum of the answers of its experts. One all_to_all.

    Parameters
    ----------
    answers : (experts, slots, D), as `dispatch_tokens` gives them
    routing, axis : as there

    Returns
    -------
    y : (..., D), laid out as the tokens were; zero for tokens whose choices were all dropped
    returned : the answers of its own tokens on each device, which the backward needs

    Raises
    ------
    ValueError, TypeError : as `dispatch_tokens`
    """
    check.answers(answers, routing, axis)
    returned = all_to_all(answers, axis, 1, 0, tiled=True)
    y = _like(routing.weights, answers.shape[-1], answers.dtype)
    _combine(returned, routing.experts, routing.weights, routing.slots, routing.capacity, y)
    return y, returned


def combine_tokens_backward(
    returned: ShardedArray, routing: Routing, grad_y: ShardedArray, *, axis: Axis = "ep"
) -> tuple[ShardedArray, ShardedArray]:
    """Gradients of `combine_tokens` by the answers, on the devices of the experts, and by the weights."""
    grad_buffer = returned.empty_like()
    grad_weights = _like(routing.weights, routing.weights.shape[-1], routing.weights.dtype)
    arguments = (grad_y, returned, routing.experts, routing.weights, routing.slots, routing.capacity)
    _combine_backward(*arguments, grad_buffer, grad_weights)
    return all_to_all(grad_buffer, axis, 0, 1, tiled=True), grad_weights


def _like(x: ShardedArray, size: int, dtype: Any) -> ShardedArray:
    """Tokens as those of x, with another last axis."""
    return x.mesh.empty((*x.shape[:-1], size), dtype, x.spec, pad=True)


def _buffer(x: ShardedArray, routing: Routing, names: tuple[str, ...]) -> ShardedArray:
    """(experts, slots, D): on each device slots for its own tokens."""
    n = x.mesh.axis_size(names)
    spec = P(None, entry_of(x.spec.used()))
    slots = parts_of(spec, 1, x.mesh.axes) * routing.capacity
    return x.mesh.empty((-(-routing.num_experts // n) * n, slots, x.shape[-1]), x.dtype, spec)
