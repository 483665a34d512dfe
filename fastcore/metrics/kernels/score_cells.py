"""Cells of scores: equal scores share one, and cells have the order of their scores.

A cell's number is one multiplication away, from the score itself or from its bits. Scores spread evenly fill cells of
the first kind evenly, scores of many magnitudes those of the second. Where a cell is crowded, the other kind is tried
on it: bits of any range fall apart into two cells at least, so that ends.
"""

import numpy as np

from fastcore._core.jit import kernel

# Scores are taken by a quarter: the difference of two finite ones is finite then.
QUARTER = 0.25
_ALL_BUT_SIGN = np.int64(0x7FFF_FFFF_FFFF_FFFF)


@kernel(fastmath=False)
def key_of(score):
    """The bits of a score as an integer in the order of the scores."""
    # Without fastmath the sum is kept, which makes 0.0 of -0.0.
    bits = np.float64(score + 0.0).view(np.int64)
    return bits ^ ((bits >> np.int64(63)) & _ALL_BUT_SIGN)


@kernel(fastmath=False)
def distance(score, low, by_bits):
    """How far a score lies above ``low``: a float64 that grows with it."""
    if by_bits:
        return np.float64(np.uint64(key_of(score) - key_of(low)))
    return score * QUARTER - low * QUARTER


@kernel
def cells_per_distance(low, high, cells, by_bits):
    """(factor, by_bits): floor(distance * factor) is the number of a score's cell, below ``cells``, for low < high.

    By bits where the values are too close to one another.
    """
    if not by_bits:
        factor = (cells - 1) / distance(high, low, False)
        if factor <= 1e300:  # neither infinite nor, for integers beyond float64's precision, NaN
            return factor, False
    return (cells - 1) / distance(high, low, True), True


@kernel
def bounds(scores):
    """(smallest, largest) of at least one score."""
    low = high = scores[0]
    for i in range(scores.size):
        low = min(low, scores[i])
        high = max(high, scores[i])
    return low, high
