"""Log loss and Brier score of probabilities, by chunks of rows whose sums are added in order.

Logarithms of 16 probabilities are that of their product. The rounding error of each product is known exactly (an FMA
gives it) and carried beside it, so that the sum is as exact as one of single logarithms, at 0.3 instead of 0.9 ns an
element. The smallest product is (2**-52)**16 = 2**-832, far from underflow.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.typed_elements import (
    F32_KIND,
    F64_KIND,
    KINDS,
    read_floats,
    read_labels,
    read_numbers,
    width_of,
)

LOG, SQUARES = 0, 1
CHUNK = 2048
# Probabilities of several classes that are read at once, to stay in the first cache.
BLOCK = 2048
FACTORS = 16
LANES = simd.F64_LANES
GROUP = FACTORS * LANES
# Serial nanoseconds a row, from memory, for the choice between serial and parallel: two classes; a class of several.
NS_PER_ROW = 0.9
NS_PER_CLASS = 0.8
EPSILON_F64 = 2.0**-52
# The columns of the sums of a chunk.
LOSS, WEIGHT, ONES, FURTHEST, STATUS = 0, 1, 2, 3, 4
OK, OTHER_LABELS, NOT_PROBABILITIES, OTHER_LENGTHS = 0, 1, 2, 3


class ChunkSums(NamedTuple):
    """Sums over some rows."""

    loss: Any
    weight: Any
    ones: Any
    status: Any


@kernel
def are_probabilities(p, count):
    """Whether 0 <= p <= 1; NaN is not."""
    outside = 0
    for i in range(count):
        outside += not ((p[i] >= 0.0) & (p[i] <= 1.0))
    return outside == 0


@kernel
def choose(labels, p, count, is_narrow, low, high):
    """p = probability given to what happened, clipped to [low, high]."""
    if is_narrow:  # float32: 1 - p is rounded to it, as where both columns are given
        for i in range(count):
            other = np.float64(np.float32(1.0 - p[i]))
            p[i] = min(max(p[i] if labels[i] else other, low), high)
    else:
        for i in range(count):
            p[i] = min(max(p[i] if labels[i] else 1.0 - p[i], low), high)


@kernel
def sum_of_logs(values, count):
    """Sum of the logarithms of ``values``, which has room for a multiple of GROUP."""
    padded = (count + GROUP - 1) // GROUP * GROUP
    for i in range(count, padded):
        values[i] = 1.0
    zero = simd.broadcast(0.0, LANES)
    total = zero
    source = simd.pointer(values)
    for first in range(0, padded, GROUP):
        product, error = zero + 1.0, zero
        for k in range(FACTORS):
            factor = simd.load(simd.advance(source, first + k * LANES), LANES)
            rounded = product * factor
            error = simd.fma(error, factor, simd.fma(product, factor, -rounded))
            product = rounded
        total = total + (simd.log(product) + error / product)
    return simd.reduce_add(total)


@kernel
def weighted_sum_of_logs(values, weights, count):
    """Sum of weight times logarithm, ``weights`` a pointer."""
    zero = simd.broadcast(0.0, LANES)
    total = zero
    source = simd.pointer(values)
    for first in range(0, count, LANES):
        left = count - first
        logs = simd.log(simd.load_first(simd.advance(source, first), LANES, left))
        logs = simd.select(simd.iota_i32(LANES) < left, logs, zero)
        total = simd.fma(logs, simd.load_first(simd.advance(weights, first), LANES, left), total)
    return simd.reduce_add(total)


@kernel
def subtract(labels, p, count):
    """p = label - p."""
    for i in range(count):
        p[i] = labels[i] - p[i]


@kernel
def sum_of_squares(values, weights, count, is_weighted):
    """Sum of squares, times weight where there are any; ``weights`` a pointer."""
    total = simd.broadcast(0.0, LANES)
    source = simd.pointer(values)
    for first in range(0, count, LANES):
        left = count - first
        value = simd.load_first(simd.advance(source, first), LANES, left)
        factor = value
        if is_weighted:
            factor = value * simd.load_first(simd.advance(weights, first), LANES, left)
        total = simd.fma(factor, value, total)
    return simd.reduce_add(total)


@kernel
def sum_at(weights, count):
    """Sum of the floats at a pointer."""
    total = 0.0
    for i in range(count):
        total += simd.load_scalar(simd.advance(weights, i))
    return total


@kernel
def chunk_sums(y, p, weights, is_weighted, count, low, high, loss, labels, numbers):
    """Sums over ``count`` rows of two classes; y and p are (address, step, kind)."""
    good = read_labels(y[0], y[1], y[2], count, labels, numbers)
    if not good:
        return ChunkSums(0.0, 0.0, 0.0, OTHER_LABELS)
    ones = 0
    for i in range(count):
        ones += labels[i]
    read_floats(p[0], p[1], p[2], count, numbers)
    if not are_probabilities(numbers, count):
        return ChunkSums(0.0, 0.0, 0.0, NOT_PROBABILITIES)
    total_weight = sum_at(weights, count) if is_weighted else float(count)
    if loss == SQUARES:
        subtract(labels, numbers, count)
        total = sum_of_squares(numbers, weights, count, is_weighted)
    else:
        choose(labels, numbers, count, p[2] == F32_KIND, low, high)
        total = -weighted_sum_of_logs(numbers, weights, count) if is_weighted else -sum_of_logs(numbers, count)
    return ChunkSums(total, total_weight, float(ones), OK)


def two_classes_at_once(y, p, loss):
    """`chunk_sums` of two arrays that fit into a chunk: (sum of the losses, number of ones, status)."""
    rows = p.size
    if y.size != rows or rows == 0 or rows > CHUNK:
        return 0.0, 0.0, OTHER_LENGTHS
    labels, numbers = np.empty(rows, np.uint8), np.empty((rows + GROUP - 1) // GROUP * GROUP, np.float64)
    y_at, p_at = (y.ctypes.data, y.strides[0] // 8, 8), (p.ctypes.data, p.strides[0] // 8, F64_KIND)
    low, high = EPSILON_F64, 1.0 - EPSILON_F64
    sums = chunk_sums(y_at, p_at, simd.pointer(numbers), False, rows, low, high, loss, labels, numbers)
    return sums.loss, sums.ones, sums.status


def two_classes_items(y, p, weights, rows, low, high, loss, sums, counter):
    """Take chunks until none is left; y and p are address, stride in bytes and kind."""
    labels, numbers = np.empty(CHUNK, np.uint8), np.empty(CHUNK, np.float64)
    item = next_item(counter, -1)
    while item < sums.shape[0]:
        first = item * CHUNK
        count = min(CHUNK, rows - first)
        y_at = y[0] + first * y[1], y[1] // width_of(y[2]), y[2]
        p_at = p[0] + first * p[1], p[1] // width_of(p[2]), p[2]
        at = simd.advance(simd.pointer(weights), first)
        result = chunk_sums(y_at, p_at, at, weights.size > 0, count, low, high, loss, labels, numbers)
        row = sums[item]
        row[LOSS], row[WEIGHT], row[ONES], row[STATUS] = result.loss, result.weight, result.ones, result.status
        item = next_item(counter, item)


def two_classes_parallel(body, workers, y, p, weights, rows, low, high, loss, sums, counter):
    """`two_classes_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (y, p, weights, rows, low, high, loss, sums, counter))


@kernel
def read_rows(p, start, stop, values):
    """values = rows [start, stop) of p, one after the other."""
    rows, classes = stop - start, p.shape[1]
    source, target = simd.pointer(p[start:stop]), simd.pointer(values)
    of_row, of_column = p.strides[0] // p.itemsize, p.strides[1] // p.itemsize
    if of_column == 1 and of_row == classes:
        read_numbers(source, 1, rows * classes, values)
    else:  # column by column, which lie together where p is a transposed array
        for j in range(classes):
            column, place = simd.advance(source, j * of_column), simd.advance(target, j)
            for i in range(rows):
                simd.store_scalar(simd.advance(place, i * classes), simd.load_scalar(simd.advance(column, i * of_row)))


@kernel(fastmath=False)  # one addition after the other: as vectors, sums of short rows take twice the time
def furthest_from_one(values, rows, classes):
    """How far from 1 the sum of a row is at most. Four rows side by side: 0.2 instead of 0.6 ns a value."""
    furthest = 0.0
    source = simd.pointer(values)
    for i in range(0, rows - 3, 4):
        first = simd.advance(source, i * classes)
        second, third = simd.advance(first, classes), simd.advance(first, 2 * classes)
        fourth = simd.advance(first, 3 * classes)
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for j in range(classes):
            a += simd.load_scalar(simd.advance(first, j))
            b += simd.load_scalar(simd.advance(second, j))
            c += simd.load_scalar(simd.advance(third, j))
            d += simd.load_scalar(simd.advance(fourth, j))
        furthest = max(furthest, max(abs(a - 1.0), abs(b - 1.0)), max(abs(c - 1.0), abs(d - 1.0)))
    for i in range(rows - rows % 4, rows):
        row, total = simd.advance(source, i * classes), 0.0
        for j in range(classes):
            total += simd.load_scalar(simd.advance(row, j))
        furthest = max(furthest, abs(total - 1.0))
    return furthest


@kernel
def squares_of_rows(values, rows, classes, weights, is_weighted):
    """Sum of squares of all values, times the weight of their row where there are any."""
    if not is_weighted:
        return sum_of_squares(values, simd.pointer(values), rows * classes, False)
    total = 0.0
    for i in range(rows):
        place = i * classes
        squares = 0.0
        for j in range(place, place + classes):
            squares += values[j] * values[j]
        total += squares * simd.load_scalar(simd.advance(weights, i))
    return total


@kernel
def block_sums(codes, weights, is_weighted, rows, classes, low, high, loss, seen, values, chosen):
    """Sums over the rows in ``values``, which is written over: (loss, furthest, status)."""
    if not are_probabilities(values, rows * classes):
        return 0.0, 0.0, NOT_PROBABILITIES
    furthest = furthest_from_one(values, rows, classes)
    for i in range(rows):
        code = codes[i]
        if code < 0 or code >= classes:
            return 0.0, 0.0, OTHER_LABELS
        seen[code] = 1
        place = i * classes + code
        chosen[i] = min(max(values[place], low), high)
        values[place] -= 1.0
    if loss == SQUARES:
        return squares_of_rows(values, rows, classes, weights, is_weighted), furthest, OK
    total = weighted_sum_of_logs(chosen, weights, rows) if is_weighted else sum_of_logs(chosen, rows)
    return -total, furthest, OK


def many_classes_items(codes, p, weights, low, high, loss, sums, seen, counter):
    """Take chunks of rows until none is left; ``seen`` is set to 1 for each class that occurs."""
    rows, classes, is_weighted = p.shape[0], p.shape[1], weights.size > 0
    together = min(CHUNK, max(1, BLOCK // classes))
    values, chosen = np.empty(together * classes, np.float64), np.empty(CHUNK, np.float64)
    item = next_item(counter, -1)
    while item < sums.shape[0]:
        result = sums[item]
        last = min((item + 1) * CHUNK, rows)
        for start in range(item * CHUNK, last, together):
            stop = min(start + together, last)
            read_rows(p, start, stop, values)
            at = simd.advance(simd.pointer(weights), start)
            total, furthest, status = block_sums(
                codes[start:stop], at, is_weighted, stop - start, classes, low, high, loss, seen, values, chosen
            )
            result[LOSS] += total
            result[WEIGHT] += sum_at(at, stop - start) if is_weighted else float(stop - start)
            result[FURTHEST] = max(result[FURTHEST], furthest)
            result[STATUS] = max(result[STATUS], float(status))
        item = next_item(counter, item)


def many_classes_parallel(body, workers, codes, p, weights, low, high, loss, sums, seen, counter):
    """`many_classes_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (codes, p, weights, low, high, loss, sums, seen, counter))


