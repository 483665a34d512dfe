"""expm1, sinh, cosh and the inverse hyperbolic functions, which are logarithms."""

from __future__ import annotations

from numba.extending import intrinsic

from fastcore._core.simd.emit import copy_sign, fused, horner, unary
from fastcore._core.simd.exponential import format_of, nearest, power_of_two, reduced, scale
from fastcore._core.simd.logarithm import emit_log1p

_LOG2_E = 1.4426950408889634
_LN2 = 0.6931471805599453
# Below, x is the rounded result of sinh; above, 1 + x**2 is x**2 in the inverse functions.
_SMALL = {32: 2.0**-12, 64: 2.0**-27}
_LARGE = {32: 2.0**25, 64: 2.0**54}


def _expm1_part(x, share):
    """Return (exp(x) - 1) * 2**-share for a share of 1 or 2, finite up to where 2**(1 - share) * exp(x) is not."""
    form = format_of(x)
    _, high = form.exp_range
    x = x.at_most(high + (share - 1) / 2).at_least(-form.tanh_range)
    n = nearest(x, _LOG2_E)
    whole = fused(n, -form.ln2_high, x)
    r = fused(n, -form.ln2_low, whole)
    low = fused(n, -form.ln2_low, whole - r)  # what rounding r lost
    power = power_of_two(n - float(share))
    main = fused(power, r, power - 2.0**-share)
    return fused(power, fused(r * r, horner(r, form.expm1_half), low), main)


def emit_expm1(x):
    tiny = x.absolute() < _SMALL[x.vector.dtype.bitwidth] ** 2  # also denormals, whose half is rounded
    return tiny.choose(x, _expm1_part(x, 1) * 2.0)


def emit_sinh(x):
    """From e = expm1(|x|): (e + e / (e + 1)) / 2, with a quarter of e, which does not overflow before sinh does."""
    quarter = _expm1_part(x.absolute(), 2)
    size = (quarter + quarter / fused(quarter, 4.0, 1.0)) * 2.0
    return (x.absolute() < _SMALL[x.vector.dtype.bitwidth]).choose(x, copy_sign(size, x))


def emit_cosh(x):
    form = format_of(x)
    _, high = form.exp_range
    n, r = reduced(x.absolute().at_most(high + 1.0))
    half = scale(horner(r, form.exp_half), n - 1.0)
    return half + 0.25 / half


def emit_arcsinh(x):
    size = x.absolute()
    large = size > _LARGE[x.vector.dtype.bitwidth]
    root = fused(size, size, 1.0).by_llvm("sqrt")
    argument = large.choose(size, size + size * size / (root + 1.0))
    result = emit_log1p(argument) + large.choose(x.constant(_LN2), 0.0)
    return copy_sign(result, x)


def emit_arccosh(x):
    large = x > _LARGE[x.vector.dtype.bitwidth]
    t = x - 1.0
    argument = large.choose(x, t + (t * (t + 2.0)).by_llvm("sqrt"))
    result = emit_log1p(argument) + large.choose(x.constant(_LN2), 0.0)
    return (x < 1.0).choose(float("nan"), result)


def emit_arctanh(x):
    size = x.absolute()
    return copy_sign(emit_log1p((size + size) / (1.0 - size)) * 0.5, x)


@intrinsic
def expm1(typingctx, x):
    """Return exp(x) - 1, at most 1.4 ulp off also for small x; keeps the sign of zero."""
    return unary(emit_expm1, x)


@intrinsic
def sinh(typingctx, x):
    """Return the hyperbolic sine, at most 2.6 ulp off; keeps the sign of zero."""
    return unary(emit_sinh, x)


@intrinsic
def cosh(typingctx, x):
    """Return the hyperbolic cosine, at most 1.5 ulp off."""
    return unary(emit_cosh, x)


@intrinsic
def arcsinh(typingctx, x):
    """Return the inverse hyperbolic sine, at most 2.0 ulp off; keeps the sign of zero."""
    return unary(emit_arcsinh, x)


@intrinsic
def arccosh(typingctx, x):
    """Return the inverse hyperbolic cosine, at most 2.6 ulp off; NaN below 1."""
    return unary(emit_arccosh, x)


@intrinsic
def arctanh(typingctx, x):
    """Return the inverse hyperbolic tangent, at most 2.2 ulp off; infinite at 1 and -1, NaN beyond."""
    return unary(emit_arctanh, x)
