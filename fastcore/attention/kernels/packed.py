"""Packed sequences as a work list for the kernels of attention: tiles of queries by actual size, long ones first.

The list goes from the sequence with most work to the one with least, so that what is left over at the end is short;
within a sequence head by head, whose keys then stay in the cache.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.validate import NO_BOUND
from fastcore._core.work import Direct
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.attend import byte_strides, fits_decode
from fastcore.attention.kernels.cached import plan, run_planned
from fastcore.attention.kernels.emit_rows import WIDEST
from fastcore.attention.kernels.forward import count_tiles, flash_forward
from fastcore.attention.kernels.storage_formats import F32
from fastcore.attention.kernels.views import UNCHANGED


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


def plan_packed(query_starts, key_starts, heads, lanes, sequences=None):
    """The tiles of all ``sequences``, or the given ones, for kernels with ``lanes`` queries a vector."""
    rows, keys = np.diff(query_starts), np.diff(key_starts)
    if sequences is not None:
        rows, keys = rows[sequences], keys[sequences]
    whole_vectors = (rows + (lanes - 1)) // lanes
    pairs = whole_vectors * lanes * keys
    order = np.argsort(-pairs, kind="stable")
    if sequences is not None:
        order = sequences[order]
    tiles = int(whole_vectors.max(initial=0))
    items = np.empty(_LIST_ITEMS.call(query_starts, order, heads, tiles, lanes, _NO_ROOM), np.int64)
    _LIST_ITEMS.call(query_starts, order, heads, tiles, lanes, items)
    return Packed(query_starts, key_starts, int(rows.max(initial=0)), items, int(pairs.sum()))


def describe(records, layout, query, key, value, out, query_starts, key_starts, sequences, right, query_offset):
    """Records of ``sequences`` for the kernels of decoding, as those of `attend.describe`."""
    itemsize = query.itemsize
    layout[R.SEQUENCES], layout[R.HEADS], layout[R.GROUPS] = sequences.size, query.shape[1], key.shape[1]
    layout[R.SIZE], layout[R.VALUE_SIZE] = query.shape[3], value.shape[3]
    byte_strides(layout, R.KEY_ROW, R.KEY_HEAD, key)
    byte_strides(layout, R.VALUE_ROW, R.VALUE_HEAD, value)
    layout[R.PAGE_SIZE], layout[R.WINDOW], layout[R.FORMAT] = NO_BOUND, NO_BOUND, F32
    for i in range(sequences.size):
        b, record = sequences[i], records[i]
        record[R.QUERY] = query.ctypes.data + query_starts[b] * query.strides[2]
        record[R.QUERY_HEAD], record[R.QUERY_TOKEN] = query.strides[1] // itemsize, query.strides[2] // itemsize
        record[R.OUT] = out.ctypes.data + query_starts[b] * out.strides[2]
        record[R.OUT_HEAD], record[R.OUT_TOKEN] = out.strides[1] // itemsize, out.strides[2] // itemsize
        record[R.NEW] = query_starts[b + 1] - query_starts[b]
        position = query_offset[b] if query_offset.size > 0 else 0
        record[R.LENGTH] = min(key_starts[b + 1] - key_starts[b], max(position + right + 1, 0))
        record[R.KEYS] = key.ctypes.data + key_starts[b] * key.strides[2]
        record[R.VALUES] = value.ctypes.data + key_starts[b] * value.strides[2]
    return plan(records, layout)


_ROWS = types.Array(types.float32, 4, "A", readonly=True)
_DESCRIBE = Direct(
    describe,
    types.float64(
        types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C"), _ROWS, _ROWS, _ROWS,
        types.Array(types.float32, 4, "A"), _READ, _READ, _READ, types.int64, _READ,
    ),
)  # fmt: skip


def attend_few(query, key, value, query_starts, key_starts, sequences, right, query_offset, scale, softcap, out):
    """The given sequences, of few queries each, by the kernels of decoding."""
    records = np.zeros((sequences.size, R.RECORD), np.int64)
    layout = np.zeros(R.LAYOUT, np.int64)
    offsets = _NO_ROOM if query_offset is None else query_offset
    work_ns = _DESCRIBE.call(
        records, layout, query, key, value, out, query_starts, key_starts, sequences, right, offsets
    )
    run_planned(work_ns, records, layout, scale, softcap)


def attend_packed(
    query, key, value, query_starts, key_starts, query_offset, left, right, scale, softcap, dropout_p, seed, out, lse,
    changes=UNCHANGED, storage=F32, as_bfloat=False,
):  # fmt: skip
    """`attend` of packed sequences, each by the kernel that it would have by itself; half precision by flash attention.

    query (1, H, total_q, D), key (1, G, total_k, D), value (1, G, total_k, Dv), out (1, H, total_q, Dv), lse
    (1, H, total_q) or None; starts (B + 1,) and query_offset (B,) or None: C-contiguous int64. All else as there.
    """
    sequences = None
    plain = lse is None and left == NO_BOUND and dropout_p == 0.0 and changes is UNCHANGED
    if plain and storage == F32 and fits_decode(query, value):
        rows = np.diff(query_starts)
        few = (rows > 0) & (rows * (query.shape[1] // key.shape[1]) <= WIDEST)
        if right != NO_BOUND:
            few &= rows == 1
        if few.any():
            attend_few(
                query, key, value, query_starts, key_starts, np.flatnonzero(few), right, query_offset, scale, softcap,
                out,
            )  # fmt: skip
            sequences = np.flatnonzero(~few)
            if sequences.size == 0:
                return
    lanes = int(simd.F64_LANES if query.itemsize == 8 else simd.F32_LANES)
    packed = plan_packed(query_starts, key_starts, query.shape[1], lanes, sequences)
    flash_forward(
        query, key, value, None, None, query_offset, None, left, right, scale, softcap, dropout_p, seed, out, lse,
        packed, changes, storage, as_bfloat,
    )  # fmt: skip
