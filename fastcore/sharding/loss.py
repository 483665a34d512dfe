"""Losses of blocks, with their gradients."""

from __future__ import annotations

import math

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_sharding as check
from fastcore._core import validate_sharding_block as check_block
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import pmax, psum
from fastcore.sharding.contraction import entries
from fastcore.sharding.device import device_kernel
from fastcore.sharding.elementwise import per_element
from fastcore.sharding.kernels import vocabulary as kernels
from fastcore.sharding.layer import matrix_of
from fastcore.sharding.spec import P

__all__ = ["cross_entropy", "mean_squared_error", "own_rows"]


_logit_peaks = device_kernel(kernels.logit_peaks, flops=per_element(1.0))
_exponential_sums = device_kernel(kernels.exponential_sums, flops=per_element(12.0))
_cross_entropy_rows = device_kernel(kernels.cross_entropy_rows, flops=per_element(13.0))
_squared_error_rows = device_kernel(kernels.squared_error_rows, flops=per_element(5.0))


def own_rows(x: ShardedArray, columns: int = 1) -> ShardedArray:
    """How many rows of x, times `columns`, each device has without padding: blocks of shape (), int64."""
    rows = x.mesh.axis_index(x.spec.names(0))
    if rows.local is not None:
        size = x.block_shape[0]
        rows.local[...] = columns * np.clip(x.shape[0] - rows.local * size, 0, size)
    return rows


def cross_entropy(
    logits: ShardedArray,
    targets: ShardedArray,
    *,
    axis: str | tuple[str, ...] = "tp",
    count: float | None = None,
    ignore_index: int | None = None,
) -> tuple[ShardedArray, ShardedArray]:
    """-log softmax(logits)[target], over logits whose vocabulary is spread over devices.

    Axes: B batch, L tokens, V vocabulary.

    Parameters
    ----------
    logits : (B, L, V) float32 or float64, V split over `axis`, as `ColumnParallel` gives it
    targets : (B, L) of an integer dtype, split as the axes B and L of logits
    axis : name of the mesh axis that splits V, several, or () for none
    count : what the sum over a device's own tokens is divided by, such as the tokens of the whole batch, of which these
        are a part; default its own tokens, which gives their mean
    ignore_index : a target, such as -100, whose tokens have no loss, a gradient of zeros, and no part in the default of
        count. Over several devices pass count then: their means would have to be weighted by what each has ignored

    Returns
    -------
    value : blocks of shape (), float64: over the device's own tokens, those that fill up an uneven batch left out
    grad_logits : as logits

    Raises
    ------
    ValueError : unknown axis, shapes or partitions disagree, count is not positive
    TypeError : unsupported dtypes, ignore_index is no integer

    Notes
    -----
    A pmax of B L elements and a psum of 2 B L; logits are never gathered. A target outside of [0, V) that is not
    ignored makes the value NaN, and the gradient of its token. Source: Shoeybi et al. 2019, "Megatron-LM", section 3.
    """
    check.sharded(logits, "logits")
    mesh, axes = logits.mesh, check.axis_names(axis, logits.mesh.axes)
    check_block.logits_and_targets(logits, targets, axes)
    divisor = 0.0 if count is None else check_block.count_of_elements(count)
    ignored = 0 if ignore_index is None else validate.index(ignore_index, "ignore_index")
    index, vocabulary, spec = mesh.axis_index(axes), logits.shape[2], P(*entries(logits)[:2])
    rows, wanted = matrix_of(logits, 2), matrix_of(targets, 2)
    peaks = mesh.empty((*logits.shape[:2], 1), logits.dtype, spec, pad=True)
    _logit_peaks(rows, index, vocabulary, matrix_of(peaks, 2))
    peaks = pmax(peaks, axes)
    sums = mesh.empty((*logits.shape[:2], 2), logits.dtype, spec, pad=True)
    _exponential_sums(rows, wanted, matrix_of(peaks, 2), index, vocabulary, matrix_of(sums, 2))
    sums = psum(sums, axes)
    grad = logits.empty_like()
    value = mesh.empty((1, 1), np.float64)
    _cross_entropy_rows(
        rows, wanted, matrix_of(peaks, 2), matrix_of(sums, 2), index, vocabulary,
        own_rows(logits, logits.block_shape[1]), divisor, ignore_index is not None, ignored, matrix_of(grad, 2), value,
    )  # fmt: skip
    return _of_no_axes(value), grad


def mean_squared_error(
    y: ShardedArray, targets: ShardedArray, *, count: float | None = None
) -> tuple[ShardedArray, ShardedArray]:
    """The mean of squared differences.

    Parameters
    ----------
    y, targets : one shape, partition and dtype, float32 or float64; the last axis whole
    count : what the sum over a device's own elements is divided by, see `cross_entropy`; default their number

    Returns
    -------
    value : blocks of shape (), float64: over the device's own elements
    grad_y : as y

    Raises
    ------
    ValueError : shapes or partitions disagree, count is not positive
    TypeError : unsupported dtypes
    """
    check.sharded(y, "y")
    check_block.same_blocks(y, targets, "targets")
    divisor = 0.0 if count is None else check_block.count_of_elements(count)
    grad = y.empty_like()
    value = y.mesh.empty((1, 1), np.float64)
    last = y.ndim - 1
    own = own_rows(y, math.prod(y.block_shape[1:last]))
    _squared_error_rows(matrix_of(y, last), matrix_of(targets, last), own, divisor, matrix_of(grad, last), value)
    return _of_no_axes(value), grad


def _of_no_axes(value: ShardedArray) -> ShardedArray:
    """Blocks (1, 1) as blocks of shape ()."""
    local = None if value.local is None else value.local.reshape(value.mesh.n_local)
    return value.mesh.from_blocks(local, P(), (), value.dtype)
