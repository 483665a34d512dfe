"""Scores by falling value: the distinct ones, and how many samples of each code have them or higher ones."""

from typing import Any

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.score_buckets import LARGEST_SMALL, Buckets, divide_into_buckets
from fastcore.metrics.kernels.score_sort import scratch_of, sort_bucket

# Serial nanoseconds a score, for the choice between serial and parallel.
SORT_NS, EMIT_NS = 8.0, 2.0
# Integers up to here are float64 numbers, each its own.
LARGEST_EXACT = 1 << 53


@kernel
def count_groups(scores):
    """Number of distinct scores of a sorted bucket."""
    groups = min(scores.size, 1)
    for i in range(1, scores.size):
        groups += scores[i - 1] != scores[i]
    return groups


@kernel
def add_codes(codes, weights, totals):
    """totals[code] += the weight of each code, from the highest score on; codes below 4."""
    if weights.size:
        for i in range(codes.size - 1, -1, -1):
            totals[codes[i]] += weights[i]
        return
    ones = twos = both = 0
    for code in codes:  # bits in registers: a total in memory would wait for its last addition
        ones += code & 1
        twos += code >> 1
        both += code & (code >> 1)
    counts = (codes.size - ones - twos + both, ones - both, twos - both, both)
    for code in range(totals.size):
        totals[code] += counts[code]


@kernel
def emit(scores, codes, weights, base, out_scores, out_counts):
    """The groups of a sorted bucket by falling score; ``base`` is what the buckets above it add up to.

    base + (a sum from zero), as in `sum_of_buckets`, so that counts of weights never fall, not even by rounding.
    """
    within = np.zeros(base.size)
    group = 0
    for i in range(scores.size - 1, -1, -1):
        within[codes[i]] += weights[i] if weights.size else 1.0
        if i == 0 or scores[i - 1] != scores[i]:
            out_scores[group] = scores[i]
            row = out_counts[group]
            for code in range(base.size):
                row[code] = base[code] + within[code]
            group += 1
    return group


def order_small(scores, codes, weights, num_codes, out_scores, out_counts):
    """Number of groups, written to the beginning of the outputs."""
    size = scores.size
    sorted_scores, sorted_codes, sorted_weights = np.empty(size), np.empty(size, np.uint8), np.empty(weights.size)
    for i in range(size):
        sorted_scores[i] = scores[i]
        sorted_codes[i] = codes[i]
    for i in range(weights.size):
        sorted_weights[i] = weights[i]
    sort_bucket(sorted_scores, sorted_codes, sorted_weights, scratch_of(size, weights.size > 0))
    return emit(sorted_scores, sorted_codes, sorted_weights, np.zeros(num_codes), out_scores, out_counts)


def order_items(scores, codes, weights, starts, largest, sums, groups, counter):
    """Sort each bucket; sums[bucket, code] = its weights, groups[bucket] = its distinct scores."""
    scratch = scratch_of(largest, weights.size > 0)
    bucket = next_item(counter, -1)
    while bucket < groups.size:
        first, end = starts[bucket], starts[bucket + 1]
        own = weights[first:end]
        sort_bucket(scores[first:end], codes[first:end], own, scratch)
        add_codes(codes[first:end], own, sums[bucket])
        groups[bucket] = count_groups(scores[first:end])
        bucket = next_item(counter, bucket)


def order_parallel(body, workers, scores, codes, weights, starts, largest, sums, groups, counter):
    for _ in prange(workers):
        call_by_address(body, (scores, codes, weights, starts, largest, sums, groups, counter))


def sum_of_buckets(sums, groups, places):
    """Make of the sums of buckets what those above add up to, and places[bucket], where its groups begin; the total."""
    total = np.zeros(sums.shape[1])
    place = 0
    for bucket in range(groups.size - 1, -1, -1):
        places[bucket] = place
        place += groups[bucket]
        row = sums[bucket]
        for code in range(total.size):
            before = total[code]
            total[code] = before + row[code]
            row[code] = before
    return place


def emit_items(scores, codes, weights, starts, bases, places, out_scores, out_counts, counter):
    bucket = next_item(counter, -1)
    while bucket < places.size:
        first, end, place = starts[bucket], starts[bucket + 1], places[bucket]
        emit(
            scores[first:end],
            codes[first:end],
            weights[first:end],
            bases[bucket],
            out_scores[place:],
            out_counts[place:],
        )
        bucket = next_item(counter, bucket)


def emit_parallel(body, workers, scores, codes, weights, starts, bases, places, out_scores, out_counts, counter):
    for _ in prange(workers):
        call_by_address(body, (scores, codes, weights, starts, bases, places, out_scores, out_counts, counter))


_F64, _I64, _U8 = types.float64, types.int64, types.uint8


