"""One polynomial, many y: the monotone pieces once, then the y of a piece together, in SIMD lanes.

Lanes take the usual case: y clearly inside the values of a piece. What is special - y that touches a critical value
within rounding, that is not finite or far from the coefficients' sizes, lanes that do not settle - is solved alone.
"""

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.derivative_chain import root_bound
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import UNIT, two_product, two_sum
from fastcore.polynomial.kernels.monotone import HIDDEN, QUICK_STEP, TOP
from fastcore.polynomial.kernels.scaling import scaled

LANES = 2 * simd.F64_LANES  # two registers: the latency of one hides behind the other
QUICK_LIMIT = 14
EXACT_LIMIT = 6
LEAST_LIMIT = QUICK_LIMIT + EXACT_LIMIT  # evaluations that a caller must allow
LARGEST_Y, SMALLEST_Y = 2.0**900, 2.0**-960  # of scaled y: others need coefficients scaled with them

UNSOLVED = -1  # marks of a y: no piece holds it,
ALONE = -2  # or it is to be solved alone


@kernel
def lane_taylor(heads, degree, x, constant):
    """`taylor` of lanes, each with its own constant term."""
    size = absolute(x)
    value = simd.broadcast(heads[degree], LANES)
    scale = absolute(value) * 0.5
    slope = value * 0.0
    curvature = slope
    for k in range(degree - 1, 0, -1):
        curvature = simd.fma(curvature, x, slope)
        slope = simd.fma(slope, x, value)
        value = simd.fma(value, x, heads[k])
        scale = simd.fma(scale, size, absolute(value))
    curvature = simd.fma(curvature, x, slope)
    slope = simd.fma(slope, x, value)
    value = simd.fma(value, x, constant)
    return value, slope, curvature, simd.fma(scale, size, absolute(value))


@kernel(fastmath=False)
def lane_compensated(heads, degree, x, constant, tail):
    """`compensated` of lanes, each with its own constant term; and the scale that `taylor` has."""
    size = absolute(x)
    value = simd.broadcast(heads[degree], LANES)
    scale = absolute(value) * 0.5
    slope = value * 0.0
    error = slope
    for k in range(degree - 1, 0, -1):
        slope = simd.fma(slope, x, value)
        product, below = two_product(value, x)
        value, lost = two_sum(product, simd.broadcast(heads[k], LANES))
        error = simd.fma(error, x, below + lost)
        scale = simd.fma(scale, size, absolute(value))
    slope = simd.fma(slope, x, value)
    product, below = two_product(value, x)
    value, lost = two_sum(product, constant)
    error = simd.fma(error, x, (below + lost) + tail)
    return value + error, slope, simd.fma(scale, size, absolute(value))


@kernel
def first_points(y, a, value_a, curvature_a, b, value_b, curvature_b):
    """`first_point` of lanes; constant y - value apart. Ends may be infinite where they are not critical."""
    if curvature_a != 0.0 and curvature_b != 0.0:
        share = (y - value_a) * (1.0 / (value_b - value_a))
        upper = share > 0.5
        w = simd.sqrt(simd.select(upper, 1.0 - share, share) * (1.0 / 3.0))
        t = w * simd.fma(w, simd.fma(w, simd.fma(w, simd.broadcast(0.3, LANES), 5.0 / 18.0), 1.0 / 3.0), 1.0)
        return simd.select(upper, b - t * (b - a), a + t * (b - a))
    if curvature_a != 0.0:
        return a + simd.sqrt((y - value_a) * (1.0 / curvature_a))
    if curvature_b != 0.0:
        return b - simd.sqrt((y - value_b) * (1.0 / curvature_b))
    if value_a - value_a == 0.0 and value_b - value_b == 0.0:
        return a + (y - value_a) * ((b - a) / (value_b - value_a))
    return y * 0.0 + (a if value_a - value_a == 0.0 else b if value_b - value_b == 0.0 else 0.5 * (a + b))


@kernel
def solve_packed(heads, degree, piece, rises, xtol, ys, count, xs, residuals, bounds, steps, settled):
    """Solve for ys[:count], which lie inside the piece; all arrays have room for whole vectors.

    piece : (a, value, curvature, b, value, curvature) at its ends; of an open end a bound of the roots and infinity
    settled : (n,) bool, written: whether the last step was at most xtol * abs(x), inside the piece
    """
    low, value_low, curvature_low, high, value_high, curvature_high = piece
    sign = 1.0 if rises else -1.0
    for first in range(0, count, LANES):
        y = simd.load(simd.advance(simd.pointer(ys), first), LANES)
        constant, tail = two_sum(simd.broadcast(heads[0], LANES), -y)
        a, b = simd.broadcast(low, LANES), simd.broadcast(high, LANES)
        x = first_points(y, low, value_low, curvature_low, high, value_high, curvature_high)
        x = simd.select((x >= a) & (x <= b), x, (a + b) * 0.5)
        done = x != x
        iterations = y * 0.0
        for _ in range(QUICK_LIMIT):
            value, slope, curvature, scale = lane_taylor(heads, degree, x, constant)
            told = absolute(value) > HIDDEN * scale
            above = value * sign > 0.0
            b = simd.select(told & above, x, b)
            a = simd.select(told & ~above, x, a)
            product, square = value * curvature, slope * slope
            mild = absolute(product) <= 0.25 * square
            following = x - value * slope / simd.select(mild, square - product, square)
            inside = (following > a) & (following < b)
            following = simd.select(inside, following, (a + b) * 0.5)
            small = absolute(following - x) <= QUICK_STEP * absolute(following)
            x = simd.select(done, x, following)
            iterations = iterations + simd.select(done, y * 0.0, y * 0.0 + 1.0)
            done = done | ~told | (small & inside)
            if simd.all_lanes(done):
                break
        best, least, size = x, x * 0.0 + np.inf, x * 0.0
        done = x != x
        for _ in range(EXACT_LIMIT):
            value, slope, scale = lane_compensated(heads, degree, x, constant, tail)
            iterations = iterations + 1.0
            better = absolute(value) < least
            best, least = simd.select(better, x, best), simd.select(better, absolute(value), least)
            size = simd.select(better, scale, size)
            if simd.all_lanes(done):
                break
            following = simd.select(value == 0.0, x, x - value / slope)
            following = simd.minimum(simd.maximum(following, low), high)
            done = absolute(following - x) <= xtol * absolute(x)
            x = following
        base = UNIT * abs(heads[0])
        bound = (2.0 * UNIT) * size + absolute(tail) + (UNIT * absolute(y) + base)
        simd.store(simd.advance(simd.pointer(xs), first), best)
        simd.store(simd.advance(simd.pointer(residuals), first), least)
        simd.store(simd.advance(simd.pointer(bounds), first), bound)
        simd.store(simd.advance(simd.pointer(steps), first), iterations)
        simd.store(simd.advance(simd.pointer(settled), first), done & (least < np.inf))


