"""`scaled_dot_product_attention` of tensors: by the shortest way that what looks at the call allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from fastcore._core import validate
from fastcore._core import validate_integrations as check
from fastcore.attention.kernels.attend import WHOLE, attend_single_queries
from fastcore.attention.kernels.forward import flash_forward_plain
from fastcore.attention.layout import Layout, layout_of
from fastcore.integrations.torch_autograd import Attention, differentiated, is_plain
from fastcore.integrations.torch_operator import (
    Options,
    Tensors,
    handle_of,
    run_forward,
)
from fastcore.integrations.torch_threads import ON_TORCH_THREADS

_Tensor = torch.Tensor
_FLOAT32 = torch.float32


def scaled_dot_product_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    block_mask: torch.Tensor | None = None,
    score_mod: Callable | None = None,
    score_mod_grad: Callable | None = None,
    query_offset: int | torch.Tensor = 0,
    key_lengths: torch.Tensor | None = None,
    seed: int | torch.Tensor | None = None,
    precision: str = "highest",
) -> torch.Tensor:
    """`fastcore.scaled_dot_product_attention` of tensors on the CPU, differentiable.

    Axes: B batch, H query heads, G key/value heads (H % G == 0), L queries, S keys, D head size, Dv value size.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv), all float32, float64, float16 or bfloat16
        Read in place, whatever the strides in front of a contiguous last axis. (N, L, D) has batch and no heads, (L, D)
        neither; more axes in front are more batch. Batch axes of size 1 stretch.
    attn_mask : broadcasts to (B, H, L, S), optional; bool (True = takes part) or float (added); may require a gradient
    sinks : (H,) float, optional; may require a gradient
    seed : int or a scalar tensor of int64, optional; of dropout. Drawn from PyTorch's generator by default, so that
        `torch.manual_seed` repeats it.
    score_mod, score_mod_grad : functions decorated with `numba.njit`, optional
    alibi_slopes, block_mask, key_lengths : tensors, and query_offset an int or a tensor, without gradients
    dropout_p, is_causal, scale, enable_gqa, window, softcap, precision
        As in `fastcore.scaled_dot_product_attention`, as are the options above.

    Returns
    -------
    (B, H, L, Dv), dtype of query. With a heads axis the memory is (B, L, H, Dv), as that of PyTorch's own: joining the
    heads by `out.transpose(1, 2).flatten(2)` copies nothing.

    Raises
    ------
    ValueError : shapes disagree or an option is out of range
    TypeError : unsupported or mixed dtypes, no tensor, or one that is not on the CPU
    NotImplementedError : the backward is differentiated: there are first derivatives only

    Notes
    -----
    Under `torch.compile`, `torch.func` and tracing it is the operator `torch.ops.fastcore.attention`, with shapes,
    autograd and vmap registered; elsewhere a direct call. Backward: `scaled_dot_product_attention_backward`, without
    L x S memory. Under `torch.autocast` floats are cast as for PyTorch's own. The threads are PyTorch's
    (`torch.set_num_threads`), at most `fastcore.get_num_threads`; where PyTorch has no OpenMP, fastcore's.
    """
    eager = not torch.compiler.is_compiling() and _is_eager(query, key, value)
    if (
        eager
        and attn_mask is scale is window is softcap is alibi_slopes is sinks is block_mask is None
        and score_mod is key_lengths is seed is None
        and dropout_p == 0.0
        and (is_causal is False or is_causal is True)
        and type(query_offset) is int
        and query_offset == 0
        and _is_small_kind(query, key, value)
    ):
        batch, heads, rows, _ = query.shape
        out = torch.empty((batch, rows, heads, value.shape[3])).transpose(1, 2)
        q, k, v = (x.numpy(force=True) for x in (query, key, value))
        with ON_TORCH_THREADS:
            if flash_forward_plain(q, k, v, out.numpy(), is_causal):
                return out
            if not is_causal and attend_single_queries(q, k, v, out.numpy()):
                return out
    return _attend(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, window, softcap, alibi_slopes, sinks,
        block_mask, score_mod, score_mod_grad, query_offset, key_lengths, seed, precision,
    )  # fmt: skip


def single_queries(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    ranges: tuple[Any, ...],
    scale: float | None,
    softcap: float,
) -> torch.Tensor | None:
    """Decoding the short way: (B, 1, H, Dv) of one query a sequence, or None where the other way is to be taken.

    ranges : () or (first keys, numbers of keys), (B,) int64 arrays within the keys
    softcap : 0 for none
    """
    if torch.compiler.is_compiling() or not (_is_eager(query, key, value) and _is_small_kind(query, key, value)):
        return None
    out = torch.empty((query.shape[0], 1, query.shape[1], value.shape[3]))
    q, k, v = (x.numpy(force=True) for x in (query, key, value))
    starts, lengths = ranges or (WHOLE, WHOLE)
    with ON_TORCH_THREADS:
        done = attend_single_queries(q, k, v, out.numpy().transpose(0, 2, 1, 3), starts, lengths, scale, softcap)
    return out if done else None


def _attend(
    query: Any, key: Any, value: Any, attn_mask: Any, dropout_p: Any, is_causal: Any, scale: Any, enable_gqa: Any,
    window: Any, softcap: Any, alibi_slopes: Any, sinks: Any, block_mask: Any, score_mod: Any, score_mod_grad: Any,
    query_offset: Any, key_lengths: Any, seed: Any, precision: Any,
) -> torch.Tensor:  # fmt: skip
    """The function for any arguments."""
    check.tensors({"query": query, "key": key, "value": value})
    if torch.is_autocast_enabled("cpu"):
        query, key, value, attn_mask = _autocast(query, key, value, attn_mask)
    left, right = check.window_sides(window)
    first_query, offsets = _offsets(query_offset)
    tensors = Tensors(
        _tensor(attn_mask, "attn_mask"),
        _tensor(alibi_slopes, "alibi_slopes"),
        _tensor(sinks, "sinks"),
        _tensor(block_mask, "block_mask"),
        offsets,
        _tensor(key_lengths, "key_lengths"),
        drawn_seed(seed) if dropout_p else None,
    )
    options = Options(
        dropout_p, is_causal, scale, left, right, softcap, first_query, precision, handle_of(score_mod, score_mod_grad)
    )
    if not torch.compiler.is_compiling() and query.dim() == key.dim() == value.dim() == 4:
        inputs = (query, key, value, *tensors)
        # As it is: what is not in order is found, once, by the function of arrays.
        if query.shape[0] == key.shape[0] == value.shape[0] and _is_eager(*(x for x in inputs if x is not None)):
            return _call_directly(query, key, value, tensors, options)
    layout = layout_of(query, key, value, enable_gqa)
    tensors = tensors._replace(
        attn_mask=_four_mask_axes(attn_mask, layout, "attn_mask"),
        block_mask=_four_mask_axes(block_mask, layout, "block_mask"),
    )
    out = _call(
        _four_axes(query, layout, layout.heads),
        _four_axes(key, layout, layout.groups),
        _four_axes(value, layout, layout.groups),
        tensors,
        options,
    )
    return out if query.dim() == 4 else out.reshape(*layout.axes, *out.shape[2:])


# --- how to call ------------------------------------------------------------------------------------------------------


def _is_eager(*tensors: Any) -> bool:
    """Whether nothing but autograd looks at these calls: no transform, mode or tracer, and plain tensors."""
    return is_plain(*tensors) and not torch._C._are_functorch_transforms_active()


def _is_small_kind(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether the short ways take such tensors: float32 of four axes, no gradients."""
    return (
        query.dtype is key.dtype is value.dtype is _FLOAT32
        and query.dim() == key.dim() == value.dim() == 4
        and not _needs_gradient(query, key, value)
        and not torch.is_autocast_enabled("cpu")
    )


