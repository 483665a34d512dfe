"""Products of each device's blocks, without communication: what parallel layers are made of."""

from __future__ import annotations

import math
from typing import Any

from fastcore.sharding.array import ShardedArray
from fastcore.sharding.device import device_kernel
from fastcore.sharding.kernels import block as kernels
from fastcore.sharding.layer import matrix_of
from fastcore.sharding.products import add_bias, column_sums, matmul, matmul_nt, matmul_tn
from fastcore.sharding.spec import P, entry_of

__all__ = [
    "add_in_place",
    "contract",
    "contract_input_gradient",
    "contract_weight_gradient",
    "entries",
    "sum_over_rows",
]


def _elements(x: Any, *others: Any) -> float:
    return float(math.prod(x.block_shape))


_add_to = device_kernel(kernels.add_to, flops=_elements, as_rows=True)


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
    gradient = weight.mesh.empty(weight.shape, weight.dtype, weight.spec, pad=True)
    matmul_tn(matrix_of(x, rows), matrix_of(grad_y, rows), matrix_of(gradient, summed))
    return gradient


def add_in_place(total: ShardedArray, x: ShardedArray) -> ShardedArray:
    """total += x, of one block shape; answers total."""
    _add_to(total, x)
    return total


def sum_over_rows(x: ShardedArray, like: ShardedArray) -> ShardedArray:
    """The gradient of a bias from the gradient of the sum: x added up over all axes that `like` does not have."""
    total = x.mesh.empty(like.shape, like.dtype, like.spec, pad=True)
    column_sums(matrix_of(x, x.ndim - like.ndim), matrix_of(total, 0))
    return total
