"""Normalisation of channels over a batch, and its gradient: sums, moments, coefficients, result.

One body does any of the four. Where there are channels enough for all threads, an item is a channel with all four: it
is read from memory once and for the result from the cache, last chunk first. Else a launch does the sums of all
chunks, the next the moments, the third the result. The bits are the same.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.streaming import STREAMED_BYTES
from fastcore._core.tile import filled
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.affine import Affine, affine_row, affine_span
from fastcore.nn.kernels.channel_moments import combine_chunks, finish_channels, place, sum_at
from fastcore.nn.kernels.channel_sums import (
    COLUMN_LIMIT,
    PLANE_LIMIT,
    chunk_count,
    chunk_of,
    sum_column_chunk,
    sum_plane_chunk,
)
from fastcore.nn.rows import is_same_memory

# What a launch does.
SUMS, MOMENTS, FINISH, APPLY = 1, 2, 4, 8
# What it takes into account: a gradient of the result, moments that are given, a result too large for the caches.
WITH_GRAD, GIVEN, STREAMED = 16, 32, 64
# Columns of an item: 2 KiB of float32 rows, whose coefficients stay in the first-level cache.
COLUMN_SEGMENT = 512
# Serial nanoseconds per byte, for the choice between serial and parallel: 0.25 ns a float32 from cache.
NS_PER_BYTE = 0.06
NS_PER_CHANNEL = 20.0
# Channels a thread should have where each is done whole.
WHOLE_CHANNELS = 8


@kernel
def apply_plane_chunk(x, grad, out, coefficients, channel, chunk, use_grad, is_streamed):
    """The result of one chunk of a channel; arrays (N, C, M)."""
    first = simd.pointer(coefficients)
    by = Affine(
        filled(first, coefficients[0, channel]),
        filled(first, coefficients[1, channel]),
        filled(first, coefficients[2, channel]),
        filled(first, coefficients[3, channel]),
    )
    for plane in range(chunk.plane, chunk.plane + chunk.planes):
        row = plane_of(x, plane, channel, chunk.start)
        slopes = plane_of(grad, plane, channel, chunk.start)
        target = plane_of(out, plane, channel, chunk.start)
        affine_span(row, slopes, by, target, chunk.length, x.itemsize, use_grad, is_streamed)


@kernel
def plane_of(array, plane, channel, start):
    """Pointer to an element of an array (N, C, M), the last axis contiguous."""
    offset = (plane * array.strides[0] + channel * array.strides[1]) // array.itemsize
    return simd.advance(simd.pointer(array), offset + start)


def plane_items(x, grad, out, sums, table, coefficients, epsilon, plan, counter):
    """x, grad, out (N, C, M), the last axis contiguous; sums (C, chunks, 5); items: parts of a channel's chunks."""
    planes, channels, size = x.shape
    what, parts = plan[0], plan[1]
    use_grad, chunks = what & WITH_GRAD != 0, sums.shape[1]
    item = next_item(counter, -1)
    while item < channels * parts:
        channel, part = item // parts, item % parts
        start, stop = chunks * part // parts, chunks * (part + 1) // parts
        if what & SUMS != 0:
            for k in range(start, stop):
                chunk = chunk_of(k, planes, size, PLANE_LIMIT)
                row = plane_of(x, chunk.plane, channel, chunk.start)
                slopes = plane_of(grad, chunk.plane, channel, chunk.start)
                strides = x.strides[0] // x.itemsize, grad.strides[0] // x.itemsize
                at = simd.advance(simd.pointer(sums), (channel * chunks + k) * sums.shape[2])
                sum_plane_chunk(row, strides[0], slopes, strides[1], chunk.planes, chunk.length, at, use_grad)
        if what & MOMENTS != 0:
            one = sums[channel].reshape(chunks, sums.shape[2], 1)
            combine_chunks(one, planes, size, PLANE_LIMIT, table, channel, 1, what & GIVEN != 0)
        if what & FINISH != 0:
            finish_channels(table, planes * size, epsilon, coefficients, channel, 1, use_grad)
        if what & APPLY != 0:
            for k in range(stop - 1, start - 1, -1):
                chunk = chunk_of(k, planes, size, PLANE_LIMIT)
                apply_plane_chunk(x, grad, out, coefficients, channel, chunk, use_grad, what & STREAMED != 0)
        item = next_item(counter, item)
    if what & STREAMED != 0:
        simd.stream_fence()


