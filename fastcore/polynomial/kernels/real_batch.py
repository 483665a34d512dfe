"""Real roots of many polynomials: chunks of them to threads, found roots side by side, then a record with padding.

How many columns the record has is known when all roots are found. Until then a chunk's roots lie one after another,
from wherever the chunks before ended: memory is written for roots that exist, twice.
"""

import math

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.bernstein import (
    HIGHEST,
    LANES,
    LOWEST,
    fill_tables,
    halve_pieces,
    load_lanes,
    mark,
    start_pieces,
)
from fastcore.polynomial.kernels.bernstein_refine import refine
from fastcore.polynomial.kernels.real_single import SCRATCH_ROWS, real_roots_of_one, scratch_columns

__all__ = ["CHUNK", "real_roots_of_rows"]

CHUNK = 128  # polynomials
# Serial nanoseconds: of a polynomial, for each coefficient squared; of a slot of the record.
NS_PER_COEFFICIENT_SQUARED = 80.0
NS_PER_SLOT = 4.0
# Where there is no root: in place of the first one's status.
FATES = (status.NO_REAL_SOLUTION, status.ZERO_POLYNOMIAL, status.NOT_FINITE)


@kernel
def reserve(cursor, size):
    return threads.atomic_add(cursor, 0, size)


@kernel(fastmath=False)
def roots_by_lanes(c, first, count, degree, table, coefficients, pieces, stack, roots, answers, integers):
    """(answers, their number) of the polynomials `first` to first + count, in no order; `bad` ones are to be redone.

    integers : (shifts, stack_codes, root_codes, sizes, columns, bad); columns[i] is negative where answer i is none
    """
    shifts, stack_codes, root_codes, sizes, columns, bad = integers
    sizes[:] = 0
    bad[:] = 0
    lanes = simd.iota_i64(LANES)
    for column in range(0, count, LANES):
        here = lanes < count - column
        fits = load_lanes(c, first + column, count - column, degree, column, CHUNK, coefficients, shifts)
        if not simd.all_lanes(fits):
            mark(here & ~fits, (lanes + column) << 2, bad)
        start_pieces(
            coefficients, table, degree, column, CHUNK, here & fits, pieces, stack, stack_codes, roots, root_codes,
            sizes, bad,
        )  # fmt: skip
    halve_pieces(degree, pieces, stack, stack_codes, roots, root_codes, sizes, bad)
    found = 0
    for side in range(2):
        found = refine(
            coefficients, shifts, CHUNK, degree, roots[side], root_codes[side], sizes[side], side == 1, pieces, answers,
            columns, found, bad,
        )  # fmt: skip
    return found


@kernel(fastmath=False)
def put_in_order(x, residual, radius, evaluations, kinds, count, answer):
    """Insert an answer (4,) of `roots_by_lanes` among the `count` there are."""
    j = count
    while j > 0 and x[j - 1] > answer[0]:
        x[j], residual[j], radius[j] = x[j - 1], residual[j - 1], radius[j - 1]
        evaluations[j] = evaluations[j - 1]
        j -= 1
    x[j], residual[j], radius[j], evaluations[j] = answer[0], answer[1], answer[2], np.int64(answer[3])
    kinds[count] = status.CONVERGED


@kernel(fastmath=False)
def collect(answers, columns, found, bad, low_end, high_end, counts):
    """counts (CHUNK,): answers in the domain of each polynomial that is not bad; those out of it become negative."""
    counts[:] = 0
    for i in range(found):
        column = columns[i]
        if column >= 0:
            if bad[column] == 0 and low_end <= answers[0, i] <= high_end:
                counts[column] += 1
            else:
                columns[i] = -1


