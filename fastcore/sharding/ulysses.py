"""Attention over a sequence that is split over devices: heads are exchanged for tokens and back.

Source: Jacobs et al. 2023, "DeepSpeed Ulysses: System Optimizations for Enabling Training of Extreme Long Sequence
Transformer Models", section 3.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_sharding_ring as check
from fastcore.attention.kernels.backward import attention_backward
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.attention_blocks import (
    Form,
    attend_rows,
    converted,
    divided,
    form_of,
    joined,
    partitioned,
    stacked,
    states,
)
from fastcore.sharding.collectives import all_to_all
from fastcore.sharding.spec import parts_of
from fastcore.sharding.token_layout import seen_pairs

__all__ = ["UlyssesSaved", "ulysses_attention", "ulysses_attention_backward"]


class Options(NamedTuple):
    """Arguments of an attention, checked. Each key head is sent `repeats` times, and `heads` query heads and `groups`
    key heads of a block are what divides by the devices, the last ones of them zeros."""

    axis: tuple[str, ...]
    is_causal: bool
    scale: float
    repeats: int
    heads: int
    groups: int


class UlyssesSaved(NamedTuple):
    """What `ulysses_attention_backward` needs: some heads of all tokens on each device. both: keys and values side by
    side. forms: of query, key, value and the result."""

    query: ShardedArray
    both: ShardedArray
    out: ShardedArray
    lse: ShardedArray
    forms: tuple[Form, Form, Form, Form]
    options: Options


def ulysses_attention(
    query: ShardedArray,
    key: ShardedArray,
    value: ShardedArray,
    *,
    axis: str | tuple[str, ...] = "sp",
    is_causal: bool = False,
    scale: float | None = None,
    return_saved: bool = False,
) -> Any:
    """Scaled dot-product attention of sequences whose tokens are split over the devices along `axis`.

    An all-to-all gives each device all tokens of a share of the heads, another one gives the results back: less to
    send than `ring_attention`, but at most as many devices as there are heads do useful work.

    Axes: B batch, H query heads, G key/value heads (H % G == 0), L queries, S keys, D head size, Dv value size.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv), one of float32, float64, float16 and bfloat16
        Split as ``P(batch, heads, axis)``, batch and heads over any other axes of the mesh, or none; lengths that do
        not divide by ``mesh.put(…, pad=True)``. Fewer key heads than devices are repeated where that gives each
        device its share; else heads are filled up with zeros, which cost time and change nothing.
    axis, is_causal, scale : as in `ring_attention`
    return_saved : bool, also return what `ulysses_attention_backward` needs

    Returns
    -------
    out : (B, H, L, Dv), dtype and split of query; zeros for padding
    saved : UlyssesSaved, only with `return_saved`

    Raises
    ------
    ValueError : shapes, splits or options disagree; the message names argument, rule and what came
    TypeError : not sharded, unsupported or mixed dtypes

    Notes
    -----
    The same bits on simulated devices and on any number of ranks. float16 and bfloat16 are computed in float32. Bytes
    that a device sends: (n - 1) / n of its blocks of queries, keys with values, and results, by `all_to_all`.
    """
    names = check.split_sequences(query, key, value, axis)
    scale = 1.0 / math.sqrt(query.shape[3]) if scale is None else validate.score_scale(scale)
    plan = _shares(query.block_shape[1], key.block_shape[1], query.mesh.axis_size(names))
    options = Options(names, validate.flag(is_causal, "is_causal"), scale, *plan)
    result = Form((*query.shape[:3], value.shape[3]), query.dtype, query.spec)
    forms = form_of(query), form_of(key), form_of(value), result
    queries = _by_heads(_spread(query, 1, options.heads), options)
    both = _by_heads(_spread(joined(key, value), options.repeats, options.groups), options)
    out, lse = states(queries, value.shape[3], queries.shape[2])
    _enter(queries, forms, options, 2 * both.shape[3], "ulysses_attention")
    if lse.local is not None:
        rows, keys = stacked(converted(queries, out.dtype)), stacked(converted(both, out.dtype))
        attend_rows(
            rows, *divided(keys, key.shape[3]), stacked(out), stacked(lse), is_causal=options.is_causal, scale=scale
        )
    back = _by_tokens(converted(out, query.dtype), result, options)
    return (back, UlyssesSaved(queries, both, out, lse, forms, options)) if return_saved else back


def ulysses_attention_backward(
    saved: UlyssesSaved, grad_out: ShardedArray
) -> tuple[ShardedArray, ShardedArray, ShardedArray]:
    """Gradients of `ulysses_attention`.

    Parameters
    ----------
    saved : UlyssesSaved
    grad_out : (B, H, L, Dv), the gradient by the result, split as it is; zeros for padding

    Returns
    -------
    grad_query, grad_key, grad_value : shapes, dtype and split of query, key and value

    Raises
    ------
    ValueError, TypeError : saved is no UlyssesSaved, grad_out not as the result

    Notes
    -----
    Bytes that a device sends: (n - 1) / n of the blocks of grad_out, and of the gradients of queries, keys and values
    in at least float32. Source: Dao 2023, FlashAttention-2, algorithm 2.
    """
    check.saved(saved, UlyssesSaved, "ulysses_attention")
    queries, both, out, lse, forms, options = saved
    query, key, value, result = forms
    check.gradient(grad_out, saved.out.mesh, result)
    computing = lse.dtype
    gradients = _by_heads(_spread(grad_out, 1, options.heads), options)
    size = query.shape[3]
    flops_a_pair = 4 * size + 2 * both.shape[3] + 2 * value.shape[3]
    _enter(queries, forms, options, flops_a_pair, "ulysses_attention_backward")
    grad_queries = queries.zeros_like(computing)
    grad_both = both.zeros_like(computing)
    given = [converted(x, computing) for x in (queries, both, gradients)]
    if lse.local is not None:
        rows, keys, of_out = (stacked(x) for x in given)
        attention_backward(
            rows, *divided(keys, size), stacked(out), stacked(lse), of_out, stacked(grad_queries),
            *divided(stacked(grad_both), size), is_causal=options.is_causal, scale=options.scale,
        )  # fmt: skip
    del given, gradients
    grad_query = _by_tokens(converted(grad_queries, query.dtype), query, options)
    wide = Form((*key.shape[:3], both.shape[3]), computing, key.spec)
    grad_key, grad_value = partitioned(_by_tokens(grad_both, wide, options, options.repeats), [key, value])
    return grad_query, grad_key, grad_value


def _shares(heads: int, groups: int, n: int) -> tuple[int, int, int]:
    """How often key heads are sent, and the numbers of query and key heads that n devices share evenly."""
    sharing = heads // groups if groups else 1
    repeats = n // math.gcd(groups, n)
    if sharing % repeats:
        repeats = 1
    filled = -(-groups * repeats // n) * n
    return repeats, filled * (sharing // repeats), filled


def _spread(x: ShardedArray, repeats: int, heads: int) -> ShardedArray:
    """Each head so many times, and zeros behind them up to `heads` of a block."""
    if repeats == 1 and heads == x.block_shape[1]:
        return x
    shape = (x.shape[0], heads * parts_of(x.spec, 1, x.mesh.axes), *x.shape[2:])
    result = x.mesh.zeros(shape, x.dtype, x.spec, pad=True)
    if x.local is not None and result.local is not None:
        result.local[:, :, : x.block_shape[1] * repeats] = np.repeat(x.local, repeats, axis=2)
    return result


def _by_heads(x: ShardedArray, options: Options) -> ShardedArray:
    """All tokens, without padding, of a share of the heads."""
    return all_to_all(x, options.axis, 1, 2, tiled=True)


def _by_tokens(x: ShardedArray, form: Form, options: Options, repeats: int = 1) -> ShardedArray:
    """Undo `_by_heads` and `_spread`; what repeated heads have is added up, in their order."""
    mesh = x.mesh
    n = mesh.axis_size(options.axis)
    filled = x
    if x.shape[2] % n:
        filled = mesh.zeros((*x.shape[:2], -(-x.shape[2] // n) * n, x.shape[3]), x.dtype, x.spec, pad=True)
        if x.local is not None and filled.local is not None:
            filled.local[:, :, :, : x.shape[2]] = x.local
    back = all_to_all(filled, options.axis, 2, 1, tiled=True)
    local = None
    if back.local is not None:
        heads = -(-form.shape[1] // parts_of(form.spec, 1, mesh.axes))
        kept = back.local[:, :, : heads * repeats]
        each = kept.reshape(*kept.shape[:2], heads, repeats, *kept.shape[3:])
        local = each[:, :, :, 0].copy()
        for number in range(1, repeats):
            local += each[:, :, :, number]
    return mesh.from_blocks(local, form.spec, form.shape, form.dtype)


def _enter(
    queries: ShardedArray, forms: tuple[Form, Form, Form, Form], options: Options, flops_a_pair: int, name: str
) -> None:
    tokens, keys = forms[0].shape[2], forms[1].shape[2]
    pairs = float(tokens * keys)
    if options.is_causal:
        pairs = float(seen_pairs(np.zeros(1, np.int64), np.array([tokens]), np.array([keys]))[0])
    batch, heads = queries.block_shape[:2]
    queries.mesh.ledger.add(queries.mesh, "compute", flops=pairs * flops_a_pair * batch * heads, name=name)
