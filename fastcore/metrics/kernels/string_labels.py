"""Counts of two columns of fixed-width strings, of which one label is counted and but one other occurs.

Strings are compared with both labels and not hashed: 1 ns a string.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.binary_counts import BINARY, OTHER_ARRAYS, OTHER_LABELS
from fastcore.metrics.kernels.distinct_items import KEY_BYTES, are_equal, half_word_at, short_key, word_at

BLOCK = 1024
ITEM = 16 * BLOCK
NS_PER_STRING, NS_PER_BYTE = 1.0, 0.1


@kernel
def key_of(item, width):
    """Two words that are an item of up to 16 bytes."""
    if width > 8:
        return word_at(item, 0), word_at(item, width - 8)
    if width == 8:
        return word_at(item, 0), np.uint64(0)
    return short_key(item, width), np.uint64(0)


@kernel
def flag_block(items, stride, width, count, label, other, flags):
    """flags = 1 where an item is ``label``, 0 where it is ``other``; whether each is one of them."""
    strangers = np.uint64(0)
    if width > KEY_BYTES:
        for i in range(count):
            item = simd.advance(items, i * stride)
            last = word_at(item, width - 8)
            not_label, not_other = last ^ word_at(label, width - 8), last ^ word_at(other, width - 8)
            for offset in range(0, width - 8, 8):
                word = word_at(item, offset)
                not_label |= word ^ word_at(label, offset)
                not_other |= word ^ word_at(other, offset)
            flags[i] = not_label == np.uint64(0)
            strangers |= np.uint64((not_label != np.uint64(0)) & (not_other != np.uint64(0)))
        return strangers == np.uint64(0)
    (label_0, label_1), (other_0, other_1) = key_of(label, width), key_of(other, width)
    if width > 8:
        for i in range(count):
            word, last = word_at(items, i * stride), word_at(items, i * stride + width - 8)
            not_label = (word ^ label_0) | (last ^ label_1)
            not_other = (word ^ other_0) | (last ^ other_1)
            flags[i] = not_label == np.uint64(0)
            strangers |= np.uint64((not_label != np.uint64(0)) & (not_other != np.uint64(0)))
    elif width == 8:
        for i in range(count):
            word = word_at(items, i * stride)
            flags[i] = word == label_0
            strangers |= np.uint64((word != label_0) & (word != other_0))
    elif width == 4:
        for i in range(count):
            word = half_word_at(items, i * stride)
            flags[i] = word == label_0
            strangers |= np.uint64((word != label_0) & (word != other_0))
    else:
        for i in range(count):
            word = short_key(simd.advance(items, i * stride), width)
            flags[i] = word == label_0
            strangers |= np.uint64((word != label_0) & (word != other_0))
    return strangers == np.uint64(0)


@kernel
def first_other(column, stride, width, length, label):
    """Row of the first item that is not ``label``, or -1."""
    for i in range(length):
        item = simd.advance(column, i * stride)
        is_label = are_equal(item, label, width) if width > 8 else key_of(item, width) == key_of(label, width)
        if not is_label:
            return i
    return -1


def count_items(a, stride_a, b, stride_b, width, length, label, other, sums, counter):
    """sums (4,) += strings that are ``label`` in the first column, the second, both; 1 if a string is neither.

    a, b, label, other: addresses.
    """
    columns = simd.pointer_at(a, simd.u8), simd.pointer_at(b, simd.u8)
    labels = simd.pointer_at(label, simd.u8), simd.pointer_at(other, simd.u8)
    flags = np.empty((2, BLOCK), np.uint8)
    flags_a, flags_b = flags[0], flags[1]
    first, second, both = 0, 0, 0
    are_known = True
    item = next_item(counter, -1)
    while item * ITEM < length and are_known and sums[3] == 0:
        for start in range(item * ITEM, min((item + 1) * ITEM, length), BLOCK):
            count = min(BLOCK, length - start)
            items_a, items_b = simd.advance(columns[0], start * stride_a), simd.advance(columns[1], start * stride_b)
            are_known &= flag_block(items_a, stride_a, width, count, labels[0], labels[1], flags_a)
            are_known &= flag_block(items_b, stride_b, width, count, labels[0], labels[1], flags_b)
            for i in range(count):
                first += int(flags_a[i])
                second += int(flags_b[i])
                both += int(flags_a[i] & flags_b[i])
        item = next_item(counter, item)
    if not are_known:
        sums[3] = 1
    threads.atomic_add(sums, 0, first)
    threads.atomic_add(sums, 1, second)
    threads.atomic_add(sums, 2, both)


def count_parallel(body, workers, a, stride_a, b, stride_b, width, length, label, other, sums, counter):
    """`count_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (a, stride_a, b, stride_b, width, length, label, other, sums, counter))


def find_other(a, stride_a, b, stride_b, width, length, label):
    """Address of a string in either column that is not ``label``; that of the label where there is none."""
    target = simd.pointer_at(label, simd.u8)
    row = first_other(simd.pointer_at(a, simd.u8), stride_a, width, length, target)
    if row >= 0:
        return a + row * stride_a
    row = first_other(simd.pointer_at(b, simd.u8), stride_b, width, length, target)
    return b + row * stride_b if row >= 0 else label


_COUNT = SharedWork(count_items, count_parallel, [types.int64] * 8 + [types.Array(types.int64, 1, "C")])
_FIND_OTHER = Direct(find_other, types.int64(*[types.int64] * 7))


def count_strings(y_true, y_pred, label):
    """`binary_counts.count` of (N,) strings, where ``label`` counts as 1 and any other as 0.

    code BINARY: label and at most one other label occur. OTHER_LABELS: they do not. OTHER_ARRAYS: lengths or dtypes
    differ, or label is no string of their kind.
    """
    dtype, length = y_true.dtype, y_true.size
    kind = str if dtype.kind == "U" else bytes
    if dtype != y_pred.dtype or y_pred.size != length or not length or not isinstance(label, kind):
        return OTHER_ARRAYS, 0, 0, 0, 0
    sought = np.array(label, dtype)
    if sought[()] != label:  # longer than they are
        return OTHER_LABELS, 0, 0, 0, length
    where = y_true.ctypes.data, y_true.strides[0], y_pred.ctypes.data, y_pred.strides[0], dtype.itemsize, length
    address = sought.ctypes.data
    other = _FIND_OTHER.call(*where, address)
    sums = np.zeros(4, np.int64)
    _COUNT(2 * length * (NS_PER_STRING + dtype.itemsize * NS_PER_BYTE), *where, address, other, sums)
    first, second, both, strangers = sums.tolist()
    return OTHER_LABELS if strangers or not (first or second) else BINARY, first, second, both, length
