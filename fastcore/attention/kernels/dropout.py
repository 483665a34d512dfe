"""Attention dropout by a counter-based generator: the mask depends on the element, never on threads or tiles."""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.philox import philox
from fastcore._core.tile import filled, lanes_of


@kernel
def _keep_or_drop(scores, word, dropout):
    """Scale one row of weights where its random words reach the threshold, else zero it."""
    lanes = lanes_of(scores)
    kept = simd.load(scores, lanes) * dropout.inverse_keep
    simd.store(scores, simd.select(word >= dropout.threshold, kept, filled(scores, 0.0)))


@kernel
def drop_weights(scores, keys, width, first_key, dropout):
    """Apply dropout to the weights of keys ``first_key + row`` (first_key % 4 == 0), queries ``first_row + lane``."""
    lanes = lanes_of(scores)
    lane = simd.convert(simd.iota_i64(lanes), simd.u64)
    zero = lane ^ lane
    for first in range(0, width, lanes):
        for quad in range(0, keys, 4):
            block, row = zero + (first_key + quad) // 4, lane + (dropout.first_row + first)
            w0, w1, w2, w3 = philox(block, row, zero + dropout.head, zero, dropout.seed)
            at = simd.advance(scores, quad * width + first)
            _keep_or_drop(at, w0, dropout)
            if quad + 1 < keys:
                _keep_or_drop(simd.advance(at, width), w1, dropout)
            if quad + 2 < keys:
                _keep_or_drop(simd.advance(at, 2 * width), w2, dropout)
            if quad + 3 < keys:
                _keep_or_drop(simd.advance(at, 3 * width), w3, dropout)
