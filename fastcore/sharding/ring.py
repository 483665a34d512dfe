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
from fastcore.attention.kernels.backward import attention_backward
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
from fastcore.sharding.token_layout import Part, joined_parts, seen_pairs, token_parts

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
    length : tokens without padding, of queries and keys. By default all that the arrays have; zigzag that is not causal
        must be told, as what `zigzag` has filled up would attend
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
    ValueError, TypeError : saved is no RingSaved, grad_out not as the result

    Notes
    -----
    Bytes that a device sends: those of the forward pass, and n * B * G * S / n * (D + Dv) elements of gradients, in
    at least float32. A NaN or inf in a key may reach gradients of queries that a causal mask hides it from, which the
    forward pass guards against. Source: Dao 2023, FlashAttention-2, algorithm 2, for each block.
    """
    check.saved(saved, RingSaved, "ring_attention")
    query, key, value, out, lse, options = saved
    check.gradient(grad_out, out.mesh, form_of(out)._replace(dtype=query.dtype))
    computing = lse.dtype
    ring = _Ring(query, key, options)
    grad_query = query.zeros_like(computing)
    both = joined(key, value)
    grad_both = both.zeros_like(computing)
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
    is_causal = validate.flag(is_causal, "is_causal")
    queries, keys = check.token_count(length, query, key, layout == "zigzag" and not is_causal)
    scale = 1.0 / math.sqrt(query.shape[3]) if scale is None else validate.score_scale(scale)
    return Options(names, is_causal, scale, layout, queries, keys)


class Meeting(NamedTuple):
    """Some queries of each device and some of the keys that it holds at a step.

    offsets : (n,) position of the first query relative to the first key, None where no mask lies between them.
    active : (n,) whether they see each other at all, on the device with each index along the axis
    """

    queries: Part
    keys: Part
    counts: np.ndarray
    offsets: np.ndarray | None
    active: np.ndarray

    def seen(self) -> np.ndarray:
        """(n,) pairs of a query and a key that it sees."""
        if self.offsets is None:
            return self.active * self.queries.counts * self.counts
        return seen_pairs(self.offsets, self.queries.counts, self.counts)


class Pair(NamedTuple):
    """A meeting on the devices of this process: their `sequences` from the first to the last that has any work.

    offsets, lengths : for each of them, as `scaled_dot_product_attention` takes query_offset and key_lengths
    """

    queries: slice
    keys: slice
    sequences: slice
    is_causal: bool
    offsets: np.ndarray
    lengths: np.ndarray

    def rows(self, x: ShardedArray) -> np.ndarray:
        """The queries, or what belongs to them."""
        return stacked(x)[self.sequences, :, self.queries]

    def held(self, x: ShardedArray) -> np.ndarray:
        """The keys and values, or what belongs to them."""
        return stacked(x)[self.sequences, :, self.keys]


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

    def _meetings(self, step: int) -> list[Meeting]:
        """What a step consists of. Zigzag under a causal mask, behind the first step: device i has chunks i and
        2n - 1 - i and meets those of j. For j < i all queries see the early keys, for j > i the late ones see all."""
        index = np.arange(self.n)
        holders = (index - step) % self.n
        queries, keys = joined_parts(self.query_parts), joined_parts(self.key_parts)
        everyone = np.ones(self.n, bool)
        if not self.options.is_causal:
            return [Meeting(queries, keys, keys.counts[holders], None, everyone)]
        if self.options.layout == "zigzag" and step > 0:
            early, late = self.key_parts[0], self.query_parts[1]
            return [
                Meeting(queries, early, early.counts[holders], None, holders < index),
                Meeting(late, keys, keys.counts[holders], None, holders > index),
            ]
        return [
            Meeting(one, other, other.counts[holders], one.starts - other.starts[holders], everyone)
            for one in self.query_parts
            for other in self.key_parts
        ]

    def pairs(self, step: int, flops_a_pair: int, name: str) -> Iterator[Pair]:
        """What this process has to compute at a step. Entered into the ledger are the operations of the device that
        has most, of all devices, so that the ledgers of all processes are equal."""
        work, found = np.zeros(self.n, np.int64), []
        for meeting in self._meetings(step):
            seen = meeting.seen()
            work += seen
            if seen.any():  # on any device: results must not depend on which of them are here
                found.append(self._local(meeting, seen > 0))
        flops = float(work.max()) * flops_a_pair * self.batch * self.heads
        self.mesh.ledger.add(self.mesh, "compute", flops=flops, name=name)
        return iter([] if self.mesh.is_dry else found)

    def _local(self, meeting: Meeting, active: np.ndarray) -> Pair:
        here = np.flatnonzero(active[self._index])
        devices = slice(here[0], here[-1] + 1) if len(here) else slice(0, 0)
        index = self._index[devices]
        offsets = np.zeros(self.n, np.int64) if meeting.offsets is None else meeting.offsets
        lengths = np.where(active, meeting.counts, 0)
        return Pair(
            meeting.queries.rows,
            meeting.keys.rows,
            slice(devices.start * self.batch, devices.stop * self.batch),
            meeting.offsets is not None,
            np.repeat(offsets[index], self.batch),
            np.repeat(lengths[index], self.batch),
        )

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
    more = states(query, value.shape[3], query.shape[2])
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
        rows = pair.rows(state[0]), pair.rows(state[1])
        room = tuple(stacked(x)[pair.sequences, :, : rows[0].shape[2]] for x in more)
        target = room if pair.queries.start in begun else rows
        begun.add(pair.queries.start)
        attend_rows(
            pair.rows(queries), *divided(pair.held(both), queries.shape[3]), *target, is_causal=pair.is_causal,
            scale=ring.options.scale, offsets=pair.offsets, lengths=pair.lengths,
        )  # fmt: skip
        if target is room:
            merge_rows(*rows, *room)


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
        query, out, grad_out = (pair.rows(x) for x in given)
        attention_backward(
            query, *divided(pair.held(both), size), out, pair.rows(lse), grad_out, pair.rows(grad_query),
            *divided(pair.held(grad_both), size), is_causal=pair.is_causal, scale=ring.options.scale,
            query_offset=pair.offsets, key_lengths=pair.lengths,
        )  # fmt: skip
