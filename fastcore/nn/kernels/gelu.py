"""GELU of rows and its derivative, optionally with a bias added to each row."""

import math

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import ALONE, SharedWork, call_by_address, next_item
from fastcore.nn.kernels.elementwise import first_piece, is_streamed, item_elements, put, sigmoid_and_rest, take
from fastcore.nn.kernels.layer_norm import row_of

# Serial nanoseconds an element, for the choice between serial and parallel.
NS_PER_F32, NS_PER_F64 = 0.7, 2.4

INVERSE_SQRT_2 = math.sqrt(0.5)
INVERSE_SQRT_2PI = math.sqrt(0.5 / math.pi)
TWICE_SQRT_2_OVER_PI = 2.0 * math.sqrt(2.0 / math.pi)
CUBIC = 0.044715
# Beyond |x| = 20 the derivative is 0 or 1, as sigmoid is; larger squares would only make a NaN of 0 * inf.
LARGEST_SQUARE = 400.0


@kernel
def gelu_exact(x):
    """x * Phi(x), Phi the normal distribution function."""
    return x * 0.5 * (1.0 + simd.erf(x * INVERSE_SQRT_2))


@kernel
def gelu_tanh(x):
    """Its approximation x / 2 * (1 + tanh(u)), as x * sigmoid(2 u): no difference where tanh is near -1."""
    return x * simd.sigmoid(TWICE_SQRT_2_OVER_PI * simd.fma(x * x * CUBIC, x, x))


@kernel
def gelu_exact_slope(x):
    """Derivative of `gelu_exact`: Phi(x) + x * phi(x), phi the normal density."""
    below = 0.5 * (1.0 + simd.erf(x * INVERSE_SQRT_2))
    return simd.fma(x, simd.exp(x * x * -0.5) * INVERSE_SQRT_2PI, below)


@kernel
def gelu_tanh_slope(x):
    """Derivative of `gelu_tanh`: s + x * s * (1 - s) * 2 u', where s = sigmoid(2 u)."""
    s, rest = sigmoid_and_rest(TWICE_SQRT_2_OVER_PI * simd.fma(x * x * CUBIC, x, x))
    square = simd.minimum(x * x, LARGEST_SQUARE)
    inner = simd.fma(square, 3.0 * CUBIC * TWICE_SQRT_2_OVER_PI, TWICE_SQRT_2_OVER_PI)
    return simd.fma(s * rest * inner, x, s)


@kernel
def activate_span(x, bias, use_bias, out, count, use_tanh, streamed):
    """``count`` elements of a row; ``out`` may be ``x``."""
    lanes = lanes_of(x)
    for first in range(0, count, lanes):
        left = count - first
        value = take(simd.advance(x, first), left, 0.0)
        if use_bias:
            value = value + take(simd.advance(bias, first), left, 0.0)
        result = filled(x, 0.0)
        if use_tanh:
            result = gelu_tanh(value)
        else:
            result = gelu_exact(value)
        put(simd.advance(out, first), result, left, streamed)


@kernel
def slope_span(grad, x, bias, use_bias, out, count, use_tanh, streamed):
    """out = grad times the derivative at x + bias; ``out`` may be ``grad`` or ``x``."""
    lanes = lanes_of(x)
    for first in range(0, count, lanes):
        left = count - first
        value = take(simd.advance(x, first), left, 0.0)
        if use_bias:
            value = value + take(simd.advance(bias, first), left, 0.0)
        slope = filled(x, 0.0)
        if use_tanh:
            slope = gelu_tanh_slope(value)
        else:
            slope = gelu_exact_slope(value)
        result = take(simd.advance(grad, first), left, 0.0) * slope
        put(simd.advance(out, first), result, left, streamed)


def activate_items(grad, x, bias, out, use_grad, use_tanh, streamed, counter):
    """Take blocks of elements, of many short rows or of a part of one, until none is left.

    ``bias`` is empty where there is none to add; ``grad`` is not looked at where it is not used.
    """
    rows, size = x.shape
    length = item_elements(out)
    per_item = max(1, length // size)
    spans = (size + length - 1) // length
    item = next_item(counter, -1)
    while item // spans * per_item < rows:
        start = item % spans * length
        stop = min(start + length, size)
        for i in range(item // spans * per_item, min((item // spans + 1) * per_item, rows)):
            first = start
            count = first_piece(simd.advance(row_of(out, i), start), stop - start, streamed)
            while first < stop:
                source, target = simd.advance(row_of(x, i), first), simd.advance(row_of(out, i), first)
                addend = simd.advance(simd.pointer(bias), first)
                if use_grad:
                    slope = simd.advance(row_of(grad, i), first)
                    slope_span(slope, source, addend, bias.size > 0, target, count, use_tanh, streamed)
                else:
                    activate_span(source, addend, bias.size > 0, target, count, use_tanh, streamed)
                first, count = first + count, stop - first - count
        item = next_item(counter, item)
    simd.stream_fence()


def activate_parallel(body, workers, grad, x, bias, out, use_grad, use_tanh, streamed, counter):
    """`activate_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (grad, x, bias, out, use_grad, use_tanh, streamed, counter))


def _argument_types(dtype):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, "C", readonly=True)
    return [read, read, vector, types.Array(dtype, 2, "A"), types.boolean, types.boolean, types.boolean]


_ACTIVATE_F32 = SharedWork(activate_items, activate_parallel, _argument_types(types.float32))
_ACTIVATE_F64 = SharedWork(activate_items, activate_parallel, _argument_types(types.float64))
_NO_BIAS = np.empty(0, np.float32)
# Elements that threads share.
FEWEST_SHARED = int(threads.SMALLEST_WORK_NS / NS_PER_F32)


def activate_few(x, out, use_tanh, grad=None):
    """out = gelu(x), or its derivative times grad; all (N, D) float32, C-contiguous, of less than `FEWEST_SHARED`."""
    use_grad = grad is not None
    _ACTIVATE_F32.body.call(grad if use_grad else x, x, _NO_BIAS, out, use_grad, use_tanh, False, ALONE)


def activate(x, bias, out, use_tanh, grad=None):
    """out = gelu(x + bias), or its derivative times grad, if that is given; all float32 or all float64.

    grad, x, out (N, D), last axis contiguous, N and D > 0; bias (D,), C-contiguous, or (0,) for none.
    ``out`` may be x or grad, and no other array that overlaps x, grad or bias.
    """
    work, cost = (_ACTIVATE_F32, NS_PER_F32) if x.itemsize == 4 else (_ACTIVATE_F64, NS_PER_F64)
    use_grad = grad is not None
    inputs = [x, grad] if use_grad else [x]
    work(x.size * cost, inputs[-1], x, bias, out, use_grad, use_tanh, is_streamed(out, inputs))
