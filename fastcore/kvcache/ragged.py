"""New tokens of many sequences in the two forms callers have them: lists of arrays, and packed with cumulative starts.

The work for each sequence is what decoding many of them waits for, so lists take short ways: float32 arrays of one
shape become a batch; others NumPy joins in one call, and in doing so finds what does not fit together. What it refuses
goes the thorough way, which has the messages.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate, validate_pages
from fastcore._core.validate_cache import as_float32
from fastcore._core.validate_pages import PagedSizes

_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray


class NewTokens(NamedTuple):
    """Keys and values in float32, the sequences one after another, or a batch of them."""

    keys: np.ndarray  # (1, G, total, D), or (n, G, T, D)
    values: np.ndarray  # (1, G, total, Dv), or (n, G, T, Dv)
    counts: list[int]  # tokens of each sequence
    firsts: list[int]  # where each begins; in a batch 0


def new_tokens(keys: Any, values: Any, starts: Any, count: int, sizes: PagedSizes) -> NewTokens:
    """Keys and values for `count` sequences, checked and joined."""
    heads = sizes.num_kv_heads
    if starts is not None:
        packed_keys = validate_pages.packed_token_array(keys, heads, sizes.head_dim, "keys", _KEY_NAMES)
        packed_values = validate_pages.packed_token_array(values, heads, sizes.value_dim, "values", _VALUE_NAMES)
        validate_pages.packed_pair(packed_keys, packed_values)
        firsts = validate_pages.packed_starts(starts, count, packed_keys.shape[0], "keys")
        counts = [end - first for first, end in pairwise(firsts)]
        return NewTokens(_heads_first(packed_keys)[None], _heads_first(packed_values)[None], counts, firsts[:-1])
    shape, value_shape = _common_shape(keys, count), _common_shape(values, count)
    tokens = shape[1] if len(shape) == 3 else 0
    if tokens and shape == (heads, tokens, sizes.head_dim) and value_shape == (heads, tokens, sizes.value_dim):
        return NewTokens(_batch(keys, shape), _batch(values, value_shape), [tokens] * count, [0] * count)
    keys = validate_pages.arrays_of_sequences(keys, count, "keys")
    values = validate_pages.arrays_of_sequences(values, count, "values")
    joined_keys, counts = _join(keys, heads, sizes.head_dim, "keys", _KEY_NAMES)
    joined_values, value_counts = _join(values, heads, sizes.value_dim, "values", _VALUE_NAMES)
    if counts != value_counts:
        validate_pages.same_tokens(counts, value_counts)
    return NewTokens(joined_keys[None], joined_values[None], counts, [0, *accumulate(counts)][:-1])


_KEY_NAMES, _VALUE_NAMES = ("num_kv_heads", "head_dim"), ("num_kv_heads", "value_dim")


def _common_shape(arrays: Any, count: int) -> tuple[int, ...]:
    """The shape of `count` float32 arrays in a list if they all have the same, else ()."""
    if type(arrays) is not list or len(arrays) != count or not count or type(arrays[0]) is not _ndarray:
        return ()
    shape = arrays[0].shape
    for x in arrays:
        if type(x) is not _ndarray or x.dtype is not _FLOAT32 or x.shape != shape:
            return ()
    return shape


def _batch(arrays: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Arrays of one shape, (heads, T, size) or (heads, size), as (n, heads, T, size); a single one where it lies."""
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    batch = joined.reshape(len(arrays), shape[0], shape[1] if len(shape) == 3 else 1, -1)
    return batch if batch.flags.carray else validate.readable_in_place(batch)


def _heads_first(packed: np.ndarray) -> np.ndarray:
    """(tokens, heads, size) as (heads, tokens, size) in float32, readable in place."""
    return as_float32(packed).transpose(1, 0, 2)


def _join(
    arrays: Sequence[Any], heads: int, size: int, name: str, names: tuple[str, str]
) -> tuple[np.ndarray, list[int]]:
    """Arrays (heads, T_i, size) as one of float32 (heads, total, size), and all T_i."""
    if set(map(type, arrays)) == {np.ndarray}:
        try:
            # casting="no": all of them are float32 in native byte order.
            joined = np.concatenate(arrays, axis=1, dtype=_FLOAT32, casting="no") if len(arrays) > 1 else arrays[0]
        except (TypeError, ValueError):
            pass
        else:
            if joined.dtype == _FLOAT32 and joined.ndim == 3 and joined.shape[::2] == (heads, size):
                return validate.readable_in_place(joined), [x.shape[1] for x in arrays]
    checked = [validate_pages.token_array(x, heads, size, f"{name}[{i}]", names) for i, x in enumerate(arrays)]
    converted = [as_float32(x) for x in checked] or [np.empty((heads, 0, size), _FLOAT32)]
    joined = np.concatenate(converted, axis=1) if len(converted) > 1 else converted[0]
    return joined, [x.shape[1] for x in checked]


