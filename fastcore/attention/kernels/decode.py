"""Few new tokens of a sequence against its stored keys: a share of the keys an item, merged by log-sum-exp.

Source: Dao et al. 2023, "Flash-Decoding for long-context inference". Shares depend on nothing but the sequence's own
length, so a result has the same bits for any number of threads and whatever else is in the batch.
"""

import math

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.emit_rows import LANES, WIDEST
from fastcore.attention.kernels.few_rows import (
    add_block,
    add_block_fixed,
    add_visible,
    dot_block,
    has_nan,
    queries_of_tile,
    scale_block,
    weigh_block,
)
from fastcore.attention.kernels.fixed_point import plane_stride, split_block, split_tile
from fastcore.attention.kernels.fixed_products import FIXED_COLUMNS, FIXED_POINT, PLANE
from fastcore.attention.kernels.masking import cap_scores
from fastcore.attention.kernels.panels import copy_panel, fill_panel
from fastcore.attention.kernels.records import Ahead, DecodeScratch, FixedQueries, QueryRows
from fastcore.attention.kernels.softmax import LOG2_E, LOWEST_F32
from fastcore.attention.kernels.storage_formats import INT8
from fastcore.attention.kernels.stored_rows import (
    MOST_KEYS,
    TABLE_ROWS,
    fill_table,
    hide_keys,
    is_bounded,
    keys_of,
    keys_of_block,
    span_of,
    values_of,
)

PANEL = MOST_KEYS * WIDEST
FLOAT_BYTES = 4


@kernel
def room_for(rows):
    """Rows of room for so many queries: the last tile may be wider than what is left."""
    return rows + WIDEST


@kernel
def decode_scratch_elements(rows, columns, value_columns):
    """Elements of the buffer that `carve_decode_scratch` divides."""
    held = room_for(rows) * (columns + value_columns + 4 * LANES) + WIDEST * value_columns
    planes = room_for(rows) * 2 * plane_stride(columns) + WIDEST * 2 * PLANE
    return held + 2 * PANEL + 2 * LANES + planes // FLOAT_BYTES


@kernel
def carve_decode_scratch(buffer, rows, columns, value_columns, storage_format):
    """Room for all query rows of an item inside one buffer; ``buffer`` is a pointer."""
    many = room_for(rows)
    accumulated = simd.advance(buffer, many * columns)
    reference = simd.advance(accumulated, many * value_columns)
    total = simd.advance(reference, many * LANES)
    factors = simd.advance(total, many * LANES)
    corrections = simd.advance(factors, many * LANES)
    kept = simd.advance(corrections, many * LANES)
    panel = simd.advance(kept, WIDEST * value_columns)
    masked = simd.advance(panel, PANEL)
    vector = simd.advance(masked, PANEL)
    weight_factors = simd.advance(vector, LANES)
    weight_planes = simd.cast_pointer(simd.advance(weight_factors, LANES), simd.i8)
    in_fixed_point = FIXED_POINT and storage_format == INT8 and columns <= FIXED_COLUMNS
    fixed = FixedQueries(
        simd.advance(weight_planes, WIDEST * 2 * PLANE),
        plane_stride(columns) if in_fixed_point else 0,
        factors,
        simd.cast_pointer(corrections, simd.i32),
    )
    return DecodeScratch(
        buffer, columns, accumulated, value_columns, reference, total, kept, panel, masked, vector, fixed,
        weight_planes, weight_factors,
    )  # fmt: skip


@kernel
def copy_row(source, target, count, factor):
    """target <- source * factor, ``count`` elements."""
    lanes = lanes_of(source)
    for first in range(0, count, lanes):
        left = min(count - first, lanes)
        part = simd.load_first(simd.advance(source, first), lanes, left)
        simd.store_first(simd.advance(target, first), part * factor, left)


