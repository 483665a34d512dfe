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
# Columns of an item where the elements of a group lie below each other: 1 KiB of each row of float32.
ITEM_COLUMNS = 256
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
def factor_of(squares, strength):
    """What a group is multiplied by, of the sum of its squares."""
    norm = np.sqrt(squares)
    return 0.0 if norm <= strength else 1.0 - strength / norm


@kernel
def shrink_row(row, out, starts, groups, strength, factors):
    """One row; run r of its elements, from starts[r] to starts[r + 1], belongs to groups[r]."""
    factors[:] = 0.0
    for run in range(groups.size):
        first = starts[run]
        factors[groups[run]] += squares_of(simd.advance(row, first), starts[run + 1] - first)
    for group in range(factors.size):
        factors[group] = factor_of(factors[group], strength)
    for run in range(groups.size):
        first = starts[run]
        source, target = simd.advance(row, first), simd.advance(out, first)
        scale_span(source, target, starts[run + 1] - first, factors[groups[run]])


@kernel
def add_squares(x, sums, count):
    """sums += x**2 for ``count`` elements, sums in float64."""
    lanes = lanes_of(x)
    for first in range(0, count, lanes):
        value = simd.convert(simd.load_first(simd.advance(x, first), lanes, count - first), simd.f64)
        at = simd.advance(sums, first)
        simd.store(at, simd.fma(value, value, simd.load(at, lanes)))


@kernel
def multiply_span(x, factors, out, dtype, count):
    """out = x * factors for ``count`` elements, factors in float64; ``out`` may be ``x``."""
    lanes = lanes_of(x)
    for first in range(0, count, lanes):
        factor = simd.convert(simd.load(simd.advance(factors, first), lanes), dtype)
        value = simd.load_first(simd.advance(x, first), lanes, count - first) * factor
        simd.store_first(simd.advance(out, first), value, count - first)


@kernel
def shrink_columns(x, out, first_row, first, count, starts, groups, strength, factors, width):
    """``count`` columns from ``first`` of a block of rows; run r of the rows belongs to groups[r].

    factors (G * width,): a row for each group.
    """
    factors[:] = 0.0
    for run in range(groups.size):
        sums = simd.advance(simd.pointer(factors), groups[run] * width)
        for i in range(first_row + starts[run], first_row + starts[run + 1]):
            add_squares(simd.advance(row_of(x, i), first), sums, count)
    for i in range(factors.size):
        factors[i] = factor_of(factors[i], strength)
    for run in range(groups.size):
        factor = simd.advance(simd.pointer(factors), groups[run] * width)
        for i in range(first_row + starts[run], first_row + starts[run + 1]):
            source, target = simd.advance(row_of(x, i), first), simd.advance(row_of(out, i), first)
            multiply_span(source, factor, target, x.dtype, count)


@kernel
def shrink_within_rows(x, out, starts, groups, count, strength, counter):
    """Take blocks of rows until none is left; ``count`` groups a row."""
    rows, size = x.shape
    factors = np.empty(count)
    per_item = max(1, ITEM_ELEMENTS // size)
    item = next_item(counter, -1)
    while item * per_item < rows:
        for i in range(item * per_item, min((item + 1) * per_item, rows)):
            shrink_row(row_of(x, i), row_of(out, i), starts, groups, strength, factors)
        item = next_item(counter, item)


def shrink_group_items(x, out, starts, groups, count, is_down, strength, counter):
    """Take rows, or blocks of columns where groups go down them (``is_down``), until none is left."""
    if not is_down:
        shrink_within_rows(x, out, starts, groups, count, strength, counter)
        return
    rows, size = x.shape
    height = starts[groups.size]
    lanes = lanes_of(simd.pointer(x))
    width = min(ITEM_COLUMNS, (size + lanes - 1) // lanes * lanes)
    factors = np.empty(count * width)
    blocks = (size + width - 1) // width
    item = next_item(counter, -1)
    while item // blocks * height < rows:
        first = item % blocks * width
        columns = min(size - first, width)
        shrink_columns(x, out, item // blocks * height, first, columns, starts, groups, strength, factors, width)
        item = next_item(counter, item)


def shrink_group_parallel(body, workers, x, out, starts, groups, count, is_down, strength, counter):
    """`shrink_group_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, out, starts, groups, count, is_down, strength, counter))


def _argument_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    integers = types.Array(types.int64, 1, "C", readonly=True)
    return [read, written, integers, integers, types.int64, types.boolean, types.float64]


_SHRINK_F32 = SharedWork(shrink_group_items, shrink_group_parallel, _argument_types(types.float32))
_SHRINK_F64 = SharedWork(shrink_group_items, shrink_group_parallel, _argument_types(types.float64))


def shrink_groups(x, out, starts, groups, count, is_down, strength):
    """out = x * max(0, 1 - strength / norm) with the norm of the element's group.

    x, out (N, D), last axis contiguous, N and D > 0: one of float32 and float64. ``out`` may be x, and no other array
    that overlaps it. starts (R + 1,) from 0, ascending; groups (R,) in [0, count), int64; strength > 0. Elements
    starts[r] to starts[r + 1] of a row belong to groups[r], starts[R] = D; with ``is_down`` of a column of a block of
    starts[R] rows.
    """
    work = _SHRINK_F32 if x.itemsize == 4 else _SHRINK_F64
    runs = groups.size * (x.size // starts[-1] if not is_down else 0)
    work(x.size * NS_PER_ELEMENT + runs * NS_PER_RUN, x, out, starts, groups, count, is_down, strength)
