"""Layer normalisation of rows, optionally of the sum of two."""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item

# Elements an item should have, so that taking it (30 ns) is nothing.
ITEM_ELEMENTS = 4096
# Serial nanoseconds per byte of a row, for the choice between serial and parallel: 0.28 ns a float32 from cache.
NS_PER_BYTE = 0.07
# Vectors summed side by side: one after the other, each addition would wait four cycles for the last.
UNROLL = 4


class Moments(NamedTuple):
    """A row's mean, as a first guess and what to add to it, and its variance."""

    guess: Any
    correction: Any
    variance: Any


@kernel
def row_of(array, row):
    """Pointer to the first element of a row."""
    return simd.advance(simd.pointer(array), row * (array.strides[0] // array.itemsize))


@kernel
def add_rows(a, b, total, size):
    """total = a + b; ``total`` may be either."""
    lanes = lanes_of(a)
    for first in range(0, size, lanes):
        count = min(size - first, lanes)
        left = simd.load_first(simd.advance(a, first), lanes, count)
        right = simd.load_first(simd.advance(b, first), lanes, count)
        simd.store_first(simd.advance(total, first), left + right, count)


@kernel
def sum_of(row, size):
    """Sum of a row."""
    lanes = lanes_of(row)
    zero = filled(row, 0.0)
    a, b, c, d = zero, zero, zero, zero
    whole = size - size % (UNROLL * lanes)
    for first in range(0, whole, UNROLL * lanes):
        at = simd.advance(row, first)
        a = a + simd.load(at, lanes)
        b = b + simd.load(simd.advance(at, lanes), lanes)
        c = c + simd.load(simd.advance(at, 2 * lanes), lanes)
        d = d + simd.load(simd.advance(at, 3 * lanes), lanes)
    for first in range(whole, size, lanes):
        a = a + simd.load_first(simd.advance(row, first), lanes, size - first)
    return simd.reduce_add((a + b) + (c + d))


@kernel
def moments_of(row, size):
    """Mean and variance by two passes, the second around the mean of the first.

    The first mean is off by rounding, up to 1e-3 for float32 around 1e4. Differences from it are exact where the mean
    is far above the deviation; their own mean corrects it and the variance (Chan, Golub and LeVeque 1983, eq. 1.7).
    """
    lanes = lanes_of(row)
    zero = filled(row, 0.0)
    guess = sum_of(row, size) / size
    centre = zero + guess
    a, b, c, d = zero, zero, zero, zero
    aa, bb, cc, dd = zero, zero, zero, zero
    whole = size - size % (UNROLL * lanes)
    for first in range(0, whole, UNROLL * lanes):
        at = simd.advance(row, first)
        p = simd.load(at, lanes) - centre
        q = simd.load(simd.advance(at, lanes), lanes) - centre
        r = simd.load(simd.advance(at, 2 * lanes), lanes) - centre
        s = simd.load(simd.advance(at, 3 * lanes), lanes) - centre
        a, b, c, d = a + p, b + q, c + r, d + s
        aa, bb, cc, dd = simd.fma(p, p, aa), simd.fma(q, q, bb), simd.fma(r, r, cc), simd.fma(s, s, dd)
    for first in range(whole, size, lanes):
        p = simd.load_first(simd.advance(row, first), lanes, size - first) - centre
        p = simd.select(simd.iota_i32(lanes) < size - first, p, zero)  # past the end it is -centre
        a, aa = a + p, simd.fma(p, p, aa)
    correction = simd.reduce_add((a + b) + (c + d)) / size
    squares = simd.reduce_add((aa + bb) + (cc + dd)) / size
    variance = squares - correction * correction
    if variance < 0.0:  # by rounding, where all elements are equal: float32 rows of 1e12 and an eps of 1e-5 gave NaN
        variance = 0.0
    return Moments(guess, correction, variance)


@kernel
def scale_row(row, moments, epsilon, weight, bias, out, size):
    """out = (row - mean) / sqrt(variance + epsilon) * weight + bias; ``out`` may be ``row``."""
    lanes = lanes_of(row)
    centre = filled(row, moments.guess)
    correction = filled(row, moments.correction)
    factor = filled(row, 1.0 / np.sqrt(moments.variance + epsilon))
    whole = size - size % lanes
    for first in range(0, whole, lanes):
        normal = (simd.load(simd.advance(row, first), lanes) - centre - correction) * factor
        scale, shift = simd.load(simd.advance(weight, first), lanes), simd.load(simd.advance(bias, first), lanes)
        simd.store(simd.advance(out, first), simd.fma(normal, scale, shift))
    if whole < size:
        count = size - whole
        normal = (simd.load_first(simd.advance(row, whole), lanes, count) - centre - correction) * factor
        scale = simd.load_first(simd.advance(weight, whole), lanes, count)
        shift = simd.load_first(simd.advance(bias, whole), lanes, count)
        simd.store_first(simd.advance(out, whole), simd.fma(normal, scale, shift), count)


def normalize_items(x, residual, weight, bias, epsilon, out, counter):
    """Take blocks of rows until none is left; ``residual`` has no rows where there is none to add."""
    rows, size = x.shape
    per_item = max(1, ITEM_ELEMENTS // size)
    item = next_item(counter, -1)
    while item * per_item < rows:
        for i in range(item * per_item, min((item + 1) * per_item, rows)):
            row, target = row_of(x, i), row_of(out, i)
            if residual.shape[0] > 0:
                add_rows(row, row_of(residual, i), target, size)
                row = target
            moments = moments_of(row, size)
            scale_row(row, moments, epsilon, simd.pointer(weight), simd.pointer(bias), target, size)
        item = next_item(counter, item)


def normalize_parallel(body, workers, x, residual, weight, bias, epsilon, out, counter):
    """`normalize_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, residual, weight, bias, epsilon, out, counter))


def _argument_types(dtype):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, "C", readonly=True)
    return [read, read, vector, vector, types.float64, types.Array(dtype, 2, "A")]


_NORMALIZE_F32 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float32))
_NORMALIZE_F64 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float64))


def normalize(x, residual, weight, bias, epsilon, out):
    """out = layer norm of x, or of x + residual, row by row.

    x, residual, out (N, D), last axis contiguous, weight, bias (D,), C-contiguous: one of float32 and float64, N and D
    > 0; residual (0, D) for none. ``out`` may be x or residual, and no other array that overlaps them.
    """
    work = _NORMALIZE_F32 if x.itemsize == 4 else _NORMALIZE_F64
    work(x.nbytes * NS_PER_BYTE, x, residual, weight, bias, epsilon, out)
