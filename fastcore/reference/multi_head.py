"""Multi-head attention as "Attention Is All You Need" (Vaswani et al. 2017, section 3.2.2) writes it."""

from typing import Any

import numpy as np

from fastcore.reference.attention import attention_weights, scaled_dot_product_attention


def multi_head_attention(
    query: Any,
    key: Any = None,
    value: Any = None,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    q_proj_weight: Any,
    k_proj_weight: Any,
    v_proj_weight: Any,
    out_proj_weight: Any,
    q_proj_bias: Any = None,
    k_proj_bias: Any = None,
    v_proj_bias: Any = None,
    out_proj_bias: Any = None,
    attn_mask: Any = None,
    key_padding_mask: Any = None,
    is_causal: bool = False,
    need_weights: bool = False,
    **options: Any,
) -> Any:
    """Twin of `fastcore.MultiHeadAttention`, as one function of the input and the weights.

    Parameters
    ----------
    query, key, value : (B, L, E), (B, S, Ek), (B, S, Ev), or without B; `key` defaults to query, `value` to key
    q_proj_weight, k_proj_weight, v_proj_weight : (H * D, E), (G * D, Ek), (G * D, Ev); biases (H * D,), ...
    out_proj_weight : (E, H * D); out_proj_bias (E,)
    attn_mask : broadcasts to (B, H, L, S); bool True = takes part, float is added
    key_padding_mask : (B, S) or (S,); bool True = ignored (as in PyTorch), float is added
    options : further ones of `scaled_dot_product_attention`

    Returns
    -------
    (B, L, E) or (L, E); with `need_weights` also the weights of each head (B, H, L, S) or (H, L, S)
    """
    key = query if key is None else key
    value = key if value is None else value
    kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    q = split_heads(project(query, q_proj_weight, q_proj_bias), num_heads)
    k = split_heads(project(key, k_proj_weight, k_proj_bias), kv_heads)
    v = split_heads(project(value, v_proj_weight, v_proj_bias), kv_heads)
    # Unbatched input has three axes after the split, of which the first is heads and not batch.
    batched = np.asarray(query).ndim > 2
    if not batched:
        q, k, v = q[None], k[None], v[None]
    mask = None if attn_mask is None else np.asarray(attn_mask)
    if key_padding_mask is not None:
        mask = combine_masks(mask, np.atleast_2d(key_padding_mask)[:, None, None, :])
    attended = scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, **options)
    joined = np.swapaxes(attended, -3, -2)
    joined = joined.reshape(*joined.shape[:-2], -1)
    out = project(joined, out_proj_weight, out_proj_bias)
    if not need_weights:
        return out if batched else out[0]
    for name in ("dropout_p", "seed"):
        options.pop(name, None)
    weights, _, _ = attention_weights(q, k, mask, is_causal, **options)
    return (out, weights) if batched else (out[0], weights[0])


def project(x: Any, weight: Any, bias: Any) -> np.ndarray:
    """x W^T + b: PyTorch keeps weights as (features out, features in)."""
    y = np.asarray(x) @ np.asarray(weight).T
    return y if bias is None else y + np.asarray(bias)


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """(..., L, H * D) to (..., H, L, D)."""
    return np.swapaxes(x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads), -3, -2)


def combine_masks(attn_mask: np.ndarray | None, padding: np.ndarray) -> np.ndarray:
    """One mask (True = takes part, or added) from such a mask and a padding mask (True = ignored, or added)."""
    if padding.dtype == np.bool_:
        if attn_mask is None:
            return ~padding
        if attn_mask.dtype == np.bool_:
            return attn_mask & ~padding
        return np.where(padding, np.array(-np.inf, attn_mask.dtype), attn_mask)
    if attn_mask is None:
        return padding
    if attn_mask.dtype == np.bool_:
        return np.where(attn_mask, padding, np.array(-np.inf, padding.dtype))
    return attn_mask + padding
