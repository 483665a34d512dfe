"""Products of matrices on every device; their work is split where devices are fewer than threads.

Arrays are float32 or float64, or of two bytes and computed in float32; all axes of an array but the last are rows.
"""

import math

from fastcore._core.jit import kernel
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.device import device_kernel
from fastcore.sharding.elementwise import per_element
from fastcore.sharding.kernels.matmul import as_matrix, most_parts, multiply_part, transposed

__all__ = ["add_bias", "column_sums", "matmul", "matmul_nt", "matmul_tn"]


def _rows(x: ShardedArray) -> int:
    return math.prod(x.block_shape[:-1])


def _flops(x: ShardedArray, w: ShardedArray, out: ShardedArray, of_x: bool, of_w: bool, add: bool) -> float:
    """A multiplication and an addition for each element of out and each one of the summed axis."""
    depth = _rows(x) if of_x else x.block_shape[-1]
    return 2.0 * math.prod(out.block_shape) * depth


def _parts(x: ShardedArray, w: ShardedArray, out: ShardedArray, of_x: bool, of_w: bool, add: bool) -> int:
    return most_parts(_rows(out), out.block_shape[-1], out.dtype)


# One instance for a dtype does all products: compiling each alone took 0.4 s more.
@device_kernel(flops=_flops, parts=_parts, as_rows=True)
def multiply(x, w, out, of_x, of_w, add, part, parts):
    """out = x @ w, of the transpose of x if `of_x`, of w if `of_w`; added to what is there if `add`."""
    left, right = as_matrix(x), as_matrix(w)
    if of_x:
        left = transposed(left)
    if of_w:
        right = transposed(right)
    multiply_part(left, right, as_matrix(out), add, out.dtype, part, parts)


def matmul(x: ShardedArray, w: ShardedArray, out: ShardedArray, *, add: bool = False) -> None:
    """out (..., N) = x (..., K) @ w (K, N), on each device with its blocks; added to `out` if `add`."""
    multiply(x, w, out, False, False, add)


def matmul_nt(x: ShardedArray, w: ShardedArray, out: ShardedArray, *, add: bool = False) -> None:
    """out (..., N) = x (..., K) @ w.T, w (N, K)."""
    multiply(x, w, out, False, True, add)


def matmul_tn(x: ShardedArray, w: ShardedArray, out: ShardedArray, *, add: bool = False) -> None:
    """out (M, N) = x.T @ w over all rows, x (..., M), w (..., N)."""
    multiply(x, w, out, True, False, add)


@device_kernel(flops=per_element(), as_rows=True)
def add_bias(x, bias):
    """x (..., N) += bias (N,)."""
    values = bias[0]
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(row.shape[0]):
            row[j] += values[j]


# Without fastmath: the sum of a column has one order, whatever stands beside it.
@device_kernel(flops=per_element(), as_rows=True)
@kernel(fastmath=False)
def column_sums(x, out):
    """out (N,) = sum of x (..., N) over all rows, in their order."""
    sums = out[0]
    sums[:] = 0
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(row.shape[0]):
            sums[j] += row[j]
