"""One tile of queries against all of its keys: the body of flash attention, forward.

Source: Dao 2023, "FlashAttention-2", algorithm 1, with the roles of rows and columns exchanged: the queries of a tile
lie in the vector lanes and the keys of a block in the rows, so S^T = K Q^T and O^T += V^T P^T read K and V element by
element as they lie in memory, and the softmax needs no reduction across lanes.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import lanes_of
from fastcore.attention.kernels.dropout import drop_weights
from fastcore.attention.kernels.masking import (
    BLOCK_KEYS,
    NO_MASK,
    add_mask_panel,
    bound_scores,
    expand_mask,
)
from fastcore.attention.kernels.modify import modify_scores
from fastcore.attention.kernels.panels import copy_panel, fill_panel
from fastcore.attention.kernels.softmax import LOG2_E, normalise, raise_reference


@kernel
def product_factor(scores):
    """What the products of queries and keys are multiplied with: all that needs nothing but a factor."""
    return scores.scale / scores.softcap if scores.softcap > 0 else scores.scale * LOG2_E / scores.unit


@kernel
def start_tile(kind, queries, size, value_size, scores, scratch):
    """Pack the scaled queries and reset the sums. The scale takes in what else can be multiplied beforehand.

    A sink is the first of the summed weights: 1 relative to itself.
    """
    width = scratch.width
    vectors = width // lanes_of(scratch.total)
    kind.pack_queries(queries, size, product_factor(scores), scratch)
    fill_panel(scratch.reference, vectors, max(scores.sink * LOG2_E / scores.unit, scores.lowest))
    fill_panel(scratch.total, vectors, 1.0 if scores.sink > -math.inf else 0.0)
    fill_panel(scratch.accumulated, value_size * vectors, 0.0)


@kernel
def mask_block(first_key, count, rows, diagonal, bounds, mask, scratch):
    """Mask the scores of a block, -inf where a key does not take part, and find their peak."""
    width = scratch.width
    vectors = count * (width // lanes_of(scratch.weights))
    if mask.kind != NO_MASK:
        expand_mask(mask, first_key, rows, count, scratch.mask, scratch.mask_rows, width)
        add_mask_panel(scratch.weights, scratch.mask, vectors)
    lowest = bounds.first_position - bounds.left - first_key
    bound_scores(scratch.weights, count, scratch.peak, width, lowest, diagonal)


@kernel
def attend_block(
    kind, first_key, keys, values, size, value_size, rows, bounded, bounds, scores, mask, dropout, scratch
):  # fmt: skip
    """One block of keys: changed and masked scores, weights, and the weighted values added to the accumulated ones."""
    width = scratch.width
    count = keys.length
    diagonal = bounds.first_position + bounds.right - first_key
    vectors = width // lanes_of(scratch.peak)
    fill_panel(scratch.peak, vectors, -math.inf)
    kind.score_keys(keys, size, scratch.queries, scratch.weights, scratch.peak, width, diagonal)
    scaled = kind.scale_products(scratch.weights, count * vectors, product_factor(scores))
    modify_scores(scratch.weights, count, rows, scratch.peak, width, bounds.first_position, first_key, diagonal, scores)
    guarded = False
    if bounded or scaled or scores.softcap > 0 or scores.score_mod != 0 or mask.kind != NO_MASK:
        mask_block(first_key, count, rows, diagonal, bounds, mask, scratch)
        # Weight 0 times a NaN would be NaN: values behind a mask are looked at, 2 % of the work of the block.
        guarded = not kind.all_finite(values, value_size)
        if guarded:
            copy_panel(scratch.weights, scratch.mask, count * vectors)
    raise_reference(scratch.peak, scratch.reference, scratch.total, scratch.accumulated, value_size, width, scores.unit)
    # Weights that nothing else changes may be rounded on the way.
    final = not guarded and dropout.threshold == 0
    kind.exponentiate(scratch.weights, count, scratch.reference, scratch.total, width, scores.unit, diagonal, final)
    if dropout.threshold > 0:
        drop_weights(scratch.weights, count, width, first_key, dropout)
    if guarded:
        kind.add_values_where_kept(
            values, value_size, scratch.weights, scratch.mask, scratch.block_keys, scratch.accumulated, width, diagonal
        )
    else:
        kind.add_values(values, value_size, scratch.weights, scratch.accumulated, width, diagonal, final)


@kernel
def is_empty(blocks, first_key):
    """Whether the block mask leaves out the block of keys from ``first_key`` on."""
    place = first_key // BLOCK_KEYS * blocks.stride
    return blocks.address != 0 and simd.load_scalar(simd.advance(blocks.kept, place)) == 0


@kernel
def attend_tile(kind, queries, keys, values, out, size, value_size, bounds, scores, mask, blocks, dropout, scratch):
    """Attend the queries of a tile to their keys; the natural log-sum-exps are left in ``scratch.total``."""
    start_tile(kind, queries, size, value_size, scores, scratch)
    rows = queries.length
    last_position = bounds.first_position + rows - 1
    begin = max(0, bounds.first_position - bounds.left) // BLOCK_KEYS * BLOCK_KEYS
    end = min(keys.length, last_position + bounds.right + 1)
    for first_key in range(begin, end, BLOCK_KEYS):
        if is_empty(blocks, first_key):
            continue
        count = min(BLOCK_KEYS, end - first_key)
        last_key = first_key + count - 1
        bounded = first_key < last_position - bounds.left or last_key > bounds.first_position + bounds.right
        block_keys = kind.load_keys(keys, first_key, count, size, scratch.block_keys)
        block_values = kind.load_values(values, first_key, count, value_size, scratch.block_values)
        attend_block(
            kind, first_key, block_keys, block_values, size, value_size, rows, bounded, bounds, scores, mask, dropout,
            scratch,
        )  # fmt: skip
    normalise(scratch.accumulated, value_size, scratch.reference, scratch.total, scratch.width, scores.unit)
    kind.put_rows(scratch, value_size, out)
