"""Solutions of P(x) = y for many y: a table's row and one correction a lane; what fails is found in its bracket."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd import f32, f64, i64
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.inverse_finish import answer
from fastcore.polynomial.kernels.inverse_rows import LANES, load_rows, lower_part, upper_part
from fastcore.polynomial.kernels.inverse_sections import CUT, FLOOR, LEAST, TOP, VALUE
from fastcore.polynomial.kernels.inverse_table import CERTAIN
from fastcore.polynomial.kernels.monotone import LARGEST

BLOCK = 1024  # values whose rows are looked up together: 8 KB of places
ITEM = 8192
PAIR = 2 * int(LANES)
NOTHING = 1 << 62  # no index
# numbers for kernels: y and x are multiplied by powers of two inside, so that nothing overflows
Y_SCALE, X_SCALE, Y_BACK, X_BACK, LOW, HIGH, YTOL, ROUNDING, FLOOR_BOUND, SETTINGS = range(10)


@kernel(inline=True, fastmath=False)
def place_of(y, sections, offsets, shift, last):
    """The row of each lane: 0 where there is none."""
    first = sections[0]
    low, high = simd.broadcast(first[VALUE], LANES), simd.broadcast(first[VALUE + 1], LANES)
    floor_low, floor_high = simd.broadcast(first[FLOOR], LANES), simd.broadcast(first[FLOOR + 1], LANES)
    least_low, least_high = simd.broadcast(first[LEAST], LANES), simd.broadcast(first[LEAST + 1], LANES)
    offset_low, offset_high = simd.broadcast(offsets[0, 0], LANES), simd.broadcast(offsets[0, 1], LANES)
    top = simd.broadcast(first[TOP], LANES)
    for i in range(1, sections.shape[0]):
        section = sections[i]
        beyond = y > section[CUT]
        low, high = simd.select(beyond, section[VALUE], low), simd.select(beyond, section[VALUE + 1], high)
        floor_low = simd.select(beyond, section[FLOOR], floor_low)
        floor_high = simd.select(beyond, section[FLOOR + 1], floor_high)
        least_low = simd.select(beyond, section[LEAST], least_low)
        least_high = simd.select(beyond, section[LEAST + 1], least_high)
        offset_low = simd.select(beyond, offsets[i, 0], offset_low)
        offset_high = simd.select(beyond, offsets[i, 1], offset_high)
        top = simd.select(beyond, section[TOP], top)
    from_low, from_high = y - low, high - y
    nearer_low = from_low < from_high
    distance = simd.minimum(from_low, from_high)
    has_row = (distance >= simd.select(nearer_low, least_low, least_high)) & (distance <= top)
    place = simd.bitcast(simd.maximum(distance, simd.select(nearer_low, floor_low, floor_high)), i64) >> shift
    row = simd.select(nearer_low, offset_low, offset_high) - place
    return simd.select(has_row, simd.maximum(simd.minimum(row, last), 0), 0)


@kernel(inline=True, fastmath=False)
def begin(y, rows, places):
    """What the rows of lanes say: x_0, first x, y - y_0, tail, dx/dy, kappa, reach."""
    x0, y0, b1, b2, b3, b4, b5_reach, tail_kappa = load_rows(rows, places)
    b5, reach = upper_part(b5_reach), lower_part(b5_reach)
    tail, kappa = upper_part(tail_kappa), lower_part(tail_kappa)
    distance = y - y0
    t = distance - tail
    value = simd.fma(b5, t, b4)
    slope = simd.fma(b5, t, value)
    value = simd.fma(value, t, b3)
    slope = simd.fma(slope, t, value)
    value = simd.fma(value, t, b2)
    slope = simd.fma(slope, t, value)
    value = simd.fma(value, t, b1)
    return x0, simd.fma(value, t, x0), distance, tail, simd.fma(slope, t, value), kappa, reach


@kernel(inline=True, fastmath=False)
def divided_differences(c, a0, a, b0, b):
    """(P(a) - P(a0)) / (a - a0), and of b: Horner's rule for both points at once."""
    inner_a = inner_b = outer_a = outer_b = simd.broadcast(c[c.size - 1], LANES)
    for k in range(c.size - 2, 0, -1):
        ck = simd.broadcast(c[k], LANES)
        inner_a = simd.fma(inner_a, a0, ck)
        inner_b = simd.fma(inner_b, b0, ck)
        outer_a = simd.fma(outer_a, a, inner_a)
        outer_b = simd.fma(outer_b, b, inner_b)
    return outer_a, outer_b


