"""Attention over packed sequences, and linear attention, of PyTorch's tensors: operators with shapes and gradients."""

from __future__ import annotations

from typing import Any

import torch

from fastcore import attention
from fastcore._core import validate
from fastcore._core import validate_integrations as check
from fastcore.integrations.torch_arrays import as_array, as_tensor
from fastcore.integrations.torch_attention import drawn_seed
from fastcore.integrations.torch_autograd import refuse
from fastcore.integrations.torch_operator import LIBRARY, lse_dtype, seed_of
from fastcore.integrations.torch_threads import ON_TORCH_THREADS

_PACKED = (
    "Tensor query_starts, Tensor? key_starts, Tensor? alibi_slopes, Tensor? sinks, Tensor? query_offset, Tensor? seed,"
    " float dropout_p, bool is_causal, float? scale, SymInt? left, SymInt? right, float? softcap"
)
_PACKED_NAMES = ("query_starts", "key_starts", "alibi_slopes", "sinks", "query_offset")
_LINEAR = "bool is_causal, str feature_map, bool normalize, float scale"
_QKV = "Tensor query, Tensor key, Tensor value"
_THREE = "(Tensor, Tensor, Tensor)"
for _schema in (
    f"attention_varlen({_QKV}, {_PACKED}) -> (Tensor, Tensor)",
    f"attention_varlen_backward(Tensor grad_out, {_QKV}, Tensor out, Tensor lse, {_PACKED}) -> {_THREE}",
    f"linear_attention({_QKV}, {_LINEAR}) -> Tensor",
    f"linear_attention_backward(Tensor grad_out, {_QKV}, {_LINEAR}) -> {_THREE}",
):
    LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))


def scaled_dot_product_attention_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_starts: torch.Tensor,
    key_starts: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    query_offset: torch.Tensor | None = None,
    seed: int | torch.Tensor | None = None,
) -> torch.Tensor:
    """`fastcore.attention.scaled_dot_product_attention_varlen` of tensors on the CPU, differentiable.

    Parameters
    ----------
    query, key, value : (total_q, H, D), (total_k, G, D), (total_k, G, Dv), of one float type
        Tokens of B sequences, one behind the other. They alone may require gradients.
    query_starts, key_starts : (B + 1,) int tensors, flash-attention's `cu_seqlens_q` and `cu_seqlens_k`
    seed : int or a scalar tensor of int64, optional; of dropout. Drawn from PyTorch's generator by default.
    dropout_p, is_causal, scale, window, softcap, alibi_slopes, sinks, query_offset
        As in `fastcore.attention.scaled_dot_product_attention_varlen`; arrays are tensors.

    Returns
    -------
    (total_q, H, Dv), dtype of query

    Raises
    ------
    ValueError : shapes disagree, starts are not in order, an option is out of range, or sinks require a gradient
    TypeError : unsupported or mixed dtypes, no tensor, or one that is not on the CPU
    NotImplementedError : the backward is differentiated: there are first derivatives only

    Notes
    -----
    Under `torch.compile` it is the operator `torch.ops.fastcore.attention_varlen`, which `torch.func` does not
    differentiate.
    """
    check.tensors({"query": query, "key": key, "value": value, "query_starts": query_starts})
    check.no_gradient_of(sinks, "sinks")
    left, right = check.window_sides(window)
    tensors = (query_starts, key_starts, alibi_slopes, sinks, query_offset, drawn_seed(seed) if dropout_p else None)
    options = (dropout_p, is_causal, scale, left, right, softcap)
    return torch.ops.fastcore.attention_varlen(query, key, value, *tensors, *options)[0]


def linear_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    is_causal: bool = False,
    *,
    feature_map: str = "elu",
    normalize: bool = True,
    scale: float = 1.0,
) -> torch.Tensor:
    """`fastcore.attention.linear_attention` of tensors on the CPU, differentiable.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv), of one float type
    is_causal, feature_map, normalize, scale
        As in `fastcore.attention.linear_attention`, which has the states to stream by.

    Returns
    -------
    (B, H, L, Dv), dtype of query

    Raises
    ------
    ValueError : shapes disagree or an option is out of range
    TypeError : unsupported or mixed dtypes, no tensor, or one that is not on the CPU
    NotImplementedError : the backward is differentiated: there are first derivatives only

    Notes
    -----
    Under `torch.compile` it is the operator `torch.ops.fastcore.linear_attention`, which `torch.func` does not
    differentiate.
    """
    check.tensors({"query": query, "key": key, "value": value})
    check.four_axes({"query": query, "key": key, "value": value})
    scale = validate.score_scale(scale)
    return torch.ops.fastcore.linear_attention(query, key, value, is_causal, feature_map, normalize, scale)


