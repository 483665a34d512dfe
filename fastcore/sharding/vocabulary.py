"""Embedding of tokens whose vocabulary is spread over devices."""

from __future__ import annotations

from typing import Any

from fastcore._core import validate_sharding as check
from fastcore._core import validate_sharding_block as check_block
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import psum
from fastcore.sharding.device import device_kernel
from fastcore.sharding.elementwise import per_element
from fastcore.sharding.kernels import vocabulary as kernels
from fastcore.sharding.layer import Layer, matrix_of
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.spec import P, entry_of

__all__ = ["VocabularyEmbedding"]


_embed = device_kernel(kernels.embed_tokens, flops=per_element(of=4))
_embed_backward = device_kernel(kernels.embed_tokens_backward, flops=per_element(of=1))
_add_positions = device_kernel(kernels.add_positions, flops=per_element())
_add_positions_backward = device_kernel(kernels.add_positions_backward, flops=per_element())


class VocabularyEmbedding(Layer):
    """Rows of a table by token, each device a part of the vocabulary: one psum forward, none backward.

    Parameters
    ----------
    mesh : Mesh
    weights : mapping of arrays, the same in every process, one of float32 and float64: weight (V, E); optional
        position_weight (T, E), whose first L rows are added to the L tokens of each sequence
    axis : name of the mesh axis that splits V, several, or () for none

    Raises
    ------
    ValueError : unknown axis, shapes disagree, a weight is missing or unknown
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    V need not divide. A token outside of [0, V) gives NaN. Source: Shoeybi et al. 2019, "Megatron-LM", section 3.
    """

    def __init__(self, mesh: Mesh, weights: Any, *, axis: str | tuple[str, ...] = "tp") -> None:
        check.mesh(mesh, Mesh)
        self.mesh, self.axes = mesh, check.axis_names(axis, mesh.axes)
        arrays = check_block.float_weights(weights, ("weight",), ("position_weight",))
        for name, array in arrays.items():
            check_block.matrix(array, name)
        self.vocabulary_size, self.embed_dim = arrays["weight"].shape
        check_block.same_columns(arrays)
        self.dtype = arrays["weight"].dtype
        specs = {"weight": P(entry_of(self.axes)), "position_weight": P()}
        self.params = {name: mesh.put(array, specs[name], pad=True) for name, array in arrays.items()}

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, list[ShardedArray]]:
        """x: tokens (B, L) of an integer dtype, copied over the devices that split V. Result: (B, L, E)."""
        check_block.tokens(x, "x", self.mesh, self.axes)
        weight, index = self.params["weight"], self.mesh.axis_index(self.axes)
        y = self.mesh.empty((*x.shape, self.embed_dim), self.dtype, x.spec, pad=True)
        _embed(matrix_of(x, 2), weight, index, self.vocabulary_size, matrix_of(y, 2))
        y = psum(y, self.axes)
        if "position_weight" in self.params:
            positions = self.params["position_weight"]
            check_block.positions(x, positions.shape[0])
            _add_positions(matrix_of(y, 2), positions, x.shape[1])
        return y, [x]

    def backward(self, saved: list[ShardedArray], grad_y: ShardedArray) -> tuple[None, dict[str, ShardedArray]]:
        """See `Layer`; tokens have no gradient: None."""
        x = saved.pop()
        check_block.gradient(grad_y, (*x.shape, self.embed_dim), x.spec)
        index = self.mesh.axis_index(self.axes)
        grads = {name: each.empty_like() for name, each in self.params.items()}
        rows = matrix_of(grad_y, 2)
        _embed_backward(matrix_of(x, 2), rows, index, self.vocabulary_size, grads["weight"])
        if "position_weight" in grads:
            _add_positions_backward(rows, x.shape[1], grads["position_weight"])
        return None, grads
