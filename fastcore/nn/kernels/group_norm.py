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
from fastcore.nn.kernels.channel_moments import Sums, combine_chunks
from fastcore.nn.kernels.channel_sums import (
    MEAN,
    MOMENTS,
    PLANE_LIMIT,
    STREAMED,
    VARIANCE,
    WITH_GRAD,
    chunk_count,
    chunk_of,
    slopes_of_planes,
    sum_plane_chunk,
)
from fastcore.nn.kernels.layer_norm import normalize, row_of
from fastcore.nn.kernels.layer_norm_backward import gradient
from fastcore.nn.rows import is_same_memory

# Serial nanoseconds per byte, for the choice between serial and parallel: 0.25 ns a float32 from cache.
NS_PER_BYTE = 0.06
NS_PER_PLANE = 20.0
# Elements of a channel from which on each channel is a span of its own: a span takes 10 ns and more.
SHORTEST_PLANE = 16


class Group(NamedTuple):
    """Channels [first, first + channels) of ``size`` elements, and their moments. ``centre`` is the mean, rounded."""

    first: Any
    channels: Any
    size: Any
    mean: Any
    centre: Any
    inverse: Any


@kernel
def group_of(row, first, size, sums, table, item, epsilon, plan):
    """A group and its moments; sums (N * G, chunks, 5) and table (6, N * G) are scratch."""
    what, channels, limit, one = plan[0], plan[1], plan[2], plan[3]
    total, chunks = channels * size, sums.shape[1]
    own = simd.advance(simd.pointer(sums), item * chunks * sums.shape[2])
    for k in range(chunks):
        chunk = chunk_of(k, one, total, limit)
        at = simd.advance(own, k * sums.shape[2])
        sum_plane_chunk(simd.advance(row, chunk.start), total, chunk.planes, chunk.length, at)
    combine_chunks(Sums(own, chunks, sums.shape[2], 1), one, total, limit, table, item, one, what & MOMENTS)
    mean = table[MEAN, item]
    simd.store_scalar(own, mean)
    return Group(first, channels, size, mean, simd.load_scalar(own), 1.0 / np.sqrt(table[VARIANCE, item] + epsilon))


@kernel
def slopes_of_group(row, slopes, weight, gradients, group, one):
    """(sum of g, of g * n) over a group, n = (x - mean) * inverse, g = grad * weight.

    The same of grad, of each channel, into gradients (C, 2): those of bias and weight as far as they are this sample's.
    """
    total, product_total = 0.0, 0.0
    for i in range(group.channels):
        channel, start = group.first + i, i * group.size
        at, grad = simd.advance(row, start), simd.advance(slopes, start)
        slope, product = slopes_of_planes(at, start, grad, start, one, group.size, group.centre)
        product = (product + slope * (group.centre - group.mean)) * group.inverse
        gradients[channel, 0], gradients[channel, 1] = slope, product
        total += weight[channel] * slope
        product_total += weight[channel] * product
    return total, product_total


@kernel
def apply_group(row, slopes, out, weight, bias, group, sums, itemsize, use_grad, is_streamed):
    """The result or, with ``use_grad``, the gradient of the input; ``sums`` as `slopes_of_group` gives them.

    The gradient is inverse * (g - mean(g) - n * mean(g * n)), means over the group. Source: Wu and He 2018, "Group
    Normalization", eq. 7.
    """
    elements = group.channels * group.size
    rounded_off = group.centre - group.mean
    centre, scale = filled(row, group.centre), filled(row, group.inverse)
    for i in range(group.channels):
        slope, shift = weight[group.first + i], bias[group.first + i]
        factor = slope * group.inverse
        if use_grad:
            factor, shift = -group.inverse * sums[1] / elements, -sums[0] / elements
        shift += rounded_off * factor
        by = Affine(centre, filled(row, factor), filled(row, shift), filled(row, slope), scale)
        start = i * group.size
        source, grad, target = simd.advance(row, start), simd.advance(slopes, start), simd.advance(out, start)
        affine_span(source, grad, by, target, group.size, itemsize, use_grad, is_streamed)


def group_items(x, grad, out, weight, bias, sums, table, gradients, epsilon, plan, counter):
    """Take groups until none is left.

    x, grad, out (N, C * M), the last axis contiguous; weight, bias (C,); gradients (N, C, 2), or (0, C, 2) where the
    result is asked for, not its gradient; plan: what, channels of a group, elements of a
    chunk, and 1, as a literal would compile what it is passed to again.
    """
    use_grad, is_streamed, channels = plan[0] & WITH_GRAD != 0, plan[0] & STREAMED != 0, plan[1]
    groups, size = weight.size // channels, x.shape[1] // weight.size
    item = next_item(counter, -1)
    while item < x.shape[0] * groups:
        n, first = item // groups, item % groups * channels
        row, slopes = simd.advance(row_of(x, n), first * size), simd.advance(row_of(grad, n), first * size)
        target = simd.advance(row_of(out, n), first * size)
        group = group_of(row, first, size, sums, table, item, epsilon, plan)
        totals = 0.0, 0.0
        if use_grad:
            totals = slopes_of_group(row, slopes, weight, gradients[n], group, plan[3])
        apply_group(row, slopes, target, weight, bias, group, totals, x.itemsize, use_grad, is_streamed)
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
    if x.shape[1] < SHORTEST_PLANE * weight.size:
        return _normalize_elements(x, grad, out, weight, bias, groups, epsilon)
    is_gradient = grad is not None
    rows, channels = x.shape[0], weight.size
    chunks = chunk_count(1, x.shape[1] // groups, PLANE_LIMIT)
    sums, table = np.empty((rows * groups, chunks, 5), x.dtype), np.empty((6, rows * groups))
    gradients = np.empty((rows if is_gradient else 0, channels, 2))
    other = grad if is_gradient else x
    streams = out.nbytes >= STREAMED_BYTES and not (is_same_memory(out, x) or is_same_memory(out, other))
    what = MOMENTS | (WITH_GRAD if is_gradient else 0) | (STREAMED if streams else 0)
    plan = np.array([what, channels // groups, PLANE_LIMIT, 1], np.int64)
    cost = (x.nbytes + other.nbytes) * NS_PER_BYTE + rows * channels * NS_PER_PLANE
    work = _GROUPS_F32 if x.itemsize == 4 else _GROUPS_F64
    work(cost, x, other, out, weight, bias, sums, table, gradients, epsilon, plan)
    return gradients.sum(axis=0)


def _normalize_elements(x, grad, out, weight, bias, groups, epsilon):
    """`normalize_groups` where channels are so short that each element has its own weight: layer norms, one a group."""
    size, repeats = x.shape[1] // groups, x.shape[1] // weight.size
    scale, shift = np.repeat(weight, repeats).astype(x.dtype), np.repeat(bias, repeats).astype(x.dtype)
    gradients = np.zeros((x.shape[1], 2))
    for first in range(0, x.shape[1], size):
        part = slice(first, first + size)
        if grad is None:
            normalize(x[:, part], x[:0, part], scale[part], shift[part], epsilon, out[:, part])
        else:
            of_weight, of_bias = gradient(grad[:, part], x[:, part], x[:0, part], scale[part], epsilon, out[:, part])
            gradients[part, 0], gradients[part, 1] = of_bias, of_weight
    return gradients.reshape(-1, repeats, 2).sum(axis=1)
