"""Attention over a sequence that is split over devices: keys and values travel around a ring.

Source: Liu, Zaharia, Abbeel 2023, "Ring Attention with Blockwise Transformers for Near-Infinite Context", algorithm 1;
the zigzag order of Grattafiori et al. 2024, "The Llama 3 Herd of Models", section 3.3.2, context parallelism. Partial
results are merged by their log-sum-exp (Dao et al. 2023, Flash-Decoding).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_sharding_ring as check
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.attention_blocks import (
    attend_rows,
    converted,
    divided,
    form_of,
    joined,
    merge_rows,
    partitioned,
    stacked,
    states,
)
from fastcore.sharding.collectives import ppermute
from fastcore.sharding.kernels.attention_backward import attention_backward
from fastcore.sharding.token_layout import seen_pairs, token_parts

__all__ = ["RingSaved", "ring_attention", "ring_attention_backward"]


class Options(NamedTuple):
    """Arguments of an attention, checked; queries and keys are numbers of tokens without padding."""

    axis: tuple[str, ...]
    is_causal: bool
    scale: float
    layout: str
    queries: int
    keys: int


class RingSaved(NamedTuple):
    """What `ring_attention_backward` needs. lse: (B, H, L), natural log-sum-exp of the scores."""

    query: ShardedArray
    key: ShardedArray
    value: ShardedArray
    out: ShardedArray
    lse: ShardedArray
    options: Options


def ring_attention(
    query: ShardedArray,
    key: ShardedArray,
    value: ShardedArray,
    *,
    axis: str | tuple[str, ...] = "sp",
    is_causal: bool = False,
    scale: float | None = None,
    layout: str = "contiguous",
    length: int | None = None,
    return_saved: bool = False,
) -> Any:
    """Scaled dot-product attention of sequences whose tokens are split over the devices along `axis`.

    Each device keeps its queries; blocks of keys and values travel around the ring, n - 1 steps, each while the one
    before is used. No device ever holds more than two blocks of keys. Blocks that a causal mask hides are skipped.

    Axes: B batch, H query heads, G key/value heads (H % G == 0), L queries, S keys, D head size, Dv value size.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv), one of float32, float64, float16 and bfloat16
        Split as ``P(batch, heads, axis)``, batch and heads over any other axes of the mesh, or none; lengths that do
        not divide by ``mesh.put(…, pad=True)``.
    axis : mesh axis, or axes, that split the tokens
    is_causal : bool, key j takes part iff j <= position of the query
    scale : float, default 1 / sqrt(D)
    layout : "contiguous": device i has the i-th block of tokens. "zigzag": chunks i and 2n - 1 - i of 2n, as
        `fastcore.sharding.zigzag` puts them, which balances causal attention: n / 2 blocks of work on each device
        instead of up to n.
    length : tokens without padding, of queries and keys, for zigzag; by default all that the arrays have
    return_saved : bool, also return what `ring_attention_backward` needs

    Returns
    -------
    out : (B, H, L, Dv), dtype and split of query; zeros for padding
    saved : RingSaved, only with `return_saved`; it holds query, key and value

    Raises
    ------
    ValueError : shapes, splits or options disagree; the message names argument, rule and what came
    TypeError : not sharded, unsupported or mixed dtypes

    Notes
    -----
    The same as `fastcore.scaled_dot_product_attention` of the whole arrays, to rounding; the same bits on simulated
    devices and on any number of ranks. float16 and bfloat16 are computed in float32 and travel as they are. The cost
    model counts the operations of the device that has most in a step. Bytes that a device sends:
    (n - 1) * B * G * S / n * (D + Dv) elements, by `ppermute`.
    """
    options = _options(query, key, value, axis, is_causal, scale, layout, length)
    ring = _Ring(query, key, options)
    out, lse = states(query, value.shape[3], query.shape[2])
    _forward(ring, query, key, value, out, lse)
    ring.clear_padding(out, lse)
    result = converted(out, query.dtype)
    return (result, RingSaved(query, key, value, out, lse, options)) if return_saved else result


def ring_attention_backward(
    saved: RingSaved, grad_out: ShardedArray
) -> tuple[ShardedArray, ShardedArray, ShardedArray]:
    """Gradients of `ring_attention`: keys and values travel around again, and their gradients with them.

    Parameters
    ----------
    saved : RingSaved
    grad_out : (B, H, L, Dv), the gradient by the result, split as it is; zeros for padding

    Returns
    -------
    grad_query, grad_key, grad_value : shapes, dtype and split of query, key and value

    Raises
    ------
    ValueError, TypeError : grad_out is not as the result

    Notes
    -----
    Bytes that a device sends: those of the forward pass, and n * B * G * S / n * (D + Dv) elements of gradients, in
    at least float32. Source: Dao 2023, FlashAttention-2, algorithm 2, for each block.
    """
    query, key, value, out, lse, options = saved
    check.gradient(grad_out, out.mesh, form_of(out)._replace(dtype=query.dtype))
    computing = lse.dtype
    ring = _Ring(query, key, options)
    grad_query = query.mesh.zeros(query.shape, computing, query.spec, pad=True)
    both = joined(key, value)
    grad_both = key.mesh.zeros(both.shape, computing, both.spec, pad=True)
    given = [converted(x, computing) for x in (query, out, grad_out)]
    for step in range(ring.n):
        following = ring.passed_on(both) if step < ring.n - 1 else both
        _backward_step(ring, step, given, converted(both, computing), lse, grad_query, grad_both)
        both = following
        grad_both = ring.passed_on(grad_both)
    grad_key, grad_value = partitioned(grad_both, [form_of(key), form_of(value)])
    return converted(grad_query, query.dtype), grad_key, grad_value


def _options(
    query: Any, key: Any, value: Any, axis: Any, is_causal: Any, scale: Any, layout: Any, length: Any
) -> Options:
    names = check.split_sequences(query, key, value, axis)
    check.token_layout(layout, query, key, query.mesh.axis_size(names))
    queries, keys = check.token_count(length, query, key)
    scale = 1.0 / math.sqrt(query.shape[3]) if scale is None else validate.score_scale(scale)
    return Options(names, validate.flag(is_causal, "is_causal"), scale, layout, queries, keys)


class Pair(NamedTuple):
    """Some queries of each device and some of the keys that it holds at a step.

    offsets, lengths : for each sequence of this process, position of the queries relative to the keys, and how many
    keys there are
    """

    queries: slice
    keys: slice
    offsets: np.ndarray
    lengths: np.ndarray


class _Ring:
    """Who holds which tokens at which step: device i the keys of device i - step."""

    def __init__(self, query: ShardedArray, key: ShardedArray, options: Options) -> None:
        self.mesh, self.options = query.mesh, options
        self.n = self.mesh.axis_size(options.axis)
        self.batch, self.heads = query.block_shape[:2]
        self.query_parts = token_parts(options.layout, self.n, query.block_shape[2], options.queries)
        self.key_parts = token_parts(options.layout, self.n, key.block_shape[2], options.keys)
        index = self.mesh.axis_index(options.axis).local
        self._index = np.zeros(0, np.int64) if index is None else index

    def passed_on(self, x: ShardedArray) -> ShardedArray:
        """Each block on the next device of the ring."""
        if self.n == 1:
            return x
        return ppermute(x, self.options.axis, [(i, (i + 1) % self.n) for i in range(self.n)])

    def pairs(self, step: int, flops_a_pair: int, name: str) -> Iterator[Pair]:
        """What is computed at a step, which is entered into the ledger; nothing for a mesh without values.

        Pairs that the mask hides on all devices are left out. The decision and the operations entered are those of
        all devices, so every process makes the same.
        """
        holders = (np.arange(self.n) - step) % self.n
        work = np.zeros(self.n, np.int64)
        found = []
        for queries in self.query_parts:
            for keys in self.key_parts:
                offsets, lengths = queries.starts - keys.starts[holders], keys.counts[holders]
                if self.options.is_causal:
                    seen = seen_pairs(offsets, queries.counts, lengths)
                else:
                    seen = queries.counts * lengths
                work += seen
                if seen.any():
                    found.append(Pair(queries.rows, keys.rows, self._of_each(offsets), self._of_each(lengths)))
        flops = float(work.max()) * flops_a_pair * self.batch * self.heads
        self.mesh.ledger.add(self.mesh, "compute", flops=flops, name=name)
        return iter([] if self.mesh.is_dry else found)

    def _of_each(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers of the devices along the axis, for each sequence of this process."""
        return np.repeat(numbers[self._index], self.batch)

    def clear_padding(self, out: ShardedArray, lse: ShardedArray) -> None:
        """Zeros, as `mesh.put` has them: what padding has seen must not reach sums over tokens."""
        if out.local is None or lse.local is None:
            return
        for part in self.query_parts:
            for device, index in enumerate(self._index):
                padding = slice(part.rows.start + part.counts[index], part.rows.stop)
                out.local[device, :, :, padding] = 0.0
                lse.local[device, :, :, padding] = -np.inf


