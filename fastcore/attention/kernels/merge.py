"""Merging of two attention states, row by row."""

import math

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.attention.kernels.forward import row_pointer

# Serial cost of a row (two exp, a log) and of one of its elements (three streams through memory), for the choice
# between serial and parallel.
ROW_NS, ELEMENT_NS = 30.0, 0.5


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


def merge_serial(out_a, lse_a, out_b, lse_b, out, lse):
    """All rows in this thread."""
    merge_rows(out_a, lse_a, out_b, lse_b, out, lse, 0, lse.size)


def merge_parallel(out_a, lse_a, out_b, lse_b, out, lse, workers):
    """The same by ``workers`` threads, four equal slices each: rows cost the same, so slices need no counter."""
    rows = lse.size
    slices = 4 * workers
    for s in prange(slices):
        merge_rows(out_a, lse_a, out_b, lse_b, out, lse, s * rows // slices, (s + 1) * rows // slices)


def _signature(dtype, *more):
    read = types.Array(dtype, 4, "A", readonly=True)
    write = types.Array(dtype, 4, "A")
    return types.void(read, read, read, read, write, write, *more)


_SERIAL = {
    np.dtype("f4"): kernel(signature=_signature(types.float32))(merge_serial),
    np.dtype("f8"): kernel(signature=_signature(types.float64))(merge_serial),
}
_PARALLEL = {
    np.dtype("f4"): kernel(signature=_signature(types.float32, types.int64), parallel=True)(merge_parallel),
    np.dtype("f8"): kernel(signature=_signature(types.float64, types.int64), parallel=True)(merge_parallel),
}


def merge_states(out_a, lse_a, out_b, lse_b, out, lse):
    """Merge validated states: out_a, out_b, out (B, H, L, Dv), last axis contiguous; lse_a, lse_b, lse (B, H, L, 1)."""
    dtype = out.dtype
    workers = threads.begin(lse.size * ROW_NS + out.size * ELEMENT_NS)
    if workers == 1:
        _SERIAL[dtype](out_a, lse_a, out_b, lse_b, out, lse)
        return
    try:
        _PARALLEL[dtype](out_a, lse_a, out_b, lse_b, out, lse, workers)
    finally:
        threads.end()
