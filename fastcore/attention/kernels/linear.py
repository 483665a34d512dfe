"""Linear attention, forward: chunks of tokens against each other, and against the state of all tokens before them.

Source: Katharopoulos et al. 2020, "Transformers are RNNs", equations 5 and 9, in the chunked form of Yang et al. 2024,
"Gated Linear Attention", section 3 (without gates). With a chunk's mapped queries in the lanes of a panel, phi(Q)^T,

    O^T = S^T phi(Q)^T + V^T (phi(K) phi(Q)^T, 0 above the diagonal)       S += phi(K)^T V

each product reads its other factor as rows. The work of a head is linear in its tokens: 4 L D Dv + 2 L C (D + Dv)
floating-point operations for chunks of C = 64.

A state is kept for each segment of `SEGMENT` tokens: sums within a segment begin at 0 and are added to the state before
it. So it makes no difference whether one thread walks through all segments of a head or whether their sums are
computed first, for all at once.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import NARROW_ROWS, filled, lanes_of, native_lanes
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.attention.kernels import linear_blocks as T
from fastcore.attention.kernels.forward import NS_PER_FMA_BYTE
from fastcore.attention.kernels.linear_blocks import (
    add_outer,
    add_rows,
    add_seen,
    add_vectors,
    carve,
    chunk_width,
    copy_vectors,
    load_chunk,
    multiply_seen,
    scratch_elements,
    store_chunk,
    sum_of,
)
from fastcore.attention.kernels.masking import all_finite
from fastcore.attention.kernels.panels import add_part, fill_panel, pack_rows
from fastcore.attention.kernels.views import Rows

# Heads a thread below which their segments are shared out, at the price of computing the keys' sums twice.
HEADS_PER_THREAD = 4


@kernel
def record_of(states, table, pair, number):
    """Record ``number`` of a sequence and key/value head: the state before segment ``number``."""
    return simd.advance(simd.pointer(states), (pair * table[T.RECORDS] + number) * table[T.RECORD])


@kernel
def load_keys(table, batch, group, row, count, scratch, dtype):
    """The chunk's mapped keys, and its values, as rows."""
    size, value_size = table[T.SIZE], table[T.VALUE_SIZE]
    load_chunk(table, T.KEY, batch, group, row, count, size, scratch.columns, table[T.FEATURE], scratch.key_rows, dtype)
    load_chunk(
        table, T.VALUE, batch, group, row, count, value_size, scratch.value_columns, T.IDENTITY, scratch.value_rows,
        dtype,
    )  # fmt: skip


@kernel
def add_keys(table, count, scratch):
    """Add the chunk's keys and values to the sums of its segment."""
    keys = Rows(scratch.key_rows, scratch.columns, count)
    add_outer(keys, table[T.SIZE], scratch.value_rows, scratch.value_columns, scratch.local)
    add_rows(keys, scratch.columns, sum_of(scratch.local, table))


@kernel
def add_dots(rows, panel, size, width, total):
    """total[lane] += sum_d rows[d] * panel[d, lane]."""
    lanes = lanes_of(panel)
    for first in range(0, width, lanes):
        at = simd.advance(total, first)
        dot = simd.load(at, lanes)
        for d in range(size):
            factor = simd.load_scalar(simd.advance(rows, d))
            dot = simd.fma(simd.load(simd.advance(panel, d * width + first), lanes), factor, dot)
        simd.store(at, dot)


@kernel
def divide_lanes(panel, rows, width, total):
    """panel[:, lane] / total[lane]; 0 where that is 0."""
    lanes = lanes_of(panel)
    zero = filled(panel, 0.0)
    for first in range(0, width, lanes):
        divisor = simd.load(simd.advance(total, first), lanes)
        empty = divisor == 0
        inverse = 1 / simd.select(empty, 1.0, divisor)
        for d in range(rows):
            at = simd.advance(panel, d * width + first)
            simd.store(at, simd.select(empty, zero, simd.load(at, lanes) * inverse))


