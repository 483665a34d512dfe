"""Scores that fit into a cache in rising order, with a code and a weight each."""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core.jit import kernel
from fastcore.metrics.kernels.pair_area import LARGEST_COMPARED, cells_for, count_cells, starts_of_slots
from fastcore.metrics.kernels.score_cells import bounds, cells_per_distance

# A cell of so many scores is put in order by insertion; a larger one is divided.
LARGEST_INSERTED = LARGEST_COMPARED


@kernel
def insert(scores, codes, weights, first, end):
    """Order [first, end) by insertion: fast where few scores have far to go."""
    for i in range(first + 1, end):
        score = scores[i]
        if scores[i - 1] <= score:
            continue
        code = codes[i]
        weight = weights[i] if weights.size else 0.0
        place = i
        while place > first and scores[place - 1] > score:
            scores[place], codes[place] = scores[place - 1], codes[place - 1]
            if weights.size:
                weights[place] = weights[place - 1]
            place -= 1
        scores[place], codes[place] = score, code
        if weights.size:
            weights[place] = weight


class Scratch(NamedTuple):
    """Memory for up to N scores: scores, codes, weights, places and ranks (N,); slots; pending (P, 3)."""

    scores: Any
    codes: Any
    weights: Any
    slots: Any
    places: Any
    ranks: Any
    pending: Any


@kernel
def scratch_of(size, weighted):
    return Scratch(
        np.empty(size),
        np.empty(size, np.uint8),
        np.empty(size if weighted else 0),
        np.empty(cells_for(size) + 1, np.uint32),
        np.empty(size, np.uint32),
        np.empty(size, np.uint32),
        np.empty((size // LARGEST_INSERTED + 2, 3), np.int64),
    )


@kernel
def move_and_return(scores, codes, weights, slots, scratch, first):
    """Put everything where its cell begins, behind those of lower rank: into scratch memory, and back."""
    for i in range(scores.size):
        at = np.uint64(slots[scratch.places[i]]) + np.uint64(scratch.ranks[i]) - np.uint64(first)
        scratch.scores[at] = scores[i]
        scratch.codes[at] = codes[i]
        if weights.size:
            scratch.weights[at] = weights[i]
    scores[:] = scratch.scores[: scores.size]
    codes[:] = scratch.codes[: scores.size]
    if weights.size:
        weights[:] = scratch.weights[: scores.size]


@kernel
def sort_bucket(scores, codes, weights, scratch):
    """Sort scores (N,) float64 in place; codes (N,) uint8 and weights (N,), or none of them, move along.

    Equal scores keep their order.
    """
    pending = scratch.pending
    pending[0, 0], pending[0, 1], pending[0, 2] = 0, scores.size, 0
    count = 1
    while count:
        count -= 1
        first, end, by_bits = pending[count, 0], pending[count, 1], pending[count, 2] != 0
        size = end - first
        if size <= LARGEST_INSERTED:
            insert(scores, codes, weights, first, end)
            continue
        part = scores[first:end]
        low, high = bounds(part)
        if low == high:
            continue
        cells = cells_for(size)
        factor, by_bits = cells_per_distance(low, high, cells, by_bits)
        slots = scratch.slots[: cells + 1]
        slots[:] = 0
        count_cells(part, low, factor, by_bits, slots, 1, 0, scratch.places, scratch.ranks)
        largest = starts_of_slots(slots, first)
        move_and_return(part, codes[first:end], weights[first:end], slots, scratch, first)
        start = first
        for cell in range(cells if largest > LARGEST_INSERTED else 0):
            stop = np.int64(slots[cell + 1])
            if stop - start > LARGEST_INSERTED:
                insert(scores, codes, weights, first, start)
                pending[count, 0], pending[count, 1], pending[count, 2] = start, stop, not by_bits
                count += 1
                first = stop
            start = stop
        insert(scores, codes, weights, first, end)
