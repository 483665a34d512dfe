"""The mutual information that two clusterings of given sizes have by chance.

The number of samples that a cluster of one and a cluster of the other share by chance is hypergeometric. Its
probabilities follow from each other by multiplication, so a sum over them needs no lgamma: begin near the mode with
weight 1, go up and down until a weight no longer counts, and divide by the sum of the weights. Pairs of equal sizes
are summed once. A lane is a pair of sizes; lanes whose modes are near each other go through the same numbers of samples
together, with logarithms from a table: 3.9 ns a step of 8 lanes, where each for itself takes 12.

Source: Vinh, Epps and Bailey 2010, "Information Theoretic Measures for Clusterings Comparison", eq. 24a.
"""

import functools

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item

LANES = simd.F64_LANES
# Weights below this share of the largest are left out: both tails together stay below 1e-18 of the sum.
TINY = 1e-19
# Logarithms looked up, of 128 kB; those of larger numbers are computed.
NUM_LOGS = 1 << 14
# Pairs of sizes of an item.
ITEM = 32
# Nanoseconds of a pair of sizes, and of a step; steps are 19 deviations (weights go below TINY at 9.4 on each side).
NS_PER_PAIR, NS_PER_STEP, DEVIATIONS = 10.0, 0.45, 19.0
# Lanes go together while their modes are within so many deviations: weights then stay below exp(8**2 / 2).
LARGEST_SPREAD = 8.0


@functools.cache
def log_table():
    """(NUM_LOGS,) float64: logarithms of 0, 1, 2, ...; 0 for 0, which nothing is multiplied with."""
    return np.log(np.maximum(np.arange(NUM_LOGS, dtype=np.float64), 1.0))


@kernel
def starting_places(a, b, mean, total):
    """(where each lane begins, whether all begin at the same place): at its mode, or near it."""
    zero = simd.broadcast(0.0, LANES)
    low, high = simd.maximum((b + a) - total, zero), simd.minimum(b, a)
    mode = simd.convert(simd.convert((b + 1.0) * ((a + 1.0) / (total + 2.0)), simd.i64), simd.f64)
    mode = simd.minimum(simd.maximum(mode, low), high)
    first, last = simd.reduce_min(mode), simd.reduce_max(mode)
    middle = np.floor(0.5 * (first + last))
    variance = simd.reduce_min(mean * ((total - a) / total) * ((total - b) / total))
    near = last - first <= 4.0 + LARGEST_SPREAD * np.sqrt(max(variance, 0.0))
    if near and simd.reduce_max(low) <= middle <= simd.reduce_min(high):
        return zero + middle, True
    return mode, False


@kernel
def ratio_above(a, b, others, n):
    """Probability of n + 1 over that of n; 0 where n is the most."""
    above = n + 1.0
    return (a - n) * (b - n) / (above * (others + above))


@kernel
def ratio_below(a, b, others, n):
    """Probability of n - 1 over that of n; 0 where n is the least."""
    return n * (others + n) / ((a - n + 1.0) * (b - n + 1.0))


@kernel
def go_up(a, b, others, log_mean, start, together, logs):
    """(weights, weights * n * log(n / mean), largest weight), summed from ``start`` upwards."""
    n, weight = start, simd.broadcast(1.0, LANES)
    largest, weights = weight, weight - weight
    sums = weights
    if together:
        place = np.int64(simd.reduce_min(start))
        while place < logs.size and simd.any_lane(weight > largest * TINY):
            weights = weights + weight
            sums = simd.fma(weight * n, logs[place] - log_mean, sums)
            weight = weight * ratio_above(a, b, others, n)
            largest = simd.maximum(largest, weight)
            n, place = n + 1.0, place + 1
    while simd.any_lane(weight > largest * TINY):
        weights = weights + weight
        sums = simd.fma(weight * n, simd.log(simd.maximum(n, 1.0)) - log_mean, sums)
        weight = weight * ratio_above(a, b, others, n)
        largest = simd.maximum(largest, weight)
        n = n + 1.0
    return weights, sums, largest


@kernel
def go_down(a, b, others, log_mean, start, together, logs, largest):
    """`go_up`, downwards from below ``start``."""
    weight = ratio_below(a, b, others, start)
    n, weights = start - 1.0, weight - weight
    sums = weights
    if together:
        place = np.int64(simd.reduce_min(start)) - 1
        largest = simd.maximum(largest, weight)
        while place < logs.size and simd.any_lane(weight > largest * TINY):
            weights = weights + weight
            sums = simd.fma(weight * n, logs[place] - log_mean, sums)
            weight = weight * ratio_below(a, b, others, n)
            largest = simd.maximum(largest, weight)
            n, place = n - 1.0, place - 1
    while simd.any_lane(weight > largest * TINY):
        weights = weights + weight
        # Lanes that are past their least have a weight of 0, and n below 0.
        sums = simd.fma(weight * n, simd.log(simd.maximum(n, 1.0)) - log_mean, sums)
        weight = weight * ratio_below(a, b, others, n)
        largest = simd.maximum(largest, weight)
        n = n - 1.0
    return weights, sums


@kernel
def expected_of_pairs(a, b, total, logs):
    """Expected mutual information of clusters of ``a`` and of ``b`` samples among ``total``; vectors."""
    mean = a * b / total
    log_mean = simd.log(mean)
    others = (total - a) - b  # of neither cluster, while the two share nothing; below 0 where they must share some
    start, together = starting_places(a, b, mean, total)
    weights, sums, largest = go_up(a, b, others, log_mean, start, together, logs)
    weights_below, sums_below = go_down(a, b, others, log_mean, start, together, logs, largest)
    return (sums + sums_below) / ((weights + weights_below) * total)