@kernel
def attend_chunk(table, batch, head, row, count, width, finite, scratch, scale, dtype):
    """The results of one head's queries of a chunk, from ``scratch.state`` and, causal, the chunk's own keys."""
    size, value_size = table[T.SIZE], table[T.VALUE_SIZE]
    vectors = width // lanes_of(scratch.panel)
    load_chunk(
        table, T.QUERY, batch, head, row, count, size, scratch.columns, table[T.FEATURE], scratch.query_rows, dtype
    )
    pack_rows(Rows(scratch.query_rows, scratch.columns, count), size, scratch.panel, width)
    fill_panel(scratch.total, vectors, 0.0)
    fill_panel(scratch.first, value_size * vectors, 0.0)
    if table[T.CAUSAL] != 0:
        keys = Rows(scratch.key_rows, scratch.columns, count)
        values = Rows(scratch.value_rows, scratch.value_columns, count)
        multiply_seen(keys, size, scratch.panel, scratch.weights, width, False, scratch)
        add_seen(values, value_size, scratch.weights, scratch.first, width, False, finite, scratch)
    state = Rows(scratch.state, scratch.value_columns, size)
    add_part(state, 0, size, value_size, scratch.panel, scratch.first, width, 0, vectors)
    if table[T.NORMALIZE] != 0:
        add_dots(sum_of(scratch.state, table), scratch.panel, size, width, scratch.total)
        divide_lanes(scratch.first, value_size, width, scratch.total)
    else:
        multiply_panel(scratch.first, value_size * vectors, scale)
    store_chunk(
        scratch.first, width, value_size, scratch.value_columns, table, T.OUT, batch, head, row, count,
        scratch.grad_rows, dtype,
    )  # fmt: skip


@kernel
def multiply_panel(panel, vectors, factor):
    if factor != 1.0:
        lanes = lanes_of(panel)
        for i in range(vectors):
            at = simd.advance(panel, i * lanes)
            simd.store(at, simd.load(at, lanes) * factor)


