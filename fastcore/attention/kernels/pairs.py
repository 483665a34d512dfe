"""The products of flash attention in bfloat16: pairs of numbers in 32-bit lanes, sums in float32.

Scores sum over pairs along D, so the queries of a tile are packed as pairs and those of a key are broadcast straight
from its row. The weighted values sum over pairs of keys: weights are rounded in place, two rows of the panel into one,
and the rows of two values are interleaved for a tile of queries, 1 % of the work of a block. In between the panel of
scores is float32, as in `blocks.FLOAT32`.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import HALF_VECTORS, TILE_VECTORS, lanes_of
from fastcore.attention.kernels.blocks import COLUMNS, padded_columns, put_rows
from fastcore.attention.kernels.panels import (
    add_part,
    add_values_where_kept,
    diagonal_parts,
    pack_rows,
    scale_panel,
    score_keys,
    used_keys,
)
from fastcore.attention.kernels.softmax import LOG2_E, LOWEST_F32, exponentiate
from fastcore.attention.kernels.storage_formats import BF16, VECTOR
from fastcore.attention.kernels.views import Kind, Rows

# Scales beyond are multiplied into the scores: float32 has no room for their inverse times the largest score.
LARGEST_UNIT = 1e20


@kernel
def pairs_at(rows, first):
    """Row ``first`` as pairs, where a row is whole pairs."""
    return simd.cast_pointer(simd.advance(rows.halves, first * rows.stride), simd.u32)


@kernel
def load_bfloats(rows, row, column, size):
    """``COLUMNS`` numbers of a row from ``column`` on as bfloat16, zeros at and past ``size``."""
    if rows.storage == BF16:
        bits = simd.advance(rows.halves, row * rows.stride + column)
        if size - column >= COLUMNS:
            return simd.load(bits, COLUMNS)
        return simd.load_first(bits, COLUMNS, size - column)
    at = simd.advance(rows.floats, row * rows.stride + column)
    if size - column >= COLUMNS:
        return simd.floats_to_bfloats(simd.load(at, VECTOR), simd.load(simd.advance(at, VECTOR), VECTOR))
    low = simd.load_first(at, VECTOR, size - column)
    high = simd.load_first(simd.advance(at, VECTOR), VECTOR, max(size - column - VECTOR, 0))
    return simd.floats_to_bfloats(low, high)


@kernel
def pair_rows(rows, first, count, size, panel):
    """A block of rows as pairs along the row, in place where a row is whole pairs of bfloat16."""
    if rows.storage == BF16 and rows.stride % 2 == 0 and size % 2 == 0:
        return Rows(pairs_at(rows, first), rows.stride // 2, count)
    columns = padded_columns(size)
    target = simd.cast_pointer(panel, simd.u16)
    for i in range(count):
        for j in range(0, size, COLUMNS):
            simd.store(simd.advance(target, i * columns + j), load_bfloats(rows, first + i, j, size))
    return Rows(simd.cast_pointer(panel, simd.u32), columns // 2, count)


@kernel
def interleaved_rows(rows, first, count, size, panel):
    """A block of rows as pairs of rows, side by side number by number; behind an odd last one are zeros."""
    columns = padded_columns(size)
    target = simd.cast_pointer(panel, simd.u16)
    zeros = simd.broadcast(0, COLUMNS, simd.u16)
    for i in range(0, count, 2):
        for j in range(0, size, COLUMNS):
            even = load_bfloats(rows, first + i, j, size)
            odd = load_bfloats(rows, first + i + 1, j, size) if i + 1 < count else zeros
            simd.store(simd.advance(target, i * columns + 2 * j), simd.interleave(even, odd))
    return Rows(simd.cast_pointer(panel, simd.u32), columns, count)


@kernel
def pack_query_pairs(rows, size, factor, scratch):
    """The queries of a tile as pairs along D; they keep their own size, a factor would round them once more."""
    block = pair_rows(rows, 0, rows.length, size, scratch.block_keys)
    pack_rows(block, (size + 1) // 2, simd.cast_pointer(scratch.queries, simd.u32), scratch.width)


@kernel
def pair_unit(scale, softcap, natural):
    """Raw products are the scores where nothing is added to them."""
    if natural or softcap > 0 or not 1.0 / LARGEST_UNIT < scale < LARGEST_UNIT:
        return LOG2_E if natural else 1.0
    return scale * LOG2_E


@kernel
def scale_raw_products(panel, vectors, factor):
    """Scores are their products times the factor that `pack_query_pairs` left out."""
    if factor == 1.0:
        return False
    scale_panel(panel, vectors, factor)
    return True


@kernel
def score_pairs(keys, size, queries, scores, peak, width, diagonal):
    """`score_keys` of pairs."""
    score_keys(keys, (size + 1) // 2, simd.cast_pointer(queries, simd.u32), scores, peak, width, diagonal)


@kernel
def all_pairs_finite(values, size):
    """Whether a block of interleaved rows holds neither NaN nor inf: an exponent of ones."""
    lanes = lanes_of(values.pointer)
    even = simd.broadcast(0x7F80, lanes, simd.u32)
    odd = even << 16
    tainted = even == odd
    for row in range((values.length + 1) // 2):
        at = simd.advance(values.pointer, row * values.stride)
        for first in range(0, size, lanes):
            pairs = simd.load(simd.advance(at, first), lanes)
            tainted = tainted | ((pairs & even) == even) | ((pairs & odd) == odd)
    return not simd.any_lane(tainted)


@kernel
def round_weights(weights, keys, width, diagonal):
    """Two rows of weights into one of pairs, in place; a key that a vector does not use has weight 0."""
    lanes = lanes_of(weights)
    zero = simd.broadcast(0.0, lanes, simd.f32)
    pairs = simd.cast_pointer(weights, simd.u32)
    for first in range(0, width, lanes):
        used = used_keys(diagonal, keys, width, first, lanes)
        for row in range(0, used, 2):
            at = simd.advance(weights, row * width + first)
            even = simd.load(at, lanes)
            odd = simd.load(simd.advance(at, width), lanes) if row + 1 < used else zero
            simd.store(simd.advance(pairs, row // 2 * width + first), simd.floats_to_pairs(even, odd))


@kernel
def exponentiate_pairs(scores, keys, reference, total, width, unit, diagonal, final):
    """`exponentiate`; ``final`` weights are rounded into pairs at once, which saves storing and loading them."""
    if not final:
        exponentiate(scores, keys, reference, total, width, unit, diagonal)
        return
    lanes = lanes_of(scores)
    zero = simd.broadcast(0.0, lanes, simd.f32)
    for first in range(0, width, lanes):
        # Finite, so that -inf minus the reference of a lane that has seen no key is -inf and not NaN.
        shift = simd.maximum(simd.load(simd.advance(reference, first), lanes) * unit, LOWEST_F32)
        used = used_keys(diagonal, keys, width, first, lanes)
        at = simd.advance(scores, first)
        to = simd.cast_pointer(at, simd.u32)
        evens, odds = zero, zero
        for _ in range(used // 2):
            even = simd.softmax_exp2(simd.fma(simd.load(at, lanes), unit, -shift))
            odd = simd.softmax_exp2(simd.fma(simd.load(simd.advance(at, width), lanes), unit, -shift))
            simd.store(to, simd.floats_to_pairs(even, odd))
            evens, odds = evens + even, odds + odd
            at, to = simd.advance(at, 2 * width), simd.advance(to, width)
        if used % 2 == 1:
            even = simd.softmax_exp2(simd.fma(simd.load(at, lanes), unit, -shift))
            simd.store(to, simd.floats_to_pairs(even, zero))
            evens = evens + even
        sums = simd.advance(total, first)
        simd.store(sums, simd.load(sums, lanes) + (evens + odds))


@kernel
def add_value_pairs(values, size, weights, accumulated, width, diagonal, final):
    """`add_values` of interleaved rows; the weights are left as pairs, which ``final`` ones are already."""
    lanes = lanes_of(weights)
    vectors = width // lanes
    if not final:
        round_weights(weights, values.length, width, diagonal)
    pairs = simd.cast_pointer(weights, simd.u32)
    # A pair of keys of which one is beyond a part's end belongs to it: the other's weight is 0 where it is not used.
    half, last = diagonal_parts(diagonal, values.length, width, lanes)
    half, last, end = (half + 1) // 2, (last + 1) // 2, (values.length + 1) // 2
    if half > 0:
        add_part(values, 0, half, size, pairs, accumulated, width, 0, vectors)
    if half < last:
        add_part(values, half, last, size, pairs, accumulated, width, TILE_VECTORS - HALF_VECTORS, HALF_VECTORS)
    if last < end:
        add_part(values, last, end, size, pairs, accumulated, width, TILE_VECTORS - 1, 1)


@kernel
def add_pairs_where_kept(values, size, weights, scores, panel, accumulated, width, diagonal):
    """The same, passing over keys whose score is -inf; the values go through a ``panel`` of float32."""
    lanes = lanes_of(weights)
    columns = padded_columns(size)
    for row in range(values.length):
        source = simd.advance(values.pointer, row // 2 * values.stride)
        for first in range(0, size, lanes):
            pairs = simd.load(simd.advance(source, first), lanes)
            bits = pairs << 16 if row % 2 == 0 else pairs & 0xFFFF0000
            simd.store(simd.advance(panel, row * columns + first), simd.bitcast(bits, simd.f32))
    rows = Rows(panel, columns, values.length)
    add_values_where_kept(rows, size, weights, scores, accumulated, width, diagonal)


@kernel
def pair_columns(size, value_size, storage):
    """Numbers of a row in the panels of a block."""
    return padded_columns(max(size, value_size))


BFLOAT_PAIRS = Kind(
    columns=pair_columns,
    unit_of=pair_unit,
    pack_queries=pack_query_pairs,
    scale_products=scale_raw_products,
    load_keys=pair_rows,
    load_values=interleaved_rows,
    score_keys=score_pairs,
    all_finite=all_pairs_finite,
    exponentiate=exponentiate_pairs,
    add_values=add_value_pairs,
    add_values_where_kept=add_pairs_where_kept,
    put_rows=put_rows,
)
