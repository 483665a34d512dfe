"""Attention on the blocks of all devices of this process at once: one launch, a sequence of a device an item.

Blocks (n_local, B, H, L, D) are a batch of n_local * B sequences to our kernels, whose results for a sequence depend
on nothing else; so neither do those of a device on how many others there are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate
from fastcore.attention import scaled_dot_product_attention
from fastcore.attention.kernels.merge import merge_states
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.spec import P

__all__ = [
    "Form",
    "attend_rows",
    "converted",
    "divided",
    "form_of",
    "joined",
    "merge_rows",
    "partitioned",
    "stacked",
    "states",
]


class Form(NamedTuple):
    """What an array is but for its values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    spec: P


def form_of(x: ShardedArray) -> Form:
    return Form(x.shape, x.dtype, x.spec)


def stacked(x: ShardedArray) -> np.ndarray:
    """Blocks (n_local, B, ...) as (n_local * B, ...), the same memory. Not for dry meshes."""
    blocks: Any = x.local
    result: np.ndarray = blocks.reshape(blocks.shape[0] * blocks.shape[1], *blocks.shape[2:])
    return result


def converted(x: ShardedArray, dtype: np.dtype) -> ShardedArray:
    """`x` in another dtype; itself if it has that."""
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):  # float16 ends at 65504
        local = None if x.local is None else x.local.astype(dtype)
    return x.mesh.from_blocks(local, x.spec, x.shape, dtype)


def joined(*arrays: ShardedArray) -> ShardedArray:
    """Arrays of the same rows side by side along the last axis: one message instead of several."""
    first = arrays[0]
    local = None
    if first.local is not None:
        local = np.concatenate([x.local for x in arrays], axis=-1)
    shape = (*first.shape[:-1], sum(x.shape[-1] for x in arrays))
    return first.mesh.from_blocks(local, first.spec, shape, first.dtype)


def partitioned(x: ShardedArray, like: list[Form]) -> list[ShardedArray]:
    """Undo `joined`: arrays of these forms."""
    parts, start = [], 0
    for each in like:
        local = None
        if x.local is not None:
            local = np.ascontiguousarray(x.local[..., start : start + each.shape[-1]], dtype=each.dtype)
        parts.append(x.mesh.from_blocks(local, each.spec, each.shape, each.dtype))
        start += each.shape[-1]
    return parts


def divided(both: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys, of this head size, and values that lie side by side, in place."""
    return both[..., :size], both[..., size:]


def states(query: ShardedArray, size: int, tokens: int) -> tuple[ShardedArray, ShardedArray]:
    """out (B, H, tokens, size) and lse (B, H, tokens), in the dtype that queries are computed in."""
    mesh, dtype, shape = query.mesh, validate.computing_dtype(query.dtype), (*query.shape[:2], tokens)
    out = mesh.empty((*shape, size), dtype, query.spec, pad=True)
    return out, mesh.empty(shape, dtype, P(*query.spec[:3]), pad=True)


def attend_rows(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    *,
    is_causal: bool,
    scale: float,
    offsets: Any = 0,
    lengths: np.ndarray | None = None,
) -> None:
    """Attention of each sequence into `out` and `lse`. Tiles of queries that see no key cost next to nothing.

    offsets, lengths : (sequences,), position of the first query relative to the first key, and number of keys
    """
    _, lse[...] = scaled_dot_product_attention(
        query, key, value, is_causal=is_causal, scale=scale, query_offset=offsets, key_lengths=lengths,
        return_lse=True, out=out,
    )  # fmt: skip


def merge_rows(out: np.ndarray, lse: np.ndarray, more: np.ndarray, lse_more: np.ndarray) -> None:
    """Merge what more keys have given into `out` and `lse`, in place: the kernel reads a row before it writes it."""
    if lse.size:
        merge_states(out, lse[..., None], more, lse_more[..., None], out, lse[..., None])
