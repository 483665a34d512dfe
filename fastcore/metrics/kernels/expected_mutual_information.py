"""The mutual information that two clusterings of given sizes have by chance.

The number of samples that cluster i of one and cluster j of the other share by chance is hypergeometric. Its
probabilities follow from each other by multiplication, so a sum over them needs no lgamma: begin near the mode with
weight 1, go up and down until a weight no longer counts, and divide by the sum of the weights. Pairs of equal sizes
are summed once. A lane is a size of the second clustering; lanes whose modes are near each other go through the same
numbers of samples together, which saves the logarithms.

Source: Vinh, Epps and Bailey 2010, "Information Theoretic Measures for Clusterings Comparison", eq. 24a.
"""

import functools

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item

LANES = simd.F64_LANES
# Weights below this share of the largest are left out: both tails together stay below 1e-18 of the sum.
TINY = 1e-19
# Logarithms looked up, of 128 kB; those of larger numbers are computed.
NUM_LOGS = 1 << 14
# Vectors of an item: 128 sizes.
ITEM_VECTORS = 128 // LANES
# Nanoseconds of a pair of sizes, and of a step; steps are 19 deviations (weights go below TINY at 9.4 on each side).
NS_PER_PAIR, NS_PER_STEP, DEVIATIONS = 15.0, 0.6, 19.0
# Lanes go together while their modes are within so many deviations: weights then stay below exp(8**2 / 2).
LARGEST_SPREAD = 8.0


@functools.cache
def log_table():
    """(NUM_LOGS,) float64: logarithms of 0, 1, 2, ...; 0 for 0, which nothing is multiplied with."""
    return np.log(np.maximum(np.arange(NUM_LOGS, dtype=np.float64), 1.0))


@kernel
def log_of(n, place, logs, together):
    """log(n) for n > 0; where all lanes are the number ``place``, looked up."""
    if together and 0 <= place < logs.size:
        return simd.broadcast(logs[place], LANES)
    return simd.log(simd.maximum(n, 1.0))


@kernel
def starting_places(a, b, mean, total):
    """(where each lane begins, whether all begin at the same place): at its mode, or near it."""
    zero = simd.broadcast(0.0, LANES)
    low, high = simd.maximum((b + a) - total, zero), simd.minimum(b, a)
    mode = simd.convert(simd.convert((b + 1.0) * ((a + 1.0) / (total + 2.0)), simd.i64), simd.f64)
    mode = simd.minimum(simd.maximum(mode, low), high)
    first, last = simd.reduce_min(mode), simd.reduce_max(mode)
    middle = np.floor(0.5 * (first + last))
    variance = simd.reduce_min(mean * (total - b)) * (total - a) / (total * total)
    near = last - first <= 4.0 + LARGEST_SPREAD * np.sqrt(max(variance, 0.0))
    if near and simd.reduce_max(low) <= middle <= simd.reduce_min(high):
        return zero + middle, True
    return mode, False


@kernel
def expected_of_pairs(a, b, total, logs):
    """Expected mutual information of clusters of ``a`` and ``b`` samples among ``total``; b is a vector."""
    one, zero = simd.broadcast(1.0, LANES), simd.broadcast(0.0, LANES)
    mean = b * a / total
    log_mean = simd.log(mean)
    others = (total - a) - b  # of neither cluster, while the two share nothing; below 0 where they must share some
    start, together = starting_places(a, b, mean, total)
    n, place = start, np.int64(simd.reduce_min(start))
    weight, largest, weights, sums = one, one, zero, zero
    while simd.any_lane(weight > largest * TINY):
        weights = weights + weight
        sums = simd.fma(weight * n, log_of(n, place, logs, together) - log_mean, sums)
        above = n + 1.0
        weight = weight * ((a - n) * (b - n) / (above * (others + above)))
        largest = simd.maximum(largest, weight)
        n, place = above, place + 1
    n, place = start, np.int64(simd.reduce_min(start))
    weight = one
    while True:
        # Past its lowest number a lane's weight is 0, by a factor that is.
        weight = weight * (n * (others + n) / ((a - n + 1.0) * (b - n + 1.0)))
        n, place = n - 1.0, place - 1
        largest = simd.maximum(largest, weight)
        if not simd.any_lane(weight > largest * TINY):
            return sums / (weights * total)
        weights = weights + weight
        sums = simd.fma(weight * n, log_of(n, place, logs, together) - log_mean, sums)


