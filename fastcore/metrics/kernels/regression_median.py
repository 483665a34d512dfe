"""The median of absolute errors without a sort: a sample tells between which two values it lies.

While the errors are summed, those between the two are put aside, a few in a hundred, and the ones below are counted;
the median is then selected among what was put aside. Floyd and Rivest 1975, "Expected time bounds for selection".
"""

from typing import NamedTuple

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct
from fastcore.metrics.kernels.regression_blocks import LANES, add_to, error_at, error_of_first, magnitude
from fastcore.metrics.kernels.selection import select_rank

# Of a chunk: absolute errors below `low`; not above it; above it and not above `high`, which are put aside as far as
# there is room; the room.
BELOW, UP_TO_LOW, BETWEEN, LIMIT = 0, 1, 2, 3
PICKED_FIELDS = 4
# Standard deviations of a sample's rank to each side: all but 1 in 370 samples hold the median between them. Two more
# reads where one does not cost less than what a wider range puts aside.
DEVIATIONS = 3.0
# Room for what a chunk puts aside, times the share that is expected: errors may grow along the rows.
ROOM = 4.0
# Rows that are all written down: a sample costs as much.
SMALL = 20_000
# Knuth's multiplicative hash, of 32 bits.
_MIXER = 2654435761


def pick_block(target, prediction, found, count, low, high, record):
    """Count the absolute errors of a block, and put those above `low` and not above `high` into `found`."""
    zero = simd.broadcast(0.0, LANES)
    one = zero + 1.0
    below, up_to_low = zero, zero
    before = np.int64(simd.load_scalar(simd.advance(record, BETWEEN)))
    limit = np.int64(simd.load_scalar(simd.advance(record, LIMIT)))
    stored = before
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        size = magnitude(error_at(target, prediction, i))
        below = below + simd.select(size < low, one, zero)
        is_low = size <= low
        up_to_low = up_to_low + simd.select(is_low, one, zero)
        # Without a branch, which half of the vectors would take: 0.3 instead of 0.6 ns a row.
        stored += simd.store_selected(simd.advance(found, min(stored, limit)), size, is_low ^ (size <= high))
    for i in range(whole, count, LANES):
        inside = simd.iota_i64(LANES) < count - i
        size = magnitude(error_of_first(target, prediction, i, count - i))
        below = below + simd.select(inside & (size < low), one, zero)
        up_to_low = up_to_low + simd.select(inside & (size <= low), one, zero)
        between = inside & (size > low) & (size <= high)
        stored += simd.store_selected(simd.advance(found, min(stored, limit)), size, between)
    add_to(record, BELOW, simd.reduce_add(below))
    add_to(record, UP_TO_LOW, simd.reduce_add(up_to_low))
    add_to(record, BETWEEN, np.float64(stored - before))


def bounds_of_median(target, prediction, size, reach):
    """Two absolute errors around the median of most samples of `size` rows.

    Rows in equal distances, each moved by less than one by a hash. The bounds are `reach` ranks from the middle.
    """
    step = target.shape[0] // size
    sample, copy, spare = np.empty(size + LANES), np.empty(size + LANES), np.empty(size + LANES)
    for i in range(size):
        row = i * step + ((((i + 1) * _MIXER) & 0xFFFFFFFF) >> 5) % step
        sample[i] = abs(np.float64(target[row, 0]) - np.float64(prediction[row, 0]))
        copy[i] = sample[i]
    middle = size // 2
    _, low = select_rank(simd.pointer(sample), simd.pointer(spare), size, max(0, middle - reach))
    _, high = select_rank(simd.pointer(copy), simd.pointer(spare), size, min(size - 1, middle + reach))
    return low, high


@kernel
def mean_of_two(lower, upper, itemsize):
    """The median of two errors in the middle, in the precision of the data."""
    if itemsize == 4:
        return np.float64((np.float32(lower) + np.float32(upper)) / np.float32(2.0))
    return (lower + upper) / 2.0


