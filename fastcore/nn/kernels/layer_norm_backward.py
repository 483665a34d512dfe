"""Gradients of layer normalisation of rows, optionally of the sum of two."""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.streaming import write_vector
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.nn.kernels import row_sums
from fastcore.nn.kernels.layer_norm import (
    NO_ROWS,
    add_rows,
    are_joined,
    are_plain_rows,
    copied,
    ends_of,
    guess_of,
    hold,
    is_plain_vector,
    is_streamed,
    join,
    mean_of,
    place_of,
    row_of,
    scratch_elements,
)

# Serial nanoseconds per byte of a row, for the choice between serial and parallel.
NS_PER_BYTE = 0.07


class Slopes(NamedTuple):
    """What a row's gradient takes: `layer_norm.Moments`, and means of g = grad * weight and of g * (x - guess)."""

    guess: Any
    correction: Any
    variance: Any
    slope: Any
    product: Any


@kernel
def slopes_around(row, grad, weight, guess, size):
    """`Slopes` in one pass, by the formulas of `layer_norm.moments_around`."""
    lanes = lanes_of(row)
    zero = filled(row, 0.0)
    centre = zero + guess
    a, b, aa, bb = zero, zero, zero, zero
    c, d, cc, dd = zero, zero, zero, zero
    whole = size - size % (2 * lanes)
    for first in range(0, whole, 2 * lanes):
        second = first + lanes
        p = simd.load(simd.advance(row, first), lanes) - centre
        q = simd.load(simd.advance(row, second), lanes) - centre
        g = simd.load(simd.advance(grad, first), lanes) * simd.load(simd.advance(weight, first), lanes)
        h = simd.load(simd.advance(grad, second), lanes) * simd.load(simd.advance(weight, second), lanes)
        a, b, aa, bb = a + p, b + q, simd.fma(p, p, aa), simd.fma(q, q, bb)
        c, d, cc, dd = c + g, d + h, simd.fma(g, p, cc), simd.fma(h, q, dd)
    for first in range(whole, size, lanes):
        count = size - first
        p = simd.load_first(simd.advance(row, first), lanes, count) - centre
        p = simd.select(simd.iota_i32(lanes) < count, p, zero)  # past the end it is -centre
        g = simd.load_first(simd.advance(grad, first), lanes, count)
        g = g * simd.load_first(simd.advance(weight, first), lanes, count)
        a, aa, c, cc = a + p, simd.fma(p, p, aa), c + g, simd.fma(g, p, cc)
    part = 1.0 / size
    correction = simd.reduce_add(a + b) * part
    variance = simd.reduce_add(aa + bb) * part - correction * correction
    if variance < 0.0:  # by rounding, as in the forward pass
        variance = 0.0
    return Slopes(guess, correction, variance, simd.reduce_add(c + d) * part, simd.reduce_add(cc + dd) * part)


@kernel
def slopes_of(row, grad, weight, size):
    """`Slopes`, read once, or twice where the first elements are unlike the rest, as `layer_norm.moments_of`."""
    slopes = slopes_around(row, grad, weight, guess_of(row, size), size)
    if slopes.correction * slopes.correction > slopes.variance:
        slopes = slopes_around(row, grad, weight, slopes.guess + slopes.correction, size)
    return slopes


@kernel
def some_gradients(row, grad, weight, slopes, inverse, out, weighted, plain, first, count):
    """`gradients_of_row` for ``count`` elements, fewer than a vector has lanes, to the start of ``out``."""
    lanes = lanes_of(row)
    if count > 0:
        x = simd.load_first(simd.advance(row, first), lanes, count)
        slope = simd.load_first(simd.advance(grad, first), lanes, count)
        scale = simd.load_first(simd.advance(weight, first), lanes, count)
        product = inverse * (slopes.product - slopes.correction * slopes.slope)
        mean, rest = mean_of(row, slopes)
        normal = (x - mean - rest) * filled(row, inverse)
        centred = slope * scale - filled(row, slopes.slope) - normal * filled(row, product)
        simd.store_first(out, centred * filled(row, inverse), count)
        row_sums.add_some(simd.advance(weighted, first), slope * normal, count)
        row_sums.add_some(simd.advance(plain, first), slope, count)


@kernel
def gradients_of_row(row, grad, weight, slopes, epsilon, out, edge, ends, weighted, plain, size, streamed):
    """out = (g - mean(g) - n mean(g n)) / deviation, n the normalised row and g = grad * weight.

    Adds grad * n to ``weighted`` and grad to ``plain``. ``out`` may be ``row`` or ``grad``.
    """
    lanes = lanes_of(row)
    inverse = 1.0 / np.sqrt(slopes.variance + epsilon)
    mean, rest = mean_of(row, slopes)
    factor, mean_slope = filled(row, inverse), filled(row, slopes.slope)
    product = filled(row, inverse * (slopes.product - slopes.correction * slopes.slope))
    whole = size - (size - ends.head) % lanes
    some_gradients(row, grad, weight, slopes, inverse, ends.before, weighted, plain, 0, ends.head)
    join(out, edge, ends)
    for first in range(ends.head, whole, lanes):
        normal = (simd.load(simd.advance(row, first), lanes) - mean - rest) * factor
        slope, scale = simd.load(simd.advance(grad, first), lanes), simd.load(simd.advance(weight, first), lanes)
        at, to = simd.advance(weighted, first), simd.advance(plain, first)
        weighted_before, plain_before = simd.load(at, lanes), simd.load(to, lanes)
        write_vector(simd.advance(out, first), (slope * scale - mean_slope - normal * product) * factor, streamed)
        simd.store(at, weighted_before + slope * normal)
        simd.store(to, plain_before + slope)
    some_gradients(row, grad, weight, slopes, inverse, ends.after, weighted, plain, whole, size - whole)


