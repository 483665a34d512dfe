"""Counts of two columns of labels 0 and 1, in one pass that also proves that there are no other labels."""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels import weighted_counts
from fastcore.metrics.kernels.columns import BLOCK, place, scratch_for

# Elements of an item: 1 MB of int64 labels. Of a block BLOCK elements, whose copies stay in the L1 cache where they are
# not contiguous.
ITEM = 1 << 16
# Vectors that are summed in lanes of 8 bits before they might overflow.
VECTORS = 255
# Serial nanoseconds for a byte, from the L3 cache.
NS_PER_BYTE = 0.025

# What the first number of `count` says.
BINARY, OTHER_LABELS, OTHER_ARRAYS = 0, 1, 2

# Bits of the label 1, by item size, for integers and for floats.
_ONE = {np.dtype(name): 1 for name in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")}
_ONE |= {np.dtype("f4"): 0x3F800000, np.dtype("f8"): 0x3FF0000000000000}


class Sums(NamedTuple):
    """Of a block: labels that are 1 in the first, the second, both; whether there are others than 0 and 1."""

    first: Any
    second: Any
    both: Any
    others: Any


@kernel
def total_of(vector, bits):
    """Sum of unsigned lanes of so many bits; by shifts, since widening 64 lanes of 8 bits takes 1.5 us."""
    words = simd.bitcast(vector, simd.u64)
    mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - bits)
    total = words & mask
    for shift in range(bits, 64, bits):
        total = total + ((words >> np.uint64(shift)) & mask)
    return np.int64(simd.reduce_add(total))


def _block_counter(dtype):
    """The kernel ``(a, b, count, one) -> Sums`` of contiguous labels of an unsigned dtype, in which 1 is ``one``."""
    bits = dtype.bitwidth
    lanes = simd.VECTOR_BITS // bits

    @kernel
    def add(x, y, one, sums):
        """Vectors of both counted in lanes: sums, and what is neither 0 nor ``one``."""
        zero, ones, unit = (
            simd.broadcast(0, lanes, dtype),
            simd.broadcast(one, lanes, dtype),
            simd.broadcast(1, lanes, dtype),
        )
        in_a, in_b = x == ones, y == ones
        others = (x ^ simd.select(in_a, ones, zero)) | (y ^ simd.select(in_b, ones, zero))
        return Sums(
            sums.first + simd.select(in_a, unit, zero),
            sums.second + simd.select(in_b, unit, zero),
            sums.both + simd.select(in_a & in_b, unit, zero),
            sums.others | others,
        )

    @kernel
    def count_block(base_a, base_b, count, one):
        """`Sums` of contiguous labels."""
        a, b = simd.pointer_at(base_a, dtype), simd.pointer_at(base_b, dtype)
        zero = simd.broadcast(0, lanes, dtype)
        others = zero
        first, second, both = np.int64(0), np.int64(0), np.int64(0)
        for part in range(0, count, VECTORS * lanes):
            end = min(count, part + VECTORS * lanes)
            whole = end - (end - part) % lanes
            sums = Sums(zero, zero, zero, others)
            for i in range(part, whole, lanes):
                sums = add(simd.load(simd.advance(a, i), lanes), simd.load(simd.advance(b, i), lanes), one, sums)
            if whole < end:
                x = simd.load_first(simd.advance(a, whole), lanes, end - whole)
                y = simd.load_first(simd.advance(b, whole), lanes, end - whole)
                sums = add(x, y, one, sums)
            first += total_of(sums.first, bits)
            second += total_of(sums.second, bits)
            both += total_of(sums.both, bits)
            others = sums.others
        return Sums(first, second, both, np.int64(simd.any_lane(others != zero)))

    return count_block


count_8, count_16, count_32, count_64 = (_block_counter(each) for each in (simd.u8, simd.u16, simd.u32, simd.u64))


@kernel
def count_typed(base_a, base_b, count, width, one):
    """`Sums` by item size."""
    if width == 1:
        return count_8(base_a, base_b, count, one)
    if width == 2:
        return count_16(base_a, base_b, count, one)
    if width == 4:
        return count_32(base_a, base_b, count, one)
    return count_64(base_a, base_b, count, one)


