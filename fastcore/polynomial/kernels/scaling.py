"""Exponents of float64 numbers and multiplication by powers of two, through their bits.

Every function takes a number or a SIMD vector of numbers. libm's frexp and ldexp on each lane cost a root finder 40 %
of its time; these are a handful of integer instructions.
"""

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.either import choose, float_bits, float_of_bits

__all__ = ["LARGEST_SHIFT", "NOT_FINITE_EXPONENT", "ZERO_EXPONENT", "exponent", "power_of_two", "scaled"]

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
