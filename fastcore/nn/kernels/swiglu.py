"""SiLU of rows, optionally times another array: the gate of SwiGLU."""

from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import lanes_of
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.nn.kernels.layer_norm import row_of

# Elements of an item: 1.5 us of work for float32, and a row longer than that is shared by threads.
ITEM_ELEMENTS = 4096
# Serial nanoseconds an element, for the choice between serial and parallel.
NS_PER_F32, NS_PER_F64 = 0.4, 1.2


@kernel
def gate_span(gate, up, use_up, out, count):
    """``count`` elements of a row; ``out`` may be ``gate`` or ``up``."""
    lanes = lanes_of(gate)
    for first in range(0, count, lanes):
        left = min(count - first, lanes)
        value = simd.load_first(simd.advance(gate, first), lanes, left)
        value = value * simd.sigmoid(value)
        if use_up:
            value = value * simd.load_first(simd.advance(up, first), lanes, left)
        simd.store_first(simd.advance(out, first), value, left)


def gate_items(gate, up, use_up, out, counter):
    """Take blocks of up to `ITEM_ELEMENTS`, of many short rows or of a part of one, until none is left.

    ``up`` is not looked at where it is not used.
    """
    rows, size = gate.shape
    per_item = max(1, ITEM_ELEMENTS // size)
    spans = (size + ITEM_ELEMENTS - 1) // ITEM_ELEMENTS
    item = next_item(counter, -1)
    while item // spans * per_item < rows:
        start = item % spans * ITEM_ELEMENTS
        count = min(size - start, ITEM_ELEMENTS)
        for i in range(item // spans * per_item, min((item // spans + 1) * per_item, rows)):
            source, target = simd.advance(row_of(gate, i), start), simd.advance(row_of(out, i), start)
            gate_span(source, simd.advance(row_of(up, i), start), use_up, target, count)
        item = next_item(counter, item)


def gate_parallel(body, workers, gate, up, use_up, out, counter):
    """`gate_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (gate, up, use_up, out, counter))


@kernel
def is_plain_rows(array):
    """Whether rows can be read in place: contiguous elements, all addresses multiples of the element's size."""
    itemsize = array.itemsize
    return array.ctypes.data % itemsize + array.strides[0] % itemsize == 0 and array.strides[1] == itemsize


def gate_small(gate, up, out):
    """Gate if everything is in order and there is not enough work for threads; whether that was so."""
    rows, size = gate.shape
    if gate.size == 0 or gate.size * NS_PER_F32 >= threads.SMALLEST_WORK_NS or up.shape != gate.shape:
        return False
    if not (is_plain_rows(gate) and is_plain_rows(up)):
        return False
    for i in range(rows):
        gate_span(row_of(gate, i), row_of(up, i), True, row_of(out, i), size)
    return True


def _arrays(dtype):
    read = types.Array(dtype, 2, "A", readonly=True)
    return read, read, types.Array(dtype, 2, "A")


def _argument_types(dtype):
    gate, up, out = _arrays(dtype)
    return [gate, up, types.boolean, out]


_GATE_F32 = SharedWork(gate_items, gate_parallel, _argument_types(types.float32))
_GATE_F64 = SharedWork(gate_items, gate_parallel, _argument_types(types.float64))
_SMALL = Direct(gate_small, types.boolean(*_arrays(types.float32)))


def gate_if_small(gate, up, out):
    """Whether these arrays were small and in order; then ``out`` is silu(gate) * up.

    Float32 of two axes, ``out`` C-contiguous with the shape of gate; nothing else is relied on.
    """
    return _SMALL.call(gate, up, out)


def gate_rows(gate, up, out):
    """out = silu(gate) * up, or silu(gate) where up is None; all float32 or all float64.

    gate, up, out (N, D), last axis contiguous, N and D > 0. ``out`` may be gate or up, and no other array that overlaps
    them.
    """
    work, cost = (_GATE_F32, NS_PER_F32) if gate.itemsize == 4 else (_GATE_F64, NS_PER_F64)
    work(gate.size * cost, gate, gate if up is None else up, up is not None, out)