def _vector(dtype):
    return types.Array(dtype, 1, "A", readonly=True)


def _many_classes(dtype):
    arguments = [
        _vector(types.int64),
        types.Array(dtype, 2, "A", readonly=True),
        types.Array(types.float64, 1, "C", readonly=True),
        types.float64,
        types.float64,
        types.int64,
        types.Array(types.float64, 2, "C"),
        types.Array(types.uint8, 1, "C"),
    ]
    return SharedWork(many_classes_items, many_classes_parallel, arguments)


_PLACE = types.UniTuple(types.int64, 3)
_TWO_CLASSES = SharedWork(
    two_classes_items,
    two_classes_parallel,
    [
        _PLACE,
        _PLACE,
        types.Array(types.float64, 1, "C", readonly=True),
        types.int64,
        types.float64,
        types.float64,
        types.int64,
        types.Array(types.float64, 2, "C"),
    ],
)
_MANY_CLASSES = {np.dtype("f4"): _many_classes(types.float32), np.dtype("f8"): _many_classes(types.float64)}
# y (N,) int64, p (N,) float64, loss -> (sum of the losses, number of ones, status), for N <= CHUNK.
two_classes_small = Direct(
    two_classes_at_once,
    types.Tuple((types.float64, types.float64, types.int64))(_vector(types.int64), _vector(types.float64), types.int64),
)
_NO_WEIGHTS = np.empty(0)


