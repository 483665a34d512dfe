"""Complex polynomials at complex points, one polynomial a lane: plain and compensated Horner, and the Aberth sum.

Arrays are lane-major: coefficient k of all lanes lies at k * LANES.

Sources: Bini 1996, "Numerical computation of polynomial zeros by means of Aberth's method", sections 2 and 3; Graillat
and Menissier-Morain 2012, "Accurate summation, dot product and polynomial evaluation in complex floating point
arithmetic", section 5.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import two_product, two_sum

__all__ = ["LANES", "compensated_horner", "divide", "inverse_sum", "modulus", "multiply_add", "plain_horner"]

LANES = simd.F64_LANES

_EXPONENT_FIELD = 0x7FF << 52
_INVERSE_FIELD = 2046 << 52
TINY = 2.0**-1021


@kernel(inline=True, fastmath=False)
def inverse_power(x):
    """2**-e for 2**e <= |x| < 2**(e + 1), of normal numbers below 2**1023; 2**1023 for smaller ones."""
    return simd.bitcast(_INVERSE_FIELD - (simd.bitcast(x, simd.i64) & _EXPONENT_FIELD), simd.f64)


@kernel(inline=True, fastmath=False)
def modulus(re, im):
    """|z| within 2 u, without over- or underflow of its squares."""
    a, b = absolute(re), absolute(im)
    power = inverse_power(simd.maximum(simd.maximum(a, b), TINY))
    a, b = a * power, b * power
    return simd.sqrt(simd.fma(a, a, b * b)) / power


@kernel(inline=True, fastmath=False)
def multiply_add(ar, ai, br, bi, cr, ci):
    """a * b + c."""
    return simd.fma(ar, br, simd.fma(-ai, bi, cr)), simd.fma(ar, bi, simd.fma(ai, br, ci))


@kernel(inline=True, fastmath=False)
def divide(ar, ai, br, bi):
    """a / b, NaN or infinite for b = 0; no square of |b| leaves the range."""
    power = inverse_power(simd.maximum(absolute(br), absolute(bi)))
    br, bi = br * power, bi * power
    factor = power / simd.fma(br, br, bi * bi)
    return (ar * br + ai * bi) * factor, (ai * br - ar * bi) * factor


@kernel(inline=True, fastmath=False)
def plain_horner(cr, ci, ca, degree, zr, zi, size):
    """(P, P', sum |c_k| |z|**k) as (real, imaginary, real, imaginary, s); size is |z|."""
    pr, pi = simd.load(simd.advance(cr, degree * LANES), LANES), simd.load(simd.advance(ci, degree * LANES), LANES)
    s = simd.load(simd.advance(ca, degree * LANES), LANES)
    dr, di = simd.broadcast(0.0, LANES), simd.broadcast(0.0, LANES)
    for k in range(degree - 1, -1, -1):
        dr, di = multiply_add(dr, di, zr, zi, pr, pi)
        next_r, next_i = simd.load(simd.advance(cr, k * LANES), LANES), simd.load(simd.advance(ci, k * LANES), LANES)
        pr, pi = multiply_add(pr, pi, zr, zi, next_r, next_i)
        s = simd.fma(s, size, simd.load(simd.advance(ca, k * LANES), LANES))
    return pr, pi, dr, di, s


@kernel(inline=True, fastmath=False)
def compensated_horner(cr, ci, ca, degree, zr, zi, size, er, ei):
    """(P, P', s, s') at z + e, P within u |P| + 40 (n u)**2 s; |e| <= u |z|. s' is the derivative of s in size."""
    pr, pi = simd.load(simd.advance(cr, degree * LANES), LANES), simd.load(simd.advance(ci, degree * LANES), LANES)
    s = simd.load(simd.advance(ca, degree * LANES), LANES)
    zero = simd.broadcast(0.0, LANES)
    dr, di, fr, fi, slope = zero, zero, zero, zero, zero
    for k in range(degree - 1, -1, -1):
        dr, di = multiply_add(dr, di, zr, zi, pr, pi)
        slope = simd.fma(slope, size, s)
        s = simd.fma(s, size, simd.load(simd.advance(ca, k * LANES), LANES))
        a, a_rest = two_product(pr, zr)
        b, b_rest = two_product(pi, zi)
        c, c_rest = two_product(pr, zi)
        d, d_rest = two_product(pi, zr)
        a, ab_rest = two_sum(a, -b)
        c, cd_rest = two_sum(c, d)
        pr, pr_rest = two_sum(a, simd.load(simd.advance(cr, k * LANES), LANES))
        pi, pi_rest = two_sum(c, simd.load(simd.advance(ci, k * LANES), LANES))
        rest_r = (a_rest - b_rest) + (ab_rest + pr_rest)
        rest_i = (c_rest + d_rest) + (cd_rest + pi_rest)
        fr, fi = multiply_add(fr, fi, zr, zi, rest_r, rest_i)
    fr, fi = multiply_add(dr, di, er, ei, fr, fi)
    return pr + fr, pi + fi, dr, di, s, slope


@kernel(inline=True, fastmath=False)
def inverse_sum(roots_r, roots_i, count, own, zr, zi):
    """The sum over j != own of 1 / (z - z_j). Slots that hold no root lie at 2**1000 and add nothing."""
    sr, si = simd.broadcast(0.0, LANES), simd.broadcast(0.0, LANES)
    for j in range(count):
        if j != own:
            dr = zr - simd.load(simd.advance(roots_r, j * LANES), LANES)
            di = zi - simd.load(simd.advance(roots_i, j * LANES), LANES)
            power = inverse_power(simd.maximum(simd.maximum(absolute(dr), absolute(di)), TINY))
            dr, di = dr * power, di * power
            factor = power / simd.maximum(simd.fma(dr, dr, di * di), TINY)
            sr, si = simd.fma(dr, factor, sr), simd.fma(-di, factor, si)
    return sr, si
