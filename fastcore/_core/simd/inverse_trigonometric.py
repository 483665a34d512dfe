"""arctan, arctan2, arcsin, arccos. Coefficients as in exponential.py."""

from __future__ import annotations

from numba.extending import intrinsic

from fastcore._core.simd.emit import binary, copy_sign, fused, horner, unary
from fastcore._core.simd.exponential import format_of

# (arctan(t) / t - 1) / t**2 in t**2 for |t| <= tan(pi/8): 7.1e-10 and 1.3e-18 relative to the arc tangent
_ARCTAN = {
    32: (-0.33333316445350647, 0.19998525083065033, -0.1424429714679718, 0.10598265379667282, -0.0608733668923378),
    64: (
        -0.3333333333333319,
        0.19999999999952187,
        -0.14285714280054598,
        0.11111110776326064,
        -0.0909089755159217,
        0.07692056530208828,
        -0.06663061950388818,
        0.05847581329419725,
        -0.05037909275924809,
        0.03802890724517437,
        -0.017867945353727755,
    ),
}
# (arcsin(x) / x - 1) / x**2 in x**2 for |x| <= 1/2: 2.9e-10 and 1.7e-17 relative to the arc sine
_ARCSIN = {
    32: (
        0.16666659712791443,
        0.07500521838665009,
        0.044513389468193054,
        0.03183867409825325,
        0.014318141154944897,
        0.03768918290734291,
    ),
    64: (
        0.16666666666665403,
        0.07500000000338593,
        0.04464285682693715,
        0.03038195919720786,
        0.02237175654832192,
        0.01735972819910232,
        0.01388499666681316,
        0.012170826439405194,
        0.00652078733343734,
        0.019548514323383972,
        -0.016256989745692674,
        0.03193541977676335,
    ),
}
# pi in two parts
_PI = {32: (3.1415927410125732, -8.742277657347586e-08), 64: (3.141592653589793, 1.2246467991473532e-16)}
_TAN_PI_8 = 0.41421356237309503
_INFINITY = float("inf")


def _arctan_of_ratio(numerator, denominator):
    """Return the two parts of arctan(numerator / denominator) for 0 <= numerator, 0 < denominator, not both infinite.

    A ratio above tan(pi/8) is turned by pi/4, one above 1 / tan(pi/8) by pi/2, before the only division.
    """
    bits = numerator.vector.dtype.bitwidth
    steep = numerator * _TAN_PI_8 > denominator
    middle = numerator > denominator * _TAN_PI_8
    up, down = middle.choose(numerator - denominator, numerator), middle.choose(numerator + denominator, denominator)
    t = steep.choose(-denominator, up) / steep.choose(numerator, down)
    pi, pi_low = _PI[bits]
    turn = steep.choose(numerator.constant(pi / 2), middle.choose(numerator.constant(pi / 4), 0.0))
    turn_low = steep.choose(numerator.constant(pi_low / 2), middle.choose(numerator.constant(pi_low / 4), 0.0))
    z = t * t
    rest = fused(t * z, horner(z, _ARCTAN[bits]), turn_low)
    main = turn + t
    return main, rest + (t - (main - turn))


def emit_arctan(x):
    size = x.absolute()
    main, rest = _arctan_of_ratio(size, size.constant(1.0))
    return copy_sign((main + rest).absolute(), x)


def emit_arctan2(y, x):
    form, bits = format_of(x), x.vector.dtype.bitwidth
    up, right = y.absolute(), x.absolute()
    up_infinite, right_infinite = up.equals(_INFINITY), right.equals(_INFINITY)
    infinite = up_infinite | right_infinite
    # Of infinite sides only the direction counts.
    up = infinite.choose(up_infinite.choose(x.constant(1.0), up * 0.0), up)
    right = infinite.choose(right_infinite.choose(x.constant(1.0), right * 0.0), right)
    # The sum of two large sides stays finite, and two denormal ones keep their digits in products.
    large, small = 2.0 ** (form.bias - 2), 2.0 ** (form.mantissa - form.bias)
    tiny = (up < small) & (right < small)
    factor = ((up > large) | (right > large)).choose(x.constant(0.25), tiny.choose(x.constant(1.0 / small), 1.0))
    up, right = up * factor, right * factor
    both_zero = up.equals(0.0) & right.equals(0.0)
    main, rest = _arctan_of_ratio(up, both_zero.choose(x.constant(1.0), right))
    pi, pi_low = _PI[bits]
    left = x.bits() > ((1 << (bits - 1)) - 1)
    turned = pi - main
    angle = left.choose(turned + (((pi - turned) - main) + (pi_low - rest)), main + rest)
    return x.differs(x).choose(x, copy_sign(angle.absolute(), y))


def _arcsin_near_zero(x, z):
    return fused(x * z, horner(z, _ARCSIN[x.vector.dtype.bitwidth]), x)


def _emit_arcsin_parts(size):
    """Return whether size > 1/2, and arcsin(size), there arccos(size) / 2; NaN above 1."""
    outer = size > 0.5
    z = outer.choose(fused(size, -0.5, 0.5), size * size)
    return outer, _arcsin_near_zero(outer.choose(z.by_llvm("sqrt"), size), z)


def emit_arcsin(x):
    size = x.absolute()
    outer, part = _emit_arcsin_parts(size)
    pi, pi_low = _PI[x.vector.dtype.bitwidth]
    return copy_sign(outer.choose(pi / 2 - (part * 2.0 - pi_low / 2), part), x)


def emit_arccos(x):
    outer, part = _emit_arcsin_parts(x.absolute())
    pi, pi_low = _PI[x.vector.dtype.bitwidth]
    negative = x < 0.0
    double = part * 2.0
    inner = pi / 2 - (negative.choose(-part, part) - pi_low / 2)
    return outer.choose(negative.choose(pi - (double - pi_low), double), inner)


@intrinsic
def arctan(typingctx, x):
    """Return the arc tangent, at most 2.0 ulp off; keeps the sign of zero."""
    return unary(emit_arctan, x)


@intrinsic
def arctan2(typingctx, y, x):
    """Return the angle of the point (x, y), at most 2.0 ulp off; zeros, infinities as in C; one may be a scalar."""
    return binary(emit_arctan2, y, x)


@intrinsic
def arcsin(typingctx, x):
    """Return the arc sine, at most 2.5 ulp off; keeps the sign of zero; NaN beyond 1."""
    return unary(emit_arcsin, x)


@intrinsic
def arccos(typingctx, x):
    """Return the arc cosine, at most 1.3 ulp off; NaN beyond 1."""
    return unary(emit_arccos, x)
