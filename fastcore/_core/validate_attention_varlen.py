"""Argument checks of attention over packed sequences."""

from typing import Any

import numpy as np

from fastcore._core import validate, validate_attention


def packed_shapes(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> None:
    """The rules on (total_q, H, D), (total_k, G, D) and (total_k, G, Dv)."""
    got = f"Got query {query.shape}, key {key.shape}, value {value.shape}."
    if not query.ndim == key.ndim == value.ndim == 3:
        raise ValueError(
            "query, key and value must have three axes, (tokens of all sequences, heads, size), without a batch axis."
            f" {got}"
        )
    by_head = (query.swapaxes(0, 1), key.swapaxes(0, 1), value.swapaxes(0, 1))
    if key.shape[0] != value.shape[0]:
        raise ValueError(f"key has {key.shape[0]} tokens and value {value.shape[0]}; they must be equal. {got}")
    validate_attention.attention_sizes(*by_head)
    validate_attention.attention_heads(*by_head)


def sequence_starts(query_starts: Any, key_starts: Any, queries: int, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as (B + 1,) contiguous int64; without `key_starts` one array for both."""
    query_starts = _starts(query_starts, "query_starts", queries, "query")
    if key_starts is None:
        if queries != keys:
            raise ValueError(
                f"key_starts must be given where query and key have different numbers of tokens. Got {queries} tokens"
                f" of query and {keys} of key."
            )
        return query_starts, query_starts
    key_starts = _starts(key_starts, "key_starts", keys, "key")
    if key_starts.size != query_starts.size:
        raise ValueError(
            f"query_starts and key_starts must be of the same sequences. Got {query_starts.size - 1} and"
            f" {key_starts.size - 1} sequences."
        )
    return query_starts, key_starts


def _starts(x: Any, name: str, tokens: int, of: str) -> np.ndarray:
    array = validate.as_native_array(x, name)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"{name} must be (B + 1,): where each of the B sequences starts, and the end. Got shape {array.shape}."
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers. Got {array.dtype}. Pass it with .astype(np.int64).")
    if array[0] != 0:
        raise ValueError(f"{name} must start with 0. Got {array[0]}.")
    if array[-1] != tokens:
        raise ValueError(f"{name} must end with the number of tokens of {of}, {tokens}. Got {array[-1]}.")
    for b in np.flatnonzero(array[1:] < array[:-1])[:1]:
        raise ValueError(f"{name} must not fall. Got {array[b]}, then {array[b + 1]}, at {b} and {b + 1}.")
    return np.require(array, np.int64, ["C", "A"])
