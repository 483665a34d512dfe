"""Attention of a layer whose tokens are split over devices, as well as its heads: by `ring_attention`."""

from __future__ import annotations

from fastcore.sharding.array import ShardedArray
from fastcore.sharding.attention_blocks import Form, form_of
from fastcore.sharding.contraction import entries
from fastcore.sharding.ring import RingSaved, ring_attention, ring_attention_backward
from fastcore.sharding.spec import P, parts_of

__all__ = ["attend_around", "attend_around_backward", "by_tokens"]


def attend_around(
    query: ShardedArray,
    key: ShardedArray,
    value: ShardedArray,
    *,
    size: int,
    axis: tuple[str, ...],
    is_causal: bool,
    scale: float,
) -> tuple[ShardedArray, RingSaved]:
    """The result (B, L, G, H / G D) of query (B, L, G, H / G D) and key, value (B, L, G, D), L split over `axis`, and
    what the way back needs."""
    heads = (by_heads(each, size) for each in (query, key, value))
    out, saved = ring_attention(*heads, axis=axis, is_causal=is_causal, scale=scale, return_saved=True)
    return by_tokens(out, form_of(query)), saved


def attend_around_backward(saved: RingSaved, grad_out: ShardedArray, groups: int) -> list[ShardedArray]:
    """Gradients by query, key and value of `attend_around`, which have G = `groups` heads of keys."""
    gradients = ring_attention_backward(saved, by_heads(grad_out, saved.out.shape[3]))
    shape, sharing = grad_out.shape[:2], saved.query.block_shape[1] // saved.key.block_shape[1]
    size = saved.key.shape[3]
    return [
        by_tokens(each, Form((*shape, groups, heads * size), each.dtype, grad_out.spec))
        for each, heads in zip(gradients, (sharing, 1, 1))
    ]


def by_heads(x: ShardedArray, size: int) -> ShardedArray:
    """(B, L, G, r D) as (B, r G, L, D), with the heads that fill up the devices."""
    groups = x.block_shape[2] * parts_of(x.spec, 2, x.mesh.axes)
    batch, tokens, heads, _ = entries(x)
    shape = (x.shape[0], groups * (x.shape[3] // size), x.shape[1], size)
    result = x.mesh.empty(shape, x.dtype, P(batch, heads, tokens), pad=True)
    if x.local is not None and result.local is not None:
        result.local[...] = x.local.reshape(*x.local.shape[:3], -1, size).swapaxes(2, 3)
    return result


def by_tokens(x: ShardedArray, form: Form) -> ShardedArray:
    """Undo `by_heads`."""
    result = x.mesh.empty(form.shape, x.dtype, form.spec, pad=True)
    if x.local is not None and result.local is not None:
        result.local[...] = x.local.swapaxes(2, 3).reshape(result.local.shape)
    return result
