"""What the kernels of linear attention share: the table that describes a call, scratch, and the moves of a chunk.

A chunk has as many tokens as a panel has lanes. Rows (one token a row, padded to whole vectors) are the factors that
products read element by element; panels (one token a lane) are the others. `panels` has both products.
"""

import math
from typing import Any, NamedTuple

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import HALF_VECTORS, NARROW_ROWS, TILE_VECTORS, filled, lanes_of
from fastcore.attention.kernels.forward import align_up
from fastcore.attention.kernels.panels import (
    add_part,
    add_values,
    add_values_where_kept,
    score_keys,
    score_part,
    write_rows,
)
from fastcore.attention.kernels.views import Rows

# Tokens whose sum is one item of work. Sums of segments are added up in order, whoever computed them, so that results
# depend neither on threads nor on the batch.
SEGMENT = 1024

IDENTITY, RELU, ELU = 0, 1, 2
# How arrays are stored: as the kernel computes, or in 16 bits.
SAME, FLOAT16, BFLOAT16 = 0, 1, 2

# Places in the table of a call. An array takes four: its address and its first three strides, in bytes.
(
    SUMS_ONLY, CAUSAL, FEATURE, NORMALIZE, STORED, BATCHES, HEADS, GROUPS, SIZE, VALUE_SIZE, COLUMNS, VALUE_COLUMNS,
    RECORD, ROWS, SEGMENTS, PARTS, RECORDS, GRAD_RECORDS, STATISTICS, ITEMSIZE,
) = range(20)  # fmt: skip
QUERY, KEY, VALUE, OUT, GRAD_OUT, GRAD_QUERY, GRAD_KEY, GRAD_VALUE = range(20, 52, 4)
TABLE = 52


class Scratch(NamedTuple):
    """Rows, panels and statistics of a chunk, and records: a state (D, columns of Dv) with the sum of keys behind it.

    Products may overhang what they write by `NARROW_ROWS` rows.
    """

    columns: int
    value_columns: int
    record: int
    key_rows: Any
    value_rows: Any
    query_rows: Any
    grad_rows: Any
    sum_rows: Any
    panel: Any
    value_panel: Any
    sum_panel: Any
    weights: Any
    hidden: Any
    first: Any
    second: Any
    peak: Any
    total: Any
    slope: Any
    state: Any
    local: Any
    gained: Any


@kernel
def chunk_width(left, lanes):
    """Lanes of the panels of a chunk of which ``left`` tokens are left."""
    return lanes * TILE_VECTORS if left > lanes else lanes


@kernel
def scratch_elements(table, lanes):
    """Elements of the buffer that `carve` divides."""
    width = chunk_width(table[ROWS], lanes)
    longest = max(table[SIZE], table[VALUE_SIZE]) + NARROW_ROWS
    rows = width * (3 * table[COLUMNS] + 2 * table[VALUE_COLUMNS])
    panels = width * (4 * longest + table[SIZE] + 2 * (width + NARROW_ROWS) + 3)
    return rows + panels + 3 * table[RECORD] + 16


@kernel
def carve(buffer, table):
    """The scratch of a call inside one buffer."""
    start = align_up(simd.pointer(buffer), buffer.ctypes.data, buffer.itemsize)
    columns, value_columns, record = table[COLUMNS], table[VALUE_COLUMNS], table[RECORD]
    width = chunk_width(table[ROWS], lanes_of(start))
    longest = (max(table[SIZE], table[VALUE_SIZE]) + NARROW_ROWS) * width
    value_rows = simd.advance(start, width * columns)
    query_rows = simd.advance(value_rows, width * value_columns)
    grad_rows = simd.advance(query_rows, width * columns)
    sum_rows = simd.advance(grad_rows, width * value_columns)
    panel = simd.advance(sum_rows, width * columns)
    value_panel = simd.advance(panel, longest)
    sum_panel = simd.advance(value_panel, longest)
    weights = simd.advance(sum_panel, width * table[SIZE])
    hidden = simd.advance(weights, (width + NARROW_ROWS) * width)
    first = simd.advance(hidden, (width + NARROW_ROWS) * width)
    second = simd.advance(first, longest)
    peak = simd.advance(second, longest)
    total = simd.advance(peak, width)
    slope = simd.advance(total, width)
    state = simd.advance(slope, width)
    local = simd.advance(state, record)
    gained = simd.advance(local, record)
    return Scratch(
        columns, value_columns, record, start, value_rows, query_rows, grad_rows, sum_rows, panel, value_panel,
        sum_panel, weights, hidden, first, second, peak, total, slope, state, local, gained,
    )  # fmt: skip