class Queries(NamedTuple):
    """Queries that were asked, checked and joined: what the kernel reads and writes, and what the caller gets."""

    rows: np.ndarray  # (1, H, total, D) float32, the sequences one after another, or a batch (n, H, T, D)
    target: np.ndarray  # like rows, or, if apart, (1, 1, 1, total * H * Dv): (H, T_i, Dv) of each
    apart: bool
    counts: list[int]  # T_i
    firsts: list[int] | None  # where each begins; None in a batch
    results: Any  # list of arrays or a packed one
    parts: Any  # what is to be written into the results, in the same form; the results themselves if in place

    def finish(self) -> Any:
        """The results, in the caller's dtype and place."""
        if self.parts is not self.results:
            with np.errstate(over="ignore"):  # float16 ends at 65504
                if isinstance(self.results, np.ndarray):
                    self.results[...] = self.parts
                else:
                    for result, part in zip(self.results, self.parts, strict=True):
                        result[...] = part
        return self.results


def asked_queries(queries: Any, starts: Any, count: int, sizes: PagedSizes, out: Any) -> Queries:
    """Queries for `count` sequences and where their results go."""
    if starts is not None:
        return _packed_queries(queries, starts, count, sizes, out)
    shape = _common_shape(queries, count)
    if 1 < len(shape) < 4 and shape[-1] == sizes.head_dim and not shape[0] % sizes.num_kv_heads and 0 not in shape:
        return _batch_queries(_batch(queries, shape), queries, sizes.value_dim, out)
    arrays = validate_pages.arrays_of_sequences(queries, count, "queries")
    arrays = [
        x if type(x) is np.ndarray and x.dtype is _FLOAT32 else validate_pages.query_array(x, sizes.head_dim, i)
        for i, x in enumerate(arrays)
    ]
    shapes = [x.shape for x in arrays]
    if any(len(shape) not in (2, 3) or shape[-1] != sizes.head_dim for shape in shapes):
        for i, x in enumerate(arrays):
            validate_pages.query_array(x, sizes.head_dim, i)
    heads = validate_pages.query_heads([shape[0] for shape in shapes], sizes.num_kv_heads)
    counts = [shape[1] if len(shape) == 3 else 1 for shape in shapes]
    firsts = [0, *accumulate(counts)]
    target = np.empty(firsts[-1] * heads * sizes.value_dim, _FLOAT32)
    wanted = [(*shape[:-1], sizes.value_dim) for shape in shapes]
    size = heads * sizes.value_dim
    parts = [target[i * size : j * size].reshape(shape) for (i, j), shape in zip(pairwise(firsts), wanted)]
    results = _list_results(parts, wanted, arrays, count, out)
    return Queries(
        _joined_queries(arrays, heads, sizes.head_dim)[None], target.reshape(1, 1, 1, -1), True, counts, firsts[:-1],
        results, parts,
    )  # fmt: skip


def _batch_queries(batch: np.ndarray, arrays: list[np.ndarray], value_size: int, out: Any) -> Queries:
    """Queries of one shape: a batch."""
    count, heads, tokens, _ = batch.shape
    target = np.empty((count, heads, tokens, value_size), _FLOAT32)
    each = target if arrays[0].ndim == 3 else target[:, :, 0]
    parts = [each[i] for i in range(count)]  # iterating over an array takes 0.4 us more
    results = parts if out is None else _list_results(parts, [parts[0].shape] * count, arrays, count, out)
    return Queries(batch, target, False, [tokens] * count, None, results, parts)


def _joined_queries(arrays: list[np.ndarray], heads: int, size: int) -> np.ndarray:
    """(H, total, D) float32 of arrays (H, T_i, D) and (H, D)."""
    rows = [as_float32(x if x.ndim == 3 else x[:, None]) for x in arrays]
    if len(rows) == 1:
        return rows[0]
    return np.concatenate(rows, axis=1) if rows else np.empty((heads, 0, size), _FLOAT32)


def _list_results(parts: list[np.ndarray], wanted: list[Any], arrays: list[np.ndarray], count: int, out: Any) -> Any:
    """`parts`, unless the caller wants them elsewhere or in another dtype."""
    if out is not None:
        # Written behind the kernel: one result may lie where another sequence's query is.
        outs = validate_pages.arrays_of_sequences(out, count, "out")
        for i, (x, shape, query) in enumerate(zip(outs, wanted, arrays, strict=True)):
            validate.output_array(x, shape, query.dtype, f"out[{i}]")
        return outs if isinstance(outs, list) else list(outs)
    if any(x.dtype is not _FLOAT32 for x in arrays):
        return [np.empty(shape, x.dtype) for shape, x in zip(wanted, arrays, strict=True)]
    return parts


def _packed_queries(queries: Any, starts: Any, count: int, sizes: PagedSizes, out: Any) -> Queries:
    packed = validate_pages.packed_queries(queries, sizes.head_dim)
    validate_pages.query_heads([packed.shape[1]], sizes.num_kv_heads)
    firsts = validate_pages.packed_starts(starts, count, packed.shape[0], "queries")
    shape = (*packed.shape[:-1], sizes.value_dim)
    result = np.empty(shape, packed.dtype) if out is None else validate.output_array(out, shape, packed.dtype)
    in_place = packed.dtype == _FLOAT32 and (
        out is None or (validate.is_readable_in_place(out) and not validate.shares_memory(out, [packed]))
    )
    whole = np.asarray(result) if in_place else np.empty(shape, _FLOAT32)
    counts = [end - first for first, end in pairwise(firsts)]
    return Queries(
        _heads_first(packed)[None], whole.transpose(1, 0, 2)[None], False, counts, firsts[:-1], result,
        result if in_place else whole,
    )  # fmt: skip
