"""power, cbrt and hypot. Coefficients as in exponential.py."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from fastcore._core.simd import host
from fastcore._core.simd.emit import binary, copy_sign, fused, horner, lane_by_lane, unary
from fastcore._core.simd.exponential import emit_exp2, format_of, nearest, power_of_two, scale
from fastcore._core.simd.logarithm import emit_log2, mantissa_and_exponent

# The cube root of m on [sqrt(0.5), sqrt(2)]: 7.3e-5
_CBRT = (0.4925101697444916, 0.7397160530090332, -0.29037731885910034, 0.05822035297751427)
_CBRT_2 = 1.2599210498948732
# Sides above the first are multiplied by the second; two below the third by the fourth: their squares stay normal.
_HYPOT_SCALES = {
    32: (2.0**60, 2.0**-70, 2.0**-40, 2.0**100),
    64: (2.0**500, 2.0**-600, 2.0**-400, 2.0**700),
}
# (arctanh(s) / s - 1 - z / 3) / z**2 in z = s**2, s = (m - 1) / (m + 1) for the same m: 2**-66 relative
_ATANH = (
    0.20000000000001128,
    0.1428571428504978,
    0.11111111259964922,
    0.09090892183125662,
    0.07693378690339855,
    0.06628408208001078,
    0.06598171190380168,
)
_THIRD = (0.3333333333333333, 1.850371707708594e-17)
_TWO_OVER_LN2 = (2.8853900817779268, 4.0710547481862066e-17)
_INFINITY = float("inf")


def _log2_in_two_parts(x):
    """Return log2(x) as a sum of two float64 whose error is below 2**-65 of it, for finite x > 0. Needs FMA."""
    m, k = mantissa_and_exponent(x)
    f, d = m - 1.0, m + 1.0
    d_low = m - (d - 1.0)
    inverse = 1.0 / d
    s = f * inverse
    s_low = inverse * fused(-s, d_low, fused(-s, d, f))
    z = s * s
    z_low = fused(s, s, -z) + s * s_low * 2.0
    # log(m) = 2 s (1 + u), u = z / 3 + z**2 * polynomial
    third, third_low = _THIRD
    first = z * third
    rest = z * z * horner(z, _ATANH)
    u = first + rest
    u_low = ((first - u) + rest) + fused(z, third, -first) + fused(z, third_low, z_low * third)
    unit, unit_low = _TWO_OVER_LN2
    w = s * unit
    w_low = fused(s, unit, -w) + fused(s, unit_low, s_low * unit)
    v = w * u
    v_low = fused(w, u, -v) + fused(w, u_low, w_low * u)
    main = k + w
    high = main + v
    low = ((k - main) + w) + ((main - high) + v) + (w_low + v_low)
    total = high + low
    return total, (high - total) + low


def _power_of_size_f64(size, y):
    form = format_of(y)
    ordinary = (size > 0.0) & (size < _INFINITY)
    log, log_low = _log2_in_two_parts(size)
    log = ordinary.choose(log, size.equals(0.0).choose(log.constant(-_INFINITY), size))
    product = y * log
    low, high = form.exp2_range
    rest = fused(y, log, -product) + y * log_low
    inside = ordinary & (product > low) & (product < high)
    product = product.at_most(high).at_least(low)
    n = nearest(product)
    return scale(horner((product - n) + inside.choose(rest, 0.0), form.exp2_half), n)


def _power_of_size_f32(size, y):
    product = y.converted(types.float64) * emit_log2(size.converted(types.float64))
    return emit_exp2(product).converted(types.float32)


def emit_power(x, y):
    """2**(y * log2|x|), the sign, and the cases where that product is NaN and C's pow is not."""
    bits = x.vector.dtype.bitwidth
    if bits == 64 and not host.HAS_FMA:
        return lane_by_lane("pow", x, y)
    size = x.absolute()
    result = (_power_of_size_f32 if bits == 32 else _power_of_size_f64)(size, y)
    half = y * 0.5
    fraction = y.differs(y.by_llvm("trunc"))
    odd = y.equals(y.by_llvm("trunc")) & half.differs(half.by_llvm("trunc"))
    one = x.equals(1.0) | y.equals(0.0) | (size.equals(1.0) & y.absolute().equals(_INFINITY))
    unreal = (x < 0.0) & (x > -_INFINITY) & fraction
    result = one.choose(result.constant(1.0), unreal.choose(result.constant(float("nan")), result))
    return (result.bits() | odd.choose(x.bits() & (1 << (bits - 1)), 0)).as_float()


def emit_cbrt(x):
    size = x.absolute()
    m, k = mantissa_and_exponent(size)
    third = nearest(k, 1.0 / 3.0)
    rest = k - third * 3.0  # -1, 0 or 1
    above, below = rest > 0.0, rest < 0.0
    start = horner(m, _CBRT) * above.choose(x.constant(_CBRT_2), below.choose(x.constant(1.0 / _CBRT_2), 1.0))
    m = m * above.choose(x.constant(2.0), below.choose(x.constant(0.5), 1.0))
    cube = start * start * start
    near = start * ((cube + m * 2.0) / fused(cube, 2.0, m))  # Halley: 2.6e-13
    # Newton's step with the cube as an exact sum of four parts.
    square = near * near
    square_low = fused(near, near, -square)
    cube = square * near
    cube_low = fused(square, near, -cube)
    error = (cube - m) + fused(square_low, near, cube_low)
    result = copy_sign((near - error / (square * 3.0)) * power_of_two(third), x)
    return ((size > 0.0) & (size < _INFINITY)).choose(result, x)


def emit_hypot(x, y):
    a, b = x.absolute(), y.absolute()
    large, shrink, small, grow = _HYPOT_SCALES[x.vector.dtype.bitwidth]
    is_large, is_small = (a > large) | (b > large), (a < small) & (b < small)
    factor = is_large.choose(x.constant(shrink), is_small.choose(x.constant(grow), 1.0))
    back = is_large.choose(x.constant(1.0 / shrink), is_small.choose(x.constant(1.0 / grow), 1.0))
    a, b = a * factor, b * factor
    result = fused(a, a, b * b).by_llvm("sqrt") * back
    return (a.equals(_INFINITY) | b.equals(_INFINITY)).choose(_INFINITY, result)


@intrinsic
def power(typingctx, x, y):
    """Return x**y as C's pow, at most 0.9 ulp off (without FMA: float64 is the system's pow, lane by lane)."""
    return binary(emit_power, x, y)


@intrinsic
def cbrt(typingctx, x):
    """Return the real cube root, at most 0.6 ulp off; keeps the sign of zero."""
    return unary(emit_cbrt, x)


@intrinsic
def hypot(typingctx, x, y):
    """Return sqrt(x**2 + y**2) without overflow on the way, at most 1.2 ulp off; infinite where a side is."""
    return binary(emit_hypot, x, y)