@kernel
def address_of_row(table, array, batch, head, row):
    return table[array] + batch * table[array + 1] + head * table[array + 2] + row * table[array + 3]


@kernel
def mapped(x, feature):
    """The feature map of Katharopoulos et al. 2020, equation 7, elu(x) + 1; or relu(x), or x."""
    if feature == ELU:
        return simd.select(x > 0, x + 1.0, simd.exp(x))
    if feature == RELU:
        return simd.select(x < 0, 0.0, x)
    return x


@kernel
def through_map(gradient, y, feature):
    """The gradient by x from that by y = mapped(x)."""
    if feature == ELU:
        return simd.select(y > 1, gradient, gradient * y)
    if feature == RELU:
        return simd.select(y > 0, gradient, 0.0)
    return gradient


@kernel
def load_chunk(table, array, batch, head, row, count, size, columns, feature, target, dtype):
    """target <- ``count`` rows of an array, mapped; whatever the map makes of 0 behind the first ``size`` columns."""
    lanes = lanes_of(target)
    stored = table[STORED]
    for i in range(count):
        address = address_of_row(table, array, batch, head, row + i)
        for j in range(0, columns, lanes):
            left = min(size - j, lanes)
            if stored == SAME:
                part = simd.load_first(simd.advance(simd.pointer_at(address, dtype), j), lanes, left)
            else:
                bits = simd.load_first(simd.advance(simd.pointer_at(address, simd.u16), j), lanes, left)
                if stored == FLOAT16:
                    part = simd.convert(simd.half_to_float(bits), dtype)
                else:
                    part = simd.convert(simd.bfloat_to_float(bits), dtype)
            simd.store(simd.advance(target, i * columns + j), mapped(part, feature))


