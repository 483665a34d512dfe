"""Sums of weights over two columns of labels 0 and 1, in one pass that also proves that there are no other labels."""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.columns import BLOCK, place, scratch_for

# Items are summed each for itself and then in order, in lanes of a number that does not depend on the CPU: the sums are
# the same whatever takes part.
ITEM = 1 << 16
LANES = 8
NS_PER_LABEL = 0.5
OTHER_LABELS, OTHER_ARRAYS = 1, 2


class Sums(NamedTuple):
    """Weights of the labels that are 1 in the first, the second, both, and of all; what is neither 0 nor 1."""

    first: Any
    second: Any
    both: Any
    total: Any
    others: Any


def _block_counter(dtype):
    """The kernel ``(a, b, weights, count, one, sums) -> sums`` of contiguous labels of an unsigned dtype."""
    lanes = LANES

    @kernel
    def add(x, y, weight, one, sums):
        """Vectors of both labels and their weights, added to the lanes of sums."""
        zero, ones = simd.broadcast(0, lanes, dtype), simd.broadcast(one, lanes, dtype)
        nothing = simd.broadcast(0.0, lanes, simd.f64)
        in_a, in_b = x == ones, y == ones
        others = (x ^ simd.select(in_a, ones, zero)) | (y ^ simd.select(in_b, ones, zero))
        return Sums(
            sums.first + simd.select(in_a, weight, nothing),
            sums.second + simd.select(in_b, weight, nothing),
            sums.both + simd.select(in_a & in_b, weight, nothing),
            sums.total + weight,
            sums.others | simd.convert(others, simd.u64),
        )

    @kernel
    def count_block(base_a, base_b, base_weights, count, one, sums):
        """sums, and what a block adds to it."""
        a, b = simd.pointer_at(base_a, dtype), simd.pointer_at(base_b, dtype)
        weights = simd.pointer_at(base_weights, simd.f64)
        whole = count - count % lanes
        for i in range(0, whole, lanes):
            x, y = simd.load(simd.advance(a, i), lanes), simd.load(simd.advance(b, i), lanes)
            sums = add(x, y, simd.load(simd.advance(weights, i), lanes), one, sums)
        if whole < count:
            x = simd.load_first(simd.advance(a, whole), lanes, count - whole)
            y = simd.load_first(simd.advance(b, whole), lanes, count - whole)
            sums = add(x, y, simd.load_first(simd.advance(weights, whole), lanes, count - whole), one, sums)
        return sums

    return count_block


count_8, count_16, count_32, count_64 = (_block_counter(each) for each in (simd.u8, simd.u16, simd.u32, simd.u64))


@kernel
def count_typed(base_a, base_b, base_weights, count, width, one, sums):
    """Add a block, by item size."""
    if width == 1:
        return count_8(base_a, base_b, base_weights, count, one, sums)
    if width == 2:
        return count_16(base_a, base_b, base_weights, count, one, sums)
    if width == 4:
        return count_32(base_a, base_b, base_weights, count, one, sums)
    return count_64(base_a, base_b, base_weights, count, one, sums)


def count_items(a, stride_a, b, stride_b, weights, stride_weights, length, width, one, results, counter):
    """results (items, 5): first, second, both, total, and not 0 where there are labels other than 0 and 1.

    a, b, weights: addresses of columns, with their strides in bytes.
    """
    scratch_a, scratch_b = scratch_for(stride_a == width), scratch_for(stride_b == width)
    scratch_weights = scratch_for(stride_weights == 8)
    nothing, no_bits = simd.broadcast(0.0, LANES, simd.f64), simd.broadcast(0, LANES, simd.u64)
    item = next_item(counter, -1)
    while item * ITEM < length:
        sums = Sums(nothing, nothing, nothing, nothing, no_bits)
        for start in range(item * ITEM, min((item + 1) * ITEM, length), BLOCK):
            count = min(BLOCK, length - start)
            base_a = place(a, stride_a, width, start, count, scratch_a)
            base_b = place(b, stride_b, width, start, count, scratch_b)
            base_weights = place(weights, stride_weights, 8, start, count, scratch_weights)
            sums = count_typed(base_a, base_b, base_weights, count, width, one, sums)
        row = results[item]
        row[0], row[1] = simd.reduce_add(sums.first), simd.reduce_add(sums.second)
        row[2], row[3] = simd.reduce_add(sums.both), simd.reduce_add(sums.total)
        row[4] = 1.0 if simd.any_lane(sums.others != no_bits) else 0.0
        item = next_item(counter, item)


def count_parallel(
    body, workers, a, stride_a, b, stride_b, weights, stride_weights, length, width, one, results, counter
):
    """`count_items` in ``workers`` threads."""
    for _ in prange(workers):
        arguments = a, stride_a, b, stride_b, weights, stride_weights, length, width, one, results, counter
        call_by_address(body, arguments)


_COUNT = SharedWork(count_items, count_parallel, [types.int64] * 9 + [types.Array(types.float64, 2, "C")])


def count_arrays(body, a, b, weights, one, counter):
    """(code, first, second, both, total) of arrays of one length of up to an item, by `count_items`."""
    results = np.empty((1, 5))
    results[0, :] = 0.0
    address_a, address_b = np.int64(a.ctypes.data), np.int64(b.ctypes.data)
    places = address_a, a.strides[0], address_b, b.strides[0], np.int64(weights.ctypes.data), weights.strides[0]
    call_by_address(body, (*places, a.size, np.int64(a.itemsize), one, results, counter))
    row = results[0]
    return OTHER_LABELS if row[4] != 0.0 else 0, row[0], row[1], row[2], row[3]


def _signature(element):
    array, weights = (types.Array(each, 1, "A", readonly=True) for each in (element, types.float64))
    result = types.Tuple((types.int64, *[types.float64] * 4))
    return result(types.int64, array, array, weights, types.int64, types.Array(types.int64, 1, "C"))


_DIRECT = {
    size: Direct(count_arrays, _signature(element))
    for size, element in ((1, types.uint8), (2, types.uint16), (4, types.uint32), (8, types.uint64))
}


def count(y_true, y_pred, weights, one):
    """`binary_counts.count` with weights (N,) float64; ``one`` is the bit pattern of the label 1."""
    length = y_true.size
    if y_pred.size != length or weights.size != length or weights.dtype != np.float64:
        return OTHER_ARRAYS, 0.0, 0.0, 0.0, 0.0
    if length <= ITEM:
        return _DIRECT[y_true.itemsize].call(_COUNT.body.address, y_true, y_pred, weights, one, ALONE)
    results = np.empty((-(-length // ITEM), 5))
    places = [number for array in (y_true, y_pred, weights) for number in (array.ctypes.data, array.strides[0])]
    _COUNT(length * NS_PER_LABEL, *places, length, y_true.itemsize, one, results)
    first, second, both, total, others = results.sum(0).tolist()
    return OTHER_LABELS if others else 0, first, second, both, total
