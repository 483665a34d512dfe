"""All complex roots of many polynomials: LANES of them at a time, one a lane."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.aberth_answers import pair_conjugates, write_lane, write_nothing
from fastcore.polynomial.kernels.aberth_batch import LEAST_DEGREE, MOST_DEGREE, pair_batch
from fastcore.polynomial.kernels.aberth_lanes import LANES
from fastcore.polynomial.kernels.aberth_start import clear_lanes, ends, is_finite, prepare_lane
from fastcore.polynomial.kernels.aberth_sweeps import (
    ACTIVE,
    ALONE,
    BLOCKS,
    LAST,
    MOST_POLISHING,
    MOST_SWEEPS,
    judge_discs,
    judge_values,
    judge_weierstrass,
    set_compensated,
    sweep,
)

# Serial nanoseconds of a root: this and that much for each degree, for the choice between serial and parallel.
ROOT_NS, ROOT_DEGREE_NS = 100.0, 15.0
ROOM_BITS = 300.0  # |z|**n below 2**300 is evaluated as it stands, beyond by the reversed polynomial


@kernel(fastmath=False)
def prepare_lanes(values, start, lanes, logs, hull, notes):
    """Fill the lanes; notes[lane]: degree (0: nothing to do), zeros, s, e, status, whether real."""
    clear_lanes(lanes)
    for lane in range(notes.shape[0]):
        for j in range(5):
            notes[lane, j] = 0
    for lane in range(min(LANES, values.shape[0] - start)):
        note = notes[lane]
        polynomial = values[start + lane]
        if not is_finite(polynomial):
            note[4] = status.NOT_FINITE
            continue
        first, last = ends(polynomial)
        if last < 0:
            note[4] = status.ZERO_POLYNOMIAL
            continue
        note[0], note[1] = last - first, first
        if last > first:
            note[2], note[3] = prepare_lane(polynomial, first, last, logs, hull, lanes, lane)


@kernel(fastmath=False)
def all_alone(degree, lanes, lane):
    alone = True
    for i in range(degree):
        alone &= lanes[ALONE, i, lane] > 0.0
    return alone


@kernel(fastmath=False)
def judge(scratch, degree, degrees, limit):
    judge_values(scratch, degree, degrees, limit)
    judge_weierstrass(scratch, degree, degrees)
    judge_discs(scratch, degree, degrees)


@kernel(fastmath=False)
def solve_lanes(scratch, degree, degrees, polish, real, notes, lanes, taken):
    """Roots and their discs; polished where asked, and where only that tells real roots from close pairs."""
    limit = 2.0 ** (ROOM_BITS / degree)
    # Two stages, a number that the compiler does not know: it would make two copies of `sweep`.
    for stage in range(min(2, degree + 1)):
        if stage == 1:
            if not polish:
                judge(scratch, degree, degrees, limit)
            for lane in range(notes.shape[0]):
                size = notes[lane, 0]
                if (size > 2 or not real) and (polish or (real and not all_alone(size, lanes, lane))):
                    for i in range(size):
                        lanes[ACTIVE, i, lane] = 1.0
                        lanes[LAST, i, lane] = np.inf
        set_compensated(scratch, degree, stage == 1)
        sweep(scratch, degree, degrees, limit, MOST_SWEEPS if stage == 0 else MOST_POLISHING)
    if real:
        for lane in range(notes.shape[0]):
            if notes[lane, 0] > 2:
                pair_conjugates(notes[lane, 0], lanes, lane, taken)
    judge(scratch, degree, degrees, limit)


def roots_items(values, polish, x, residual, bound, sweeps, state, converged, counter):
    """values (N, n, 1 or 2), x (N, n - 1, 2), the others (N, n - 1); an item is a group of LANES polynomials."""
    degree = values.shape[1] - 1
    lanes = np.empty((BLOCKS, degree + 1, LANES))
    scratch = simd.pointer(lanes)
    # As many as LANES, a number that the compiler does not know: it would unroll what runs over it, 1 s to compile.
    notes = np.empty((min(LANES, LANES * degree), 5), np.int64)
    logs, hull, taken = np.empty(degree + 1), np.empty(degree + 1, np.int64), np.empty(degree + 1, np.int64)
    spare, order, sizes = np.empty((degree + 1, 2)), np.empty(degree + 1, np.int64), np.empty(LANES)
    item = next_item(counter, -1)
    while item * LANES < values.shape[0]:
        start = item * LANES
        prepare_lanes(values, start, lanes, logs, hull, notes)
        largest = 0
        for lane in range(notes.shape[0]):
            sizes[lane] = max(notes[lane, 0], 1)
            largest = max(largest, notes[lane, 0])
        if largest > 0:
            degrees = simd.load(simd.pointer(sizes), LANES)
            solve_lanes(scratch, degree, degrees, polish, values.shape[2] == 1, notes, lanes, taken)
        for lane in range(min(LANES, values.shape[0] - start)):
            i = start + lane
            size, zeros, slope, shift, fault = notes[lane]
            answers = (x[i], residual[i], bound[i], sweeps[i], state[i], converged[i])
            if fault != 0:
                write_nothing(np.int64(0), fault, np.nan, answers)
                continue
            write_lane(size, zeros, slope, shift, lanes, lane, spare, order, taken, answers)
            write_nothing(size + zeros, status.DEGENERATE, np.inf, answers)
        item = next_item(counter, item)


def roots_parallel(body, workers, values, polish, x, residual, bound, sweeps, state, converged, counter):
    for _ in prange(workers):
        call_by_address(body, (values, polish, x, residual, bound, sweeps, state, converged, counter))


_F64_ROWS = types.Array(types.float64, 2, "C")
ARGUMENTS = [
    types.Array(types.float64, 3, "C", readonly=True),
    types.boolean,
    types.Array(types.float64, 3, "C"),
    _F64_ROWS,
    _F64_ROWS,
    types.Array(types.int32, 2, "C"),
    types.Array(types.int8, 2, "C"),
    types.Array(types.boolean, 2, "C"),
]
_ROOTS = SharedWork(roots_items, roots_parallel, ARGUMENTS)


def aberth(values, polish, x, residual, bound, sweeps, state, converged):
    """Fill the answers of `roots`; values (N, n, 1) of real or (N, n, 2) of complex coefficients, n >= 2.

    state and converged come as CONVERGED and True.
    """
    answers = (x, residual, bound, sweeps, state, converged)
    if values.shape[2] == 2 or not LEAST_DEGREE + 1 <= values.shape[1] <= MOST_DEGREE + 1:
        _general(values, polish, *answers)
        return
    left = np.flatnonzero(pair_batch(values, *answers[:4]))
    if left.size:
        parts = tuple(each[left] for each in answers)
        _general(values[left], polish, *parts)
        for each, part in zip(answers, parts, strict=True):
            each[left] = part


def _general(values, polish, *answers):
    count, size = values.shape[:2]
    work = count * (size - 1) * (ROOT_NS + ROOT_DEGREE_NS * size) / LANES * 8
    _ROOTS(work, values, polish, *answers)
