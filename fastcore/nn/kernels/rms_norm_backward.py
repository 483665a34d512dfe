"""Gradients of rows over their root mean square."""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.streaming import write_vector
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.nn.kernels import row_sums
from fastcore.nn.kernels.layer_norm import (
    are_joined,
    are_plain_rows,
    copied,
    ends_of,
    hold,
    is_plain_vector,
    is_streamed,
    join,
    place_of,
    row_of,
    scratch_elements,
)

# Serial nanoseconds per byte of a row, for the choice between serial and parallel.
NS_PER_BYTE = 0.06


@kernel
def means_of(row, grad, weight, size):
    """Means of the squares of a row and of grad * weight * row."""
    lanes = lanes_of(row)
    zero = filled(row, 0.0)
    a, b, c, d = zero, zero, zero, zero
    whole = size - size % (2 * lanes)
    for first in range(0, whole, 2 * lanes):
        second = first + lanes
        p, q = simd.load(simd.advance(row, first), lanes), simd.load(simd.advance(row, second), lanes)
        g = simd.load(simd.advance(grad, first), lanes) * simd.load(simd.advance(weight, first), lanes)
        h = simd.load(simd.advance(grad, second), lanes) * simd.load(simd.advance(weight, second), lanes)
        a, b, c, d = simd.fma(p, p, a), simd.fma(q, q, b), simd.fma(g, p, c), simd.fma(h, q, d)
    for first in range(whole, size, lanes):
        count = size - first
        p = simd.load_first(simd.advance(row, first), lanes, count)
        g = simd.load_first(simd.advance(grad, first), lanes, count)
        g = g * simd.load_first(simd.advance(weight, first), lanes, count)
        a, c = simd.fma(p, p, a), simd.fma(g, p, c)
    part = 1.0 / size
    return simd.reduce_add(a + b) * part, simd.reduce_add(c + d) * part


@kernel
def some_gradients(row, grad, weight, inverse, product, out, sums, first, count):
    """`gradients_of_row` for ``count`` elements, fewer than a vector has lanes, to the start of ``out``."""
    lanes = lanes_of(row)
    if count > 0:
        normal = simd.load_first(simd.advance(row, first), lanes, count) * filled(row, inverse)
        slope = simd.load_first(simd.advance(grad, first), lanes, count)
        scale = simd.load_first(simd.advance(weight, first), lanes, count)
        gradient = (slope * scale - normal * filled(row, product)) * filled(row, inverse)
        simd.store_first(out, gradient, count)
        row_sums.add_some(simd.advance(sums, first), slope * normal, count)


@kernel
def gradients_of_row(row, grad, weight, epsilon, out, edge, ends, sums, size, streamed):
    """out = (g - n mean(g n)) * inverse, n = row * inverse, g = grad * weight, inverse = 1 / sqrt(mean square + eps).

    Adds grad * n to ``sums``. ``out`` may be ``row`` or ``grad``.
    """
    lanes = lanes_of(row)
    squares, products = means_of(row, grad, weight, size)
    inverse = 1.0 / np.sqrt(squares + epsilon)
    factor, product = filled(row, inverse), filled(row, inverse * products)
    whole = size - (size - ends.head) % lanes
    some_gradients(row, grad, weight, inverse, inverse * products, ends.before, sums, 0, ends.head)
    join(out, edge, ends)
    for first in range(ends.head, whole, lanes):
        normal = simd.load(simd.advance(row, first), lanes) * factor
        slope, scale = simd.load(simd.advance(grad, first), lanes), simd.load(simd.advance(weight, first), lanes)
        before = simd.load(simd.advance(sums, first), lanes)
        write_vector(simd.advance(out, first), (slope * scale - normal * product) * factor, streamed)
        simd.store(simd.advance(sums, first), before + slope * normal)
    some_gradients(row, grad, weight, inverse, inverse * products, ends.after, sums, whole, size - whole)


