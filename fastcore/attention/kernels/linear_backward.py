"""Gradients of linear attention: queries from the states before them, keys and values from those behind them.

Source: Katharopoulos et al. 2020, "Transformers are RNNs", equations 13 to 15, in chunks, and with the gradient through
the division. With q = phi(query), k = phi(key), n = sum_j (q_i . k_j) v_j, z = sum_j q_i . k_j and o = n / z,

    dn_i = do_i / z_i     dz_i = -(do_i . o_i) / z_i          dq_i = S_i dn_i + s_i dz_i
    R_j  = sum_i q_i dn_i^T,  r_j = sum_i q_i dz_i            dk_j = R_j v_j + r_j     dv_j = R_j^T k_j

where S_i = sum_j k_j v_j^T and s_i = sum_j k_j run over the keys that query i sees, and R_j, r_j over the queries that
see key j. do_i . o_i = q_i . (S_i do_i) / z_i, so neither o nor z need be given. The first body walks forwards, writes
dq and leaves 1 / z_i, dz_i and each segment's part of R; the second walks backwards and writes dk and dv.
"""

import numpy as np
from numba import types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import TILE_VECTORS, filled, lanes_of
from fastcore._core.work import SharedWork, next_item
from fastcore.attention.kernels import linear_blocks as T
from fastcore.attention.kernels.forward import NS_PER_FMA_BYTE, copy_elements
from fastcore.attention.kernels.linear import (
    FORWARD_F32,
    FORWARD_F64,
    HEADS_PER_THREAD,
    add_keys,
    argument_types,
    load_keys,
    multiply_panel,
    record_of,
    run,
    segments_of,
    sum_keys,
    table_of,
)
from fastcore.attention.kernels.linear_blocks import (
    add_outer,
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
    through_map,
)
from fastcore.attention.kernels.masking import all_finite
from fastcore.attention.kernels.panels import add_part, fill_panel, pack_rows, score_part
from fastcore.attention.kernels.views import Rows


@kernel
def statistics_of(table, batch, head, row, dtype):
    """Where 1 / z of the queries from ``row`` on lies; dz lies as many elements behind it as there are queries."""
    first = (batch * table[T.HEADS] + head) * 2 * table[T.ROWS] + row
    return simd.advance(simd.pointer_at(table[T.STATISTICS], dtype), first)


@kernel
def sum_rows_up_to(start, rows, columns, sums):
    """sums[i] = start + rows[0] + ... + rows[i]."""
    before = start
    for i in range(rows.length):
        at = simd.advance(sums, i * columns)
        add_vectors(before, simd.advance(rows.pointer, i * columns), at, columns)
        before = at


@kernel
def divide_gradients(size, width, scratch):
    """S do -> dq in ``scratch.first``, from s in ``sum_panel``; leaves 1 / z in ``total`` and dz in ``slope``."""
    lanes = lanes_of(scratch.panel)
    for first in range(0, width, lanes):
        divisor = filled(scratch.panel, 0.0)
        product = filled(scratch.panel, 0.0)
        for d in range(size):
            place = d * width + first
            query = simd.load(simd.advance(scratch.panel, place), lanes)
            divisor = simd.fma(query, simd.load(simd.advance(scratch.sum_panel, place), lanes), divisor)
            product = simd.fma(query, simd.load(simd.advance(scratch.first, place), lanes), product)
        empty = divisor == 0
        inverse = simd.select(empty, 0.0, 1 / simd.select(empty, 1.0, divisor))
        slope = 0.0 - product * inverse * inverse
        simd.store(simd.advance(scratch.total, first), inverse)
        simd.store(simd.advance(scratch.slope, first), slope)
        for d in range(size):
            place = d * width + first
            at = simd.advance(scratch.first, place)
            key_sum = simd.load(simd.advance(scratch.sum_panel, place), lanes)
            simd.store(at, simd.fma(key_sum, slope, simd.load(at, lanes) * inverse))


@kernel
def differentiate_map(gradients, mapped, vectors, feature):
    lanes = lanes_of(gradients)
    for i in range(vectors):
        at = simd.advance(gradients, i * lanes)
        value = simd.load(simd.advance(mapped, i * lanes), lanes)
        simd.store(at, through_map(simd.load(at, lanes), value, feature))


@kernel
def load_gradients(table, batch, head, row, count, scratch, scale, dtype):
    """``grad_rows`` <- dn, from the statistics of the queries or with ``scale``."""
    value_size, columns = table[T.VALUE_SIZE], scratch.value_columns
    load_chunk(table, T.GRAD_OUT, batch, head, row, count, value_size, columns, T.IDENTITY, scratch.grad_rows, dtype)
    multiply_rows(table, batch, head, row, count, scratch, scale, dtype)


