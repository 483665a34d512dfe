"""`scaled_dot_product_attention_backward`: the gradients of `scaled_dot_product_attention`, with all its options."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_attention
from fastcore._core import validate_attention_backward as check
from fastcore.attention.kernels.backward import attention_backward
from fastcore.attention.layout import Layout, four_axes, layout_of


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
    """Gradients of `scaled_dot_product_attention` by query, key and value, without ever forming the L x S matrix.

    Axes: B batch, H query heads, G key/value heads (H % G == 0), L queries, S keys, D head size, Dv value size.

    Parameters
    ----------
    grad_out : (B, H, L, Dv), dtype of query: the gradient by the result
    query, key, value : as in the forward function, one of float32, float64, float16 and bfloat16
    out, lse : (B, H, L, Dv) and (B, H, L): what the forward function gave for the same arguments, with `return_lse`
    attn_mask, dropout_p, is_causal, scale, enable_gqa, window, softcap, query_offset, key_lengths, seed :
        as they were in the forward call; the same `seed` drops the same weights
    return_grad_mask : bool
        Whether the gradient by a float `attn_mask` is wanted, too.

    Returns
    -------
    grad_query, grad_key, grad_value : shapes and dtypes of query, key and value
        Summed over the queries that share a key/value head, and over batch axes that were stretched.
    grad_mask : only with `return_grad_mask`: shape and dtype of `attn_mask`

    Raises
    ------
    ValueError : shapes disagree or an option is out of range; the message names argument, rule and what came
    TypeError : unsupported or mixed dtypes, or an argument of the wrong kind

    Notes
    -----
    Source: Dao 2023, FlashAttention-2, section 3.1, algorithm 2. float16 and bfloat16 are computed in float32 and
    rounded once. The same bits for any number of threads; a sequence's do not depend on its neighbours in the batch.
    """
    query = validate.float_array(query, "query")
    key = validate.float_array(key, "key")
    value = validate.float_array(value, "value")
    dtype = validate.same_dtype({"query": query, "key": key, "value": value})
    computing = validate.computing_dtype(dtype)
    layout = layout_of(query, key, value, enable_gqa)
    batch, heads, keys = layout.batch, layout.heads, key.shape[-2]
    shape = (*layout.axes, query.shape[-2], value.shape[-1])
    grad_out = check.result_array(grad_out, "grad_out", shape, dtype)
    out = check.result_array(out, "out", shape, dtype)
    lse = check.statistics(lse, shape[:-1], computing)

    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else validate.score_scale(scale)
    softcap = 0.0 if softcap is None else validate.score_cap(softcap)
    dropout_p = validate.probability(dropout_p, "dropout_p")
    seed = validate.random_seed(seed)
    is_causal = validate.flag(is_causal, "is_causal")
    offsets = validate.query_offsets(query_offset, batch)
    lengths = validate.lengths_of_keys(key_lengths, batch, keys)
    mask = validate_attention.attention_mask(attn_mask, (*shape[:-1], keys), computing)
    check.differentiable_mask(mask, validate.flag(return_grad_mask, "return_grad_mask"))
    check.not_yet(mask, dropout_p, window, softcap, alibi_slopes, sinks, block_mask, score_mod)

    groups = layout.groups
    rows = (
        four_axes(query, layout, heads, computing),
        four_axes(key, layout, groups, computing),
        four_axes(value, layout, groups, computing),
    )
    gradients = [np.zeros(x.shape, computing) for x in rows]
    if query.size and keys:
        attention_backward(
            *rows,
            four_axes(out, layout, heads, computing),
            lse.reshape(batch, heads, shape[-2]),
            four_axes(grad_out, layout, heads, computing),
            *gradients,
            is_causal=is_causal,
            scale=scale,
            query_offset=offsets,
            key_lengths=lengths,
        )
    return tuple(_like(gradient, x, layout) for gradient, x in zip(gradients, (query, key, value), strict=True))


def _like(gradient: np.ndarray, x: np.ndarray, layout: Layout) -> np.ndarray:
    """A gradient (B, heads, rows, size) in shape and dtype of its array, summed over batch axes that were stretched."""
    front = layout.batch_axes + gradient.shape[1:2] if layout.has_heads else layout.batch_axes
    gradient = gradient.reshape(*front, *x.shape[-2:])
    stretched = tuple(axis for axis, size in enumerate(x.shape) if size == 1 != gradient.shape[axis])
    if stretched:
        gradient = gradient.sum(axis=stretched, keepdims=True)
    with np.errstate(over="ignore"):  # float16 ends at 65504
        return gradient.astype(x.dtype, copy=False)
