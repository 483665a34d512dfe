"""sin, cos, both, and tan: a polynomial for each on [-pi/4, pi/4] after the nearest multiple of pi/2 is taken away.

Coefficients as in exponential.py. The multiple n is taken away in parts of pi/2 whose products with n are exact, or
split exactly (W.J. Cody and W. Waite 1980, Software Manual for the Elementary Functions, chapter 8), and what rounding
loses is carried to the end as a second number. Lanes above `_LIMIT` come from the system's mathematical library: a
vector that has one takes 10 ns a lane (float64: 70).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastcore._core.simd import host
from fastcore._core.simd.emit import Value, fused, horner, lane_by_lane, unary
from fastcore._core.simd.exponential import format_of
from fastcore._core.simd.types import Vector

# (sin(r) / r - 1) / r**2 in r**2: 4.0e-9 and 6.4e-18 relative to the sine
_SIN = {
    32: (-0.16666655242443085, 0.008332189172506332, -0.0001951828453456983),
    64: (
        -0.1666666666666663,
        0.00833333333332184,
        -0.00019841269829358506,
        2.755731353853962e-06,
        -2.5050734405666748e-08,
        1.589542967252389e-10,
    ),
}
# (cos(r) - 1 + r**2 / 2) / r**4 in r**2: 1.2e-10 and 8.4e-20 relative to the cosine
_COS = {
    32: (0.04166664555668831, -0.0013887309469282627, 2.4432327336398885e-05),
    64: (
        0.041666666666666595,
        -0.0013888888888873338,
        2.4801587288997478e-05,
        -2.755731421530818e-07,
        2.0875705118788804e-09,
        -1.1358733712639044e-11,
    ),
}
_TWO_OVER_PI = 0.6366197723675814
# pi/2 in parts. With FMA x - n * first is exact, and so is the product with the second once its error is added;
# without, the short parts have exact products for n < 2**12 (2**20).
_PARTS_FMA = {
    32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
_PARTS_SHORT = {
    32: (1.57080078125, -4.453584551811218e-06, -8.706138032721356e-10, 6.222800053024002e-14, 5.721188916458728e-18),
    64: (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32),
}
_LIMIT = {32: 2.0**15, 64: 2.0**28} if host.HAS_FMA else {32: 2.0**12, 64: 2.0**20}


def _reduced(size):
    """Return n modulo 4 (in the lowest bits) and the two parts of size - n * pi/2, for 0 <= size <= _LIMIT."""
    bits = size.vector.dtype.bitwidth
    magic = 1.5 * 2.0 ** format_of(size).mantissa
    shifted = fused(size, _TWO_OVER_PI, magic)
    n = shifted - magic
    if host.HAS_FMA:
        first, second, third = _PARTS_FMA[bits]
        high = fused(n, -first, size)
        product = n * second
        rest = high - product
        low = ((high - rest) - product) - fused(n, second, -product)
        return shifted.bits(), rest, fused(n, -third, low)
    first, *middle, last = _PARTS_SHORT[bits]
    rest, low = size - n * first, size.constant(0.0)
    for part in middle:
        product = n * part
        less = rest - product
        rest, low = less, low + ((rest - less) - product)
    return shifted.bits(), rest, low - n * last


def _sin_and_cos_near_zero(r, low):
    bits = r.vector.dtype.bitwidth
    z = r * r
    sine = r + fused(r * z, horner(z, _SIN[bits]), low)
    # 1 - z / 2 is rounded; what that loses is added with the rest (fdlibm's k_cos.c).
    main = fused(z, -0.5, 1.0)
    lost = fused(z, -0.5, 1.0 - main)
    cosine = main + fused(z * z, horner(z, _COS[bits]), fused(-r, low, lost))
    return sine, cosine


def _quarter(n, which):
    """Return the mask of odd quarter turns and the sign bit of the sine (0) or cosine (1)."""
    bits = n.vector.dtype.bitwidth
    turned = n + which if which else n
    return (n & 1).differs(0), (turned & 2) << (bits - 2)


def _emit_moderate(x):
    """Return sin and cos of each lane, for |x| <= _LIMIT; NaN stays NaN."""
    n, r, low = _reduced(x.absolute())
    sine, cosine = _sin_and_cos_near_zero(r, low)
    odd, sine_sign = _quarter(n, 0)
    _, cosine_sign = _quarter(n, 1)
    top = 1 << (x.vector.dtype.bitwidth - 1)
    sine_sign = sine_sign ^ (x.bits() & top)
    return (
        (odd.choose(cosine, sine).bits() ^ sine_sign).as_float(),
        (odd.choose(sine, cosine).bits() ^ cosine_sign).as_float(),
    )


def _with_large_lanes(x, moderate, names):
    """Return `moderate`, one value for each of `names`, with the lanes above _LIMIT by the system's functions."""
    builder = x.builder
    large = x.absolute() > _LIMIT[x.vector.dtype.bitwidth]
    mask = ir.IntType(x.vector.lanes)
    before = builder.block
    with builder.if_then(builder.icmp_unsigned("!=", builder.bitcast(large.llvm, mask), mask(0)), likely=False):
        exact = [large.choose(lane_by_lane(name, x), value) for name, value in zip(names, moderate, strict=True)]
        inside = builder.block
    results = []
    for near, far in zip(moderate, exact, strict=True):
        phi = builder.phi(x.llvm.type)
        phi.add_incoming(near.llvm, before)
        phi.add_incoming(far.llvm, inside)
        results.append(x._of(phi))
    return results


def emit_sin(x):
    return _with_large_lanes(x, [_emit_moderate(x)[0]], ["sin"])[0]


def emit_cos(x):
    return _with_large_lanes(x, [_emit_moderate(x)[1]], ["cos"])[0]


def emit_tan(x):
    sine, cosine = _emit_moderate(x)
    return _with_large_lanes(x, [sine / cosine], ["tan"])[0]


@intrinsic
def sin(typingctx, x):
    """Return the sine of x in radians, at most 0.9 ulp off over the whole range; keeps the sign of zero, NaN of inf."""
    return unary(emit_sin, x)


@intrinsic
def cos(typingctx, x):
    """Return the cosine of x in radians, at most 0.9 ulp off over the whole range; NaN of inf."""
    return unary(emit_cos, x)


@intrinsic
def tan(typingctx, x):
    """Return the tangent of x in radians, at most 2.4 ulp off; keeps the sign of zero; NaN of inf."""
    return unary(emit_tan, x)


@intrinsic
def sincos(typingctx, x):
    """Return sin(x) and cos(x), the same bits as `sin` and `cos`, for little more than one of them."""
    if not isinstance(x, Vector) or not x.is_float:
        return None

    def codegen(context, builder, sig, args):
        value = Value(builder, args[0], sig.args[0])
        results = _with_large_lanes(value, list(_emit_moderate(value)), ["sin", "cos"])
        return context.make_tuple(builder, sig.return_type, [result.llvm for result in results])

    return types.UniTuple(x, 2)(x), codegen
