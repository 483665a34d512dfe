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
from fastcore.nn.kernels.channel_moments import Sums, combine_chunks, finish_channels
from fastcore.nn.kernels.channel_sums import (
    APPLY,
    COLUMN_LIMIT,
    FINISH,
    GIVEN,
    MOMENTS,
    PLANE_LIMIT,
    STREAMED,
    SUMS,
    WITH_GRAD,
    chunk_count,
    chunk_of,
    sum_column_chunk,
    sum_plane_chunk,
    sum_plane_slopes,
)
from fastcore.nn.rows import is_same_memory

# Columns of an item: 2 KiB of float32 rows, whose coefficients stay in the first-level cache.
COLUMN_SEGMENT = 512
# Serial nanoseconds per byte, for the choice between serial and parallel: 0.25 ns a float32 from cache.
NS_PER_BYTE = 0.06
NS_PER_CHANNEL = 20.0
# Channels a thread should have where each is done whole.
WHOLE_CHANNELS = 8


@kernel
def plane_of(array, plane, channel, start):
    """Pointer to an element of an array (N, C, M), the last axis contiguous."""
    offset = (plane * array.strides[0] + channel * array.strides[1]) // array.itemsize
    return simd.advance(simd.pointer(array), offset + start)


@kernel
def sum_plane_chunks(x, grad, sums, channel, start, stop, limit, what):
    """Fill the sums of chunks [start, stop) of a channel; arrays (N, C, M), sums (C, chunks, 5)."""
    for k in range(start, stop):
        chunk = chunk_of(k, x.shape[0], x.shape[2], limit)
        row, stride = plane_of(x, chunk.plane, channel, chunk.start), x.strides[0] // x.itemsize
        at = simd.advance(simd.pointer(sums), (channel * sums.shape[1] + k) * sums.shape[2])
        sum_plane_chunk(row, stride, chunk.planes, chunk.length, at)
        if what & WITH_GRAD != 0:
            slopes, slope_stride = plane_of(grad, chunk.plane, channel, chunk.start), grad.strides[0] // x.itemsize
            sum_plane_slopes(row, stride, slopes, slope_stride, chunk.planes, chunk.length, at)


@kernel
def apply_plane_chunks(x, grad, out, coefficients, channel, start, stop, limit, what):
    """The result of chunks [start, stop) of a channel, the last one first; arrays (N, C, M)."""
    first = simd.pointer(coefficients)
    by = Affine(
        filled(first, coefficients[0, channel]),
        filled(first, coefficients[1, channel]),
        filled(first, coefficients[2, channel]),
        filled(first, coefficients[3, channel]),
        filled(first, coefficients[4, channel]),
    )
    for k in range(stop - 1, start - 1, -1):
        chunk = chunk_of(k, x.shape[0], x.shape[2], limit)
        for plane in range(chunk.plane, chunk.plane + chunk.planes):
            row, slopes = plane_of(x, plane, channel, chunk.start), plane_of(grad, plane, channel, chunk.start)
            target = plane_of(out, plane, channel, chunk.start)
            use_grad, is_streamed = what & WITH_GRAD != 0, what & STREAMED != 0
            affine_span(row, slopes, by, target, chunk.length, x.itemsize, use_grad, is_streamed)


def plane_items(x, grad, out, sums, table, coefficients, epsilon, plan, counter):
    """x, grad, out (N, C, M), the last axis contiguous; sums (C, chunks, 5); items: parts of a channel's chunks."""
    planes, channels, size = x.shape
    what, parts, limit, one = plan[0], plan[1], plan[2], plan[3]  # a literal 1 would compile what it is passed to again
    chunks, each = sums.shape[1], sums.shape[1] * sums.shape[2]
    item = next_item(counter, -1)
    while item < channels * parts:
        channel, part = item // parts, item % parts
        start, stop = chunks * part // parts, chunks * (part + 1) // parts
        if what & SUMS != 0:
            sum_plane_chunks(x, grad, sums, channel, start, stop, limit, what)
        if what & MOMENTS != 0:
            own = Sums(simd.advance(simd.pointer(sums), channel * each), chunks, sums.shape[2], 1)
            combine_chunks(own, planes, size, limit, table, channel, one, what)
        if what & FINISH != 0:
            finish_channels(table, planes * size, epsilon, coefficients, channel, one, what)
        if what & APPLY != 0:
            apply_plane_chunks(x, grad, out, coefficients, channel, start, stop, limit, what)
        item = next_item(counter, item)
    if what & STREAMED != 0:
        simd.stream_fence()


