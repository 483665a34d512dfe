"""Softmax and log-softmax of one row, and their derivatives."""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.nn.kernels.elementwise import first_piece, put, take

LOG2_E = 1.0 / math.log(2.0)
# Vectors summed in the dtype before their sum goes on in float64: few roundings of a sum as large as the whole.
BLOCK = 16


@kernel
def largest_of(row, size):
    """Largest element; NaN may be passed over."""
    lanes = lanes_of(row)
    a, b = filled(row, -math.inf), filled(row, -math.inf)
    for first in range(0, size, 2 * lanes):
        a = simd.maximum(take(simd.advance(row, first), size - first, -math.inf), a)
        b = simd.maximum(take(simd.advance(row, first + lanes), max(size - first - lanes, 0), -math.inf), b)
    return simd.reduce_max(simd.maximum(a, b))


@kernel
def sum_of_powers(row, out, size, largest, kept):
    """Sum of exp(row - largest), a float64; the powers are left in ``out``, if they are to be kept."""
    lanes = lanes_of(row)
    top = filled(row, largest)
    total = 0.0
    for start in range(0, size, BLOCK * lanes):
        powers = filled(row, 0.0)
        for first in range(start, min(start + BLOCK * lanes, size), lanes):
            value = simd.exp2((take(simd.advance(row, first), size - first, -math.inf) - top) * LOG2_E)
            powers = powers + value
            if kept:
                put(simd.advance(out, first), value, size - first, False)
        total += simd.reduce_add(powers)
    return total


@kernel
def scale_span(powers, out, count, factors, streamed):
    """out = powers * factors, a vector; ``out`` may be ``powers``."""
    lanes = lanes_of(powers)
    for first in range(0, count, lanes):
        value = take(simd.advance(powers, first), count - first, 0.0) * factors
        put(simd.advance(out, first), value, count - first, streamed)


@kernel
def subtract_span(row, out, count, first_term, second_term, streamed):
    """out = row - first_term - second_term, which are vectors."""
    lanes = lanes_of(row)
    for first in range(0, count, lanes):
        value = take(simd.advance(row, first), count - first, 0.0) - first_term - second_term
        put(simd.advance(out, first), value, count - first, streamed)


@kernel
def softmax_row(row, out, powers, size, is_log, streamed):
    """Softmax of a row, or its logarithm; ``out`` may be ``row``, and ``powers``, if they are not streamed, ``out``."""
    largest = largest_of(row, size)
    total = sum_of_powers(row, powers, size, largest, not is_log)
    factors = filled(row, 1.0 / total)
    top, logarithm = filled(row, largest), filled(row, math.log(total))
    first, count = 0, first_piece(out, size, streamed)
    while first < size:
        target = simd.advance(out, first)
        if is_log:
            subtract_span(simd.advance(row, first), target, count, top, logarithm, streamed)
        else:
            scale_span(simd.advance(powers, first), target, count, factors, streamed)
        first, count = first + count, size - first - count


@kernel
def sum_of_slopes(grad, output, size, is_log):
    """Sum of grad * output, of a logarithm sum of grad; a float64."""
    lanes = lanes_of(grad)
    total = 0.0
    for start in range(0, size, BLOCK * lanes):
        slopes = filled(grad, 0.0)
        for first in range(start, min(start + BLOCK * lanes, size), lanes):
            value = take(simd.advance(grad, first), size - first, 0.0)
            if is_log:
                slopes = slopes + value
            else:
                slopes = simd.fma(value, take(simd.advance(output, first), size - first, 0.0), slopes)
        total += simd.reduce_add(slopes)
    return total


@kernel
def slope_span(grad, output, out, count, total, rest, is_log, streamed):
    """out = output * (grad - total), of a logarithm grad - exp(output) * total.

    ``total`` and ``rest``, what it lost by rounding, are vectors: where one output is near 1, its slope is a small
    difference.
    """
    lanes = lanes_of(grad)
    for first in range(0, count, lanes):
        value = take(simd.advance(output, first), count - first, 0.0)
        slope = take(simd.advance(grad, first), count - first, 0.0)
        if is_log:
            value = slope - simd.exp(value) * total
        else:
            value = value * (slope - total - rest)
        put(simd.advance(out, first), value, count - first, streamed)


@kernel
def softmax_row_backward(grad, output, out, size, is_log, streamed):
    """Gradient of `softmax_row` from its output; ``out`` may be ``grad`` or ``output``."""
    exact = sum_of_slopes(grad, output, size, is_log)
    total = filled(grad, exact)
    rest = filled(grad, exact - simd.reduce_max(total))
    first, count = 0, first_piece(out, size, streamed)
    while first < size:
        slope, value, target = simd.advance(grad, first), simd.advance(output, first), simd.advance(out, first)
        slope_span(slope, value, target, count, total, rest, is_log, streamed)
        first, count = first + count, size - first - count
