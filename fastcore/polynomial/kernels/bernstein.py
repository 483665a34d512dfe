"""Real roots of many polynomials told apart: one polynomial, or piece of one, a lane.

The signs of the coefficients in Bernstein's basis change at least as often on an interval as there are roots in it
(Descartes' rule), and by an even number more: one change is one root. Each polynomial starts as four pieces: x in
(0, EDGE], 1 / x in (0, 1 / EDGE], and the same of -x. Pieces with several changes lie side by side on a stack, a lane
each; the last vector of them is halved (de Casteljau) until none is left. So the lanes are full, whatever the
polynomials. What rounding could decide otherwise is left to `real_single`.

Source: Mourrain, Rouillier, Roy 2005, "The Bernstein basis and real root isolation".
"""

from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.real_single import EDGE
from fastcore.polynomial.kernels.scaling import exponent, power_of_two

__all__ = [
    "HIGHEST",
    "LANES",
    "LOWEST",
    "NARROWEST",
    "fill_tables",
    "halve_pieces",
    "load_lanes",
    "mark",
    "start_pieces",
]

LANES = simd.F64_LANES
LOWEST, HIGHEST = 3, 40  # degrees: below is exact, above rounding decides too often
NARROWEST = 2.0**-24  # width of a piece, of 1: nearer roots are for `real_single`
_LARGEST_EXPONENT = 400  # of the sum of a polynomial's coefficients
_LARGEST_STRETCH = 400  # of the largest power of the unit of x
_ROUNDER = 1.5 * 2.0**52  # added and subtracted, it rounds to an integer

MIRRORED, REVERSED = 1, 2  # a code is 4 * column + these


@kernel
def fill_tables(degree, table):
    """table (2, degree + 1, degree + 2): the Bernstein coefficient i is the sum of table[.., i, k] times that of x**k.

    On (0, EDGE], and on (0, 1 / EDGE], a little more so that no root falls between.
    """
    edge = EDGE
    for side in range(2):
        power = 1.0
        for k in range(degree + 1):
            # C(i, k) / C(degree, k), from i = degree down
            weight = power
            for i in range(degree, -1, -1):
                table[side, i, k] = weight if i >= k else 0.0
                if i > 0:
                    weight *= (i - k) / i
            power *= edge
        for i in range(degree + 1):
            table[side, i, degree + 1] = 0.0
        edge = (1.0 + 4.0 * UNIT) / EDGE


@kernel(inline=True)
def at(array, offset):
    return simd.advance(simd.pointer(array), offset)


@kernel(fastmath=False)
def load_lanes(c, first, count, degree, column, columns, coefficients, shifts):
    """Load LANES polynomials, in units that make the outer coefficients alike and their sum 1 to 2.

    c (M, degree + 1): rows first to first + count, the last one again in lanes beyond
    coefficients (degree + 3, columns): coefficient k in row k + 1, between two rows of zeros
    shifts (2 * columns,): exponents of the units of x and of P, int64
    Returns the mask of lanes whose numbers fit; the others are NaN.
    """
    lanes = simd.iota_i64(LANES)
    lanes = simd.select(lanes < count, lanes, count - 1) * (degree + 1)
    row = at(c, first * (degree + 1))
    low, high = simd.gather(row, lanes), simd.gather(simd.advance(row, degree), lanes)
    ratio = simd.convert(exponent(low) - exponent(high), types.float64) * (1.0 / degree)
    ratio = (ratio + _ROUNDER) - _ROUNDER
    fits = (ratio * degree <= _LARGEST_STRETCH) & (ratio * degree >= -_LARGEST_STRETCH)
    fits = fits & (low != 0.0) & (high != 0.0)
    stretch = simd.convert(simd.select(fits, ratio, 0.0), types.int64)
    unit = power_of_two(stretch)
    power = simd.broadcast(1.0, LANES)
    total = simd.broadcast(0.0, LANES)
    for k in range(degree + 1):
        x = simd.gather(simd.advance(row, k), lanes) * power
        total = total + absolute(x)
        power = power * unit
        simd.store(at(coefficients, (k + 1) * columns + column), x)
    shift = exponent(total)
    fits = fits & (shift <= _LARGEST_EXPONENT) & (shift >= -_LARGEST_EXPONENT)
    factor = simd.select(fits, power_of_two(simd.select(fits, -shift, 0)), float("nan"))
    for k in range(degree + 1):
        place = at(coefficients, (k + 1) * columns + column)
        simd.store(place, simd.load(place, LANES) * factor)
    simd.store(at(coefficients, column), simd.broadcast(0.0, LANES))
    simd.store(at(coefficients, (degree + 2) * columns + column), simd.broadcast(0.0, LANES))
    simd.store(at(shifts, column), stretch)
    simd.store(at(shifts, columns + column), shift)
    return fits


