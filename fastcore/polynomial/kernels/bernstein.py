"""Real roots of many polynomials told apart: one polynomial, or piece of one, a lane.

The signs of the coefficients in Bernstein's basis change at least as often on an interval as there are roots in it
(Descartes' rule), and by an even number more: one change is one root. Each polynomial starts as four pieces: x in
(0, EDGE], 1 / x in (0, 1 / EDGE], and the same of -x. Pieces with several changes lie side by side on a stack, a lane
each; the last vector of them is halved (de Casteljau) until none is left. So the lanes are full, whatever the
polynomials. What rounding could decide otherwise is left to `real_single`.

Source: Mourrain, Rouillier, Roy 2005, "The Bernstein basis and real root isolation".
"""

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import UNIT, dd_multiply_number
from fastcore.polynomial.kernels.real_single import EDGE
from fastcore.polynomial.kernels.scaling import exponent, power_of_two

__all__ = [
    "HIGHEST",
    "LANES",
    "LOWEST",
    "fill_tables",
    "halve_pieces",
    "load_lanes",
    "mark",
    "start_pieces",
    "to_bernstein",
]

LANES = simd.F64_LANES
LOWEST, HIGHEST = 3, 40  # degrees: below is exact, above rounding decides too often
NARROWEST = 2.0**-24  # width of a piece, of 1: nearer roots are for `real_single`
_LARGEST_EXPONENT = 400  # of the sum of a polynomial's coefficients
_LARGEST_STRETCH = 400  # of the largest power of the unit of x
_ROUNDER = 1.5 * 2.0**52  # added and subtracted, it rounds to an integer

MIRRORED, RISING = 1, 2  # a code is 4 * column, plus these: of -x, P > 0 at the left end


@kernel
def fill_tables(degree, table):
    """table (2, degree + 1, degree + 2): the Bernstein coefficient i is the sum of table[.., i, k] times that of x**k.

    On (0, EDGE], and on (0, 1 / EDGE], a little more so that no root falls between. Each is off by 3 roundings.
    """
    for i in range(degree + 1):
        row = table[0, i]
        for k in range(degree + 2):
            row[k] = 0.0
        row[0] = 1.0
        for k in range(1, i + 1):  # Pascal's triangle: integers below 2**53
            row[k] = table[0, i - 1, k - 1] + table[0, i - 1, k]
    edge = (1.0 + 4.0 * UNIT) / EDGE
    high, low, high_reversed, low_reversed = 1.0, 0.0, 1.0, 0.0
    for k in range(degree + 1):
        ways = table[0, degree, k]
        for i in range(degree + 1):
            share = table[0, i, k] / ways
            table[0, i, k], table[1, i, k] = share * high, share * high_reversed
        high, low = dd_multiply_number(high, low, EDGE)
        high_reversed, low_reversed = dd_multiply_number(high_reversed, low_reversed, edge)
    for i in range(degree + 1):
        table[1, i, degree + 1] = 0.0


@kernel(fastmath=False)
def load_lanes(rows, count, degree, column, columns, coefficients, shifts):
    """Load LANES polynomials, in units that make the outer coefficients alike and their sum 1 to 2.

    rows : pointer to count polynomials of degree + 1 coefficients; lanes beyond get the last one
    coefficients : pointer to (degree + 3, columns), coefficient k in row k + 1, between two rows of zeros
    shifts : pointer to (2, columns) int64, exponents of the units of x and of P
    Returns the mask of lanes whose numbers fit; the others are NaN, which `sort_out` takes for ambiguous.
    """
    lanes = simd.iota_i64(LANES)
    lanes = simd.select(lanes < count, lanes, count - 1) * (degree + 1)
    low, high = simd.gather(rows, lanes), simd.gather(simd.advance(rows, degree), lanes)
    ratio = simd.convert(exponent(low) - exponent(high), types.float64) * (1.0 / degree)
    ratio = (ratio + _ROUNDER) - _ROUNDER
    fits = (ratio * degree <= _LARGEST_STRETCH) & (ratio * degree >= -_LARGEST_STRETCH)
    fits = fits & (low != 0.0) & (high != 0.0)
    stretch = simd.convert(simd.select(fits, ratio, 0.0), types.int64)
    unit = power_of_two(stretch)
    power = simd.broadcast(1.0, LANES)
    total = simd.broadcast(0.0, LANES)
    own = simd.advance(coefficients, column)
    simd.store(own, total)
    for k in range(degree + 1):
        x = simd.gather(simd.advance(rows, k), lanes) * power
        total = total + absolute(x)
        power = power * unit
        own = simd.advance(own, columns)
        simd.store(own, x)
    simd.store(simd.advance(own, columns), simd.broadcast(0.0, LANES))
    shift = exponent(total)
    fits = fits & (shift <= _LARGEST_EXPONENT) & (shift >= -_LARGEST_EXPONENT)
    factor = simd.select(fits, power_of_two(simd.select(fits, -shift, 0)), float("nan"))
    for _ in range(degree + 1):
        simd.store(own, simd.load(own, LANES) * factor)
        own = simd.advance(own, -columns)
    simd.store(simd.advance(shifts, column), stretch)
    simd.store(simd.advance(shifts, columns + column), shift)
    return fits


