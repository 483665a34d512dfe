"""Argument checks of the paged cache. `validate` and `validate_cache` have those it shares with others.

New tokens come ragged: as a list of arrays, one a sequence, or as one packed array with cumulative starts.
"""

import math
from collections.abc import Sequence
from operator import gt
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastcore._core import validate
from fastcore._core.validate_cache import ADDRESSABLE_BYTES


class PagedSizes(NamedTuple):
    num_pages: int
    page_size: int
    num_kv_heads: int
    head_dim: int
    value_dim: int


# --- the constructor --------------------------------------------------------------------------------------------------


def paged_sizes(num_pages: Any, page_size: Any, num_kv_heads: Any, head_dim: Any, value_dim: Any) -> PagedSizes:
    """All positive; `value_dim` defaults to `head_dim`."""
    head_dim = validate.positive_index(head_dim, "head_dim")
    return PagedSizes(
        validate.positive_index(num_pages, "num_pages"),
        validate.positive_index(page_size, "page_size"),
        validate.positive_index(num_kv_heads, "num_kv_heads"),
        head_dim,
        head_dim if value_dim is None else validate.positive_index(value_dim, "value_dim"),
    )


def addressable_pages(sizes: PagedSizes, bytes_per_token: int) -> None:
    """What the sizes ask for fits into an address space; `bytes_per_token` are those of one head."""
    needed = math.prod(sizes[:3]) * bytes_per_token
    if needed >= ADDRESSABLE_BYTES:
        named = ", ".join(f"{name} = {validate.integer(size)}" for name, size in sizes._asdict().items())
        raise ValueError(
            "num_pages * page_size * num_kv_heads is too large: the keys and values must take less than 2**47 bytes."
            f" Got {named}, some 2**{needed.bit_length() - 1} bytes. Lower num_pages."
        )


def no_memory_for_pages(sizes: PagedSizes, bytes_per_token: int, error: MemoryError) -> NoReturn:
    needed = math.prod(sizes[:3]) * bytes_per_token
    raise MemoryError(
        f"a cache of {sizes.num_pages} pages of {sizes.page_size} tokens takes {needed / 2**30:.1f} GiB, which the"
        " system refuses. Lower num_pages, or store another dtype."
    ) from error


# --- sequences --------------------------------------------------------------------------------------------------------


def sequence_ids(x: Any) -> Sequence[int]:
    """Python ints from a list, tuple, range or one-dimensional array of integers."""
    if type(x) is list:
        for s in x:
            if type(s) is not int:
                break
        else:
            return x
    if isinstance(x, np.ndarray) and x.ndim == 1 and (x.dtype.kind in "iu" or not x.size):
        x = x.tolist()
    if not isinstance(x, list | tuple | range):
        raise TypeError(f"sequences must be a list of ids from allocate or fork. Got {validate.kind_of(x)}.")
    if set(map(type, x)) <= {int}:
        return x
    return [validate.index(s, f"sequences[{i}]") for i, s in enumerate(x)]


def distinct_sequences(ids: Sequence[int]) -> None:
    if len(set(ids)) != len(ids):
        twice = next(s for i, s in enumerate(ids) if s in ids[:i])
        raise ValueError(f"sequences must be distinct where tokens are appended. Got {twice} more than once.")


def unknown_sequence(sequence: int, issued: int) -> NoReturn:
    """`issued` ids were given out so far, from 0 on."""
    what = "which was freed or transferred" if 0 <= sequence < issued else "which no call returned"
    raise ValueError(
        f"a sequence must be in the cache. Got {validate.integer(sequence)}, {what}. Call allocate for a new one."
    )


def shorter_length(length: Any, now: int, sequence: int) -> int:
    shorter = validate.index(length, "length")
    if not 0 <= shorter <= now:
        raise ValueError(
            "length must lie in 0 .. the sequence's length: truncate only shortens. Got"
            f" {validate.integer(shorter)} for sequence {sequence}, which has {now} tokens."
        )
    return shorter


def queried_tokens(ids: Sequence[int], counts: Sequence[int], lengths: Sequence[int]) -> None:
    """The newest `counts` tokens, whose queries came, are in the cache."""
    if not any(map(gt, counts, lengths)):
        return
    for s, count, length in zip(ids, counts, lengths, strict=True):
        if count > length:
            raise ValueError(
                f"queries of sequence {s} are {count}, whose keys and values must be in the cache. Got {length} tokens"
                " in it. Append them first, or call step."
            )


def nested_call() -> NoReturn:
    raise RuntimeError(
        "the cache is in the middle of a call of this thread, or in a forked child of one that was left behind. Got"
        " another one, e.g. from a signal handler or finalizer (__del__), which would see it half changed. Call it from"
        " ordinary code, and fork from it."
    )


# --- arrays, ragged ---------------------------------------------------------------------------------------------------


def packed_starts(x: Any, count: int, total: int, name: str) -> list[int]:
    """Cumulative starts of `count` sequences in a packed array `name` of `total` tokens: count + 1 ints, 0 to total."""
    array = validate.as_native_array(x, "starts")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"starts must hold integers. Got {array.dtype}. Pass it with .astype(np.int64).")
    if array.shape != (count + 1,):
        raise ValueError(
            f"starts must have one entry more than sequences, {count + 1}: where each begins, and the end of the last."
            f" Got shape {array.shape}."
        )
    starts: list[int] = array.tolist()
    if starts[0] != 0 or starts[-1] != total:
        raise ValueError(
            f"starts must begin with 0 and end with the tokens of {name}, {total}. Got {starts[0]} and {starts[-1]}."
        )
    for i in range(count):
        if starts[i] > starts[i + 1]:
            raise ValueError(
                f"starts must not decrease. Got {starts[i]} and then {starts[i + 1]}, for sequence number {i}."
            )
    return starts


