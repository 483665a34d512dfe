"""Products of each device's blocks, without communication: what parallel layers are made of."""

from __future__ import annotations

from typing import Any

from fastcore.sharding.array import ShardedArray
from fastcore.sharding.layer import matrix_of
from fastcore.sharding.products import add_bias, column_sums, matmul, matmul_nt, matmul_tn
from fastcore.sharding.spec import P, entry_of

__all__ = [
    "contract",
    "contract_input_gradient",
    "contract_weight_gradient",
    "entries",
    "sum_over_rows",
]


def entries(x: ShardedArray, first: int = 0) -> list[Any]:
    """What a `P` of this array says of its axes from `first` on."""
    return [entry_of(x.spec.names(axis)) for axis in range(first, x.ndim)]


def contract(x: ShardedArray, weight: ShardedArray, summed: int, bias: ShardedArray | None = None) -> ShardedArray:
    """x times weight, over the last `summed` axes of x and the first of weight, plus bias.

    On each device the product of its blocks. Where the summed axes are split over devices it is a part of the sum, and
    the result wants a `psum` over them.
    """
    rows = x.ndim - summed
    spec = P(*entries(x)[:rows], *entries(weight, summed))
    y = x.mesh.empty((*x.shape[:rows], *weight.shape[summed:]), x.dtype, spec, pad=True)
    matmul(matrix_of(x, rows), matrix_of(weight, summed), matrix_of(y, rows))
    if bias is not None:
        add_bias(matrix_of(y, rows), matrix_of(bias, 0))
    return y


def contract_input_gradient(
    grad_y: ShardedArray, weight: ShardedArray, grad_x: ShardedArray, summed: int, *, add: bool = False
) -> None:
    """grad_x = the gradient of `contract` for x, on each device that of its blocks; with `add` added to grad_x."""
    rows = grad_x.ndim - summed
    matmul_nt(matrix_of(grad_y, rows), matrix_of(weight, summed), matrix_of(grad_x, rows), add=add)


def contract_weight_gradient(x: ShardedArray, weight: ShardedArray, grad_y: ShardedArray, summed: int) -> ShardedArray:
    """The gradient of `contract` for weight, on each device that of its blocks."""
    rows = x.ndim - summed
    gradient = weight.empty_like()
    matmul_tn(matrix_of(x, rows), matrix_of(grad_y, rows), matrix_of(gradient, summed))
    return gradient


def sum_over_rows(x: ShardedArray, like: ShardedArray) -> ShardedArray:
    """The gradient of a bias from the gradient of the sum: x added up over all axes that `like` does not have."""
    total = like.empty_like()
    column_sums(matrix_of(x, x.ndim - like.ndim), matrix_of(total, 0))
    return total
