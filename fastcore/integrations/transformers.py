"""fastcore's attention in transformers' models: `register`, then ``attn_implementation="fastcore"``.

Axes: B batch, H query heads, G key/value heads, L queries, S keys, D head size, Dv value size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_integrations as check

try:
    import torch
    import transformers
    from transformers.utils.output_capturing import _active_collector
except ImportError as error:
    raise ImportError(
        "fastcore.integrations.transformers needs transformers and torch. Install them:"
        " pip install 'fastcore-kernels[transformers]'"
    ) from error

from fastcore.integrations import torch as in_torch
from fastcore.integrations.torch_attention import single_queries
from fastcore.integrations.transformers_masks import ALL_KEYS, CAUSAL, Bounds, VisibleKeys, pieces_of, visible_keys

__all__ = ["attention_forward", "register"]


def register(name: str = "fastcore") -> None:
    """Make fastcore's attention known to transformers, under this name.

    Parameters
    ----------
    name : str, what ``attn_implementation`` is to be; not one of transformers' own

    Raises
    ------
    TypeError, ValueError : not such a name

    Notes
    -----
    Models that call their attention through transformers' `AttentionInterface` take it, nearly all of version 5. It
    computes on CPU tensors of float32, float64, float16 and bfloat16:

    - causal masks, sliding windows, padding on either side, caches (dynamic and static) and packed sequences without a
      mask in memory, and without computing what they hide; any other mask as the tensor it is
    - grouped queries without repeating keys, another size for values, `scaling`, soft-capped scores (Gemma 2),
      attention sinks (GPT-OSS), position biases (T5), dropout
    - gradients, by `fastcore.integrations.torch`; that is also what `torch.compile` sees

    Rows of padding are zeros or what follows from the mask, as in "sdpa"; they differ from "eager"'s.
    Weights that are asked for (``output_attentions=True``), and tensors on other devices, are computed by PyTorch, with
    the formula of "eager". transformers' continuous batching takes none but its own implementations.

    Examples
    --------
    >>> from fastcore.integrations.transformers import register
    >>> register()
    >>> model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="fastcore")
    >>> model.set_attn_implementation("sdpa")  # and back
    """
    check.attention_name(name, _names_of_others())
    transformers.AttentionInterface.register(name, attention_forward)
    transformers.AttentionMaskInterface.register(name, visible_keys)


def _names_of_others() -> set[str]:
    """Names that transformers, or another package, has registered."""
    known = transformers.AttentionInterface._global_mapping
    return {"eager"} | {name for name, function in known.items() if function is not attention_forward}


class Call(NamedTuple):
    """What of a call of attention is no tensor of tokens; in the words of `scaled_dot_product_attention`."""

    scale: float | None
    softcap: float | None
    sinks: torch.Tensor | None
    dropout_p: float
    mask: torch.Tensor | None
    bounds: Bounds


def attention_forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What transformers' models call for their attention.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv) tensors
    attention_mask : `VisibleKeys`, another mask (B, 1 or H, L, S) bool or float, or None: causal from the first key
        on if the module is, and L > 1
    dropout, scaling, is_causal, softcap, s_aux (H,), position_bias (1 or B, H, L, S) : as the model has them

    Returns
    -------
    (B, L, H, Dv), contiguous, and the weights (B, H, L, S) if they are asked for, else None
    """
    if query.shape[2] == 1 and dropout == 0.0 and s_aux is position_bias is None and query.device.type == "cpu":
        attended = _single_queries(query, key, value, attention_mask, scaling, softcap, options)
        if attended is not None:
            return attended, None
    mask, bounds = _mask_and_bounds(module, query, key, attention_mask, is_causal, position_bias, options)
    scale = None if scaling == query.shape[-1] ** -0.5 else scaling  # the default has a shorter way
    call = Call(scale, softcap, s_aux, float(dropout), mask, bounds)
    if query.device.type != "cpu" or _weights_are_asked_for(options):
        return _as_eager(query, key, value, call)
    return _attend(query, key, value, call).transpose(1, 2).contiguous(), None


def _single_queries(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    scaling: float | None, softcap: float | None, options: dict[str, Any],
) -> torch.Tensor | None:  # fmt: skip
    """Tokens generated one by one, (B, 1, H, Dv), where the short way takes the call; else None.

    Between a model's layers caches are cold, and the Python of the other way took 350 of 440 us a call.
    """
    ranges: tuple[Any, ...] = ()
    if attention_mask is not None:
        if type(attention_mask) is not VisibleKeys or attention_mask.ranges is None:
            return None
        shape, ranges = attention_mask.ranges[0], attention_mask.ranges[1:]
        if shape != (query.shape[0], 1, 1, key.shape[2]):
            return None
    if options.get("cu_seq_lens_q") is not None or _weights_are_asked_for(options):
        return None
    return single_queries(query, key, value, ranges, scaling, softcap or 0.0)


