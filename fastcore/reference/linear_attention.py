"""Linear attention and its gradients, with the L x S weights written out.

Axes: B batch, H query heads, G key/value heads, L queries, S keys, D head size, Dv value size.
"""

from typing import Any

import numpy as np

from fastcore.reference.attention import repeat_heads, weigh_values


def linear_attention(
    query: Any,
    key: Any,
    value: Any,
    is_causal: bool = False,
    *,
    feature_map: str = "elu",
    normalize: bool = True,
    scale: float = 1.0,
    initial_state: Any = None,
    return_state: bool = False,
    out: np.ndarray | None = None,
) -> Any:
    """Twin of `fastcore.linear_attention`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    query, key, value : (..., H, L, D), (..., G, S, D), (..., G, S, Dv), or (N, L, D) and so on, or (L, D) and so on
    is_causal, ... : as in the public function

    Returns
    -------
    (..., H, L, Dv), dtype of query; with `return_state` also the state, ((..., G, D, Dv), (..., G, D))
    """
    dtype = np.asarray(query).dtype
    queries, keys, values = _computed(query, key, value)
    queries, keys = mapped(queries, feature_map), mapped(keys, feature_map)
    state, sums = _state(initial_state, keys, values)
    weights, seen = _weights(queries, keys, is_causal)
    result = weigh_values(weights, seen, repeat_heads(values, queries)) + queries @ repeat_heads(state, queries)
    total = weights.sum(axis=-1, keepdims=True) + queries @ repeat_heads(sums, queries)
    result = (over(result, total) if normalize else result * queries.dtype.type(scale)).astype(dtype)
    if out is not None:
        out[...] = result
        result = out
    if not return_state:
        return result
    transposed = np.swapaxes(keys, -1, -2)
    return result, (state + transposed @ values, (sums + transposed.sum(axis=-1, keepdims=True))[..., 0])


def linear_attention_backward(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    is_causal: bool = False,
    *,
    feature_map: str = "elu",
    normalize: bool = True,
    scale: float = 1.0,
    initial_state: Any = None,
    grad_state: Any = None,
    return_grad_state: bool = False,
) -> Any:
    """Twin of `fastcore.linear_attention_backward`.

    Returns
    -------
    grad_query, grad_key, grad_value: as query, key and value; with `return_grad_state` also that of the initial state
    """
    dtype = np.asarray(query).dtype
    query, key, values, grad_out = _computed(query, key, value, grad_out)
    queries, keys = mapped(query, feature_map), mapped(key, feature_map)
    state, sums = _state(initial_state, keys, values)
    weights, seen = _weights(queries, keys, is_causal)
    every_key, every_value = repeat_heads(keys, queries), repeat_heads(values, queries)
    # numerator and total are linear in queries, keys and values; out = numerator / total
    if normalize:
        total = weights.sum(axis=-1, keepdims=True) + queries @ repeat_heads(sums, queries)
        numerator = weigh_values(weights, seen, every_value) + queries @ repeat_heads(state, queries)
        by_numerator = over(grad_out, total)
        by_total = -over((by_numerator * numerator).sum(axis=-1, keepdims=True), total)
    else:
        by_numerator, by_total = grad_out * queries.dtype.type(scale), np.zeros((*grad_out.shape[:-1], 1), query.dtype)
    by_weights = np.where(seen, by_numerator @ np.swapaxes(every_value, -1, -2) + by_total, 0.0)
    grad_query = (
        weigh_values(by_weights, seen, every_key)
        + by_numerator @ np.swapaxes(repeat_heads(state, queries), -1, -2)
        + by_total * np.swapaxes(repeat_heads(sums, queries), -1, -2)
    )
    swapped = np.swapaxes(seen, -1, -2)
    grad_key = weigh_values(np.swapaxes(by_weights, -1, -2), swapped, queries)
    grad_value = weigh_values(np.swapaxes(weights, -1, -2), swapped, by_numerator)
    grad_key, grad_value = _shared(grad_key, keys), _shared(grad_value, values)
    transposed = np.swapaxes(queries, -1, -2)
    by_state, by_sums = _shared(transposed @ by_numerator, state), _shared(transposed @ by_total, sums)
    if grad_state is not None:
        more, more_sums = _state(grad_state, keys, values)
        grad_key = grad_key + values @ np.swapaxes(more, -1, -2) + np.swapaxes(more_sums, -1, -2)
        grad_value = grad_value + keys @ more
        by_state, by_sums = by_state + more, by_sums + more_sums
    results = (
        (grad_query * slope(query, feature_map)).astype(dtype),
        (grad_key * slope(key, feature_map)).astype(dtype),
        grad_value.astype(dtype),
    )
    return (*results, (by_state, by_sums[..., 0])) if return_grad_state else results


def mapped(x: np.ndarray, feature_map: str) -> np.ndarray:
    """phi(x): elu(x) + 1, relu(x) or x."""
    if feature_map == "elu":
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
    return np.maximum(x, 0) if feature_map == "relu" else x


def slope(x: np.ndarray, feature_map: str) -> np.ndarray:
    """The derivative of phi; that of relu at 0 is 0."""
    if feature_map == "elu":
        return np.where(x > 0, 1, np.exp(np.minimum(x, 0)))
    return (x > 0).astype(x.dtype) if feature_map == "relu" else np.ones_like(x)


def over(x: np.ndarray, total: np.ndarray) -> np.ndarray:
    """x / total, 0 where the total is 0."""
    return np.where(total == 0, 0, x / np.where(total == 0, 1, total))


def _computed(*arrays: Any) -> list[np.ndarray]:
    compute = np.float64 if np.asarray(arrays[0]).dtype == np.float64 else np.float32
    return [np.asarray(x).astype(compute) for x in arrays]


def _state(given: Any, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of key times value (..., G, D, Dv) and of keys (..., G, D, 1) to begin with."""
    shape = (*keys.shape[:-2], keys.shape[-1])
    if given is None:
        return np.zeros((*shape, values.shape[-1]), keys.dtype), np.zeros((*shape, 1), keys.dtype)
    return np.asarray(given[0]).astype(keys.dtype), np.asarray(given[1]).astype(keys.dtype)[..., None]


def _weights(queries: np.ndarray, keys: np.ndarray, is_causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """phi(Q) phi(K)^T (..., H, L, S), 0 where a query does not see a key, and which it sees."""
    weights = queries @ np.swapaxes(repeat_heads(keys, queries), -1, -2)
    seen = np.ones(weights.shape, bool)
    if is_causal:
        seen &= np.arange(weights.shape[-1]) <= np.arange(weights.shape[-2])[:, None]
    return np.where(seen, weights, 0), seen


def _shared(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The sum over query heads that share a key/value head."""
    if x.shape == like.shape:
        return x
    return x.reshape(*like.shape[:-2], x.shape[-3] // like.shape[-3], *like.shape[-2:]).sum(axis=-3)
