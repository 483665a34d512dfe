"""Ehrlich and Aberth's iteration on all roots of LANES polynomials, and discs that hold the roots.

A root z moves by N / (1 - N S): N = P / P', S = sum over the others of 1 / (z - z_j). The latest z_j are used.

Sources: Aberth 1973, "Iteration methods for finding all zeros of a polynomial simultaneously"; Bini 1996 (stop by the
rounding error of P, the reversed polynomial); Smith 1970, "Error bounds for zeros of a polynomial based upon
Gerschgorin's theorem": n discs around z_i of radius n W_i, W_i = |P(z_i) / (c_n prod (z_i - z_j))|, of which each
component of k discs holds k roots.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.aberth_lanes import (
    LANES,
    compensated_horner,
    divide,
    inverse_power,
    inverse_sum,
    modulus,
    plain_horner,
)
from fastcore.polynomial.kernels.error_free import UNIT, two_product, two_sum

# Blocks of the scratch array, each of (degree + 1) * LANES numbers.
FORWARD, REVERSED, PICKED = 0, 3, 6  # coefficients: real, imaginary, absolute
ROOT_R, ROOT_I, ACTIVE, SWEEPS, LAST = 9, 10, 11, 12, 13  # LAST: |P| over its size, one sweep before
VALUE, BACKWARD, BEYOND, NEWTON, WEIERSTRASS, ALONE, RADIUS = 14, 15, 16, 17, 18, 19, 20
BLOCKS = 21

MOST_SWEEPS, MOST_POLISHING = 120, 60
_FAR = 2.0**990


@kernel(inline=True)
def block(scratch, number, degree):
    return simd.advance(scratch, number * (degree + 1) * LANES)


@kernel(inline=True)
def row(scratch, number, degree, i):
    return simd.advance(scratch, (number * (degree + 1) + i) * LANES)


@kernel(fastmath=False)
def pick_coefficients(scratch, degree, beyond):
    """Into block PICKED: reversed coefficients in the lanes of the mask, the others' as they are."""
    for part in range(3):
        ahead, back = block(scratch, FORWARD + part, degree), block(scratch, REVERSED + part, degree)
        to = block(scratch, PICKED + part, degree)
        for k in range(degree + 1):
            offset = k * LANES
            forward = simd.load(simd.advance(ahead, offset), LANES)
            backward = simd.load(simd.advance(back, offset), LANES)
            simd.store(simd.advance(to, offset), simd.select(beyond, backward, forward))


@kernel(inline=True, fastmath=False)
def inverse_with_rest(zr, zi):
    """(w, e) with w + e = 1 / z to twice the precision."""
    one = simd.broadcast(1.0, LANES)
    wr, wi = divide(one, one - one, zr, zi)
    a, a_rest = two_product(zr, wr)
    b, b_rest = two_product(zi, wi)
    c, c_rest = two_product(zr, wi)
    d, d_rest = two_product(zi, wr)
    first, first_rest = two_sum(one, -a)
    second, second_rest = two_sum(first, b)
    left_r = second + ((second_rest + first_rest) - (a_rest - b_rest))
    left_i = -((c + d) + (c_rest + d_rest))
    return wr, wi, left_r * wr - left_i * wi, left_r * wi + left_i * wr


@kernel(inline=True)
def is_compensated(scratch, degree):
    """Asked of memory, so that the compiler makes one copy of the sweeps, not one for each answer."""
    return simd.load_scalar(row(scratch, SWEEPS, degree, degree)) > 0.0


@kernel(inline=True)
def set_compensated(scratch, degree, answer):
    simd.store_scalar(row(scratch, SWEEPS, degree, degree), 1.0 if answer else 0.0)


