"""`scaled_dot_product_attention`: PyTorch's function, with the options of today's models."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_attention
from fastcore.attention.kernels.attend import attend
from fastcore.attention.kernels.forward import flash_forward_small
from fastcore.attention.kernels.halves import kernel_view, multiplies_bfloat, storage_of
from fastcore.attention.layout import four_axes, four_mask_axes, layout_of
from fastcore.attention.score_changes import score_changes

_FLOAT32 = np.dtype(np.float32)
_ZERO = 0
_HIGHEST = "highest"
_ndarray = np.ndarray
_empty = np.empty


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
    query_offset: Any = _ZERO,
    key_lengths: Any = None,
    return_lse: bool = False,
    out: np.ndarray | None = None,
    seed: int = _ZERO,
    precision: str = _HIGHEST,
) -> Any:
    """softmax(scale * query @ key^T + mask) @ value, without ever forming the L x S matrix.

    Axes: B batch, H query heads, G key/value heads (H % G == 0), L queries, S keys, D head size, Dv value size.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv), all float32, float64, float16 or ml_dtypes.bfloat16
        bfloat16 also as an ndarray of its bits, dtype [("bfloat16", "u2")]; the result then is one, too.
        Arrays or anything with `__array__` or `__dlpack__`. (N, L, D) has batch and no heads, (L, D) neither; more axes
        in front are more batch. Batch axes of size 1 stretch. Read in place whatever the strides, e.g. (B, L, H, D)
        memory through a transpose or a slice of a cache, as long as the last axis is contiguous; else copied.
    attn_mask : broadcasts to (B, H, L, S), optional
        bool: True = takes part. Float: added to the scores, -inf = does not take part. Read in place; only with several
        batch axes is what it stores copied for those it is stretched along.
    dropout_p : float in [0, 1]
        Share of the weights set to zero, the others scaled by 1 / (1 - dropout_p). Applied whenever it is not 0.
    is_causal : bool
        Key j takes part iff j <= position of the query. Aligned top left for the default `query_offset`, as in PyTorch.
        Together with `attn_mask` both apply (PyTorch raises there).
    scale : float, default 1 / sqrt(D)
    enable_gqa : bool, optional
        Heads are grouped without it. It matters with three axes only: True reads a first axis that differs between
        query and key as heads of one sequence, (H, L, D) and (G, S, D).
    window : (left, right), each an int or None, optional
        Key j takes part iff position - left <= j <= position + right; None leaves a side open.
    softcap : float, optional
        Scores become softcap * tanh(score / softcap), after `scale` and before all below and the mask.
    alibi_slopes : (H,) or (B, H) real numbers, optional
        slope * |position - j| comes off the score of key j (ALiBi). Several batch axes count as one, flattened.
    sinks : (H,) real numbers, optional
        One more logit a head in the softmax, without a value: the weights of a query's keys sum to less than 1, and its
        `lse` includes the sink. Neither slopes, mask nor dropout touch it. -inf: none for this head.
    block_mask : bool, broadcasts to (B, H, ceil(L / 64), ceil(S / 64)), optional
        False at [.., m, n]: queries 64 m to 64 m + 63 do not see keys 64 n to 64 n + 63, counted as they lie in the
        arrays. Such blocks take no time, and no key or value of theirs is read. Applies together with all other masks.
    score_mod : function decorated with `numba.njit`, optional
        (score, b, h, i, j) -> score, for query head h of sequence b, the query at position i (see `query_offset`) and
        key j, after `scale` and `softcap` and before `alibi_slopes` and all masks; -inf: the key does not take part. It
        is called for masked pairs, too, and in no order. score is float64 for float64, else float32, and so is all
        arithmetic with it, constants and positions; sums and products may be fused. Compiled once for each of these
        (0.4 s) and kept in memory as long as the function. Where it raises, scores become NaN.
    query_offset : int or (B,) ints
        Query i of sequence b has position query_offset[b] + i. Several batch axes count as one, flattened.
    key_lengths : (B,) ints, optional
        Keys at or beyond key_lengths[b] do not exist. Lengths beyond S count as S.
    return_lse : bool
    out : (B, H, L, Dv), dtype of query, optional; written in place and returned. May overlap the inputs.
    seed : int in [0, 2**64)
        Of the dropout mask, which depends on nothing but seed and position: see `fastcore.reference.dropout_mask`.
    precision : "highest" or "bf16"
        "bf16" lets float32 be multiplied as bfloat16 where the CPU has AVX512-BF16; elsewhere it changes nothing. The
        error: see Notes. bfloat16 is computed alike with both; float16 and float64 take "highest" only.

    Returns
    -------
    out : (B, H, L, Dv), dtype of query, axes in front as in query. A query without any key gives zeros.
    lse : (B, H, L), only with `return_lse`: natural log of the sum of exp(scores); for a query without any key -inf, or
        its sink. float64 for float64, else float32.

    Raises
    ------
    ValueError : shapes disagree or an option is out of range; the message names argument, rule and what came
    TypeError : unsupported or mixed dtypes, or an argument of the wrong kind

    Notes
    -----
    Source: Dao 2023, FlashAttention-2, section 3.1; ALiBi: Press et al. 2022; sinks: Xiao et al. 2024, equation 2.
    float16 is converted to float32 a block at a time, as bfloat16 is on CPUs without AVX512-BF16, and the result is
    rounded once. With these instructions bfloat16 is multiplied as it is, and weights are rounded to it once; sums,
    softmax and all between stay float32. With precision="bf16" float32 query, key and value are rounded once, too: a
    score is then off by at most e = 2^-8 * scale * sum(|query| * |key|), and the result by at most 2 e + 2^-8 times the
    largest |value| of the head, to first order. One to eight queries that share keys are computed in float32. NaN or
    inf in keys and values that are masked out never reaches the output.
    """
    # The short way for small plain calls: 2 us against 13 us. What compiled code does not find in order goes on to
    # _attend, which checks everything again and has the messages.
    if (
        type(query) is type(key) is type(value) is _ndarray
        and attn_mask is scale is enable_gqa is window is softcap is key_lengths is out is None
        and alibi_slopes is sinks is block_mask is score_mod is None
        and (is_causal is False or is_causal is True)
        and return_lse is False
        and query_offset is seed is _ZERO
        and precision is _HIGHEST
        and type(dropout_p) is float
        and not dropout_p
        and query.dtype is key.dtype is value.dtype is _FLOAT32
        and query.ndim == key.ndim == value.ndim == 4
    ):
        result = _empty(query.shape[:3] + value.shape[3:], _FLOAT32)
        if flash_forward_small(query, key, value, result, is_causal):
            return result
    return _attend(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, window, softcap, alibi_slopes, sinks,
        block_mask, score_mod, query_offset, key_lengths, return_lse, out, seed, precision,
    )  # fmt: skip


def _attend(
    query: Any, key: Any, value: Any, attn_mask: Any, dropout_p: Any, is_causal: Any, scale: Any, enable_gqa: Any,
    window: Any, softcap: Any, alibi_slopes: Any, sinks: Any, block_mask: Any, score_mod: Any, query_offset: Any,
    key_lengths: Any, return_lse: Any, out: Any, seed: Any, precision: Any,
) -> Any:  # fmt: skip
    """The function for any arguments: all are checked and brought to what the kernels rely on."""
    query = validate_attention.attention_array(query, "query")
    key = validate_attention.attention_array(key, "key")
    value = validate_attention.attention_array(value, "value")
    dtype = validate.same_dtype({"query": query, "key": key, "value": value})
    computing, storage = validate.computing_dtype(dtype), storage_of(dtype)
    as_bfloat = multiplies_bfloat(dtype, validate_attention.precision(precision, dtype))
    layout = layout_of(query, key, value, enable_gqa)
    batch, heads, keys = layout.batch, layout.heads, key.shape[-2]
    shape = (*layout.axes, query.shape[-2], value.shape[-1])

    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else validate.score_scale(scale)
    softcap = 0.0 if softcap is None else validate.score_cap(softcap)
    dropout_p = validate.probability(dropout_p, "dropout_p")
    seed = validate.random_seed(seed)
    left, right = validate.window_bounds(window, validate.flag(is_causal, "is_causal"))
    offsets = validate.query_offsets(query_offset, batch)
    lengths = validate.lengths_of_keys(key_lengths, batch, keys)
    changes = score_changes(alibi_slopes, sinks, block_mask, layout, query.shape[-2], keys, score_mod, computing)
    mask = validate_attention.attention_mask(attn_mask, (*shape[:-1], keys), computing)
    lse = np.empty(shape[:-1], computing) if validate.flag(return_lse, "return_lse") else None

    result = np.empty(shape, dtype) if out is None else validate.output_array(out, shape, dtype)
    in_place = out is None or _writable_in_place(result, (query, key, value, mask, changes.blocks))
    target = np.asarray(result) if in_place else np.empty(shape, dtype)
    if keys == 0:
        target[...] = 0.0
        if lse is not None:
            lse.reshape(batch, heads, shape[-2])[...] = -np.inf if changes.sinks is None else changes.sinks[:, None]
    elif target.size and (dropout_p < 1.0 or lse is not None):
        if mask is not None:
            mask = four_mask_axes(mask, batch, heads)
        attend(
            kernel_view(four_axes(query, layout, heads, dtype), storage),
            kernel_view(four_axes(key, layout, layout.groups, dtype), storage),
            kernel_view(four_axes(value, layout, layout.groups, dtype), storage),
            mask if mask is not None and mask.dtype == np.bool_ else None,
            mask if mask is not None and mask.dtype != np.bool_ else None,
            offsets, lengths, left, right, scale, softcap, dropout_p if dropout_p < 1.0 else 0.0, seed,
            kernel_view(target.reshape(batch, heads, *shape[-2:]), storage),
            None if lse is None else lse.reshape(batch, heads, shape[-2]),
            changes, storage, as_bfloat,
        )  # fmt: skip
    if dropout_p == 1.0:
        target[...] = 0.0
    if not in_place:
        result[...] = target
    return result if lse is None else (result, lse)


def _writable_in_place(out: np.ndarray, inputs: tuple[np.ndarray | None, ...]) -> bool:
    """Whether the kernel may write the caller's `out`: strides it takes, axes that fold, no input touched."""
    foldable = out.ndim <= 4 or out.flags.c_contiguous
    return foldable and validate.is_readable_in_place(out) and not validate.shares_memory(out, inputs)
