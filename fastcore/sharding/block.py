"""Transformer blocks whose attention heads and hidden columns are spread over devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_sharding as check
from fastcore._core import validate_sharding_block as check_block
from fastcore.nn.normalization import layer_norm
from fastcore.nn.normalization_backward import layer_norm_backward
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.device import device_function
from fastcore.sharding.elementwise import activated, add_in_place, gelu_backward, per_element
from fastcore.sharding.initial import initial_weights
from fastcore.sharding.layer import JoinedParams, Layer, joined
from fastcore.sharding.linear import column_parallel, column_parallel_backward, row_parallel, row_parallel_backward
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.parallel_attention import ParallelAttention
from fastcore.sharding.spec import P, entry_of

__all__ = ["LayerNorm", "ParallelMLP", "TransformerBlock"]


@device_function(flops=per_element(8.0))
def _normalize(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, out: np.ndarray) -> None:
    layer_norm(x, weight.shape, weight, bias, eps, out=out)


@device_function(flops=per_element(16.0))
def _norm_backward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    grad_y: np.ndarray,
    eps: float,
    grad_x: np.ndarray,
    grad_weight: np.ndarray,
    grad_bias: np.ndarray,
) -> None:
    layer_norm_backward(grad_y, x, weight.shape, weight, bias, eps, out=(grad_x, grad_weight, grad_bias))


class LayerNorm(Layer):
    """Layer normalisation of the last axis, each device its own rows; weight and bias are copied to all.

    Parameters
    ----------
    mesh : Mesh
    weights : mapping: weight (E,), bias (E,), the same in every process, one of float32 and float64
    eps : float, not negative

    Raises
    ------
    ValueError : shapes disagree, a weight is missing or unknown, eps is negative
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Backward keeps x alone, and computes mean and deviation again. Source: Ba, Kiros and Hinton 2016, eq. 4.
    """

    axes: tuple[str, ...] = ()

    def __init__(self, mesh: Mesh, weights: Any, *, eps: float = 1e-5) -> None:
        self.mesh = check.mesh(mesh, Mesh)
        arrays = check_block.float_weights(weights, ("weight", "bias"), ())
        (self.embed_dim,) = check_block.vector(arrays["weight"], "weight")
        check_block.weight_shapes(arrays, dict.fromkeys(arrays, (self.embed_dim,)))
        self.eps = validate.not_negative_float(eps, "eps")
        self.dtype = arrays["weight"].dtype
        self.params = {name: mesh.put(array) for name, array in arrays.items()}

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, list[ShardedArray]]:
        """x and the result: (B, L, E), any of B and L split."""
        check_block.activations(x, "x", self, self.embed_dim)
        y = x.empty_like()
        _normalize(x, self.params["weight"], self.params["bias"], self.eps, y)
        return y, [x]

    def backward(self, saved: list[ShardedArray], grad_y: ShardedArray) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        """See `Layer`."""
        x = saved.pop()
        check_block.gradient(grad_y, x.shape, x.spec)
        grad_x = x.empty_like()
        grads = {name: each.empty_like() for name, each in self.params.items()}
        weight, bias = self.params["weight"], self.params["bias"]
        _norm_backward(x, weight, bias, grad_y, self.eps, grad_x, grads["weight"], grads["bias"])
        return grad_x, grads


class ParallelMLP(Layer):
    """gelu(x up_weight + up_bias) down_weight + down_bias, each device some of the hidden columns.

    One psum forward and one backward: the first product is split by columns, the second by rows.

    Parameters
    ----------
    mesh : Mesh
    weights : mapping of arrays, the same in every process, one of float32 and float64:
        up_weight (E, F), down_weight (F, E); optional up_bias (F,), down_bias (E,)
    axis : name of the mesh axis that splits F, several, or () for none

    Raises
    ------
    ValueError : unknown axis, shapes disagree, a weight is missing or unknown
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Where F does not divide by the devices, they are filled up with columns of zeros: gelu(0) = 0, so that results are
    exact and gradients of these columns zero. Backward keeps x and the hidden columns before the activation, which it
    computes again. Source: Shoeybi et al. 2019, "Megatron-LM", section 3, eq. 3.
    """

    def __init__(self, mesh: Mesh, weights: Any, *, axis: str | tuple[str, ...] = "tp") -> None:
        check.mesh(mesh, Mesh)
        self.mesh, self.axes = mesh, check.axis_names(axis, mesh.axes)
        arrays = check_block.float_weights(weights, ("up_weight", "down_weight"), ("up_bias", "down_bias"))
        check_block.matrix(arrays["up_weight"], "up_weight")
        self.embed_dim, self.hidden_dim = embed, hidden = arrays["up_weight"].shape
        self.dtype = arrays["up_weight"].dtype
        shapes = {
            "up_weight": (embed, hidden),
            "down_weight": (hidden, embed),
            "up_bias": (hidden,),
            "down_bias": (embed,),
        }
        check_block.weight_shapes(arrays, shapes)
        split = entry_of(self.axes)
        specs = {"up_weight": P(None, split), "down_weight": P(split), "up_bias": P(split), "down_bias": P()}
        self.params = {name: mesh.put(array, specs[name], pad=True) for name, array in arrays.items()}

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, list[ShardedArray]]:
        """x and the result: (B, L, E), copied over the devices that split the hidden columns."""
        check_block.activations(x, "x", self, self.embed_dim)
        up, down = (self.params[f"{name}_weight"] for name in ("up", "down"))
        hidden = column_parallel(x, up, self.params.get("up_bias"), axis=self.axes)
        y = row_parallel(activated(hidden), down, self.params.get("down_bias"), axis=self.axes)
        return y, [x, hidden]

    def backward(self, saved: list[ShardedArray], grad_y: ShardedArray) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        """See `Layer`."""
        x, hidden = saved
        saved.clear()
        check_block.gradient(grad_y, x.shape, x.spec)
        up, down = (self.params[f"{name}_weight"] for name in ("up", "down"))
        grads = {}
        grad_hidden, grads["down_weight"], grads["down_bias"] = row_parallel_backward(
            activated(hidden), down, grad_y, axis=self.axes
        )
        gelu_backward(hidden, grad_hidden)
        del hidden
        grad_x, grads["up_weight"], grads["up_bias"] = column_parallel_backward(x, up, grad_hidden, axis=self.axes)
        return grad_x, {name: grads[name] for name in self.params}


class TransformerBlock(Layer):
    """x + attention(norm1(x)), then x + mlp(norm2(x)): a pre-norm block, split over devices by heads and columns.

    Parameters
    ----------
    mesh : Mesh
    weights : mapping of arrays: those of `LayerNorm` as "norm1.weight", …, and "norm2.…", of `ParallelAttention` as
        "attention.…", of `ParallelMLP` as "mlp.…"
    num_heads, num_kv_heads, is_causal, scale, axis, sequence_axis : see `ParallelAttention`; is_causal is True by
        default
    eps : float, of both norms

    Raises
    ------
    ValueError, TypeError : see the parts

    Notes
    -----
    Where tokens are split, so are the sums over them: gradients of parameters want a psum over `sequence_axis` as over
    "dp", which ``data_parallel(step, axis=("dp", "sp"), reduction="sum")`` does.

    `params` and gradients of attention are in heads, as `ParallelAttention` has them: query_weight is (E, G, H / G D),
    and ``gather().reshape(E, H * D)`` has the shape that was given.

    Two psum forward and two backward, each of B L E elements. Source: Xiong et al. 2020, "On Layer Normalization in the
    Transformer Architecture", figure 1 (b); Shoeybi et al. 2019, figure 4.
    """

    def __init__(
        self,
        mesh: Mesh,
        weights: Any,
        *,
        num_heads: int,
        num_kv_heads: int | None = None,
        is_causal: bool = True,
        scale: float | None = None,
        eps: float = 1e-5,
        axis: str | tuple[str, ...] = "tp",
        sequence_axis: str | tuple[str, ...] = (),
    ) -> None:
        parts = check_block.weights_of_parts(weights, ("norm1", "attention", "norm2", "mlp"))
        self.mesh = mesh
        self.norm1 = LayerNorm(mesh, parts["norm1"], eps=eps)
        self.attention = ParallelAttention(
            mesh,
            parts["attention"],
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            is_causal=is_causal,
            scale=scale,
            axis=axis,
            sequence_axis=sequence_axis,
        )
        self.norm2 = LayerNorm(mesh, parts["norm2"], eps=eps)
        self.mlp = ParallelMLP(mesh, parts["mlp"], axis=axis)
        layers = {"norm1": self.norm1, "attention": self.attention, "norm2": self.norm2, "mlp": self.mlp}
        check_block.same_features(layers)
        self.params = JoinedParams(layers)

    @classmethod
    def create(
        cls,
        mesh: Mesh,
        *,
        embed_dim: int,
        num_heads: int,
        hidden_dim: int,
        num_kv_heads: int | None = None,
        dtype: Any = np.float32,
        seed: int = 0,
        **options: Any,
    ) -> TransformerBlock:
        """A block to train: matrices normal with deviation 0.02, norms 1, biases 0; on a dry mesh shapes alone.

        embed_dim (E) and num_heads (H): D = E / H; hidden_dim (F); options: as of `TransformerBlock`.
        """
        check.mesh(mesh, Mesh)
        validate.positive_index(embed_dim, "embed_dim")
        validate.positive_index(hidden_dim, "hidden_dim")
        heads, groups = check_block.head_counts(embed_dim, num_heads, num_kv_heads)
        columns = {"query": embed_dim, "key": embed_dim // heads * groups, "value": embed_dim // heads * groups}
        shapes: dict[str, tuple[int, ...]] = {
            f"norm{i}.{name}": (embed_dim,) for i in (1, 2) for name in ("weight", "bias")
        }
        for name, width in {**columns, "output": embed_dim}.items():
            shapes[f"attention.{name}_weight"] = embed_dim, width
            shapes[f"attention.{name}_bias"] = (width,)
        shapes["mlp.up_weight"], shapes["mlp.up_bias"] = (embed_dim, hidden_dim), (hidden_dim,)
        shapes["mlp.down_weight"], shapes["mlp.down_bias"] = (hidden_dim, embed_dim), (embed_dim,)
        weights = initial_weights(mesh, shapes, dtype, seed, ones=("norm1.weight", "norm2.weight"))
        return cls(mesh, weights, num_heads=heads, num_kv_heads=groups, **options)

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, list[Any]]:
        """x and the result: (B, L, E), L split over `sequence_axis`, B over any other axes or none."""
        saved: list[Any] = []
        for norm, layer in ((self.norm1, self.attention), (self.norm2, self.mlp)):
            normal, of_norm = norm.forward(x)
            y, of_layer = layer.forward(normal)
            x = add_in_place(y, x)
            saved += [of_norm, of_layer]
        return x, saved

    def backward(self, saved: list[Any], grad_y: ShardedArray) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        """See `Layer`."""
        grads: dict[str, Mapping[str, ShardedArray]] = {}
        parts = {"norm2": self.norm2, "mlp": self.mlp}, {"norm1": self.norm1, "attention": self.attention}
        for both in parts:
            (name_norm, norm), (name, layer) = both.items()
            grad_x, grads[name] = layer.backward(saved.pop(), grad_y)
            grad_x, grads[name_norm] = norm.backward(saved.pop(), grad_x)
            grad_y = add_in_place(grad_x, grad_y)
        return grad_y, joined(grads)
