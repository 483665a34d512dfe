"""All roots of many real polynomials by pairs, one polynomial a lane; which of them need the general way."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels.aberth_lanes import LANES
from fastcore.polynomial.kernels.aberth_pairs import (
    FIRST_EXCHANGE,
    MOST_PAIR_SWEEPS,
    ROOM,
    at,
    exchange_real_roots,
    get,
    hull_lanes,
    place_pairs,
    power_of_lanes,
    put,
    scale_lanes,
    sweep_pairs,
)
from fastcore.polynomial.kernels.aberth_proof import (
    compact_lane,
    fill_gaps,
    polish_root,
    prove,
    roots_of_factors,
    write_proven,
)

LEAST_DEGREE, MOST_DEGREE = 3, 24  # beyond, more and more groups do not come to an end
PAIR_NS = 9.0  # serial nanoseconds a polynomial, times the square of its degree


@kernel(fastmath=False)
def load_lanes(values, start, lanes, first):
    """Rows of coefficients from row `first` on, one polynomial a lane; the last one again where there are no more."""
    for lane in range(lanes.shape[1]):
        polynomial = values[min(start + lane, values.shape[0] - 1)]
        for k in range(values.shape[1]):
            lanes[first + k, lane] = polynomial[k, 0]


@kernel(fastmath=False)
def solve_pairs(lanes, degree, s, t, steps, fine, counts, spare):
    """Sweeps until all fine lanes are done; which are. counts[lane]: sweeps."""
    rows = simd.pointer(lanes)
    zero = simd.broadcast(0.0, LANES)
    active = fine
    sweeps = zero
    even = degree + (degree & 1)
    for number in range(1, MOST_PAIR_SWEEPS + 1):
        sweeps = sweeps + simd.select(active, zero + 1.0, zero)
        active = sweep_pairs(rows, even, at(rows, s), at(rows, t), at(rows, steps), active)
        if not simd.any_lane(active):
            break
        if number >= FIRST_EXCHANGE:
            put(simd.pointer(counts), 0, simd.select(active, zero + 1.0, zero))
            for lane in range(lanes.shape[1]):
                if counts[lane] > 0.0:
                    exchange_real_roots(lanes, even, even // 2, s, t, steps, lane, spare)
    put(simd.pointer(counts), 0, sweeps)
    return fine & ~active


def pairs_items(values, x, residual, bound, sweeps, left, counter):
    """values (N, n, 1), x (N, n - 1, 2), left (N,): the polynomials that are not answered; an item is LANES of them."""
    degree = values.shape[1] - 1
    odd = degree & 1
    pairs = (degree + odd) // 2
    slots = 2 * pairs + 1  # one more, as `compact_lane` writes before it knows
    s = slots + 1
    t, steps = s + pairs, s + 2 * pairs
    re = s + 3 * pairs
    im, weights, value, error = re + slots, re + 2 * slots, re + 3 * slots, re + 4 * slots
    product, gap, rank = re + 5 * slots, re + 6 * slots, re + 7 * slots
    # As many as LANES, a number that the compiler does not know: it would unroll what runs over it.
    lanes = np.zeros((re + 8 * slots + 1, min(LANES, LANES * degree)))
    rows = simd.pointer(lanes)
    counts, good, found, spare = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty((slots, 2))
    unit_x, unit_p = np.empty(LANES), np.empty(LANES)
    answers = (simd.pointer(x), simd.pointer(residual), simd.pointer(bound), simd.pointer(sweeps))
    item = next_item(counter, -1)
    while item * LANES < values.shape[0]:
        start = item * LANES
        load_lanes(values, start, lanes, odd)
        coefficients = at(rows, odd)
        fine, slope, shift = scale_lanes(coefficients, degree, at(rows, re))
        fine = fine & (hull_lanes(at(rows, re), degree, at(rows, im)) * float(degree) < ROOM)
        place_pairs(coefficients, at(rows, im), degree, at(rows, s), at(rows, t), at(rows, steps))
        fine = solve_pairs(lanes, degree, s, t, steps, fine, counts, spare)
        first, second, kind = at(rows, product), at(rows, gap), at(rows, rank)
        roots_of_factors(at(rows, s), at(rows, t), pairs, first, second, kind)
        most = np.int64(0)  # a literal 0 would compile what takes it twice
        for lane in range(lanes.shape[1]):
            size = compact_lane(first, second, kind, pairs, lane, at(rows, re), at(rows, im), at(rows, weights))
            found[lane] = size
            most = max(most, size)
        fill_gaps(simd.pointer(found), most, at(rows, re), at(rows, im), at(rows, weights))
        for i in range(most):
            zr, zi, height, off, small, _ = polish_root(coefficients, degree, get(rows, re + i), get(rows, im + i))
            fine = fine & small
            put(rows, re + i, zr)
            put(rows, im + i, zi)
            put(rows, value + i, height)
            put(rows, error + i, off)
        parts = (at(rows, re), at(rows, im), at(rows, weights), at(rows, value), at(rows, error), first, second, kind)
        proven = fine & prove(coefficients, degree, most, *parts)
        put(simd.pointer(good), 0, simd.select(proven, simd.broadcast(1.0, LANES), 0.0))
        put(simd.pointer(unit_x), 0, power_of_lanes(slope))
        put(simd.pointer(unit_p), 0, power_of_lanes(-shift))
        for lane in range(min(LANES, values.shape[0] - start)):
            i = start + lane
            left[i] = good[lane] == 0.0
            if good[lane] > 0.0:
                units = (unit_x[lane], unit_p[lane])
                fields = (re, im, weights, value, error, rank)
                sizes = (int(found[lane]), int(counts[lane]), i * degree)
                write_proven(rows, lane, sizes, fields, units, answers)
        item = next_item(counter, item)


def pairs_parallel(body, workers, values, x, residual, bound, sweeps, left, counter):
    for _ in prange(workers):
        call_by_address(body, (values, x, residual, bound, sweeps, left, counter))


def arguments_of_answers():
    rows = types.Array(types.float64, 2, "C")
    return [
        types.Array(types.float64, 3, "C", readonly=True),
        types.Array(types.float64, 3, "C"),
        rows,
        rows,
        types.Array(types.int32, 2, "C"),
    ]


_PAIRS = SharedWork(pairs_items, pairs_parallel, [*arguments_of_answers(), types.Array(types.boolean, 1, "C")])


def pair_batch(values, x, residual, bound, sweeps):
    """Fill the answers of the polynomials that allow it, all of which converge, and return which do not."""
    left = np.empty(values.shape[0], np.bool_)
    work = PAIR_NS * values.shape[0] * values.shape[1] ** 2
    _PAIRS(work, values, x, residual, bound, sweeps, left)
    return left
