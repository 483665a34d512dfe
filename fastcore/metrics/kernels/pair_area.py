"""How many pairs of a negative and a positive score are in order: the Mann-Whitney U of scores that fit into a cache.

Pairs of different cells are ordered by their cells, so that counting suffices; only cells with scores of both classes
are looked at, and their pairs compared.
"""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core.jit import kernel
from fastcore.metrics.kernels.score_cells import bounds, cells_per_distance, distance

# A cell is compared pair by pair up to so many scores; beyond, it is divided.
LARGEST_COMPARED = 48


@kernel(fastmath=False)  # sums that LLVM may not reorder stay scalar: vectors take twice as long for runs this short
def ordered_pairs(negatives, positives):
    """Pairs with the positive above, a tie as a half."""
    area = 0.0
    for i in range(positives.size):
        score = positives[i]
        for j in range(negatives.size):
            area += 0.5 * (negatives[j] < score) + 0.5 * (negatives[j] <= score)
    return area


@kernel(fastmath=False)
def ordered_weight(negatives, positives, negative_weights, positive_weights):
    """The same with each pair counted by the product of its weights."""
    total = 0.0
    for i in range(positives.size):
        score = positives[i]
        below = 0.0
        tied = 0.0
        for j in range(negatives.size):
            weight = negative_weights[j]
            below += weight if negatives[j] < score else 0.0
            tied += weight if negatives[j] == score else 0.0
        total += positive_weights[i] * (below + 0.5 * tied)
    return total


@kernel
def compared(scores, weights, first, middle, end):
    """Area of negatives [first, middle) and positives [middle, end), pair by pair."""
    if weights is None:
        return ordered_pairs(scores[first:middle], scores[middle:end])
    return ordered_weight(scores[first:middle], scores[middle:end], weights[first:middle], weights[middle:end])


@kernel
def total_of(weights, first, end):
    """Weight of [first, end), which is its length where nothing is weighted."""
    if weights is None:
        return np.float64(end - first)
    total = 0.0
    for weight in weights[first:end]:
        total += weight
    return total


@kernel
def count_cells(scores, low, factor, by_bits, slots, per_cell, slot, places, ranks):
    """Count each score at slots[place], place = per_cell * cell + slot; ranks holds how many it found there."""
    for i in range(scores.size):
        cell = np.uint32(distance(scores[i], low, by_bits) * factor)
        place = np.uint32(per_cell) * cell + np.uint32(slot)
        places[i] = place
        rank = slots[place]
        ranks[i] = rank
        slots[place] = rank + np.uint32(1)


@kernel
def move_to_cells(scores, weights, slots, places, ranks, moved, moved_weights):
    """Put each score where its slot begins, behind those of lower rank.

    Counting the slots up here instead would need no ranks, but then a load of a slot may follow a store to it at an
    address not yet known. Once the CPU has been wrong about one, it waits for all: 7 ns a score instead of 3.
    """
    for i in range(scores.size):
        at = np.uint64(slots[places[i]]) + np.uint64(ranks[i])
        moved[at] = scores[i]
        if weights is not None:
            moved_weights[at] = weights[i]


@kernel
def starts_of_slots(slots, first):
    """Make of the counts of slots where each begins, from ``first`` on; the largest count."""
    total = np.uint32(first)
    largest = np.uint32(0)
    for k in range(slots.size):
        count = slots[k]
        slots[k] = total
        total += count
        largest = max(largest, count)
    return largest


@kernel
def sum_up(weights, first, end, sums):
    """sums[i] = the weight of [first, i), for i from first to end."""
    total = 0.0
    for i in range(first, end):
        sums[i] = total
        total += weights[i]
    sums[end] = total


