"""Sums of magnitudes and squares of the weights, and the gradient of their penalty, in one pass."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import write_vector
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.elementwise import first_piece, is_streamed

# Elements with sums of their own, in an order given by the shape alone: the value does not depend on the number of
# threads. They are read for the sums and again, from the cache, for the gradient, whose whole vectors may have to begin
# elsewhere.
CHUNK_ELEMENTS = 4096
# Chunks of an item: a thread that writes past the caches takes 256 KiB of float32 at once, so that memory is read in
# long stretches.
ITEM_CHUNKS = 16
# Serial nanoseconds a byte from cache, for the choice between serial and parallel.
NS_PER_BYTE = 0.06


@kernel
def sums_of(w, count):
    """Sums of the magnitudes and of the squares of ``count`` elements, in float64."""
    lanes = lanes_of(w)
    zero = simd.convert(filled(w, 0.0), simd.f64)
    a, b, aa, bb = zero, zero, zero, zero
    whole = count - count % (2 * lanes)
    for first in range(0, whole, 2 * lanes):
        at = simd.advance(w, first)
        p = simd.convert(simd.load(at, lanes), simd.f64)
        q = simd.convert(simd.load(simd.advance(at, lanes), lanes), simd.f64)
        a, b = a + simd.absolute(p), b + simd.absolute(q)
        aa, bb = simd.fma(p, p, aa), simd.fma(q, q, bb)
    for first in range(whole, count, lanes):
        p = simd.convert(simd.load_first(simd.advance(w, first), lanes, count - first), simd.f64)
        a, aa = a + simd.absolute(p), simd.fma(p, p, aa)
    return simd.reduce_add(a + b), simd.reduce_add(aa + bb)


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
    whole = count - count % lanes
    for first in range(0, whole, lanes):
        result = gradient_of(w, simd.load(simd.advance(w, first), lanes), slope, decay)
        write_vector(simd.advance(gradient, first), result, past_caches)
    if whole < count:
        value = simd.load_first(simd.advance(w, whole), lanes, count - whole)
        simd.store_first(simd.advance(gradient, whole), gradient_of(w, value, slope, decay), count - whole)


@kernel
def penalize_chunk(w, gradient, count, slope, decay, past_caches):
    """The gradient of a chunk and its two sums."""
    sums = sums_of(w, count)
    head = first_piece(gradient, count, past_caches)
    write_gradient(w, gradient, head, slope, decay, past_caches)
    write_gradient(simd.advance(w, head), simd.advance(gradient, head), count - head, slope, decay, past_caches)
    return sums


def penalize_items(w, gradient, slope, decay, sums, past_caches, counter):
    """Take items until none is left; ``sums`` has a row for each chunk."""
    item = next_item(counter, -1)
    while item * ITEM_CHUNKS < sums.shape[0]:
        for chunk in range(item * ITEM_CHUNKS, min((item + 1) * ITEM_CHUNKS, sums.shape[0])):
            start = chunk * CHUNK_ELEMENTS
            count = min(w.size - start, CHUNK_ELEMENTS)
            source, target = simd.advance(simd.pointer(w), start), simd.advance(simd.pointer(gradient), start)
            sums[chunk, 0], sums[chunk, 1] = penalize_chunk(source, target, count, slope, decay, past_caches)
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
    past_caches = is_streamed(gradient, [w])
    sums = np.empty(((w.size + CHUNK_ELEMENTS - 1) // CHUNK_ELEMENTS, 2))
    work = _PENALIZE_F32 if w.itemsize == 4 else _PENALIZE_F64
    work(w.nbytes * NS_PER_BYTE, w, gradient, slope, decay, sums, past_caches)
    magnitudes, squares = sums.sum(axis=0)
    return float(magnitudes), float(squares)