@kernel(inline=True, fastmath=False)
def correct(x, x0, distance, tail, slope, kappa, reach, difference, limits, dtype):
    """One step, and what is left after it.

    Returns
    -------
    x : of the dtype
    residual, bound
    fine : whether that is certain: the row's slope errs by CERTAIN at most, so that of what was left before, `rest`,
        no more than CERTAIN * |rest| remains besides the rounding of x.
    """
    x_back, x_scale, low, high, rounding, floor_bound = limits
    h = x - x0
    rest = simd.fma(h, difference, -distance) + tail
    exact = simd.fma(-rest, slope, x)
    clipped = simd.minimum(simd.maximum(exact, low), high)
    narrow = simd.convert(clipped * x_back, dtype)
    rounded = simd.convert(narrow, f64) * x_scale
    error = simd.fma(rest, slope, rounded - x)
    steep = difference * simd.fma(-slope, difference, 2.0)  # 1 / slope, but for the square of its relative error
    size = absolute(rest)
    reached = absolute(h)
    bound = simd.fma(absolute(distance), 4.0 * UNIT, floor_bound)
    bound = simd.fma(reached, kappa, bound)
    bound = simd.fma(absolute(rounded * difference), rounding, bound)
    fine = (size * (0.5 * CERTAIN) <= bound) & (reached <= reach) & (absolute(error) * 4.0 <= reach)
    return narrow, absolute(error * steep), simd.fma(size, CERTAIN, bound), fine


def finish(c, sections, settings, y, guess, narrow, heads, tails, result):
    """Write x, residual, bound, iterations and status of one y, unscaled, into result (5,)."""
    scaled_y = min(max(y * settings[Y_SCALE], -LARGEST), LARGEST)
    x, residual, bound, iterations, reached = answer(
        c,
        sections,
        scaled_y,
        guess * settings[X_SCALE],
        settings[YTOL],
        settings[ROUNDING],
        narrow,
        settings[LOW],
        settings[HIGH],
        heads,
        tails,
    )
    result[0] = x * settings[X_BACK]
    result[1], result[2] = residual * settings[Y_BACK], bound * settings[Y_BACK]
    result[3], result[4] = min(iterations, 127), reached


@kernel(fastmath=False)
def finish_lane(j, y, c, sections, settings, narrow, out, scratch, finisher):
    """Element j, for which the table does not do."""
    x, residual, bound, iterations, statuses, converged = out
    _, _, heads, tails, result = scratch
    value = np.float64(y[j])
    if not abs(value) < np.inf:
        result[:3] = np.nan
        result[3], result[4] = 0.0, status.NOT_FINITE
    else:
        call_by_address(finisher, (c, sections, settings, value, np.float64(x[j]), narrow, heads, tails, result))
    x[j], residual[j], bound[j] = result[0], result[1], result[2]
    iterations[j], statuses[j] = result[3], result[4]
    converged[j] = statuses[j] == status.CONVERGED or statuses[j] == status.TOUCHING


@kernel(inline=True, fastmath=False)
def find_places(y, sections, offsets, shift, last, y_scale, places):
    """places[i]: the row of each value, and of what follows up to a whole pair of vectors."""
    lanes = int(LANES)
    at_y, at_place = simd.pointer(y), simd.pointer(places)
    for i in range(0, y.size, lanes):
        scaled = simd.convert(simd.load(simd.advance(at_y, i), LANES), f64) * y_scale
        simd.store(simd.advance(at_place, i), place_of(scaled, sections, offsets, shift, last))