@kernel(fastmath=False)
def newton_terms(scratch, degree, degrees, zr, zi, limit):
    """What N = a / b needs: (a, b, |P|, its size, the errors of |a| and |b|, beyond), at z.

    Where |z| > limit the reversed polynomial Q gives P(z) = z**n Q(1 / z): |P| and its size are those of Q, a = z Q,
    b = n Q - Q' / z.
    """
    compensated = is_compensated(scratch, degree)
    size = modulus(zr, zi)
    beyond = size > limit
    any_beyond = simd.any_lane(beyond)
    zero = simd.broadcast(0.0, LANES)
    first = FORWARD
    wr, wi, er, ei, w_size = zr, zi, zero, zero, size
    if any_beyond:
        pick_coefficients(scratch, degree, beyond)
        first = PICKED
        vr, vi, vr_rest, vi_rest = inverse_with_rest(zr, zi)
        wr, wi = simd.select(beyond, vr, zr), simd.select(beyond, vi, zi)
        er, ei = simd.select(beyond, vr_rest, zero), simd.select(beyond, vi_rest, zero)
        w_size = simd.select(beyond, 1.0 / size, size)
    cr, ci, ca = (
        block(scratch, first, degree),
        block(scratch, first + 1, degree),
        block(scratch, first + 2, degree),
    )
    slope = zero
    if compensated:
        pr, pi, dr, di, s, slope = compensated_horner(cr, ci, ca, degree, wr, wi, w_size, er, ei)
    else:
        pr, pi, dr, di, s = plain_horner(cr, ci, ca, degree, wr, wi, w_size)
    value = modulus(pr, pi)
    n = degree + 2.0
    error = value * UNIT + s * (40.0 * n * n * UNIT * UNIT) if compensated else s * (n * 4.0 * UNIT)
    error_b = slope * (n * 6.0 * UNIT)
    ar, ai, br, bi, error_a = pr, pi, dr, di, error
    if any_beyond:
        br = simd.select(beyond, degrees * pr - (wr * dr - wi * di), dr)
        bi = simd.select(beyond, degrees * pi - (wr * di + wi * dr), di)
        ar = simd.select(beyond, zr * pr - zi * pi, pr)
        ai = simd.select(beyond, zr * pi + zi * pr, pi)
        error_a = simd.select(beyond, size * error, error)
        error_b = simd.select(beyond, (n * 6.0 * UNIT) * (degrees * s + w_size * slope), error_b)
    return ar, ai, br, bi, value, s, error, error_a, error_b, beyond, size


@kernel(fastmath=False)
def move_root(scratch, degree, degrees, i, limit, active):
    """One step of root i in the active lanes, and whether any goes on."""
    at_r, at_i = row(scratch, ROOT_R, degree, i), row(scratch, ROOT_I, degree, i)
    zr, zi = simd.load(at_r, LANES), simd.load(at_i, LANES)
    ar, ai, br, bi, value, s, error, _, _, _, size = newton_terms(scratch, degree, degrees, zr, zi, limit)
    nr, ni = divide(ar, ai, br, bi)
    sr, si = inverse_sum(block(scratch, ROOT_R, degree), block(scratch, ROOT_I, degree), degree, i, zr, zi)
    one = simd.broadcast(1.0, LANES)
    step_r, step_i = divide(nr, ni, one - (nr * sr - ni * si), -(nr * si + ni * sr))
    step = modulus(step_r, step_i)
    ratio = value / s
    last = row(scratch, LAST, degree, i)
    no_gain = (ratio <= (degrees + 2.0) * UNIT) & (ratio > 0.25 * simd.load(last, LANES))
    simd.store(last, simd.select(active, ratio, simd.load(last, LANES)))
    good = step < _FAR
    still = ~(value > 0.0)
    if is_compensated(scratch, degree):
        # In a cluster |P| may rise on the way: not done before P is lost in its error.
        done = (value <= 2.0 * error) | (good & (step <= size * (2.0 * UNIT)))
        moves = active & good & ~still & ((step <= size * 0.25) | ~done)
    else:
        done = no_gain | (ratio <= UNIT) | (good & (step <= size * (0.5 * UNIT)))
        moves = active & good & ~still & ~done
    lost = active & ~good & ~still & ~done
    new_r = simd.select(moves, zr - step_r, simd.select(lost, 0.9375 * zr - 0.3125 * zi, zr))
    new_i = simd.select(moves, zi - step_i, simd.select(lost, 0.9375 * zi + 0.3125 * zr, zi))
    simd.store(at_r, new_r)
    simd.store(at_i, new_i)
    count = row(scratch, SWEEPS, degree, i)
    simd.store(count, simd.load(count, LANES) + simd.select(active, one, one - one))
    active = active & ~done & ~still
    simd.store(row(scratch, ACTIVE, degree, i), simd.select(active, one, one - one))
    return simd.any_lane(active)


@kernel(fastmath=False)
def sweep(scratch, degree, degrees, limit, most):
    """Sweeps over the active roots until none is left, at most so many."""
    for _ in range(most):
        busy = False
        for i in range(degree):
            active = simd.load(row(scratch, ACTIVE, degree, i), LANES) > 0.0
            if simd.any_lane(active):
                busy |= move_root(scratch, degree, degrees, i, limit, active)
        if not busy:
            break


