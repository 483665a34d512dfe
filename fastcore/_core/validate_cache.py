"""Argument checks of the key/value cache with a fixed batch. `validate` has the general ones.

The sizes a check needs are passed as `CacheSizes`; nothing here knows the cache itself.
"""

import errno
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastcore._core import validate

# What x86-64 and AArch64 let a process address; more can never be allocated, less is the system's to refuse.
ADDRESSABLE_BYTES = 1 << 47

# Tokens a sequence may count in a ring, which never fills: float64 holds positions up to here exactly (rotary angles).
MOST_TOKENS = 1 << 53


class CacheSizes(NamedTuple):
    batch: int
    num_kv_heads: int
    capacity: int
    head_dim: int
    value_dim: int


# --- the constructor --------------------------------------------------------------------------------------------------


def cache_sizes(batch: Any, num_kv_heads: Any, capacity: Any, head_dim: Any, value_dim: Any) -> CacheSizes:
    """All positive; `value_dim` defaults to `head_dim`."""
    head_dim = validate.positive_index(head_dim, "head_dim")
    return CacheSizes(
        validate.positive_index(batch, "batch"),
        validate.positive_index(num_kv_heads, "num_kv_heads"),
        validate.positive_index(capacity, "capacity"),
        head_dim,
        head_dim if value_dim is None else validate.positive_index(value_dim, "value_dim"),
    )


def addressable(sizes: CacheSizes, bytes_per_token: int) -> None:
    """What the sizes ask for fits into an address space; `bytes_per_token` are those of one head."""
    needed = sizes.batch * sizes.num_kv_heads * sizes.capacity * bytes_per_token
    if needed >= ADDRESSABLE_BYTES:
        named = ", ".join(f"{name} = {validate.integer(size)}" for name, size in sizes._asdict().items())
        raise ValueError(
            "batch * num_kv_heads * capacity is too large: the keys and values must take less than 2**47 bytes. Got"
            f" {named}, some 2**{needed.bit_length() - 1} bytes. Lower capacity or batch."
        )


def no_memory(sizes: CacheSizes, bytes_per_token: int, error: MemoryError) -> NoReturn:
    needed = sizes.batch * sizes.num_kv_heads * sizes.capacity * bytes_per_token
    raise MemoryError(
        f"a cache of batch {sizes.batch} and capacity {sizes.capacity} takes {needed / 2**30:.1f} GiB, which the system"
        " refuses. Lower capacity or batch, or store another dtype."
    ) from error


def ring_sizes(window: Any, sinks: Any, capacity: int) -> tuple[int, int] | None:
    """(window, sinks) where there is a window; both then fit into the capacity."""
    sinks = validate.index(sinks, "sinks")
    if sinks < 0:
        raise ValueError(f"sinks must not be negative. Got {validate.integer(sinks)}.")
    if window is None:
        if sinks:
            raise ValueError(
                "sinks need a window: without one nothing is dropped. Got window None, sinks"
                f" {validate.integer(sinks)}."
            )
        return None
    window = validate.positive_index(window, "window")
    if sinks + window > capacity:
        raise ValueError(
            f"capacity must hold sinks + window tokens. Got capacity {validate.integer(capacity)}, sinks"
            f" {validate.integer(sinks)}, window {validate.integer(window)}. Pass"
            f" capacity={validate.integer(sinks + window)} or more; each one more lets one more token attend at once."
        )
    return window, sinks


def rotary_of_cache(rotary: Any, kind: type, head_dim: int) -> None:
    """`rotary` is a `kind` that heads of this size can take; `kind` is passed since it lives floors above."""
    if not isinstance(rotary, kind):
        raise TypeError(f"rotary must be a fastcore.kvcache.Rotary or None. Got {validate.kind_of(rotary)}.")
    wanted = getattr(rotary, "rotary_dim", None)
    if head_dim % 2 if wanted is None else wanted > head_dim:
        raise ValueError(
            "rotary must fit head_dim: an even one, or rotary_dim at most as large."
            f" Got head_dim {head_dim}, rotary_dim {wanted}."
        )


def no_copy(kind: str, instead: str) -> NoReturn:
    raise TypeError(f"a {kind} cannot be copied or pickled: it has memory and a lock of its own. {instead}")


# --- arrays of a call -------------------------------------------------------------------------------------------------


