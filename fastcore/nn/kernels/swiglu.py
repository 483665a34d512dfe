"""SiLU of rows, optionally times another array: the gate of SwiGLU, and its derivatives."""

from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import lanes_of
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.nn.kernels.elementwise import (
    first_piece,
    is_plain_rows,
    is_streamed,
    item_elements,
    put,
    sigmoid_and_rest,
    take,
)
from fastcore.nn.kernels.layer_norm import row_of

# Serial nanoseconds an element, for the choice between serial and parallel.
NS_PER_F32, NS_PER_F64 = 0.4, 1.2


@kernel
def gate_span(gate, up, use_up, out, count, streamed):
    """``count`` elements of a row; ``out`` may be ``gate`` or ``up``."""
    lanes = lanes_of(gate)
    for first in range(0, count, lanes):
        left = count - first
        value = take(simd.advance(gate, first), left, 0.0)
        value = value * simd.sigmoid(value)
        if use_up:
            value = value * take(simd.advance(up, first), left, 0.0)
        put(simd.advance(out, first), value, left, streamed)


@kernel
def slope_span(grad, gate, up, use_up, grad_gate, grad_up, count, streamed):
    """Gradients of ``count`` elements of a row; each result may be any of the inputs.

    silu'(x) = s * (1 + x * (1 - s)), s = sigmoid(x).
    """
    lanes = lanes_of(gate)
    # Past the caches too only where its vectors begin together with those of the other result.
    streamed_up = streamed and first_piece(grad_up, count, True) == count
    for first in range(0, count, lanes):
        left = count - first
        value = take(simd.advance(gate, first), left, 0.0)
        slope = take(simd.advance(grad, first), left, 0.0)
        s, rest = sigmoid_and_rest(value)
        if use_up:
            factor = take(simd.advance(up, first), left, 0.0)
            put(simd.advance(grad_up, first), slope * (value * s), left, streamed_up)
            slope = slope * factor
        put(simd.advance(grad_gate, first), slope * (s * simd.fma(value, rest, 1.0)), left, streamed)


def gate_items(grad, gate, up, use_grad, use_up, out, grad_up, streamed, counter):
    """Take blocks of elements, of many short rows or of a part of one, until none is left.

    ``grad``, ``up`` and ``grad_up`` are not looked at where they are not used.
    """
    rows, size = gate.shape
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
                source, target = simd.advance(row_of(gate, i), first), simd.advance(row_of(out, i), first)
                factor = simd.advance(row_of(up, i), first)
                if use_grad:
                    slope, other = simd.advance(row_of(grad, i), first), simd.advance(row_of(grad_up, i), first)
                    slope_span(slope, source, factor, use_up, target, other, count, streamed)
                else:
                    gate_span(source, factor, use_up, target, count, streamed)
                first, count = first + count, stop - first - count
        item = next_item(counter, item)
    simd.stream_fence()


def gate_parallel(body, workers, grad, gate, up, use_grad, use_up, out, grad_up, streamed, counter):
    """`gate_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (grad, gate, up, use_grad, use_up, out, grad_up, streamed, counter))


def gate_small(gate, up, use_up, out):
    """Gate if everything is in order and there is not enough work for threads; whether that was so."""
    rows, size = gate.shape
    if gate.size == 0 or gate.size * NS_PER_F32 >= threads.SMALLEST_WORK_NS or up.shape != gate.shape:
        return False
    if not (is_plain_rows(gate) and is_plain_rows(up)):
        return False
    for i in range(rows):
        gate_span(row_of(gate, i), row_of(up, i), use_up, row_of(out, i), size, False)
    return True


def _argument_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    return [read, read, read, types.boolean, types.boolean, written, written, types.boolean]


def _small_signature(dtype):
    _, gate, up, _, use_up, out, *_ = _argument_types(dtype)
    return types.boolean(gate, up, use_up, out)


_GATE_F32 = SharedWork(gate_items, gate_parallel, _argument_types(types.float32))
_GATE_F64 = SharedWork(gate_items, gate_parallel, _argument_types(types.float64))
_SMALL = Direct(gate_small, _small_signature(types.float32))


def gate_if_small(gate, up, use_up, out):
    """Whether these arrays were small and in order; then ``out`` is silu(gate), times up if that is used.

    Float32 of two axes, ``out`` C-contiguous with the shape of gate; nothing else is relied on.
    """
    return _SMALL.call(gate, up, use_up, out)


# Elements that threads share.
FEWEST_SHARED = int(threads.SMALLEST_WORK_NS / NS_PER_F32)


def gate_few_backward(grad, gate, grad_gate, up=None, grad_up=None):
    """`gate_rows_backward` of less than `FEWEST_SHARED` float32, C-contiguous."""
    if up is None:
        _GATE_F32.body.call(grad, gate, gate, True, False, grad_gate, grad_gate, False, ALONE)
    else:
        _GATE_F32.body.call(grad, gate, up, True, True, grad_gate, grad_up, False, ALONE)


def gate_rows(gate, out, up=None):
    """out = silu(gate) * up, or silu(gate) where up is None; all float32 or all float64.

    gate, up, out (N, D), last axis contiguous, N and D > 0. ``out`` may be gate or up, and no other array that overlaps
    them.
    """
    work, cost = (_GATE_F32, NS_PER_F32) if gate.itemsize == 4 else (_GATE_F64, NS_PER_F64)
    use_up = up is not None
    inputs = [gate, up] if use_up else [gate]
    work(gate.size * cost, gate, gate, inputs[-1], False, use_up, out, out, is_streamed(out, inputs))


def gate_rows_backward(grad, gate, grad_gate, up=None, grad_up=None):
    """Gradients of `gate_rows`; up and grad_up are None where there is no second factor.

    Arrays as there. Each result may be any of the inputs, and overlaps nothing else.
    """
    work, cost = (_GATE_F32, NS_PER_F32) if gate.itemsize == 4 else (_GATE_F64, NS_PER_F64)
    use_up = up is not None
    inputs = [grad, gate, up] if use_up else [grad, gate]
    results = [grad_gate, grad_up] if use_up else [grad_gate]
    streamed = all(is_streamed(result, inputs) for result in results)
    work(1.5 * gate.size * cost, grad, gate, inputs[-1], True, use_up, grad_gate, results[-1], streamed)
