"""Scores in buckets of a few thousand: every score of a bucket lies below all of the next one.

The bounds of the buckets come from a sorted sample. In two passes, each over fixed chunks that threads take one by one,
the scores of a bucket are counted and moved to it; a chunk knows where its own begin, so that the result does not
depend on the threads.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.score_cells import cells_per_distance, distance

# Up to so many scores buckets are not worth it: one thread does everything in its cache.
LARGEST_SMALL = 16_384
# A bucket should fit into a cache of 512 KB together with the scratch memory of the pass that follows.
SCORES_PER_BUCKET = 4096
MOST_BUCKETS = 2048
# Cells a score is looked up in; the table of their buckets has 16 KB.
TABLE_CELLS = 8192
SAMPLES_PER_BUCKET = 16
SMALLEST_SAMPLE = 1024
# Of the sample on either side, left out of the range that the table divides: a few outliers would else take all of it.
TRIMMED = 1 / 512
CHUNKS = 32
BLOCK = 512
# Serial nanoseconds a score, for the choice between serial and parallel.
COUNT_NS, MOVE_NS = 2.0, 3.0


# What may be wrong with a chunk.
NOT_FINITE, NEGATIVE_WEIGHT, OTHER_CODE = 1, 2, 4


class Lookup(NamedTuple):
    """How a score finds its bucket: table[clipped distance from low, times factor]."""

    low: float
    factor: float
    by_bits: bool
    table: np.ndarray
    buckets: int


class Buckets(NamedTuple):
    """The scores (N,), their weights and codes, bucket by bucket.

    weights: empty where there are none; codes: empty where they were separated.
    starts (B * K + 1,): where each code of each bucket begins; K is 1 where codes were not separated.
    """

    scores: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    starts: np.ndarray


@kernel
def cell_of(score, low, factor, by_bits):
    """Cell of the table; NaN, which is refused later, gets some cell too."""
    cell = distance(score, low, by_bits) * factor if score > low else 0.0
    return np.int32(min(cell, TABLE_CELLS - 1.0))


def count_items(scores, codes, weights, num_codes, low, factor, by_bits, table, slots, ranks, counts, faults, counter):
    """slots[i] = bucket * num_codes + code of each score, ranks[i] = how many its chunk had of them before.

    counts[chunk, slot] = how many it has; and the faults of each chunk.
    """
    size = (scores.size + CHUNKS - 1) // CHUNKS
    cells = np.empty(BLOCK, np.int32)
    chunk = next_item(counter, -1)
    while chunk < CHUNKS:
        first = min(chunk * size, scores.size)
        part, codes_part = scores[first : first + size], codes[first : first + size]
        slots_part, ranks_part = slots[first:], ranks[first:]
        row = counts[chunk]
        finite, negative = True, False
        for weight in weights[first : first + size]:
            finite &= bool(weight < np.inf)  # -inf is found as negative
            negative |= bool(weight < 0.0)
        seen = np.int64(0)
        for start in range(0, part.size, BLOCK):
            # In blocks, since only a loop of its own becomes vectors.
            block = part[start : start + BLOCK]
            for i in range(block.size):
                score = np.float64(block[i])
                finite &= bool(abs(score) < np.inf)
                cells[i] = cell_of(score, low, factor, by_bits)
            for i in range(start, start + block.size):
                slot = np.int64(table[np.uint64(cells[i - start])])
                if num_codes > 1:
                    code = np.int64(codes_part[i])
                    seen |= code
                    slot = slot * num_codes + (code & (num_codes - 1))
                slots_part[i] = np.uint16(slot)
                rank = row[np.uint64(slot)]
                ranks_part[i] = np.uint32(rank)
                row[np.uint64(slot)] = rank + 1
        other = seen & ~(num_codes - 1) != 0
        faults[chunk] = NOT_FINITE * (not finite) | NEGATIVE_WEIGHT * negative | OTHER_CODE * other
        chunk = next_item(counter, chunk)


def count_parallel(
    body, workers, scores, codes, weights, num_codes, low, factor, by_bits, table, slots, ranks, counts, faults, counter
):
    for _ in prange(workers):
        call_by_address(
            body,
            (scores, codes, weights, num_codes, low, factor, by_bits, table, slots, ranks, counts, faults, counter),
        )


def move_items(scores, codes, weights, slots, ranks, places, moved, moved_codes, moved_weights, counter):
    """Put each score where its chunk has room for its slot; codes and weights move along where there is room for them.

    Ranks rather than counting places up: `pair_area.move_to_cells` says why.
    """
    size = (scores.size + CHUNKS - 1) // CHUNKS
    chunk = next_item(counter, -1)
    while chunk < CHUNKS:
        first = min(chunk * size, scores.size)
        row = places[chunk]
        for i in range(first, min(first + size, scores.size)):
            at = np.uint64(i)
            place = np.uint64(row[np.uint64(slots[at])]) + np.uint64(ranks[at])
            moved[place] = np.float64(scores[at])
            if moved_codes.size:
                moved_codes[place] = codes[at]
            if weights.size:
                moved_weights[place] = weights[at]
        chunk = next_item(counter, chunk)


def move_parallel(
    body, workers, scores, codes, weights, slots, ranks, places, moved, moved_codes, moved_weights, counter
):
    for _ in prange(workers):
        call_by_address(
            body, (scores, codes, weights, slots, ranks, places, moved, moved_codes, moved_weights, counter)
        )


_F64, _I64 = types.float64, types.int64
_LOOKUP = (_F64, _F64, types.boolean, types.Array(types.uint16, 1, "C", readonly=True))
_ROWS = types.Array(_I64, 2, "C")


def _read(dtype: Any) -> Any:
    return types.Array(dtype, 1, "C", readonly=True)


_SLOTS, _RANKS = types.Array(types.uint16, 1, "C"), types.Array(types.uint32, 1, "C")


def _count_of(score: Any, code: Any) -> SharedWork:
    faults = types.Array(types.uint8, 1, "C")
    arguments = [_read(score), _read(code), _read(_F64), _I64, *_LOOKUP, _SLOTS, _RANKS, _ROWS, faults]
    return SharedWork(count_items, count_parallel, arguments)


def _move_of(score: Any) -> SharedWork:
    written = [types.Array(each, 1, "C") for each in (_F64, types.uint8, _F64)]
    arguments = [_read(score), _read(types.uint8), _read(_F64), _SLOTS, _RANKS, _ROWS, *written]
    return SharedWork(move_items, move_parallel, arguments)


_SCORES, _CODES = {4: types.float32, 8: _F64}, {1: types.uint8, 8: _I64}
_COUNT = {(i, k): _count_of(score, code) for i, score in _SCORES.items() for k, code in _CODES.items()}
_MOVE = {i: _move_of(score) for i, score in _SCORES.items()}


def look_up(sample, buckets, cells):
    """(low, factor, by_bits, table): cells of even distances or of even bits, whichever spreads the sample better."""
    trimmed = np.int64(sample.size * TRIMMED)
    low, high = sample[trimmed], sample[sample.size - 1 - trimmed]
    best, best_crowd = np.zeros(cells, np.int64), 4 * sample.size
    best_factor, best_by_bits = 0.0, False
    for by_bits in (False, True):
        factor = 0.0
        if low < high:
            factor, by_bits = cells_per_distance(low, high, cells, by_bits)
        counts = np.zeros(cells, np.int64)
        for score in sample:
            cell = distance(score, low, by_bits) * factor if score > low else 0.0
            counts[np.int64(min(cell, cells - 1.0))] += 1
        crowd = counts.max()
        if 2 * crowd < best_crowd:  # bits cost twice the time of a multiplication
            best, best_crowd, best_factor, best_by_bits = counts, crowd, factor, by_bits
    table = np.empty(cells, np.uint16)
    seen = 0
    for cell in range(cells):
        # The bucket of the cell's middle, so that a crowded cell shares its bucket with few others.
        table[cell] = np.uint16(min(buckets - 1, (seen + best[cell] // 2) * buckets // sample.size))
        seen += best[cell]
    return low, best_factor, best_by_bits, table


_look_up = Direct(
    look_up,
    types.Tuple((_F64, _F64, types.boolean, types.Array(types.uint16, 1, "C")))(
        types.Array(_F64, 1, "C", readonly=True), _I64, _I64
    ),
)


def places_of_chunks(counts, starts):
    """Make of the counts where each chunk begins to fill each slot, and of ``starts`` where the slots begin."""
    chunks, slots = counts.shape
    totals = starts[1:]
    totals[:] = 0
    for chunk in range(chunks):
        row = counts[chunk]
        for slot in range(slots):
            totals[slot] += row[slot]
    starts[0] = 0
    for slot in range(slots):
        totals[slot] += starts[slot]
    places = starts[:slots].copy()
    for chunk in range(chunks):
        row = counts[chunk]
        for slot in range(slots):
            count = row[slot]
            row[slot] = places[slot]
            places[slot] += count


_places_of_chunks = Direct(places_of_chunks, types.void(_ROWS, types.Array(_I64, 1, "C")))


def lookup_of(scores: np.ndarray) -> Lookup:
    """Bounds of buckets from a sample of the scores, which may hold NaN: that is found when they are counted."""
    buckets = min(MOST_BUCKETS, scores.size // SCORES_PER_BUCKET + 1)
    step = max(1, scores.size // max(SMALLEST_SAMPLE, SAMPLES_PER_BUCKET * buckets))
    sample = scores[::step].astype(np.float64)
    sample.sort()
    np.nan_to_num(sample, copy=False)
    low, factor, by_bits, table = _look_up.call(sample, buckets, TABLE_CELLS)
    return Lookup(low, factor, by_bits, table, buckets)


def divide_into_buckets(
    scores: np.ndarray, codes: np.ndarray, num_codes: int, weights: np.ndarray | None
) -> tuple[int, Buckets]:
    """Move scores into buckets, and say what is wrong: 0, or the bits of NOT_FINITE, NEGATIVE_WEIGHT and OTHER_CODE.

    scores (N,) float32 or float64; weights (N,) float64, or None
    codes (N,) uint8 or int64 in [0, num_codes), num_codes 2 or 4: the codes of a bucket come one behind the other. With
    num_codes 1 they are any uint8, and move along.
    """
    size = scores.size
    none = np.empty(0)
    scores, codes = np.ascontiguousarray(scores), np.ascontiguousarray(codes)
    read_weights = none if weights is None else np.ascontiguousarray(weights)
    lookup = lookup_of(scores)
    slots, ranks = np.empty(size, np.uint16), np.empty(size, np.uint32)
    counts = np.zeros((CHUNKS, lookup.buckets * num_codes), np.int64)
    faults = np.zeros(CHUNKS, np.uint8)
    count = _COUNT[scores.itemsize, codes.itemsize]
    count(COUNT_NS * size, scores, codes, read_weights, num_codes, *lookup[:4], slots, ranks, counts, faults)
    starts = np.empty(counts.shape[1] + 1, np.int64)
    _places_of_chunks.call(counts, starts)
    moved = np.empty(size)
    moved_codes = np.empty(size if num_codes == 1 else 0, np.uint8)
    moved_weights = none if weights is None else np.empty(size)
    read_codes = codes if num_codes == 1 else moved_codes
    move = _MOVE[scores.itemsize]
    move(MOVE_NS * size, scores, read_codes, read_weights, slots, ranks, counts, moved, moved_codes, moved_weights)
    return int(np.bitwise_or.reduce(faults)), Buckets(moved, moved_weights, moved_codes, starts)