@kernel(fastmath=False)
def judge_values(scratch, degree, degrees, limit):
    """Blocks VALUE, BACKWARD (|P| over its size), BEYOND, NEWTON (n |P| / |P'|: a disc that holds a root)."""
    one = simd.broadcast(1.0, LANES)
    set_compensated(scratch, degree, True)
    for i in range(degree):
        zr, zi = simd.load(row(scratch, ROOT_R, degree, i), LANES), simd.load(row(scratch, ROOT_I, degree, i), LANES)
        ar, ai, br, bi, value, s, error, error_a, error_b, beyond, _ = newton_terms(
            scratch, degree, degrees, zr, zi, limit
        )
        simd.store(row(scratch, VALUE, degree, i), value)
        simd.store(row(scratch, BACKWARD, degree, i), value / s)
        simd.store(row(scratch, BEYOND, degree, i), simd.select(beyond, one, one - one))
        slope = modulus(br, bi) - error_b
        radius = (degrees * 1.0000001) * (modulus(ar, ai) + error_a) / slope
        simd.store(row(scratch, NEWTON, degree, i), simd.select(slope > 0.0, radius, float("inf")))
        simd.store(row(scratch, LAST, degree, i), value + error)


@kernel(inline=True, fastmath=False)
def distance(scratch, degree, zr, zi, j):
    return modulus(
        zr - simd.load(row(scratch, ROOT_R, degree, j), LANES), zi - simd.load(row(scratch, ROOT_I, degree, j), LANES)
    )


@kernel(fastmath=False)
def judge_weierstrass(scratch, degree, degrees):
    """Block WEIERSTRASS: n W_i, the radii of Smith's discs. The product is kept in the range by its exponent apart."""
    one = simd.broadcast(1.0, LANES)
    lead = simd.load(row(scratch, REVERSED + 2, degree, 0), LANES)
    for i in range(degree):
        zr, zi = simd.load(row(scratch, ROOT_R, degree, i), LANES), simd.load(row(scratch, ROOT_I, degree, i), LANES)
        # Beyond, |P| = |z|**n |Q|: a factor |z| for each distance, and one that is left over.
        beyond = simd.load(row(scratch, BEYOND, degree, i), LANES) > 0.0
        size = simd.select(beyond, modulus(zr, zi), one)
        w = simd.load(row(scratch, LAST, degree, i), LANES)
        clash = ~((w > 0.0) & (lead > 0.0))
        w, exponents = take_exponent(simd.select(clash, one, w), simd.iota_i64(LANES) & 0)
        w, exponents = take_exponent(w / simd.select(clash, one, lead), exponents)
        for j in range(degree):
            if j != i:
                gap = distance(scratch, degree, zr, zi, j) / size
                near = simd.load(row(scratch, ROOT_R, degree, j), LANES) < _FAR
                clash = clash | (near & ~(gap > 0.0))
                w, exponents = take_exponent(w / simd.select(near & (gap > 0.0), gap, one), exponents)
        exponents = simd.minimum(simd.maximum(exponents, -1000), 1000)
        w = w * simd.bitcast((exponents + 1023) << 52, simd.f64) * size * (degrees * 1.0000001)
        simd.store(row(scratch, WEIERSTRASS, degree, i), simd.select(clash, float("inf"), w))


@kernel(inline=True, fastmath=False)
def take_exponent(w, exponents):
    """w as one in [1, 2), its exponent added to the others; w is positive and normal."""
    power = inverse_power(w)
    return w * power, exponents + ((simd.bitcast(w, simd.i64) >> 52) - 1023)


@kernel(fastmath=False)
def judge_discs(scratch, degree, degrees):
    """Blocks ALONE (the disc meets no other) and RADIUS: then |z - root| <= W_i / (1 - sum of n W_j / |z_i - z_j|)."""
    one = simd.broadcast(1.0, LANES)
    for i in range(degree):
        zr, zi = simd.load(row(scratch, ROOT_R, degree, i), LANES), simd.load(row(scratch, ROOT_I, degree, i), LANES)
        own = simd.load(row(scratch, WEIERSTRASS, degree, i), LANES)
        alone = own < _FAR
        shares = one - one
        for j in range(degree):
            if j != i:
                is_root = simd.load(row(scratch, ROOT_R, degree, j), LANES) < _FAR
                other = simd.load(row(scratch, WEIERSTRASS, degree, j), LANES)
                gap = distance(scratch, degree, zr, zi, j)
                alone = alone & (~is_root | (gap > (own + other) * 1.0000001))
                shares = shares + simd.select(is_root, other / gap, shares - shares)
        left = one - shares
        radius = simd.select(left > 0.0, simd.minimum(own, own / (degrees * left)), own) * 1.0000002
        simd.store(row(scratch, RADIUS, degree, i), simd.select(alone, radius, own))
        simd.store(row(scratch, ALONE, degree, i), simd.select(alone, one, one - one))
