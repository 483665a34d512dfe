"""Steps of Adam and of gradient descent: each array is read once and what changes is written once.

The updates of single vectors are the one place with these formulas; `fastcore.sharding` makes its steps of them, too.
"""

from typing import NamedTuple

from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.layer_norm import row_of

# Elements of an item: 20 us of work for float32, and a row longer than that is shared by threads.
ITEM_ELEMENTS = 32768
# Serial nanoseconds per byte that is read or written, for the choice between serial and parallel.
NS_PER_BYTE = 0.03


class AdamNumbers(NamedTuple):
    """What an Adam step multiplies by.

    new1 = 1 - beta1, new2 = 1 - beta2; rate = lr / (1 - beta1**t), root = 1 / sqrt(1 - beta2**t). The gradient counts
    `scale` times; `l2` times the parameter is added to it; the parameter itself counts `shrink` times.
    """

    scale: float
    l2: float
    shrink: float
    beta1: float
    new1: float
    beta2: float
    new2: float
    rate: float
    root: float
    epsilon: float


class DescentNumbers(NamedTuple):
    """What a step of gradient descent multiplies by: the gradient enters the buffer `new` times."""

    scale: float
    l2: float
    momentum: float
    new: float
    rate: float


@kernel
def adam_update(param, grad, mean, square, largest, use_largest, by):
    """Vectors after a step: param, mean, square, largest (Kingma and Ba 2015, algorithm 1)."""
    grad = grad * by.scale
    if by.l2 != 0.0:  # an infinite parameter would make it NaN
        grad = simd.fma(param, by.l2, grad)
    mean = simd.fma(mean, by.beta1, grad * by.new1)
    square = simd.fma(square, by.beta2, grad * grad * by.new2)
    bound = square
    if use_largest:
        # `maximum` passes over a NaN on its left.
        largest = simd.select(largest == largest, simd.maximum(largest, square), largest)
        bound = largest
    change = mean * by.rate / simd.fma(simd.sqrt(bound), by.root, by.epsilon)
    return param * by.shrink - change, mean, square, largest


@kernel
def descent_update(param, grad, buffer, use_buffer, is_first, nesterov, by):
    """Vectors after a step: param, buffer. In the first one the buffer, whatever it holds, becomes the gradient."""
    grad = grad * by.scale
    if by.l2 != 0.0:
        grad = simd.fma(param, by.l2, grad)
    if use_buffer:
        if is_first:
            buffer = grad
        else:
            buffer = simd.fma(buffer, by.momentum, grad * by.new)
        if nesterov:
            grad = simd.fma(buffer, by.momentum, grad)
        else:
            grad = buffer
    return param - grad * by.rate, buffer


@kernel
def adam_span(param, grad, mean, square, largest, use_largest, count, by):
    """``count`` elements of a row, by pointers; ``largest`` is not looked at where it is not used."""
    lanes = lanes_of(param)
    whole = count - count % lanes
    top = filled(param, 0.0)
    for i in range(0, whole, lanes):
        p, g = simd.load(simd.advance(param, i), lanes), simd.load(simd.advance(grad, i), lanes)
        m, v = simd.load(simd.advance(mean, i), lanes), simd.load(simd.advance(square, i), lanes)
        if use_largest:
            top = simd.load(simd.advance(largest, i), lanes)
        p, m, v, top = adam_update(p, g, m, v, top, use_largest, by)
        simd.store(simd.advance(param, i), p)
        simd.store(simd.advance(mean, i), m)
        simd.store(simd.advance(square, i), v)
        if use_largest:
            simd.store(simd.advance(largest, i), top)
    if whole < count:
        left = count - whole
        p = simd.load_first(simd.advance(param, whole), lanes, left)
        g = simd.load_first(simd.advance(grad, whole), lanes, left)
        m = simd.load_first(simd.advance(mean, whole), lanes, left)
        v = simd.load_first(simd.advance(square, whole), lanes, left)
        if use_largest:
            top = simd.load_first(simd.advance(largest, whole), lanes, left)
        p, m, v, top = adam_update(p, g, m, v, top, use_largest, by)
        simd.store_first(simd.advance(param, whole), p, left)
        simd.store_first(simd.advance(mean, whole), m, left)
        simd.store_first(simd.advance(square, whole), v, left)
        if use_largest:
            simd.store_first(simd.advance(largest, whole), top, left)