def keys_and_values(key: Any, value: Any, sizes: CacheSizes) -> tuple[np.ndarray, np.ndarray]:
    """New tokens as (B, G, T, D) and (B, G, T, Dv) of float32, readable in place."""
    key, value = validate.float_array(key, "key"), validate.float_array(value, "value")
    if key.ndim != 4 or value.ndim != 4 or key.shape[:3] != value.shape[:3] or key.shape[2] == 0:
        raise ValueError(
            "key and value must be (B, G, T, D) and (B, G, T, Dv) with the same B, G and T, T at least 1."
            f" Got key {key.shape}, value {value.shape}."
        )
    batch, heads = key.shape[:2]
    if batch != sizes.batch:
        raise ValueError(f"key and value must have the cache's batch, {sizes.batch}. Got key {key.shape}.")
    if heads != sizes.num_kv_heads:
        raise ValueError(
            f"key and value must have the cache's num_kv_heads, {sizes.num_kv_heads}. Got"
            f" {validate.counted(heads, 'head')} in key {key.shape}."
        )
    for name, array, size_name, size in (
        ("key", key, "head_dim", sizes.head_dim),
        ("value", value, "value_dim", sizes.value_dim),
    ):
        if array.shape[3] != size:
            raise ValueError(f"the last axis of {name} must be the cache's {size_name}, {size}. Got {array.shape}.")
    return as_float32(key), as_float32(value)


def query_array(query: Any, sizes: CacheSizes) -> np.ndarray:
    """(B, H, T, D) or (B, H, D), T and H at least 1, in the dtype it came in."""
    query = validate.float_array(query, "query")
    if (
        query.ndim not in (3, 4)
        or query.shape[0] != sizes.batch
        or query.shape[-1] != sizes.head_dim
        or 0 in query.shape
    ):
        raise ValueError(
            f"query must be (B, H, T, D) or (B, H, D) with the cache's batch, B = {sizes.batch}, and head_dim,"
            f" D = {sizes.head_dim}, H and T at least 1. Got {query.shape}."
        )
    if query.shape[1] % sizes.num_kv_heads:
        raise ValueError(
            f"query has {validate.counted(query.shape[1], 'head')}; it must have a multiple of the cache's"
            f" num_kv_heads, {sizes.num_kv_heads}. Got query {query.shape}."
        )
    return query


def tokens_of_step(query: np.ndarray, key: np.ndarray) -> None:
    tokens = query.shape[2] if query.ndim == 4 else 1
    if tokens != key.shape[2]:
        raise ValueError(
            f"query has {validate.counted(tokens, 'token')} and key {key.shape[2]}; they must be equal in a step. Got"
            f" query {query.shape}, key {key.shape}. Call append, then attend, to look from some of them only."
        )


def as_float32(x: np.ndarray) -> np.ndarray:
    """float32 that a kernel can read where it lies; float64 beyond its range becomes inf."""
    if x.dtype != np.float32:
        with np.errstate(over="ignore", invalid="ignore"):
            x = x.astype(np.float32)
    return validate.readable_in_place(x)


# --- lengths ----------------------------------------------------------------------------------------------------------


def token_counts(lengths: Any, batch: int, tokens: int) -> np.ndarray | None:
    """How many of the T tokens of a call each sequence has, (B,) int64, or None where all have T."""
    if lengths is None:
        return None
    counts = validate.integers_per_sequence(lengths, "lengths", batch)
    for b in np.flatnonzero((counts < 0) | (counts > tokens))[:1]:
        raise ValueError(f"lengths must lie in 0 .. T, here {tokens}. Got {counts[b]} for sequence {b}.")
    return None if (counts == tokens).all() else counts


def room(lengths: np.ndarray, now: np.ndarray, capacity: int, error: type[Exception]) -> None:
    """No sequence grows from `now` beyond the capacity, else `error`, which lives floors above."""
    for b in np.flatnonzero(lengths > capacity)[:1]:
        raise error(
            f"the cache is full: sequence {b} has {now[b]} tokens and would get {lengths[b]}. Got capacity {capacity}."
            " Truncate or reset it, or make a larger cache, or one with a window."
        )


def tokens_in_cache(counts: np.ndarray, lengths: np.ndarray) -> None:
    """The newest `counts` tokens, whose queries came, are in the cache."""
    for b in np.flatnonzero(counts > lengths)[:1]:
        raise ValueError(
            f"query has {validate.counted(counts[b], 'token')}, whose keys and values must be in the cache. Got"
            f" {validate.counted(lengths[b], 'token')} in sequence {b} of it. Append them first, call step, or pass"
            " lengths."
        )


