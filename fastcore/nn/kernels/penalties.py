"""Sums of magnitudes and squares of the weights, and the gradient of their penalty, in one pass."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import STREAMED_BYTES, elements_to_alignment
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item

# Elements of an item, each with sums of its own: the value does not depend on the number of threads. They are read for
# the sums and again, from the cache, for the gradient, whose whole vectors may have to begin elsewhere.
ITEM_ELEMENTS = 4096
# Serial nanoseconds a byte from cache, for the choice between serial and parallel.
NS_PER_BYTE = 0.06


@kernel
def sums_of(w, count):
    """Sums of the magnitudes and of the squares of ``count`` elements, in float64."""
    lanes = lanes_of(w)
    magnitudes = simd.convert(filled(w, 0.0), simd.f64)
    squares = magnitudes
    for first in range(0, count, lanes):
        value = simd.convert(simd.load_first(simd.advance(w, first), lanes, count - first), simd.f64)
        magnitudes = magnitudes + simd.select(value < 0.0, -value, value)
        squares = simd.fma(value, value, squares)
    return simd.reduce_add(magnitudes), simd.reduce_add(squares)


@kernel
def gradient_of(at, w, slope, decay):
    """slope * sign(w) + decay * w, the sign of 0 being 0, for a vector of what ``at`` points to.

    A term whose factor is 0 is left out: times infinity it would be NaN.
    """
    zero = filled(at, 0.0)
    result = zero
    if slope > 0.0:
        up = filled(at, slope)
        result = simd.select(w > zero, up, simd.select(w < zero, -up, simd.select(w == w, zero, w)))
    if decay > 0.0:
        result = simd.fma(w, decay, result)
    return result


@kernel
def write_gradient(w, gradient, count, slope, decay, past_caches):
    """The gradient of ``count`` elements; ``gradient`` may be ``w``."""
    lanes = lanes_of(w)
    for first in range(0, count, lanes):
        left = count - first
        value = simd.load_first(simd.advance(w, first), lanes, left)
        result = gradient_of(w, value, slope, decay)
        if past_caches and left >= lanes:
            simd.stream(simd.advance(gradient, first), result)
        else:
            simd.store_first(simd.advance(gradient, first), result, left)


def penalize_items(w, gradient, slope, decay, sums, past_caches, counter):
    """Take items until none is left; ``sums`` has a row for each."""
    lanes = lanes_of(simd.pointer(w))
    item = next_item(counter, -1)
    while item < sums.shape[0]:
        start = item * ITEM_ELEMENTS
        count = min(w.size - start, ITEM_ELEMENTS)
        source, target = simd.advance(simd.pointer(w), start), simd.advance(simd.pointer(gradient), start)
        sums[item, 0], sums[item, 1] = sums_of(source, count)
        head = 0
        if past_caches:
            head = min(count, elements_to_alignment(target, lanes, w.itemsize))
            write_gradient(source, target, head, slope, decay, False)
        source, target = simd.advance(source, head), simd.advance(target, head)
        write_gradient(source, target, count - head, slope, decay, past_caches)
        item = next_item(counter, item)
    simd.stream_fence()


def penalize_parallel(body, workers, w, gradient, slope, decay, sums, past_caches, counter):
    """`penalize_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (w, gradient, slope, decay, sums, past_caches, counter))


def _argument_types(dtype):
    read, written = types.Array(dtype, 2, "C", readonly=True), types.Array(dtype, 2, "C")
    sums = types.Array(types.float64, 2, "C")
    return [read, written, types.float64, types.float64, sums, types.boolean]


_PENALIZE_F32 = SharedWork(penalize_items, penalize_parallel, _argument_types(types.float32))
_PENALIZE_F64 = SharedWork(penalize_items, penalize_parallel, _argument_types(types.float64))


def penalize(w, gradient, slope, decay):
    """gradient = slope * sign(w) + decay * w; the sums of |w| and of w**2, in float64.

    w, gradient (1, D), C-contiguous, D > 0: one of float32 and float64. ``gradient`` may be w, and no other array that
    overlaps it. slope, decay >= 0.
    """
    past_caches = gradient.nbytes >= STREAMED_BYTES and not np.may_share_memory(w, gradient)
    sums = np.empty(((w.size + ITEM_ELEMENTS - 1) // ITEM_ELEMENTS, 2))
    work = _PENALIZE_F32 if w.itemsize == 4 else _PENALIZE_F64
    work(w.nbytes * NS_PER_BYTE, w, gradient, slope, decay, sums, past_caches)
    magnitudes, squares = sums.sum(axis=0)
    return float(magnitudes), float(squares)
