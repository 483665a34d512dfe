"""Horner's rule for complex128: plain, with error bounds, and compensated, for many points in lanes.

Layouts as in horner.py and horner_bounds.py; complex arrays come as float64 ones of twice the size, the parts side by
side. A block of points is taken apart into real and imaginary parts, so that lanes hold one kind.

Source of the compensated scheme: Graillat, Menissier-Morain 2012, "Accurate summation, dot product and polynomial
evaluation in complex floating point arithmetic", section 4.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd.host import LaneCount
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels import horner
from fastcore.polynomial.kernels.either import absolute, choose, like
from fastcore.polynomial.kernels.error_free import INFINITY, SMALLEST_BOUND, TINY, UNIT, two_product, two_sum
from fastcore.polynomial.kernels.horner import place_of

__all__ = ["evaluate", "evaluate_bounded", "evaluate_compensated"]

LANES = LaneCount(2 * simd.F64_LANES)
BLOCK = 256
PLAIN_NS, BOUNDED_NS, COMPENSATED_NS = 0.16, 0.4, 1.6  # a coefficient of a point


@kernel(inline=True, fastmath=False)
def modulus_bound(re, im):
    """At least |x|, and at most 1e-15 of it and 2**-500 more."""
    return simd.sqrt(re * re + im * im) * (1.0 + 8.0 * UNIT) + 2.0**-500


@kernel(inline=True, fastmath=False)
def complex_step(re, im, size, xr, xi, radius, cr, ci):
    """(re, im) of value * x + c, and the sum of the sizes of all that was rounded, each within 1 u (3 without FMA)."""
    inner_re, inner_im = simd.fma(-im, xi, like(xr, cr)), simd.fma(im, xr, like(xr, ci))
    new_re, new_im = simd.fma(re, xr, inner_re), simd.fma(re, xi, inner_im)
    rounded = (absolute(inner_re) + absolute(inner_im)) + (absolute(new_re) + absolute(new_im))
    if not simd.HAS_FMA:
        rounded += abs(cr) + abs(ci)
    return new_re, new_im, simd.fma(size, radius, rounded)


@kernel(inline=True, fastmath=False)
def plain_value(c, slack, step, count, xr, xi):
    """(re, im, bound) at vectors of points; c and slack are pointers to pairs."""
    top = 2 * (count - 1)
    re, im = like(xr, simd.load_scalar(simd.advance(c, top))), like(xr, simd.load_scalar(simd.advance(c, top + 1)))
    radius = modulus_bound(xr, xi)
    size = like(xr, TINY + slack_of(slack, step * top))
    for k in range(top - 2, -1, -2):
        cr, ci = simd.load_scalar(simd.advance(c, k)), simd.load_scalar(simd.advance(c, k + 1))
        re, im, size = complex_step(re, im, size, xr, xi, radius, cr, ci)
        size += slack_of(slack, step * k)
    unit = UNIT if simd.HAS_FMA else 3.0 * UNIT
    bound = size * (unit * (1.0 + (8.0 * count + 8.0) * UNIT)) + SMALLEST_BOUND
    return re, im, choose(bound < INFINITY, bound, INFINITY)


@kernel(inline=True)
def slack_of(slack, k):
    """Of both parts of a coefficient; of the one zero that stands for all, twice the same."""
    return simd.load_scalar(simd.advance(slack, k)) + simd.load_scalar(simd.advance(slack, k + 1))


@kernel(inline=True, fastmath=False)
def compensated_value(c, low, slack, step, count, xr, xi):
    """(re, im, bound) at vectors of points; c, low and slack are pointers to pairs."""
    top = 2 * (count - 1)
    re, im = like(xr, simd.load_scalar(simd.advance(c, top))), like(xr, simd.load_scalar(simd.advance(c, top + 1)))
    radius = modulus_bound(xr, xi)
    error_re = like(xr, simd.load_scalar(simd.advance(low, step * top)))
    error_im = like(xr, simd.load_scalar(simd.advance(low, step * top + 1)))
    size = like(xr, TINY + slack_of(slack, step * top))
    for k in range(top - 2, -1, -2):
        p, e1 = two_product(re, xr)
        q, e2 = two_product(-im, xi)
        s, e3 = two_sum(p, q)
        new_re, e4 = two_sum(s, like(xr, simd.load_scalar(simd.advance(c, k))))
        p, f1 = two_product(re, xi)
        q, f2 = two_product(im, xr)
        s, f3 = two_sum(p, q)
        im, f4 = two_sum(s, like(xr, simd.load_scalar(simd.advance(c, k + 1))))
        re = new_re
        step_re = ((e1 + e2) + (e3 + e4)) + simd.load_scalar(simd.advance(low, step * k))
        step_im = ((f1 + f2) + (f3 + f4)) + simd.load_scalar(simd.advance(low, step * k + 1))
        sizes = (absolute(e1) + absolute(e2)) + (absolute(e3) + absolute(e4))
        sizes += (absolute(f1) + absolute(f2)) + (absolute(f3) + absolute(f4))
        new_error = simd.fma(error_re, xr, simd.fma(-error_im, xi, step_re))
        error_im = simd.fma(error_re, xi, simd.fma(error_im, xr, step_im))
        error_re = new_error
        size = simd.fma(size, radius, sizes) + slack_of(slack, step * k)
    return compensated_complex_end(re, im, error_re, error_im, size, count)


@kernel(inline=True, fastmath=False)
def compensated_complex_end(re, im, error_re, error_im, size, count):
    """As `error_free.compensated_end`: a step of the error's recurrence errs at most 8 u of its operands and result."""
    sum_re, rest_re = two_sum(re, error_re)
    sum_im, rest_im = two_sum(im, error_im)
    bound = (absolute(rest_re) + absolute(rest_im)) + size * ((20.0 * count + 20.0) * UNIT)
    bound = bound * (1.0 + 8.0 * UNIT) + SMALLEST_BOUND
    finite = absolute(sum_re) + absolute(sum_im) < INFINITY
    bound = choose(bound < INFINITY, bound, INFINITY)
    return choose(finite, sum_re, re), choose(finite, sum_im, im), bound


