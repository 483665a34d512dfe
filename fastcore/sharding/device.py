"""Code that every device runs on its own blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastcore.sharding.array import ShardedArray

__all__ = ["device_function", "device_kernel"]


def device_kernel(function: Any = None, *, flops: Callable[..., float] | None = None) -> Any:
    """A kernel of one device, run on all devices of this process in parallel, one thread a device.

    The decorated function is compiled; it gets the block of each `ShardedArray` argument (a block of shape () as a
    number) and all other arguments as they are, writes to its output blocks and returns nothing.

    Parameters
    ----------
    flops : function of the same arguments, blocks given as `ShardedArray`s (use their block_shape), that answers the
        floating-point operations of one device, for the cost model
    """
    if function is None:
        return functools.partial(device_kernel, flops=flops)
    return device_function(function, flops=flops)


def device_function(function: Any = None, *, flops: Callable[..., float] | None = None) -> Any:
    """The same in Python, one device after another: for functions that use all threads themselves."""
    if function is None:
        return functools.partial(device_function, flops=flops)

    @functools.wraps(function)
    def run(*arguments: Any) -> None:
        mesh = next(each.mesh for each in arguments if isinstance(each, ShardedArray))
        work = 0.0 if flops is None else float(flops(*arguments))
        mesh.ledger.add(mesh, "compute", flops=work, name=function.__name__)
        if mesh.is_dry:
            return
        for device in range(mesh.n_local):
            blocks = [each.local[device] if isinstance(each, ShardedArray) else each for each in arguments]  # type: ignore
            function(*blocks)

    return run
