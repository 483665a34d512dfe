"""Horner's rule for complex128, plain, and compensated with error bounds, for many points in lanes.

Layouts as in horner.py and horner_bounds.py; complex arrays come as float64 ones of twice the size, the parts side by
side. A block of points is taken apart into real and imaginary parts, so that lanes hold one kind.

Source of the compensated scheme: Graillat, Menissier-Morain 2012, "Accurate summation, dot product and polynomial
evaluation in complex floating point arithmetic", section 4.
"""

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd.host import LaneCount
from fastcore._core.work import next_item
from fastcore.polynomial.kernels import horner
from fastcore.polynomial.kernels.either import absolute, choose, like
from fastcore.polynomial.kernels.error_free import INFINITY, SMALLEST_BOUND, TINY, UNIT, two_product, two_sum
from fastcore.polynomial.kernels.horner import place_of
from fastcore.polynomial.kernels.horner_bounds import NOTHING, shared_items

__all__ = ["evaluate", "evaluate_compensated"]

LANES = LaneCount(2 * simd.F64_LANES)
BLOCK = 256
PLAIN_NS, COMPENSATED_NS = 0.16, 1.6  # a coefficient of a point


@kernel(inline=True, fastmath=False)
def modulus_bound(re, im):
    """At least |x|, and at most 1e-15 of it and 2**-500 more."""
    return simd.sqrt(re * re + im * im) * (1.0 + 8.0 * UNIT) + 2.0**-500


@kernel(inline=True, fastmath=False)
def plain_value(c, count, xr, xi):
    """(re, im) at vectors of points; c is a pointer to pairs."""
    top = 2 * (count - 1)
    re, im = like(xr, simd.load_scalar(simd.advance(c, top))), like(xr, simd.load_scalar(simd.advance(c, top + 1)))
    for k in range(top - 2, -1, -2):
        cr, ci = simd.load_scalar(simd.advance(c, k)), simd.load_scalar(simd.advance(c, k + 1))
        new_re = simd.fma(re, xr, simd.fma(-im, xi, like(xr, cr)))
        im = simd.fma(re, xi, simd.fma(im, xr, like(xr, ci)))
        re = new_re
    return re, im


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


@kernel(inline=True, fastmath=False)
def put_block(c, low, slack, step, count, parts, size):
    """Values of one polynomial at a block of points; `low` is None for plain Horner, or a pointer as c and slack."""
    for i in range(0, size, LANES):
        place = simd.advance(parts, i)
        xr, xi = simd.load(place, LANES), simd.load(simd.advance(place, BLOCK), LANES)
        if low is None:
            re, im = plain_value(c, count, xr, xi)
        else:
            re, im, bound = compensated_value(c, low, slack, step, count, xr, xi)
            simd.store(simd.advance(place, 2 * BLOCK), bound)
        simd.store(place, re)
        simd.store(simd.advance(place, BLOCK), im)


@kernel(inline=True)
def take_apart(x, size, parts):
    for i in range(size):
        simd.store_scalar(simd.advance(parts, i), simd.load_scalar(simd.advance(x, 2 * i)))
        simd.store_scalar(simd.advance(parts, BLOCK + i), simd.load_scalar(simd.advance(x, 2 * i + 1)))


@kernel(inline=True)
def put_together(parts, size, values):
    for i in range(size):
        simd.store_scalar(simd.advance(values, 2 * i), simd.load_scalar(simd.advance(parts, i)))
        simd.store_scalar(simd.advance(values, 2 * i + 1), simd.load_scalar(simd.advance(parts, BLOCK + i)))


@kernel(fastmath=False)
def put_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    """low None: plain Horner, without bounds."""
    count, size = c.size // (2 * rows), values.size // (2 * rows)
    x_step = size if x.size == values.size else 0
    step = 1 if slack.size == c.size else 0
    parts = np.zeros(3 * BLOCK)
    item = next_item(counter, -1)
    first, stop, start, points = place_of(item, rows, size, item_rows)
    while first < stop:
        for row in range(first, stop):
            own = 2 * row * count
            for i in range(start, start + points, BLOCK):
                some, at = min(BLOCK, start + points - i), row * size + i
                take_apart(simd.advance(simd.pointer(x), 2 * (row * x_step + i)), some, simd.pointer(parts))
                coefficients = simd.advance(simd.pointer(c), own)
                if low is None:
                    put_block(coefficients, None, None, step, count, simd.pointer(parts), some)
                else:
                    lows = simd.advance(simd.pointer(low), own * step)
                    slacks = simd.advance(simd.pointer(slack), own * step)
                    put_block(coefficients, lows, slacks, step, count, simd.pointer(parts), some)
                    for k in range(some):
                        bounds[at + k] = parts[2 * BLOCK + k]
                put_together(simd.pointer(parts), some, simd.advance(simd.pointer(values), 2 * at))
        item = next_item(counter, item)
        first, stop, start, points = place_of(item, rows, size, item_rows)


def plain_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    put_items(c, None, slack, x, values, bounds, rows, item_rows, counter)


def compensated_items(c, low, slack, x, values, bounds, rows, item_rows, counter):
    put_items(c, low, slack, x, values, bounds, rows, item_rows, counter)


_PLAIN, _COMPENSATED = shared_items(plain_items), shared_items(compensated_items)


def _work(coefficient_ns, c, values, rows):
    """(work, rows of an item)."""
    points = values.size // (2 * rows)
    return horner.worth_threads(coefficient_ns * values.size // 2 * (c.size // (2 * rows))), horner.item_rows(points)


def evaluate(c, x, values, rows):
    """Plain values."""
    work, item_rows = _work(PLAIN_NS, c, values, rows)
    _PLAIN(work, c, NOTHING, NOTHING, x, values, NOTHING, rows, item_rows)


def evaluate_compensated(c, low, slack, x, values, bounds, rows):
    """Values as if computed in twice the precision and rounded, and bounds on their errors."""
    work, item_rows = _work(COMPENSATED_NS, c, values, rows)
    _COMPENSATED(work, c, low, slack, x, values, bounds, rows, item_rows)
