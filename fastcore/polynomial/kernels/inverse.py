"""Solutions of P(x) = y for many y: a table's row and one correction a lane; what fails is found in its bracket."""

from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd import f64, i64
from fastcore._core.work import Direct
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.inverse_rows import LANES, load_rows, lower_part, upper_part
from fastcore.polynomial.kernels.inverse_sections import CUT, FLOOR, LEAST, TOP, VALUE
from fastcore.polynomial.kernels.inverse_table import CERTAIN

BLOCK = 1024  # values whose rows are looked up together: 8 KB of places
PAIR = 2 * int(LANES)
NOTHING = 1 << 62  # no index
# numbers for kernels: y and x are multiplied by powers of two inside, so that nothing overflows
Y_SCALE, X_SCALE, Y_BACK, X_BACK, LOW, HIGH, YTOL, ROUNDING, FLOOR_BOUND, NARROW, ENOUGH, SETTINGS = range(12)
RELATIVE = 512.0 * UNIT  # of y: a lane's error bound, but for the rounding of x, is below that or ENOUGH


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
def correct(y, x, x0, distance, tail, slope, kappa, reach, difference, limits):
    """One step, and what is left after it.

    Returns
    -------
    x, residual, bound
    fine : whether that is certain: the row's slope errs by CERTAIN at most, so that of what was left before, `rest`,
        no more than CERTAIN * |rest| remains besides the rounding of x.
    """
    low, high, rounding, floor_bound, narrow, enough = limits
    h = x - x0
    rest = simd.fma(h, difference, -distance) + tail
    exact = simd.fma(-rest, slope, x)
    clipped = simd.minimum(simd.maximum(exact, low), high)
    # Veltkamp's splitting: to 24 bits, or of narrow == 1 to as many as there are
    wide = clipped * narrow
    rounded = wide - (wide - clipped)
    error = simd.fma(rest, slope, rounded - x)
    steep = difference * simd.fma(-slope, difference, 2.0)  # 1 / slope, but for the square of its relative error
    size = absolute(rest)
    reached = absolute(h)
    bound = simd.fma(absolute(distance), 4.0 * UNIT, floor_bound)
    bound = simd.fma(reached, kappa, bound)
    fine = bound <= simd.fma(absolute(y), RELATIVE, enough)
    bound = simd.fma(absolute(rounded * difference), rounding, bound)
    left = absolute(error * steep)
    fine = fine & (size * (0.5 * CERTAIN) <= bound) & (reached <= reach) & (absolute(error) * 4.0 <= reach)
    fine = fine & (left <= bound)  # not of y that the end of the domain just misses
    return rounded, left, simd.fma(size, CERTAIN, bound), fine


@kernel(inline=True, fastmath=False)
def find_places(at_y, count, sections, offsets, shift, last, y_scale, at_place):
    """The row of each value."""
    lanes = int(LANES)
    for i in range(0, count, lanes):
        scaled = simd.load(simd.advance(at_y, i), LANES) * y_scale
        simd.store(simd.advance(at_place, i), place_of(scaled, sections, offsets, shift, last))


def solve_block(y, c, sections, offsets, rows, shift, settings, x, residual, bound, count, places, failed):
    """At most BLOCK values, whole pairs of vectors.

    Parameters
    ----------
    y, x, residual, bound : addresses of float64; the latter three are written
    places : (BLOCK,) int64, scratch
    failed : (BLOCK + 1,) int64, written: how many of the following there are; values whose answer is not certain, among
        which those of NOTHING mean none
    """
    lanes = int(LANES)
    y_scale, y_back, x_back = settings[Y_SCALE], settings[Y_BACK], settings[X_BACK]
    limits = (
        settings[LOW],
        settings[HIGH],
        settings[ROUNDING],
        settings[FLOOR_BOUND],
        settings[NARROW],
        settings[ENOUGH],
    )
    at_y, at_x = simd.pointer_at(y, f64), simd.pointer_at(x, f64)
    at_residual, at_bound = simd.pointer_at(residual, f64), simd.pointer_at(bound, f64)
    at_rows, at_place, at_failed = simd.pointer(rows), simd.pointer(places), simd.pointer(failed)
    find_places(at_y, count, sections, offsets, shift, rows.shape[0] - 1, y_scale, at_place)
    number = 1
    for i in range(0, count, PAIR):
        j = i + lanes
        y_a, y_b = simd.load(simd.advance(at_y, i), LANES) * y_scale, simd.load(simd.advance(at_y, j), LANES) * y_scale
        x0_a, x_a, distance_a, tail_a, slope_a, kappa_a, reach_a = begin(y_a, at_rows, simd.advance(at_place, i))
        x0_b, x_b, distance_b, tail_b, slope_b, kappa_b, reach_b = begin(y_b, at_rows, simd.advance(at_place, j))
        differ_a, differ_b = divided_differences(c, x0_a, x_a, x0_b, x_b)
        x_a, rest_a, bound_a, fine_a = correct(
            y_a, x_a, x0_a, distance_a, tail_a, slope_a, kappa_a, reach_a, differ_a, limits
        )
        x_b, rest_b, bound_b, fine_b = correct(
            y_b, x_b, x0_b, distance_b, tail_b, slope_b, kappa_b, reach_b, differ_b, limits
        )
        simd.store(simd.advance(at_x, i), x_a * x_back)
        simd.store(simd.advance(at_x, j), x_b * x_back)
        simd.store(simd.advance(at_residual, i), rest_a * y_back)
        simd.store(simd.advance(at_residual, j), rest_b * y_back)
        simd.store(simd.advance(at_bound, i), bound_a * y_back)
        simd.store(simd.advance(at_bound, j), bound_b * y_back)
        if not simd.all_lanes(fine_a & fine_b):
            simd.store(simd.advance(at_failed, number), simd.select(fine_a, NOTHING, simd.iota_i64(LANES) + i))
            number += lanes
            simd.store(simd.advance(at_failed, number), simd.select(fine_b, NOTHING, simd.iota_i64(LANES) + j))
            number += lanes
    failed[0] = number - 1


_F64, _I64 = types.float64, types.int64
_READ, _READ_ROWS = types.Array(_F64, 1, "C", readonly=True), types.Array(_F64, 2, "C", readonly=True)
_PLACES = types.Array(_I64, 1, "C")
BLOCK_ARGUMENTS = (_READ, _READ_ROWS, types.Array(_I64, 2, "C", readonly=True), _READ_ROWS, _I64, _READ)
BLOCKS = Direct(solve_block, types.void(_I64, *BLOCK_ARGUMENTS, _I64, _I64, _I64, _I64, _PLACES, _PLACES))