@kernel
def multiply_rows(table, batch, head, row, count, scratch, scale, dtype):
    """``grad_rows``, do -> dn."""
    lanes = lanes_of(scratch.grad_rows)
    columns = scratch.value_columns
    inverses = statistics_of(table, batch, head, row, dtype)
    for i in range(count):
        factor = filled(scratch.grad_rows, scale)
        if table[T.NORMALIZE] != 0:
            factor = filled(scratch.grad_rows, simd.load_scalar(simd.advance(inverses, i)))
        for j in range(0, columns, lanes):
            at = simd.advance(scratch.grad_rows, i * columns + j)
            simd.store(at, simd.load(at, lanes) * factor)


@kernel
def add_queries(table, batch, head, row, count, scratch, record, dtype):
    """Add the chunk's q dn^T and q dz to a record."""
    queries = Rows(scratch.query_rows, scratch.columns, count)
    add_outer(queries, table[T.SIZE], scratch.grad_rows, scratch.value_columns, record)
    if table[T.NORMALIZE] != 0:
        lanes = lanes_of(record)
        slopes = simd.advance(statistics_of(table, batch, head, row, dtype), table[T.ROWS])
        sums = sum_of(record, table)
        for i in range(count):
            slope = simd.load_scalar(simd.advance(slopes, i))
            for j in range(0, scratch.columns, lanes):
                at = simd.advance(sums, j)
                query = simd.load(simd.advance(scratch.query_rows, i * scratch.columns + j), lanes)
                simd.store(at, simd.fma(query, slope, simd.load(at, lanes)))


@kernel
def query_chunk(table, batch, head, row, count, width, finite, scratch, scale, dtype):
    """Gradients of one head's queries of a chunk; adds its part of R to ``scratch.gained``."""
    size, value_size = table[T.SIZE], table[T.VALUE_SIZE]
    columns, value_columns = scratch.columns, scratch.value_columns
    vectors = width // lanes_of(scratch.panel)
    load_chunk(table, T.QUERY, batch, head, row, count, size, columns, table[T.FEATURE], scratch.query_rows, dtype)
    load_chunk(
        table, T.GRAD_OUT, batch, head, row, count, value_size, value_columns, T.IDENTITY, scratch.grad_rows, dtype
    )
    pack_rows(Rows(scratch.query_rows, columns, count), size, scratch.panel, width)
    pack_rows(Rows(scratch.grad_rows, value_columns, count), value_size, scratch.value_panel, width)
    state = Rows(scratch.state, value_columns, size)
    score_part(state, 0, size, value_size, scratch.value_panel, scratch.first, scratch.peak, width, 0, vectors)
    if table[T.CAUSAL] != 0:
        values = Rows(scratch.value_rows, value_columns, count)
        multiply_seen(values, value_size, scratch.value_panel, scratch.weights, width, False, scratch)
        keys = Rows(scratch.key_rows, columns, count)
        add_seen(keys, size, scratch.weights, scratch.first, width, False, finite, scratch)
    if table[T.NORMALIZE] != 0:
        sums = Rows(sum_of(scratch.state, table), 0, count)
        if table[T.CAUSAL] != 0:
            sums = Rows(scratch.sum_rows, columns, count)
        pack_rows(sums, size, scratch.sum_panel, width)
        divide_gradients(size, width, scratch)
        inverses = statistics_of(table, batch, head, row, dtype)
        copy_elements(scratch.total, inverses, count)
        copy_elements(scratch.slope, simd.advance(inverses, table[T.ROWS]), count)
    else:
        multiply_panel(scratch.first, size * vectors, scale)
    multiply_rows(table, batch, head, row, count, scratch, scale, dtype)
    add_queries(table, batch, head, row, count, scratch, scratch.gained, dtype)
    differentiate_map(scratch.first, scratch.panel, size * vectors, table[T.FEATURE])
    store_chunk(
        scratch.first, width, size, columns, table, T.GRAD_QUERY, batch, head, row, count, scratch.query_rows, dtype
    )


