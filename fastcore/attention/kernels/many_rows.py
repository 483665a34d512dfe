"""Many new tokens of a sequence against its stored keys (prefill): the tiles of flash attention over a table of rows.

Blocks of float32 rows that lie side by side are read in place; any other block is gathered and converted once for a
tile of queries.
"""

import math

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.validate import NO_BOUND
from fastcore._core.work import Direct
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.blocks import FLOAT32
from fastcore.attention.kernels.dequantize import load_rows
from fastcore.attention.kernels.emit_rows import LANES
from fastcore.attention.kernels.forward import carve_scratch, count_tiles, scratch_elements, tile_rows
from fastcore.attention.kernels.masking import BLOCK_KEYS, NO_MASK
from fastcore.attention.kernels.panels import write_rows
from fastcore.attention.kernels.query_tile import attend_block, start_tile
from fastcore.attention.kernels.softmax import LOWEST_F32, normalise
from fastcore.attention.kernels.storage_formats import F32
from fastcore.attention.kernels.stored_rows import fill_table, padded, position_of, span_of
from fastcore.attention.kernels.views import Bounds, Dropout, Mask, Rows, Scores, Stored

FLOAT_BYTES = 4


@kernel
def many_rows_elements(size, value_size, columns, value_columns, width):
    """Elements of scratch: the panels of flash attention, and a block of keys and of values."""
    return scratch_elements(size, value_size, False, width, FLOAT_BYTES, 0) + BLOCK_KEYS * (columns + value_columns)


@kernel
def are_side_by_side(table, count):
    """Whether ``count`` rows follow one another."""
    first = simd.load_scalar(table)
    following = 0
    for i in range(count):
        following += simd.load_scalar(simd.advance(table, i)) == first + i
    return following == count


@kernel
def block_rows(panel, table, count, address, row_bytes, scales, columns, storage_format):
    """A block of stored rows as float32: in place where it lies side by side, else converted into ``panel``."""
    if storage_format == F32 and are_side_by_side(table, count):
        first = simd.load_scalar(table)
        return Rows(simd.pointer_at(address + first * row_bytes, simd.f32), row_bytes // FLOAT_BYTES, count)
    load_rows(panel, address, table, 0, count, row_bytes, scales, columns, storage_format)
    return Rows(panel, columns, count)


@kernel
def attend_range(begin, end, bounds, rows, group, span, record, layout, scores, scratch, table, panel):
    """A tile's queries against keys [begin, end) of the span, whose positions follow one another."""
    storage_format = layout[R.FORMAT]
    columns = padded(layout[R.SIZE], storage_format)
    value_columns = padded(layout[R.VALUE_SIZE], storage_format)
    mask = Mask(NO_MASK, simd.pointer_at(0, simd.u8), simd.pointer_at(0, simd.f32), (0, 0))
    dropout = Dropout(np.uint64(0), 1.0, np.uint64(0), 0, 0)
    last_query = bounds.first_position + rows - 1
    for first in range(begin, end, BLOCK_KEYS):
        count = min(BLOCK_KEYS, end - first)
        fill_table(table, first, count, span, record, layout)
        keys = block_rows(
            panel, table, count, record[R.KEYS] + group * layout[R.KEY_HEAD], layout[R.KEY_ROW],
            record[R.KEY_SCALES] + group * layout[R.KEY_SCALE_HEAD], columns, storage_format,
        )  # fmt: skip
        values = block_rows(
            simd.advance(panel, BLOCK_KEYS * columns), table, count, record[R.VALUES] + group * layout[R.VALUE_HEAD],
            layout[R.VALUE_ROW], record[R.VALUE_SCALES] + group * layout[R.VALUE_SCALE_HEAD], value_columns,
            storage_format,
        )  # fmt: skip
        first_key = position_of(span, first)
        last_key = first_key + count - 1
        bounded = first_key < last_query - bounds.left or last_key > bounds.first_position + bounds.right
        attend_block(
            FLOAT32, first_key, keys, values, layout[R.SIZE], layout[R.VALUE_SIZE], rows, bounded, bounds, scores, mask,
            dropout, scratch,
        )  # fmt: skip


def attend_many(record, layout, scale, softcap, item, buffer, table):
    """One tile of one head's new tokens: items are heads times tiles, the long causal tiles first."""
    new = record[R.NEW]
    size, value_size = layout[R.SIZE], layout[R.VALUE_SIZE]
    wide_tiles, narrow_tiles = count_tiles(new, LANES)
    tiles = wide_tiles + narrow_tiles
    head = item // tiles
    first_row, width = tile_rows(tiles - 1 - item % tiles, LANES, wide_tiles)
    count = min(width, new - first_row)
    first_position = record[R.LENGTH] - new + first_row
    span = span_of(record, layout, first_position)
    right = 0 if layout[R.CAUSAL] != 0 else NO_BOUND
    end = span.keys if layout[R.CAUSAL] == 0 else span.keys - (new - first_row - count)
    scratch = carve_scratch(buffer, size, value_size, width, 0)
    elements = scratch_elements(size, value_size, False, width, FLOAT_BYTES, 0)
    panel = simd.advance(simd.pointer(buffer), elements)
    scores = Scores(scale, softcap, 1.0, LOWEST_F32, 0, 0, 0, 0.0, -math.inf)
    query = simd.pointer_at(record[R.QUERY], simd.f32)
    at = simd.advance(query, head * record[R.QUERY_HEAD] + first_row * record[R.QUERY_TOKEN])
    queries = Stored(at, simd.pointer_at(0, simd.u16), record[R.QUERY_TOKEN], count, F32)
    start_tile(FLOAT32, queries, size, value_size, scores, scratch)
    group = head // (layout[R.HEADS] // layout[R.GROUPS])
    rows = simd.pointer(table)
    open_left = Bounds(first_position, NO_BOUND, right)
    attend_range(0, min(span.sunk, end), open_left, count, group, span, record, layout, scores, scratch, rows, panel)
    left = layout[R.WINDOW] - 1
    # Without a gap behind the sinks they are part of one range, in which the window may not hide them.
    begin = span.sunk
    if span.sunk == 0 and layout[R.SINKS] > 0:
        begin = min(layout[R.SINKS], end)
        attend_range(0, begin, open_left, count, group, span, record, layout, scores, scratch, rows, panel)
    windowed = Bounds(first_position, left, right)
    attend_range(begin, end, windowed, count, group, span, record, layout, scores, scratch, rows, panel)
    normalise(scratch.accumulated, value_size, scratch.reference, scratch.total, width, 1.0)
    out = simd.pointer_at(record[R.OUT], simd.f32)
    target = simd.advance(out, head * record[R.OUT_HEAD] + first_row * record[R.OUT_TOKEN])
    write_rows(scratch.accumulated, width, value_size, Rows(target, record[R.OUT_TOKEN], count))


_INTEGERS = types.Array(types.int64, 1, "C")
ATTEND_MANY = Direct(
    attend_many,
    types.void(
        _INTEGERS, _INTEGERS, types.float64, types.float64, types.int64, types.Array(types.float32, 1, "C"), _INTEGERS
    ),
)