def gradient_items(grad, x, weight, epsilon, out, sums, counter):
    """Take chunks of rows until none is left."""
    rows, size = x.shape
    per_item = row_sums.rows_per_chunk(rows, sums)
    streamed = is_streamed(out, x) and is_streamed(out, grad)
    joined = streamed and are_joined(out)
    scratch = np.empty(scratch_elements(2, size, x.itemsize), x.dtype)
    start_of_out = simd.pointer(out)
    scale = copied(simd.pointer(weight), place_of(scratch, 0, start_of_out, size), size)
    total = place_of(scratch, 1, start_of_out, size)
    edges = np.empty(lanes_of(start_of_out), x.dtype)
    edge = simd.pointer(edges)
    item = next_item(counter, -1)
    while item * per_item < rows:
        copied(row_of(sums, item), total, size)  # zeros
        start, stop = item * per_item, min((item + 1) * per_item, rows)
        for i in range(start, stop):
            row, slope, target = row_of(x, i), row_of(grad, i), row_of(out, i)
            ends = ends_of(target, edge, x.itemsize, size, joined and i > start, joined and i + 1 < stop)
            gradients_of_row(row, slope, scale, epsilon, target, edge, ends, total, size, streamed)
        copied(total, row_of(sums, item), size)
        item = next_item(counter, item)
    simd.stream_fence()
    hold(scratch)
    hold(edges)


def gradient_parallel(body, workers, grad, x, weight, epsilon, out, sums, counter):
    """`gradient_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (grad, x, weight, epsilon, out, sums, counter))


def gradient_small(grad, x, weight, epsilon, out, sums, body):
    """Everything, if all is in order and there is not enough work for threads; whether that was so.

    ``body`` is the address of `gradient_items`.
    """
    rows, size = x.shape
    if x.size == 0 or x.size * x.itemsize * NS_PER_BYTE >= threads.SMALLEST_WORK_NS:
        return False
    if not (0.0 <= epsilon < np.inf and is_plain_vector(weight, size)):
        return False
    if not (are_plain_rows(x, rows, size) and are_plain_rows(grad, rows, size)):
        return False
    call_by_address(body, (grad, x, weight, epsilon, out, sums, ALONE))
    row_sums.add_chunks(sums)
    return True


def _argument_types(dtype, layout="C"):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, layout, readonly=True)
    return [read, read, vector, types.float64, types.Array(dtype, 2, "A"), types.Array(dtype, 2, "C")]


_GRADIENT_F32 = SharedWork(gradient_items, gradient_parallel, _argument_types(types.float32))
_GRADIENT_F64 = SharedWork(gradient_items, gradient_parallel, _argument_types(types.float64))
_SMALL = Direct(gradient_small, types.boolean(*_argument_types(types.float32, "A"), types.int64))


def gradient_if_small(grad, x, weight, epsilon, out, sums):
    """Whether these arrays were small and in order; then ``out`` and the first row of ``sums`` are as of `gradient`.

    grad, x (., .), weight (.,), out of the shape of x, C-contiguous, sums as `new_sums` made them: float32; nothing
    else is relied on. All checks in compiled code.
    """
    return _SMALL.call(grad, x, weight, epsilon, out, sums, _GRADIENT_F32.body.address)


def gradient(grad, x, weight, epsilon, out):
    """out = gradient of x; the gradient of weight is returned as (1, D).

    grad, x, out (N, D), last axis contiguous, weight (D,), C-contiguous: one of float32 and float64, N and D > 0.
    ``out`` may be grad or x, and no other array that overlaps them.
    """
    work = _GRADIENT_F32 if x.itemsize == 4 else _GRADIENT_F64
    sums = row_sums.new_sums(x.shape, 1, x.dtype)
    work(x.nbytes * NS_PER_BYTE, grad, x, weight, epsilon, out, sums)
    return row_sums.sum_of_chunks(sums)[None]
