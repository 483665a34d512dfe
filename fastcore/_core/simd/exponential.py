"""exp2, exp and what is made of them: softmax_exp2, tanh, sigmoid.

Coefficients: minimax for the relative error (Remez or Lawson iteration in 60 digits with mpmath), rounded to the
dtype one after another from the lowest power, the others fitted again each time. The polynomial's own error stands
beside each table; the bound in a docstring is the largest error of the whole function seen by tests/_core.
"""

from __future__ import annotations

from dataclasses import dataclass

from numba.extending import intrinsic

from fastcore._core.simd.emit import avx512, copy_sign, fused, has_avx512_form, horner, unary


@dataclass(frozen=True)
class Format:
    """Constants of one float format."""

    mantissa: int  # stored bits
    bias: int
    exp2_range: tuple[float, float]  # outside, the result is 0 or inf
    exp_range: tuple[float, float]
    split_low: int  # scaling by 2**n in two factors, the first within [2**split_low, 2**bias]
    ln2_high: float  # ln 2 with trailing zeros: its product with any exponent is exact
    ln2_low: float
    tanh_range: float  # tanh is 1 in this precision beyond half of it
    exp2_half: tuple[float, ...]  # 2**r on [-0.5, 0.5]
    exp_half: tuple[float, ...]  # exp(r) on [-ln2 / 2, ln2 / 2]
    expm1_half: tuple[float, ...]  # (exp(r) - 1 - r) / r**2, relative to exp(r) - 1


# 2**r on [-0.5, 0.5], degree 5: 9.4e-8
SOFTMAX_F32 = (
    1.0,
    0.6931470036506653,
    0.24022243916988373,
    0.055507052689790726,
    0.009671451523900032,
    0.0013272181386128068,
)

F32 = Format(
    mantissa=23,
    bias=127,
    exp2_range=(-151.0, 129.0),
    exp_range=(-104.0, 89.0),
    split_low=-64,
    ln2_high=0.693145751953125,
    ln2_low=1.428606765330187e-06,
    tanh_range=20.0,
    # degree 6: 3.0e-9
    exp2_half=(
        1.0,
        0.6931471824645996,
        0.24022647738456726,
        0.05550359562039375,
        0.009618501178920269,
        0.0013390987878665328,
        0.00015328613517340273,
    ),
    # degree 6: 3.1e-9
    exp_half=(
        1.0,
        1.0,
        0.4999999403953552,
        0.1666652113199234,
        0.04166826605796814,
        0.008368678390979767,
        0.0013820757158100605,
    ),
    # degree 6: 1.4e-8
    expm1_half=(
        0.4999999701976776,
        0.1666654646396637,
        0.04166743904352188,
        0.008366263471543789,
        0.0013870259281247854,
    ),
)

F64 = Format(
    mantissa=52,
    bias=1023,
    exp2_range=(-1076.0, 1025.0),
    exp_range=(-746.0, 710.0),
    split_low=-512,
    ln2_high=0.6931471803691238,
    ln2_low=1.9082149292705877e-10,
    tanh_range=40.0,
    # degree 11: 4.1e-18
    exp2_half=(
        1.0,
        0.6931471805599453,
        0.24022650695910108,
        0.055504108664821715,
        0.009618129107601575,
        0.0013333558146548365,
        0.00015403530449098788,
        1.5252733632056194e-05,
        1.3215438795549347e-06,
        1.0178160767212433e-07,
        7.073241237570831e-09,
        4.4387688334770554e-10,
    ),
    # degree 11: 3.7e-18
    exp_half=(
        1.0,
        1.0,
        0.5000000000000011,
        0.16666666666666438,
        0.041666666666526804,
        0.008333333333479844,
        0.0013888888944435535,
        0.00019841269535926254,
        2.4801492302719443e-05,
        2.7557561402594158e-06,
        2.7630525972140994e-07,
        2.500774343600107e-08,
    ),
    # degree 11: 1.9e-17
    expm1_half=(
        0.5000000000000006,
        0.16666666666666627,
        0.041666666666574016,
        0.00833333333336509,
        0.0013888888932230223,
        0.00019841269771231262,
        2.480150461809675e-05,
        2.7557359212627254e-06,
        2.762626383260534e-07,
        2.5069171467853764e-08,
    ),
)

_LOG2_E = 1.4426950408889634
_AVX512_NEAREST = 0  # immediate of vreduce: x - rint(x), and 0 for an infinite x