@kernel
def sum_columns(x, grad, sums, k, chunk, first, stop, what):
    """Fill the sums of chunk ``k`` of columns [first, stop); arrays (1, R, C), sums (chunks, 5, C)."""
    width = 2 * simd.VECTOR_BITS // 8 // x.itemsize
    strides = x.strides[1] // x.itemsize, grad.strides[1] // x.itemsize
    columns = sums.shape[2]
    for i in range(first, stop, width):
        row = simd.advance(simd.pointer(x), chunk.plane * strides[0] + i)
        slopes = simd.advance(simd.pointer(grad), chunk.plane * strides[1] + i)
        at = simd.advance(simd.pointer(sums), k * sums.shape[1] * columns + i)
        use_grad = what & WITH_GRAD != 0
        sum_column_chunk(row, strides[0], slopes, strides[1], chunk.planes, stop - i, at, columns, use_grad)


@kernel
def apply_columns(x, grad, out, coefficients, chunk, first, stop, what):
    """The result of a chunk of columns [first, stop); arrays (1, R, C)."""
    by = simd.advance(simd.pointer(coefficients), first)
    use_grad, is_streamed = what & WITH_GRAD != 0, what & STREAMED != 0
    for i in range(chunk.plane, chunk.plane + chunk.planes):
        row = simd.advance(simd.pointer(x), i * (x.strides[1] // x.itemsize) + first)
        slopes = simd.advance(simd.pointer(grad), i * (grad.strides[1] // x.itemsize) + first)
        target = simd.advance(simd.pointer(out), i * (out.strides[1] // x.itemsize) + first)
        affine_row(row, slopes, by, coefficients.shape[1], target, stop - first, x.itemsize, use_grad, is_streamed)


def column_items(x, grad, out, sums, table, coefficients, epsilon, plan, counter):
    """x, grad, out (1, R, C), the last axis contiguous; sums (chunks, 5, C); items: segments of a chunk, or columns."""
    rows, columns = x.shape[1], x.shape[2]
    what, parts, limit, segments = plan[0], plan[1], plan[2], plan[3]
    item = next_item(counter, -1)
    while item < parts:
        k, start = item // segments, item % segments * COLUMN_SEGMENT
        stop = min(columns, start + COLUMN_SEGMENT)
        chunk = chunk_of(k, rows, x.shape[0], limit)
        if what & SUMS != 0:
            sum_columns(x, grad, sums, k, chunk, start, stop, what)
        if what & (MOMENTS | FINISH) != 0:
            for first in range(start, stop, simd.F64_LANES):
                left = min(simd.F64_LANES, stop - first)
                if what & MOMENTS != 0:
                    own = Sums(simd.advance(simd.pointer(sums), first), sums.shape[0], 5 * columns, columns)
                    combine_chunks(own, rows, x.shape[0], limit, table, first, left, what)
                if what & FINISH != 0:
                    finish_channels(table, rows, epsilon, coefficients, first, left, what)
        if what & APPLY != 0:
            apply_columns(x, grad, out, coefficients, chunk, start, stop, what)
        item = next_item(counter, item)
    if what & STREAMED != 0:
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
        limit, chunks = COLUMN_LIMIT, chunk_count(x.shape[1], 1, COLUMN_LIMIT)
        sums = np.empty((chunks, 5, channels), x.dtype)
        parts = [chunks * segments, segments, chunks * segments]
        is_whole = chunks == 1
    else:
        work = _PLANES_F32 if x.itemsize == 4 else _PLANES_F64
        channels, segments = x.shape[1], 1
        limit, chunks = PLANE_LIMIT, chunk_count(x.shape[0], x.shape[2], PLANE_LIMIT)
        sums = np.empty((channels, chunks, 5), x.dtype)
        parts = [chunks, 1, chunks]
        is_whole = channels >= WHOLE_CHANNELS * threads.get_num_threads()
    bytes_read = x.nbytes * (2 if what & WITH_GRAD else 1)
    cost = bytes_read * NS_PER_BYTE + channels * NS_PER_CHANNEL  # of a step
    if is_whole or (2 * cost < threads.SMALLEST_WORK_NS and not is_columns):
        steps, parts, cost = [what & (SUMS | MOMENTS | FINISH | APPLY)], parts[1:2], 2 * cost
    if what & APPLY and out.nbytes >= STREAMED_BYTES and not (is_same_memory(out, x) or is_same_memory(out, grad)):
        what |= STREAMED
    coefficients = np.empty((5, channels), x.dtype)
    options = what & (WITH_GRAD | GIVEN | STREAMED)
    for step, count in zip(steps, parts, strict=True):
        if step:
            plan = np.array([step | options, count, limit, segments], np.int64)
            work(cost, x, grad, out, sums, table, coefficients, epsilon, plan)
