"""What kernels of single elements share: rows read in place, and results written through the caches or past them."""

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import STREAMED_BYTES, elements_to_alignment, write_vector
from fastcore._core.tile import filled, lanes_of

VECTOR_BYTES = simd.VECTOR_BITS // 8
# Elements an item should have, so that taking it (30 ns) is nothing. Beyond the caches in longer stretches, which
# prefetchers follow, and so long that two threads seldom use a new large page (2 MiB) for the first time together: of
# 4096 x 4096 float32 softmax took 12.9 ms with 65,536 elements, 10.4 ms with 524,288.
ITEM_ELEMENTS, SHORTEST_LONG_ITEM, LONGEST_ITEM = 4096, 65536, 524288
FEWEST_LONG_ITEMS = 32
# Rows shorter than this have too few whole lines between their ends: they go through the caches.
STREAMED_ROW_BYTES = 4096


def is_streamed(target: np.ndarray, inputs: list[np.ndarray]) -> bool:
    """Whether a kernel writes ``target`` past the caches: it is large, and not what the kernel just read."""
    if target.nbytes < STREAMED_BYTES or target.shape[-1] * target.itemsize < STREAMED_ROW_BYTES:
        return False
    return not any(np.may_share_memory(target, x) for x in inputs)


@kernel
def item_elements(out):
    """Elements of an item of the work that writes ``out``."""
    if out.size * out.itemsize < STREAMED_BYTES:
        return ITEM_ELEMENTS
    return min(LONGEST_ITEM, max(SHORTEST_LONG_ITEM, out.size // FEWEST_LONG_ITEMS))


@kernel
def first_piece(out, count, streamed):
    """Elements of a span to write first, of ``count``: those before `simd.stream` may begin, else all."""
    lanes = lanes_of(out)
    before = elements_to_alignment(out, lanes, VECTOR_BYTES // lanes)
    return min(before, count) if streamed and before > 0 else count


@kernel
def put(out, value, count, streamed):
    """Write the first ``count`` lanes, all if it is as many or more: past the caches, if that is asked for."""
    if count < lanes_of(out):
        simd.store_first(out, value, count)
    else:
        write_vector(out, value, streamed)


@kernel
def take(row, count, rest):
    """A vector of which the first ``count`` lanes are the row's, and the others ``rest``.

    A branch that is foreseen costs less than a mask for every vector: softmax takes 14 us with it, 17 us without.
    """
    lanes = lanes_of(row)
    if count >= lanes:
        return simd.load(row, lanes)
    return simd.select(simd.iota_i32(lanes) < count, simd.load_first(row, lanes, count), filled(row, rest))


@kernel
def is_plain_rows(array):
    """Whether rows can be read in place: contiguous elements, all addresses multiples of the element's size."""
    itemsize = array.itemsize
    return array.ctypes.data % itemsize + array.strides[0] % itemsize == 0 and array.strides[1] == itemsize


@kernel
def sigmoid_and_rest(x):
    """s = 1 / (1 + exp(-x)) and 1 - s, both with their digits where they are small."""
    e = simd.exp(simd.minimum(x, -x))
    larger = 1.0 / (1.0 + e)
    smaller = e * larger
    return simd.select(x < 0.0, smaller, larger), simd.select(x < 0.0, larger, smaller)
