"""Rows over their root mean square."""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.nn.kernels.layer_norm import ITEM_ELEMENTS, UNROLL, row_of

# Serial nanoseconds per byte of a row, for the choice between serial and parallel: 0.15 ns a float32 from cache.
NS_PER_BYTE = 0.04


@kernel
def mean_square(row, size):
    """Mean of the squares of a row."""
    lanes = lanes_of(row)
    zero = filled(row, 0.0)
    a, b, c, d = zero, zero, zero, zero
    whole = size - size % (UNROLL * lanes)
    for first in range(0, whole, UNROLL * lanes):
        at = simd.advance(row, first)
        p, q = simd.load(at, lanes), simd.load(simd.advance(at, lanes), lanes)
        r, s = simd.load(simd.advance(at, 2 * lanes), lanes), simd.load(simd.advance(at, 3 * lanes), lanes)
        a, b, c, d = simd.fma(p, p, a), simd.fma(q, q, b), simd.fma(r, r, c), simd.fma(s, s, d)
    for first in range(whole, size, lanes):
        p = simd.load_first(simd.advance(row, first), lanes, size - first)
        a = simd.fma(p, p, a)
    return simd.reduce_add((a + b) + (c + d)) / size


@kernel
def divide_row(row, epsilon, weight, out, size):
    """out = row / sqrt(mean square + epsilon) * weight; ``out`` may be ``row``."""
    lanes = lanes_of(row)
    factor = filled(row, 1.0 / np.sqrt(mean_square(row, size) + epsilon))
    whole = size - size % lanes
    for first in range(0, whole, lanes):
        scale = simd.load(simd.advance(weight, first), lanes)
        simd.store(simd.advance(out, first), simd.load(simd.advance(row, first), lanes) * factor * scale)
    if whole < size:
        count = size - whole
        scale = simd.load_first(simd.advance(weight, whole), lanes, count)
        normal = simd.load_first(simd.advance(row, whole), lanes, count) * factor
        simd.store_first(simd.advance(out, whole), normal * scale, count)


def normalize_items(x, weight, epsilon, out, counter):
    """Take blocks of rows until none is left."""
    rows, size = x.shape
    per_item = max(1, ITEM_ELEMENTS // size)
    item = next_item(counter, -1)
    while item * per_item < rows:
        for i in range(item * per_item, min((item + 1) * per_item, rows)):
            divide_row(row_of(x, i), epsilon, simd.pointer(weight), row_of(out, i), size)
        item = next_item(counter, item)


def normalize_parallel(body, workers, x, weight, epsilon, out, counter):
    """`normalize_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, weight, epsilon, out, counter))


def normalize_small(x, weight, epsilon, out):
    """Normalise if everything is in order and there is not enough work for threads; whether that was so."""
    rows, size = x.shape
    itemsize = x.itemsize
    if x.size == 0 or weight.size != size or x.size * itemsize * NS_PER_BYTE >= threads.SMALLEST_WORK_NS:
        return False
    if not 0.0 <= epsilon < np.inf:
        return False
    odd = x.ctypes.data % itemsize + x.strides[0] % itemsize + weight.ctypes.data % itemsize
    if odd != 0 or x.strides[1] != itemsize or weight.strides[0] != itemsize:
        return False
    for i in range(rows):
        divide_row(row_of(x, i), epsilon, simd.pointer(weight), row_of(out, i), size)
    return True


def _argument_types(dtype, layout="C"):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, layout, readonly=True)
    return [read, vector, types.float64, types.Array(dtype, 2, "A")]


_NORMALIZE_F32 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float32))
_NORMALIZE_F64 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float64))
_SMALL = Direct(normalize_small, types.boolean(*_argument_types(types.float32, "A")))


def normalize_if_small(x, weight, epsilon, out):
    """Whether these arrays were small and in order; then ``out`` is x normalised.

    x (N, D), weight (.,), out (N, D), C-contiguous: float32; nothing else is relied on. All checks in compiled code.
    """
    return _SMALL.call(x, weight, epsilon, out)


def normalize(x, weight, epsilon, out):
    """out = x / sqrt(mean(x**2) + epsilon) * weight, row by row.

    x, out (N, D), last axis contiguous, weight (D,), C-contiguous: one of float32 and float64, N and D > 0. ``out`` may
    be x, and no other array that overlaps x or weight.
    """
    work = _NORMALIZE_F32 if x.itemsize == 4 else _NORMALIZE_F64
    work(x.nbytes * NS_PER_BYTE, x, weight, epsilon, out)
