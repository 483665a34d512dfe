"""Training steps on batches that are spread over devices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from fastcore._core import validate
from fastcore._core import validate_sharding as check
from fastcore._core import validate_sharding_block as check_block
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import psum
from fastcore.sharding.device import device_kernel
from fastcore.sharding.elementwise import per_element
from fastcore.sharding.kernels.vocabulary import weigh
from fastcore.sharding.layer import matrix_of

__all__ = ["data_parallel"]


_weigh = device_kernel(weigh, flops=per_element())


def data_parallel(
    step: Callable[..., tuple[Any, Any]], *, axis: str | tuple[str, ...] = "dp", reduction: str = "mean"
) -> Callable[..., tuple[Any, Any]]:
    """A step on each device's own rows of a batch, as a step on the whole batch: loss and gradients are averaged.

    Parameters
    ----------
    step : function of a batch (and more) that answers (loss, grads): loss an array of blocks of shape () and floats;
        grads a mapping name → array, or a sequence of such, one for each stage of a pipeline
    axis : name of the mesh axis that splits the rows of the batch, or several; with "sum" also one that splits tokens
    reduction : "mean": step's results are means over the device's own rows; they are weighted by how many these are,
        so that batches need not divide by the devices. The rows are those of step's first `ShardedArray`, whose first
        axis is split over `axis`. "sum": they are parts of the result, divided already, see `count` of
        `cross_entropy`, and are added up.

    Returns
    -------
    function of the same arguments that answers (loss, grads), the same on all devices along `axis`

    Raises
    ------
    TypeError : step is not callable; by the returned function: no argument is a `ShardedArray`, or results of another
        kind
    ValueError : unknown reduction; by the returned function: an axis that the mesh does not have, or that does not
        split the rows

    Notes
    -----
    Gradients have the shapes of `Layer.params`, those of attention in heads: see `TransformerBlock`.

    One psum for each gradient and one for the loss. What step answers is overwritten. Source: Li et al. 2020, "PyTorch
    Distributed", section 3.
    """
    check_block.callable_step(step)
    validate.choice(reduction, "reduction", ("mean", "sum"))

    @functools.wraps(step)
    def run(*arguments: Any, **options: Any) -> tuple[Any, Any]:
        size = length = 0
        if reduction == "mean":
            batch = next((each for each in (*arguments, *options.values()) if isinstance(each, ShardedArray)), None)
            size, length = check_block.rows_of_batch(batch, axis)
            del batch
        loss, grads = check_block.step_results(step(*arguments, **options))
        names = check.axis_names(axis, loss.mesh.axes)

        def synchronised(x: ShardedArray) -> ShardedArray:
            if reduction == "mean":
                _weigh(matrix_of(x, 0), x.mesh.axis_index(names), size, length)
            return psum(x, names)

        def of_layer(named: Mapping[str, ShardedArray]) -> dict[str, ShardedArray]:
            return {name: synchronised(gradient) for name, gradient in named.items()}

        return synchronised(loss), of_layer(grads) if isinstance(grads, Mapping) else [of_layer(each) for each in grads]

    return run
