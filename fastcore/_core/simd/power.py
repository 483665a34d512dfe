"""power, cbrt and hypot."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from fastcore._core.simd.emit import binary, copy_sign, fused, horner, lane_by_lane, unary
from fastcore._core.simd.exponential import emit_exp2, nearest, power_of_two
from fastcore._core.simd.logarithm import emit_log2, mantissa_and_exponent

# The cube root of m on [sqrt(0.5), sqrt(2)]: 7.3e-5
_CBRT = (0.4925101697444916, 0.7397160530090332, -0.29037731885910034, 0.05822035297751427)
_CBRT_2 = 1.2599210498948732
# Sides above the first are multiplied by the second; two below the third by the fourth: their squares stay normal.
_HYPOT_SCALES = {
    32: (2.0**60, 2.0**-70, 2.0**-40, 2.0**100),
    64: (2.0**500, 2.0**-600, 2.0**-400, 2.0**700),
}
_INFINITY = float("inf")


def _emit_power_f32(x, y):
    """2**(y * log2|x|) in float64, then the sign, and the cases where that product is NaN and C's pow is not."""
    size = x.absolute()
    product = y.converted(types.float64) * emit_log2(size.converted(types.float64))
    result = emit_exp2(product).converted(types.float32)
    half = y * 0.5
    fraction = y.differs(y.by_llvm("trunc"))
    odd = y.equals(y.by_llvm("trunc")) & half.differs(half.by_llvm("trunc"))
    one = x.equals(1.0) | y.equals(0.0) | (size.equals(1.0) & y.absolute().equals(_INFINITY))
    unreal = (x < 0.0) & (x > -_INFINITY) & fraction
    result = one.choose(result.constant(1.0), unreal.choose(result.constant(float("nan")), result))
    return (result.bits() | odd.choose(x.bits() & 0x80000000, 0)).as_float()


def emit_power(x, y):
    return _emit_power_f32(x, y) if x.vector.dtype.bitwidth == 32 else lane_by_lane("pow", x, y)


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
    """Return x**y as C's pow, at most 0.51 ulp off in float32; float64 is the system's pow, about 15 ns a lane."""
    return binary(emit_power, x, y)


@intrinsic
def cbrt(typingctx, x):
    """Return the real cube root, at most 0.6 ulp off; keeps the sign of zero."""
    return unary(emit_cbrt, x)


@intrinsic
def hypot(typingctx, x, y):
    """Return sqrt(x**2 + y**2) without overflow on the way, at most 1.1 ulp off; infinite where a side is."""
    return binary(emit_hypot, x, y)
