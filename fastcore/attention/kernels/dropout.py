"""Attention dropout by a counter-based generator: the mask depends on the element, never on threads or tiles.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3, Philox4x32-10.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of

_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFFFFFF
_ROUNDS = 10


@kernel
def _keep_or_drop(scores, word, dropout):
    """Scale one row of weights where its random words reach the threshold, else zero it."""
    lanes = lanes_of(scores)
    kept = simd.load(scores, lanes) * dropout.inverse_keep
    simd.store(scores, simd.select(word >= dropout.threshold, kept, filled(scores, 0.0)))


@kernel
def drop_weights(scores, keys, width, first_key, dropout):
    """Apply dropout to the weights of keys ``first_key + row`` (first_key % 4 == 0), queries ``first_row + lane``.

    The 32-bit words live in 64-bit lanes, where the high halves of the products come for free.
    """
    lanes = lanes_of(scores)
    lane = simd.convert(simd.iota_i64(lanes), simd.u64)
    zero = lane ^ lane
    for first in range(0, width, lanes):
        for quad in range(0, keys, 4):
            c0 = zero + (first_key + quad) // 4
            c1 = lane + (dropout.first_row + first)
            c2 = zero + dropout.head
            c3 = zero
            k0 = dropout.seed & _LOW
            k1 = (dropout.seed >> 32) & _LOW
            for _ in range(_ROUNDS):
                product_0 = c0 * _MULTIPLIER_0
                product_1 = c2 * _MULTIPLIER_1
                c0 = (product_1 >> 32) ^ c1 ^ k0
                c1 = product_1 & _LOW
                c2 = (product_0 >> 32) ^ c3 ^ k1
                c3 = product_0 & _LOW
                k0 = (k0 + _WEYL_0) & _LOW
                k1 = (k1 + _WEYL_1) & _LOW
            at = simd.advance(scores, quad * width + first)
            _keep_or_drop(at, c0, dropout)
            if quad + 1 < keys:
                _keep_or_drop(simd.advance(at, width), c1, dropout)
            if quad + 2 < keys:
                _keep_or_drop(simd.advance(at, 2 * width), c2, dropout)
            if quad + 3 < keys:
                _keep_or_drop(simd.advance(at, 3 * width), c3, dropout)