def count_items(a, stride_a, b, stride_b, length, width, one, sums, counter):
    """sums (4,) += `Sums` of two columns at addresses ``a`` and ``b``; ends early where there are other labels."""
    scratch_a, scratch_b = scratch_for(stride_a == width), scratch_for(stride_b == width)
    first, second, both, others = 0, 0, 0, 0
    item = next_item(counter, -1)
    while item * ITEM < length and others == 0 and sums[3] == 0:
        for start in range(item * ITEM, min((item + 1) * ITEM, length), BLOCK):
            count = min(BLOCK, length - start)
            base_a = place(a, stride_a, width, start, count, scratch_a)
            base_b = place(b, stride_b, width, start, count, scratch_b)
            block = count_typed(base_a, base_b, count, width, one)
            first, second, both = first + block.first, second + block.second, both + block.both
            others |= block.others
        item = next_item(counter, item)
    threads.atomic_add(sums, 0, first)
    threads.atomic_add(sums, 1, second)
    threads.atomic_add(sums, 2, both)
    if others != 0:
        sums[3] = OTHER_LABELS


def count_parallel(body, workers, a, stride_a, b, stride_b, length, width, one, sums, counter):
    """`count_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (a, stride_a, b, stride_b, length, width, one, sums, counter))


_SUMS = types.Array(types.int64, 1, "C")
_COUNT = SharedWork(count_items, count_parallel, [types.int64] * 7 + [_SUMS])


def count_arrays(body, a, b, one, counter):
    """(code, true_sum, pred_sum, both, length) of two arrays of one item size, by `count_items`."""
    length = a.size
    sums = np.zeros(4, np.int64)
    if b.size == length:
        address_a, address_b = np.int64(a.ctypes.data), np.int64(b.ctypes.data)
        width = np.int64(a.itemsize)
        call_by_address(body, (address_a, a.strides[0], address_b, b.strides[0], length, width, one, sums, counter))
    else:
        sums[3] = OTHER_ARRAYS
    return sums[3], sums[0], sums[1], sums[2], length


def _signature(element):
    array = types.Array(element, 1, "A", readonly=True)
    result = types.UniTuple(types.int64, 5)
    return result(types.int64, array, array, types.int64, types.Array(types.int64, 1, "C"))


_DIRECT = {
    size: Direct(count_arrays, _signature(element))
    for size, element in ((1, types.uint8), (2, types.uint16), (4, types.uint32), (8, types.uint64))
}
_BY_DTYPE = {dtype: (_DIRECT[dtype.itemsize], one) for dtype, one in _ONE.items()}


def count(y_true, y_pred, sample_weight=None):
    """(code, true_sum, pred_sum, both, total) of two 1-D arrays: labels 1 in the first, the second and both, and all.

    Integers; with sample_weight (N,) float64, any stride, floats: the sums of the weights instead of counts.
    code BINARY: all labels are 0 or 1. OTHER_LABELS: they are not, and the sums mean nothing. OTHER_ARRAYS: lengths or
    dtypes differ, or the dtype is none of bool, int8 to int64, uint8 to uint64, float32 and float64 in native order.
    """
    dtype = y_true.dtype
    if dtype is not y_pred.dtype or dtype not in _BY_DTYPE:
        return OTHER_ARRAYS, 0, 0, 0, 0
    direct, one = _BY_DTYPE[dtype]
    if sample_weight is not None:
        return weighted_counts.count(y_true, y_pred, sample_weight, one)
    work_ns = y_true.nbytes * (2 * NS_PER_BYTE)
    if work_ns < threads.SMALLEST_WORK_NS or y_true.size != y_pred.size:
        return direct.call(_COUNT.body.address, y_true, y_pred, one, ALONE)
    sums = np.zeros(4, np.int64)
    address_a, address_b, length = y_true.ctypes.data, y_pred.ctypes.data, y_true.size
    _COUNT(work_ns, address_a, y_true.strides[0], address_b, y_pred.strides[0], length, dtype.itemsize, one, sums)
    first, second, both, others = sums.tolist()
    return others, first, second, both, length
