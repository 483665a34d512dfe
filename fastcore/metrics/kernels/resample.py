"""Bootstrap samples: rows drawn with replacement, as row numbers or as how often each row was drawn."""

from typing import Protocol

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


class Drawing(Protocol):
    """A way to draw resamples; ``memory`` is a dictionary of each thread's own, for arrays to be used again."""

    def rows(self, seed: int, resample: int, memory: dict[str, np.ndarray]) -> np.ndarray:
        """Row numbers of a resample, int64."""

    def counts(self, seed: int, resample: int, memory: dict[str, np.ndarray]) -> np.ndarray:
        """How often each of the N rows occurs in a resample, (N,) float64."""


class Strata:
    """As many rows of each stratum as there are; `order`, `first` and `sizes` are empty where all rows are one."""

    def __init__(self, size: int, strata: np.ndarray | None) -> None:
        """size: number of rows N; strata (N,) int64 codes, or None."""
        self.size = size
        self.order = self.first = self.sizes = np.empty(0, np.int64)
        if strata is not None:
            self.order = np.argsort(strata, kind="stable")
            counts = np.bincount(strata)
            self.first = np.repeat(np.cumsum(counts) - counts, counts)
            self.sizes = np.repeat(counts, counts)

    def rows(self, seed: int, resample: int, memory: dict[str, np.ndarray]) -> np.ndarray:
        rows = _kept(memory, "rows", self.size, np.int64)
        _ROWS.call(_state(seed, resample), self.order, self.first, self.sizes, rows)
        return rows

    def counts(self, seed: int, resample: int, memory: dict[str, np.ndarray]) -> np.ndarray:
        counts = _kept(memory, "counts", self.size, np.float64)
        _COUNTS.call(_state(seed, resample), self.order, self.first, self.sizes, counts)
        return counts


class Groups:
    """As many groups as there are, each with all its rows."""

    def __init__(self, groups: np.ndarray) -> None:
        """groups (N,) int64 codes, each from 0 on occurring."""
        self.groups = groups
        self.drawing = Strata(int(groups.max()) + 1, None)

    def rows(self, seed: int, resample: int, memory: dict[str, np.ndarray]) -> np.ndarray:
        repeats = self.drawing.counts(seed, resample, memory)[self.groups].astype(np.int64)
        return np.repeat(np.arange(self.groups.size), repeats)

    def counts(self, seed: int, resample: int, memory: dict[str, np.ndarray]) -> np.ndarray:
        return self.drawing.counts(seed, resample, memory)[self.groups]


def _kept(memory: dict[str, np.ndarray], name: str, size: int, dtype: type) -> np.ndarray:
    """The array of that name, made where there is none yet."""
    if name not in memory:
        memory[name] = np.empty(size, dtype)
    return memory[name]


def _state(seed: int, resample: int) -> int:
    state: int = _MIXED.call(np.uint64(seed) ^ _MIXED.call(np.uint64(resample + 1)))
    return state
