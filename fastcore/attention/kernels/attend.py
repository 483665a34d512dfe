"""Attention of arrays: flash attention, or the kernels of decoding where few queries share the keys.

Flash attention has the queries in the lanes of vectors, so a single one leaves 15 of 16 idle. `decode` reads keys and
values once, at the speed of memory, for up to eight queries.
"""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.validate import NO_BOUND
from fastcore._core.work import Direct
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.cached import plan, run_planned
from fastcore.attention.kernels.emit_rows import WIDEST
from fastcore.attention.kernels.forward import flash_forward, keys_up_to
from fastcore.attention.kernels.halves import round_into, to_float32
from fastcore.attention.kernels.storage_formats import F32, VECTOR
from fastcore.attention.kernels.views import UNCHANGED


@kernel
def byte_strides(layout, row, head, array):
    layout[row], layout[head] = array.strides[2], array.strides[1]


def describe(records, layout, query, key, value, out, lengths, storage):
    """Records of arrays instead of pages: a sequence's rows are numbered as they lie. Returns nanoseconds of work."""
    itemsize = query.itemsize
    layout[R.SEQUENCES], layout[R.HEADS], layout[R.GROUPS] = query.shape[0], query.shape[1], key.shape[1]
    layout[R.SIZE], layout[R.VALUE_SIZE] = query.shape[3], value.shape[3]
    byte_strides(layout, R.KEY_ROW, R.KEY_HEAD, key)
    byte_strides(layout, R.VALUE_ROW, R.VALUE_HEAD, value)
    layout[R.PAGE_SIZE], layout[R.WINDOW], layout[R.FORMAT] = NO_BOUND, NO_BOUND, storage
    for b in range(query.shape[0]):
        record = records[b]
        record[R.QUERY] = query.ctypes.data + b * query.strides[0]
        record[R.QUERY_HEAD], record[R.QUERY_TOKEN] = query.strides[1] // itemsize, query.strides[2] // itemsize
        record[R.OUT] = out.ctypes.data + b * out.strides[0]
        record[R.OUT_HEAD], record[R.OUT_TOKEN] = out.strides[1] // itemsize, out.strides[2] // itemsize
        record[R.NEW], record[R.LENGTH] = query.shape[2], lengths[b] if lengths.size > 0 else key.shape[2]
        record[R.KEYS] = key.ctypes.data + b * key.strides[0]
        record[R.VALUES] = value.ctypes.data + b * value.strides[0]
    return plan(records, layout)


def _describe_types(stored):
    read, rows = (types.Array(dtype, 4, "A", readonly=True) for dtype in (types.float32, stored))
    return types.float64(
        types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C"), read, rows, rows,
        types.Array(types.float32, 4, "A"), types.Array(types.int64, 1, "C", readonly=True), types.int64,
    )  # fmt: skip


_DESCRIBE = Direct(describe, _describe_types(types.float32))
_DESCRIBE_HALVES = Direct(describe, _describe_types(types.uint16))
_WHOLE = np.zeros(0, np.int64)


def fits_decode(query, value):
    """Whether rows are whole vectors, as `decode` takes them, of float32 or half precision."""
    return query.itemsize <= 4 and query.shape[3] % VECTOR == 0 and value.shape[3] % VECTOR == 0


def _few_queries(query, key, value):
    """Whether the queries that share keys fit one tile of `decode`."""
    return query.shape[2] * (query.shape[1] // key.shape[1]) <= WIDEST and fits_decode(query, value)


def _attend_few(query, key, value, key_lengths, scale, softcap, out, storage):
    records = np.zeros((query.shape[0], R.RECORD), np.int64)
    layout = np.zeros(R.LAYOUT, np.int64)
    lengths = _WHOLE if key_lengths is None else key_lengths
    if storage == F32:
        work_ns = _DESCRIBE.call(records, layout, query, key, value, out, lengths, storage)
        run_planned(work_ns, records, layout, scale, softcap)
        return
    query, numbers = to_float32(query, storage), np.empty(out.shape, np.float32)
    work_ns = _DESCRIBE_HALVES.call(records, layout, query, key, value, numbers, lengths, storage)
    run_planned(work_ns, records, layout, scale, softcap)
    round_into(out, numbers, storage)


def attend(
    query, key, value, mask_bool, mask_float, query_offset, key_lengths, left, right, scale, softcap, dropout_p, seed,
    out, lse, changes=UNCHANGED, storage=F32, as_bfloat=False,
):  # fmt: skip
    """`flash_forward`, with its arguments, or the same by the kernels of decoding, which compute in float32."""
    plain = mask_bool is mask_float is lse is None and left == NO_BOUND and dropout_p == 0.0 and changes is UNCHANGED
    if plain and (right == NO_BOUND or query.shape[2] == 1) and _few_queries(query, key, value):
        if right != NO_BOUND:
            key_lengths = keys_up_to(right, query_offset, key_lengths, query.shape[0], key.shape[2])
        _attend_few(query, key, value, key_lengths, scale, softcap, out, storage)
        return
    flash_forward(
        query, key, value, mask_bool, mask_float, query_offset, key_lengths, left, right, scale, softcap, dropout_p,
        seed, out, lse, changes=changes, storage=storage, as_bfloat=as_bfloat,
    )  # fmt: skip