def find_items(c, low_end, high_end, roots, kinds, starts, counts, cursor, counter):
    """Roots of chunk after chunk.

    c (M, n); roots (3, M * n): x, residual, radius; kinds (2, M * n): evaluations, status; starts (chunks,): a chunk's
    first root; counts (M,), -1 of zero and -2 where c is not finite; cursor (1,): the roots so far
    """
    size = c.shape[1]
    degree = max(size - 1, 1)
    by_lanes = LOWEST <= degree <= HIGHEST
    width = scratch_columns(degree)
    tables, rows = np.empty((2, degree, size)), np.empty((SCRATCH_ROWS, width))
    integers = np.empty((2, width), np.int64)
    own, own_kinds = np.empty((3, CHUNK * size)), np.empty((2, CHUNK * size), np.int64)
    room = CHUNK * size if by_lanes else 0
    capacity = room + 2 * LANES
    table, coefficients = np.empty((2, degree + 1, degree + 2)), np.empty((degree + 3, CHUNK + LANES))
    pieces, stack = np.empty(4 * size * LANES), np.empty((degree + 3, capacity))
    lists, answers = np.empty((2, 4, capacity)), np.empty((4, capacity))
    shifts, stack_codes, root_codes = (
        np.empty(2 * CHUNK + LANES, np.int64),
        np.empty(capacity, np.int64),
        np.empty((2, capacity), np.int64),
    )
    sizes, columns, bad = np.empty(3, np.int64), np.empty(capacity, np.int64), np.ones(CHUNK + LANES, np.int64)
    places = np.zeros(CHUNK, np.int64)
    good = np.zeros(CHUNK, np.int64)
    if by_lanes:
        fill_tables(degree, table)
    chunk = next_item(counter, -1)
    while chunk < starts.size:
        first = chunk * CHUNK
        count = min(CHUNK, c.shape[0] - first)
        found = 0
        if by_lanes:
            found = roots_by_lanes(
                c, first, count, degree, table, coefficients, pieces, stack, lists, answers,
                (shifts, stack_codes, root_codes, sizes, columns, bad),
            )  # fmt: skip
            collect(answers, columns, found, bad, low_end, high_end, good)
        total = 0
        for i in range(count):
            places[i] = total
            if bad[i]:
                counts[first + i] = real_roots_of_one(
                    c[first + i], low_end, high_end, tables, rows, integers,
                    own[0, total:], own[1, total:], own[2, total:], own_kinds[0, total:], own_kinds[1, total:],
                )  # fmt: skip
            else:
                counts[first + i] = good[i]
                good[i] = 0
            total += max(counts[first + i], 0)
        for i in range(found):
            column = columns[i]
            if column >= 0:
                place = places[column]
                put_in_order(
                    own[0, place:], own[1, place:], own[2, place:], own_kinds[0, place:], own_kinds[1, place:],
                    good[column], answers[:, i],
                )  # fmt: skip
                good[column] += 1
        start = reserve(cursor, total)
        starts[chunk] = start
        for row in range(3):
            roots[row, start : start + total] = own[row, :total]
        for row in range(2):
            target = kinds[row]
            for i in range(total):
                target[start + i] = own_kinds[row, i]
        chunk = next_item(counter, chunk)


def find_parallel(body, workers, c, low_end, high_end, roots, kinds, starts, counts, cursor, counter):
    for _ in prange(workers):
        call_by_address(body, (c, low_end, high_end, roots, kinds, starts, counts, cursor, counter))


def write_items(roots, kinds, starts, counts, floats, evaluations, statuses, converged, counter):
    """floats (3, M, K), evaluations, statuses, converged (M, K): the record; fates become counts of 0."""
    columns = statuses.shape[1]
    chunk = next_item(counter, -1)
    while chunk < starts.size:
        place = starts[chunk]
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, counts.size)):
            count = max(counts[i], 0)
            for k in range(count):
                floats[0, i, k], floats[1, i, k] = roots[0, place + k], roots[1, place + k]
                floats[2, i, k] = roots[2, place + k]
                kind = kinds[1, place + k]
                evaluations[i, k], statuses[i, k] = kinds[0, place + k], kind
                converged[i, k] = kind == status.CONVERGED or kind == status.TOUCHING
            for k in range(count, columns):
                floats[0, i, k] = floats[1, i, k] = floats[2, i, k] = math.nan
                evaluations[i, k], statuses[i, k], converged[i, k] = 0, status.NO_REAL_SOLUTION, False
            if counts[i] < 0:
                statuses[i, 0] = FATES[-counts[i]]
                counts[i] = 0
            place += count
        chunk = next_item(counter, chunk)


def write_parallel(body, workers, roots, kinds, starts, counts, floats, evaluations, statuses, converged, counter):
    for _ in prange(workers):
        call_by_address(body, (roots, kinds, starts, counts, floats, evaluations, statuses, converged, counter))


_F64, _I64 = types.float64, types.int64
_FLOATS, _KINDS, _INTEGERS = types.Array(_F64, 2, "C"), types.Array(types.int16, 2, "C"), types.Array(_I64, 1, "C")
_FIND = SharedWork(
    find_items,
    find_parallel,
    [types.Array(_F64, 2, "C", readonly=True), _F64, _F64, _FLOATS, _KINDS, _INTEGERS, _INTEGERS, _INTEGERS],
)
_WRITE = SharedWork(
    write_items,
    write_parallel,
    [
        _FLOATS, _KINDS, _INTEGERS, _INTEGERS,
        types.Array(_F64, 3, "C"), _KINDS, types.Array(types.int8, 2, "C"), types.Array(types.boolean, 2, "C"),
    ],
)  # fmt: skip


def real_roots_of_rows(c: np.ndarray, low_end: float, high_end: float) -> tuple[np.ndarray, ...]:
    """(x, residual, radius, evaluations, statuses, converged), each (M, K), and counts (M,), of c (M, n) in C order."""
    rows, size = c.shape
    roots, kinds = np.empty((3, rows * size)), np.empty((2, rows * size), np.int16)
    starts, counts = np.empty(-(-rows // CHUNK), np.int64), np.empty(rows, np.int64)
    cursor = np.zeros(1, np.int64)
    _FIND(NS_PER_COEFFICIENT_SQUARED * c.size * size, c, low_end, high_end, roots, kinds, starts, counts, cursor)
    columns = max(int(counts.max(initial=1)), 1)
    floats, evaluations = np.empty((3, rows, columns)), np.empty((rows, columns), np.int16)
    statuses, converged = np.empty((rows, columns), np.int8), np.empty((rows, columns), np.bool_)
    _WRITE(NS_PER_SLOT * statuses.size, roots, kinds, starts, counts, floats, evaluations, statuses, converged)
    return floats[0], floats[1], floats[2], evaluations, statuses, converged, counts