# --- packed sequences -------------------------------------------------------------------------------------------------


def _keywords(arguments: Any) -> dict[str, Any]:
    *tensors, seed, dropout_p, is_causal, scale, left, right, softcap = arguments
    given: dict[str, Any] = {name: as_array(x, name) for name, x in zip(_PACKED_NAMES, tensors) if x is not None}
    if seed is not None:
        given["seed"] = seed_of(seed)
    if left is not None or right is not None:
        given["window"] = (left, right)
    return {**given, "dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "softcap": softcap}


def _arrays(*named: tuple[str, torch.Tensor]) -> Any:
    return [as_array(x, name) for name, x in named]


def _varlen(query, key, value, *arguments):
    arrays = _arrays(("query", query), ("key", key), ("value", value))
    with ON_TORCH_THREADS:
        out, lse = attention.scaled_dot_product_attention_varlen(*arrays, return_lse=True, **_keywords(arguments))
    return as_tensor(out, query.dtype), torch.from_numpy(lse)


def _varlen_shapes(query, key, value, *arguments):
    tokens, heads, _ = query.shape
    return query.new_empty((tokens, heads, value.shape[2])), query.new_empty((heads, tokens), dtype=lse_dtype(query))


def _varlen_backward(grad_out, query, key, value, out, lse, *arguments):
    arrays = _arrays(
        ("grad_out", grad_out), ("query", query), ("key", key), ("value", value), ("out", out), ("lse", lse)
    )
    with ON_TORCH_THREADS:
        found = attention.scaled_dot_product_attention_varlen_backward(*arrays, **_keywords(arguments))
    return tuple(as_tensor(x, query.dtype) for x in found)


def _varlen_backward_shapes(grad_out, query, key, value, *arguments):
    return tuple(x.new_empty(x.shape) for x in (query, key, value))


def _varlen_remember(ctx, inputs, output):
    query, key, value, *arguments = inputs
    out, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.options = arguments[6:]
    ctx.save_for_backward(query, key, value, out, lse, *arguments[:6])


def _varlen_differentiate(ctx, grad_out, grad_lse):
    found = torch.ops.fastcore.attention_varlen_backward(grad_out, *ctx.saved_tensors, *ctx.options)
    return (*found, *(None,) * 12)


# --- linear attention -------------------------------------------------------------------------------------------------


def _linear(query, key, value, is_causal, feature_map, normalize, scale):
    arrays = _arrays(("query", query), ("key", key), ("value", value))
    options = {"is_causal": is_causal, "feature_map": feature_map, "normalize": normalize, "scale": scale}
    with ON_TORCH_THREADS:
        return as_tensor(attention.linear_attention(*arrays, **options), query.dtype)


def _linear_shapes(query, key, value, *arguments):
    return query.new_empty((*query.shape[:3], value.shape[3]))


def _linear_backward(grad_out, query, key, value, is_causal, feature_map, normalize, scale):
    arrays = _arrays(("grad_out", grad_out), ("query", query), ("key", key), ("value", value))
    options = {"is_causal": is_causal, "feature_map": feature_map, "normalize": normalize, "scale": scale}
    with ON_TORCH_THREADS:
        found = attention.linear_attention_backward(*arrays, **options)
    return tuple(as_tensor(x, query.dtype) for x in found)


def _linear_remember(ctx, inputs, output):
    ctx.options = inputs[3:]
    ctx.save_for_backward(*inputs[:3])


def _linear_differentiate(ctx, grad_out):
    found = torch.ops.fastcore.linear_attention_backward(grad_out, *ctx.saved_tensors, *ctx.options)
    return (*found, *(None,) * 4)


for _name, _run, _shapes in (
    ("attention_varlen", _varlen, _varlen_shapes),
    ("attention_varlen_backward", _varlen_backward, _varlen_backward_shapes),
    ("linear_attention", _linear, _linear_shapes),
    ("linear_attention_backward", _linear_backward, _varlen_backward_shapes),
):
    LIBRARY.impl(_name, _run, "CPU")
    torch.library.register_fake(f"fastcore::{_name}", _shapes, lib=LIBRARY)
torch.library.register_autograd(
    "fastcore::attention_varlen", _varlen_differentiate, setup_context=_varlen_remember, lib=LIBRARY
)
torch.library.register_autograd(
    "fastcore::linear_attention", _linear_differentiate, setup_context=_linear_remember, lib=LIBRARY
)
for _name in ("attention_varlen_backward", "linear_attention_backward"):
    torch.library.register_autograd(f"fastcore::{_name}", refuse, lib=LIBRARY)
