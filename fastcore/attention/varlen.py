"""`scaled_dot_product_attention_varlen`: attention over packed sequences of any lengths, without padding."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_attention, validate_attention_varlen
from fastcore.attention.kernels.halves import kernel_view, multiplies_bfloat, storage_of
from fastcore.attention.kernels.packed import attend_packed
from fastcore.attention.layout import Layout
from fastcore.attention.score_changes import score_changes


def scaled_dot_product_attention_varlen(
    query: Any,
    key: Any,
    value: Any,
    query_starts: Any,
    key_starts: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: Any = None,
    sinks: Any = None,
    score_mod: Any = None,
    query_offset: Any = 0,
    return_lse: bool = False,
    out: np.ndarray | None = None,
    seed: int = 0,
    precision: str = "highest",
) -> Any:
    """`scaled_dot_product_attention` of each of B sequences whose tokens lie one behind the other.

    Sequence b gives what row b of a padded batch would give, at the cost of its own tokens.
    Axes: B sequences, H query heads, G key/value heads (H % G == 0), D head size, Dv value size.

    Parameters
    ----------
    query, key, value : (total_q, H, D), (total_k, G, D), (total_k, G, Dv), all float32, float64, float16 or bfloat16
        The tokens of all sequences. Read in place whatever the strides, e.g. qkv[:, 0] of a (total, 3, H, D) array, as
        long as the last axis is contiguous; else copied.
    query_starts : (B + 1,) ints
        Sequence b has the tokens [query_starts[b], query_starts[b + 1]) of query: first 0, last total_q, never
        falling. flash-attention's `cu_seqlens_q`.
    key_starts : (B + 1,) ints, optional
        The same for key and value; without it they have the tokens of query.
    dropout_p : float in [0, 1]
    is_causal : bool
        Key j of a sequence takes part iff j <= position of the query. Query i of sequence b has position
        query_offset[b] + i: aligned top left by default. flash-attention aligns bottom right:
        query_offset = np.diff(key_starts) - np.diff(query_starts).
    scale, window, softcap, seed, precision : as in `scaled_dot_product_attention`
    alibi_slopes : (H,) or (B, H) real numbers, optional
    sinks : (H,) real numbers, optional
    score_mod : function decorated with `numba.njit`, optional
        (score, b, h, i, j) -> score, where b is the sequence, i the query's position in it and j the key's place in it.
    query_offset : int or (B,) ints
    return_lse : bool
    out : (total_q, H, Dv), dtype of query, optional; written in place and returned. May overlap the inputs.

    Returns
    -------
    out : (total_q, H, Dv), dtype of query. A query without any key gives zeros.
    lse : (H, total_q), only with `return_lse`: natural log of the sum of exp(scores); -inf, or its sink, for a query
        without any key. float64 for float64, else float32.

    Raises
    ------
    ValueError : shapes disagree, starts are not in order, or an option is out of range
    TypeError : unsupported or mixed dtypes, or an argument of the wrong kind

    Notes
    -----
    Source: Dao 2023, FlashAttention-2, section 3.1; the packed layout is that of its `flash_attn_varlen_func`.
    Tiles of queries are taken by threads one by one, those of the sequences with most work first. A sequence's result
    has the same bits in any batch.
    """
    query = validate_attention.attention_array(query, "query")
    key = validate_attention.attention_array(key, "key")
    value = validate_attention.attention_array(value, "value")
    dtype = validate.same_dtype({"query": query, "key": key, "value": value})
    computing, storage = validate.computing_dtype(dtype), storage_of(dtype)
    as_bfloat = multiplies_bfloat(dtype, validate_attention.precision(precision, dtype))
    validate_attention_varlen.packed_shapes(query, key, value)
    starts = validate_attention_varlen.sequence_starts(query_starts, key_starts, query.shape[0], key.shape[0])
    shape = (*query.shape[:2], value.shape[2])
    sequences = Layout((starts[0].size - 1,), True, shape[1], key.shape[1])

    scale = 1.0 / math.sqrt(query.shape[2]) if scale is None else validate.score_scale(scale)
    softcap = 0.0 if softcap is None else validate.score_cap(softcap)
    dropout_p = validate.probability(dropout_p, "dropout_p")
    seed = validate.random_seed(seed)
    left, right = validate.window_bounds(window, validate.flag(is_causal, "is_causal"))
    offsets = validate.query_offsets(query_offset, sequences.batch)
    changes = score_changes(alibi_slopes, sinks, None, sequences, query.shape[0], key.shape[0], score_mod, computing)
    lse = np.empty(shape[1::-1], computing) if validate.flag(return_lse, "return_lse") else None

    result = np.empty(shape, dtype) if out is None else validate.output_array(out, shape, dtype)
    in_place = out is None or _writable_in_place(result, (query, key, value, *starts))
    target = np.asarray(result) if in_place else np.empty(shape, dtype)
    if target.size and (dropout_p < 1.0 or lse is not None):
        attend_packed(
            kernel_view(heads_first(query, dtype), storage), kernel_view(heads_first(key, dtype), storage),
            kernel_view(heads_first(value, dtype), storage), *starts,
            offsets, left, right, scale, softcap, dropout_p if dropout_p < 1.0 else 0.0, seed,
            kernel_view(target.swapaxes(0, 1)[None], storage), None if lse is None else lse[None], changes, storage,
            as_bfloat,
        )  # fmt: skip
    if dropout_p == 1.0:
        target[...] = 0.0
    if not in_place:
        result[...] = target
    return result if lse is None else (result, lse)


def heads_first(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """(tokens, heads, size) as (1, heads, tokens, size) of the computing dtype, in place where kernels can read it."""
    return validate.readable_in_place(x.astype(dtype, copy=False)).swapaxes(0, 1)[None]


def _writable_in_place(out: np.ndarray, inputs: tuple[np.ndarray, ...]) -> bool:
    return validate.is_readable_in_place(out) and not validate.shares_memory(out, inputs)
