"""Packed sequences as a work list for the kernels of attention: tiles of queries by actual size, long ones first.

The list goes from the sequence with most work to the one with least, so that what is left over at the end is short;
within a sequence head by head, whose keys then stay in the cache.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from fastcore._core.work import Direct
from fastcore.attention.kernels.forward import count_tiles


class Packed(NamedTuple):
    """Where the sequences of packed arrays lie, and the order of their tiles.

    ``query_starts``, ``key_starts`` : (B + 1,) int64, first 0, last the number of rows. ``longest`` : rows of the
    sequence that has most. ``items`` : numbers of items, see `forward.place_of`. ``pairs`` : of queries and keys that
    the tiles hold, in one head.
    """

    query_starts: np.ndarray
    key_starts: np.ndarray
    longest: int
    items: np.ndarray
    pairs: int


def list_items(query_starts, order, heads, tiles, lanes, items):
    """Write the numbers of all tiles of the sequences in ``order``; how many they are. Without room only count them."""
    count = 0
    for i in range(order.size):
        sequence = order[i]
        wide_tiles, narrow_tiles = count_tiles(query_starts[sequence + 1] - query_starts[sequence], lanes)
        own = wide_tiles + narrow_tiles
        if items.size == 0:
            count += heads * own
            continue
        for head in range(heads):
            first = (sequence * heads + head) * tiles
            for tile in range(own):
                items[count] = first + tile
                count += 1
    return count


_READ = types.Array(types.int64, 1, "C", readonly=True)
_LIST_ITEMS = Direct(
    list_items, types.int64(_READ, _READ, types.int64, types.int64, types.int64, types.Array(types.int64, 1, "C"))
)
_NO_ROOM = np.zeros(0, np.int64)


def plan_packed(query_starts, key_starts, heads, lanes):
    """The tiles of all sequences for kernels with ``lanes`` queries a vector."""
    rows = np.diff(query_starts)
    whole_vectors = (rows + (lanes - 1)) // lanes
    pairs = whole_vectors * lanes * np.diff(key_starts)
    order = np.argsort(-pairs, kind="stable")
    tiles = int(whole_vectors.max(initial=0))
    items = np.empty(_LIST_ITEMS.call(query_starts, order, heads, tiles, lanes, _NO_ROOM), np.int64)
    _LIST_ITEMS.call(query_starts, order, heads, tiles, lanes, items)
    return Packed(query_starts, key_starts, int(rows.max(initial=0)), items, int(pairs.sum()))
