"""Shrinkage of groups of elements by their Euclidean norms."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.layer_norm import row_of

# Elements of an item, so that taking it (30 ns) is nothing.
ITEM_ELEMENTS = 4096
# Serial nanoseconds for an element from cache and for a run, for the choice between serial and parallel.
NS_PER_ELEMENT, NS_PER_RUN = 0.25, 8.0


@kernel
def squares_of(x, count):
    """Sum of the squares of ``count`` elements, in float64."""
    lanes = lanes_of(x)
    zero = simd.convert(filled(x, 0.0), simd.f64)
    a, b = zero, zero
    whole = count - count % (2 * lanes)
    for first in range(0, whole, 2 * lanes):
        at = simd.advance(x, first)
        p = simd.convert(simd.load(at, lanes), simd.f64)
        q = simd.convert(simd.load(simd.advance(at, lanes), lanes), simd.f64)
        a, b = simd.fma(p, p, a), simd.fma(q, q, b)
    for first in range(whole, count, lanes):
        p = simd.convert(simd.load_first(simd.advance(x, first), lanes, count - first), simd.f64)
        a = simd.fma(p, p, a)
    return simd.reduce_add(a + b)


@kernel
def scale_span(x, out, count, factor):
    """``count`` elements times the factor; ``out`` may be ``x``."""
    lanes = lanes_of(x)
    factors = filled(x, factor)
    whole = count - count % lanes
    for first in range(0, whole, lanes):
        simd.store(simd.advance(out, first), simd.load(simd.advance(x, first), lanes) * factors)
    if whole < count:
        value = simd.load_first(simd.advance(x, whole), lanes, count - whole) * factors
        simd.store_first(simd.advance(out, whole), value, count - whole)


@kernel
def shrink_row(row, out, starts, groups, strength, factors):
    """One row; run r of its elements, from starts[r] to starts[r + 1], belongs to groups[r]."""
    factors[:] = 0.0
    for run in range(groups.size):
        first = starts[run]
        factors[groups[run]] += squares_of(simd.advance(row, first), starts[run + 1] - first)
    for group in range(factors.size):
        norm = np.sqrt(factors[group])
        factors[group] = 0.0 if norm <= strength else 1.0 - strength / norm
    for run in range(groups.size):
        first = starts[run]
        source, target = simd.advance(row, first), simd.advance(out, first)
        scale_span(source, target, starts[run + 1] - first, factors[groups[run]])


def shrink_group_items(x, out, starts, groups, count, strength, counter):
    """Take blocks of rows until none is left; ``count`` groups a row."""
    rows, size = x.shape
    factors = np.empty(count)
    per_item = max(1, ITEM_ELEMENTS // size)
    item = next_item(counter, -1)
    while item * per_item < rows:
        for i in range(item * per_item, min((item + 1) * per_item, rows)):
            shrink_row(row_of(x, i), row_of(out, i), starts, groups, strength, factors)
        item = next_item(counter, item)


def shrink_group_parallel(body, workers, x, out, starts, groups, count, strength, counter):
    """`shrink_group_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, out, starts, groups, count, strength, counter))


def _argument_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    integers = types.Array(types.int64, 1, "C", readonly=True)
    return [read, written, integers, integers, types.int64, types.float64]


_SHRINK_F32 = SharedWork(shrink_group_items, shrink_group_parallel, _argument_types(types.float32))
_SHRINK_F64 = SharedWork(shrink_group_items, shrink_group_parallel, _argument_types(types.float64))


def shrink_groups(x, out, starts, groups, count, strength):
    """out = x * max(0, 1 - strength / norm) with the norm of the element's group in its row.

    x, out (N, D), last axis contiguous, N and D > 0: one of float32 and float64. ``out`` may be x, and no other array
    that overlaps it. starts (R + 1,) from 0 to D, ascending; groups (R,) in [0, count), int64. strength > 0.
    """
    work = _SHRINK_F32 if x.itemsize == 4 else _SHRINK_F64
    work(x.size * NS_PER_ELEMENT + x.shape[0] * groups.size * NS_PER_RUN, x, out, starts, groups, count, strength)