@kernel(fastmath=False)
def to_bernstein(coefficients, table, degree, column, columns, pieces):
    """pieces (4 * (degree + 1) * LANES,): Bernstein coefficients by x, -x, 1 / x, -1 / x, for the lanes of a column.

    The even and the odd powers are summed apart: their difference is for -x.
    """
    size = (degree + 1) * LANES
    for i in range(degree + 1):
        even, odd = simd.broadcast(0.0, LANES), simd.broadcast(0.0, LANES)
        even_reversed, odd_reversed = even, odd
        up, down = at(coefficients, columns + column), at(coefficients, (degree + 1) * columns + column)
        row, row_reversed = at(table, i * (degree + 2)), at(table, (degree + 1 + i) * (degree + 2))
        for _ in range(0, i + 1, 2):
            even = simd.fma(simd.load(up, LANES), simd.load_scalar(row), even)
            even_reversed = simd.fma(simd.load(down, LANES), simd.load_scalar(row_reversed), even_reversed)
            up, down = simd.advance(up, columns), simd.advance(down, -columns)
            row, row_reversed = simd.advance(row, 1), simd.advance(row_reversed, 1)
            odd = simd.fma(simd.load(up, LANES), simd.load_scalar(row), odd)
            odd_reversed = simd.fma(simd.load(down, LANES), simd.load_scalar(row_reversed), odd_reversed)
            up, down = simd.advance(up, columns), simd.advance(down, -columns)
            row, row_reversed = simd.advance(row, 1), simd.advance(row_reversed, 1)
        simd.store(at(pieces, i * LANES), even + odd)
        simd.store(at(pieces, size + i * LANES), even - odd)
        simd.store(at(pieces, 2 * size + i * LANES), even_reversed + odd_reversed)
        simd.store(at(pieces, 3 * size + i * LANES), even_reversed - odd_reversed)


@kernel(fastmath=False)
def sort_out(piece, degree, tolerance, codes, left, width, valid, stack, stack_codes, roots, root_codes, sizes, bad):
    """Count each lane's changes of sign: one goes to the roots, several to the stack, ambiguous ones to `bad`.

    piece : pointer to (degree + 1, LANES) Bernstein coefficients; codes, left, width, valid : vectors
    stack (degree + 3, capacity): coefficients, left end and width of each piece; stack_codes (capacity,)
    roots (2, 4, capacity), root_codes (2, capacity): bracket, start and sign at the left end, of x and of 1 / x
    sizes (3,): entries of both lists of roots, and of the stack
    """
    before = simd.load(piece, LANES)
    first = before
    least = absolute(before)
    changes = simd.broadcast(0.0, LANES)
    place, above, below = changes, before, before
    for i in range(1, degree + 1):
        now = simd.load(simd.advance(piece, i * LANES), LANES)
        least = simd.minimum(least, absolute(now))
        change = (now < 0.0) ^ (before < 0.0)
        changes = simd.select(change, changes + 1.0, changes)
        place = simd.select(change, float(i), place)
        above, below = simd.select(change, before, above), simd.select(change, now, below)
        before = now
    unsure = valid & ~(least > tolerance)
    if simd.any_lane(unsure):
        mark(unsure, codes, bad)
        valid = valid & ~unsure
    one = valid & (changes == 1.0)
    if simd.any_lane(one):
        # Where the polygon of the coefficients crosses zero
        start = left + width * ((place - 1.0 + above / (above - below)) * (1.0 / degree))
        for side in range(2):
            chosen = one & ((codes & REVERSED) == REVERSED * side)
            if simd.any_lane(chosen):
                capacity = root_codes.shape[1]
                own = at(roots, side * 4 * capacity + sizes[side])
                simd.store_selected(own, left, chosen)
                simd.store_selected(simd.advance(own, capacity), left + width, chosen)
                simd.store_selected(simd.advance(own, 2 * capacity), start, chosen)
                simd.store_selected(simd.advance(own, 3 * capacity), first, chosen)
                sizes[side] += simd.store_selected(at(root_codes, side * capacity + sizes[side]), codes, chosen)
    several = valid & (changes > 1.0)
    if simd.any_lane(several):
        narrow = several & (width < NARROWEST)
        if simd.any_lane(narrow):
            mark(narrow, codes, bad)
            several = several & ~narrow
        own = at(stack, sizes[2])
        capacity = stack_codes.size
        for i in range(degree + 1):
            simd.store_selected(own, simd.load(simd.advance(piece, i * LANES), LANES), several)
            own = simd.advance(own, capacity)
        simd.store_selected(own, left, several)
        simd.store_selected(simd.advance(own, capacity), width, several)
        sizes[2] += simd.store_selected(at(stack_codes, sizes[2]), codes, several)


