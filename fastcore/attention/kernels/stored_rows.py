"""Where the keys of a sequence lie: pages, ring and window, as tables of row numbers for a block of keys at a time."""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.emit_rows import LANES, NEAR_ROWS
from fastcore.attention.kernels.records import Side, Span
from fastcore.attention.kernels.storage_formats import BF16, F16, F32, GROUP, INT4, VECTOR

# Keys of a block of bytes; of wider elements fewer, as many bytes. While a block is computed with the next one is
# fetched: 64 rows of bytes were too few to keep the memory busy.
MOST_KEYS = 256

# Rows of a block, of the vector that the products may go on to, and of those that are fetched meanwhile.
TABLE_ROWS = MOST_KEYS + LANES + 4 * NEAR_ROWS


@kernel
def padded(size, storage_format):
    """Elements of a stored row."""
    multiple = GROUP if storage_format == INT4 else VECTOR
    return (size + multiple - 1) // multiple * multiple


@kernel
def keys_of_block(storage_format):
    """Keys of a block."""
    if storage_format == F32:
        return MOST_KEYS // 4
    return MOST_KEYS // 2 if storage_format in (F16, BF16) else MOST_KEYS


@kernel
def units_of(columns, storage_format):
    """Units (see `row_products`) of a stored row."""
    return columns // GROUP if storage_format == INT4 else columns // LANES


@kernel
def side_of(dtype, record, layout, group, base, scales, row, head, scale_row, scale_head, size):
    """The keys or values of one head, by the places of what describes them."""
    columns = padded(size, layout[R.FORMAT])
    address = record[base] + group * layout[head]
    return Side(
        simd.pointer_at(address, dtype),
        address,
        layout[row],
        record[scales] + group * layout[scale_head],
        layout[scale_row],
        units_of(columns, layout[R.FORMAT]),
        columns,
    )


@kernel
def keys_of(dtype, record, layout, group):
    return side_of(
        dtype, record, layout, group, R.KEYS, R.KEY_SCALES, R.KEY_ROW, R.KEY_HEAD, R.KEY_SCALE_ROW, R.KEY_SCALE_HEAD,
        layout[R.SIZE],
    )  # fmt: skip


@kernel
def values_of(dtype, record, layout, group):
    return side_of(
        dtype, record, layout, group, R.VALUES, R.VALUE_SCALES, R.VALUE_ROW, R.VALUE_HEAD, R.VALUE_SCALE_ROW,
        R.VALUE_SCALE_HEAD, layout[R.VALUE_SIZE],
    )  # fmt: skip


@kernel
def span_of(record, layout, first_position):
    """The keys that the queries from ``first_position`` on see."""
    length = record[R.LENGTH]
    low = first_position - layout[R.WINDOW] + 1
    if low <= layout[R.SINKS]:
        return Span(0, 0, length)
    return Span(layout[R.SINKS], low, layout[R.SINKS] + length - low)


@kernel
def position_of(span, key):
    """Position in the sequence of key number ``key`` of the span."""
    return key if key < span.sunk else span.low + key - span.sunk


@kernel
def fill_table(rows, first, count, span, record, layout):
    """The numbers of the rows of ``count`` keys from key ``first`` of the span on, run by run of consecutive rows.

    Behind them the last one is repeated: products go on to whole vectors of keys, and a longer block may fetch them.
    """
    page_size = layout[R.PAGE_SIZE]
    done = 0
    while done < count:
        key = first + done
        slot = position_of(span, key)
        run = count - done if key >= span.sunk else min(count - done, span.sunk - key)
        if layout[R.RING] > 0:
            if slot < layout[R.SINKS]:
                run = min(run, layout[R.SINKS] - slot)
            else:
                place = (slot - layout[R.SINKS]) % layout[R.RING]
                slot = layout[R.SINKS] + place
                run = min(run, layout[R.RING] - place)
        page, within = slot // page_size, slot % page_size
        run = min(run, page_size - within)
        row = within
        if record[R.TABLE] != 0:
            row += (
                simd.load_scalar(simd.advance(simd.pointer_at(record[R.TABLE], simd.i64), page)) * layout[R.PAGE_ROWS]
            )
        for i in range(run):
            simd.store_scalar(simd.advance(rows, done + i), row + i)
        done += run
    last = simd.load_scalar(simd.advance(rows, count - 1))
    for i in range(count, TABLE_ROWS):
        simd.store_scalar(simd.advance(rows, i), last)


@kernel
def hide_keys(panel, tile_row, queries, first, count, span, record, layout):
    """-inf for keys that a query of the tile does not see."""
    group_heads = layout[R.HEADS] // layout[R.GROUPS]
    first_position = record[R.LENGTH] - record[R.NEW]
    for query in range(queries):
        at = first_position + (tile_row + query) // group_heads
        for key in range(count):
            position = position_of(span, first + key)
            late = layout[R.CAUSAL] != 0 and position > at
            early = position <= at - layout[R.WINDOW] and position >= layout[R.SINKS]
            if late or early:
                simd.store_scalar(simd.advance(panel, key * queries + query), -math.inf)


@kernel
def is_bounded(first, count, span, record, layout):
    """Whether a block may hold a key that some query of the sequence does not see; a single query sees its span."""
    if record[R.NEW] == 1:
        return False
    last_key = position_of(span, first + count - 1)
    late = layout[R.CAUSAL] != 0 and last_key > record[R.LENGTH] - record[R.NEW]
    outside = record[R.LENGTH] - 1 - layout[R.WINDOW]
    return late or (last_key >= layout[R.SINKS] and max(position_of(span, first), layout[R.SINKS]) <= outside)
