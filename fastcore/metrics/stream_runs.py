"""Runs: distinct scores in rising order, each with the number or weight of its samples by code."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastcore.metrics.kernels.score_order import LARGEST_EXACT, ordered_buckets
from fastcore.metrics.kernels.score_runs import grouped_sorted, spread

# Scores up to which NumPy's sort takes less time than dividing them into buckets.
FEW = 2000


class Run(NamedTuple):
    """Scores (G,) rising, counts (G, C) int64, or float64 sums of weights; and the dtype that the scores came in.

    Scores are float64, or integers of that dtype where float64 does not tell them apart.
    """

    scores: np.ndarray
    counts: np.ndarray
    dtype: np.dtype


def _has_rounded(scores: np.ndarray) -> bool:
    """Whether float64 may not tell all integers apart."""
    return not -LARGEST_EXACT <= int(scores.min()) <= int(scores.max()) <= LARGEST_EXACT


def grouped(scores: np.ndarray, codes: np.ndarray, weights: np.ndarray | None, num_codes: int) -> Run:
    """The run of (N,) finite scores of any real dtype, uint8 codes and float64 weights or None."""
    dtype = scores.dtype
    exact = dtype.kind in "iu" and dtype.itemsize == 8 and len(scores) > 0 and _has_rounded(scores)
    if not exact and (dtype.kind != "f" or dtype.itemsize not in (4, 8)):
        scores = scores.astype(np.float64)
    if exact or len(scores) <= FEW:
        order = np.argsort(scores, kind="stable")
        scores, codes = scores[order], codes[order]
        weights = None if weights is None else weights[order]
    else:
        _, buckets, _, _ = ordered_buckets(scores, codes, num_codes, weights)
        scores, codes, weights = buckets.scores, buckets.codes, None if weights is None else buckets.weights
    if exact:
        distinct, counts = _grouped_integers(scores, codes, weights, num_codes)
        return Run(distinct, counts, dtype)
    distinct, counts = grouped_sorted(scores.astype(np.float64, copy=False), codes, weights, num_codes)
    return Run(distinct, counts, dtype)


def _grouped_integers(
    scores: np.ndarray, codes: np.ndarray, weights: np.ndarray | None, num_codes: int
) -> tuple[np.ndarray, np.ndarray]:
    """`grouped_sorted` of integers that float64 does not tell apart."""
    distinct, places = np.unique(scores, return_inverse=True)
    counts = np.bincount(num_codes * places + codes, weights, num_codes * len(distinct))
    return distinct, counts.reshape(-1, num_codes)


def joined(runs: Sequence[Run]) -> Run:
    """The run of all samples of several."""
    dtype = np.result_type(*(run.dtype for run in runs))
    exact = dtype.kind in "iu" and any(run.scores.dtype.kind in "iu" for run in runs)
    num_codes = runs[0].counts.shape[1]
    count = np.result_type(*(run.counts.dtype for run in runs))
    held = [(run.scores, run.counts.astype(count, copy=False)) for run in runs]
    weights: np.ndarray | None
    if exact:
        scores = np.concatenate([run.astype(dtype, copy=False) for run, _ in held])
        counts = np.concatenate([each for _, each in held])
        rows, places = np.nonzero(counts)
        scores, codes, weights = scores[rows], places.astype(np.uint8), counts[rows, places].astype(np.float64)
    else:
        scores, codes, weights = spread([(run.astype(np.float64, copy=False), each) for run, each in held])
    # Counts below 2**53 are float64 numbers, and so are their sums.
    run = grouped(scores, codes, weights, num_codes)
    return Run(run.scores, run.counts.astype(count, copy=False), dtype)


def rows_of(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores in their dtype, codes, and counts or weights of the pairs of score and code that occur."""
    rows, codes = np.nonzero(run.counts)
    return run.scores[rows].astype(run.dtype, copy=False), codes, run.counts[rows, codes]


def area_of(counts: np.ndarray) -> tuple[float, float, float]:
    """Pairs of a negative and a positive in order, ties as halves; negatives; positives. Of counts (G, 2), rising.

    Exact below 2**52 pairs, where each term and each sum is a multiple of a half that float64 holds.
    """
    negatives, positives = (counts[:, code].astype(np.float64) for code in (0, 1))
    total = float(negatives.sum())
    below = np.cumsum(negatives)
    below -= 0.5 * negatives
    return float(np.dot(positives, below)), total, float(positives.sum())
