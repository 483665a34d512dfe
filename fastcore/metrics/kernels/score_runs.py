"""Distinct scores of sorted samples with the number or weight of each code, and samples of these again."""

import numpy as np
from numba import types

from fastcore._core.work import Direct


def group_sorted(scores, codes, weights, out_scores, out_counts):
    """Number of distinct scores, written to the beginning of the outputs; counts (N, C) are all written."""
    group = -1
    num_codes = out_counts.shape[1]
    for i in range(scores.size):
        score = scores[i]
        if i == 0 or score != scores[i - 1]:
            group += 1
            out_scores[group] = score
            for code in range(num_codes):
                out_counts[group, code] = 0
        out_counts[group, np.int64(codes[i])] += weights[i] if weights.size else 1
    return group + 1


def spread_run(scores, counts, place, out_scores, out_codes, out_weights):
    """(place behind, whether all weigh 1): a sample for each code of each score that occurs, from ``place`` on."""
    ones = True
    for i in range(scores.size):
        for code in range(counts.shape[1]):
            count = counts[i, code]
            if count != 0:
                out_scores[place], out_codes[place], out_weights[place] = scores[i], code, count
                ones &= count == 1
                place += 1
    return place, ones


_F64, _I64, _U8 = types.float64, types.int64, types.uint8


def _vector(dtype, readonly=False):
    return types.Array(dtype, 1, "C", readonly=readonly)


def _group(count):
    given = _vector(_F64, True), _vector(_U8, True), _vector(_F64, True)
    return Direct(group_sorted, _I64(*given, _vector(_F64), types.Array(count, 2, "C")))


def _spread(count):
    given = _vector(_F64, True), types.Array(count, 2, "C", readonly=True), _I64
    out = _vector(_F64), _vector(_U8), _vector(_F64)
    return Direct(spread_run, types.Tuple((_I64, types.boolean))(*given, *out))


_COUNTS = {np.dtype(np.int64): _I64, np.dtype(np.float64): _F64}
_GROUP = {dtype: _group(kind) for dtype, kind in _COUNTS.items()}
_SPREAD = {dtype: _spread(kind) for dtype, kind in _COUNTS.items()}
_NO_WEIGHTS = np.empty(0)


def grouped_sorted(scores, codes, weights, num_codes):
    """Distinct scores (G,) and counts (G, num_codes), int64 or with weights float64.

    scores (N,) float64, sorted; codes (N,) uint8 below num_codes; weights (N,) float64 or None; C-contiguous
    """
    dtype = np.dtype(np.int64 if weights is None else np.float64)
    out_scores, out_counts = np.empty(len(scores)), np.empty((len(scores), num_codes), dtype)
    given = _NO_WEIGHTS if weights is None else weights
    groups = _GROUP[dtype].call(scores, codes, given, out_scores, out_counts)
    if 2 * groups > len(scores):
        return out_scores[:groups], out_counts[:groups]
    return out_scores[:groups].copy(), out_counts[:groups].copy()


def spread(runs):
    """Samples of runs (scores (G,) float64, counts (G, C) of one dtype): scores, uint8 codes, and weights or None."""
    size = sum(counts.size for _, counts in runs)
    scores, codes, weights = np.empty(size), np.empty(size, np.uint8), np.empty(size)
    place, all_ones = 0, True
    for of_run, counts in runs:
        place, ones = _SPREAD[counts.dtype].call(of_run, counts, place, scores, codes, weights)
        all_ones = all_ones and ones
    return scores[:place], codes[:place], None if all_ones else weights[:place]
