"""Horner's rule with error bounds, and compensated Horner, for many float64 points in lanes.

Layouts as in horner.py. Derivatives have coefficients that are no floating-point numbers: c holds them rounded, `low`
what that left out, so that c + low is right to twice the precision, and `slack` bounds, in units of u, the error of c,
or, for compensated Horner, |low| u and the error of c + low. Both have the size of c, or are one zero.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd.host import LaneCount
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels import horner
from fastcore.polynomial.kernels.either import like
from fastcore.polynomial.kernels.error_free import (
    compensated_end,
    compensated_start,
    compensated_step,
    horner_bound,
    horner_start,
    horner_step,
)
from fastcore.polynomial.kernels.horner import place_of

__all__ = ["NOTHING", "evaluate_bounded", "evaluate_compensated", "shared_items"]

# The chains are twice as long as Horner's, and have twice as many values to keep.
LANES = LaneCount(4 * simd.F64_LANES)
BOUNDED_NS, COMPENSATED_NS = 0.08, 0.3  # a coefficient of a point


@kernel(inline=True, fastmath=False)
def bounded(c, slack, slack_step, count, x):
    """(value, bound) at a vector of points; c and slack are pointers."""
    value, size = horner_start(like(x, simd.load_scalar(simd.advance(c, count - 1))))
    size += simd.load_scalar(simd.advance(slack, (count - 1) * slack_step))
    for k in range(count - 2, -1, -1):
        value, size = horner_step(value, size, x, like(x, simd.load_scalar(simd.advance(c, k))))
        size += simd.load_scalar(simd.advance(slack, k * slack_step))
    return value, horner_bound(size, count - 1)


@kernel(inline=True, fastmath=False)
def compensated(c, low, slack, step, count, x):
    """(value, bound) at a vector of points; c, low and slack are pointers."""
    top = (count - 1) * step
    value, error, size = compensated_start(like(x, simd.load_scalar(simd.advance(c, count - 1))))
    error += simd.load_scalar(simd.advance(low, top))
    size += simd.load_scalar(simd.advance(slack, top))
    for k in range(count - 2, -1, -1):
        coefficient = like(x, simd.load_scalar(simd.advance(c, k)))
        value, error, size = compensated_step(value, error, size, x, coefficient)
        error += simd.load_scalar(simd.advance(low, k * step))
        size += simd.load_scalar(simd.advance(slack, k * step))
    return compensated_end(value, error, size, count)


@kernel(inline=True, fastmath=False)
def at_points(c, low, slack, row, step, count, points):
    """(value, bound) at a vector of points, of one of the polynomials; low None for plain Horner."""
    coefficients = simd.advance(simd.pointer(c), row * count)
    slacks = simd.advance(simd.pointer(slack), row * count * step)
    if low is None:
        return bounded(coefficients, slacks, step, count, points)
    lows = simd.advance(simd.pointer(low), row * count * step)
    return compensated(coefficients, lows, slacks, step, count, points)


@kernel(inline=True, fastmath=False)
def put_points(c, low, slack, row, step, count, x, x_at, values, bounds, at, size):
    """Points x[x_at : x_at + size] of one polynomial, by whole vectors with the last one cut off."""
    i = 0
    while i + LANES <= size:
        points = simd.load(simd.advance(simd.pointer(x), x_at + i), LANES)
        value, bound = at_points(c, low, slack, row, step, count, points)
        simd.store(simd.advance(simd.pointer(values), at + i), value)
        if bounds is not None:
            simd.store(simd.advance(simd.pointer(bounds), at + i), bound)
        i += LANES
    while i < size:  # masks of several registers are slow to make
        part = simd.load_first(simd.advance(simd.pointer(x), x_at + i), simd.F64_LANES, size - i)
        last, of_last = at_points(c, low, slack, row, step, count, part)
        simd.store_first(simd.advance(simd.pointer(values), at + i), last, size - i)
        if bounds is not None:
            simd.store_first(simd.advance(simd.pointer(bounds), at + i), of_last, size - i)
        i += simd.F64_LANES


@kernel(fastmath=False)
def put_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    """low None: plain Horner; bounds None: they are not computed."""
    count, size = c.size // rows, values.size // rows
    x_step = size if x.size == values.size else 0
    step = 1 if slack.size == c.size else 0
    item = next_item(counter, -1)
    first, stop, start, points = place_of(item, rows, size, item_rows)
    while first < stop:
        for row in range(first, stop):
            x_at, at = row * x_step + start, row * size + start
            put_points(c, low, slack, row, step, count, x, x_at, values, bounds, at, points)
        item = next_item(counter, item)
        first, stop, start, points = place_of(item, rows, size, item_rows)


def bounded_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    put_items(c, None, slack, x, values, bounds, rows, item_rows, counter)


def compensated_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    put_items(c, low, slack, x, values, None, rows, item_rows, counter)


def bounded_compensated_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    put_items(c, low, slack, x, values, bounds, rows, item_rows, counter)


def parallel_items(body, workers, c, low, slack, x, values, bounds, rows, item_rows, counter):
    for _ in prange(workers):
        call_by_address(body, (c, low, slack, x, values, bounds, rows, item_rows, counter))


def shared_items(body):
    """One signature for all, those of horner_complex.py as well, so that one driver is compiled."""
    read, write = types.Array(types.float64, 1, "C", readonly=True), types.Array(types.float64, 1, "C")
    return SharedWork(body, parallel_items, [read] * 4 + [write] * 2 + [types.int64] * 2)


_BOUNDED, _COMPENSATED = shared_items(bounded_items), shared_items(compensated_items)
_BOTH = shared_items(bounded_compensated_items)
NOTHING = np.zeros(0)


def evaluate_bounded(c, slack, x, values, bounds, rows):
    """Plain values and bounds on their errors."""
    work = horner.worth_threads(BOUNDED_NS * values.size * (c.size // rows))
    _BOUNDED(work, c, NOTHING, slack, x, values, bounds, rows, horner.item_rows(values.size // rows))


def evaluate_compensated(c, low, slack, x, values, bounds, rows):
    """Values as if computed in twice the precision and rounded, and bounds on their errors, or None."""
    work = horner.worth_threads(COMPENSATED_NS * values.size * (c.size // rows))
    items, results = (_COMPENSATED, NOTHING) if bounds is None else (_BOTH, bounds)
    items(work, c, low, slack, x, values, results, rows, horner.item_rows(values.size // rows))
