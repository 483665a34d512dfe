"""Online softmax over panels of scores: queries in the lanes, one key a row.

All statistics are lane-wise, so no horizontal reduction is needed. ``unit`` turns score differences into powers of two:
1 where the scores were scaled by log2(e) beforehand, log2(e) where they had to stay natural (an additive mask).
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.attention.kernels.panels import used_keys

LOG2_E = 1.0 / math.log(2.0)
LN_2 = math.log(2.0)

# Where the reference maxima start: the lowest finite number, so that -inf minus it is -inf and not NaN, and that scores
# which all are the lowest additive mask weigh alike.
LOWEST_F32, LOWEST_F64 = -3.4028234663852886e38, -1.7976931348623157e308

# The reference maximum is raised only when a score exceeds it by a factor of 2^8 and more: weights up to 256 lose no
# precision in floating point, and after the first blocks the accumulated output is hardly ever rescaled.
REFERENCE_MARGIN = 8.0


@kernel
def raise_reference(peak, reference, total, accumulated, rows, width, unit):
    """Raise the reference maxima to ``peak`` where one lane needs it, rescaling what was summed so far.

    A NaN in ``peak`` compares false and leaves the reference as it is: the NaN reaches the sums by its own weight.
    """
    lanes = lanes_of(peak)
    stale = False
    for first in range(0, width, lanes):
        limit = simd.load(simd.advance(reference, first), lanes) + REFERENCE_MARGIN / unit
        if simd.any_lane(simd.load(simd.advance(peak, first), lanes) > limit):
            stale = True
    if not stale:
        return
    for first in range(0, width, lanes):
        old = simd.load(simd.advance(reference, first), lanes)
        new = simd.maximum(simd.load(simd.advance(peak, first), lanes), old)
        factor = simd.softmax_exp2((old - new) * unit)
        simd.store(simd.advance(reference, first), new)
        sums = simd.advance(total, first)
        simd.store(sums, simd.load(sums, lanes) * factor)
        column = simd.advance(accumulated, first)
        for _ in range(rows):
            simd.store(column, simd.load(column, lanes) * factor)
            column = simd.advance(column, width)


@kernel
def exponentiate(scores, keys, reference, total, width, unit, diagonal):
    """scores <- 2^((scores - reference) * unit) in place; ``total`` gains the sums over the keys.

    Per vector of queries only the keys that the products use.
    """
    lanes = lanes_of(scores)
    for first in range(0, width, lanes):
        highest = simd.load(simd.advance(reference, first), lanes)
        block_sum = filled(scores, 0.0)
        used = used_keys(diagonal, keys, width, first, lanes)
        at = simd.advance(scores, first)
        if unit == 1:
            for _ in range(used):
                weight = simd.softmax_exp2(simd.load(at, lanes) - highest)
                simd.store(at, weight)
                block_sum = block_sum + weight
                at = simd.advance(at, width)
        else:
            for _ in range(used):
                weight = simd.softmax_exp2((simd.load(at, lanes) - highest) * unit)
                simd.store(at, weight)
                block_sum = block_sum + weight
                at = simd.advance(at, width)
        sums = simd.advance(total, first)
        simd.store(sums, simd.load(sums, lanes) + block_sum)


@kernel
def normalise(accumulated, rows, reference, total, width, unit):
    """Divide the accumulated values by the weights' sum and turn ``total`` into the natural log-sum-exp.

    A lane without any key has sum 0: its values stay 0 and its log-sum-exp becomes -inf.
    """
    lanes = lanes_of(accumulated)
    for first in range(0, width, lanes):
        sums = simd.load(simd.advance(total, first), lanes)
        empty = sums == 0
        inverse = simd.select(empty, sums, 1 / sums)
        column = simd.advance(accumulated, first)
        for _ in range(rows):
            simd.store(column, simd.load(column, lanes) * inverse)
            column = simd.advance(column, width)
        highest = simd.load(simd.advance(reference, first), lanes)
        natural = highest * (LN_2 * unit)
        simd.store(simd.advance(total, first), natural + simd.log(sums))