def format_of(x):
    return F32 if x.vector.dtype.bitwidth == 32 else F64


def nearest(x, factor=1.0):
    """Return the integer nearest to x * factor as a float, by adding 1.5 * 2**mantissa; |x| < 2**(mantissa - 2)."""
    magic = 1.5 * 2.0 ** format_of(x).mantissa
    return (fused(x, factor, magic) if factor != 1.0 else x + magic) - magic


def power_of_two(n):
    """Return 2**n for a float n that is an integer from -bias (which gives 0) to bias."""
    form = format_of(n)
    # The sum holds n + bias in its lowest bits, which the shift moves to the exponent.
    return ((n + (1.5 * 2.0**form.mantissa + form.bias)).bits() << form.mantissa).as_float()


def scale(x, n):
    """Return x * 2**n for 0.5 < x < 2.5 and an integer float n, rounded once below the normal range."""
    if has_avx512_form(x):
        return avx512("scalef", x, n)
    form = format_of(x)
    first = n.at_most(float(form.bias)).at_least(float(form.split_low))
    return x * power_of_two(first) * power_of_two(n - first)


def _integer_and_rest(x):
    if has_avx512_form(x):
        rest = avx512("reduce", x, immediate=_AVX512_NEAREST)
        return x - rest, rest
    n = nearest(x)
    return n, x - n


def emit_exp2(x):
    form = format_of(x)
    if not has_avx512_form(x):  # vreduce and vscalef take every x
        low, high = form.exp2_range
        x = x.at_most(high).at_least(low)
    n, r = _integer_and_rest(x)
    return scale(horner(r, form.exp2_half), n)


def emit_softmax_exp2(x):
    form = format_of(x)
    whole = has_avx512_form(x)
    n, r = _integer_and_rest(x if whole else x.at_least(float(-form.bias)))
    power = horner(r, SOFTMAX_F32 if form is F32 else form.exp2_half)
    return scale(power, n) if whole else power * power_of_two(n)


def reduced(x):
    """Return n and r with x = n * ln(2) + r, |r| <= ln(2) / 2."""
    form = format_of(x)
    n = nearest(x, _LOG2_E)
    return n, fused(n, -form.ln2_low, fused(n, -form.ln2_high, x))


def emit_exp(x):
    form = format_of(x)
    low, high = form.exp_range
    n, r = reduced(x.at_most(high).at_least(low))
    return scale(horner(r, form.exp_half), n)


def emit_tanh(x):
    """tanh|x| = -e / (2 + e) with e = expm1(-2|x|): no cancellation at either end, and no second branch."""
    form = format_of(x)
    size = x.absolute()
    n, r = reduced(size.at_most(form.tanh_range / 2) * -2.0)
    power = power_of_two(n)
    e = fused(power, fused(r * r, horner(r, form.expm1_half), r), power - 1.0)
    return copy_sign((-e / (e + 2.0)).absolute(), x)


def emit_sigmoid(x):
    """From exp(-|x|) on both sides, so that small results keep their digits."""
    e = emit_exp(-x.absolute())
    return (x < 0.0).choose(e, 1.0) / (e + 1.0)


@intrinsic
def exp2(typingctx, x):
    """Return 2**x, at most 0.85 ulp off; exact for integer x."""
    return unary(emit_exp2, x)


@intrinsic
def softmax_exp2(typingctx, x):
    """Return 2**x for x <= 8, at most 2 ulp off (float64: 0.8): 8 instructions on AVX-512, 11 on AVX2.

    -inf gives exactly 0, NaN stays NaN. Below the normal range (x < -126, float64 -1022) the result lies between 0
    and the smallest normal number. x up to 127 (1023) is as accurate; beyond, only AVX-512 gives a sensible result.
    """
    return unary(emit_softmax_exp2, x)


@intrinsic
def exp(typingctx, x):
    """Return e**x, at most 0.9 ulp off."""
    return unary(emit_exp, x)


@intrinsic
def tanh(typingctx, x):
    """Return the hyperbolic tangent, at most 2.6 ulp off; keeps the sign of zero."""
    return unary(emit_tanh, x)


@intrinsic
def sigmoid(typingctx, x):
    """Return 1 / (1 + exp(-x)), at most 2.4 ulp off, also where it is small."""
    return unary(emit_sigmoid, x)
