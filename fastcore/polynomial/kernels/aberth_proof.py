"""Polish and prove the roots of LANES real polynomials at once, where all of them are simple and lie apart.

One of each conjugate pair is kept, Im > 0. Discs of radius n W_i (see `aberth_sweeps`) that meet no other hold one
root each; W_i over 1 - sum of n W_j / |z_i - z_j| then bounds the distance. What cannot be proven so is left to
`aberth_sweeps`.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.aberth_lanes import LANES, multiply_add
from fastcore.polynomial.kernels.aberth_pairs import get, put
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import UNIT, two_product, two_sum

MOST_STEPS = 4


@kernel(inline=True, fastmath=False)
def real_compensated(coefficients, degree, zr, zi, size):
    """(P, P', sum |c_k| |z|**k) of real coefficients, P within u |P| + 40 (n u)**2 of that sum."""
    pr = get(coefficients, degree)
    zero = pr - pr
    pi, dr, di, fr, fi, s = zero, zero, zero, zero, zero, absolute(pr)
    for k in range(degree - 1, -1, -1):
        c = get(coefficients, k)
        dr, di = multiply_add(dr, di, zr, zi, pr, pi)
        s = simd.fma(s, size, absolute(c))
        a, a_rest = two_product(pr, zr)
        b, b_rest = two_product(pi, zi)
        e, e_rest = two_product(pr, zi)
        f, f_rest = two_product(pi, zr)
        a, ab_rest = two_sum(a, -b)
        pi, pi_rest = two_sum(e, f)
        pr, pr_rest = two_sum(a, c)
        rest_r = (a_rest - b_rest) + (ab_rest + pr_rest)
        rest_i = (e_rest + f_rest) + pi_rest
        fr, fi = multiply_add(fr, fi, zr, zi, rest_r, rest_i)
    return pr + fr, pi + fi, dr, di, s


@kernel(fastmath=False)
def polish_root(coefficients, degree, zr, zi):
    """(z, |P(z)|, its error, done and backward error small, steps): Newton's steps to the last bit."""
    moving = simd.broadcast(True, LANES)
    steps = 0
    while True:
        size2 = simd.fma(zr, zr, zi * zi)
        pr, pi, dr, di, s = real_compensated(coefficients, degree, zr, zi, simd.sqrt(size2))
        inverse = 1.0 / simd.fma(dr, dr, di * di)
        step_r, step_i = simd.fma(pr, dr, pi * di) * inverse, simd.fma(pi, dr, -(pr * di)) * inverse
        moving = moving & (simd.fma(step_r, step_r, step_i * step_i) > size2 * (2.25 * UNIT * UNIT))
        if steps == MOST_STEPS or not simd.any_lane(moving):
            break
        zr, zi = simd.select(moving, zr - step_r, zr), simd.select(moving, zi - step_i, zi)
        steps += 1
    value = simd.sqrt(simd.fma(pr, pr, pi * pi))
    n = degree + 2.0
    error = (value + 1e-290) * (4.0 * UNIT) + s * (40.0 * n * n * UNIT * UNIT)
    return zr, zi, value, error, ~moving & (value <= s * (4.0 * degree * UNIT)), steps


@kernel(inline=True, fastmath=False)
def meet(re, im, weights, products, gaps, ranks, i, j):
    """What roots i and j are to each other: factors of their products of squared distances, gaps, order."""
    re_i, im_i, re_j, im_j = get(re, i), get(im, i), get(re, j), get(im, j)
    weight_i, weight_j = get(weights, i), get(weights, j)
    dr, minus, plus = re_i - re_j, im_i - im_j, im_i + im_j
    square = dr * dr
    near, far = simd.fma(minus, minus, square), simd.fma(plus, plus, square)
    both = simd.minimum(weight_i, weight_j) > 0.0
    one = simd.broadcast(1.0, LANES)
    near_factor = simd.select(both, near, one)
    put(products, i, get(products, i) * near_factor * simd.select(both & (weight_j > 1.5), far, one))
    put(products, j, get(products, j) * near_factor * simd.select(both & (weight_i > 1.5), far, one))
    gap = simd.select(both, near, 1e300)
    put(gaps, i, simd.minimum(get(gaps, i), gap))
    put(gaps, j, simd.minimum(get(gaps, j), gap))
    before = re_i < re_j
    put(ranks, j, get(ranks, j) + simd.select(before, weight_i, 0.0))
    put(ranks, i, get(ranks, i) + simd.select(before, 0.0, weight_j))
    return both & (re_i == re_j)


@kernel(fastmath=False)
def prove(coefficients, degree, count, re, im, weights, values, errors, products, gaps, ranks):
    """Whether each lane is proven; `errors` become radii, `ranks` places in sorted order."""
    one = simd.broadcast(1.0, LANES)
    for i in range(count):
        im_i = get(im, i)
        own = simd.select(get(weights, i) > 1.5, 4.0 * im_i * im_i, one)
        put(products, i, own)
        put(gaps, i, simd.select(get(weights, i) > 1.5, own, 1e300))
        put(ranks, i, one - one)
    tie = one < 0.0
    for i in range(count):
        for j in range(i + 1, count):
            tie = tie | meet(re, im, weights, products, gaps, ranks, i, j)
    inverse = (degree * 1.000001) / absolute(get(coefficients, degree))
    largest, nearest = one - one, one * 1e300
    proven = ~tie
    for i in range(count):
        valid = get(weights, i) > 0.0
        radius = simd.select(valid, (get(values, i) + get(errors, i)) * inverse / simd.sqrt(get(products, i)), 0.0)
        gap = simd.select(valid, get(gaps, i), 1e300)
        proven = proven & (radius * radius * 16.0 <= gap) & (get(products, i) > 1e-280)
        largest, nearest = simd.maximum(largest, radius), simd.minimum(nearest, gap)
        put(errors, i, radius)
    shares = largest * float(degree) / simd.sqrt(nearest)
    proven = proven & (shares < 0.5)
    for i in range(count):
        put(errors, i, get(errors, i) * (1.000001 / degree) / (1.0 - shares))
    return proven


@kernel(inline=True)
def entry(rows, i, lane):
    return simd.load_scalar(simd.advance(rows, i * LANES + lane))


@kernel(inline=True)
def set_entry(rows, i, lane, value):
    simd.store_scalar(simd.advance(rows, i * LANES + lane), value)


@kernel(fastmath=False)
def roots_of_factors(s_rows, t_rows, count, first, second, kind):
    """kind 1: first, second are Re and Im > 0 of a conjugate pair; kind 0: two real roots."""
    for i in range(count):
        half, product = 0.5 * get(s_rows, i), get(t_rows, i)
        square = simd.fma(half, half, -product)
        pair = square < 0.0
        root = simd.sqrt(absolute(square))
        real = half + simd.select(half < 0.0, -root, root)
        put(first, i, simd.select(pair, half, real))
        put(second, i, simd.select(pair, root, product / real))
        put(kind, i, simd.convert(simd.convert(pair, simd.i64), simd.f64))


@kernel(fastmath=False)
def compact_lane(first, second, kind, count, lane, re, im, weights):
    """The roots of one lane without gaps, pairs first; how many. Weights are 2 for a pair, 1 for a real root."""
    found = 0
    for i in range(count):  # without branches, which nothing could foresee
        set_entry(re, found, lane, entry(first, i, lane))
        set_entry(im, found, lane, entry(second, i, lane))
        set_entry(weights, found, lane, 2.0)
        found += int(entry(kind, i, lane))
    for i in range(count):
        real = 1 - int(entry(kind, i, lane))
        other = entry(second, i, lane)
        set_entry(re, found, lane, entry(first, i, lane))
        set_entry(im, found, lane, 0.0)
        set_entry(weights, found, lane, 1.0)
        found += real
        set_entry(re, found, lane, other)
        set_entry(im, found, lane, 0.0)
        set_entry(weights, found, lane, 1.0)
        found += real & int(other != 0.0)  # 0 of x (x - r), which stands first for odd degrees
    return found


@kernel(fastmath=False)
def fill_gaps(counts, most, re, im, weights):
    """Slots behind a lane's roots repeat its first one, with weight 0."""
    found = simd.load(counts, LANES)
    zero = found - found
    for i in range(most):
        valid = found > float(i)
        put(re, i, simd.select(valid, get(re, i), get(re, 0)))
        put(im, i, simd.select(valid, get(im, i), get(im, 0)))
        put(weights, i, simd.select(valid, get(weights, i), zero))


@kernel(fastmath=False)
def write_proven(rows, lane, sizes, fields, units, answers):
    """The roots of one lane, both of a pair.

    sizes : how many, the sweeps they took, the place in the answers where they start
    fields : first rows of real and imaginary parts, weights, values, errors, ranks; units : of x, and of P
    answers : pointers to x, residual, error bound and sweeps. The status of all is that of a root which converged.
    """
    x, residual, bound, iterations = answers
    count, sweeps, start = sizes
    re, im, weights, values, errors, ranks = fields
    for i in range(count):
        place = start + int(entry(rows, ranks + i, lane))
        real, imaginary = entry(rows, re + i, lane) * units[0], entry(rows, im + i, lane) * units[0]
        value, error = entry(rows, values + i, lane) * units[1], entry(rows, errors + i, lane) * units[0]
        pair = entry(rows, weights + i, lane) > 1.5
        simd.store_scalar(simd.advance(x, 2 * place), real)
        simd.store_scalar(simd.advance(x, 2 * place + 1), -imaginary if pair else imaginary)
        simd.store_scalar(simd.advance(residual, place), value)
        simd.store_scalar(simd.advance(bound, place), error)
        simd.store_scalar(simd.advance(iterations, place), sweeps)
        if pair:
            place += 1
            simd.store_scalar(simd.advance(x, 2 * place), real)
            simd.store_scalar(simd.advance(x, 2 * place + 1), imaginary)
            simd.store_scalar(simd.advance(residual, place), value)
            simd.store_scalar(simd.advance(bound, place), error)
            simd.store_scalar(simd.advance(iterations, place), sweeps)
