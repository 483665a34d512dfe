"""Scaled dot-product attention and the merging of partial results, with the L x S matrix written out.

Axes: B batch, H query heads, G key/value heads, L queries, S keys, D head size, Dv value size.
"""

import math
from typing import Any

import numpy as np

from fastcore.reference.philox import dropout_mask


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool | None = None,
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: Any = None,
    sinks: Any = None,
    block_mask: Any = None,
    score_mod: Any = None,
    query_offset: Any = 0,
    key_lengths: Any = None,
    return_lse: bool = False,
    out: np.ndarray | None = None,
    seed: int = 0,
    precision: str = "highest",
) -> Any:
    """Twin of `fastcore.scaled_dot_product_attention`; float64 in gives float64 throughout, all else float32.

    Whatever the `precision`: what bfloat16 loses is judged against this.

    Parameters
    ----------
    query, key, value : (..., H, L, D), (..., G, S, D), (..., G, S, Dv), or (N, L, D) and so on, or (L, D) and so on
    attn_mask, ... : as in the public function

    Returns
    -------
    (..., H, L, Dv), dtype of query; with `return_lse` also the natural-log lse (..., H, L)
    """
    dtype = np.asarray(query).dtype
    weights, lse, allowed = attention_weights(
        query,
        key,
        attn_mask,
        is_causal,
        scale=scale,
        window=window,
        softcap=softcap,
        alibi_slopes=alibi_slopes,
        sinks=sinks,
        block_mask=block_mask,
        score_mod=score_mod,
        query_offset=query_offset,
        key_lengths=key_lengths,
    )
    if dropout_p > 0.0:
        *leading, queries, keys = weights.shape
        kept = dropout_mask(1, math.prod(leading), queries, keys, dropout_p, seed).reshape(weights.shape)
        weights = np.where(kept, weights / np.maximum(1.0 - dropout_p, np.finfo(float).tiny), 0.0).astype(weights.dtype)
    values = repeat_heads(np.asarray(value).astype(weights.dtype), weights)
    result = weigh_values(weights, allowed, values).astype(dtype)
    if out is not None:
        out[...] = result
        result = out
    return (result, lse) if return_lse else result


