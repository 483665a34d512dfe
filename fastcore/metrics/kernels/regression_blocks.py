"""Sums over a block of targets and predictions that lies in the first cache: what every regression metric is made of.

All functions read float64 and add to one record of sums, so that a block is compiled once for all element types and is
called by its address. What several of them sum they sum in one order: `mean_squared_error` is the
`mean_squared_error` of `regression_report` to the last bit.

Sums around a centre instead of around the mean: the first row is the centre, so one read of memory is enough. Where it
turns out far from the mean (`regression.py`), the moments are read again around the mean.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct

# Rows of a block: 2 x 16 KiB where they have to be converted first, the whole first cache.
BLOCK = 2048
LANES = simd.F64_LANES
# Rows that NumPy adds without halving them first. So few are added in its order, which makes mean_squared_error and
# mean_absolute_error scikit-learn's to the last bit (its test of the pinball loss demands that).
FEW = 128
# No error is divided by less (scikit-learn's choice).
SMALLEST_TARGET = 2.0**-52

# The record, float64: sums of weights (rows where there are none) times ...
WEIGHT, SQUARE, ABSOLUTE = 0, 1, 2  # 1, error**2, |error|
LARGEST = 3  # |error|, of all rows
TARGET, TARGET_SQUARE = 4, 5  # target - centre, and its square
ERROR, ERROR_SQUARE = 6, 7  # error - centre, and its square
ABSOLUTE_RATIO = 8  # |error| / max(|target|, SMALLEST_TARGET)
RATIO = 9  # error / target where |target| >= SMALLEST_TARGET
RATIO_TINY, RATIO_CLIPPED = 10, 11  # of smaller targets: error / target of those that are not 0, error / clipped target
WEIGHT_ZERO, ROWS_ZERO = 12, 13  # 1 where the target is 0; how many such rows with a weight there are
FIELDS = 14

_SIGN = 0x7FFFFFFFFFFFFFFF


class Rest(NamedTuple):
    """Sums of a report beside those of squares and absolute errors, one vector each; and where a target was tiny."""

    largest: Any
    target: Any
    target_square: Any
    error: Any
    error_square: Any
    absolute_ratio: Any
    ratio: Any
    is_tiny: Any


@kernel
def magnitude(x):
    """|x|."""
    return simd.bitcast(simd.bitcast(x, simd.i64) & _SIGN, simd.f64)


@kernel
def add_to(record, field, value):
    """record[field] += value."""
    place = simd.advance(record, field)
    simd.store_scalar(place, simd.load_scalar(place) + value)


@kernel
def raise_to(record, field, value):
    """record[field] = max(record[field], value)."""
    place = simd.advance(record, field)
    if value > simd.load_scalar(place):
        simd.store_scalar(place, value)


@kernel
def error_at(target, prediction, first):
    """target - prediction of LANES rows."""
    return simd.load(simd.advance(target, first), LANES) - simd.load(simd.advance(prediction, first), LANES)


@kernel
def error_of_first(target, prediction, first, count):
    """target - prediction of `count` rows, 0 in the other lanes."""
    left = simd.load_first(simd.advance(target, first), LANES, count)
    return left - simd.load_first(simd.advance(prediction, first), LANES, count)


@kernel(fastmath=False)
def sum_of_few(target, prediction, count, of_squares):
    """Sum of the squares of the errors, or of their absolute values, of up to `FEW` rows, as NumPy adds them."""
    total = simd.broadcast(0.0, 8)
    whole = count - count % 8
    for i in range(0, whole, 8):
        error = simd.load(simd.advance(target, i), 8) - simd.load(simd.advance(prediction, i), 8)
        total = total + (error * error if of_squares else magnitude(error))
    total = total + simd.rotate(total, 1)
    total = total + simd.rotate(total, 2)
    total = total + simd.rotate(total, 4)
    result = simd.reduce_add(simd.select(simd.iota_i64(8) == 0, total, 0.0))  # the first lane
    for i in range(whole, count):
        error = simd.load_scalar(simd.advance(target, i)) - simd.load_scalar(simd.advance(prediction, i))
        result += error * error if of_squares else abs(error)
    return result


def square_block(target, prediction, weight, count, centre_target, centre_error, record):
    """Add the squares of the errors."""
    zero = simd.broadcast(0.0, LANES)
    a, b, c, d = zero, zero, zero, zero
    whole = count - count % (4 * LANES)
    for i in range(0, whole, 4 * LANES):
        p, q = error_at(target, prediction, i), error_at(target, prediction, i + LANES)
        r, s = error_at(target, prediction, i + 2 * LANES), error_at(target, prediction, i + 3 * LANES)
        a, b, c, d = simd.fma(p, p, a), simd.fma(q, q, b), simd.fma(r, r, c), simd.fma(s, s, d)
    for i in range(whole, count, LANES):
        p = error_of_first(target, prediction, i, count - i)
        a = simd.fma(p, p, a)
    squared = sum_of_few(target, prediction, count, True) if count <= FEW else simd.reduce_add((a + b) + (c + d))
    add_to(record, SQUARE, squared)


def absolute_block(target, prediction, weight, count, centre_target, centre_error, record):
    """Add the absolute errors, and look for the largest."""
    zero = simd.broadcast(0.0, LANES)
    a, b, c, d = zero, zero, zero, zero
    high, low = zero, zero
    whole = count - count % (4 * LANES)
    for i in range(0, whole, 4 * LANES):
        p = magnitude(error_at(target, prediction, i))
        q = magnitude(error_at(target, prediction, i + LANES))
        r = magnitude(error_at(target, prediction, i + 2 * LANES))
        s = magnitude(error_at(target, prediction, i + 3 * LANES))
        a, b, c, d = a + p, b + q, c + r, d + s
        high = simd.maximum(simd.maximum(p, q), high)
        low = simd.maximum(simd.maximum(r, s), low)
    for i in range(whole, count, LANES):
        p = magnitude(error_of_first(target, prediction, i, count - i))
        a, high = a + p, simd.maximum(p, high)
    size = sum_of_few(target, prediction, count, False) if count <= FEW else simd.reduce_add((a + b) + (c + d))
    add_to(record, ABSOLUTE, size)
    raise_to(record, LARGEST, simd.reduce_max(simd.maximum(high, low)))


@kernel
def add_moments(target, centre, sum_, squares):
    """The two sums with the differences of LANES targets from the centre."""
    x = target - centre
    return sum_ + x, simd.fma(x, x, squares)


def determination_block(target, prediction, weight, count, centre_target, centre_error, record):
    """Add the squares of the errors, and the moments of the targets."""
    zero = simd.broadcast(0.0, LANES)
    centre = simd.broadcast(centre_target, LANES)
    a, b, c, d = zero, zero, zero, zero
    total, squares = zero, zero
    whole = count - count % (4 * LANES)
    for i in range(0, whole, 4 * LANES):
        at = simd.advance(target, i)
        y, z = simd.load(at, LANES), simd.load(simd.advance(at, LANES), LANES)
        v, w = simd.load(simd.advance(at, 2 * LANES), LANES), simd.load(simd.advance(at, 3 * LANES), LANES)
        at = simd.advance(prediction, i)
        p, q = y - simd.load(at, LANES), z - simd.load(simd.advance(at, LANES), LANES)
        r = v - simd.load(simd.advance(at, 2 * LANES), LANES)
        s = w - simd.load(simd.advance(at, 3 * LANES), LANES)
        a, b, c, d = simd.fma(p, p, a), simd.fma(q, q, b), simd.fma(r, r, c), simd.fma(s, s, d)
        total, squares = add_moments(y, centre, total, squares)
        total, squares = add_moments(z, centre, total, squares)
        total, squares = add_moments(v, centre, total, squares)
        total, squares = add_moments(w, centre, total, squares)
    for i in range(whole, count, LANES):
        inside = simd.iota_i64(LANES) < count - i
        y = simd.load_first(simd.advance(target, i), LANES, count - i)
        p = y - simd.load_first(simd.advance(prediction, i), LANES, count - i)
        a = simd.fma(p, p, a)
        total, squares = add_moments(simd.select(inside, y, centre), centre, total, squares)
    squared = sum_of_few(target, prediction, count, True) if count <= FEW else simd.reduce_add((a + b) + (c + d))
    add_to(record, SQUARE, squared)
    add_to(record, TARGET, simd.reduce_add(total))
    add_to(record, TARGET_SQUARE, simd.reduce_add(squares))


@kernel
def add_rest(rest, target, error, weight, centre_target, centre_error):
    """The sums of `Rest` with LANES more rows."""
    x, e = target - centre_target, error - centre_error
    wx, we = weight * x, weight * e
    is_tiny = magnitude(target) < SMALLEST_TARGET
    ratio = error / simd.select(is_tiny, SMALLEST_TARGET, target)
    return Rest(
        simd.maximum(magnitude(error), rest.largest),
        rest.target + wx,
        simd.fma(wx, x, rest.target_square),
        rest.error + we,
        simd.fma(we, e, rest.error_square),
        rest.absolute_ratio + weight * magnitude(ratio),
        rest.ratio + weight * simd.select(is_tiny, 0.0, ratio),
        rest.is_tiny | is_tiny,
    )


@kernel
def add_tiny(target, prediction, weight, count, record, is_weighted):
    """What tiny targets add to the sums of ratios. In the loop over all rows it cost a third more."""
    for i in range(count):
        y = simd.load_scalar(simd.advance(target, i))
        if abs(y) < SMALLEST_TARGET:
            error = y - simd.load_scalar(simd.advance(prediction, i))
            w = simd.load_scalar(simd.advance(weight, i)) if is_weighted else 1.0
            add_to(record, RATIO_CLIPPED, w * (error / (-SMALLEST_TARGET if y < 0.0 else SMALLEST_TARGET)))
            if y != 0.0:
                add_to(record, RATIO_TINY, w * (error / y))
            else:
                add_to(record, WEIGHT_ZERO, w)
                add_to(record, ROWS_ZERO, 1.0 if w != 0.0 else 0.0)


@kernel
def add_block(target, prediction, weight, count, centre_target, centre_error, record, is_weighted):
    """All sums."""
    zero = simd.broadcast(0.0, LANES)
    one = zero + 1.0
    middle, offset = zero + centre_target, zero + centre_error
    rest = Rest(zero, zero, zero, zero, zero, zero, zero, zero < zero)
    total_weight = zero
    a, b, c, d = zero, zero, zero, zero
    aa, bb, cc, dd = zero, zero, zero, zero
    whole = count - count % (4 * LANES)
    for i in range(0, whole, 4 * LANES):
        j, k, m = i + LANES, i + 2 * LANES, i + 3 * LANES
        p, q = error_at(target, prediction, i), error_at(target, prediction, j)
        r, s = error_at(target, prediction, k), error_at(target, prediction, m)
        t, u, v, w = one, one, one, one
        if is_weighted:
            t, u = simd.load(simd.advance(weight, i), LANES), simd.load(simd.advance(weight, j), LANES)
            v, w = simd.load(simd.advance(weight, k), LANES), simd.load(simd.advance(weight, m), LANES)
            total_weight = total_weight + ((t + u) + (v + w))
        a, b, c, d = a + t * magnitude(p), b + u * magnitude(q), c + v * magnitude(r), d + w * magnitude(s)
        aa, bb = simd.fma(t * p, p, aa), simd.fma(u * q, q, bb)
        cc, dd = simd.fma(v * r, r, cc), simd.fma(w * s, s, dd)
        rest = add_rest(rest, simd.load(simd.advance(target, i), LANES), p, t, middle, offset)
        rest = add_rest(rest, simd.load(simd.advance(target, j), LANES), q, u, middle, offset)
        rest = add_rest(rest, simd.load(simd.advance(target, k), LANES), r, v, middle, offset)
        rest = add_rest(rest, simd.load(simd.advance(target, m), LANES), s, w, middle, offset)
    for i in range(whole, count, LANES):
        inside = simd.iota_i64(LANES) < count - i
        p = error_of_first(target, prediction, i, count - i)
        y = simd.load_first(simd.advance(target, i), LANES, count - i)
        t = simd.select(inside, one, zero)
        if is_weighted:
            t = simd.load_first(simd.advance(weight, i), LANES, count - i)
            total_weight = total_weight + t
        a, aa = a + t * magnitude(p), simd.fma(t * p, p, aa)
        rest = add_rest(rest, simd.select(inside, y, one), p, t, middle, offset)
        # Lanes beyond the end have no weight: they add 0 to all sums.
    squared, size = simd.reduce_add((aa + bb) + (cc + dd)), simd.reduce_add((a + b) + (c + d))
    if count <= FEW and not is_weighted:
        squared = sum_of_few(target, prediction, count, True)
        size = sum_of_few(target, prediction, count, False)
    add_to(record, SQUARE, squared)
    add_to(record, ABSOLUTE, size)
    raise_to(record, LARGEST, simd.reduce_max(rest.largest))
    add_to(record, WEIGHT, simd.reduce_add(total_weight) if is_weighted else np.float64(count))
    add_to(record, TARGET, simd.reduce_add(rest.target))
    add_to(record, TARGET_SQUARE, simd.reduce_add(rest.target_square))
    add_to(record, ERROR, simd.reduce_add(rest.error))
    add_to(record, ERROR_SQUARE, simd.reduce_add(rest.error_square))
    add_to(record, ABSOLUTE_RATIO, simd.reduce_add(rest.absolute_ratio))
    add_to(record, RATIO, simd.reduce_add(rest.ratio))
    if simd.any_lane(rest.is_tiny):
        add_tiny(target, prediction, weight, count, record, is_weighted)


def report_block(target, prediction, weight, count, centre_target, centre_error, record):
    """Add to all sums, every row once."""
    add_block(target, prediction, weight, count, centre_target, centre_error, record, False)


def weighted_block(target, prediction, weight, count, centre_target, centre_error, record):
    """Add to all sums, every row times its weight."""
    add_block(target, prediction, weight, count, centre_target, centre_error, record, True)


_POINTER = types.CPointer(types.float64)
_SIGNATURE = types.void(_POINTER, _POINTER, _POINTER, types.int64, types.float64, types.float64, _POINTER)

SQUARES = Direct(square_block, _SIGNATURE)
ABSOLUTES = Direct(absolute_block, _SIGNATURE)
DETERMINATION = Direct(determination_block, _SIGNATURE)
REPORT = Direct(report_block, _SIGNATURE)
WEIGHTED = Direct(weighted_block, _SIGNATURE)
