"""Counts of two columns of fixed-width strings that hold two labels, one of which is given, in one pass.

A string is compared with both labels at once, as a vector of characters padded with zeros, so that columns of different
widths compare too. Nothing is hashed, sorted or coded.
"""

import functools

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.binary_counts import OTHER_LABELS

# Characters of the longest label.
MOST = 16
ITEM = 1 << 14
NS_PER_SAMPLE = 3.0  # measured, both columns

UNICODE = "U"
BYTES_PER_CHARACTER = 4


@kernel
def load_string(address, characters):
    """The characters of a string, padded with zeros."""
    return simd.load_first(simd.pointer_at(address, simd.u32), MOST, characters)


@kernel
def first_other(address, stride, characters, length, label):
    """The first row that is not the label, or -1."""
    wanted = simd.load(simd.pointer(label), MOST)
    for i in range(length):
        if simd.any_lane(load_string(address + i * stride, characters) != wanted):
            return i
    return -1


@kernel
def count_rows(a, stride_a, size_a, b, stride_b, size_b, start, stop, label, other):
    """(true, pred, both, strangers) of rows: strings that are the label, in each and both, and that are neither."""
    wanted, unwanted = simd.load(simd.pointer(label), MOST), simd.load(simd.pointer(other), MOST)
    true, pred, both, strangers = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for i in range(start, stop):
        x, y = load_string(a + i * stride_a, size_a), load_string(b + i * stride_b, size_b)
        is_true = np.int64(not simd.any_lane(x != wanted))
        is_pred = np.int64(not simd.any_lane(y != wanted))
        true, pred, both = true + is_true, pred + is_pred, both + (is_true & is_pred)
        strangers |= np.int64(simd.any_lane(x != unwanted)) & (1 - is_true)
        strangers |= np.int64(simd.any_lane(y != unwanted)) & (1 - is_pred)
    return true, pred, both, strangers


def find_other(a, stride_a, size_a, b, stride_b, size_b, length, label, other):
    """other (MOST,) = the first string of the columns that is not the label, or the label; see `count_items`."""
    other[:] = label
    for address, stride, size in ((a, stride_a, size_a), (b, stride_b, size_b)):
        row = first_other(address, stride, size, length, label)
        if row >= 0:
            simd.store(simd.pointer(other), load_string(address + row * stride, size))
            return


def count_items(a, stride_a, size_a, b, stride_b, size_b, length, label, other, sums, counter):
    """sums (4,) += what `count_rows` counts of columns at addresses a and b, of strings of so many characters.

    label, other (MOST,) uint32, padded with zeros.
    """
    true, pred, both, strangers = 0, 0, 0, 0
    item = next_item(counter, -1)
    while item * ITEM < length and strangers == 0 and sums[3] == 0:
        start, stop = item * ITEM, min((item + 1) * ITEM, length)
        rows = count_rows(a, stride_a, size_a, b, stride_b, size_b, start, stop, label, other)
        true, pred, both, strangers = true + rows[0], pred + rows[1], both + rows[2], strangers | rows[3]
        item = next_item(counter, item)
    threads.atomic_add(sums, 0, true)
    threads.atomic_add(sums, 1, pred)
    threads.atomic_add(sums, 2, both)
    if strangers != 0:
        sums[3] = OTHER_LABELS


def count_parallel(body, workers, a, stride_a, size_a, b, stride_b, size_b, length, label, other, sums, counter):
    """`count_items` in ``workers`` threads."""
    for _ in prange(workers):
        arguments = a, stride_a, size_a, b, stride_b, size_b, length, label, other, sums, counter
        call_by_address(body, arguments)


_CHARACTERS, _SUMS = types.Array(types.uint32, 1, "C"), types.Array(types.int64, 1, "C")
_ARGUMENTS = [*[types.int64] * 7, _CHARACTERS, _CHARACTERS]
_FIND = Direct(find_other, types.void(*_ARGUMENTS))
_COUNT = SharedWork(count_items, count_parallel, [*_ARGUMENTS, _SUMS])


@functools.lru_cache(maxsize=64)
def characters_of(label):
    """(MOST,) uint32, padded with zeros; None where the label is longer, or ends with what pads."""
    if len(label) > MOST or label.endswith("\0"):
        return None
    characters = np.zeros(MOST, np.uint32)
    characters[: len(label)] = [ord(each) for each in label]
    return characters


def is_readable(strings):
    """Whether `count` reads an array."""
    dtype = strings.dtype
    return dtype.kind == UNICODE and 0 < dtype.itemsize <= BYTES_PER_CHARACTER * MOST and dtype.isnative


def count(y_true, y_pred, label):
    """(code, true_sum, pred_sum, both, length) of (N,) fixed-width strings: those that are the label, a str.

    code BINARY: there is at most one other label. OTHER_LABELS: there are more, or these are no strings of at most MOST
    characters in native order, and the sums mean nothing.
    """
    wanted = characters_of(label)
    length = len(y_true)
    if wanted is None or length != len(y_pred) or not is_readable(y_true) or not is_readable(y_pred):
        return OTHER_LABELS, 0, 0, 0, 0
    columns = y_true.ctypes.data, y_true.strides[0], y_true.itemsize >> 2, y_pred.ctypes.data, y_pred.strides[0]
    arguments = *columns, y_pred.itemsize >> 2, length, wanted, np.empty(MOST, np.uint32)
    sums = np.zeros(4, np.int64)
    _FIND.call(*arguments)
    _COUNT(length * NS_PER_SAMPLE, *arguments, sums)
    true, pred, both, code = sums.tolist()
    return code, true, pred, both, length
