"""Plain NumPy twin of the bootstrap: the same draws, every resample copied and measured one after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(state: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def draw_rows(seed: int, resample: int, size: int, strata: np.ndarray | None = None) -> np.ndarray:
    """(size,) row numbers, drawn with replacement; with strata (size,) from the rows of the same stratum."""
    state = mix(np.array([seed], np.uint64) ^ mix(np.array([resample + 1], np.uint64)))
    draws = (mix(state + np.arange(size, dtype=np.uint64) * GOLDEN) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    if strata is None:
        return (draws * size).astype(np.int64)
    order = np.argsort(strata, kind="stable")
    _, first, label, counts = np.unique(strata[order], return_index=True, return_inverse=True, return_counts=True)
    return order[first[label] + (draws * counts[label]).astype(np.int64)]


def bootstrap(
    metric: Callable[..., float],
    *data: np.ndarray,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    strata: np.ndarray | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[float, float, float]:
    """(estimate, low, high) by the percentile method."""
    samples = []
    for resample in range(n_resamples):
        rows = draw_rows(seed, resample, len(data[0]), strata)
        samples.append(metric(*(x[rows] for x in data), **options))
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return metric(*data, **options), low, high
