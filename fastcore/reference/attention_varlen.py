"""Attention over packed sequences: each is a row of a padded batch."""

import itertools
from typing import Any

import numpy as np

from fastcore.reference.attention import scaled_dot_product_attention
from fastcore.reference.attention_backward import scaled_dot_product_attention_backward


def scaled_dot_product_attention_varlen(
    query: Any,
    key: Any,
    value: Any,
    query_starts: Any,
    key_starts: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    return_lse: bool = False,
    out: np.ndarray | None = None,
    **options: Any,
) -> Any:
    """Twin of `fastcore.scaled_dot_product_attention_varlen`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    query, key, value : (total_q, H, D), (total_k, G, D), (total_k, G, Dv)
    query_starts, key_starts : (B + 1,) ints
    options : as in the public function

    Returns
    -------
    (total_q, H, Dv), dtype of query; with `return_lse` also the natural-log lse (H, total_q)
    """
    key_starts = query_starts if key_starts is None else key_starts
    padded, lse = scaled_dot_product_attention(
        pad_sequences(query, query_starts), pad_sequences(key, key_starts), pad_sequences(value, key_starts), None,
        dropout_p, is_causal, key_lengths=np.diff(key_starts), return_lse=True, **options,
    )  # fmt: skip
    result = pack_sequences(padded, query_starts)
    if out is not None:
        out[...] = result
        result = out
    return (result, pack_sequences(lse[..., None], query_starts)[..., 0].T) if return_lse else result


def pad_sequences(packed: Any, starts: Any) -> np.ndarray:
    """(total, H, D) as (B, H, longest, D), zeros behind the end of a sequence."""
    packed = np.asarray(packed)
    sequences = [packed[first:end] for first, end in itertools.pairwise(starts)]
    longest = max((len(rows) for rows in sequences), default=0)
    padded = np.zeros((len(sequences), longest, *packed.shape[1:]), packed.dtype)
    for row, rows in zip(padded, sequences, strict=True):
        row[: len(rows)] = rows
    return padded.swapaxes(1, 2)


def pack_sequences(padded: np.ndarray, starts: Any) -> np.ndarray:
    """(B, H, longest, D) as (total, H, D)."""
    rows = [x.swapaxes(0, 1)[:length] for x, length in zip(padded, np.diff(starts), strict=True)]
    return np.concatenate([padded[:0].reshape(0, padded.shape[1], padded.shape[3]), *rows])


def scaled_dot_product_attention_varlen_backward(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    lse: Any,
    query_starts: Any,
    key_starts: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> tuple[np.ndarray, ...]:
    """Twin of `fastcore.scaled_dot_product_attention_varlen_backward`.

    Parameters
    ----------
    grad_out, out : (total_q, H, Dv); lse : (H, total_q), not looked at; query, ... : as in the forward twin

    Returns
    -------
    grad_query, grad_key, grad_value : shapes and dtypes of query, key and value
    """
    key_starts = query_starts if key_starts is None else key_starts
    gradients = scaled_dot_product_attention_backward(
        pad_sequences(grad_out, query_starts), pad_sequences(query, query_starts), pad_sequences(key, key_starts),
        pad_sequences(value, key_starts), pad_sequences(out, query_starts), None, None, dropout_p, is_causal,
        key_lengths=np.diff(key_starts), **options,
    )  # fmt: skip
    starts = (query_starts, key_starts, key_starts)
    return tuple(pack_sequences(x, at) for x, at in zip(gradients, starts, strict=True))