def _forward(
    ring: _Ring, query: ShardedArray, key: ShardedArray, value: ShardedArray, out: ShardedArray, lse: ShardedArray
) -> None:
    queries, both = converted(query, out.dtype), joined(key, value)
    more = states(query, value.shape[3], ring.n * max(part.length for part in ring.query_parts))
    if lse.local is not None and out.local is not None:
        out.local[...] = 0.0
        lse.local[...] = -np.inf
    begun: set[int] = set()
    for step in range(ring.n):
        following = ring.passed_on(both) if step < ring.n - 1 else both
        _forward_step(ring, step, queries, converted(both, out.dtype), (out, lse), more, begun)
        both = following


def _forward_step(
    ring: _Ring,
    step: int,
    queries: ShardedArray,
    both: ShardedArray,
    state: tuple[ShardedArray, ShardedArray],
    more: tuple[ShardedArray, ShardedArray],
    begun: set[int],
) -> None:
    """Attend to the keys of a step, and merge that into the state, or start it; more: room for what is merged."""
    for pair in ring.pairs(step, 2 * both.shape[3], "ring_attention"):
        rows = tuple(stacked(x)[:, :, pair.queries] for x in state)
        room = tuple(stacked(x)[:, :, : pair.queries.stop - pair.queries.start] for x in more)
        target = room if pair.queries.start in begun else rows
        attend_rows(
            stacked(queries)[:, :, pair.queries], *divided(stacked(both)[:, :, pair.keys], queries.shape[3]), *target,
            offsets=pair.offsets, lengths=pair.lengths, is_causal=ring.options.is_causal, scale=ring.options.scale,
        )  # fmt: skip
        if target is room:
            merge_rows(*rows, *room)
        begun.add(pair.queries.start)


def _backward_step(
    ring: _Ring,
    step: int,
    given: list[ShardedArray],
    both: ShardedArray,
    lse: ShardedArray,
    grad_query: ShardedArray,
    grad_both: ShardedArray,
) -> None:
    """Add the gradients of what meets at a step; given: query, out and grad_out."""
    size = given[0].shape[3]
    flops_a_pair = 4 * size + 2 * both.shape[3] + 2 * (both.shape[3] - size)
    for pair in ring.pairs(step, flops_a_pair, "ring_attention_backward"):
        query, out, grad_out, gradients = (stacked(x)[:, :, pair.queries] for x in (*given, grad_query))
        keys, values = divided(stacked(both)[:, :, pair.keys], size)
        attention_backward(
            query, keys, values, out, stacked(lse)[:, :, pair.queries], grad_out, gradients,
            *divided(stacked(grad_both)[:, :, pair.keys], size), is_causal=ring.options.is_causal,
            scale=ring.options.scale, query_offset=pair.offsets, key_lengths=pair.lengths,
        )  # fmt: skip