@kernel(inline=True, fastmath=False)
def solve_pairs(y, c, sections, offsets, rows, shift, settings, out, scratch, dtype):
    """At most BLOCK values, whole pairs of vectors; calls `later` of those that are not fine.

    scratch[1] of a value that is not fine gets 0.
    """
    x, residual, bound = out
    places, fine = scratch
    lanes = int(LANES)
    y_scale, y_back = settings[Y_SCALE], settings[Y_BACK]
    limits = (
        settings[X_BACK],
        settings[X_SCALE],
        settings[LOW],
        settings[HIGH],
        settings[ROUNDING],
        settings[FLOOR_BOUND],
    )
    find_places(y, sections, offsets, shift, rows.shape[0] - 1, y_scale, places)
    at_y, at_rows, at_place, at_fine = simd.pointer(y), simd.pointer(rows), simd.pointer(places), simd.pointer(fine)
    at_x, at_residual, at_bound = simd.pointer(x), simd.pointer(residual), simd.pointer(bound)
    failed = 0
    for i in range(0, y.size, PAIR):
        j = i + lanes
        y_a = simd.convert(simd.load(simd.advance(at_y, i), LANES), f64) * y_scale
        y_b = simd.convert(simd.load(simd.advance(at_y, j), LANES), f64) * y_scale
        x0_a, x_a, distance_a, tail_a, slope_a, kappa_a, reach_a = begin(y_a, at_rows, simd.advance(at_place, i))
        x0_b, x_b, distance_b, tail_b, slope_b, kappa_b, reach_b = begin(y_b, at_rows, simd.advance(at_place, j))
        differ_a, differ_b = divided_differences(c, x0_a, x_a, x0_b, x_b)
        narrow_a, rest_a, bound_a, fine_a = correct(
            x_a, x0_a, distance_a, tail_a, slope_a, kappa_a, reach_a, differ_a, limits, dtype
        )
        narrow_b, rest_b, bound_b, fine_b = correct(
            x_b, x0_b, distance_b, tail_b, slope_b, kappa_b, reach_b, differ_b, limits, dtype
        )
        simd.store(simd.advance(at_x, i), narrow_a)
        simd.store(simd.advance(at_x, j), narrow_b)
        simd.store(simd.advance(at_residual, i), simd.convert(rest_a * y_back, dtype))
        simd.store(simd.advance(at_residual, j), simd.convert(rest_b * y_back, dtype))
        simd.store(simd.advance(at_bound, i), simd.convert(bound_a * y_back, dtype))
        simd.store(simd.advance(at_bound, j), simd.convert(bound_b * y_back, dtype))
        if not simd.all_lanes(fine_a & fine_b):
            simd.store(simd.advance(at_fine, failed), simd.select(fine_a, NOTHING, simd.iota_i64(LANES) + i))
            failed += lanes
            simd.store(simd.advance(at_fine, failed), simd.select(fine_b, NOTHING, simd.iota_i64(LANES) + j))
            failed += lanes
    return failed


@kernel(inline=True, fastmath=False)
def solve_items(y, c, sections, offsets, rows, shift, settings, narrow, finisher, out, padded, counter, dtype):
    """padded (4, BLOCK) of the dtype: the last block, copied so that it is of whole pairs of vectors."""
    x, residual, bound, iterations, statuses, converged = out
    places, failed = np.zeros(BLOCK, np.int64), np.zeros(BLOCK, np.int64)
    scratch = places, failed, np.zeros(c.size), np.zeros(c.size), np.zeros(5)
    item = next_item(counter, -1)
    while item * ITEM < y.size:
        for start in range(item * ITEM, min((item + 1) * ITEM, y.size), BLOCK):
            stop = min(start + BLOCK, y.size)
            count = stop - start
            part_y, part_x, part_residual, part_bound = (
                y[start:stop],
                x[start:stop],
                residual[start:stop],
                bound[start:stop],
            )
            if count % PAIR:
                whole = (count + PAIR - 1) // PAIR * PAIR
                padded[0, :count] = part_y
                padded[0, count:whole] = part_y[count - 1]
                part_y = padded[0, :whole]
                part_x, part_residual, part_bound = padded[1, :whole], padded[2, :whole], padded[3, :whole]
            number = solve_pairs(
                part_y,
                c,
                sections,
                offsets,
                rows,
                shift,
                settings,
                (part_x, part_residual, part_bound),
                (places, failed),
                dtype,
            )
            if count % PAIR:
                x[start:stop] = part_x[:count]
                residual[start:stop] = part_residual[:count]
                bound[start:stop] = part_bound[:count]
            iterations[start:stop] = 1
            statuses[start:stop] = status.CONVERGED
            converged[start:stop] = True
            for k in range(number):
                if failed[k] < count:
                    finish_lane(start + failed[k], y, c, sections, settings, narrow, out, scratch, finisher)
        item = next_item(counter, item)


