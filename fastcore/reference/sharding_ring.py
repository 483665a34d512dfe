"""Gradients of scaled dot-product attention with the L x S matrices written out."""

from typing import Any

import numpy as np

from fastcore.reference.attention import attention_weights, repeat_heads


def attention_backward(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    query_offset: Any = 0,
    key_lengths: Any = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients by query, key and value of `scaled_dot_product_attention`, unsharded: what rings are judged against.

    Parameters
    ----------
    grad_out : (B, H, L, Dv), the gradient by the result
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv)
    is_causal, scale, query_offset, key_lengths : as in the forward function

    Returns
    -------
    grad_query (B, H, L, D), grad_key (B, G, S, D), grad_value (B, G, S, Dv)
    """
    query, key, value, grad_out = (np.asarray(x) for x in (query, key, value, grad_out))
    scale = 1.0 / np.sqrt(query.shape[-1]) if scale is None else scale
    weights, _, _ = attention_weights(
        query, key, None, is_causal, scale=scale, query_offset=query_offset, key_lengths=key_lengths
    )
    keys, values = repeat_heads(key, query), repeat_heads(value, query)
    grad_weights = grad_out @ values.swapaxes(-1, -2)
    mean = np.sum(weights * grad_weights, axis=-1, keepdims=True)
    grad_scores = (weights * (grad_weights - mean) * weights.dtype.type(scale)).astype(weights.dtype)
    grad_value = weights.swapaxes(-1, -2) @ grad_out
    return grad_scores @ keys, _shared(grad_scores.swapaxes(-1, -2) @ query, key), _shared(grad_value, value)


def _shared(gradients: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Sum over the query heads that share a key/value head."""
    batch, groups, length, size = keys.shape
    return gradients.reshape(batch, groups, gradients.shape[1] // max(groups, 1), length, size).sum(axis=2)