def _place(x):
    return x.ctypes.data, x.strides[0], KINDS[x.dtype.char]


def _combined(sums):
    """The sums of all chunks in a fixed order, as Python floats: loss, weight, ones, furthest; and the worst status."""
    if len(sums) == 1:
        loss, weight, ones, furthest, status = sums[0].tolist()
        return loss, weight, ones, furthest, int(status)
    loss, weight, ones, _, _ = sums.sum(axis=0).tolist()
    return loss, weight, ones, float(sums[:, FURTHEST].max()), int(sums[:, STATUS].max())


def is_readable(x):
    """Whether `two_classes` reads the elements of a vector where they lie."""
    return x.dtype.char in KINDS and x.dtype.isnative and x.strides[0] % x.itemsize == 0


def two_classes(labels, p, weights, low, high, loss):
    """Sums over samples of two classes: (loss, weight, ones, 0.0, status).

    labels (N,) of 0 and 1, p (N,) float32 or float64 the probability of 1: `is_readable`; weights (N,) float64,
    C-contiguous, or None; N > 0. LOG clips to [low, high]; 1 - p is rounded to float32 where p is.
    """
    rows = len(p)
    sums = np.zeros((-(-rows // CHUNK), 5))
    weights = _NO_WEIGHTS if weights is None else weights
    _TWO_CLASSES(rows * NS_PER_ROW, _place(labels), _place(p), weights, rows, low, high, loss, sums)
    return _combined(sums)


def many_classes(codes, p, weights, low, high, loss):
    """Sums over samples of C classes: ((loss, weight, 0.0, furthest, status), seen).

    codes (N,) int64, p (N, C) float32 or float64, weights as in `two_classes`. ``furthest`` is how far from 1 the sum
    of a row of p is at most, seen (C,) uint8 whether a class occurs.
    """
    rows, classes = p.shape
    sums = np.zeros((-(-rows // CHUNK), 5))
    seen = np.zeros(classes, np.uint8)
    weights = _NO_WEIGHTS if weights is None else weights
    _MANY_CLASSES[p.dtype](rows * classes * NS_PER_CLASS, codes, p, weights, low, high, loss, sums, seen)
    return _combined(sums), seen