@kernel
def gather_inside(ys, size, lower, margin_lower, upper, margin_upper, taken, marks, packed, places):
    """Collect the y clearly between lower and upper that are not taken; mark those that are about there as ALONE.

    Returns
    -------
    how many were collected; the rest of the last vector is filled
    """
    count = 0
    for j in range(size):
        if taken[j] == 0:
            y = ys[j]
            if y > lower - margin_lower and y < upper + margin_upper:
                taken[j] = 1
                if y > lower + margin_lower and y < upper - margin_upper:
                    packed[count] = y
                    places[count] = j
                    count += 1
                else:
                    marks[j] = ALONE
            elif y in (lower, upper):
                taken[j] = 1
                marks[j] = ALONE
    if count:
        for j in range(count, (count + LANES - 1) // LANES * LANES):
            packed[j] = packed[count - 1]
    return count


@kernel
def piece_of(i, breaks, values, curvatures, bound):
    """The piece between ends i and i + 1 for `solve_packed`."""
    a, b = max(breaks[i], -bound), min(breaks[i + 1], bound)
    return a, values[i], curvatures[i], b, values[i + 1], curvatures[i + 1]


@kernel
def solve_chunk(heads, degree, number, place, table, x0, xtol, ys, size, work, marks, places, taken, settled):
    """Solve ys[:size] in the lanes.

    Parameters
    ----------
    heads, degree : the polynomial for y = 0
    number, place, table : `fill_pieces`; table (4, n): breaks, values, margins, curvatures
    work : (9, n) float64: rows 0 to 3, x, residual, error_bound and iterations, are the answers; the rest is scratch
    marks : (n,) int8; ALONE of a y that is left out; written: 0 of the solved ones, UNSOLVED, ALONE
    places, taken, settled : (n,) int32, uint8 and bool of scratch
    """
    breaks, values, margins, curvatures = table[0], table[1], table[2], table[3]
    packed, xs, residuals, bounds = work[4], work[5], work[6], work[7]
    steps = work[8]
    bound = root_bound_of(heads, degree, ys, size, marks)
    for side in range(2):
        for j in range(size):
            taken[j] = 1 if marks[j] == ALONE else 0
        i = place - 1 if side == 0 else place
        while 0 <= i < number - 1:
            rises = values[i] < values[i + 1]
            under, over = (i, i + 1) if rises else (i + 1, i)
            count = gather_inside(
                ys, size, values[under], margins[under], values[over], margins[over], taken, marks, packed, places
            )
            if count:
                piece = piece_of(i, breaks, values, curvatures, bound)
                solve_packed(heads, degree, piece, rises, xtol, packed, count, xs, residuals, bounds, steps, settled)
            for k in range(count):
                j = places[k]
                if marks[j] == ALONE:
                    continue
                if not settled[k]:
                    marks[j] = ALONE
                elif side == 0 or marks[j] == UNSOLVED or xs[k] - x0 < x0 - work[0, j]:
                    marks[j] = 0
                    work[0, j], work[1, j], work[2, j], work[3, j] = xs[k], residuals[k], bounds[k], steps[k]
            i += 1 if side == 1 else -1


@kernel
def root_bound_of(heads, degree, ys, size, marks):
    """`root_bound` for all y of a chunk."""
    farthest = heads[0]
    for j in range(size):
        if marks[j] != ALONE and abs(heads[0] - ys[j]) > abs(farthest):
            farthest = heads[0] - ys[j]
    constant = heads[0]
    heads[0] = farthest
    bound = root_bound(heads, TOP, degree)
    heads[0] = constant
    return bound


@kernel
def load_chunk(y, shift, ys, marks):
    """Scaled y, and which of them are to be solved alone."""
    for j in range(y.size):
        here = scaled(y[j], shift)
        size = abs(here)
        marks[j] = UNSOLVED if size <= LARGEST_Y and (size >= SMALLEST_Y or y[j] == 0.0) else ALONE
        ys[j] = here


@kernel
def least_point(number, table, y):
    """The finite end where the value is nearest to y, which no piece reaches."""
    best, least = table[0, 0], np.inf
    for i in range(number):
        distance = abs(table[1, i] - y)
        if distance < least:
            best, least = table[0, i], distance
    return best