@kernel
def descent_span(param, grad, buffer, use_buffer, is_first, nesterov, count, by):
    """``count`` elements of a row, by pointers; ``buffer`` is not looked at where it is not used."""
    lanes = lanes_of(param)
    whole = count - count % lanes
    b = filled(param, 0.0)
    for i in range(0, whole, lanes):
        p, g = simd.load(simd.advance(param, i), lanes), simd.load(simd.advance(grad, i), lanes)
        if use_buffer:
            b = simd.load(simd.advance(buffer, i), lanes)
        p, b = descent_update(p, g, b, use_buffer, is_first, nesterov, by)
        simd.store(simd.advance(param, i), p)
        if use_buffer:
            simd.store(simd.advance(buffer, i), b)
    if whole < count:
        left = count - whole
        p = simd.load_first(simd.advance(param, whole), lanes, left)
        g = simd.load_first(simd.advance(grad, whole), lanes, left)
        if use_buffer:
            b = simd.load_first(simd.advance(buffer, whole), lanes, left)
        p, b = descent_update(p, g, b, use_buffer, is_first, nesterov, by)
        simd.store_first(simd.advance(param, whole), p, left)
        if use_buffer:
            simd.store_first(simd.advance(buffer, whole), b, left)


@kernel
def rows_of_item(item, rows, size):
    """(first row, row after the last, first column, columns) of an item: many short rows, or a part of a long one."""
    per_item = max(1, ITEM_ELEMENTS // size)
    spans = (size + ITEM_ELEMENTS - 1) // ITEM_ELEMENTS
    first, start = item // spans * per_item, item % spans * ITEM_ELEMENTS
    return first, min(first + per_item, rows), start, min(size - start, ITEM_ELEMENTS)


@kernel
def place(array, row, column):
    """Pointer to an element."""
    return simd.advance(row_of(array, row), column)


def adam_items(param, grad, mean, square, largest, by, counter):
    """Take blocks of up to `ITEM_ELEMENTS` until none is left; ``largest`` has no rows where none is kept."""
    rows, size = param.shape
    item = next_item(counter, -1)
    first, end, start, count = rows_of_item(item, rows, size)
    while first < rows:
        for i in range(first, end):
            pointers = place(param, i, start), place(grad, i, start), place(mean, i, start), place(square, i, start)
            adam_span(*pointers, place(largest, i, start), largest.shape[0] > 0, count, by)
        item = next_item(counter, item)
        first, end, start, count = rows_of_item(item, rows, size)


def adam_parallel(body, workers, param, grad, mean, square, largest, by, counter):
    """`adam_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (param, grad, mean, square, largest, by, counter))


def descent_items(param, grad, buffer, is_first, nesterov, by, counter):
    """Take blocks of up to `ITEM_ELEMENTS` until none is left; ``buffer`` has no rows where none is kept."""
    rows, size = param.shape
    item = next_item(counter, -1)
    first, end, start, count = rows_of_item(item, rows, size)
    while first < rows:
        for i in range(first, end):
            pointers = place(param, i, start), place(grad, i, start), place(buffer, i, start)
            descent_span(*pointers, buffer.shape[0] > 0, is_first, nesterov, count, by)
        item = next_item(counter, item)
        first, end, start, count = rows_of_item(item, rows, size)


def descent_parallel(body, workers, param, grad, buffer, is_first, nesterov, by, counter):
    """`descent_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (param, grad, buffer, is_first, nesterov, by, counter))


def _adam_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    numbers = types.NamedUniTuple(types.float64, len(AdamNumbers._fields), AdamNumbers)
    return [written, read, written, written, written, numbers]


def _descent_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    numbers = types.NamedUniTuple(types.float64, len(DescentNumbers._fields), DescentNumbers)
    return [written, read, written, types.boolean, types.boolean, numbers]


_ADAM_F32 = SharedWork(adam_items, adam_parallel, _adam_types(types.float32))
_ADAM_F64 = SharedWork(adam_items, adam_parallel, _adam_types(types.float64))
_DESCENT_F32 = SharedWork(descent_items, descent_parallel, _descent_types(types.float32))
_DESCENT_F64 = SharedWork(descent_items, descent_parallel, _descent_types(types.float64))


def adam(param, grad, mean, square, largest, by):
    """A step in place of all but grad: (N, D), last axis contiguous, N and D > 0, float32 or float64 alike.

    largest (0, D) where none is kept. No two arrays overlap.
    """
    work = _ADAM_F32 if param.itemsize == 4 else _ADAM_F64
    work((7 * param.nbytes + 2 * largest.nbytes) * NS_PER_BYTE, param, grad, mean, square, largest, by)


def descent(param, grad, buffer, is_first, nesterov, by):
    """A step in place of param and buffer: (N, D), last axis contiguous, N and D > 0, float32 or float64 alike.

    buffer (0, D) where none is kept. No two arrays overlap.
    """
    work = _DESCENT_F32 if param.itemsize == 4 else _DESCENT_F64
    work((3 * param.nbytes + 2 * buffer.nbytes) * NS_PER_BYTE, param, grad, buffer, is_first, nesterov, by)
