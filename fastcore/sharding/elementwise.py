"""What layers do to each element of a block, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastcore.nn.activation import gelu
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.device import device_function, device_kernel
from fastcore.sharding.kernels import block as kernels

__all__ = ["activated", "add_in_place", "gelu_backward", "per_element"]


def per_element(operations: float = 1.0, *, of: int = 0) -> Callable[..., float]:
    """The `flops` of a kernel that does so many operations for each element of its argument number `of`."""

    def flops(*arguments: Any) -> float:
        return operations * math.prod(arguments[of].block_shape)

    return flops


# An error function or an exponential counts as ten operations, roughly.
@device_function(flops=per_element(15.0))
def _gelu(x: np.ndarray, out: np.ndarray) -> None:
    gelu(x, out=out)


gelu_backward = device_kernel(kernels.gelu_backward, as_rows=True, flops=per_element(30.0))
_add_to = device_kernel(kernels.add_to, as_rows=True, flops=per_element())


def activated(hidden: ShardedArray) -> ShardedArray:
    """gelu of hidden, the exact one."""
    out = hidden.empty_like()
    _gelu(hidden, out)
    return out


def add_in_place(total: ShardedArray, x: ShardedArray) -> ShardedArray:
    """total += x, of one block shape; answers total."""
    _add_to(total, x)
    return total
