"""Soft thresholding and division of each element: what the elastic net's proximal operator does."""

from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import write_vector
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.elementwise import first_piece, is_streamed
from fastcore.nn.kernels.layer_norm import row_of

# Elements of an item; a row longer than that is shared by threads. One that writes past the caches takes 256 KiB of
# float32 at once, so that memory is read in long stretches.
ITEM_ELEMENTS, STREAMED_ITEM_ELEMENTS = 8192, 65536
# Serial nanoseconds a byte from cache, for the choice between serial and parallel.
NS_PER_BYTE = 0.06


@kernel
def shrunk(at, value, threshold, divisor):
    """A vector of what ``at`` points to. NaN stays: `simd.minimum` and `maximum` pass on their second."""
    high = filled(at, threshold)
    return (value - simd.maximum(-high, simd.minimum(high, value))) / divisor


@kernel
def shrink_span(x, out, count, threshold, divisor, past_caches):
    """``count`` elements; ``out`` may be ``x``."""
    lanes = lanes_of(x)
    whole = count - count % lanes
    for first in range(0, whole, lanes):
        value = shrunk(x, simd.load(simd.advance(x, first), lanes), threshold, divisor)
        write_vector(simd.advance(out, first), value, past_caches)
    if whole < count:
        value = simd.load_first(simd.advance(x, whole), lanes, count - whole)
        simd.store_first(simd.advance(out, whole), shrunk(x, value, threshold, divisor), count - whole)


def shrink_items(x, out, threshold, divisor, past_caches, counter):
    """Take blocks of elements, of many short rows or of a part of one, until none is left."""
    rows, size = x.shape
    elements = STREAMED_ITEM_ELEMENTS if past_caches else ITEM_ELEMENTS
    per_item = max(1, elements // size)
    spans = (size + elements - 1) // elements
    item = next_item(counter, -1)
    while item // spans * per_item < rows:
        start = item % spans * elements
        stop = min(start + elements, size)
        for i in range(item // spans * per_item, min((item // spans + 1) * per_item, rows)):
            first = start
            count = first_piece(simd.advance(row_of(out, i), start), stop - start, past_caches)
            while first < stop:
                source, target = simd.advance(row_of(x, i), first), simd.advance(row_of(out, i), first)
                shrink_span(source, target, count, threshold, divisor, past_caches)
                first, count = first + count, stop - first - count
        item = next_item(counter, item)
    simd.stream_fence()


def shrink_parallel(body, workers, x, out, threshold, divisor, past_caches, counter):
    """`shrink_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, out, threshold, divisor, past_caches, counter))


def _argument_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    return [read, written, types.float64, types.float64, types.boolean]


_SHRINK_F32 = SharedWork(shrink_items, shrink_parallel, _argument_types(types.float32))
_SHRINK_F64 = SharedWork(shrink_items, shrink_parallel, _argument_types(types.float64))


def shrink(x, out, threshold, divisor):
    """out = (x moved by ``threshold`` towards 0, and no further) / divisor.

    x, out (N, D), last axis contiguous, N and D > 0: one of float32 and float64. ``out`` may be x, and no other array
    that overlaps it. threshold >= 0, divisor > 0, both finite.
    """
    past_caches = is_streamed(out, [x])
    work = _SHRINK_F32 if x.itemsize == 4 else _SHRINK_F64
    work(x.nbytes * NS_PER_BYTE, x, out, threshold, divisor, past_caches)
