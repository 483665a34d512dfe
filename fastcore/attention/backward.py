"""`scaled_dot_product_attention_backward`: the gradients of `scaled_dot_product_attention`, with all its options."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_attention
from fastcore._core import validate_attention_backward as check
from fastcore.attention.kernels.backward import flash_backward
from fastcore.attention.layout import Layout, four_axes, four_mask_axes, layout_of
from fastcore.attention.score_changes import score_changes, score_function


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
    attn_mask, dropout_p, is_causal, scale, enable_gqa, window, softcap, alibi_slopes, sinks, block_mask, score_mod,
    query_offset, key_lengths, seed : as they were in the forward call; the same `seed` drops the same weights
    score_mod_grad : function decorated with `numba.njit`, (score, b, h, i, j) -> number; needed with `score_mod`
        The derivative of score_mod by its score, at the score that it was given; where score_mod gives -inf, anything.
        Where it raises, gradients become NaN.
    return_grad_mask, return_grad_sinks : bool
        Whether the gradients by a float `attn_mask` and by `sinks` are wanted, too. The mask's takes another pass that
        computes the scores again.

    Returns
    -------
    grad_query, grad_key, grad_value : shapes and dtypes of query, key and value
        Summed over the queries that share a key/value head, and over batch axes that were stretched.
    grad_mask : only with `return_grad_mask`: shape and dtype of `attn_mask`, summed where that was stretched
    grad_sinks : (H,), dtype of `sinks`; only with `return_grad_sinks`

    Raises
    ------
    ValueError : shapes disagree or an option is out of range; the message names argument, rule and what came
    TypeError : unsupported or mixed dtypes, or an argument of the wrong kind

    Notes
    -----
    Source: Dao 2023, FlashAttention-2, section 3.1, algorithm 2. float16 and bfloat16 are computed in float32 and
    rounded once. The same bits for any number of threads; a sequence's do not depend on its neighbours in the batch.
    With fewer than 16 key/value heads and more than 1023 keys, gradients of the queries are summed from parts, each of
    the size of query. NaN or inf in queries, keys, values and `grad_out` never reaches gradients of what is masked from
    them.
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
    lse = check.statistics(lse, shape[:-1], computing).reshape(batch, heads, shape[-2])

    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else validate.score_scale(scale)
    softcap = 0.0 if softcap is None else validate.score_cap(softcap)
    dropout_p = validate.probability(dropout_p, "dropout_p")
    seed = validate.random_seed(seed)
    left, right = validate.window_bounds(window, validate.flag(is_causal, "is_causal"))
    offsets = validate.query_offsets(query_offset, batch)
    lengths = validate.lengths_of_keys(key_lengths, batch, keys)
    check.derivative_of_function(score_mod, score_mod_grad)
    changes = score_changes(alibi_slopes, sinks, block_mask, layout, query.shape[-2], keys, score_mod, computing)
    derivative = score_function(score_mod_grad, "score_mod_grad", computing)
    mask = validate_attention.attention_mask(attn_mask, (*shape[:-1], keys), computing)
    with_mask, with_sinks = (
        validate.flag(return_grad_mask, "return_grad_mask"),
        validate.flag(return_grad_sinks, "return_grad_sinks"),
    )
    check.differentiable_mask(mask, with_mask)
    check.sinks_for_gradient(sinks, with_sinks)

    inputs = [
        four_axes(x, layout, n, computing) for x, n in ((query, heads), (key, layout.groups), (value, layout.groups))
    ]
    result, came = four_axes(out, layout, heads, computing), four_axes(grad_out, layout, heads, computing)
    gradients = [np.zeros(x.shape, computing) for x in inputs]
    grad_mask = _MaskGradient(attn_mask, mask, layout) if with_mask and mask is not None else None
    if query.size and keys and dropout_p < 1.0:
        if mask is not None:
            mask = four_mask_axes(mask, batch, heads)
        flash_backward(
            inputs[0], inputs[1], inputs[2], result, lse, came, gradients[0], gradients[1], gradients[2],
            None if grad_mask is None else grad_mask.view,
            mask if mask is not None and mask.dtype == np.bool_ else None,
            mask if mask is not None and mask.dtype != np.bool_ else None,
            offsets, lengths, left, right, scale, softcap, dropout_p, seed, changes,
            derivative,
        )  # fmt: skip
    found = [_like(gradient, x, layout) for gradient, x in zip(gradients, (query, key, value), strict=True)]
    if grad_mask is not None:
        found.append(grad_mask.summed())
    if with_sinks:
        found.append(_grad_sinks(sinks, changes.sinks, lse, result, came))
    return tuple(found)


def _like(gradient: np.ndarray, x: np.ndarray, layout: Layout) -> np.ndarray:
    """A gradient (B, heads, rows, size) in shape and dtype of its array, summed over batch axes that were stretched."""
    front = layout.batch_axes + gradient.shape[1:2] if layout.has_heads else layout.batch_axes
    return _summed(gradient.reshape(*front, *x.shape[-2:]), x.shape, x.dtype)


def _summed(gradient: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A gradient summed over the axes that are 1 in ``shape``, and rounded to ``dtype``."""
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 != gradient.shape[axis])
    if stretched:
        gradient = gradient.sum(axis=stretched, keepdims=True)
    with np.errstate(over="ignore"):  # float16 ends at 65504
        return gradient.astype(dtype, copy=False)


class _MaskGradient:
    """The gradient of a mask, ``view`` (B, H, L, S) with a stride of 0 along the axes that the mask is stretched along.

    Several batch axes of which the mask has only some are stored as all of them, and summed at the end.
    """

    def __init__(self, given: Any, mask: np.ndarray, layout: Layout) -> None:
        array = validate_attention.mask_array(given, "attn_mask")
        self._shape, self._dtype = array.shape, array.dtype
        self._aligned = (1,) * (mask.ndim - array.ndim) + array.shape
        count = len(layout.batch_axes)
        own, rest = self._aligned[:count], self._aligned[count:]
        if any(size != 1 for size in own):
            own = layout.batch_axes
        self._sums = np.zeros((*own, *rest), mask.dtype)
        rest = rest if layout.has_heads else (1, *rest)
        target = self._sums.reshape(math.prod(own), *rest)
        self.view = np.broadcast_to(target, (layout.batch, layout.heads, *mask.shape[-2:]))

    def summed(self) -> np.ndarray:
        """In shape and dtype of the mask as it was given."""
        return _summed(self._sums, self._aligned, self._dtype).reshape(self._shape)


def _grad_sinks(given: Any, sinks: np.ndarray, lse: np.ndarray, out: np.ndarray, grad_out: np.ndarray) -> np.ndarray:
    """A sink has a weight and no value: minus that weight times what the keys' share of the result came to."""
    given = np.asarray(given)
    with np.errstate(invalid="ignore"):  # -inf - -inf: no sink and no keys
        weights = np.exp(sinks.astype(lse.dtype)[:, None] - lse)
    came = np.einsum("bhld,bhld->bhl", grad_out, out)
    gradient = np.where(weights > 0.0, -weights * came, 0.0).sum(axis=(0, 2), dtype=np.float64)
    return gradient.astype(given.dtype if validate.is_float_type(given.dtype) else lse.dtype)