def _needs_gradient(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def _call(query: Any, key: Any, value: Any, tensors: Tensors, options: Options) -> torch.Tensor:
    """(B, H, L, Dv): directly, with autograd, or as the operator."""
    inputs = (query, key, value, *tensors)
    if torch._C._are_functorch_transforms_active():
        return differentiated(*inputs, *options, True)[0]
    if not torch.compiler.is_compiling() and is_plain(*(x for x in inputs if x is not None)):
        return _call_directly(query, key, value, tensors, options)
    return torch.ops.fastcore.attention(*inputs, *options, _needs_gradient(*inputs))[0]


def _call_directly(query: Any, key: Any, value: Any, tensors: Tensors, options: Options) -> torch.Tensor:
    if _needs_gradient(query, key, value, *tensors):
        return Attention.apply(query, key, value, *tensors, *options, True)[0]
    return run_forward(query, key, value, tensors, options, False)[0]


# --- arguments --------------------------------------------------------------------------------------------------------


def _autocast(*tensors: Any) -> list[Any]:
    """Floats but float64 as PyTorch's autocast makes them."""
    dtype = torch.get_autocast_dtype("cpu")
    return [
        x.to(dtype) if isinstance(x, _Tensor) and x.is_floating_point() and x.dtype != torch.float64 else x
        for x in tensors
    ]


def _tensor(x: Any, name: str) -> torch.Tensor | None:
    if x is None or isinstance(x, _Tensor):
        return x
    check.not_a_tensor(x, name)


def _four_axes(x: torch.Tensor, layout: Layout, heads: int) -> torch.Tensor:
    """(B, heads, rows, size), in place where strides can say it."""
    stretched = layout.batch_axes + tuple(x.shape[-3 if layout.has_heads else -2 :])
    if tuple(x.shape) != stretched:
        x = x.expand(stretched)
    return x if x.dim() == 4 and layout.has_heads else x.reshape(layout.batch, heads, *x.shape[-2:])


def _four_mask_axes(mask: Any, layout: Layout, name: str) -> torch.Tensor | None:
    """A mask of the scores (or of their blocks) with four axes, still to be stretched; batch axes join."""
    if mask is None or (mask.dim() == 4 and layout.has_heads and len(layout.batch_axes) == 1):
        return mask
    axes = len(layout.axes) + 2
    check.mask_axes(mask, axes, name)
    mask = mask[(None,) * (axes - mask.dim())]
    if not layout.has_heads:
        mask = mask.unsqueeze(-3)
    batch = mask.shape[:-3]
    if any(size != 1 for size in batch):
        batch = layout.batch_axes
        mask = mask.expand(*batch, *mask.shape[-3:])
    return mask.reshape(math.prod(batch), *mask.shape[-3:])


def _offsets(query_offset: Any) -> tuple[int, torch.Tensor | None]:
    if isinstance(query_offset, _Tensor):
        return 0, query_offset
    return (
        query_offset if isinstance(query_offset, torch.SymInt) else validate.index(query_offset, "query_offset")
    ), None


def drawn_seed(seed: Any) -> torch.Tensor:
    """A scalar of int64: it may differ in each call of a compiled graph."""
    if seed is None:
        return torch.randint(1 << 62, ())
    if isinstance(seed, _Tensor):
        return seed
    seed = validate.random_seed(seed)
    return torch.tensor(seed - (1 << 64) if seed >> 63 else seed)
