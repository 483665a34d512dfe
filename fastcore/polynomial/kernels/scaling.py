"""Exponents of float64 numbers and multiplication by powers of two, through their bits.

libm's frexp and ldexp on each lane cost a root finder 40 % of its time; these are a handful of integer instructions,
for a number or a SIMD vector of numbers. `shifted` and `power_of`, for sizes that float64 does not hold, take numbers.
"""

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.either import choose, float_bits, float_of_bits

__all__ = [
    "LARGEST_SHIFT",
    "NOT_FINITE_EXPONENT",
    "ZERO_EXPONENT",
    "exponent",
    "power_of",
    "power_of_two",
    "scaled",
    "shifted",
]

ZERO_EXPONENT = -1077  # below that of the smallest number, -1074
NOT_FINITE_EXPONENT = 1024
LARGEST_SHIFT = 2044  # of `scaled`

_BIAS = 1023
_STORED_BITS = 52
_FIELD = 0x7FF << 52
_LIFT = 54  # brings the smallest number into the normal range


@kernel(inline=True, fastmath=False)
def exponent(x):
    """The int64 e with 2**e <= |x| < 2**(e + 1), also of numbers below the normal range.

    0 has ZERO_EXPONENT, infinities and NaN have NOT_FINITE_EXPONENT.
    """
    field = float_bits(x) & _FIELD
    lifted = float_bits(x * 18014398509481984.0) & _FIELD  # 2**54
    normal = (field >> _STORED_BITS) - _BIAS
    small = choose(lifted == 0, ZERO_EXPONENT, (lifted >> _STORED_BITS) - (_BIAS + _LIFT))
    return choose(field == 0, small, normal)


@kernel(inline=True, fastmath=False)
def power_of_two(k):
    """2.0**k of an int64, -1022 <= k <= 1023; -1023 gives 0, 1024 infinity."""
    return float_of_bits((k + _BIAS) << _STORED_BITS)


@kernel(inline=True, fastmath=False)
def scaled(x, k):
    """x * 2**k for an int64 |k| <= LARGEST_SHIFT.

    Exact where x and the result are in the normal range: the value in between lies between both. Below it the result
    is within one of its last bits, above it infinite.
    """
    half = k >> 1
    return x * power_of_two(half) * power_of_two(k - half)


@kernel(fastmath=False)
def shifted(x, e):
    """x * 2**e for any e, of a number."""
    e = min(max(e, -4000), 4000)
    half = e >> 1
    return scaled(scaled(x, half), e - half)


@kernel(fastmath=False)
def power_of(base, n):
    """(m, e): base**n = m 2**e for 0 < base < infinity, 1 <= m < 4; relative error about n u."""
    e = exponent(base)
    factor, factor_e = scaled(base, -e), e
    m, total = 1.0, 0
    while n > 0:
        if n & 1:
            m, total = m * factor, total + factor_e
            shift = exponent(m)
            m, total = scaled(m, -shift), total + shift
        factor, factor_e = factor * factor, 2 * factor_e
        shift = exponent(factor)
        factor, factor_e = scaled(factor, -shift), factor_e + shift
        n >>= 1
    return m, total
