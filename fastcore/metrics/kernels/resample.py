"""Bootstrap samples: rows drawn with replacement, as row numbers or as how often each row was drawn."""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct

# SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 17): the n-th number
# is a function of its state plus n times this, so that the draws of a resample need no other resample's.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_UNIT = 2.0**-53


def mix(state):
    """64 bits that look random for any two states that differ."""
    state = (state ^ (state >> np.uint64(30))) * _FACTORS[0]
    state = (state ^ (state >> np.uint64(27))) * _FACTORS[1]
    return state ^ (state >> np.uint64(31))


mixed = kernel(mix)


@kernel
def drawn(state, i, size):
    """The i-th draw from [0, size); 53 random bits, so that for 1e9 rows no row is preferred by more than 1e-7."""
    bits = mixed(state + np.uint64(i) * GOLDEN) >> np.uint64(11)
    return np.int64(np.float64(bits) * _UNIT * np.float64(size))


def draw_rows(state, order, first, sizes, rows):
    """rows[i] = a row of the stratum that the i-th of ``order`` belongs to: from first[i] on, sizes[i] of them."""
    for i in range(rows.size):
        if order.size:
            rows[i] = order[first[i] + drawn(state, i, sizes[i])]
        else:
            rows[i] = drawn(state, i, rows.size)


def draw_counts(state, order, first, sizes, counts):
    """counts[row] = how often `draw_rows` draws it."""
    counts[:] = 0.0
    for i in range(counts.size):
        if order.size:
            counts[order[first[i] + drawn(state, i, sizes[i])]] += 1.0
        else:
            counts[drawn(state, i, counts.size)] += 1.0


_READ = types.Array(types.int64, 1, "C", readonly=True)
_ROWS = Direct(draw_rows, types.void(types.uint64, _READ, _READ, _READ, types.Array(types.int64, 1, "C")))
_COUNTS = Direct(draw_counts, types.void(types.uint64, _READ, _READ, _READ, types.Array(types.float64, 1, "C")))
_MIXED = Direct(mix, types.uint64(types.uint64))


class Strata:
    """Rows ordered by stratum; `order`, `first` and `sizes` are empty where there is one stratum of all rows."""

    def __init__(self, strata: np.ndarray | None) -> None:
        """strata (N,) int64 codes, or None."""
        self.order = self.first = self.sizes = np.empty(0, np.int64)
        if strata is not None:
            self.order = np.argsort(strata, kind="stable")
            counts = np.bincount(strata)
            self.first = np.repeat(np.cumsum(counts) - counts, counts)
            self.sizes = np.repeat(counts, counts)

    def rows(self, seed: int, resample: int, out: np.ndarray) -> np.ndarray:
        """Row numbers of a resample, into out (N,) int64."""
        _ROWS.call(_state(seed, resample), self.order, self.first, self.sizes, out)
        return out

    def counts(self, seed: int, resample: int, out: np.ndarray) -> np.ndarray:
        """How often each row occurs in a resample, into out (N,) float64."""
        _COUNTS.call(_state(seed, resample), self.order, self.first, self.sizes, out)
        return out


def _state(seed: int, resample: int) -> int:
    return _MIXED.call(np.uint64(seed) ^ _MIXED.call(np.uint64(resample + 1)))