@kernel(fastmath=False)
def put_block(c, low, slack, row, step, count, x, x_at, values, bounds, at, size, parts):
    """At most BLOCK points x[x_at : x_at + size] of one polynomial; parts (4, BLOCK) is scratch memory."""
    xr, xi, re, im = parts[0], parts[1], parts[2], parts[3]
    points, results = x[2 * x_at : 2 * (x_at + size)], values[2 * at : 2 * (at + size)]
    for i in range(size):
        xr[i], xi[i] = points[2 * i], points[2 * i + 1]
    coefficients = simd.advance(simd.pointer(c), 2 * row * count)
    slacks = simd.advance(simd.pointer(slack), 2 * row * count * step)
    for i in range(0, size, LANES):
        a, b = simd.load(simd.advance(simd.pointer(xr), i), LANES), simd.load(simd.advance(simd.pointer(xi), i), LANES)
        if low is None:
            value_re, value_im, bound = plain_value(coefficients, slacks, step, count, a, b)
        else:
            lows = simd.advance(simd.pointer(low), 2 * row * count * step)
            value_re, value_im, bound = compensated_value(coefficients, lows, slacks, step, count, a, b)
        simd.store(simd.advance(simd.pointer(re), i), value_re)
        simd.store(simd.advance(simd.pointer(im), i), value_im)
        if bounds is not None:
            simd.store_first(simd.advance(simd.pointer(bounds), at + i), bound, size - i)
    for i in range(size):
        results[2 * i], results[2 * i + 1] = re[i], im[i]


@kernel(fastmath=False)
def put_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    """low None: plain Horner; bounds None: they are not computed."""
    count, size = c.size // (2 * rows), values.size // (2 * rows)
    x_step = size if x.size == values.size else 0
    step = 1 if slack.size == c.size else 0
    parts = np.zeros((4, BLOCK))
    item = next_item(counter, -1)
    first, stop, start, points = place_of(item, rows, size, item_rows)
    while first < stop:
        for row in range(first, stop):
            for i in range(start, start + points, BLOCK):
                some = min(BLOCK, start + points - i)
                x_at, at = row * x_step + i, row * size + i
                put_block(c, low, slack, row, step, count, x, x_at, values, bounds, at, some, parts)
        item = next_item(counter, item)
        first, stop, start, points = place_of(item, rows, size, item_rows)


def plain_items(c, x, values, rows, item_rows, counter):
    put_items(c, None, np.zeros(2), x, values, None, rows, item_rows, counter)


def plain_parallel(body, workers, c, x, values, rows, item_rows, counter):
    for _ in prange(workers):
        call_by_address(body, (c, x, values, rows, item_rows, counter))


def bounded_items(c, slack, x, values, bounds, rows, item_rows, counter):
    put_items(c, None, slack, x, values, bounds, rows, item_rows, counter)


def bounded_parallel(body, workers, c, slack, x, values, bounds, rows, item_rows, counter):
    for _ in prange(workers):
        call_by_address(body, (c, slack, x, values, bounds, rows, item_rows, counter))


def compensated_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    put_items(c, low, slack, x, values, bounds, rows, item_rows, counter)


def compensated_parallel(body, workers, c, low, slack, x, values, bounds, rows, item_rows, counter):
    for _ in prange(workers):
        call_by_address(body, (c, low, slack, x, values, bounds, rows, item_rows, counter))


_READ, _WRITE = types.Array(types.float64, 1, "C", readonly=True), types.Array(types.float64, 1, "C")
_NUMBERS = [types.int64, types.int64]
_PLAIN = SharedWork(plain_items, plain_parallel, [_READ] * 2 + [_WRITE] + _NUMBERS)
_BOUNDED = SharedWork(bounded_items, bounded_parallel, [_READ] * 3 + [_WRITE] * 2 + _NUMBERS)
_COMPENSATED = SharedWork(compensated_items, compensated_parallel, [_READ] * 4 + [_WRITE] * 2 + _NUMBERS)


def _work(coefficient_ns, c, values, rows):
    """(work, rows of an item)."""
    points = values.size // (2 * rows)
    return horner.worth_threads(coefficient_ns * values.size // 2 * (c.size // (2 * rows))), horner.item_rows(points)


def evaluate(c, x, values, rows):
    work, item_rows = _work(PLAIN_NS, c, values, rows)
    _PLAIN(work, c, x, values, rows, item_rows)


def evaluate_bounded(c, slack, x, values, bounds, rows):
    work, item_rows = _work(BOUNDED_NS, c, values, rows)
    _BOUNDED(work, c, slack, x, values, bounds, rows, item_rows)


def evaluate_compensated(c, low, slack, x, values, bounds, rows):
    work, item_rows = _work(COMPENSATED_NS, c, values, rows)
    _COMPENSATED(work, c, low, slack, x, values, bounds, rows, item_rows)
