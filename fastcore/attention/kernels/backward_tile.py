"""One tile of queries against a block of keys, backward.

Source: Dao 2023, "FlashAttention-2", algorithm 2. As in our forward kernel the queries of a tile lie in the vector
lanes and the keys of a block in the rows, so that three of the five products read keys and values in place:

    P^T = exp(scale K Q^T - lse)       dP^T = V dO^T       dS^T = P^T (dP^T - sum(dO O))
    dV += P^T dO                       dK += scale dS^T Q  dQ^T += scale K^T dS^T
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import call_by_address
from fastcore.attention.kernels.backward_panels import add_to_keys, add_to_keys_where_kept, whole_steps
from fastcore.attention.kernels.dropout import drop_weights
from fastcore.attention.kernels.masking import NO_MASK, cap_scores
from fastcore.attention.kernels.modify import modify_scores
from fastcore.attention.kernels.panels import (
    add_values,
    add_values_where_kept,
    copy_panel,
    fill_panel,
    score_keys,
    used_keys,
)
from fastcore.attention.kernels.query_tile import mask_block
from fastcore.attention.kernels.views import Rows


@kernel
def clear_rest(panel, used, keys, width, first):
    """Zeros behind the ``used`` keys of a vector of queries, as far as `add_to_keys` takes them along."""
    zero = filled(panel, 0.0)
    for j in range(used, whole_steps(used, keys)):
        simd.store(simd.advance(panel, j * width + first), zero)


@kernel
def weigh_plain(keys, diagonal, panels):
    """weights <- P^T, slopes <- dS^T from scores and dP^T; both 0 where a score is -inf."""
    tile = panels.tile
    lanes = lanes_of(tile.weights)
    zero = filled(tile.weights, 0.0)
    for first in range(0, tile.width, lanes):
        lse = simd.load(simd.advance(tile.reference, first), lanes)
        delta = simd.load(simd.advance(tile.total, first), lanes)
        used = used_keys(diagonal, keys, tile.width, first, lanes)
        at, slope_at = simd.advance(tile.weights, first), simd.advance(panels.slopes, first)
        for _ in range(used):
            score = simd.load(at, lanes)
            taken = score != -math.inf
            weight = simd.softmax_exp2(score - lse)
            simd.store(at, simd.select(taken, weight, zero))
            slope = weight * (simd.load(slope_at, lanes) - delta)
            simd.store(slope_at, simd.select(taken, slope, zero))
            at, slope_at = simd.advance(at, tile.width), simd.advance(slope_at, tile.width)
        clear_rest(tile.weights, used, keys, tile.width, first)
        clear_rest(panels.slopes, used, keys, tile.width, first)


@kernel
def weigh_changed(keys, diagonal, unit, panels):
    """The same for scores in other units, weights that dropout multiplies by factors, and scores with a derivative."""
    tile = panels.tile
    lanes = lanes_of(tile.weights)
    zero = filled(tile.weights, 0.0)
    for first in range(0, tile.width, lanes):
        lse = simd.load(simd.advance(tile.reference, first), lanes)
        delta = simd.load(simd.advance(tile.total, first), lanes)
        used = used_keys(diagonal, keys, tile.width, first, lanes)
        for j in range(used):
            place = j * tile.width + first
            at, slope_at = simd.advance(tile.weights, place), simd.advance(panels.slopes, place)
            factor = simd.load(simd.advance(panels.factors, place), lanes)
            score = simd.load(at, lanes)
            taken = score != -math.inf
            weight = simd.softmax_exp2((score - lse) * unit)
            simd.store(at, simd.select(taken, weight * factor, zero))
            slope = weight * (simd.load(slope_at, lanes) * factor - delta)
            slope = slope * simd.load(simd.advance(panels.derivative, place), lanes)
            simd.store(slope_at, simd.select(taken, slope, zero))
        clear_rest(tile.weights, used, keys, tile.width, first)
        clear_rest(panels.slopes, used, keys, tile.width, first)


@kernel
def derive_scores(raw, derivative, keys, queries, width, first_position, first_key, scores, score_mod_grad):
    """derivative <- how the scores change with the raw products, in the same units.

    Of the soft cap 1 - tanh(raw)^2, the division by the cap being in the scale of the queries; of the user's function
    what ``score_mod_grad``, the address of its derivative over a panel, makes of the score that it was given.
    """
    lanes = lanes_of(raw)
    vectors = keys * (width // lanes)
    fill_panel(derivative, vectors, 1.0)
    if score_mod_grad != 0:
        copy_panel(raw, derivative, vectors)
        if scores.softcap > 0:
            cap_scores(derivative, vectors, scores.softcap)
        address = simd.address_of(derivative)
        arguments = (address, keys, queries, width, first_position, first_key, scores.batch, scores.head)
        if not call_by_address(score_mod_grad, arguments):  # the function has raised
            fill_panel(derivative, vectors, math.nan)
    if scores.softcap > 0:
        for i in range(vectors):
            capped = simd.tanh(simd.load(simd.advance(raw, i * lanes), lanes))
            at = simd.advance(derivative, i * lanes)
            simd.store(at, simd.load(at, lanes) * simd.fma(-capped, capped, filled(raw, 1.0)))


@kernel
def slopes_of_block(
    first_key, keys, values, size, value_size, rows, bounds, scores, score_mod_grad, mask, dropout, of_mask, tainted,
    panels,
):  # fmt: skip
    """Weights and gradients of the scores of a block; whether some pairs of it may be masked.

    With ``of_mask`` the gradients by what is added to the scores, else by the products of queries and keys. Where the
    inputs are ``tainted``, the masked scores stay in ``panels.tile.mask``.
    """
    tile = panels.tile
    width, count = tile.width, keys.length
    vectors = count * (width // lanes_of(tile.weights))
    diagonal = bounds.first_position + bounds.right - first_key
    score_keys(keys, size, tile.queries, tile.weights, tile.peak, width, diagonal)
    score_keys(values, value_size, panels.grad_out, panels.slopes, tile.peak, width, diagonal)
    changes = scores.softcap > 0 or scores.score_mod != 0
    changed = changes or scores.unit != 1 or dropout.threshold > 0
    if changed:
        fill_panel(panels.factors, vectors, 1.0)
        fill_panel(panels.derivative, vectors, 1.0)
    if changes and not of_mask:
        derive_scores(
            tile.weights, panels.derivative, count, rows, width, bounds.first_position, first_key, scores,
            score_mod_grad,
        )  # fmt: skip
    modify_scores(tile.weights, count, rows, tile.peak, width, bounds.first_position, first_key, diagonal, scores)
    last_key, last_position = first_key + count - 1, bounds.first_position + rows - 1
    bounded = first_key < last_position - bounds.left or last_key > bounds.first_position + bounds.right
    # The user's function may give -inf to what it masks.
    masked = bounded or mask.kind != NO_MASK or scores.score_mod != 0
    if masked:
        mask_block(first_key, count, rows, diagonal, bounds, mask, tile)
        if tainted:
            copy_panel(tile.weights, tile.mask, vectors)
    if dropout.threshold > 0:
        drop_weights(panels.factors, count, width, first_key, dropout)
    if changed:
        weigh_changed(count, diagonal, scores.unit, panels)
    else:
        weigh_plain(count, diagonal, panels)
    return masked


@kernel
def add_products(keys, size, rows, diagonal, sum_row, keys_tainted, rows_tainted, panels):
    """The three products into gradients. Tainted: with NaN or inf, which must not pass a mask as 0 * NaN."""
    tile = panels.tile
    width, count = tile.width, keys.length
    if keys_tainted:
        add_values_where_kept(keys, size, panels.slopes, tile.mask, tile.accumulated, width, diagonal)
    else:
        add_values(keys, size, panels.slopes, tile.accumulated, width, diagonal)
    columns, value_columns = panels.columns, panels.value_columns
    of_keys = simd.advance(panels.grad_keys, sum_row * columns)
    of_values = simd.advance(panels.grad_values, sum_row * value_columns)
    if rows_tainted:
        scores = tile.mask
        add_to_keys_where_kept(panels.slopes, scores, count, rows, width, diagonal, panels.query_rows, columns, of_keys)
        add_to_keys_where_kept(
            tile.weights, scores, count, rows, width, diagonal, panels.grad_out_rows, value_columns, of_values
        )
    else:
        add_to_keys(panels.slopes, count, rows, width, diagonal, panels.query_rows, columns, of_keys)
        add_to_keys(tile.weights, count, rows, width, diagonal, panels.grad_out_rows, value_columns, of_values)


@kernel
def add_mask_gradient(slopes, width, keys, rows, diagonal, target, row_stride, key_stride):
    """target[i, j] += slopes[j, i]; with a stride of 0 they are summed, in this order."""
    lanes = lanes_of(slopes)
    for i in range(rows):
        for j in range(used_keys(diagonal, keys, width, i // lanes * lanes, lanes)):
            at = simd.advance(target, i * row_stride + j * key_stride)
            simd.store_scalar(at, simd.load_scalar(at) + simd.load_scalar(simd.advance(slopes, j * width + i)))


@kernel
def block_rows(rows, first, count):
    """``count`` rows from ``first`` on."""
    return Rows(simd.advance(rows.pointer, first * rows.stride), rows.stride, count)