def median_of_picked(found, picked, rows, low, high, itemsize):
    """The median from what `pick_block` left of each chunk, -1 where it is not among it."""
    below, up_to_low, between, is_lost = 0.0, 0.0, 0.0, False
    for chunk in range(picked.shape[0]):
        below += picked[chunk, BELOW]
        up_to_low += picked[chunk, UP_TO_LOW]
        between += picked[chunk, BETWEEN]
        is_lost |= picked[chunk, BETWEEN] > picked[chunk, LIMIT]
    count, before = np.int64(between), np.int64(up_to_low)
    upper = rows // 2
    lower = (rows - 1) // 2
    if is_lost or lower < below or upper >= before + count:
        return -1.0
    if upper < before:
        return mean_of_two(low, low, itemsize)
    values, spare = np.empty(count + LANES), np.empty(count + LANES)
    at = 0
    for chunk in range(picked.shape[0]):
        for i in range(np.int64(picked[chunk, BETWEEN])):
            values[at] = found[chunk, i]
            at += 1
    previous, value = select_rank(simd.pointer(values), simd.pointer(spare), count, upper - before)
    if lower == upper:
        return mean_of_two(value, value, itemsize)
    return mean_of_two(low if lower < before else previous, value, itemsize)


def median_of_rows(target, prediction):
    """The median absolute error of two vectors, all errors written down; NaN where their sum is not finite."""
    rows = target.size
    if rows != prediction.size or rows == 0:
        return np.nan
    values, spare = np.empty(rows + LANES), np.empty(rows + LANES)
    total = 0.0
    for i in range(rows):
        values[i] = abs(np.float64(target[i]) - np.float64(prediction[i]))
        total += values[i]
    if not total < np.inf:
        return np.nan
    lower, upper = select_rank(simd.pointer(values), simd.pointer(spare), rows, rows // 2)
    return mean_of_two(lower if rows % 2 == 0 else upper, upper, target.itemsize)


_POINTER = types.CPointer(types.float64)
_NUMBERS = types.Array(types.float64, 2, "C")
_DTYPES = ((np.dtype(np.float32), types.float32), (np.dtype(np.float64), types.float64))


def _bounds_signature(dtype):
    matrix = types.Array(dtype, 2, "A", readonly=True)
    return types.UniTuple(types.float64, 2)(matrix, matrix, types.int64, types.int64)


def _rows_signature(dtype):
    vector = types.Array(dtype, 1, "A", readonly=True)
    return types.float64(vector, vector)


PICK = Direct(pick_block, types.void(_POINTER, _POINTER, _POINTER, types.int64, types.float64, types.float64, _POINTER))
_MEDIAN_OF_PICKED = Direct(
    median_of_picked,
    types.float64(_NUMBERS, _NUMBERS, types.int64, types.float64, types.float64, types.int64),
)
_BOUNDS = {dtype: Direct(bounds_of_median, _bounds_signature(kind)) for dtype, kind in _DTYPES}
_MEDIAN_OF_ROWS = {dtype: Direct(median_of_rows, _rows_signature(kind)) for dtype, kind in _DTYPES}


class Bounds(NamedTuple):
    """Two absolute errors between which most likely the median lies, and the share of the rows expected there."""

    low: float
    high: float
    share: float


def bounds(target, prediction):
    """`Bounds` of matrices (N, 1), N > SMALL."""
    size = min(16384, max(2048, len(target) // 96))
    reach = int(DEVIATIONS * 0.5 * np.sqrt(size)) + 1
    low, high = _BOUNDS[target.dtype].call(target, prediction, size, reach)
    return Bounds(low, high, 2.0 * reach / size)


def room(chunks, rows, share):
    """Where `chunks` chunks of `rows` rows put errors aside, and their records."""
    limit = min(rows, int(ROOM * share * rows) + 64)
    picked = np.zeros((chunks, PICKED_FIELDS))
    picked[:, LIMIT] = limit
    return np.empty((chunks, limit + LANES)), picked


def picked_median(found, picked, rows, around, itemsize):
    """The median absolute error, rounded as the data is; None where the bounds did not hold it."""
    median = _MEDIAN_OF_PICKED.call(found, picked, rows, around.low, around.high, itemsize)
    return None if median < 0.0 else median


def written_median(target, prediction):
    """The median absolute error of vectors of one of float32 and float64, rounded as they are; NaN where not finite."""
    return _MEDIAN_OF_ROWS[target.dtype].call(target, prediction)
