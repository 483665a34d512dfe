"""Softmax and log-softmax down columns, a vector of them side by side, and their derivatives.

Rows are ``step`` elements apart.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.nn.kernels.elementwise import put, take
from fastcore.nn.kernels.softmax_rows import LOG2_E


@kernel
def copy_strip(x, step, copy, copy_step, depth, width):
    """Bring a strip of columns together, or back: rows a power of two apart share few places of a cache."""
    lanes = lanes_of(x)
    for d in range(depth):
        row, target = simd.advance(x, d * step), simd.advance(copy, d * copy_step)
        for first in range(0, width, lanes):
            value = take(simd.advance(row, first), width - first, 0.0)
            put(simd.advance(target, first), value, width - first, False)


@kernel
def softmax_column(x, step, out, out_step, depth, count, is_log):
    """Softmax of up to a vector of columns, or its logarithm; ``out`` may be ``x``."""
    top, total = filled(x, -math.inf), filled(x, 0.0)
    for d in range(depth):
        top = simd.maximum(take(simd.advance(x, d * step), count, 0.0), top)
    for d in range(depth):
        power = simd.exp2((take(simd.advance(x, d * step), count, 0.0) - top) * LOG2_E)
        total = total + power
        if not is_log:
            put(simd.advance(out, d * out_step), power, count, False)
    factor, logarithm = 1.0 / total, simd.log(total)
    for d in range(depth):
        at = simd.advance(out, d * out_step)
        if is_log:
            put(at, take(simd.advance(x, d * step), count, 0.0) - top - logarithm, count, False)
        else:
            put(at, take(at, count, 0.0) * factor, count, False)


@kernel
def softmax_column_backward(grad, grad_step, output, step, out, out_step, depth, count, is_log):
    """Gradient of `softmax_column` from its output; ``out`` may be ``grad`` or ``output``."""
    total = filled(grad, 0.0)
    for d in range(depth):
        slope = take(simd.advance(grad, d * grad_step), count, 0.0)
        if is_log:
            total = total + slope
        else:
            total = simd.fma(slope, take(simd.advance(output, d * step), count, 0.0), total)
    for d in range(depth):
        slope = take(simd.advance(grad, d * grad_step), count, 0.0)
        value = take(simd.advance(output, d * step), count, 0.0)
        if is_log:
            value = slope - simd.exp(value) * total
        else:
            value = value * (slope - total)
        put(simd.advance(out, d * out_step), value, count, False)
