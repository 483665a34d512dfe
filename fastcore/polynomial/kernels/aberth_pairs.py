"""Ehrlich and Aberth's step for pairs of roots: all roots of LANES real polynomials as real quadratic factors.

A factor q = x**2 - s x + t holds a conjugate pair or two real roots and passes from one to the other, so that real
arithmetic does, a quarter of the complex one. With g the product of the other factors, q + d divides P where
P / g vanishes modulo q + d. Newton's step for that, in the ring of linear polynomials modulo q: of u = q U + R(u) the
remainder changes by -d U, hence

    d = R(P) / (P' - w G' - lead(w) lead(R(g))),    w = R(P) / R(g),

with P' and G' the quotients modulo q. For roots instead of factors this is N / (1 - N S), and convergence is as fast.
Two factors that are real each, of which only one root is one of P, hinder each other: their roots are paired anew.

A group that this does not bring to an end is left to `aberth_sweeps`.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.aberth_lanes import LANES
from fastcore.polynomial.kernels.either import absolute

FIRST_EXCHANGE = 4  # sweeps before pairs are made anew: 2 of 1000 random polynomials of degree 10 are left, else 80
MOST_PAIR_SWEEPS = 20
LARGEST_STEP = 4.0  # squared, relative
CLOSE = 1e-11  # squared relative step after which the next would be below 2**-40, and polishing needs no more
ROOM = 200.0  # bits that |root|**degree may have
TURN, FIRST_TURN = 0.6180339887498949, 0.7  # of half a circle: consecutive pairs start in different directions

_STORED = 4503599627370496.0  # 2**52
_ROUNDER = 6755399441055744.0  # 1.5 * 2**52: adding and subtracting it rounds to an integer
_FIELD = 0x7FF << 52


@kernel(inline=True)
def at(rows, i):
    return simd.advance(rows, i * LANES)


@kernel(inline=True)
def get(rows, i):
    return simd.load(simd.advance(rows, i * LANES), LANES)


@kernel(inline=True)
def put(rows, i, vector):
    simd.store(simd.advance(rows, i * LANES), vector)


@kernel(inline=True)
def power_of_lanes(k):
    """2**k of integers in float64, -1022 <= k <= 1023."""
    return simd.bitcast((simd.convert(k, simd.i64) + 1023) << 52, simd.f64)


@kernel(fastmath=False)
def scale_lanes(coefficients, degree, logs):
    """(fine, s, e): scale the coefficients by 2**(k s + e) in place, and their log2 (within 0.09) into logs.

    Not fine: a coefficient that is not finite, a zero at an end, a range too large to go without care.
    """
    fine = simd.broadcast(True, LANES)
    for k in range(degree + 1):
        bits = simd.bitcast(absolute(get(coefficients, k)), simd.i64)
        fine = fine & (bits < _FIELD)
        put(logs, k, simd.convert(bits, simd.f64) * (1.0 / _STORED) - 1023.0)
    low, high = get(logs, 0), get(logs, degree)
    fine = fine & (low > -1000.0) & (high > -1000.0)
    slope = ((low - high) * (1.0 / degree) + _ROUNDER) - _ROUNDER
    shift = -((high + slope * float(degree) + _ROUNDER) - _ROUNDER)
    zero = slope - slope
    fine = fine & (absolute(shift) <= 1000.0) & (absolute(shift + slope * float(degree)) <= 1000.0)
    slope, shift = simd.select(fine, slope, zero), simd.select(fine, shift, zero)
    for k in range(degree + 1):
        power = slope * float(k) + shift
        put(coefficients, k, simd.select(fine, get(coefficients, k), 1.0) * power_of_lanes(power))
        log = get(logs, k) + power
        fine = fine & (log < ROOM)
        put(logs, k, log)
    return fine, slope, shift


@kernel(fastmath=False)
def hull_lanes(logs, degree, slopes):
    """slopes[k]: of the upper hull of (k, logs[k]) right of k; minus log2 of the modulus of the k-th starting point."""
    vertex = simd.broadcast(0.0, LANES)
    slope = vertex
    steepest = vertex
    for k in range(degree):
        here = get(logs, k)
        best, place = simd.broadcast(-1e300, LANES), vertex
        for j in range(k + 1, degree + 1):
            to = (get(logs, j) - here) * (1.0 / (j - k))
            better = to >= best
            best, place = simd.select(better, to, best), simd.select(better, float(j), place)
        turns = vertex == float(k)
        slope, vertex = simd.select(turns, best, slope), simd.select(turns, place, vertex)
        steepest = simd.maximum(steepest, absolute(slope))
        put(slopes, k, slope)
    return steepest


@kernel(fastmath=False)
def place_pairs(coefficients, slopes, degree, s, t, steps):
    """Starting factors: pairs of moduli next to each other, in directions that differ much.

    Of odd degree P x is solved. Its first factor is x (x - r): a step leaves t = 0 as it is. r starts on the side where
    P changes its sign.
    """
    extra = degree & 1
    for i in range((degree + 1) // 2):
        first = get(slopes, max(2 * i - extra, 0))
        second = get(slopes, 2 * i + 1 - extra)
        bits = (1023.0 - 0.5 * (first + second)) * _STORED
        radius = simd.bitcast(simd.convert(bits, simd.i64), simd.f64)
        turn = FIRST_TURN + i * TURN
        put(steps, i, simd.broadcast(1e300, LANES))
        put(s, i, radius * (2.0 * math.cos(math.pi * (turn - math.floor(turn)))))
        put(t, i, radius * radius)
        if i < extra:
            left = get(coefficients, 0) * get(coefficients, degree) > 0.0
            put(s, i, simd.select(left, -radius, radius))
            put(t, i, radius - radius)


@kernel(inline=True, fastmath=False)
def ring_divide(a, b, c, d, s, t):
    """(a x + b) / (c x + d) modulo x**2 - s x + t, as (x's coefficient, constant)."""
    e = simd.fma(c, s, d)
    factor = 1.0 / simd.fma(c, c * t, d * e)
    return simd.fma(a, d, -(b * c)) * factor, simd.fma(b, e, a * (c * t)) * factor


@kernel(inline=True, fastmath=False)
def remainders(coefficients, degree, s, t):
    """(P mod q, (P div q) mod q) as two numbers each; degree is even and at least 4."""
    zero = simd.broadcast(0.0, LANES)
    b, b_before, d, d_before = get(coefficients, degree), zero, zero, zero
    d = b
    b, b_before = simd.fma(s, b, get(coefficients, degree - 1)), b
    for k in range(degree - 2, 2, -1):
        d, d_before = simd.fma(s, d, simd.fma(-t, d_before, b)), d
        b, b_before = simd.fma(s, b, simd.fma(-t, b_before, get(coefficients, k))), b
    # b is b_3, d is d_4
    quotient_a = simd.fma(s, d, simd.fma(-t, d_before, b))
    b, b_before = simd.fma(s, b, simd.fma(-t, b_before, get(coefficients, 2))), b
    quotient_b = simd.fma(-t, d, b)
    a = simd.fma(s, b, simd.fma(-t, b_before, get(coefficients, 1)))
    return a, simd.fma(-t, b, get(coefficients, 0)), quotient_a, quotient_b


@kernel(inline=True, fastmath=False)
def others(s_rows, t_rows, count, own, s, t):
    """(g mod q, G') of the product g of the other factors, of which there is at least one."""
    first = 1 if own == 0 else 0
    a, b = s - get(s_rows, first), get(t_rows, first) - t
    qa = a - a
    qb = qa + 1.0
    for j in range(first + 1, count):
        if j != own:
            c, d = s - get(s_rows, j), get(t_rows, j) - t
            both, own_both = a * c, qa * c
            qa, qb = (
                simd.fma(qa, d, simd.fma(qb, c, simd.fma(own_both, s, a))),
                simd.fma(qb, d, simd.fma(-own_both, t, b + both)),
            )
            a, b = simd.fma(a, d, simd.fma(b, c, both * s)), simd.fma(b, d, -(both * t))
    return a, b, qa, qb


@kernel(fastmath=False)
def sweep_pairs(coefficients, degree, s_rows, t_rows, steps, active):
    """One step of each factor that is not done in the active lanes; which lanes go on.

    steps : squared relative steps; a factor is done when its own falls below CLOSE
    """
    unfinished = active & (get(steps, 0) < 0.0)
    count = degree // 2
    for i in range(count):
        active_here = active & (get(steps, i) >= CLOSE)
        if not simd.any_lane(active_here):
            continue
        s, t = get(s_rows, i), get(t_rows, i)
        a, b, pa, pb = remainders(coefficients, degree, s, t)
        c, d, qa, qb = others(s_rows, t_rows, count, i, s, t)
        wa, wb = ring_divide(a, b, c, d, s, t)
        both = wa * qa
        slope_a = pa - simd.fma(wa, qb, simd.fma(wb, qa, both * s))
        slope_b = pb - simd.fma(wb, qb, simd.fma(wa, c, -(both * t)))
        da, db = ring_divide(a, b, slope_a, slope_b, s, t)
        inverse = 1.0 / simd.fma(s, s, absolute(t) + 1e-300)
        share = db * inverse
        step = simd.maximum(da * da * inverse, share * share)
        if simd.any_lane(active_here & ~(step <= LARGEST_STEP)):
            usable = step < 1e300
            factor = simd.select(step > LARGEST_STEP, simd.sqrt(LARGEST_STEP / step), 1.0)
            step = simd.select(usable, step, 1e300)
            da, db = simd.select(usable, da * factor, 0.0), simd.select(usable, db * factor, 0.0)
        put(s_rows, i, simd.select(active_here, s - da, s))
        put(t_rows, i, simd.select(active_here, t + db, t))
        put(steps, i, simd.select(active_here, step, get(steps, i)))
        unfinished = unfinished | (active_here & (step >= CLOSE))
    return unfinished


@kernel(fastmath=False)
def backward_errors(lanes, degree, lane, x, y):
    """|P| over the sum of |c_k x**k|, at two points; lanes (rows, LANES) start with the coefficients."""
    c = lanes[degree, lane]
    at_x, size_x, of_x, at_y, size_y, of_y = c, abs(c), abs(x), c, abs(c), abs(y)
    for k in range(degree - 1, -1, -1):
        c = lanes[k, lane]
        at_x, size_x = at_x * x + c, size_x * of_x + abs(c)
        at_y, size_y = at_y * y + c, size_y * of_y + abs(c)
    return abs(at_x) / size_x, abs(at_y) / size_y


@kernel(fastmath=False)
def exchange_real_roots(lanes, degree, count, s, t, step, lane, spare):
    """Pair the real roots of unfinished factors anew: those nearest to a root of P with each other.

    s, t, step : first rows of lanes that hold these
    """
    factors = 0
    for i in range(count):
        half = 0.5 * lanes[s + i, lane]
        factors += lanes[step + i, lane] >= CLOSE and half * half > lanes[t + i, lane]
    if factors < 2:
        return
    found = 0
    single = False
    for i in range(count):
        half = 0.5 * lanes[s + i, lane]
        square = half * half - lanes[t + i, lane]
        if square > 0.0 and lanes[step + i, lane] >= CLOSE:
            one = half + math.copysign(math.sqrt(square), half)
            other = lanes[t + i, lane] / one
            errors = backward_errors(lanes, degree, lane, one, other)
            for x, error in ((one, errors[0]), (other, errors[1])):
                if x == 0.0:
                    single = True  # the factor x (x - r) of odd degrees
                    continue
                place = found
                while place > 0 and spare[place - 1, 1] > error:
                    spare[place, 0], spare[place, 1] = spare[place - 1, 0], spare[place - 1, 1]
                    place -= 1
                spare[place, 0], spare[place, 1] = x, error
                found += 1
    if single:
        lanes[s, lane] = spare[0, 0]
    found = 1 if single else 0
    for i in range(count):
        half = 0.5 * lanes[s + i, lane]
        if lanes[t + i, lane] != 0.0 and half * half > lanes[t + i, lane] and lanes[step + i, lane] >= CLOSE:
            one, other = spare[found, 0], spare[found + 1, 0]
            lanes[s + i, lane], lanes[t + i, lane] = one + other, one * other
            found += 2