def arrays_of_sequences(x: Any, count: int, name: str) -> Sequence[Any]:
    """A list or tuple with one array for each sequence."""
    if not isinstance(x, list | tuple):
        raise TypeError(
            f"{name} must be a list of arrays, one for each sequence, or with starts one packed array. Got"
            f" {validate.kind_of(x)} and no starts."
        )
    if len(x) != count:
        raise ValueError(f"{name} must have one array for each of {count} sequences. Got {len(x)}.")
    return x


def token_array(x: Any, heads: int, size: int, name: str, sizes: tuple[str, str]) -> np.ndarray:
    """(heads, T, size) floats; `sizes` are the names of the cache's properties that say so."""
    array = validate.float_array(x, name)
    if array.ndim != 3 or array.shape[0] != heads or array.shape[2] != size:
        raise ValueError(
            f"{name} must be ({heads}, T, {size}): the cache's {sizes[0]}, tokens, {sizes[1]}. Got {array.shape}."
        )
    return array


def _packed(x: Any, name: str) -> np.ndarray:
    try:
        return validate.float_array(x, name)
    except TypeError:
        if isinstance(x, list | tuple) and any(getattr(each, "ndim", 0) > 1 for each in x):
            raise TypeError(
                f"{name} with starts must be one packed array of all sequences' tokens. Got a {validate.kind_of(x)} of"
                " arrays. Leave starts out, or join them along the tokens, which are the first axis."
            ) from None
        raise


def packed_token_array(x: Any, heads: int, size: int, name: str, sizes: tuple[str, str]) -> np.ndarray:
    """(tokens, heads, size) floats."""
    array = _packed(x, name)
    if array.ndim != 3 or array.shape[1:] != (heads, size):
        raise ValueError(
            f"{name} with starts must be (tokens, {heads}, {size}): tokens, the cache's {sizes[0]}, {sizes[1]}. Got"
            f" {array.shape}."
        )
    return array


def same_tokens(key_tokens: Sequence[int], value_tokens: Sequence[int]) -> None:
    """keys and values have the same numbers of tokens."""
    for i, (a, b) in enumerate(zip(key_tokens, value_tokens, strict=True)):
        if a != b:
            raise ValueError(f"keys[{i}] has {validate.counted(a, 'token')} and values[{i}] {b}; they must be equal.")


def packed_pair(keys: np.ndarray, values: np.ndarray) -> None:
    if keys.shape[0] != values.shape[0]:
        raise ValueError(
            f"keys has {validate.counted(keys.shape[0], 'token')} and values {values.shape[0]}; they must be equal. Got"
            f" keys {keys.shape}, values {values.shape}."
        )


def query_array(x: Any, size: int, i: int) -> np.ndarray:
    """(H, T, D) or (H, D) floats."""
    array = validate.float_array(x, f"queries[{i}]")
    if array.ndim not in (2, 3) or array.shape[-1] != size:
        raise ValueError(
            f"queries[{i}] must be (H, T, D) or (H, D) with the cache's head_dim, D = {size}. Got {array.shape}."
        )
    return array


def packed_queries(x: Any, size: int) -> np.ndarray:
    """(tokens, H, D) floats."""
    array = _packed(x, "queries")
    if array.ndim != 3 or array.shape[2] != size:
        raise ValueError(
            f"queries with starts must be (tokens, H, D) with the cache's head_dim, D = {size}. Got {array.shape}."
        )
    return array


def query_heads(heads: Sequence[int], kv_heads: int) -> int:
    """The heads that all queries have, a multiple of the cache's; without queries the cache's."""
    for i, h in enumerate(heads):
        if h != heads[0]:
            raise ValueError(
                f"queries must all have the same heads. Got {heads[0]} in queries[0], {h} in queries[{i}]."
            )
    if heads and (heads[0] < 1 or heads[0] % kv_heads):
        raise ValueError(
            f"queries have {heads[0]} heads; they must be a positive multiple of the cache's num_kv_heads, {kv_heads}."
        )
    return heads[0] if heads else kv_heads


def step_tokens(ids: Sequence[int], query_tokens: Sequence[int], key_tokens: Sequence[int]) -> None:
    for s, queries, keys in zip(ids, query_tokens, key_tokens, strict=True):
        if queries != keys:
            raise ValueError(
                f"queries of sequence {s} are {queries} and its keys {keys}; they must be equal in a step. Call append,"
                " then attend, to look from some of them only."
            )


# --- transfer ---------------------------------------------------------------------------------------------------------


def transfer_target(source: Any, target: Any) -> None:
    """`target` is another cache that stores tokens the same way; page sizes may differ."""
    if not isinstance(target, type(source)):
        raise TypeError(f"other must be a {type(source).__name__}. Got {validate.kind_of(target)}.")
    if target is source:
        raise ValueError("other must be another cache. Got the one the sequence is in. Call fork for a copy.")
    for name in ("num_kv_heads", "head_dim", "value_dim", "dtype", "rotary"):
        here, there = getattr(source, name), getattr(target, name)
        if here != there:
            raise ValueError(f"other must have the same {name}: rows move as they are stored. Got {here} and {there}.")