def expected_items(sizes_a, repeats_a, sizes_b, repeats_b, total, logs, partial, counter):
    """partial[item] = sum over one size of a and ITEM_VECTORS vectors of sizes of b. Sizes of b fill whole vectors."""
    vectors = sizes_b.size // LANES
    items_per_row = -(-vectors // ITEM_VECTORS)
    item = next_item(counter, -1)
    while item < sizes_a.size * items_per_row:
        row, first = item // items_per_row, item % items_per_row * ITEM_VECTORS
        sums = simd.broadcast(0.0, LANES)
        for vector in range(first, min(first + ITEM_VECTORS, vectors)):
            b = simd.load(simd.advance(simd.pointer(sizes_b), vector * LANES), LANES)
            repeats = simd.load(simd.advance(simd.pointer(repeats_b), vector * LANES), LANES)
            sums = simd.fma(expected_of_pairs(sizes_a[row], b, total, logs), repeats, sums)
        partial[item] = simd.reduce_add(sums) * repeats_a[row]
        item = next_item(counter, item)


def expected_parallel(body, workers, sizes_a, repeats_a, sizes_b, repeats_b, total, logs, partial, counter):
    """`expected_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (sizes_a, repeats_a, sizes_b, repeats_b, total, logs, partial, counter))


_SIZES = types.Array(types.float64, 1, "C", readonly=True)
_EXPECTED = SharedWork(
    expected_items,
    expected_parallel,
    [_SIZES, _SIZES, _SIZES, _SIZES, types.float64, _SIZES, types.Array(types.float64, 1, "C")],
)
_serial_items = kernel(expected_items)


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
def count_sizes(sizes):
    """`distinct_sizes` of floats, filled up to whole vectors with the last one, which occurs 0 times; and their number.

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
    values, repeats = np.empty(size + LANES, np.float64), np.zeros(size + LANES, np.float64)
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
    padded = num + -num % LANES
    values[num:padded] = values[num - 1]
    return values[:padded], repeats[:padded], num


@kernel
def work_of(sizes_a, sizes_b, total):
    """Estimate of what all pairs of these distinct sizes cost one thread, in nanoseconds."""
    roots_a, roots_b = np.sqrt(sizes_a).sum(), np.sqrt(sizes_b).sum()
    return NS_PER_PAIR * sizes_a.size * sizes_b.size + NS_PER_STEP * DEVIATIONS * roots_a * roots_b / np.sqrt(total)


@kernel
def expected_if_little(sizes_a, sizes_b, total, logs):
    """`expected_mutual_information` of (Ka,), (Kb,) float sizes; NaN where there is enough work for threads."""
    values_a, repeats_a, num_a = count_sizes(sizes_a)
    values_b, repeats_b, num_b = count_sizes(sizes_b)
    if work_of(values_a[:num_a], values_b[:num_b], total) >= threads.SMALLEST_WORK_NS:
        return np.nan
    if num_a > num_b:
        values_a, repeats_a, num_a, values_b, repeats_b = values_b, repeats_b, num_b, values_a, repeats_a
    partial = np.empty(num_a * -(-values_b.size // (LANES * ITEM_VECTORS)), np.float64)
    nobody = np.empty(0, np.int64)
    _serial_items(values_a[:num_a], repeats_a[:num_a], values_b, repeats_b, total, logs, partial, nobody)
    return partial.sum()


def distinct_sizes(sizes):
    """(distinct sizes, how often each occurs), float64, ascending; of (K,) positive numbers."""
    values, repeats = np.unique(sizes, return_counts=True)
    return values.astype(np.float64), repeats.astype(np.float64)


def expected_mutual_information(sizes_a, sizes_b, total):
    """Expected mutual information, in nats, of clusterings with these sizes of clusters.

    sizes_a (Ka,), sizes_b (Kb,) whole numbers from 1 to ``total``, K > 0.
    """
    short, long = sorted((distinct_sizes(sizes_a), distinct_sizes(sizes_b)), key=lambda pair: len(pair[0]))
    total = float(total)
    padding = -len(long[0]) % LANES
    padded = np.append(long[0], np.repeat(long[0][-1:], padding)), np.append(long[1], np.zeros(padding))
    partial = np.empty(len(short[0]) * -(-len(padded[0]) // (LANES * ITEM_VECTORS)))
    roots = np.sqrt(short[0]).sum() * np.sqrt(long[0]).sum() / np.sqrt(total)
    work_ns = NS_PER_PAIR * len(short[0]) * len(long[0]) + NS_PER_STEP * DEVIATIONS * roots
    _EXPECTED(work_ns, *short, *padded, total, log_table(), partial)
    return float(partial.sum())