@kernel(fastmath=False)
def mark(lanes, codes, bad):
    """bad[column] = 1 for the columns in these lanes' codes."""
    scratch = bad[bad.size - LANES :]
    count = simd.store_selected(at(scratch, 0), codes >> 2, lanes)
    for i in range(count):
        bad[scratch[i]] = 1


@kernel(fastmath=False)
def start_pieces(
    coefficients, table, degree, column, columns, valid, pieces, stack, stack_codes, roots, root_codes, sizes, bad
):
    """The four pieces of the polynomials of LANES columns."""
    to_bernstein(coefficients, table, degree, column, columns, pieces)
    tolerance = tolerance_of(degree)
    codes = (simd.iota_i64(LANES) + column) << 2
    zero = simd.broadcast(0.0, LANES)
    for kind in range(4):
        width = zero + ((1.0 + 4.0 * UNIT) / EDGE if kind & REVERSED else EDGE)
        sort_out(
            at(pieces, kind * (degree + 1) * LANES), degree, tolerance, codes + kind, zero, width, valid,
            stack, stack_codes, roots, root_codes, sizes, bad,
        )  # fmt: skip


@kernel
def tolerance_of(degree):
    """What rounding can have done to a Bernstein coefficient, and to a value at a bracket's rounded end.

    The sum of the moduli of the terms is at most 2 EDGE**degree; a conversion errs by 2 degree + 4 roundings of that,
    each of up to 25 halvings by degree.
    """
    return UNIT * (30.0 * degree + 8.0) * 2.0 * EDGE**degree


@kernel(fastmath=False)
def halve_pieces(degree, pieces, stack, stack_codes, roots, root_codes, sizes, bad):
    """Halve pieces until the stack is empty."""
    capacity = stack_codes.size
    left_half = at(pieces, 0)
    right_half = at(pieces, (degree + 1) * LANES)
    tolerance = tolerance_of(degree)
    while sizes[2] > 0:
        count = min(sizes[2], LANES)
        first = sizes[2] - count
        sizes[2] = first
        own = at(stack, first)
        for i in range(degree + 1):
            simd.store(simd.advance(right_half, i * LANES), simd.load(own, LANES))
            own = simd.advance(own, capacity)
        valid = simd.iota_i64(LANES) < count
        left, width = simd.load(own, LANES), simd.load(simd.advance(own, capacity), LANES) * 0.5
        codes = simd.load(at(stack_codes, first), LANES)
        simd.store(left_half, simd.load(right_half, LANES))
        for stage in range(1, degree + 1):
            place = right_half
            low = simd.load(place, LANES)
            for _ in range(degree + 1 - stage):
                above = simd.advance(place, LANES)
                high = simd.load(above, LANES)
                simd.store(place, (low + high) * 0.5)
                low, place = high, above
            simd.store(simd.advance(left_half, stage * LANES), simd.load(right_half, LANES))
        for half in range(2):
            sort_out(
                at(pieces, half * (degree + 1) * LANES), degree, tolerance, codes, left, width, valid,
                stack, stack_codes, roots, root_codes, sizes, bad,
            )  # fmt: skip
            left = left + width
