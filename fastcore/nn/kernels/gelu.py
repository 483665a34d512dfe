"""GELU of rows, optionally with a bias added to each."""

import math

from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.layer_norm import row_of

# Elements of an item: 1.5 us of work for float32, and a row longer than that is shared by threads.
ITEM_ELEMENTS = 4096
# Serial nanoseconds an element, for the choice between serial and parallel.
NS_PER_F32, NS_PER_F64 = 0.7, 2.4

INVERSE_SQRT_2 = math.sqrt(0.5)
SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
CUBIC = 0.044715


@kernel
def gelu_exact(x):
    """x * Phi(x), Phi the normal distribution function."""
    return x * 0.5 * (1.0 + simd.erf(x * INVERSE_SQRT_2))


@kernel
def gelu_tanh(x):
    """Its approximation by tanh."""
    return x * 0.5 * (1.0 + simd.tanh(SQRT_2_OVER_PI * simd.fma(x * x * CUBIC, x, x)))


@kernel
def activate_span(x, bias, use_bias, out, count, use_tanh):
    """``count`` elements of a row; ``out`` may be ``x``."""
    lanes = lanes_of(x)
    for first in range(0, count, lanes):
        left = min(count - first, lanes)
        value = simd.load_first(simd.advance(x, first), lanes, left)
        if use_bias:
            value = value + simd.load_first(simd.advance(bias, first), lanes, left)
        result = filled(x, 0.0)
        if use_tanh:
            result = gelu_tanh(value)
        else:
            result = gelu_exact(value)
        simd.store_first(simd.advance(out, first), result, left)


def activate_items(x, bias, out, use_tanh, counter):
    """Take blocks of up to `ITEM_ELEMENTS`, of many short rows or of a part of one, until none is left.

    ``bias`` is empty where there is none to add.
    """
    rows, size = x.shape
    per_item = max(1, ITEM_ELEMENTS // size)
    spans = (size + ITEM_ELEMENTS - 1) // ITEM_ELEMENTS
    item = next_item(counter, -1)
    while item // spans * per_item < rows:
        start = item % spans * ITEM_ELEMENTS
        count = min(size - start, ITEM_ELEMENTS)
        addend = simd.advance(simd.pointer(bias), start)
        for i in range(item // spans * per_item, min((item // spans + 1) * per_item, rows)):
            source, target = simd.advance(row_of(x, i), start), simd.advance(row_of(out, i), start)
            activate_span(source, addend, bias.size > 0, target, count, use_tanh)
        item = next_item(counter, item)


def activate_parallel(body, workers, x, bias, out, use_tanh, counter):
    """`activate_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, bias, out, use_tanh, counter))


def _argument_types(dtype):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, "C", readonly=True)
    return [read, vector, types.Array(dtype, 2, "A"), types.boolean]


_ACTIVATE_F32 = SharedWork(activate_items, activate_parallel, _argument_types(types.float32))
_ACTIVATE_F64 = SharedWork(activate_items, activate_parallel, _argument_types(types.float64))


def activate(x, bias, out, use_tanh):
    """out = gelu(x + bias), all float32 or all float64.

    x, out (N, D), last axis contiguous, N and D > 0; bias (D,), C-contiguous, or (0,) for none.
    ``out`` may be x, and no other array that overlaps x or bias.
    """
    if x.itemsize == 4:
        _ACTIVATE_F32(x.size * NS_PER_F32, x, bias, out, use_tanh)
    else:
        _ACTIVATE_F64(x.size * NS_PER_F64, x, bias, out, use_tanh)
