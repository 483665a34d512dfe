"""Attention of arrays: flash attention, or the kernels of decoding where few queries share the keys.

Flash attention has the queries in the lanes of vectors, so a single one leaves 15 of 16 idle. `decode` reads keys and
values once, at the speed of memory, for up to eight queries.
"""

import math

import numpy as np
from numba import types

from fastcore._core import threads
from fastcore._core.jit import kernel
from fastcore._core.validate import NO_BOUND
from fastcore._core.work import ALONE, COUNTER, Direct, call_by_address, call_in_team, call_with_team
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.cached import ATTEND_F32, NS_PER_BYTE, plan, run_planned
from fastcore.attention.kernels.emit_rows import WIDEST
from fastcore.attention.kernels.forward import flash_forward, is_plain, keys_up_to
from fastcore.attention.kernels.halves import round_into, to_float32
from fastcore.attention.kernels.storage_formats import F32, VECTOR
from fastcore.attention.kernels.views import UNCHANGED


@kernel
def byte_strides(layout, row, head, array):
    layout[row], layout[head] = array.strides[2], array.strides[1]


@kernel
def fill_records(records, layout, query, key, value, out, lengths, storage):
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


def describe(records, layout, query, key, value, out, lengths, storage):
    """`fill_records` of declared types."""
    return fill_records(records, layout, query, key, value, out, lengths, storage)


def _describe_types(stored):
    read, rows = (types.Array(dtype, 4, "A", readonly=True) for dtype in (types.float32, stored))
    return types.float64(
        types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C"), read, rows, rows,
        types.Array(types.float32, 4, "A"), types.Array(types.int64, 1, "C", readonly=True), types.int64,
    )  # fmt: skip


_DESCRIBE = Direct(describe, _describe_types(types.float32))
_DESCRIBE_HALVES = Direct(describe, _describe_types(types.uint16))
WHOLE = np.zeros(0, np.int64)
# Without a team to launch, serial attention of so much takes no longer than the Python around a launch.
MOST_SERIAL_NS = 200_000.0


def attend_at_once(body, launch, workers, query, key, value, out, starts, lengths, scale, softcap, alone):
    """One query a sequence against keys [start, start + length), all if these are empty; whether it was in order."""
    batch, heads, rows, size = query.shape
    groups, keys, value_size = value.shape[1], value.shape[2], value.shape[3]
    if rows != 1 or query.size == 0 or value.size == 0 or heads % groups != 0 or heads // groups > WIDEST:
        return False
    if key.shape != (batch, groups, keys, size) or value.shape[0] != batch:
        return False
    if size % VECTOR != 0 or value_size % VECTOR != 0 or starts.size % batch != 0 or lengths.size % batch != 0:
        return False
    if not (is_plain(query) and is_plain(key) and is_plain(value)):
        return False
    records = np.zeros((batch, R.RECORD), np.int64)
    layout = np.zeros(R.LAYOUT, np.int64)
    work_ns = fill_records(records, layout, query, key, value, out, lengths, F32)
    parallel = launch != 0 and work_ns >= threads.SMALLEST_WORK_NS
    if (work_ns > MOST_SERIAL_NS and not parallel) or layout[R.HAS_MANY] != 0:
        return False
    for b in range(starts.size):
        records[b, R.KEYS] += starts[b] * key.strides[2]
        records[b, R.VALUES] += starts[b] * value.strides[2]
    shares = np.empty(layout[R.SHARES], np.float32)
    finished = np.zeros(layout[R.FINISHERS], np.int64)
    if not parallel:
        return call_by_address(body, (records, layout, shares, finished, scale, softcap, layout[R.HAS_MANY], alone))
    counter = np.zeros(1, np.int64)
    call_in_team(
        launch, workers, body, (records, layout, shares, finished, scale, softcap, layout[R.HAS_MANY], counter)
    )
    return counter[0] > 0


_ARRAYS, _LENGTHS = _describe_types(types.float32).args[2:6], _describe_types(types.float32).args[6]
_AT_ONCE = Direct(
    attend_at_once,
    types.boolean(*[types.int64] * 3, *_ARRAYS, _LENGTHS, _LENGTHS, types.float64, types.float64, COUNTER),
)


def attend_single_queries(query, key, value, out, starts=WHOLE, lengths=WHOLE, scale=None, softcap=0.0):
    """Whether one query a sequence was in order, and little work or inside a framework; then it is in ``out``.

    float32 arrays of four axes, ``out`` of the right shape; starts, lengths: (B,) int64 within the keys, C-contiguous,
    or empty; softcap 0 for none. All else is looked at in compiled code: the checks of the public function, in Python,
    take 100 us between a model's layers, the keys of a short sequence 60 us.
    """
    scale = 1.0 / math.sqrt(query.shape[3] or 1) if scale is None else scale
    work_ns = NS_PER_BYTE * (key.nbytes + value.nbytes)
    return call_with_team(
        work_ns, _AT_ONCE, ATTEND_F32.address, query, key, value, out, starts, lengths, scale, softcap, ALONE
    )


def fits_decode(query, value):
    """Whether rows are whole vectors, as `decode` takes them, of float32 or half precision."""
    return query.itemsize <= 4 and query.shape[3] % VECTOR == 0 and value.shape[3] % VECTOR == 0


def _few_queries(query, key, value):
    """Whether the queries that share keys fit one tile of `decode`."""
    return query.shape[2] * (query.shape[1] // key.shape[1]) <= WIDEST and fits_decode(query, value)


def _attend_few(query, key, value, key_lengths, scale, softcap, out, storage):
    records = np.zeros((query.shape[0], R.RECORD), np.int64)
    layout = np.zeros(R.LAYOUT, np.int64)
    lengths = WHOLE if key_lengths is None else key_lengths
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
