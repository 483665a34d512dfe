"""Blocks of rows as the products of flash attention take them: float rows in place, half precision converted.

A block of keys or values is converted once for a tile of queries, into panels of the thread's scratch memory; queries
are converted as they are packed and results rounded as they are written. Nothing is ever copied as a whole.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import lanes_of
from fastcore.attention.kernels.masking import all_finite
from fastcore.attention.kernels.panels import (
    add_values,
    add_values_where_kept,
    pack_rows,
    scale_panel,
    score_keys,
    write_rows,
)
from fastcore.attention.kernels.softmax import LOG2_E, exponentiate
from fastcore.attention.kernels.storage_formats import F16, F32, VECTOR
from fastcore.attention.kernels.views import Kind, Rows

# Rows of a panel are a multiple of this long: a vector of 32 bfloat16.
COLUMNS = 32


@kernel
def padded_columns(size):
    """Numbers of a row in a panel."""
    return (size + COLUMNS - 1) // COLUMNS * COLUMNS


@kernel
def in_place(rows, first, count):
    """Float rows where they lie."""
    return Rows(simd.advance(rows.floats, first * rows.stride), rows.stride, count)


@kernel
def as_floats(bits, storage):
    """A vector of half precision, exactly."""
    return simd.half_to_float(bits) if storage == F16 else simd.bfloat_to_float(bits)


@kernel
def convert_rows(rows, first, count, size, panel, columns):
    """panel[i] = rows[first + i] in float32, with zeros behind its ``size`` numbers up to a vector's end."""
    whole = size // VECTOR * VECTOR
    for i in range(count):
        source = simd.advance(rows.halves, (first + i) * rows.stride)
        target = simd.advance(panel, i * columns)
        for j in range(0, whole, VECTOR):
            simd.store(simd.advance(target, j), as_floats(simd.load(simd.advance(source, j), VECTOR), rows.storage))
        if whole < size:
            rest = simd.load_first(simd.advance(source, whole), VECTOR, size - whole)
            simd.store(simd.advance(target, whole), as_floats(rest, rows.storage))


@kernel
def round_rows(panel, columns, size, rows):
    """rows[i] = panel[i], rounded to half precision."""
    for i in range(rows.length):
        target = simd.advance(rows.halves, i * rows.stride)
        for j in range(0, size, VECTOR):
            numbers = simd.load(simd.advance(panel, i * columns + j), VECTOR)
            bits = simd.float_to_half(numbers) if rows.storage == F16 else simd.float_to_bfloat(numbers)
            simd.store_first(simd.advance(target, j), bits, size - j)


@kernel
def float_rows(rows, first, count, size, panel):
    """A block of rows in float32, in place or converted into ``panel``."""
    if rows.storage == F32:
        return in_place(rows, first, count)
    columns = padded_columns(size)
    convert_rows(rows, first, count, size, panel, columns)
    return Rows(panel, columns, count)


@kernel
def pack_queries(rows, size, factor, scratch):
    """The queries of a tile, times ``factor``, into its panel."""
    block = float_rows(rows, 0, rows.length, size, scratch.block_keys)
    pack_rows(block, size, scratch.queries, scratch.width)
    scale_panel(scratch.queries, size * (scratch.width // lanes_of(scratch.queries)), factor)


@kernel
def put_rows(scratch, size, rows):
    """Write the result of a tile."""
    if rows.storage == F32:
        write_rows(scratch.accumulated, scratch.width, size, in_place(rows, 0, rows.length))
        return
    columns = padded_columns(size)
    write_rows(scratch.accumulated, scratch.width, size, Rows(scratch.block_values, columns, rows.length))
    round_rows(scratch.block_values, columns, size, rows)


@kernel
def float_columns(size, value_size, storage):
    """Numbers of a row in the panels of a block; none where rows are read in place."""
    return 0 if storage == F32 else padded_columns(max(size, value_size))


@kernel
def float_unit(scale, softcap, natural):
    """Scores are scaled by log2(e) with the queries, unless something natural is added to them."""
    return LOG2_E if natural else 1.0


@kernel
def nothing_left(panel, vectors, factor):
    """The queries took the whole factor."""
    return False


@kernel
def exponentiate_floats(scores, keys, reference, total, width, unit, diagonal, final):
    """`exponentiate`, whether or not the weights are ``final``."""
    exponentiate(scores, keys, reference, total, width, unit, diagonal)


@kernel
def add_floats(values, size, weights, accumulated, width, diagonal, final):
    """`add_values`, likewise."""
    add_values(values, size, weights, accumulated, width, diagonal)


@kernel
def add_floats_where_kept(values, size, weights, scores, panel, accumulated, width, diagonal):
    """`add_values_where_kept`, which needs no panel."""
    add_values_where_kept(values, size, weights, scores, accumulated, width, diagonal)


@kernel
def float64_rows(rows, first, count, size, panel):
    """A block of float64 rows."""
    return in_place(rows, first, count)


@kernel
def pack_float64_queries(rows, size, factor, scratch):
    """`pack_queries` in float64."""
    pack_rows(in_place(rows, 0, rows.length), size, scratch.queries, scratch.width)
    scale_panel(scratch.queries, size * (scratch.width // lanes_of(scratch.queries)), factor)


@kernel
def put_float64_rows(scratch, size, rows):
    """`put_rows` in float64."""
    write_rows(scratch.accumulated, scratch.width, size, in_place(rows, 0, rows.length))


@kernel
def no_columns(size, value_size, storage):
    """float64 is always read in place."""
    return 0


FLOAT32 = Kind(
    columns=float_columns,
    unit_of=float_unit,
    pack_queries=pack_queries,
    scale_products=nothing_left,
    load_keys=float_rows,
    load_values=float_rows,
    score_keys=score_keys,
    all_finite=all_finite,
    exponentiate=exponentiate_floats,
    add_values=add_floats,
    add_values_where_kept=add_floats_where_kept,
    put_rows=put_rows,
)
FLOAT64 = FLOAT32._replace(
    columns=no_columns,
    pack_queries=pack_float64_queries,
    load_keys=float64_rows,
    load_values=float64_rows,
    put_rows=put_float64_rows,
)