@kernel
def fill_pairs(first, count, sizes_a, repeats_a, sizes_b, repeats_b, pairs):
    """pairs[:, :count] = a, b and how often they occur, from pair ``first`` on, then up to whole vectors 0 times.

    Rows go forth and back, so that neighbours have nearly equal sizes.
    """
    i, j = first // sizes_b.size, first % sizes_b.size
    for k in range(count):
        place = j if i % 2 == 0 else sizes_b.size - 1 - j
        pairs[0, k], pairs[1, k], pairs[2, k] = sizes_a[i], sizes_b[place], repeats_a[i] * repeats_b[place]
        j += 1
        if j == sizes_b.size:
            i, j = i + 1, 0
    for k in range(count, count + -count % LANES):
        pairs[0, k], pairs[1, k], pairs[2, k] = pairs[0, count - 1], pairs[1, count - 1], 0.0


def expected_items(sizes_a, repeats_a, sizes_b, repeats_b, total, logs, partial, counter):
    """partial[item] = sum over ITEM pairs of sizes."""
    pairs = np.empty((3, ITEM), np.float64)
    size = sizes_a.size * sizes_b.size
    item = next_item(counter, -1)
    while item * ITEM < size:
        count = min(ITEM, size - item * ITEM)
        fill_pairs(item * ITEM, count, sizes_a, repeats_a, sizes_b, repeats_b, pairs)
        sums = simd.broadcast(0.0, LANES)
        for k in range(0, count, LANES):
            at = simd.advance(simd.pointer(pairs), k)
            a, b = simd.load(at, LANES), simd.load(simd.advance(at, ITEM), LANES)
            repeats = simd.load(simd.advance(at, 2 * ITEM), LANES)
            sums = simd.fma(expected_of_pairs(a, b, total, logs), repeats, sums)
        partial[item] = simd.reduce_add(sums)
        item = next_item(counter, item)


def expected_parallel(body, workers, sizes_a, repeats_a, sizes_b, repeats_b, total, logs, partial, counter):
    """`expected_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (sizes_a, repeats_a, sizes_b, repeats_b, total, logs, partial, counter))


@kernel
def sort_few(values, size):
    """Sort the first ``size`` values in place, by insertion at shrinking distances (Shell 1959)."""
    gap = 1
    while 3 * gap + 1 < size:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, size):
            value = values[i]
            j = i - gap
            while j >= 0 and values[j] > value:
                values[j + gap] = values[j]
                j -= gap
            values[j + gap] = value
        gap //= 3


@kernel
def distinct_sizes(sizes):
    """(distinct sizes, ascending, how often each occurs) of (K,) floats that are integers, K > 0.

    Small ones are counted in a table, the others sorted: of few samples most are small, of many clusters as well.
    """
    size = sizes.size
    table = np.zeros(4 * size + 64, np.int64)
    large = np.empty(size, np.float64)
    num_large = 0
    for each in sizes:
        if each < table.size:
            table[np.int64(each)] += 1
        else:
            large[num_large] = each
            num_large += 1
    sort_few(large, num_large)
    values, repeats = np.empty(size, np.float64), np.zeros(size, np.float64)
    num = 0
    for each in range(table.size):
        if table[each] > 0:
            values[num], repeats[num] = each, table[each]
            num += 1
    for i in range(num_large):
        if i == 0 or large[i] != large[i - 1]:
            values[num] = large[i]
            num += 1
        repeats[num - 1] += 1.0
    return values[:num].copy(), repeats[:num].copy()


def plan(sizes_a, sizes_b, total):
    """(distinct sizes and repeats of a, those of b, nanoseconds that all pairs of them cost one thread)."""
    values_a, repeats_a = distinct_sizes(sizes_a)
    values_b, repeats_b = distinct_sizes(sizes_b)
    steps = DEVIATIONS * np.sqrt(values_a).sum() * np.sqrt(values_b).sum() / np.sqrt(total)
    work_ns = NS_PER_PAIR * values_a.size * values_b.size + NS_PER_STEP * steps
    return values_a, repeats_a, values_b, repeats_b, work_ns


_SIZES, _OUT = types.Array(types.float64, 1, "C", readonly=True), types.Array(types.float64, 1, "C")
_EXPECTED = SharedWork(expected_items, expected_parallel, [_SIZES, _SIZES, _SIZES, _SIZES, types.float64, _SIZES, _OUT])
_PLAN = Direct(plan, types.Tuple([_OUT, _OUT, _OUT, _OUT, types.float64])(_SIZES, _SIZES, types.float64))
_planned, _serial_items = kernel(plan), kernel(expected_items)


@kernel
def expected_if_little(sizes_a, sizes_b, total, logs, most_ns):
    """`expected_mutual_information` without threads; NaN where it is as much work as ``most_ns``."""
    values_a, repeats_a, values_b, repeats_b, work_ns = _planned(sizes_a, sizes_b, total)
    if work_ns >= most_ns:
        return np.nan
    partial = np.empty(-(-values_a.size * values_b.size // ITEM), np.float64)
    nobody = np.empty(0, np.int64)
    _serial_items(values_a, repeats_a, values_b, repeats_b, total, logs, partial, nobody)
    return partial.sum()


def expected_mutual_information(sizes_a, sizes_b, total):
    """Expected mutual information, in nats, of clusterings with these sizes of clusters.

    sizes_a (Ka,), sizes_b (Kb,) float64, whole numbers from 1 to ``total``, K > 0.
    """
    *distinct, work_ns = _PLAN.call(sizes_a, sizes_b, total)
    partial = np.empty(-(-len(distinct[0]) * len(distinct[2]) // ITEM))
    _EXPECTED(work_ns, *distinct, float(total), log_table(), partial)
    return float(partial.sum())
