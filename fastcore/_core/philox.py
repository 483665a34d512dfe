"""Philox4x32-10, a counter-based generator: random words are a function of (seed, counter) alone, in any order.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel

MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF
ROUNDS = 10

# Counters side by side in one vector of 64-bit lanes, and the words they give.
COUNTERS = int(simd.F64_LANES)
WORDS = 4 * COUNTERS


@kernel(inline=True)
def philox(c0, c1, c2, c3, seed):
    """Four words for each counter. All are u64 lanes below 2**32: there the high halves of products come for free."""
    k0 = seed & LOW
    k1 = (seed >> 32) & LOW
    for _ in range(ROUNDS):
        product_0 = c0 * MULTIPLIER_0
        product_1 = c2 * MULTIPLIER_1
        c0 = (product_1 >> 32) ^ c1 ^ k0
        c1 = product_1 & LOW
        c2 = (product_0 >> 32) ^ c3 ^ k1
        c3 = product_0 & LOW
        k0 = (k0 + WEYL_0) & LOW
        k1 = (k1 + WEYL_1) & LOW
    return c0, c1, c2, c3


@kernel(inline=True)
def successive_words(counter, seed):
    """The `WORDS` words (u32) of the 64-bit counters ``counter``, ``counter + 1`` ..., four of each in a row."""
    counters = simd.convert(simd.iota_i64(COUNTERS), simd.u64) + counter
    zero = counters ^ counters
    w0, w1, w2, w3 = philox(counters & LOW, counters >> 32, zero, zero, seed)
    return simd.bitcast(simd.interleave(w0 | w1 << 32, w2 | w3 << 32), simd.u32)