def gradient_items(grad, x, residual, weight, epsilon, out, sums, counter):
    """Take chunks of rows until none is left; ``residual`` has no rows where there is none to add."""
    rows, size = x.shape
    per_item = row_sums.rows_per_chunk(rows, sums)
    streamed = is_streamed(out, x) and is_streamed(out, residual) and is_streamed(out, grad)
    joined = streamed and are_joined(out)
    add = residual.shape[0] > 0
    scratch = np.empty(scratch_elements(4, size, x.itemsize), x.dtype)
    start_of_out = simd.pointer(out)
    scale = copied(simd.pointer(weight), place_of(scratch, 0, start_of_out, size), size)
    weighted, plain = place_of(scratch, 1, start_of_out, size), place_of(scratch, 2, start_of_out, size)
    total = place_of(scratch, 3, start_of_out, size)
    edges = np.empty(lanes_of(start_of_out), x.dtype)
    edge = simd.pointer(edges)
    item = next_item(counter, -1)
    while item * per_item < rows:
        sums_of_item = row_of(sums, item)
        copied(sums_of_item, weighted, size)  # zeros
        copied(sums_of_item, plain, size)
        start, stop = item * per_item, min((item + 1) * per_item, rows)
        for i in range(start, stop):
            row, slope, target = row_of(x, i), row_of(grad, i), row_of(out, i)
            if add:
                add_rows(row, row_of(residual, i), total, size)
                row = total
            slopes = slopes_of(row, slope, scale, size)
            ends = ends_of(target, edge, x.itemsize, size, joined and i > start, joined and i + 1 < stop)
            gradients_of_row(row, slope, scale, slopes, epsilon, target, edge, ends, weighted, plain, size, streamed)
        copied(weighted, sums_of_item, size)
        copied(plain, simd.advance(sums_of_item, size), size)
        item = next_item(counter, item)
    simd.stream_fence()
    hold(scratch)
    hold(edges)


def gradient_parallel(body, workers, grad, x, residual, weight, epsilon, out, sums, counter):
    """`gradient_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (grad, x, residual, weight, epsilon, out, sums, counter))


def gradient_small(grad, x, residual, weight, epsilon, out, sums, body):
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
    if residual.shape[0] > 0 and not are_plain_rows(residual, rows, size):
        return False
    if call_by_address(body, (grad, x, residual, weight, epsilon, out, sums, ALONE)):
        row_sums.add_chunks(sums)
        return True
    return False


def _argument_types(dtype, layout="C"):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, layout, readonly=True)
    return [read, read, read, vector, types.float64, types.Array(dtype, 2, "A"), types.Array(dtype, 2, "C")]


_GRADIENT_F32 = SharedWork(gradient_items, gradient_parallel, _argument_types(types.float32))
_GRADIENT_F64 = SharedWork(gradient_items, gradient_parallel, _argument_types(types.float64))
_SMALL = Direct(gradient_small, types.boolean(*_argument_types(types.float32, "A"), types.int64))


def gradient_if_small(grad, x, residual, weight, epsilon, out, sums):
    """Whether these arrays were small and in order; then ``out`` and the first row of ``sums`` are as of `gradient`.

    grad, x (., .), residual (., .) or None, weight (.,), out of the shape of x, C-contiguous, sums as `new_sums` made
    them: float32; nothing else is relied on. All checks in compiled code.
    """
    rows = NO_ROWS if residual is None else residual
    return _SMALL.call(grad, x, rows, weight, epsilon, out, sums, _GRADIENT_F32.body.address)


def gradient(grad, x, residual, weight, epsilon, out):
    """out = gradient of x, or of x + residual; the gradients of weight and bias are returned as (2, D).

    grad, x, residual, out (N, D), last axis contiguous, weight (D,), C-contiguous: one of float32 and float64, N and D
    > 0; residual (0, D) for none. ``out`` may be grad, x or residual, and no other array that overlaps them.
    """
    work = _GRADIENT_F32 if x.itemsize == 4 else _GRADIENT_F64
    sums = row_sums.new_sums(x.shape, 2, x.dtype)
    work(x.nbytes * NS_PER_BYTE, grad, x, residual, weight, epsilon, out, sums)
    return row_sums.sum_of_chunks(sums).reshape(2, -1)