@kernel(fastmath=False, inline=True)
def to_bernstein(coefficients, table, side, degree, column, columns, pieces):
    """pieces (2 * (degree + 1) * LANES,): Bernstein coefficients of lanes, by x and -x, or 1 / x, -1 / x.

    All pointers. The even and the odd powers are summed apart: their difference is for -x.
    """
    step = -columns if side == 1 else columns
    lowest = simd.advance(coefficients, (degree + 1 if side == 1 else 1) * columns + column)
    mirrored = simd.advance(pieces, (degree + 1) * LANES)
    for i in range(degree + 1):
        even, odd = simd.broadcast(0.0, LANES), simd.broadcast(0.0, LANES)
        here, row = lowest, simd.advance(table, (side * (degree + 1) + i) * (degree + 2))
        for _ in range(0, i + 1, 2):
            even = simd.fma(simd.load(here, LANES), simd.load_scalar(row), even)
            here = simd.advance(here, step)
            odd = simd.fma(simd.load(here, LANES), simd.load_scalar(simd.advance(row, 1)), odd)
            here, row = simd.advance(here, step), simd.advance(row, 2)
        simd.store(simd.advance(pieces, i * LANES), even + odd)
        simd.store(simd.advance(mirrored, i * LANES), even - odd)


@kernel(fastmath=False)
def sort_out(piece, degree, tolerance, codes, left, width, valid, stack, roots, capacity, bad, waiting, found):
    """Count each lane's changes of sign: one goes to the roots, several to the stack, ambiguous ones to `bad`.

    All pointers: kernels count references to arrays, which took a fifth of the time.
    piece : (degree + 1, LANES) Bernstein coefficients; tolerance, their errors, and codes, left, width, valid: vectors
    stack (degree + 5, capacity): coefficients, left end, width and tolerance of each piece, and its code
    roots (4, capacity): left end, right end, a start, and the code; bad: int64 for each column
    Returns (waiting, found), the entries of the stack and of the roots.
    """
    before = simd.load(piece, LANES)
    rising = before > 0.0
    least = absolute(before)
    most = least
    changes = simd.broadcast(0.0, LANES)
    place, above, below = changes, before, before
    for i in range(1, degree + 1):
        now = simd.load(simd.advance(piece, i * LANES), LANES)
        size = absolute(now)
        least, most = simd.minimum(least, size), simd.maximum(most, size)
        change = (now < 0.0) ^ (before < 0.0)
        changes = simd.select(change, changes + 1.0, changes)
        place = simd.select(change, float(i), place)
        above, below = simd.select(change, before, above), simd.select(change, now, below)
        before = now
    several = valid & (changes > 0.0)
    unsure = valid & ~(least > tolerance)
    if simd.any_lane(unsure):
        mark(unsure, codes, bad)
        several = several & ~unsure
    one = several & (changes == 1.0)
    if simd.any_lane(one):
        # Where the polygon of the coefficients crosses zero
        start = left + width * ((place - 1.0 + above / (above - below)) * (1.0 / degree))
        own = simd.advance(roots, found)
        simd.store_selected(own, left, one)
        own = simd.advance(own, capacity)
        simd.store_selected(own, left + width, one)
        own = simd.advance(own, capacity)
        simd.store_selected(own, start, one)
        own = simd.cast_pointer(simd.advance(own, capacity), types.int64)
        found += simd.store_selected(own, simd.select(rising, codes | RISING, codes), one)
        several = several & ~one
    if simd.any_lane(several):
        narrow = several & (width < NARROWEST)
        if simd.any_lane(narrow):
            mark(narrow, codes, bad)
            several = several & ~narrow
        own = simd.advance(stack, waiting)
        for i in range(degree + 1):
            simd.store_selected(own, simd.load(simd.advance(piece, i * LANES), LANES), several)
            own = simd.advance(own, capacity)
        simd.store_selected(own, left, several)
        own = simd.advance(own, capacity)
        simd.store_selected(own, width, several)
        own = simd.advance(own, capacity)
        # Each of the halving's `degree` stages rounds once.
        simd.store_selected(own, tolerance + most * (1.01 * UNIT * degree), several)
        own = simd.cast_pointer(simd.advance(own, capacity), types.int64)
        waiting += simd.store_selected(own, codes, several)
    return waiting, found