@kernel
def head_row(record, layout, group, row, first, head_stride, token_stride):
    """Pointer to the query or result of row ``row`` of a group: its heads lie side by side, token by token."""
    group_heads = layout[R.HEADS] // layout[R.GROUPS]
    head = group * group_heads + row % group_heads
    start = simd.pointer_at(record[first], simd.f32)
    return simd.advance(start, head * record[head_stride] + row // group_heads * record[token_stride])


@kernel
def tile_at(scratch, row):
    """The tile of queries that starts at ``row``."""
    fixed = scratch.fixed
    return QueryRows(
        simd.advance(scratch.queries, row * scratch.columns),
        scratch.columns,
        simd.advance(scratch.accumulated, row * scratch.value_columns),
        scratch.value_columns,
        simd.advance(scratch.reference, row * LANES),
        simd.advance(scratch.total, row * LANES),
        FixedQueries(
            simd.advance(fixed.planes, 2 * row * fixed.stride),
            fixed.stride,
            simd.advance(fixed.factors, row * LANES),
            simd.advance(fixed.corrections, row * LANES),
        ),
    )


@kernel
def start_rows(record, layout, group, rows, factor, scratch):
    """Pack the scaled queries, padded with zeros to whole stored rows, and reset the sums."""
    many = room_for(rows)
    fill_panel(scratch.queries, many * scratch.columns // LANES, 0.0)
    fill_panel(scratch.accumulated, many * scratch.value_columns // LANES, 0.0)
    fill_panel(scratch.reference, many, LOWEST_F32)
    fill_panel(scratch.total, many, 0.0)
    for row in range(rows):
        source = head_row(record, layout, group, row, R.QUERY, R.QUERY_HEAD, R.QUERY_TOKEN)
        copy_row(source, simd.advance(scratch.queries, row * scratch.columns), layout[R.SIZE], factor)
    row = 0
    while row < rows and scratch.fixed.stride > 0:
        queries = queries_of_tile(rows - row)
        split_tile(tile_at(scratch, row), queries)
        row += queries


@kernel
def attend_few(row, queries, first, count, table, following, keys, values, span, record, layout, softcap, scratch):
    """One tile of queries against one block of keys."""
    tile, panel = tile_at(scratch, row), scratch.panel
    used = count * queries
    vectors = (used + LANES - 1) // LANES
    dot_block(panel, tile, keys, table, Ahead(values.address, values.row_bytes, table), count, queries)
    if softcap > 0:
        cap_scores(panel, vectors, softcap * LOG2_E)
    for i in range(used, vectors * LANES):
        simd.store_scalar(simd.advance(panel, i), -math.inf)
    bounded = is_bounded(first, count, span, record, layout)
    if bounded:
        hide_keys(panel, row, queries, first, count, span, record, layout)
        copy_panel(panel, scratch.masked, vectors)
    weigh_block(panel, tile, vectors, queries, scratch.vector)
    if layout[R.FORMAT] == INT8:
        scale_block(panel, values, table, count, queries)
    sums = queries * tile.value_columns
    if bounded:
        copy_panel(tile.accumulated, scratch.kept, sums // LANES)
    ahead = Ahead(keys.address, keys.row_bytes, following)
    if tile.fixed.stride > 0:
        split_block(panel, count, queries, scratch.weight_planes, scratch.weight_factors, scratch.vector)
        add_block_fixed(scratch.weight_planes, scratch.weight_factors, tile, values, table, ahead, count, queries)
    else:
        add_block(panel, tile, values, table, ahead, count, queries)
    # Weight 0 times a hidden NaN is NaN: then once more, past the hidden keys. Rare, and cheaper than looking first.
    if bounded and has_nan(tile.accumulated, sums):
        copy_panel(scratch.kept, tile.accumulated, sums // LANES)
        add_visible(panel, scratch.masked, tile, values, table, ahead, count, queries)


@kernel
def attend_share(begin, end, rows, table, keys, values, span, record, layout, softcap, scratch):
    """All query rows against keys [begin, end) of the span.

    The values of a block are fetched while its scores are computed, and the keys of the next one while its values are
    added: without, half of the memory's bandwidth was left (14 of 30 GB/s).
    """
    if begin >= end:
        return
    block = keys_of_block(layout[R.FORMAT])
    fill_table(table, begin, min(block, end - begin), span, record, layout)
    odd = 0
    for first in range(begin, end, block):
        count = min(block, end - first)
        current = simd.advance(table, odd * TABLE_ROWS)
        odd = 1 - odd
        following = simd.advance(table, odd * TABLE_ROWS)
        if first + block < end:
            fill_table(following, first + block, min(block, end - first - block), span, record, layout)
        else:
            following = current
        row = 0
        while row < rows:
            queries = queries_of_tile(rows - row)
            attend_few(
                row, queries, first, count, current, following, keys, values, span, record, layout, softcap, scratch
            )
            row += queries


@kernel
def fold_statistics(rows, scratch):
    """Each row's reference and sum of weights to the front: reference[row], total[row]."""
    row = 0
    while row < rows:
        queries = queries_of_tile(rows - row)
        tile = tile_at(scratch, row)
        for query in range(queries):
            total = simd.load_scalar(simd.advance(tile.total, query))
            for lane in range(query + queries, LANES, queries):
                total += simd.load_scalar(simd.advance(tile.total, lane))
            # In front of what is still to be read: LANES >= queries.
            highest = simd.load_scalar(simd.advance(tile.reference, query))
            simd.store_scalar(simd.advance(scratch.vector, query), highest)
            simd.store_scalar(simd.advance(scratch.panel, query), total)
        for query in range(queries):
            simd.store_scalar(
                simd.advance(scratch.reference, row + query), simd.load_scalar(simd.advance(scratch.vector, query))
            )
            simd.store_scalar(
                simd.advance(scratch.total, row + query), simd.load_scalar(simd.advance(scratch.panel, query))
            )
        row += queries


@kernel
def write_results(record, layout, group, rows, scratch):
    """The accumulated values over their weights' sums; a row without any key gives zeros."""
    for row in range(rows):
        total = simd.load_scalar(simd.advance(scratch.total, row))
        inverse = 0.0 if total == 0 else 1.0 / total
        target = head_row(record, layout, group, row, R.OUT, R.OUT_HEAD, R.OUT_TOKEN)
        copy_row(simd.advance(scratch.accumulated, row * scratch.value_columns), target, layout[R.VALUE_SIZE], inverse)


@kernel
def share_elements(rows, value_columns):
    """Elements of what one share leaves for the merge: sums, references, totals."""
    return rows * (value_columns + 2)


@kernel
def leave_share(share, rows, scratch):
    """Write the sums and statistics of a share of the keys."""
    sums = rows * scratch.value_columns
    copy_row(scratch.accumulated, share, sums, 1.0)
    copy_row(scratch.reference, simd.advance(share, sums), rows, 1.0)
    copy_row(scratch.total, simd.advance(share, sums + rows), rows, 1.0)


@kernel
def merge_shares(shares, splits, rows, scratch):
    """Sum the shares in their order, each times 2^(its reference - the highest), into the scratch."""
    columns = scratch.value_columns
    size, sums = share_elements(rows, columns), rows * columns
    for row in range(rows):
        highest = LOWEST_F32
        for split in range(splits):
            at = simd.load_scalar(simd.advance(shares, split * size + sums + row))
            highest = at if at > highest else highest
        target = simd.advance(scratch.accumulated, row * columns)
        fill_panel(target, columns // LANES, 0.0)
        total = filled(target, 0.0)
        for split in range(splits):
            share = simd.advance(shares, split * size)
            reference = simd.load_scalar(simd.advance(share, sums + row))
            factor = simd.softmax_exp2(filled(target, reference - highest))
            total = simd.fma(factor, simd.load_scalar(simd.advance(share, sums + rows + row)), total)
            for first in range(0, columns, LANES):
                at = simd.advance(target, first)
                part = simd.load(simd.advance(share, row * columns + first), LANES)
                simd.store(at, simd.fma(factor, part, simd.load(at, LANES)))
        simd.store(scratch.vector, total)
        simd.store_scalar(simd.advance(scratch.total, row), simd.load_scalar(scratch.vector))


@kernel
def count_shares(keys, share_keys):
    """Shares of the keys of a sequence; one without keys has one that gives zeros."""
    return max(1, (keys + share_keys - 1) // share_keys)


@kernel
def decode_item(dtype, item, record, layout, shares, finished, scale, softcap, table, scratch):
    """One share of the keys of one key/value head; whoever ends the last share of a head merges them."""
    group_heads = layout[R.HEADS] // layout[R.GROUPS]
    rows = record[R.NEW] * group_heads
    span = span_of(record, layout, record[R.LENGTH] - record[R.NEW])
    share_keys = record[R.SHARE_KEYS]
    splits = count_shares(span.keys, share_keys)
    # Heads side by side: what is fetched behind the end of a page of one head is the next head's.
    split, group = item // layout[R.GROUPS], item % layout[R.GROUPS]
    factor = scale / softcap if softcap > 0 else scale * LOG2_E
    start_rows(record, layout, group, rows, factor, scratch)
    keys, values = keys_of(dtype, record, layout, group), values_of(dtype, record, layout, group)
    end = min((split + 1) * share_keys, span.keys)
    attend_share(split * share_keys, end, rows, table, keys, values, span, record, layout, softcap, scratch)
    fold_statistics(rows, scratch)
    if splits > 1:
        size = share_elements(rows, scratch.value_columns)
        head_shares = simd.advance(simd.pointer(shares), record[R.SHARES_AT] + group * splits * size)
        leave_share(simd.advance(head_shares, split * size), rows, scratch)
        if threads.atomic_add(finished, record[R.FINISHED] + group, 1) < splits - 1:
            return
        merge_shares(head_shares, splits, rows, scratch)
    write_results(record, layout, group, rows, scratch)
