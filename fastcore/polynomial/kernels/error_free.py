"""Sums and products without rounding errors, and compensated Horner evaluation.

Every function takes numbers or SIMD vectors of numbers (float64), in any mixture, and is right on every CPU: without
FMA instructions, products are split as Dekker did. All are inlined, and stay exact inside kernels compiled with
`contract` and `reassoc`: their own instructions carry no such flags.

Exactness needs that nothing overflows (without FMA: no factor above 2**996) and that no product lies below 2**-968.
The bounds below hold without the latter, and are infinite where something overflows.

Sources. Muller et al. 2018, "Handbook of Floating-Point Arithmetic", 2nd ed., ch. 4 (error-free transformations) and
ch. 14 (double words); Joldes, Muller, Popescu 2017, "Tight and rigorous error bounds for basic building blocks of
double-word arithmetic", algorithm 9; Graillat, Langlois, Louvet 2009, "Algorithms for accurate, validated and fast
polynomial evaluation", section 4.
"""

from numba.core import config

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.either import absolute, choose, fma, like

__all__ = [
    "UNIT",
    "compensated_end",
    "compensated_horner",
    "compensated_start",
    "compensated_step",
    "dd_multiply_number",
    "fast_two_sum",
    "horner_bound",
    "horner_start",
    "horner_step",
    "horner_with_bound",
    "split",
    "two_product",
    "two_sum",
]

UNIT = 2.0**-53  # u: the largest relative error of one rounding
# A product below the normal range errs by some of the smallest number, 2**-1074, a step. As the size that a recurrence
# starts with (times u: 2**-1054), and as an addend of each bound, this is more than 1e5 steps err for |x| >= 1 and < 1.
TINY = 2.0**-1001
SMALLEST_BOUND = 2.0**-1054
INFINITY = float("inf")

_SPLITTER = 134217729.0  # 2**27 + 1
_HAS_EXACT_FMA = bool(simd.HAS_FMA and not config.DISABLE_JIT)


@kernel(inline=True, fastmath=False)
def two_sum(a, b):
    """(s, e): s = a + b rounded, s + e = a + b exactly. Knuth's, 6 operations."""
    s = a + b
    of_b = s - a
    of_a = s - of_b
    return s, (a - of_a) + (b - of_b)


@kernel(inline=True, fastmath=False)
def fast_two_sum(a, b):
    """(s, e) as `two_sum`, where |a| >= |b| or a == 0. Dekker's, 3 operations."""
    s = a + b
    return s, b - (s - a)


@kernel(inline=True, fastmath=False)
def split(a):
    """(high, low): a = high + low, of 26 bits each, so that products of halves are exact. Veltkamp's; |a| < 2**996."""
    product = a * _SPLITTER
    high = product - (product - a)
    return high, a - high


@kernel(inline=True, fastmath=False)
def two_product(a, b):
    """(p, e): p = a * b rounded, p + e = a * b exactly. One FMA, or Dekker's 17 operations."""
    p = a * b
    if _HAS_EXACT_FMA:
        return p, fma(a, b, -p)
    a_high, a_low = split(a)
    b_high, b_low = split(b)
    return p, a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low)


@kernel(inline=True, fastmath=False)
def dd_multiply_number(a_high, a_low, b):
    """(high, low), high = high + low rounded, of a * b, b one number; relative error at most 3 u**2 (2 with FMA)."""
    p, e = two_product(a_high, b)
    if _HAS_EXACT_FMA:
        return fast_two_sum(p, fma(a_low, b, e))
    return fast_two_sum(p, a_low * b + e)


# --- Horner's rule with a bound on its error --------------------------------------------------------------------------
#
# One step for each coefficient below the highest one, for polynomials that lie in memory in whatever way:
#     value, size = horner_start(c)                     value, error, size = compensated_start(c)
#     value, size = horner_step(value, size, x, c)      value, error, size = compensated_step(value, error, size, x, c)
#     bound = horner_bound(size, steps)                 value, bound = compensated_end(value, error, size, steps)
# c is of the type of x (`like` makes it so). Unused sizes and bounds are optimised away. `steps` is the degree or more,
# at most 1e5.


