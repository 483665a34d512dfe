"""Softmax along the last axis or along another, shared by threads."""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import lanes_of
from fastcore._core.work import ALONE, SharedWork, call_by_address, next_item
from fastcore.nn.kernels.elementwise import ITEM_ELEMENTS, is_streamed, item_elements
from fastcore.nn.kernels.softmax_columns import copy_strip, softmax_column, softmax_column_backward
from fastcore.nn.kernels.softmax_rows import softmax_row, softmax_row_backward

# Serial nanoseconds an element, for the choice between serial and parallel.
NS_PER_F32, NS_PER_F64 = 0.35, 1.2
# Strips of columns are copied where they fit in half of a second cache; columns of one at most; items at least.
COPY_BYTES = 1 << 19
WIDEST_STRIP = 256
FEWEST_ITEMS = 8
# Elements of the longest row whose powers are kept in a second cache until they are scaled.
LONGEST_KEPT = 65536


@kernel
def place_of(array, i, j):
    """Pointer to array[i, j]."""
    steps = i * (array.strides[0] // array.itemsize) + j * (array.strides[1] // array.itemsize)
    return simd.advance(simd.pointer(array), steps)


@kernel
def strip_width(outer, depth, inner, fitting, lanes):
    """Columns of a strip, in whole vectors: as many as can be copied, but no less items than threads could use."""
    width = min(fitting // depth, WIDEST_STRIP, inner * outer // FEWEST_ITEMS)
    return max(lanes, width // lanes * lanes)


@kernel
def do_rows(grad, x, out, use_grad, is_log, streamed, counter):
    """Take blocks of rows, x[0], until none is left."""
    _, rows, size = x.shape
    per_item = max(1, item_elements(out) // size)
    keeps = streamed and not use_grad and not is_log and size <= LONGEST_KEPT
    scratch = np.empty(size if keeps else 0, x.dtype)
    item = next_item(counter, -1)
    while item * per_item < rows:
        for i in range(item * per_item, min((item + 1) * per_item, rows)):
            row, target = place_of(x, 0, i), place_of(out, 0, i)
            if use_grad:
                softmax_row_backward(place_of(grad, 0, i), row, target, size, is_log, streamed)
            else:
                softmax_row(row, target, simd.pointer(scratch) if keeps else target, size, is_log, streamed)
        item = next_item(counter, item)


@kernel
def do_strip(grad, x, out, i, start, count, width, scratch, use_grad, is_log):
    """Columns [start, start + count) of x[i], by copies of ``width`` columns in ``scratch`` if it has room."""
    depth = x.shape[1]
    lanes = lanes_of(simd.pointer(x))
    source, target = simd.advance(place_of(x, i, 0), start), simd.advance(place_of(out, i, 0), start)
    slope = simd.advance(place_of(grad, i, 0), start)
    step, out_step = x.strides[1] // x.itemsize, out.strides[1] // out.itemsize
    grad_step = grad.strides[1] // grad.itemsize
    result = target
    if scratch.size > 0:
        result = simd.pointer(scratch)
        copy_strip(source, step, result, width, depth, count)
        if use_grad:
            copy = simd.advance(result, depth * width)
            copy_strip(slope, grad_step, copy, width, depth, count)
            slope, grad_step = copy, width
        source, step, out_step = result, width, width
    for first in range(0, count, lanes):
        value, made = simd.advance(source, first), simd.advance(result, first)
        if use_grad:
            column = simd.advance(slope, first)
            softmax_column_backward(column, grad_step, value, step, made, out_step, depth, count - first, is_log)
        else:
            softmax_column(value, step, made, out_step, depth, count - first, is_log)
    if scratch.size > 0:
        copy_strip(result, width, target, out.strides[1] // out.itemsize, depth, count)


@kernel
def do_columns(grad, x, out, use_grad, is_log, counter):
    """Take strips of columns, along x[i, :, j], until none is left."""
    outer, depth, inner = x.shape
    lanes = lanes_of(simd.pointer(x))
    copies = 2 if use_grad else 1
    fitting = COPY_BYTES // (copies * x.itemsize)
    width = strip_width(outer, depth, inner, fitting, lanes)
    scratch = np.empty(copies * depth * width if depth * width <= fitting else 0, x.dtype)
    strips = (inner + width - 1) // width
    per_item = max(1, ITEM_ELEMENTS // (depth * inner))
    item = next_item(counter, -1)
    while item // strips * per_item < outer:
        start = item % strips * width
        for i in range(item // strips * per_item, min((item // strips + 1) * per_item, outer)):
            do_strip(grad, x, out, i, start, min(inner - start, width), width, scratch, use_grad, is_log)
        item = next_item(counter, item)


def softmax_items(grad, x, out, use_grad, is_log, along_last, streamed, counter):
    """Take items until none is left; ``grad`` is not looked at where it is not used."""
    if along_last:
        do_rows(grad, x, out, use_grad, is_log, streamed, counter)
    else:
        do_columns(grad, x, out, use_grad, is_log, counter)
    simd.stream_fence()


def softmax_parallel(body, workers, grad, x, out, use_grad, is_log, along_last, streamed, counter):
    """`softmax_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (grad, x, out, use_grad, is_log, along_last, streamed, counter))


def _argument_types(dtype):
    read = types.Array(dtype, 3, "A", readonly=True)
    return [read, read, types.Array(dtype, 3, "A"), *[types.boolean] * 4]


_SOFTMAX_F32 = SharedWork(softmax_items, softmax_parallel, _argument_types(types.float32))
_SOFTMAX_F64 = SharedWork(softmax_items, softmax_parallel, _argument_types(types.float64))
# Elements that threads share.
FEWEST_SHARED = int(threads.SMALLEST_WORK_NS / NS_PER_F32)


def normalize_few(x, out, is_log, grad=None):
    """`normalize` along the last axis; all (1, N, D) float32, C-contiguous, of less than `FEWEST_SHARED`."""
    use_grad = grad is not None
    _SOFTMAX_F32.body.call(grad if use_grad else x, x, out, use_grad, is_log, True, False, ALONE)


def normalize(x, out, is_log, along_last, grad=None):
    """out = softmax of x, or its logarithm; with grad, x is that result, and out its gradient.

    grad, x, out (A, B, C), all float32 or all float64, last axis contiguous, none empty. Along B, or along C with A 1.
    ``out`` may be x or grad, and no other array that overlaps them.
    """
    work, cost = (_SOFTMAX_F32, NS_PER_F32) if x.itemsize == 4 else (_SOFTMAX_F64, NS_PER_F64)
    use_grad = grad is not None
    inputs = [x, grad] if use_grad else [x]
    streamed = along_last and is_streamed(out, inputs)
    work(x.size * cost, inputs[-1], x, out, use_grad, is_log, along_last, streamed)