def _mask_and_bounds(
    module: Any, query: torch.Tensor, key: torch.Tensor, attention_mask: torch.Tensor | None, is_causal: bool | None,
    position_bias: torch.Tensor | None, options: dict[str, Any],
) -> tuple[torch.Tensor | None, Bounds]:  # fmt: skip
    """The elements of a mask that are in memory anyway, and the bounds that apply besides."""
    shape = (query.shape[0], 1, query.shape[2], key.shape[2])
    if isinstance(attention_mask, VisibleKeys):
        if attention_mask.shape == shape:
            return position_bias, _with_given_packing(attention_mask.bounds, shape, options)
        attention_mask = attention_mask.elements
    if attention_mask is not None:
        return _joined(position_bias, attention_mask), ALL_KEYS
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    bounds = CAUSAL if shape[2] > 1 and causal else ALL_KEYS
    return position_bias, _with_given_packing(bounds, shape, options)


def _with_given_packing(bounds: Bounds, shape: tuple[int, ...], options: dict[str, Any]) -> Bounds:
    """Bounds with the packed sequences that the caller of the model named (`DataCollatorWithFlattening`)."""
    starts = options.get("cu_seq_lens_q")
    if starts is None or bounds.packed is not None:
        return bounds
    check.packed_alike(shape, starts, options.get("cu_seq_lens_k"))
    return replace(bounds, packed=(starts.numpy().astype(np.int64),))


def _joined(mask: torch.Tensor | None, other: torch.Tensor | None) -> torch.Tensor | None:
    """Both of two masks."""
    if mask is None or other is None:
        return other if mask is None else mask
    if mask.dtype == other.dtype == torch.bool:
        return mask & other
    if mask.dtype == torch.bool:
        mask, other = other, mask
    return mask + other if other.is_floating_point() else mask.masked_fill(~other, -math.inf)


def _pieces(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, call: Call
) -> Iterator[tuple[tuple[slice, slice, slice], tuple[torch.Tensor, ...], torch.Tensor | None, Bounds]]:
    """Where in the result each piece goes, its query, key and value, its mask in memory and its bounds."""
    batch, _, queries, _ = query.shape
    for piece in pieces_of(call.bounds, batch, queries, key.shape[2]):
        here, stored = (piece.batch, slice(None), piece.rows), (piece.batch, slice(None), piece.keys)
        mask = call.mask
        if mask is not None:
            taken = zip(mask.shape, (piece.batch, slice(None), piece.rows, piece.keys))
            mask = mask[tuple(part if size > 1 else slice(None) for size, part in taken)]
        if piece.bounds.keys is not None:
            mask = _joined(mask, piece.bounds.keys[piece.batch, None, None, piece.keys])
        yield here, (query[here], key[stored], value[stored]), mask, piece.bounds


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, call: Call) -> torch.Tensor:
    """Attention (B, H, L, Dv) of each piece; what no piece has sees no key."""
    shape, result = (*query.shape[:3], value.shape[-1]), None
    sinks = None if call.sinks is None else call.sinks.to(query.dtype)
    for here, (own_query, own_key, own_value), mask, bounds in _pieces(query, key, value, call):
        attended = in_torch.scaled_dot_product_attention(
            own_query,
            own_key,
            own_value,
            mask,
            call.dropout_p,
            bounds.right == 0,
            call.scale,
            window=None if bounds.left is None and not bounds.right else (bounds.left, bounds.right),
            softcap=call.softcap,
            sinks=sinks,
            query_offset=bounds.offset if bounds.left is not None or bounds.right is not None else 0,
            key_lengths=None if bounds.ends is None else torch.from_numpy(bounds.ends),
        )
        if attended.shape == shape:
            return attended
        if result is None:
            result = query.new_zeros(shape[0], shape[2], shape[1], shape[3]).transpose(1, 2)
        result[here] = attended
    return result


# --- by the formula, where the weights are asked for ----------------------------------------------------------------


def _weights_are_asked_for(options: dict[str, Any]) -> bool:
    if options.get("output_attentions"):
        return True
    if torch.compiler.is_compiling():
        return False
    collected = _active_collector.get()
    return bool(collected) and any("attentions" in name for name in collected)


def _as_eager(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, call: Call
) -> tuple[torch.Tensor, torch.Tensor]:
    """The result (B, L, H, Dv) and the weights (B, H, L, S), in PyTorch, as "eager" has them."""
    batch, heads, queries, size = query.shape
    sharing = heads // key.shape[1]
    key, value = (x.repeat_interleave(sharing, 1) for x in (key, value))
    scores = query @ key.transpose(-1, -2) * (size**-0.5 if call.scale is None else call.scale)
    if call.softcap is not None:
        scores = call.softcap * torch.tanh(scores / call.softcap)
    seen = call.bounds.elements(batch, queries, key.shape[2]).to(query.device)
    # Not -inf: a query without keys would have NaN for weights.
    lowest = torch.finfo(scores.dtype).min
    for mask in (call.mask, seen):
        if mask is not None:
            scores = scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, lowest)
    if call.sinks is not None:
        sinks = call.sinks.to(scores.dtype)[:, None, None].expand(batch, -1, queries, 1)
        scores = torch.cat([scores, sinks], -1)
    weights = torch.softmax(scores, -1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    weights = torch.nn.functional.dropout(weights[..., : key.shape[2]], call.dropout_p)
    return (weights @ value).transpose(1, 2).contiguous(), weights