def attention_weights(
    query: Any,
    key: Any,
    attn_mask: Any = None,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: Any = None,
    sinks: Any = None,
    block_mask: Any = None,
    score_mod: Any = None,
    query_offset: Any = 0,
    key_lengths: Any = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The softmax weights (..., H, L, S), their log-sum-exp (..., H, L) and which pairs took part (..., H, L, S)."""
    compute = np.float64 if np.asarray(query).dtype == np.float64 else np.float32
    queries = np.asarray(query).astype(compute)
    keys = repeat_heads(np.asarray(key).astype(compute), queries)
    scale = 1.0 / np.sqrt(queries.shape[-1]) if scale is None else scale

    with np.errstate(invalid="ignore", over="ignore"):
        scores = queries @ np.swapaxes(keys, -1, -2) * compute(scale)
        if softcap is not None:
            scores = compute(softcap) * np.tanh(scores / compute(softcap))
        position = positions(scores.shape, query_offset)
        allowed = allowed_by_position(scores.shape, is_causal, window, query_offset, key_lengths)
        if score_mod is not None:
            scores = modified(scores, score_mod, position)
            allowed = allowed & (scores != -np.inf)
        if alibi_slopes is not None:
            distance = np.abs(position - np.arange(scores.shape[-1])).astype(compute)
            scores = scores - per_head(alibi_slopes, scores.shape).astype(compute) * distance
        if block_mask is not None:
            allowed = allowed & elements_of_blocks(block_mask, scores.shape)
        if attn_mask is not None:
            mask = np.asarray(attn_mask)
            if mask.dtype == np.bool_:
                allowed = allowed & mask
            else:
                scores = scores + mask.astype(compute)
                allowed = allowed & (mask != -np.inf)
        # Not by adding -inf: a NaN score in a masked place has to vanish too.
        scores = np.where(allowed, scores, -np.inf)

        highest = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
        if sinks is not None:
            sink: Any = per_head(sinks, scores.shape).astype(compute)
            highest = np.maximum(highest, sink)
        shift = np.where(highest == -np.inf, 0.0, highest).astype(compute)
        weights = np.exp(scores - shift)
        total = np.sum(weights, axis=-1, keepdims=True)
        if sinks is not None:
            total = total + np.exp(sink - shift)
    with np.errstate(divide="ignore"):
        lse = (highest + np.log(total))[..., 0]
    return weights / np.where(total == 0.0, 1.0, total).astype(compute), lse, allowed


def repeat_heads(keys: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Grouped queries: repeat each of the G key/value heads H / G times, next to each other."""
    if keys.ndim < 3 or not 0 < keys.shape[-3] < queries.shape[-3]:
        return keys
    return np.repeat(keys, queries.shape[-3] // keys.shape[-3], axis=-3)


def positions(shape: tuple[int, ...], query_offset: Any) -> np.ndarray:
    """Position of each query, query_offset[b] + i, to broadcast with scores of shape (..., H, L, S), (N, L, S), ..."""
    return per_batch(query_offset, shape) + np.arange(shape[-2])[:, None]


def modified(scores: np.ndarray, score_mod: Any, position: np.ndarray) -> np.ndarray:
    """score_mod(score, b, h, position, j) of each score of (..., H, L, S), (N, L, S) or (L, S)."""
    heads = scores.shape[-3] if scores.ndim > 3 else 1
    number = np.arange(math.prod(scores.shape[:-2])).reshape(*scores.shape[:-2], 1, 1)
    function = np.vectorize(score_mod, otypes=[scores.dtype])
    return function(scores, number // heads, number % heads, position, np.arange(scores.shape[-1]))


def per_batch(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A number for each sequence, or one for all, to broadcast with scores of this shape."""
    batch_shape = shape[:-3] if len(shape) > 3 else shape[:-2]
    spread = np.broadcast_to(np.asarray(x, np.int64), (math.prod(batch_shape),))
    return spread.reshape(batch_shape + (1,) * (len(shape) - len(batch_shape)))


def per_head(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(H,) or (B, H) numbers, to broadcast with scores of this shape; H = 1 where they have no axis of heads."""
    x = np.asarray(x)
    if x.ndim == 2:
        return x.reshape(*shape[:-2], 1, 1)
    return x[:, None, None] if len(shape) > 2 else x[:, None]


def elements_of_blocks(block_mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of 64 x 64 blocks as one of elements, of this shape."""
    *leading, queries, keys = shape
    blocks = np.broadcast_to(block_mask, (*leading, -(-queries // 64), -(-keys // 64)))
    return blocks.repeat(64, axis=-2).repeat(64, axis=-1)[..., :queries, :keys]


def allowed_by_position(
    shape: tuple[int, ...], is_causal: bool, window: Any, query_offset: Any, key_lengths: Any
) -> np.ndarray:
    """Which (query, key) pairs the positions admit, in the shape of the scores: (..., H, L, S), (N, L, S) or (L, S).

    Query i of batch b sits at position p = query_offset[b] + i. Key j takes part iff p - left <= j <= p + right,
    j <= p when causal, and j < key_lengths[b].
    """
    # Beyond 2**60 a bound is open; it has to fit into int64 together with a position.
    left, right = (None if bound is None else min(bound, 1 << 60) for bound in window or (None, None))
    position = positions(shape, query_offset)
    j = np.arange(shape[-1])
    allowed = np.ones(shape, bool)
    if is_causal:
        allowed &= j <= position
    if left is not None:
        allowed &= j >= position - left
    if right is not None:
        allowed &= j <= position + right
    if key_lengths is not None:
        allowed &= j < per_batch(key_lengths, shape)
    return allowed


def weigh_values(weights: np.ndarray, allowed: np.ndarray, values: np.ndarray) -> np.ndarray:
    """weights @ values, where a NaN or inf in a value reaches only the queries that may look at it."""
    finite = np.isfinite(values)
    result = weights @ np.where(finite, values, 0.0)
    others = np.where(finite, 0.0, values)
    for j in np.flatnonzero(~finite.all(axis=(*range(values.ndim - 2), -1))):
        with np.errstate(invalid="ignore"):
            term = weights[..., j, None] * others[..., j, None, :]
        result = result + np.where(allowed[..., j, None], term, 0.0)
    return result


def merge_attention_states(out_a: Any, lse_a: Any, out_b: Any, lse_b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `fastcore.merge_attention_states`: attention over two sets of keys from the results over each.

    Parameters
    ----------
    out_a, out_b : (..., L, Dv)
    lse_a, lse_b : (..., L), natural log; -inf marks a row without keys, whose `out` is not looked at

    Returns
    -------
    out (..., L, Dv) in the dtype of out_a, lse (..., L)
    """
    dtype = np.asarray(out_a).dtype
    compute = np.float64 if dtype == np.float64 else np.float32
    lse_a, lse_b = np.asarray(lse_a).astype(compute), np.asarray(lse_b).astype(compute)
    highest = np.maximum(lse_a, lse_b)
    shift = np.where(highest == -np.inf, 0.0, highest).astype(compute)
    with np.errstate(invalid="ignore"):
        weight_a, weight_b = np.exp(lse_a - shift), np.exp(lse_b - shift)
    total = weight_a + weight_b
    with np.errstate(divide="ignore"):
        lse = shift + np.log(total)
    total = np.where(total == 0.0, 1.0, total).astype(compute)

    def part(out: Any, weight: np.ndarray) -> np.ndarray:
        share = (weight / total)[..., None]
        with np.errstate(invalid="ignore"):
            return np.where(share == 0.0, 0.0, share * np.asarray(out).astype(compute))

    return (part(out_a, weight_a) + part(out_b, weight_b)).astype(dtype), lse
