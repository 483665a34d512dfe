"""log, log2, log10, log1p: exponent and mantissa taken apart in the bits, a polynomial for log(1 + f) with
1 + f in [sqrt(0.5), sqrt(2)).

Coefficients as in exponential.py. float32 sums f - f**2 / 2 + f**3 * P(f); float64 takes s = f / (2 + f), whose
series needs half the terms (K.C. Ng in fdlibm's e_log.c).
"""

from __future__ import annotations

from dataclasses import dataclass

from numba.extending import intrinsic

from fastcore._core.simd.emit import fused, horner, unary
from fastcore._core.simd.exponential import F32, F64, format_of

# (log(1 + f) - f + f**2 / 2) / f**3: 1.3e-8 relative to the logarithm
_CUBIC_F32 = (
    0.3333333134651184,
    -0.250008225440979,
    0.20001259446144104,
    -0.1662333756685257,
    0.1420101523399353,
    -0.13158608973026276,
    0.12776565551757812,
    -0.07673956453800201,
)
# (log((1 + s) / (1 - s)) - 2 * s) / s**3 in s**2: 1.2e-18
_ODD_F64 = (
    0.6666666666666734,
    0.39999999999416413,
    0.28571428742112304,
    0.22222198593792852,
    0.18183563549713228,
    0.15314064455159418,
    0.14795859947230272,
)
# 1 / ln(2), 1 / ln(10) and log10(2) in two parts; the first of log10(2) has exact products with any exponent
_LOG2_E = {32: (1.4426950216293335, 1.925963033500011e-08), 64: (1.4426950408889634, 2.0355273740931033e-17)}
_LOG10_E = {32: (0.4342944920063019, -1.0103049952192578e-08), 64: (0.4342944819032518, 1.098319650216765e-17)}
_LOG10_2 = {32: (0.30103302001953125, -3.024355464731343e-06), 64: (0.30102999566395283, 2.8363394551044964e-14)}


@dataclass(frozen=True)
class _Bits:
    """Patterns of one float format."""

    root_half: int  # sqrt(0.5)
    one: int
    smallest_normal: float


_F32 = _Bits(root_half=0x3F3504F3, one=0x3F800000, smallest_normal=2.0**-126)
_F64 = _Bits(root_half=0x3FE6A09E667F3BCD, one=0x3FF0000000000000, smallest_normal=2.0**-1022)


def mantissa_and_exponent(x):
    """Return m in [sqrt(0.5), sqrt(2)) and the float k with x = m * 2**k, for finite x > 0."""
    form, pattern = (F32, _F32) if x.vector.dtype.bitwidth == 32 else (F64, _F64)
    denormal = x < pattern.smallest_normal
    normal = denormal.choose(x * 2.0**form.mantissa, x)
    # With the offset, a mantissa at or above sqrt(2) carries into the exponent.
    shifted = normal.bits() + (pattern.one - pattern.root_half)
    m = ((shifted & ((1 << form.mantissa) - 1)) + pattern.root_half).as_float()
    # Exponent to float without a conversion, which AVX2 has not got for 64 bits: as the last bits of 2**mantissa.
    base = 2.0**form.mantissa
    biased = ((shifted >> form.mantissa) | x.constant(base).bits()).as_float()
    return m, biased - denormal.choose(x.constant(base + form.bias + form.mantissa), base + form.bias)


def _log_near_one_f32(f, k_low):
    square = f * f
    return fused(square, -0.5, fused(square * f, horner(f, _CUBIC_F32), k_low))


def _log_near_one_f64(f, k_low):
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    return fused(s, fused(z, horner(z, _ODD_F64), half_square), k_low) - half_square


def _log_near_one(f, k_low):
    """Return log(1 + f) - f + k_low."""
    return (_log_near_one_f32 if f.vector.dtype.bitwidth == 32 else _log_near_one_f64)(f, k_low)


def _outside_the_domain(x, finite):
    """Return `finite` for finite x > 0, -inf at 0, NaN below, x itself for inf."""
    infinity = float("inf")
    ordinary = (x > 0.0) & (x < infinity)
    special = (x > 0.0).choose(x, x.equals(0.0).choose(x.constant(-infinity), float("nan")))
    return ordinary.choose(finite, special)


def emit_log(x):
    form = format_of(x)
    m, k = mantissa_and_exponent(x)
    f = m - 1.0
    return _outside_the_domain(x, fused(k, form.ln2_high, f + _log_near_one(f, k * form.ln2_low)))


def _emit_log_to_base(x, unit, two):
    """Return log(x) * unit, where `two` is log(2) * unit; each in two parts."""
    (unit_high, unit_low), (two_high, two_low) = unit, two
    m, k = mantissa_and_exponent(x)
    f = m - 1.0
    small = fused(_log_near_one(f, 0.0), unit_high, f * unit_low)
    if two_low:
        small = fused(k, two_low, small)
    return _outside_the_domain(x, fused(k, two_high, fused(f, unit_high, small)))


def emit_log2(x):
    return _emit_log_to_base(x, _LOG2_E[x.vector.dtype.bitwidth], (1.0, 0.0))


def emit_log10(x):
    bits = x.vector.dtype.bitwidth
    return _emit_log_to_base(x, _LOG10_E[bits], _LOG10_2[bits])


def emit_log1p(x):
    form = format_of(x)
    u = x + 1.0
    back = u - x
    lost = (x - (u - back)) + (1.0 - back)  # u + lost = 1 + x exactly
    m, k = mantissa_and_exponent(u)
    f = m - 1.0
    finite = fused(k, form.ln2_high, f + _log_near_one(f, fused(k, form.ln2_low, lost / u)))
    return x.equals(0.0).choose(x, _outside_the_domain(u, finite))


@intrinsic
def log(typingctx, x):
    """Return the natural logarithm, at most 0.9 ulp off; -inf at 0, NaN below."""
    return unary(emit_log, x)


@intrinsic
def log2(typingctx, x):
    """Return the logarithm to base 2, at most 1.1 ulp off; exact for powers of two; -inf at 0, NaN below."""
    return unary(emit_log2, x)


@intrinsic
def log10(typingctx, x):
    """Return the logarithm to base 10, at most 1.1 ulp off; -inf at 0, NaN below."""
    return unary(emit_log10, x)


@intrinsic
def log1p(typingctx, x):
    """Return log(1 + x), at most 1.1 ulp off also for small x; keeps the sign of zero; -inf at -1, NaN below."""
    return unary(emit_log1p, x)