def column_items(x, grad, out, sums, table, coefficients, epsilon, plan, counter):
    """x, grad, out (1, R, C), the last axis contiguous; sums (chunks, 5, C); items: segments of a chunk, or columns."""
    rows, columns = x.shape[1], x.shape[2]
    what, parts = plan[0], plan[1]
    use_grad, is_streamed = what & WITH_GRAD != 0, what & STREAMED != 0
    strides = x.strides[1] // x.itemsize, grad.strides[1] // x.itemsize
    width = 2 * simd.VECTOR_BITS // 8 // x.itemsize
    item = next_item(counter, -1)
    while item < parts:
        k, segment = item // plan[2], item % plan[2] * COLUMN_SEGMENT
        count = min(columns - segment, COLUMN_SEGMENT)
        chunk = chunk_of(k, rows, 1, COLUMN_LIMIT)
        if what & SUMS != 0:
            for first in range(segment, segment + count, width):
                row, slopes = plane_of(x, 0, chunk.plane, first), plane_of(grad, 0, chunk.plane, first)
                left = min(width, segment + count - first)
                at = simd.advance(sum_at(sums, k, 0), first)
                sum_column_chunk(row, strides[0], slopes, strides[1], chunk.planes, left, at, columns, use_grad)
        if what & MOMENTS != 0:
            for first in range(segment, segment + count, simd.F64_LANES):
                left = min(simd.F64_LANES, segment + count - first)
                combine_chunks(sums[:, :, first:], rows, 1, COLUMN_LIMIT, table, first, left, what & GIVEN != 0)
        if what & FINISH != 0:
            for first in range(segment, segment + count, simd.F64_LANES):
                left = min(simd.F64_LANES, segment + count - first)
                finish_channels(table, rows, epsilon, coefficients, first, left, use_grad)
        if what & APPLY != 0:
            by = place(coefficients, 0, segment)
            for i in range(chunk.plane, chunk.plane + chunk.planes):
                row, slopes = plane_of(x, 0, i, segment), plane_of(grad, 0, i, segment)
                target = plane_of(out, 0, i, segment)
                affine_row(row, slopes, by, columns, target, count, x.itemsize, use_grad, is_streamed)
        item = next_item(counter, item)
    if is_streamed:
        simd.stream_fence()


def parallel_items(body, workers, x, grad, out, sums, table, coefficients, epsilon, plan, counter):
    """A body in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, grad, out, sums, table, coefficients, epsilon, plan, counter))


def _argument_types(dtype):
    read, written = types.Array(dtype, 3, "A", readonly=True), types.Array(dtype, 3, "A")
    sums, coefficients = types.Array(dtype, 3, "C"), types.Array(dtype, 2, "C")
    table, plan = types.Array(types.float64, 2, "C"), types.Array(types.int64, 1, "C")
    return [read, read, written, sums, table, coefficients, types.float64, plan]


_PLANES_F32 = SharedWork(plane_items, parallel_items, _argument_types(types.float32))
_PLANES_F64 = SharedWork(plane_items, parallel_items, _argument_types(types.float64))
_COLUMNS_F32 = SharedWork(column_items, parallel_items, _argument_types(types.float32))
_COLUMNS_F64 = SharedWork(column_items, parallel_items, _argument_types(types.float64))


def process(x, grad, out, table, epsilon, what, *, is_columns):
    """Take the steps ``what`` of the channels in ``x``.

    x, grad, out: of float32 or float64, the last axis contiguous, not empty; (1, R, C) where channels are columns, else
    (N, C, M). ``grad`` is looked at WITH_GRAD alone, ``out`` with APPLY; it may be x or grad, or overlaps none of them.
    table (6, C) float64: what is given or found of channels.
    """
    steps = [what & SUMS, what & (MOMENTS | FINISH), what & APPLY]
    if is_columns:
        work = _COLUMNS_F32 if x.itemsize == 4 else _COLUMNS_F64
        channels, segments = x.shape[2], -(-x.shape[2] // COLUMN_SEGMENT)
        chunks = chunk_count(x.shape[1], 1, COLUMN_LIMIT)
        sums = np.empty((chunks, 5, channels), x.dtype)
        parts = [chunks * segments, segments, chunks * segments]
        is_whole = chunks == 1
    else:
        work = _PLANES_F32 if x.itemsize == 4 else _PLANES_F64
        channels, segments = x.shape[1], 1
        chunks = chunk_count(x.shape[0], x.shape[2], PLANE_LIMIT)
        sums = np.empty((channels, chunks, 5), x.dtype)
        parts = [chunks, 1, chunks]
        is_whole = channels >= WHOLE_CHANNELS * threads.get_num_threads()
    bytes_read = x.nbytes * (2 if what & WITH_GRAD else 1)
    cost = bytes_read * NS_PER_BYTE + channels * NS_PER_CHANNEL  # of a step
    if is_whole or (2 * cost < threads.SMALLEST_WORK_NS and not is_columns):
        steps, parts, cost = [what & (SUMS | MOMENTS | FINISH | APPLY)], parts[1:2], 2 * cost
    if what & APPLY and out.nbytes >= STREAMED_BYTES and not (is_same_memory(out, x) or is_same_memory(out, grad)):
        what |= STREAMED
    coefficients = np.empty((4, channels), x.dtype)
    options = what & (WITH_GRAD | GIVEN | STREAMED)
    for step, count in zip(steps, parts, strict=True):
        if step:
            plan = np.array([step | options, count, segments], np.int64)
            work(cost, x, grad, out, sums, table, coefficients, epsilon, plan)
