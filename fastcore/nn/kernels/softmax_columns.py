"""Softmax and log-softmax down the columns of a strip, side by side in the lanes, and their derivatives.

A strip's rows are ``step`` elements apart. ``tops`` and ``totals`` hold a number a column, in whole vectors.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.nn.kernels.elementwise import put, take
from fastcore.nn.kernels.softmax_rows import LOG2_E


@kernel
def fill(row, width, number):
    """Set the whole vectors that begin below ``width``."""
    lanes = lanes_of(row)
    for first in range(0, width, lanes):
        simd.store(simd.advance(row, first), filled(row, number))


@kernel
def copy_strip(x, step, depth, width, copy, copy_step):
    """Bring a strip together: rows that lie a power of two apart share few places of a cache."""
    lanes = lanes_of(x)
    for d in range(depth):
        row, target = simd.advance(x, d * step), simd.advance(copy, d * copy_step)
        for first in range(0, width, lanes):
            simd.store(simd.advance(target, first), take(simd.advance(row, first), width - first, 0.0))


@kernel
def collect(x, step, depth, width, tops, totals):
    """Largest element of each column, NaN passed over, and sum of the exponentials of what lies below it."""
    lanes = lanes_of(x)
    fill(tops, width, -math.inf)
    fill(totals, width, 0.0)
    for d in range(depth):
        row = simd.advance(x, d * step)
        for first in range(0, width, lanes):
            value = take(simd.advance(row, first), width - first, 0.0)
            at = simd.advance(tops, first)
            simd.store(at, simd.maximum(value, simd.load(at, lanes)))
    for d in range(depth):
        row = simd.advance(x, d * step)
        for first in range(0, width, lanes):
            value = take(simd.advance(row, first), width - first, 0.0)
            value = value - simd.load(simd.advance(tops, first), lanes)
            at = simd.advance(totals, first)
            simd.store(at, simd.load(at, lanes) + simd.exp2(value * LOG2_E))


@kernel
def softmax_strip(x, step, out, out_step, depth, width, tops, totals, is_log):
    """Softmax of each column, or its logarithm; ``out`` may be ``x``."""
    lanes = lanes_of(x)
    collect(x, step, depth, width, tops, totals)
    for first in range(0, width, lanes):
        at = simd.advance(totals, first)
        total = simd.load(at, lanes)
        if is_log:
            simd.store(at, simd.log(total))
        else:
            simd.store(at, 1.0 / total)
    for d in range(depth):
        row, target = simd.advance(x, d * step), simd.advance(out, d * out_step)
        for first in range(0, width, lanes):
            value = take(simd.advance(row, first), width - first, 0.0)
            value = value - simd.load(simd.advance(tops, first), lanes)
            factor = simd.load(simd.advance(totals, first), lanes)
            if is_log:
                value = value - factor
            else:
                value = simd.exp2(value * LOG2_E) * factor
            put(simd.advance(target, first), value, width - first, False)


@kernel
def softmax_strip_backward(grad, grad_step, output, step, out, out_step, depth, width, totals, is_log):
    """Gradient of `softmax_strip` from its output; ``out`` may be ``grad`` or ``output``."""
    lanes = lanes_of(grad)
    fill(totals, width, 0.0)
    for d in range(depth):
        row, slopes = simd.advance(output, d * step), simd.advance(grad, d * grad_step)
        for first in range(0, width, lanes):
            value = take(simd.advance(slopes, first), width - first, 0.0)
            if not is_log:
                value = value * take(simd.advance(row, first), width - first, 0.0)
            at = simd.advance(totals, first)
            simd.store(at, simd.load(at, lanes) + value)
    for d in range(depth):
        row, slopes = simd.advance(output, d * step), simd.advance(grad, d * grad_step)
        target = simd.advance(out, d * out_step)
        for first in range(0, width, lanes):
            value = take(simd.advance(row, first), width - first, 0.0)
            slope = take(simd.advance(slopes, first), width - first, 0.0)
            total = simd.load(simd.advance(totals, first), lanes)
            if is_log:
                value = slope - simd.exp(value) * total
            else:
                value = value * (slope - total)
            put(simd.advance(target, first), value, width - first, False)
