"""Attention whose heads are spread over devices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_sharding as check
from fastcore._core import validate_sharding_block as check_block
from fastcore.attention.kernels.backward import attention_backward
from fastcore.attention.scaled_dot_product import scaled_dot_product_attention
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import psum
from fastcore.sharding.contraction import (
    contract,
    contract_input_gradient,
    contract_weight_gradient,
    entries,
    sum_over_rows,
)
from fastcore.sharding.device import device_function
from fastcore.sharding.layer import Layer
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.products import add_bias
from fastcore.sharding.ring_heads import attend_around, attend_around_backward
from fastcore.sharding.spec import P, entry_of

__all__ = ["ParallelAttention"]

_WEIGHTS = ("query_weight", "key_weight", "value_weight", "output_weight")
_BIASES = ("query_bias", "key_bias", "value_bias", "output_bias")


def _attend_flops(query: Any, key: Any, value: Any, out: Any, lse: Any, is_causal: bool, scale: float) -> float:
    """Two products, half of each where causal."""
    return (2.0 if is_causal else 4.0) * math.prod(query.block_shape) * key.block_shape[1]


def _backward_flops(query: Any, key: Any, *others: Any) -> float:
    """Five products; `others` ends with is_causal, scale."""
    return (5.0 if others[-2] else 10.0) * math.prod(query.block_shape) * key.block_shape[1]


def _heads(block: np.ndarray, size: int) -> np.ndarray:
    """(B, L, G, r * D) memory as (B, H, L, D)."""
    return block.reshape(*block.shape[:2], -1, size).transpose(0, 2, 1, 3) if block.size else np.empty((0, 0, 0, size))


@device_function(flops=_attend_flops)
def _attend(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, out: np.ndarray, lse: np.ndarray, causal: bool, scale: float
) -> None:
    if query.size:
        size = key.shape[3]
        result = scaled_dot_product_attention(
            _heads(query, size), _heads(key, size), _heads(value, size), is_causal=causal, scale=scale,
            return_lse=True, out=_heads(out, size),
        )  # fmt: skip
        lse[...] = result[1].reshape(lse.shape)


@device_function(flops=_backward_flops)
def _attend_backward(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, out: np.ndarray, lse: np.ndarray, grad_out: np.ndarray,
    grad_query: np.ndarray, grad_key: np.ndarray, grad_value: np.ndarray, causal: bool, scale: float,
) -> None:  # fmt: skip
    if query.size:
        size = key.shape[3]
        arrays = (query, key, value, out, grad_out, grad_query, grad_key, grad_value)
        query, key, value, out, *grads = (_heads(each, size) for each in arrays)
        statistics = lse.reshape(*query.shape[:3])
        attention_backward(query, key, value, out, statistics, *grads, is_causal=causal, scale=scale)


class ParallelAttention(Layer):
    """Multi-head self-attention, each device some of the heads: one psum forward and one backward.

    Axes: B batch, L tokens, E features, H query heads, G key/value heads, D head size.

    Parameters
    ----------
    mesh : Mesh
    weights : mapping of arrays, the same in every process, one of float32 and float64:
        query_weight (E, H D), key_weight and value_weight (E, G D), output_weight (H D, E); optional query_bias (H D),
        key_bias and value_bias (G D), output_bias (E)
    num_heads : int, H
    num_kv_heads : int, G, default H; divides H
    is_causal : whether a token attends to itself and those before it only
    scale : float, default 1 / sqrt(D)
    axis : name of the mesh axis that splits the heads, several, or () for none
    sequence_axis : name of the mesh axis that splits the tokens, or several, not those of `axis`: keys and values then
        travel around, as in `ring_attention`. Default: sequences are whole

    Raises
    ------
    ValueError : unknown axis, shapes disagree, a weight is missing or unknown
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Key/value heads are spread with the query heads that share them. Where G does not divide by the devices, devices are
    filled up with heads of zeros, whose results and gradients are exact zeros: of G = 3 on 4 devices one device idles.

    `params` holds the weights in heads: query_weight (E, G, H / G D), key_weight (E, G, D), output_weight
    (G, H / G D, E), split along G. `ShardedArray.gather` and a reshape give back what came.

    Source: Shoeybi et al. 2019, "Megatron-LM", section 3.
    """

    def __init__(
        self,
        mesh: Mesh,
        weights: Any,
        *,
        num_heads: int,
        num_kv_heads: int | None = None,
        is_causal: bool = False,
        scale: float | None = None,
        axis: str | tuple[str, ...] = "tp",
        sequence_axis: str | tuple[str, ...] = (),
    ) -> None:
        check.mesh(mesh, Mesh)
        self.mesh, self.axes = mesh, check.axis_names(axis, mesh.axes)
        self.sequence_axes = check.axis_names(sequence_axis, mesh.axes)
        check.axis_names((*self.axes, *self.sequence_axes), mesh.axes)
        arrays = check_block.float_weights(weights, _WEIGHTS, _BIASES)
        check_block.matrix(arrays["query_weight"], "query_weight")
        embed, columns = arrays["query_weight"].shape
        self.num_heads, self.num_kv_heads = check_block.head_counts(columns, num_heads, num_kv_heads)
        self.embed_dim, self.head_dim = embed, columns // self.num_heads
        self.dtype = arrays["query_weight"].dtype
        self.is_causal = validate.flag(is_causal, "is_causal")
        self.scale = 1.0 / math.sqrt(self.head_dim) if scale is None else validate.score_scale(scale)
        groups, size = self.num_kv_heads, self.head_dim
        kv = groups * size
        shapes = {
            "query_weight": (embed, columns), "key_weight": (embed, kv), "value_weight": (embed, kv),
            "output_weight": (columns, embed), "query_bias": (columns,), "key_bias": (kv,), "value_bias": (kv,),
            "output_bias": (embed,),
        }  # fmt: skip
        check_block.weight_shapes(arrays, shapes)
        split = entry_of(self.axes)
        self.params = {}
        for name, array in arrays.items():
            if name == "output_bias":
                self.params[name] = mesh.put(array)
            elif name == "output_weight":
                self.params[name] = mesh.put(array.reshape(groups, -1, embed), P(split), pad=True)
            elif name.endswith("weight"):
                self.params[name] = mesh.put(array.reshape(embed, groups, -1), P(None, split), pad=True)
            else:
                self.params[name] = mesh.put(array.reshape(groups, -1), P(split), pad=True)

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, list[ShardedArray]]:
        """x and the result: (B, L, E), L split over `sequence_axis` alone, copied over the devices that split the
        heads."""
        check_block.activations(x, "x", self, self.embed_dim)
        check_block.sequences(x, self.sequence_axes)
        query, key, value = (
            contract(x, self.params[f"{name}_weight"], 1, self.params.get(f"{name}_bias"))
            for name in ("query", "key", "value")
        )
        out, saved = self._attended(query, key, value)
        y = psum(contract(out, self.params["output_weight"], 2), self.axes)
        if "output_bias" in self.params:
            add_bias(y, self.params["output_bias"])
        return y, [x, out, saved]

    def _attended(self, query: ShardedArray, key: ShardedArray, value: ShardedArray) -> tuple[ShardedArray, Any]:
        """The result, as query, and what `_attended_backward` needs besides."""
        if self.sequence_axes:
            return attend_around(
                query, key, value, size=self.head_dim, axis=self.sequence_axes, is_causal=self.is_causal,
                scale=self.scale,
            )  # fmt: skip
        out = query.empty_like()
        # (B, G, H / G, L), as the heads lie in the blocks of query
        shape = (query.shape[0], self.num_kv_heads, self.num_heads // self.num_kv_heads, query.shape[1])
        lse = self.mesh.empty(shape, query.dtype, P(entries(query)[0], entry_of(self.axes)), pad=True)
        _attend(query, key, value, out, lse, self.is_causal, self.scale)
        return out, [query, key, value, lse]

    def _attended_backward(self, out: ShardedArray, saved: Any, grad_out: ShardedArray) -> list[ShardedArray]:
        """Gradients by query, key and value."""
        if self.sequence_axes:
            return attend_around_backward(saved, grad_out, self.num_kv_heads)
        query, key, value, lse = saved
        grads = [each.zeros_like() for each in (query, key, value)]
        _attend_backward(query, key, value, out, lse, grad_out, *grads, self.is_causal, self.scale)
        return grads

    def backward(self, saved: list[ShardedArray], grad_y: ShardedArray) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        """See `Layer`."""
        x, out, of_attention = saved
        saved.clear()
        check_block.gradient(grad_y, x.shape, x.spec)
        grads = {}
        if "output_bias" in self.params:
            grads["output_bias"] = sum_over_rows(grad_y, self.params["output_bias"])
        weight = self.params["output_weight"]
        grads["output_weight"] = contract_weight_gradient(out, weight, grad_y, 2)
        grad_out = out.empty_like()
        contract_input_gradient(grad_y, weight, grad_out, 2)
        inner = self._attended_backward(out, of_attention, grad_out)
        del out, of_attention, grad_out
        grad_x = x.empty_like()
        for name in ("value", "key", "query"):
            gradient = inner.pop()
            if f"{name}_bias" in self.params:
                grads[f"{name}_bias"] = sum_over_rows(gradient, self.params[f"{name}_bias"])
            weight = self.params[f"{name}_weight"]
            grads[f"{name}_weight"] = contract_weight_gradient(x, weight, gradient, 1)
            contract_input_gradient(gradient, weight, grad_x, 1, add=name != "value")
            del gradient
        return psum(grad_x, self.axes), grads