@kernel
def attend_segment(table, states, pair, segment, scratch, scale):
    """A segment of one sequence and key/value head, for all query heads that share it; or the sums of its keys."""
    batch, group = pair // table[T.GROUPS], pair % table[T.GROUPS]
    sharing = table[T.HEADS] // table[T.GROUPS]
    causal, sums_only = table[T.CAUSAL] != 0, table[T.SUMS_ONLY] != 0
    lanes = lanes_of(scratch.panel)
    start = record_of(states, table, pair, segment if causal else table[T.RECORDS] - 1)
    fill_panel(scratch.local, table[T.RECORD] // lanes, 0.0)
    row = segment * T.SEGMENT
    end = min(row + T.SEGMENT, table[T.ROWS])
    while row < end:
        width = chunk_width(end - row, lanes)
        count = min(width, end - row)
        finite = True
        if causal or sums_only:
            load_keys(table, batch, group, row, count, scratch, states.dtype)
            finite = all_finite(Rows(scratch.value_rows, scratch.value_columns, count), table[T.VALUE_SIZE])
        if not sums_only:
            add_vectors(start, scratch.local, scratch.state, table[T.RECORD])
            for head in range(group * sharing, (group + 1) * sharing):
                attend_chunk(table, batch, head, row, count, width, finite, scratch, scale, states.dtype)
        if causal or sums_only:
            add_keys(table, count, scratch)
        row += count
    if sums_only:
        copy_vectors(scratch.local, record_of(states, table, pair, segment + 1), table[T.RECORD])
    elif causal and table[T.PARTS] == 1:
        add_vectors(start, scratch.local, record_of(states, table, pair, segment + 1), table[T.RECORD])


def attend_segments(table, states, scale, counter):
    """Take items until none is left: (sequence, key/value head, part of its segments)."""
    elements = scratch_elements(table, lanes_of(simd.pointer(states)))
    buffer = np.empty(elements, states.dtype)
    parts = table[T.PARTS]
    item = next_item(counter, -1)
    while item < table[T.BATCHES] * table[T.GROUPS] * parts:
        # Here and not before the loop: Numba frees an array behind its last use, and pointers are no use.
        scratch = carve(buffer, table)
        part = item % parts
        for segment in range(part * table[T.SEGMENTS] // parts, (part + 1) * table[T.SEGMENTS] // parts):
            attend_segment(table, states, item // parts, segment, scratch, scale)
        item = next_item(counter, item)


def attend_parallel(body, workers, table, states, scale, counter):
    """`attend_segments` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (table, states, scale, counter))


def argument_types(dtype):
    return [types.Array(types.int64, 1, "C", readonly=True), types.Array(dtype, 1, "C"), types.float64]


FORWARD_F32 = SharedWork(attend_segments, attend_parallel, argument_types(types.float32))
FORWARD_F64 = SharedWork(attend_segments, attend_parallel, argument_types(types.float64))


class States:
    """Records of the states before each segment of (B, G) heads, in the layout of `linear_blocks.Scratch`."""

    def __init__(self, batches, groups, segments, size, value_size, dtype):
        lanes = native_lanes(dtype)
        self.size, self.value_size = size, value_size
        self.columns, self.value_columns = (-(-n // lanes) * lanes for n in (size, value_size))
        self.record = (size + NARROW_ROWS) * self.value_columns + self.columns
        self.array = np.zeros((batches, groups, segments + 1, self.record), dtype)

    def parts(self, number):
        """Views of record ``number`` of each head: (B, G, D, Dv), (B, G, D)."""
        records = self.array[:, :, number]
        matrix = records[..., : self.size * self.value_columns]
        matrix = matrix.reshape(*records.shape[:2], self.size, self.value_columns)
        place = (self.size + NARROW_ROWS) * self.value_columns
        return matrix[..., : self.value_size], records[..., place : place + self.size]

    def accumulate(self, backwards=False):
        """Add up the records in order: each becomes the state before its segment, or, backwards, behind it."""
        records = self.array[:, :, ::-1] if backwards else self.array
        with np.errstate(over="ignore", invalid="ignore"):
            np.add.accumulate(records, axis=2, out=records)


@kernel
def segments_of(rows):
    return (rows + T.SEGMENT - 1) // T.SEGMENT


def table_of(states, arrays, rows, stored, is_causal, feature, normalize):
    """The table of a call: ``arrays`` by their places, all of four axes."""
    table = np.zeros(T.TABLE, np.int64)
    table[T.CAUSAL], table[T.FEATURE], table[T.NORMALIZE], table[T.STORED] = is_causal, feature, normalize, stored
    table[T.BATCHES], table[T.GROUPS], table[T.RECORDS], table[T.RECORD] = states.array.shape
    table[T.HEADS] = arrays[T.QUERY].shape[1]
    table[T.SIZE], table[T.VALUE_SIZE] = states.size, states.value_size
    table[T.COLUMNS], table[T.VALUE_COLUMNS] = states.columns, states.value_columns
    table[T.ITEMSIZE] = states.array.itemsize
    table[T.ROWS], table[T.SEGMENTS], table[T.PARTS] = rows, segments_of(rows), segments_of(rows)
    for place, array in arrays.items():
        table[place : place + 4] = [array.ctypes.data, *array.strides[:3]]
    return table


def run(work_f32, work_f64, fmas, table, states, scale):
    itemsize = states.itemsize
    work = work_f32 if itemsize == 4 else work_f64
    work(fmas * itemsize * NS_PER_FMA_BYTE, table, states.reshape(-1), scale)


def sum_keys(states, table, keys):
    """Fill the records with the states before each segment and, last, behind all keys."""
    sums = table.copy()
    sums[T.SUMS_ONLY], sums[T.ROWS] = 1, keys
    sums[T.SEGMENTS] = sums[T.PARTS] = segments_of(keys)
    if keys:
        fmas = sums[T.BATCHES] * sums[T.GROUPS] * keys * states.size * states.value_size
        run(FORWARD_F32, FORWARD_F64, fmas, sums, states.array, 1.0)
        states.accumulate()


def linear_forward(query, key, value, out, states, stored, is_causal, feature, normalize, scale):
    """Linear attention of validated arguments into ``out``; the last record of ``states`` is the final state.

    query (B, H, L, D), key (B, G, S, D), value (B, G, S, Dv), out (B, H, L, Dv), of one dtype, last axis contiguous and
    aligned; ``stored`` says which. ``states``: of S's segments, the first record holding the state to begin with.
    """
    rows, keys = query.shape[2], key.shape[2]
    arrays = {T.QUERY: query, T.KEY: key, T.VALUE: value, T.OUT: out}
    table = table_of(states, arrays, rows, stored, is_causal, feature, normalize)
    size, value_size = states.size, states.value_size
    tokens = query.shape[0] * query.shape[1] * rows
    fmas = tokens * (2 * size * value_size + (size + value_size) * 32)
    heads = table[T.BATCHES] * table[T.GROUPS]
    small = fmas * states.array.itemsize * NS_PER_FMA_BYTE < threads.SMALLEST_WORK_NS
    if is_causal and (small or heads >= HEADS_PER_THREAD * threads.get_num_threads()):
        table[T.PARTS] = 1
    elif not is_causal or table[T.SEGMENTS] > 1:
        sum_keys(states, table, keys)
    if rows:
        run(FORWARD_F32, FORWARD_F64, fmas, table, states.array, scale)