@kernel
def add_up_cells(slots, sums, mixed):
    """(area, count): all pairs of different cells, and how many cells, listed in ``mixed``, hold both classes.

    slots[2 * cell], slots[2 * cell + 1] : where a cell's negatives and positives begin; sums, or None: `sum_up`
    Without branches, since which cells are empty or mixed cannot be foreseen: 0.7 ns a cell.
    """
    area = 0.0
    below = 0.0
    count = 0
    first = slots[0]
    for cell in range((slots.size - 1) // 2):
        middle, end = slots[2 * cell + 1], slots[2 * cell + 2]
        if sums is None:
            area += below * np.float64(end - middle)
            below += np.float64(middle - first)
        else:
            area += below * (sums[np.uint64(end)] - sums[np.uint64(middle)])
            below += sums[np.uint64(middle)] - sums[np.uint64(first)]
        mixed[np.uint64(count)] = np.uint32(cell)
        count += int((middle > first) & (end > middle))
        first = end
    return area, count


@kernel
def add_up_mixed(scores, weights, slots, mixed, pending, count, by_bits, is_spare):
    """(area, count): pairs within the cells listed in ``mixed``; the crowded ones go on ``pending``, of ``count``."""
    area = 0.0
    for cell in mixed:
        at = np.uint64(2) * np.uint64(cell)
        first, middle, end = np.int64(slots[at]), np.int64(slots[at + np.uint64(1)]), np.int64(slots[at + np.uint64(2)])
        if end - first == 2:  # most of them; a loop would cost more than the pair
            pair = np.float64(scores[first] < scores[middle]) + 0.5 * (scores[first] == scores[middle])
            area += pair if weights is None else pair * weights[first] * weights[middle]
        elif end - first <= LARGEST_COMPARED:
            area += compared(scores, weights, first, middle, end)
        else:
            item = pending[count]
            item[0], item[1], item[2], item[3], item[4] = first, middle, end, not by_bits, is_spare
            count += 1
    return area, count


@kernel
def divide(scores, weights, moved, moved_weights, scratch, first, middle, end, by_bits):
    """(cells, by_bits): move scores of both classes to their cells; 0 cells where all are equal."""
    low, high = bounds(scores[first:end])
    if low == high:
        return 0, by_bits
    cells = cells_for(end - first)
    factor, by_bits = cells_per_distance(low, high, cells, by_bits)
    slots = scratch.slots[: 2 * cells + 1]
    slots[:] = 0
    places, ranks = scratch.places[first:end], scratch.ranks[first:end]
    negatives = middle - first
    count_cells(scores[first:middle], low, factor, by_bits, slots, 2, 0, places, ranks)
    count_cells(scores[middle:end], low, factor, by_bits, slots, 2, 1, places[negatives:], ranks[negatives:])
    starts_of_slots(slots, first)
    own_weights = None if weights is None else weights[first:end]
    move_to_cells(scores[first:end], own_weights, slots, places, ranks, moved, moved_weights)
    return cells, by_bits


@kernel
def cells_for(size):
    """Cells to divide so many scores into: one to two for each."""
    cells = 1
    while cells < size:
        cells *= 2
    return cells


class Scratch(NamedTuple):
    """Memory for up to N scores, C = cells_for(N): slots (2 * C + 1,), the others (N,), (N + 1,) or (P, 5)."""

    slots: Any
    places: Any
    ranks: Any
    mixed: Any
    sums: Any
    pending: Any


@kernel
def scratch_of(size):
    return Scratch(
        np.empty(2 * cells_for(size) + 1, np.uint32),
        np.empty(size, np.uint32),
        np.empty(size, np.uint32),
        np.empty(size, np.uint32),
        np.empty(size + 1),
        np.empty((size // LARGEST_COMPARED + 2, 5), np.int64),
    )


@kernel
def area_of_bucket(scores, weights, middle, spare, spare_weights, scratch):
    """Area of the negatives scores[:middle] against the positives behind; the scores lose their order.

    scores, spare (N,) float64; weights, spare_weights (N,) float64, or None both; spare and spare_weights are scratch
    """
    area = 0.0
    pending = scratch.pending
    item = pending[0]
    item[0], item[1], item[2], item[3], item[4] = 0, middle, scores.size, 0, 0
    count = 1
    while count:
        count -= 1
        item = pending[count]
        first, middle, end, by_bits, is_spare = item[0], item[1], item[2], item[3] != 0, item[4] != 0
        if first == middle or middle == end:
            continue
        here, there, here_weights, there_weights = scores, spare, weights, spare_weights
        if is_spare:
            here, there, here_weights, there_weights = spare, scores, spare_weights, weights
        if end - first <= LARGEST_COMPARED:
            area += compared(here, here_weights, first, middle, end)
            continue
        cells, by_bits = divide(here, here_weights, there, there_weights, scratch, first, middle, end, by_bits)
        if cells == 0:
            area += 0.5 * total_of(here_weights, first, middle) * total_of(here_weights, middle, end)
            continue
        sums = None if weights is None else scratch.sums
        if weights is not None:
            sum_up(there_weights, first, end, sums)
        slots = scratch.slots[: 2 * cells + 1]
        apart, listed = add_up_cells(slots, sums, scratch.mixed)
        within, count = add_up_mixed(
            there, there_weights, slots, scratch.mixed[:listed], pending, count, by_bits, not is_spare
        )
        area += apart + within
    return area