@kernel
def store_chunk(panel, width, size, columns, table, array, batch, head, row, count, rows, dtype):
    """Rows of an array <- a panel's columns; ``rows`` is room for them where they are stored in 16 bits."""
    address = address_of_row(table, array, batch, head, row)
    step = table[array + 3]
    if table[STORED] == SAME:
        target = simd.pointer_at(address, dtype)
        write_rows(panel, width, size, Rows(target, step // table[ITEMSIZE], count))
        return
    write_rows(panel, width, size, Rows(rows, columns, count))
    lanes = lanes_of(panel)
    for i in range(count):
        target16 = simd.pointer_at(address + i * step, simd.u16)
        for j in range(0, size, lanes):
            part = simd.convert(simd.load(simd.advance(rows, i * columns + j), lanes), simd.f32)
            if table[STORED] == FLOAT16:
                bits = simd.float_to_half(part)
            else:
                bits = simd.float_to_bfloat(part)
            simd.store_first(simd.advance(target16, j), bits, min(size - j, lanes))


@kernel
def copy_vectors(source, target, elements):
    lanes = lanes_of(source)
    for i in range(0, elements, lanes):
        simd.store(simd.advance(target, i), simd.load(simd.advance(source, i), lanes))


@kernel
def add_vectors(a, b, target, elements):
    """target <- a + b."""
    lanes = lanes_of(a)
    for i in range(0, elements, lanes):
        total = simd.load(simd.advance(a, i), lanes) + simd.load(simd.advance(b, i), lanes)
        simd.store(simd.advance(target, i), total)


@kernel
def keep_seen(weights, count, width, later, total):
    """0 where a lane does not see a row: a lane before it, or with ``later`` behind it. ``total`` gains the sums."""
    lanes = lanes_of(weights)
    zero = filled(weights, 0.0)
    for first in range(0, width, lanes):
        lane = simd.convert(simd.iota_i64(lanes), simd.i32) + first
        at = simd.advance(total, first)
        gained = simd.load(at, lanes)
        for j in range(count):
            place = simd.advance(weights, j * width + first)
            seen = lane <= j if later else lane >= j
            weight = simd.select(seen, simd.load(place, lanes), zero)
            simd.store(place, weight)
            gained = gained + weight
        simd.store(at, gained)


@kernel
def mark_hidden(hidden, count, width, later):
    """-inf where a lane does not see a row, else 0: what `add_values_where_kept` passes over."""
    lanes = lanes_of(hidden)
    zero, outside = filled(hidden, 0.0), filled(hidden, -math.inf)
    for first in range(0, width, lanes):
        lane = simd.convert(simd.iota_i64(lanes), simd.i32) + first
        for j in range(count):
            seen = lane <= j if later else lane >= j
            simd.store(simd.advance(hidden, j * width + first), simd.select(seen, zero, outside))


@kernel
def multiply_seen(rows, size, panel, weights, width, later, scratch):
    """weights[j, :] = rows[j] . panel, leaving out vectors none of whose lanes sees the row, then `keep_seen`."""
    lanes = lanes_of(weights)
    if not later or width == lanes:
        score_keys(rows, size, panel, weights, scratch.peak, width, 0)
    else:
        low, high = min(lanes, rows.length), min(HALF_VECTORS * lanes, rows.length)
        score_part(rows, 0, low, size, panel, weights, scratch.peak, width, 0, 1)
        if low < high:
            score_part(rows, low, high, size, panel, weights, scratch.peak, width, 0, HALF_VECTORS)
        if high < rows.length:
            score_part(rows, high, rows.length, size, panel, weights, scratch.peak, width, 0, TILE_VECTORS)
    keep_seen(weights, rows.length, width, later, scratch.total)


@kernel
def add_seen(rows, size, weights, out, width, later, finite, scratch):
    """out[d, :] += sum_j rows[j, d] weights[j, :]. Rows not all ``finite``: without the 0 * NaN of what is hidden."""
    lanes = lanes_of(weights)
    if not finite:
        mark_hidden(scratch.hidden, rows.length, width, later)
        add_values_where_kept(rows, size, weights, scratch.hidden, out, width, width)
    elif not later or width == lanes:
        add_values(rows, size, weights, out, width, 0)
    else:
        low, high = min(lanes, rows.length), min(HALF_VECTORS * lanes, rows.length)
        add_part(rows, 0, low, size, weights, out, width, 0, 1)
        if low < high:
            add_part(rows, low, high, size, weights, out, width, 0, HALF_VECTORS)
        if high < rows.length:
            add_part(rows, high, rows.length, size, weights, out, width, 0, TILE_VECTORS)


@kernel
def add_outer(rows, size, values, columns, record):
    """record[d, :] += sum_j rows[j, d] values[j, :]."""
    vectors = columns // lanes_of(record)
    start = 0
    while start < vectors:
        step = TILE_VECTORS if vectors - start >= TILE_VECTORS else 1
        add_part(rows, 0, rows.length, size, values, record, columns, start, step)
        start += step


@kernel
def sum_of(record, table):
    """The sum of keys in a record."""
    return simd.advance(record, (table[SIZE] + NARROW_ROWS) * table[VALUE_COLUMNS])


@kernel
def add_rows(rows, columns, target):
    """target <- target + the sum of the rows."""
    for j in range(rows.length):
        add_vectors(target, simd.advance(rows.pointer, j * columns), target, columns)