@kernel
def query_segment(table, states, pair, segment, scratch, scale):
    """A segment's gradients of queries; its part of R into the record of the segment."""
    batch, group = pair // table[T.GROUPS], pair % table[T.GROUPS]
    sharing = table[T.HEADS] // table[T.GROUPS]
    causal = table[T.CAUSAL] != 0
    lanes = lanes_of(scratch.panel)
    start = record_of(states, table, pair, segment if causal else table[T.RECORDS] - 1)
    fill_panel(scratch.local, table[T.RECORD] // lanes, 0.0)
    fill_panel(scratch.gained, table[T.RECORD] // lanes, 0.0)
    row = segment * T.SEGMENT
    end = min(row + T.SEGMENT, table[T.ROWS])
    while row < end:
        width = chunk_width(end - row, lanes)
        count = min(width, end - row)
        add_vectors(start, scratch.local, scratch.state, table[T.RECORD])
        finite = True
        if causal:
            load_keys(table, batch, group, row, count, scratch, states.dtype)
            keys = Rows(scratch.key_rows, scratch.columns, count)
            finite = all_finite(keys, table[T.SIZE])
            sum_rows_up_to(sum_of(scratch.state, table), keys, scratch.columns, scratch.sum_rows)
        for head in range(group * sharing, (group + 1) * sharing):
            query_chunk(table, batch, head, row, count, width, finite, scratch, scale, states.dtype)
        if causal:
            add_keys(table, count, scratch)
        row += count
    if causal and table[T.PARTS] == 1:
        add_vectors(start, scratch.local, record_of(states, table, pair, segment + 1), table[T.RECORD])
    number = pair * (segments_of(table[T.ROWS]) + 1) + segment
    gradients = simd.pointer_at(table[T.GRAD_RECORDS], states.dtype)
    copy_vectors(scratch.gained, simd.advance(gradients, number * table[T.RECORD]), table[T.RECORD])


def query_segments(table, states, scale, counter):
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
            query_segment(table, states, item // parts, segment, scratch, scale)
        item = next_item(counter, item)


@kernel
def key_chunk_of_head(table, batch, head, row, count, width, scratch, scale, dtype):
    """What a chunk's own queries of one head add to the gradients of its keys and values, and to R."""
    size, value_size = table[T.SIZE], table[T.VALUE_SIZE]
    columns, value_columns = scratch.columns, scratch.value_columns
    lanes = lanes_of(scratch.panel)
    load_chunk(table, T.QUERY, batch, head, row, count, size, columns, table[T.FEATURE], scratch.query_rows, dtype)
    load_gradients(table, batch, head, row, count, scratch, scale, dtype)
    queries = Rows(scratch.query_rows, columns, count)
    gradients = Rows(scratch.grad_rows, value_columns, count)
    multiply_seen(gradients, value_size, scratch.value_panel, scratch.weights, width, True, scratch)
    if table[T.NORMALIZE] != 0:
        slopes = simd.advance(statistics_of(table, batch, head, row, dtype), table[T.ROWS])
        for i in range(count):
            slope = simd.load_scalar(simd.advance(slopes, i))
            for first in range(0, width, lanes):
                at = simd.advance(scratch.weights, i * width + first)
                lane = simd.convert(simd.iota_i64(lanes), simd.i32) + first
                weight = simd.load(at, lanes)
                simd.store(at, simd.select(lane <= i, weight + slope, weight))
    add_seen(queries, size, scratch.weights, scratch.first, width, True, all_finite(queries, size), scratch)
    multiply_seen(queries, size, scratch.panel, scratch.weights, width, True, scratch)
    finite = all_finite(gradients, value_size)
    add_seen(gradients, value_size, scratch.weights, scratch.second, width, True, finite, scratch)
    add_queries(table, batch, head, row, count, scratch, scratch.local, dtype)


@kernel
def add_to_rows(panel, rows, width, addends):
    """panel[d, :] += addends[d]."""
    lanes = lanes_of(panel)
    for d in range(rows):
        addend = simd.load_scalar(simd.advance(addends, d))
        for first in range(0, width, lanes):
            at = simd.advance(panel, d * width + first)
            simd.store(at, simd.load(at, lanes) + addend)


@kernel
def key_chunk(table, batch, group, row, count, width, scratch, scale, dtype):
    """Gradients of a chunk's keys and values, from ``scratch.state``, R, and, causal, from the chunk's own queries."""
    size, value_size = table[T.SIZE], table[T.VALUE_SIZE]
    columns, value_columns = scratch.columns, scratch.value_columns
    sharing = table[T.HEADS] // table[T.GROUPS]
    vectors = width // lanes_of(scratch.panel)
    load_keys(table, batch, group, row, count, scratch, dtype)
    pack_rows(Rows(scratch.key_rows, columns, count), size, scratch.panel, width)
    pack_rows(Rows(scratch.value_rows, value_columns, count), value_size, scratch.value_panel, width)
    state = Rows(scratch.state, value_columns, size)
    score_part(state, 0, size, value_size, scratch.value_panel, scratch.first, scratch.peak, width, 0, vectors)
    fill_panel(scratch.second, value_size * vectors, 0.0)
    add_part(state, 0, size, value_size, scratch.panel, scratch.second, width, 0, vectors)
    add_to_rows(scratch.first, size, width, sum_of(scratch.state, table))
    if table[T.CAUSAL] != 0:
        for head in range(group * sharing, (group + 1) * sharing):
            key_chunk_of_head(table, batch, head, row, count, width, scratch, scale, dtype)
    differentiate_map(scratch.first, scratch.panel, size * vectors, table[T.FEATURE])
    store_chunk(
        scratch.first, width, size, columns, table, T.GRAD_KEY, batch, group, row, count, scratch.query_rows, dtype
    )
    store_chunk(
        scratch.second, width, value_size, value_columns, table, T.GRAD_VALUE, batch, group, row, count,
        scratch.grad_rows, dtype,
    )  # fmt: skip


def key_segments(table, states, scale, counter):
    """Take items until none is left: (sequence, key/value head, segment), from the last chunk of the segment on.

    Record ``s`` of ``states`` is R behind segment ``s - 1``.
    """
    lanes = lanes_of(simd.pointer(states))
    elements = scratch_elements(table, lanes)
    buffer = np.empty(elements, states.dtype)
    segments = table[T.SEGMENTS]
    causal = table[T.CAUSAL] != 0
    item = next_item(counter, -1)
    while item < table[T.BATCHES] * table[T.GROUPS] * segments:
        # Here and not before the loop: Numba frees an array behind its last use, and pointers are no use.
        scratch = carve(buffer, table)
        pair, segment = item // segments, item % segments
        behind = record_of(states, table, pair, segment + 1 if causal else 0)
        fill_panel(scratch.local, table[T.RECORD] // lanes, 0.0)
        begin = segment * T.SEGMENT
        end = min(begin + T.SEGMENT, table[T.ROWS])
        widest = lanes * TILE_VECTORS
        for row in range(begin + (end - begin - 1) // widest * widest, begin - 1, -widest):
            width = chunk_width(end - row, lanes)
            add_vectors(behind, scratch.local, scratch.state, table[T.RECORD])
            key_chunk(
                table, pair // table[T.GROUPS], pair % table[T.GROUPS], row, min(width, end - row), width, scratch,
                scale, states.dtype,
            )  # fmt: skip
        item = next_item(counter, item)


_QUERIES_F32 = SharedWork(query_segments, FORWARD_F32, argument_types(types.float32))
_QUERIES_F64 = SharedWork(query_segments, FORWARD_F64, argument_types(types.float64))
_KEYS_F32 = SharedWork(key_segments, FORWARD_F32, argument_types(types.float32))
_KEYS_F64 = SharedWork(key_segments, FORWARD_F64, argument_types(types.float64))


def linear_backward(
    grad_out, query, key, value, grad_query, grad_key, grad_value, states, grad_states, stored, is_causal, feature,
    normalize, scale,
):  # fmt: skip
    """Gradients of linear attention into ``grad_query``, ``grad_key`` and ``grad_value``.

    Arrays and ``states`` as in `linear_forward`. ``grad_states``: of L's segments, the last record holding the gradient
    of the final state; its first becomes the gradient of the initial state.
    """
    batches, heads, rows, _ = query.shape
    keys = key.shape[2]
    arrays = {
        T.QUERY: query, T.KEY: key, T.VALUE: value, T.GRAD_OUT: grad_out, T.GRAD_QUERY: grad_query,
        T.GRAD_KEY: grad_key, T.GRAD_VALUE: grad_value,
    }  # fmt: skip
    table = table_of(states, arrays, rows, stored, is_causal, feature, normalize)
    statistics = np.empty((batches, heads, 2, rows), states.array.dtype)
    table[T.STATISTICS], table[T.GRAD_RECORDS] = statistics.ctypes.data, grad_states.array.ctypes.data
    size, value_size = states.size, states.value_size
    fmas = batches * heads * rows * (3 * size * value_size + (size + value_size) * 32)
    small = fmas * states.array.itemsize * NS_PER_FMA_BYTE < threads.SMALLEST_WORK_NS
    pairs = batches * key.shape[1]
    if is_causal and (small or pairs >= HEADS_PER_THREAD * threads.get_num_threads()):
        table[T.PARTS] = 1
    elif not is_causal or table[T.SEGMENTS] > 1:
        sum_keys(states, table, keys)
    if rows:
        run(_QUERIES_F32, _QUERIES_F64, fmas, table, states.array, scale)
    grad_states.accumulate(backwards=True)
    table[T.ROWS], table[T.RECORDS] = keys, grad_states.array.shape[2]
    table[T.SEGMENTS] = segments_of(keys)
    if keys:
        fmas = pairs * keys * (2 * size * value_size + (size + value_size) * 64 * (heads // key.shape[1]))
        run(_KEYS_F32, _KEYS_F64, fmas, table, grad_states.array, scale)
