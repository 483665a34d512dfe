"""Rows over their root mean square."""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.streaming import write_vector
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.nn.kernels.layer_norm import (
    ITEM_ELEMENTS,
    STREAMED_ITEM_ELEMENTS,
    UNROLL,
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
    return simd.reduce_add((a + b) + (c + d)) * (1.0 / size)


@kernel
def divide_some(row, inverse, weight, out, first, count):
    """`divide_row` for ``count`` elements from ``first`` on, fewer than a vector has lanes, to the start of ``out``."""
    lanes = lanes_of(row)
    if count > 0:
        scale = simd.load_first(simd.advance(weight, first), lanes, count)
        normal = simd.load_first(simd.advance(row, first), lanes, count) * filled(row, inverse)
        simd.store_first(out, normal * scale, count)


@kernel
def divide_row(row, epsilon, weight, out, edge, ends, size, streamed):
    """out = row / sqrt(mean square + epsilon) * weight; ``out`` may be ``row``."""
    lanes = lanes_of(row)
    inverse = 1.0 / np.sqrt(mean_square(row, size) + epsilon)
    factor = filled(row, inverse)
    whole = size - (size - ends.head) % lanes
    divide_some(row, inverse, weight, ends.before, 0, ends.head)
    join(out, edge, ends)
    for first in range(ends.head, whole, lanes):
        scale = simd.load(simd.advance(weight, first), lanes)
        write_vector(simd.advance(out, first), simd.load(simd.advance(row, first), lanes) * factor * scale, streamed)
    divide_some(row, inverse, weight, ends.after, whole, size - whole)


def normalize_items(x, weight, epsilon, out, counter):
    """Take blocks of rows until none is left."""
    rows, size = x.shape
    streamed = is_streamed(out, x)
    joined = streamed and are_joined(out)
    per_item = max(1, (STREAMED_ITEM_ELEMENTS if streamed else ITEM_ELEMENTS) // size)
    scratch = np.empty(scratch_elements(1, size, x.itemsize), x.dtype)
    scale = copied(simd.pointer(weight), place_of(scratch, 0, simd.pointer(out), size), size)
    edges = np.empty(lanes_of(simd.pointer(x)), x.dtype)
    edge = simd.pointer(edges)
    item = next_item(counter, -1)
    while item * per_item < rows:
        start, stop = item * per_item, min((item + 1) * per_item, rows)
        for i in range(start, stop):
            target = row_of(out, i)
            ends = ends_of(target, edge, x.itemsize, size, joined and i > start, joined and i + 1 < stop)
            divide_row(row_of(x, i), epsilon, scale, target, edge, ends, size, streamed)
        item = next_item(counter, item)
    simd.stream_fence()
    hold(scratch)
    hold(edges)


def normalize_parallel(body, workers, x, weight, epsilon, out, counter):
    """`normalize_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, weight, epsilon, out, counter))


def normalize_small(x, weight, epsilon, out, body):
    """Normalise if everything is in order and there is not enough work for threads; whether that was so.

    ``body`` is the address of `normalize_items`.
    """
    rows, size = x.shape
    if x.size == 0 or x.size * x.itemsize * NS_PER_BYTE >= threads.SMALLEST_WORK_NS:
        return False
    if not (0.0 <= epsilon < np.inf and are_plain_rows(x, rows, size) and is_plain_vector(weight, size)):
        return False
    return call_by_address(body, (x, weight, epsilon, out, ALONE))


def _argument_types(dtype, layout="C"):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, layout, readonly=True)
    return [read, vector, types.float64, types.Array(dtype, 2, "A")]


_NORMALIZE_F32 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float32))
_NORMALIZE_F64 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float64))
_SMALL = Direct(normalize_small, types.boolean(*_argument_types(types.float32, "A"), types.int64))


def normalize_if_small(x, weight, epsilon, out):
    """Whether these arrays were small and in order; then ``out`` is x normalised.

    x (N, D), weight (.,), out (N, D), C-contiguous: float32; nothing else is relied on. All checks in compiled code.
    """
    return _SMALL.call(x, weight, epsilon, out, _NORMALIZE_F32.body.address)


def normalize(x, weight, epsilon, out):
    """out = x / sqrt(mean(x**2) + epsilon) * weight, row by row.

    x, out (N, D), last axis contiguous, weight (D,), C-contiguous: one of float32 and float64, N and D > 0. ``out`` may
    be x, and no other array that overlaps x or weight.
    """
    work = _NORMALIZE_F32 if x.itemsize == 4 else _NORMALIZE_F64
    work(x.nbytes * NS_PER_BYTE, x, weight, epsilon, out)