def solve_double(
    y,
    c,
    sections,
    offsets,
    rows,
    shift,
    settings,
    finisher,
    x,
    residual,
    bound,
    iterations,
    statuses,
    converged,
    counter,
):
    """Items of ITEM values; see `inverse_values`."""
    out = x, residual, bound, iterations, statuses, converged
    padded = np.empty((4, BLOCK), np.float64)
    solve_items(y, c, sections, offsets, rows, shift, settings, False, finisher, out, padded, counter, f64)


def solve_single(
    y,
    c,
    sections,
    offsets,
    rows,
    shift,
    settings,
    finisher,
    x,
    residual,
    bound,
    iterations,
    statuses,
    converged,
    counter,
):
    """The same of float32, computed in float64."""
    out = x, residual, bound, iterations, statuses, converged
    padded = np.empty((4, BLOCK), np.float32)
    solve_items(y, c, sections, offsets, rows, shift, settings, True, finisher, out, padded, counter, f32)


def solve_double_parallel(
    body,
    workers,
    y,
    c,
    sections,
    offsets,
    rows,
    shift,
    settings,
    finisher,
    x,
    residual,
    bound,
    iterations,
    statuses,
    converged,
    counter,
):
    arguments = (
        y,
        c,
        sections,
        offsets,
        rows,
        shift,
        settings,
        finisher,
        x,
        residual,
        bound,
        iterations,
        statuses,
        converged,
    )
    for _ in prange(workers):
        call_by_address(body, (*arguments, counter))


def solve_single_parallel(
    body,
    workers,
    y,
    c,
    sections,
    offsets,
    rows,
    shift,
    settings,
    finisher,
    x,
    residual,
    bound,
    iterations,
    statuses,
    converged,
    counter,
):
    arguments = (
        y,
        c,
        sections,
        offsets,
        rows,
        shift,
        settings,
        finisher,
        x,
        residual,
        bound,
        iterations,
        statuses,
        converged,
    )
    for _ in prange(workers):
        call_by_address(body, (*arguments, counter))


def _arguments(dtype):
    def read(kind, axes):
        return types.Array(kind, axes, "C", readonly=True)

    table = [read(types.float64, 2), read(types.int64, 2), read(types.float64, 2), types.int64, read(types.float64, 1)]
    table.append(types.int64)
    numbers = types.Array(dtype, 1, "C")
    flags = [types.Array(kind, 1, "C") for kind in (types.int8, types.int8, types.boolean)]
    return [read(dtype, 1), read(types.float64, 1), *table, numbers, numbers, numbers, *flags]


VALUE_NS = 4.0  # measured, for the choice between serial and parallel

_READ, _SCRATCH = types.Array(types.float64, 1, "C", readonly=True), types.Array(types.float64, 1, "C")
_FINISH = Direct(
    finish,
    types.void(
        _READ,
        types.Array(types.float64, 2, "C", readonly=True),
        _READ,
        types.float64,
        types.float64,
        types.boolean,
        _SCRATCH,
        _SCRATCH,
        _SCRATCH,
    ),
)
_WORK = {
    np.dtype(np.float64): SharedWork(solve_double, solve_double_parallel, _arguments(types.float64)),
    np.dtype(np.float32): SharedWork(solve_single, solve_single_parallel, _arguments(types.float32)),
}


def inverse_values(y, c, sections, offsets, rows, shift, settings, out):
    """Solve for all of y.

    Parameters
    ----------
    y (N,) float32 or float64, contiguous
    c, sections, offsets, rows, shift : `Table` of inverse_build.py
    settings : (SETTINGS,) float64, of the dtype of y
    out : x, residual, bound (N,) of the dtype of y; iterations, statuses (N,) int8; converged (N,) bool; written
    """
    _WORK[y.dtype](VALUE_NS * y.size, y, c, sections, offsets, rows, shift, settings, _FINISH.address, *out)