@kernel(fastmath=False)
def mark(lanes, codes, bad):
    """bad[column] = 1 for the columns in these lanes' codes; LANES elements before bad[0] are scratch."""
    scratch = simd.advance(bad, -LANES)
    count = simd.store_selected(scratch, codes >> 2, lanes)
    for i in range(count):
        simd.store_scalar(simd.advance(bad, simd.load_scalar(simd.advance(scratch, i))), 1)


@kernel(fastmath=False)
def start_pieces(coefficients, table, side, degree, count, columns, pieces, stack, roots, capacity, bad):
    """Two of the four pieces of `count` polynomials, x and -x, or 1 / x and -1 / x; entries of stack and roots.

    Their Bernstein coefficients are off by degree / 2 + 6 roundings of at most 2 EDGE**degree.
    """
    zero = simd.broadcast(0.0, LANES)
    tolerance = zero + (0.5 * degree + 6.0) * UNIT * 2.02 * EDGE**degree
    width = zero + ((1.0 + 4.0 * UNIT) / EDGE if side == 1 else EDGE)
    waiting, found = np.int64(0), np.int64(0)
    for column in range(0, count, LANES):
        valid = simd.iota_i64(LANES) < count - column
        codes = (simd.iota_i64(LANES) + column) << 2
        to_bernstein(coefficients, table, side, degree, column, columns, pieces)
        for mirrored in range(2):
            piece = simd.advance(pieces, mirrored * (degree + 1) * LANES)
            waiting, found = sort_out(
                piece, degree, tolerance, codes + mirrored, zero, width, valid,
                stack, roots, capacity, bad, waiting, found,
            )  # fmt: skip
    return waiting, found


@kernel(fastmath=False, inline=True)
def de_casteljau(piece, left, degree):
    """Coefficients of a piece's halves: the left one's to `left`, the right one's in place. Two stages at a time."""
    stage = 1
    simd.store(left, simd.load(piece, LANES))
    while stage < degree:
        here = simd.load(simd.advance(piece, LANES), LANES)
        first = (simd.load(piece, LANES) + here) * 0.5
        simd.store(simd.advance(left, stage * LANES), first)
        place = piece
        for _ in range(degree - stage):
            after = simd.load(simd.advance(place, 2 * LANES), LANES)
            second = (here + after) * 0.5
            simd.store(place, (first + second) * 0.5)
            place = simd.advance(place, LANES)
            here, first = after, second
        simd.store(place, first)
        simd.store(simd.advance(left, (stage + 1) * LANES), simd.load(piece, LANES))
        stage += 2
    if stage == degree:
        middle = (simd.load(piece, LANES) + simd.load(simd.advance(piece, LANES), LANES)) * 0.5
        simd.store(piece, middle)
        simd.store(simd.advance(left, degree * LANES), middle)


@kernel(fastmath=False)
def halve_pieces(degree, pieces, stack, roots, capacity, bad, waiting, found):
    """Halve pieces until the stack is empty; the number of roots then."""
    right_half = simd.advance(pieces, (degree + 1) * LANES)
    while waiting > 0:
        count = min(waiting, LANES)
        waiting -= count
        own = simd.advance(stack, waiting)
        for i in range(degree + 1):
            simd.store(simd.advance(right_half, i * LANES), simd.load(own, LANES))
            own = simd.advance(own, capacity)
        valid = simd.iota_i64(LANES) < count
        left, width = simd.load(own, LANES), simd.load(simd.advance(own, capacity), LANES) * 0.5
        own = simd.advance(own, 2 * capacity)
        tolerance = simd.load(own, LANES)
        codes = simd.load(simd.cast_pointer(simd.advance(own, capacity), types.int64), LANES)
        de_casteljau(right_half, pieces, degree)
        for half in range(2):
            waiting, found = sort_out(
                simd.advance(pieces, half * (degree + 1) * LANES), degree, tolerance, codes, left, width, valid,
                stack, roots, capacity, bad, waiting, found,
            )  # fmt: skip
            left = left + width
    return found