def _array(dtype: Any, ndim: int = 1) -> Any:
    return types.Array(dtype, ndim, "C")


def _read(dtype: Any, layout: str = "C") -> Any:
    return types.Array(dtype, 1, layout, readonly=True)


def _small_of(count: Any) -> Direct:
    read = [_read(each, "A") for each in (_F64, _U8, _F64)]
    return Direct(order_small, _I64(*read, _I64, _array(_F64), _array(count, 2)))


def _emit_of(count: Any) -> SharedWork:
    arguments = [_array(_F64), _array(_U8), _array(_F64), _read(_I64), _array(_F64, 2), _read(_I64), _array(_F64)]
    return SharedWork(emit_items, emit_parallel, [*arguments, _array(count, 2)])


_ORDER = SharedWork(
    order_items,
    order_parallel,
    [_array(_F64), _array(_U8), _array(_F64), _read(_I64), _I64, _array(_F64, 2), _array(_I64)],
)
_SUM = Direct(sum_of_buckets, _I64(_array(_F64, 2), _read(_I64), _array(_I64)))
_COUNTS = {np.dtype(np.int64): _I64, np.dtype(np.float64): _F64}
_SMALL = {dtype: _small_of(kind) for dtype, kind in _COUNTS.items()}
_EMIT = {dtype: _emit_of(kind) for dtype, kind in _COUNTS.items()}


def ordered_buckets(
    scores: np.ndarray, codes: np.ndarray, num_codes: int, weights: np.ndarray | None
) -> tuple[int, Buckets, np.ndarray, np.ndarray]:
    """(faults, buckets, sums (B, num_codes) float64, groups (B,)): sorted buckets and what each of them holds."""
    faults, buckets = divide_into_buckets(scores, codes, 1, weights)
    starts = buckets.starts
    sums, groups = np.zeros((starts.size - 1, num_codes)), np.zeros(starts.size - 1, np.int64)
    if not faults:
        largest = int(np.diff(starts).max())
        _ORDER(SORT_NS * scores.size, buckets.scores, buckets.codes, buckets.weights, starts, largest, sums, groups)
    return faults, buckets, sums, groups


def exclusive_sums(sums: np.ndarray, groups: np.ndarray) -> tuple[int, np.ndarray]:
    """(distinct scores, where the groups of each bucket begin); ``sums`` becomes what the buckets above add up to."""
    places = np.empty_like(groups)
    return _SUM.call(sums, groups, places), places


def as_floats(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores in float32 or float64 of the same order, and what these stand for where they are ranks.

    They are ranks for integers that float64 does not tell apart, which are sorted for it.
    """
    if scores.dtype.kind == "f":
        return scores, None
    if scores.size and not -LARGEST_EXACT <= int(scores.min()) <= int(scores.max()) <= LARGEST_EXACT:
        distinct, ranks = np.unique(scores, return_inverse=True)
        return ranks.astype(np.float64), distinct
    return scores.astype(np.float64), None


def ranked_groups(
    score: np.ndarray, code: np.ndarray, num_codes: int = 2, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct scores, falling, and how many samples, or what weight, of each code have at least that score.

    Parameters
    ----------
    score : (N,) float32, float64 or int64, finite
    code : (N,) uint8 in [0, num_codes), num_codes 2 or 4
    weights : (N,) float64, or None; any strides for all three

    Returns
    -------
    (G,) in the dtype of score, (G, num_codes) int64, with weights float64

    Notes
    -----
    Sums of weights depend neither on the number of threads nor on the layout of the arrays, and rise where no weight is
    negative.
    """
    dtype = np.dtype(np.int64 if weights is None else np.float64)
    scores, distinct = as_floats(score)
    if scores.size <= LARGEST_SMALL:
        out_scores, out_counts = np.empty(scores.size), np.empty((scores.size, num_codes), dtype)
        read = scores if scores.itemsize == 8 else scores.astype(np.float64)
        read_weights = np.empty(0) if weights is None else weights
        groups = _SMALL[dtype].call(read, code, read_weights, num_codes, out_scores, out_counts)
        out_scores, out_counts = out_scores[:groups], out_counts[:groups]
    else:
        _, buckets, sums, sizes = ordered_buckets(scores, code, num_codes, weights)
        groups, places = exclusive_sums(sums, sizes)
        out_scores, out_counts = np.empty(groups), np.empty((groups, num_codes), dtype)
        given = (buckets.scores, buckets.codes, buckets.weights, buckets.starts)
        _EMIT[dtype](EMIT_NS * scores.size, *given, sums, places, out_scores, out_counts)
    if distinct is not None:
        return distinct[out_scores.astype(np.int64)], out_counts
    return out_scores if score.dtype == np.float64 else out_scores.astype(score.dtype), out_counts
