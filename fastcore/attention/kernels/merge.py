"""Merging of two attention states, row by row."""

import math

from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.attention.kernels.options import row_pointer

# Serial cost of a row (two exp, a log) and of one of its elements (three streams through memory), for the choice
# between serial and parallel.
ROW_NS, ELEMENT_NS = 30.0, 0.5
# Elements an item should have, 2 us, so that taking it (30 ns) is nothing; a row costs as much as ROW_ELEMENTS more.
ITEM_ELEMENTS, ROW_ELEMENTS = 4096, 60


@kernel
def blend_row(out, a, share_a, b, share_b, size):
    """out = share_a * a + share_b * b; a side whose share is 0 is not read, so a NaN there stays there."""
    lanes = lanes_of(out)
    zero = filled(out, 0.0)
    for first in range(0, size, lanes):
        count = min(size - first, lanes)
        mixed = zero
        if share_a != 0.0:
            mixed = simd.load_first(simd.advance(a, first), lanes, count) * share_a
        if share_b != 0.0:
            mixed = mixed + simd.load_first(simd.advance(b, first), lanes, count) * share_b
        simd.store_first(simd.advance(out, first), mixed, count)


@kernel
def merge_rows(out_a, lse_a, out_b, lse_b, out, lse, first, last):
    """Rows [first, last) of the B * H * L rows; the lse arrays are (B, H, L, 1)."""
    _, heads, queries, size = out.shape
    for row in range(first, last):
        i = row % queries
        head = row // queries % heads
        batch = row // (queries * heads)
        at_a, at_b = lse_a[batch, head, i, 0], lse_b[batch, head, i, 0]
        highest = at_a if at_a > at_b or at_a != at_a else at_b
        total = lse.dtype.type(0.0)
        weight_a, weight_b = total, total
        if highest != -math.inf:
            weight_a, weight_b = math.exp(at_a - highest), math.exp(at_b - highest)
            total = weight_a + weight_b
            weight_a, weight_b = weight_a / total, weight_b / total
        lse[batch, head, i, 0] = highest + math.log(total) if total > 0.0 or total != total else highest
        a, b = row_pointer(out_a, batch, head, i), row_pointer(out_b, batch, head, i)
        blend_row(row_pointer(out, batch, head, i), a, weight_a, b, weight_b, size)


def merge_items(out_a, lse_a, out_b, lse_b, out, lse, counter):
    """Take blocks of rows until none is left."""
    rows = lse.size
    per_item = 1 + ITEM_ELEMENTS // (out.shape[3] + ROW_ELEMENTS)
    item = next_item(counter, -1)
    while item * per_item < rows:
        merge_rows(out_a, lse_a, out_b, lse_b, out, lse, item * per_item, min((item + 1) * per_item, rows))
        item = next_item(counter, item)


def merge_parallel(body, workers, out_a, lse_a, out_b, lse_b, out, lse, counter):
    """`merge_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (out_a, lse_a, out_b, lse_b, out, lse, counter))


def _argument_types(dtype):
    read = types.Array(dtype, 4, "A", readonly=True)
    write = types.Array(dtype, 4, "A")
    return [read, read, read, read, write, write]


_MERGE_F32 = SharedWork(merge_items, merge_parallel, _argument_types(types.float32))
_MERGE_F64 = SharedWork(merge_items, merge_parallel, _argument_types(types.float64))


def merge_states(out_a, lse_a, out_b, lse_b, out, lse):
    """Merge validated states: out_a, out_b, out (B, H, L, Dv), last axis contiguous; lse_a, lse_b, lse (B, H, L, 1)."""
    work = _MERGE_F32 if out.itemsize == 4 else _MERGE_F64
    work(lse.size * ROW_NS + out.size * ELEMENT_NS, out_a, lse_a, out_b, lse_b, out, lse)