def shorter_lengths(lengths: Any, now: np.ndarray) -> np.ndarray:
    """(B,) int64 in 0 .. now."""
    shorter = validate.integers_per_sequence(lengths, "lengths", now.size)
    for b in np.flatnonzero((shorter < 0) | (shorter > now))[:1]:
        raise ValueError(
            f"lengths must lie in 0 .. the sequence's length: truncate only shortens. Got {shorter[b]} for sequence"
            f" {b}, which has {now[b]} tokens."
        )
    return shorter.copy()


def beam_indices(x: Any, batch: int) -> np.ndarray:
    indices = validate.integers_per_sequence(x, "beam_indices", batch, one_for_all=False)
    for b in np.flatnonzero((indices < 0) | (indices >= batch))[:1]:
        raise ValueError(f"beam_indices must lie in 0 .. {batch - 1}. Got {indices[b]} for sequence {b}.")
    return indices


# --- the ring ---------------------------------------------------------------------------------------------------------


def window_is_stored(
    counts: np.ndarray, oldest: np.ndarray, kept_from: np.ndarray, lengths: np.ndarray, window: int
) -> None:
    """All keys that queries of `counts` newest tokens look at are still in the ring."""
    for b in np.flatnonzero((counts > 0) & (kept_from > oldest))[:1]:
        most = validate.counted(lengths[b] - window + 1 - kept_from[b], "token")
        raise ValueError(
            f"the first of query's {validate.counted(counts[b], 'token')} looks back to position {oldest[b]} of"
            f" sequence {b}, which the ring dropped: it holds {kept_from[b]} and later. Now its newest {most} can"
            " attend at once. Call step, which splits longer chunks, or raise capacity."
        )


def causal_chunks(is_causal: bool, rounds: int, most: int) -> None:
    if not is_causal and rounds > 1:
        raise ValueError(
            "is_causal must be True for more tokens than the ring can hold beside their windows, since they are taken"
            f" in chunks. Got is_causal=False. Pass at most {most} tokens a step, or raise capacity."
        )


def window_after_truncate(shorter: np.ndarray, oldest: np.ndarray, kept_from: np.ndarray) -> None:
    for b in np.flatnonzero(kept_from > oldest)[:1]:
        raise ValueError(
            f"lengths go back further than the ring holds: at length {shorter[b]} the window of sequence {b} begins at"
            f" position {oldest[b]}, and {kept_from[b]} is the oldest that is stored. Raise capacity (the rows beyond"
            " sinks + window are what truncate can take back), or reset."
        )


# --- files ------------------------------------------------------------------------------------------------------------


def no_folder(path: str) -> None:
    """`path` can be the name of a file."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "path must name a file. Got a folder", path)


def refuse_file(path: Any, reason: Any, cause: BaseException | None = None) -> NoReturn:
    raise ValueError(
        f"path must be an undamaged file that KVCache.save wrote. Got {str(path)!r}: {reason}. Save it anew."
    ) from cause


def saved_state(
    lengths: Any, kept_from: Any, sizes: CacheSizes, ring: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and ring starts of a file as (B,) int64, held to everything the cache relies on."""
    if not (isinstance(lengths, Sequence) and isinstance(kept_from, Sequence)):
        raise ValueError("lengths and kept_from must be lists")
    if len(lengths) != sizes.batch or len(kept_from) != sizes.batch:
        raise ValueError(f"lengths and kept_from must have {sizes.batch} entries")
    now = validate.integers_per_sequence(lengths, "lengths", sizes.batch).copy()
    kept = validate.integers_per_sequence(kept_from, "kept_from", sizes.batch).copy()
    longest = sizes.capacity if ring is None else MOST_TOKENS
    if ((now < 0) | (now > longest)).any():
        raise ValueError(f"lengths must lie in 0 .. {longest}")
    window, sinks = (math.inf, 0) if ring is None else ring
    rows = sizes.capacity - sinks
    newest_start = np.full_like(now, sinks) if ring is None else np.maximum(sinks, now - int(window))
    if ((kept < sinks) | (kept < now - rows) | (kept > newest_start)).any():
        raise ValueError("kept_from must lie between the oldest row of the ring and the window")
    return now, kept