@kernel(inline=True, fastmath=False)
def horner_start(c):
    """(value, size) before the first step, c being the highest coefficient."""
    return c, like(c, TINY) if _HAS_EXACT_FMA else absolute(c) + TINY


@kernel(inline=True, fastmath=False)
def horner_step(value, size, x, c):
    """x * value + c, and the sum of the sizes of all values so far, in which their roundings are bounded."""
    value = fma(value, x, c) if _HAS_EXACT_FMA else value * x + c
    size = fma(size, absolute(x), absolute(value)) if _HAS_EXACT_FMA else size * absolute(x) + absolute(value)
    return value, size


@kernel(inline=True, fastmath=False)
def horner_bound(size, steps):
    """At least |value - P(x)|: one rounding a step with FMA, two without (Higham 2002, algorithm 5.1)."""
    unit = UNIT if _HAS_EXACT_FMA else 2.0 * UNIT
    bound = size * (unit * (1.0 + (3.0 * steps + 8.0) * UNIT)) + SMALLEST_BOUND
    return choose(bound < INFINITY, bound, INFINITY)  # of NaN, too


@kernel(inline=True, fastmath=False)
def compensated_start(c):
    """(value, error, size) before the first step, c being the highest coefficient."""
    return c, like(c, 0.0), like(c, TINY)


@kernel(inline=True, fastmath=False)
def compensated_step(value, error, size, x, c):
    """Horner's step for the value; for the polynomial of its rounding errors; and for that of their absolute values."""
    product, of_product = two_product(value, x)
    value, of_sum = two_sum(product, c)
    both = of_product + of_sum
    sizes = absolute(of_product) + absolute(of_sum)
    if _HAS_EXACT_FMA:
        return value, fma(error, x, both), fma(size, absolute(x), sizes)
    return value, error * x + both, size * absolute(x) + sizes


@kernel(inline=True, fastmath=False)
def compensated_end(value, error, size, steps):
    """(P(x) as if computed in twice the precision and rounded, a bound on the error of that).

    The sum of value and error is off P(x) by the roundings of the error's own recurrence, at most
    gamma(2 n - 1) times the exact size, which is at most gamma(4 n + 2) times the computed one; the last rounding is
    known exactly. Where that overflows the value is plain Horner's and the bound infinite.
    """
    result, rest = two_sum(value, error)
    bound = (absolute(rest) + size * ((4.0 * steps + 8.0) * UNIT)) * (1.0 + 8.0 * UNIT) + SMALLEST_BOUND
    finite = absolute(result) < INFINITY
    return choose(finite, result, value), choose(bound < INFINITY, bound, INFINITY)


@kernel(inline=True, fastmath=False)
def horner_with_bound(c, x):
    """(P(x), bound on its error) by Horner's rule. c (n,) float64, n >= 1, ascending; x a number or a vector."""
    value, size = horner_start(like(x, c[c.size - 1]))
    for k in range(c.size - 2, -1, -1):
        value, size = horner_step(value, size, x, like(x, c[k]))
    return value, horner_bound(size, c.size - 1)


@kernel(inline=True, fastmath=False)
def compensated_horner(c, x):
    """(P(x), bound on its error) by compensated Horner: P(x) within u |P(x)| + (2 n u)**2 sum |c_k| |x|**k.

    c (n,) float64, n >= 1, ascending; x a number or a vector.
    """
    value, error, size = compensated_start(like(x, c[c.size - 1]))
    for k in range(c.size - 2, -1, -1):
        value, error, size = compensated_step(value, error, size, x, like(x, c[k]))
    return compensated_end(value, error, size, c.size - 1)
