"""Gradients of scaled dot-product attention, with the L x S matrices written out."""

import math
from typing import Any

import numpy as np

from fastcore.reference.attention import attention_weights, modified, per_head, positions, repeat_heads, weigh_values
from fastcore.reference.philox import dropout_mask


def scaled_dot_product_attention_backward(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    lse: Any,
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
    score_mod_grad: Any = None,
    query_offset: Any = 0,
    key_lengths: Any = None,
    seed: int = 0,
    return_grad_mask: bool = False,
    return_grad_sinks: bool = False,
) -> tuple[np.ndarray, ...]:
    """Twin of `fastcore.scaled_dot_product_attention_backward`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    grad_out, out : (..., H, L, Dv); query, key, value : as in `scaled_dot_product_attention`
    lse : (..., H, L), of which only the weights of the sinks are taken: those of the keys are computed anew
    attn_mask, ... : as in the public function

    Returns
    -------
    grad_query, grad_key, grad_value, then if asked for grad_mask and grad_sinks: shapes and dtypes of the arguments
    """
    query, key, value = (np.asarray(x) for x in (query, key, value))
    compute: Any = np.float64 if query.dtype == np.float64 else np.float32
    queries, gradients, results = (np.asarray(x).astype(compute) for x in (query, grad_out, out))
    keys, values = (repeat_heads(x.astype(compute), queries) for x in (key, value))
    scale = 1.0 / np.sqrt(query.shape[-1]) if scale is None else scale
    weights, _, allowed = attention_weights(
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
    factors = _kept_factors(weights, dropout_p, seed)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = np.sum(gradients * results, axis=-1, keepdims=True)
        grad_weights: np.ndarray = gradients @ values.swapaxes(-1, -2)
        slopes = weights * (grad_weights * factors - mean)
        grad_mask = np.where(allowed, slopes, compute(0))
        raw = queries @ keys.swapaxes(-1, -2) * compute(scale)
        derivative = _derivative(raw, softcap, score_mod_grad, positions(raw.shape, query_offset))
        slopes = np.where(allowed, grad_mask * derivative * compute(scale), compute(0))
        dropped = np.where(allowed, weights * factors, compute(0)).astype(compute)
    sums = [
        (weigh_values(slopes, allowed, keys), query),
        (weigh_values(slopes.swapaxes(-1, -2), allowed.swapaxes(-1, -2), queries), key),
        (weigh_values(dropped.swapaxes(-1, -2), allowed.swapaxes(-1, -2), gradients), value),
    ]
    found = [_summed_to(gradient, x.shape).astype(x.dtype) for gradient, x in sums]
    if return_grad_mask:
        mask = np.asarray(attn_mask)
        stretched = _summed_to(grad_mask, (1,) * (grad_mask.ndim - mask.ndim) + mask.shape)
        found.append(stretched.reshape(mask.shape).astype(mask.dtype))
    if return_grad_sinks:
        # A sink has a weight and no value: minus that weight times what the keys' share of the result came to.
        with np.errstate(invalid="ignore"):
            weight = np.exp(per_head(sinks, weights.shape).astype(compute) - np.asarray(lse)[..., None])
        by_row = np.where(weight > 0, -weight * mean, compute(0))
        by_head = np.moveaxis(by_row, -3, -1) if by_row.ndim > 2 else by_row[..., None]
        found.append(by_head.reshape(-1, np.size(sinks)).sum(axis=0).astype(np.asarray(sinks).dtype))
    return tuple(found)


def _derivative(raw: np.ndarray, softcap: float | None, score_mod_grad: Any, position: np.ndarray) -> np.ndarray:
    """How the scores change with the products of queries and keys."""
    derivative, score = np.ones_like(raw), raw
    if softcap is not None:
        capped = np.tanh(raw / raw.dtype.type(softcap))
        derivative, score = 1 - capped * capped, raw.dtype.type(softcap) * capped
    return derivative if score_mod_grad is None else derivative * modified(score, score_mod_grad, position)


def _kept_factors(weights: np.ndarray, dropout_p: float, seed: int) -> np.ndarray:
    """What dropout multiplies each weight with: 0 or 1 / (1 - dropout_p)."""
    if dropout_p == 0.0:
        return np.ones_like(weights)
    *leading, queries, keys = weights.shape
    kept = dropout_mask(1, math.prod(leading), queries, keys, dropout_p, seed).reshape(weights.shape)
    return np.where(kept, 1.0 / np.maximum(1.0 - dropout_p, np.finfo(float).tiny), 0.0).astype(weights.dtype)


def _summed_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over what was stretched: heads that share a key/value head, and axes of size 1."""
    if len(shape) > 2 and 0 < shape[-3] < gradient.shape[-3]:
        shared = (*gradient.shape[:-3], shape[-3], gradient.shape[-3] // shape[-3], *gradient.shape[-2:])
        gradient = gradient.reshape(shared).sum(axis=-3)
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 != gradient.shape[axis])
    return gradient.sum(axis=stretched, keepdims=True)
