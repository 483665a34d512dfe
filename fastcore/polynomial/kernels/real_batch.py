"""Real roots of many polynomials: chunks of them to threads, found roots side by side, then a record with padding.

How many columns the record has is known when all roots are found. Until then a chunk's roots lie one after another,
in no order, from wherever the chunks before ended.
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
from fastcore.polynomial.kernels.bernstein_refine import WIDE, refine
from fastcore.polynomial.kernels.real_single import SCRATCH_ROWS, real_roots_of_one, scratch_columns

__all__ = ["CHUNK", "real_roots_of_rows"]

CHUNK = 128  # polynomials
# Serial nanoseconds, measured: of a polynomial by lanes, for each coefficient; by the chain, for each one squared; of a
# slot of the record.
NS_BY_LANES = 20.0
NS_BY_CHAIN = 80.0
NS_PER_SLOT = 3.0
# Roots that memory is taken for without asking how many there are; polynomials asked.
LARGEST_ROOM, SAMPLE = 1 << 18, 256
# Where there is no root: in place of the first one's status.
FATES = (status.NO_REAL_SOLUTION, status.ZERO_POLYNOMIAL, status.NOT_FINITE)
# The integer beside a root: evaluations (at most 250), status, column in the chunk.
STATUS_SHIFT, COLUMN_SHIFT = 8, 12


@kernel
def reserve(cursor, size):
    return threads.atomic_add(cursor, 0, size)


@kernel(fastmath=False)
def roots_by_lanes(c, first, count, columns, degree, capacity, floats, owners, shifts, bad_and_scratch):
    """The number of answers for `count` polynomials from `first` on, in no order; those in `bad` are to be redone.

    columns : the distance of rows of one value a polynomial
    floats : (table, coefficients, pieces, stack, roots, answers), `capacity` a row of the last three
    owners (capacity,) : the column of each answer, negative where that is bad
    bad_and_scratch : LANES of scratch, then int64 for each column
    """
    # The caller holds the arrays: pointers do not.
    table, coefficients, pieces = simd.pointer(floats[0]), simd.pointer(floats[1]), simd.pointer(floats[2])
    stack, roots, answers = simd.pointer(floats[3]), simd.pointer(floats[4]), simd.pointer(floats[5])
    own, units = simd.pointer(owners), simd.pointer(shifts)
    rows = simd.advance(simd.pointer(c), first * (degree + 1))
    bad = simd.advance(simd.pointer(bad_and_scratch), LANES)
    lanes = simd.iota_i64(LANES)
    for column in range(0, count, LANES):
        simd.store(simd.advance(bad, column), simd.broadcast(0, LANES, types.int64))
        some = simd.advance(rows, column * (degree + 1))
        fits = load_lanes(some, count - column, degree, column, columns, coefficients, units)
        if not simd.all_lanes(fits):
            mark((lanes < count - column) & ~fits, (lanes + column) << 2, bad)
    found = np.int64(0)  # of one type from the start: the bodies called with it compile once
    for side in range(2):
        waiting, isolated = start_pieces(
            coefficients, table, side, degree, count, columns, pieces, stack, roots, capacity, bad
        )
        isolated = halve_pieces(degree, pieces, stack, roots, capacity, bad, waiting, isolated)
        found = refine(
            coefficients, units, columns, degree, roots, capacity, isolated, side == 1, pieces, answers, own,
            found, bad,
        )  # fmt: skip
    return found


@kernel(fastmath=False)
def keep_answers(answers, owners, found, bad, low_end, high_end, counts, notes):
    """Close the ranks of the answers that are good and in the domain; how many they are.

    counts (count,): answers of each polynomial; notes: the integers beside them
    """
    kept = np.int64(0)
    for i in range(found):
        column = owners[i]
        x = answers[0, i]
        if column >= 0 and bad[column] == 0 and low_end <= x <= high_end:
            answers[0, kept], answers[1, kept], answers[2, kept] = x, answers[1, i], answers[2, i]
            notes[kept] = (column << COLUMN_SHIFT) + (status.CONVERGED << STATUS_SHIFT) + np.int64(answers[3, i])
            counts[column] += 1
            kept += 1
    return kept


@kernel(fastmath=False)
def solve_singly(c, first, bad, low_end, high_end, counts, answers, notes, kept):
    """Redo the bad ones of a chunk, behind the answers kept; how many there are then."""
    size = c.shape[1]
    degree = max(size - 1, 1)
    width = scratch_columns(degree)
    tables, rows = np.empty((2, degree, size)), np.empty((SCRATCH_ROWS, width))
    integers = np.empty((4, width), np.int64)
    for i in range(counts.size):
        if bad[i]:
            counts[i] = real_roots_of_one(
                c[first + i], low_end, high_end, tables, rows, integers[:2],
                answers[0, kept:], answers[1, kept:], answers[2, kept:], integers[2], integers[3],
            )  # fmt: skip
            for k in range(max(counts[i], 0)):
                notes[kept] = (i << COLUMN_SHIFT) + (integers[3, k] << STATUS_SHIFT) + integers[2, k]
                kept += 1
    return kept


def find_items(c, low_end, high_end, roots, notes, starts, counts, cursor, counter):
    """Roots of chunk after chunk.

    c (M, n); roots (3, R): x, residual, radius; notes (R,): the integers beside them; starts (chunks,): a chunk's first
    root; counts (M,), -1 of zero and -2 where c is not finite; cursor (1,): the roots so far, those included for which
    R is too small and which are lost
    """
    size = c.shape[1]
    degree = max(size - 1, 1)
    by_lanes = LOWEST <= degree <= HIGHEST
    columns = min(CHUNK, -(-c.shape[0] // LANES) * LANES)
    room = columns * size + WIDE
    answers, own_notes, owners = np.empty((4, room)), np.empty(room, np.int64), np.empty(room, np.int64)
    capacity = room if by_lanes else 0
    stack, roots_found = np.empty((degree + 5) * capacity), np.empty(4 * capacity)
    table = np.empty((2, degree + 1, degree + 2))
    coefficients, pieces = np.empty((degree + 3) * columns), np.empty(2 * size * WIDE)
    marks, shifts = np.ones(columns + LANES, np.int64), np.empty(2 * columns, np.int64)
    bad = marks[LANES:]
    floats = (table, coefficients, pieces, stack, roots_found, answers)
    if by_lanes:
        fill_tables(degree, table)
    chunk = next_item(counter, -1)
    while chunk < starts.size:
        first = chunk * CHUNK
        count = min(CHUNK, c.shape[0] - first)
        own_counts = counts[first : first + count]
        for i in range(count):
            own_counts[i] = 0
        kept = np.int64(0)
        if by_lanes:
            found = roots_by_lanes(c, first, count, columns, degree, capacity, floats, owners, shifts, marks)
            kept = keep_answers(answers, owners, found, bad, low_end, high_end, own_counts, own_notes)
        any_bad = False
        for i in range(count):
            any_bad |= bad[i] != 0
        if any_bad:
            kept = solve_singly(c, first, bad, low_end, high_end, own_counts, answers, own_notes, kept)
        start = reserve(cursor, kept)
        starts[chunk] = start
        if start + kept <= notes.size:
            # Loops: assigned by slices, messages about their shapes are compiled, for 2 s.
            for row in range(3):
                source, target = answers[row], roots[row, start:]
                for i in range(kept):
                    target[i] = source[i]
            targets = notes[start:]
            for i in range(kept):
                targets[i] = own_notes[i]
        chunk = next_item(counter, chunk)


def find_parallel(body, workers, c, low_end, high_end, roots, notes, starts, counts, cursor, counter):
    for _ in prange(workers):
        call_by_address(body, (c, low_end, high_end, roots, notes, starts, counts, cursor, counter))


def write_items(roots, notes, starts, counts, floats, evaluations, statuses, converged, counter):
    """floats (3, M, K), evaluations, statuses, converged (M, K): the record; fates become counts of 0.

    A chunk's roots are read in the order they lie in, put to their polynomials, and there in order.
    """
    width = statuses.shape[1]
    xs, residuals, radii = floats[0].reshape(-1), floats[1].reshape(-1), floats[2].reshape(-1)
    flat_evaluations, flat_statuses = evaluations.reshape(-1), statuses.reshape(-1)
    flat_converged = converged.reshape(-1)
    done, own_notes = np.empty(CHUNK, np.int64), np.empty(CHUNK * width, np.int64)
    own_xs, own_residuals, own_radii = np.empty(CHUNK * width), np.empty(CHUNK * width), np.empty(CHUNK * width)
    chunk = next_item(counter, -1)
    while chunk < starts.size:
        first = chunk * CHUNK
        last = min(first + CHUNK, counts.size)
        low, high = first * width, last * width
        for i in range(low, high):
            xs[i] = residuals[i] = radii[i] = math.nan
            flat_evaluations[i], flat_statuses[i], flat_converged[i] = 0, status.NO_REAL_SOLUTION, False
        total = 0
        for i in range(first, last):
            done[i - first] = 0
            total += max(counts[i], 0)
        for place in range(starts[chunk], starts[chunk] + total):
            note = np.int64(notes[place])
            column = note >> COLUMN_SHIFT
            slot = column * width + done[column]
            done[column] += 1
            own_xs[slot], own_residuals[slot], own_radii[slot] = roots[0, place], roots[1, place], roots[2, place]
            own_notes[slot] = note
        for i in range(first, last):
            slot = (i - first) * width
            end = slot + done[i - first]
            for k in range(slot, end):
                x = own_xs[k]
                # Its rank, without branches: these would be guessed wrong.
                target = i * width
                for j in range(slot, end):
                    target += np.int64((own_xs[j] < x) | ((own_xs[j] == x) & (j < k)))
                xs[target], residuals[target], radii[target] = x, own_residuals[k], own_radii[k]
                kind = own_notes[k] >> STATUS_SHIFT & 15
                flat_evaluations[target], flat_statuses[target] = own_notes[k] & 255, kind
                flat_converged[target] = (kind == status.CONVERGED) | (kind == status.TOUCHING)
            if counts[i] < 0:
                statuses[i, 0] = FATES[-counts[i]]
                counts[i] = 0
        chunk = next_item(counter, chunk)


def write_parallel(body, workers, roots, notes, starts, counts, floats, evaluations, statuses, converged, counter):
    for _ in prange(workers):
        call_by_address(body, (roots, notes, starts, counts, floats, evaluations, statuses, converged, counter))


_F64, _I64 = types.float64, types.int64
_FLOATS, _NOTES, _INTEGERS = types.Array(_F64, 2, "C"), types.Array(types.int32, 1, "C"), types.Array(_I64, 1, "C")
_FIND = SharedWork(
    find_items,
    find_parallel,
    [types.Array(_F64, 2, "C", readonly=True), _F64, _F64, _FLOATS, _NOTES, _INTEGERS, _INTEGERS, _INTEGERS],
)
_WRITE = SharedWork(
    write_items,
    write_parallel,
    [
        _FLOATS, _NOTES, _INTEGERS, _INTEGERS, types.Array(_F64, 3, "C"),
        types.Array(types.int16, 2, "C"), types.Array(types.int8, 2, "C"), types.Array(types.boolean, 2, "C"),
    ],
)  # fmt: skip


def _find(c: np.ndarray, low_end: float, high_end: float, room: int) -> tuple[np.ndarray, ...]:
    """(roots, notes, starts, counts); once more, with room for all that could be, where there are more than `room`."""
    rows, size = c.shape
    roots, notes = np.empty((3, room)), np.empty(room, np.int32)
    starts, counts, cursor = np.empty(-(-rows // CHUNK), np.int64), np.empty(rows, np.int64), np.zeros(1, np.int64)
    work = c.size * (NS_BY_LANES if LOWEST < size <= HIGHEST + 1 else NS_BY_CHAIN * size)
    _FIND(work, c, low_end, high_end, roots, notes, starts, counts, cursor)
    if cursor[0] > room:
        return _find(c, low_end, high_end, c.size)
    return roots, notes, starts, counts


def _guessed_room(c: np.ndarray, low_end: float, high_end: float) -> int:
    """Room for the roots by a sample of the polynomials: for as many as could be, memory took a third of the time."""
    rows = c.shape[0]
    if c.size <= LARGEST_ROOM:
        return c.size
    sample = np.ascontiguousarray(c[:: rows // SAMPLE])
    counts = _find(sample, low_end, high_end, sample.size)[3]
    return min(c.size, int(rows * (0.2 + 1.3 * np.maximum(counts, 0).mean())))


def real_roots_of_rows(c: np.ndarray, low_end: float, high_end: float) -> tuple[np.ndarray, ...]:
    """(x, residual, radius, evaluations, statuses, converged), each (M, K), and counts (M,), of c (M, n) in C order."""
    rows = c.shape[0]
    roots, notes, starts, counts = _find(c, low_end, high_end, _guessed_room(c, low_end, high_end))
    columns = max(int(counts[0] if rows == 1 else counts.max(initial=1)), 1)
    floats, evaluations = np.empty((3, rows, columns)), np.empty((rows, columns), np.int16)
    statuses, converged = np.empty((rows, columns), np.int8), np.empty((rows, columns), np.bool_)
    _WRITE(NS_PER_SLOT * statuses.size, roots, notes, starts, counts, floats, evaluations, statuses, converged)
    return floats[0], floats[1], floats[2], evaluations, statuses, converged, counts
