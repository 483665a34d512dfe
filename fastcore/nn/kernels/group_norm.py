"""Normalisation of groups of channels of each sample, and its gradient. A group is one row of consecutive elements."""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import STREAMED_BYTES
from fastcore._core.tile import filled
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.affine import Affine, affine_span
from fastcore.nn.kernels.channel_moments import combine_chunks
from fastcore.nn.kernels.channel_sums import (
    MEAN,
    PLANE_LIMIT,
    VARIANCE,
    chunk_count,
    chunk_of,
    sum_plane_chunk,
    sums_of_planes,
)
from fastcore.nn.kernels.layer_norm import row_of
from fastcore.nn.rows import is_same_memory

# Serial nanoseconds per byte, for the choice between serial and parallel: 0.25 ns a float32 from cache.
NS_PER_BYTE = 0.06
NS_PER_PLANE = 20.0


class Group(NamedTuple):
    """Channels [first, first + channels) of ``size`` elements, and their moments. ``centre`` is the mean, rounded."""

    first: Any
    channels: Any
    size: Any
    mean: Any
    centre: Any
    inverse: Any


@kernel
def group_of(row, first, channels, size, sums, table, item, epsilon):
    """A group and its moments; sums (N * G, chunks, 5) and table (6, N * G) are scratch."""
    total = channels * size
    own = sums[item].reshape(sums.shape[1], sums.shape[2], 1)
    for k in range(sums.shape[1]):
        chunk = chunk_of(k, 1, total, PLANE_LIMIT)
        at = simd.advance(row, chunk.start)
        sum_plane_chunk(at, 0, at, 0, 1, chunk.length, simd.pointer(own[k]), False)
    combine_chunks(own, 1, total, PLANE_LIMIT, table, item, 1, False)
    mean = table[MEAN, item]
    own[0, 0, 0] = mean
    return Group(first, channels, size, mean, float(own[0, 0, 0]), 1.0 / np.sqrt(table[VARIANCE, item] + epsilon))


@kernel
def scale_group(row, out, weight, bias, group, itemsize, is_streamed):
    """The result; ``out`` may be ``row``."""
    for i in range(group.channels):
        factor = weight[group.first + i] * group.inverse
        shift = bias[group.first + i] + (group.centre - group.mean) * factor
        by = Affine(filled(row, group.centre), filled(row, factor), filled(row, shift), filled(row, 0.0))
        start = i * group.size
        source, target = simd.advance(row, start), simd.advance(out, start)
        affine_span(source, source, by, target, group.size, itemsize, False, is_streamed)


@kernel
def differentiate_group(row, slopes, out, weight, gradients, group, itemsize, is_streamed):
    """The gradient of the input, and those of bias and weight as far as they are this sample's, into (C, 2).

    With n = (x - mean) * inverse and g = grad * weight: inverse * (g - mean(g) - n * mean(g * n)), means over the
    group. Source: Wu and He 2018, "Group Normalization", eq. 7.
    """
    total, product_total = 0.0, 0.0
    for i in range(group.channels):
        channel, start = group.first + i, i * group.size
        _, _, slope, product = sums_of_planes(
            simd.advance(row, start), 0, simd.advance(slopes, start), 0, 1, group.size, group.centre, True
        )
        gradients[channel, 0] = slope
        gradients[channel, 1] = (product + slope * (group.centre - group.mean)) * group.inverse
        total += weight[channel] * gradients[channel, 0]
        product_total += weight[channel] * gradients[channel, 1]
    elements = group.channels * group.size
    factor = -group.inverse * group.inverse * product_total / elements
    shift = (group.centre - group.mean) * factor - group.inverse * total / elements
    for i in range(group.channels):
        start = i * group.size
        slope = weight[group.first + i] * group.inverse
        by = Affine(filled(row, group.centre), filled(row, factor), filled(row, shift), filled(row, slope))
        source, grad, target = simd.advance(row, start), simd.advance(slopes, start), simd.advance(out, start)
        affine_span(source, grad, by, target, group.size, itemsize, True, is_streamed)


def group_items(x, grad, out, weight, bias, sums, table, gradients, epsilon, plan, counter):
    """Take groups until none is left.

    x, grad, out (N, C * M), the last axis contiguous; weight, bias (C,); gradients (N, C, 2), or (0, C, 2) where the
    result is asked for, not its gradient; plan: (channels of a group, whether the result is written past the caches).
    """
    channels, is_streamed = plan[0], plan[1] != 0
    groups, size = weight.size // channels, x.shape[1] // weight.size
    item = next_item(counter, -1)
    while item < x.shape[0] * groups:
        n, first = item // groups, item % groups * channels
        row, target = simd.advance(row_of(x, n), first * size), simd.advance(row_of(out, n), first * size)
        group = group_of(row, first, channels, size, sums, table, item, epsilon)
        if gradients.shape[0] == 0:
            scale_group(row, target, weight, bias, group, x.itemsize, is_streamed)
        else:
            slopes = simd.advance(row_of(grad, n), first * size)
            differentiate_group(row, slopes, target, weight, gradients[n], group, x.itemsize, is_streamed)
        item = next_item(counter, item)
    if is_streamed:
        simd.stream_fence()


def group_parallel(body, workers, x, grad, out, weight, bias, sums, table, gradients, epsilon, plan, counter):
    """`group_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, grad, out, weight, bias, sums, table, gradients, epsilon, plan, counter))


def _argument_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    vector, table = types.Array(types.float64, 1, "C"), types.Array(types.float64, 2, "C")
    sums, gradients = types.Array(dtype, 3, "C"), types.Array(types.float64, 3, "C")
    plan = types.Array(types.int64, 1, "C")
    return [read, read, written, vector, vector, sums, table, gradients, types.float64, plan]


_GROUPS_F32 = SharedWork(group_items, group_parallel, _argument_types(types.float32))
_GROUPS_F64 = SharedWork(group_items, group_parallel, _argument_types(types.float64))


def normalize_groups(x, grad, out, weight, bias, groups, epsilon):
    """out = the group norm of x or, where ``grad`` is an array, its gradient; then also those of bias and weight.

    x, grad, out (N, C * M), the last axis contiguous, of float32 or float64, not empty; weight, bias (C,) float64,
    contiguous. ``out`` may be x or grad, or overlaps neither. Returns (C, 2) float64, (grad_bias, grad_weight), with
    ``grad``.
    """
    is_gradient = grad is not None
    rows, channels = x.shape[0], weight.size
    chunks = chunk_count(1, x.shape[1] // groups, PLANE_LIMIT)
    sums, table = np.empty((rows * groups, chunks, 5), x.dtype), np.empty((6, rows * groups))
    gradients = np.empty((rows if is_gradient else 0, channels, 2))
    other = grad if is_gradient else x
    is_streamed = out.nbytes >= STREAMED_BYTES and not (is_same_memory(out, x) or is_same_memory(out, other))
    plan = np.array([channels // groups, is_streamed], np.int64)
    cost = (x.nbytes + other.nbytes) * NS_PER_BYTE + rows * channels * NS_PER_PLANE
    work = _GROUPS_F32 if x.itemsize == 4 else _GROUPS_F64
    work(cost, x, other, out, weight, bias, sums, table, gradients, epsilon, plan)
    return gradients.sum(axis=0)
