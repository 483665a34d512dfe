"""Masks of transformers' models as bounds on keys, so that none of L x S elements is made.

transformers describes a mask by a function of indices (`masking_utils`) and lets each implementation of attention make
of it what it needs. Where that function is causal, a window, padding, packed sequences, or several of these at once,
`visible_keys` returns `VisibleKeys`: to models a boolean mask (B, 1, L, S) like "sdpa"'s, to our attention its bounds.
Whatever else a model does with it sees the elements, which are made then.

Axes: B batch, L queries, S keys.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._pytree import tree_map
from transformers import masking_utils


@dataclass(frozen=True, eq=False)
class Bounds:
    """Which keys the queries of each sequence see: key j of query i iff all that is given allows it.

    offset : position of query 0 less that of key 0
    left, right : i + offset - left <= j <= i + offset + right; None is open
    starts, ends : (B,) int64, starts[b] <= j < ends[b]; None: all of the S
    keys : (B, S) bool tensor: j takes part; None: all
    packed : for each sequence the first indices of the sequences packed into it, and L at the end; i and j are of one
    """

    offset: int = 0
    left: int | None = None
    right: int | None = None
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None
    keys: torch.Tensor | None = None
    packed: tuple[np.ndarray, ...] | None = None

    def elements(self, batch: int, queries: int, keys: int) -> torch.Tensor:
        """The mask (B, 1, L, S) of bool, True = takes part."""
        i, j = torch.arange(queries)[:, None] + self.offset, torch.arange(keys)
        seen = torch.ones(batch, 1, queries, keys, dtype=torch.bool)
        if self.left is not None:
            seen &= j >= i - self.left
        if self.right is not None:
            seen &= j <= i + self.right
        if self.packed is not None:
            for own, edges in zip(seen, self.packed):
                numbers = torch.from_numpy(np.searchsorted(edges, np.arange(keys), side="right"))
                own &= numbers[:queries, None] == numbers
        allowed = self.allowed_keys(keys)
        return seen if allowed is None else seen & allowed

    def allowed_keys(self, keys: int, ends: bool = True) -> torch.Tensor | None:
        """The part of the mask that is the same for all queries, (B, 1, 1, S) of bool, with `ends` or without."""
        j = np.arange(keys)
        parts = [] if self.keys is None else [self.keys]
        if self.starts is not None:
            parts.append(torch.from_numpy(j >= self.starts[:, None]))
        if ends and self.ends is not None:
            parts.append(torch.from_numpy(j < self.ends[:, None]))
        return functools.reduce(torch.logical_and, parts)[:, None, None] if parts else None


ALL_KEYS = Bounds()
CAUSAL = Bounds(right=0)


class Piece(NamedTuple):
    """Queries [rows] of sequences [batch], which see keys [keys] alone, and the bounds among these."""

    batch: slice
    rows: slice
    keys: slice
    bounds: Bounds


def pieces_of(bounds: Bounds, batch: int, queries: int, keys: int) -> Iterator[Piece]:
    """Pieces that make up an attention: one, unless sequences begin at different keys or are packed.

    Rows that are in no piece see no key. Bounds of pieces have neither `starts` nor `packed`.
    """
    if bounds.packed is not None:
        for b, edges in enumerate(bounds.packed):
            for first, end in itertools.pairwise(edges.tolist()):
                own = replace(bounds, packed=None)
                yield _narrowed(slice(b, b + 1), slice(first, end), slice(first, end), own)
    elif bounds.starts is None or (bounds.starts == bounds.starts[0]).all():
        first = 0 if bounds.starts is None else int(bounds.starts[0])
        yield _of_keys(slice(0, batch), first, queries, keys, bounds)
    else:
        for b, first in enumerate(bounds.starts.tolist()):
            one = slice(b, b + 1)
            yield _of_keys(
                one, first, queries, keys, bounds if bounds.ends is None else replace(bounds, ends=bounds.ends[one])
            )


def _of_keys(batch: slice, first: int, queries: int, keys: int, bounds: Bounds) -> Piece:
    """Sequences whose keys begin at ``first``, without the queries before which there is none."""
    if first:
        ends = None if bounds.ends is None else bounds.ends - first
        bounds = replace(bounds, offset=bounds.offset - first, starts=None, ends=ends)
    blind = 0 if bounds.right is None else min(max(-bounds.offset - bounds.right, 0), queries)
    if blind:
        bounds = replace(bounds, offset=bounds.offset + blind)
    return _narrowed(batch, slice(blind, queries), slice(first, keys), bounds)


def _narrowed(batch: slice, rows: slice, keys: slice, bounds: Bounds) -> Piece:
    """The piece without keys that none of its queries sees, and without bounds that hide no other."""
    if bounds is ALL_KEYS:  # of the many tokens generated one by one
        return Piece(batch, rows, keys, bounds)
    queries, first, end = rows.stop - rows.start, 0, keys.stop - keys.start
    offset, left, right, ends = bounds.offset, bounds.left, bounds.right, bounds.ends
    if ends is not None:
        end = max(min(end, int(ends.max())), 0)
        ends = None if (ends >= end).all() else ends
    if right is not None:
        end = max(min(end, offset + queries + right), 0)
        right = None if offset + right >= end - 1 else right
    if left is not None:
        first = min(max(offset - left, 0), end)
        left = None if offset + queries - 1 - left <= first else left
    ends = None if ends is None else np.maximum(ends - first, 0)
    keys = slice(keys.start + first, keys.start + end)
    return Piece(
        batch, rows, keys, replace(bounds, offset=offset - first, left=left, right=right, starts=None, ends=ends)
    )


class VisibleKeys(torch.Tensor):
    """A boolean mask (B, 1, L, S), True = takes part, of which only `bounds` are stored.

    Its shape, dtype and device are known; any other function of PyTorch gets the elements, as an ordinary tensor.
    """

    bounds: Bounds

    @classmethod
    def of(cls, bounds: Bounds, batch: int, queries: int, keys: int) -> VisibleKeys:
        self = torch.zeros((), dtype=torch.bool).expand(batch, 1, queries, keys).as_subclass(cls)
        self.bounds = bounds
        return self

    @functools.cached_property
    def elements(self) -> torch.Tensor:
        batch, _, queries, keys = self.shape
        return self.bounds.elements(batch, queries, keys)

    @functools.cached_property
    def ranges(self) -> tuple[tuple[int, ...], np.ndarray, np.ndarray] | None:
        """Shape, first key and number of keys of each sequence's query, if there is but one and its keys are a range.

        Made once for all layers.
        """
        batch, _, queries, keys = self.shape
        bounds = self.bounds
        if queries != 1 or bounds.keys is not None or bounds.packed is not None:
            return None
        starts = np.zeros(batch, np.int64) if bounds.starts is None else bounds.starts
        ends = np.full(batch, keys) if bounds.ends is None else bounds.ends
        if bounds.left is not None:
            starts = np.maximum(starts, bounds.offset - bounds.left)
        if bounds.right is not None:
            ends = np.minimum(ends, bounds.offset + bounds.right + 1)
        starts = np.clip(starts, 0, keys).astype(np.int64)
        return (batch, 1, 1, keys), starts, np.clip(ends - starts, 0, keys - starts).astype(np.int64)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _KNOWN_WITHOUT_ELEMENTS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        args, kwargs = tree_map(lambda x: x.elements if isinstance(x, cls) else x, (args, kwargs))
        return func(*args, **kwargs)


_KNOWN_WITHOUT_ELEMENTS = {
    torch.Tensor.shape.__get__,
    torch.Tensor.ndim.__get__,
    torch.Tensor.dtype.__get__,
    torch.Tensor.device.__get__,
    torch.Tensor.requires_grad.__get__,
    torch.Tensor.size,
    torch.Tensor.dim,
    torch.Tensor.is_floating_point,
}


def visible_keys(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: Any = 0,
    mask_function: Callable = masking_utils.causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    **options: Any,
) -> torch.Tensor | None:
    """What `AttentionMaskInterface` calls for "fastcore": "sdpa"'s mask, as `VisibleKeys` where bounds say it all.

    None where "sdpa" has None: no mask, or causal and nothing else.
    """
    bounds = None if _is_traced(attention_mask, q_offset, kv_offset, options) else bounds_of(mask_function)
    if bounds is None:
        return masking_utils.sdpa_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask, **options
        )
    bounds = replace(bounds, offset=int(q_offset) - int(kv_offset))
    bounds = _without_idle_sides(bounds, q_length, kv_length)
    if attention_mask is not None:
        padding = masking_utils.prepare_padding_mask(attention_mask, kv_length, int(kv_offset))
        bounds = _with_padding(bounds, padding[:, int(kv_offset) : int(kv_offset) + kv_length])
    if _is_implied(bounds, q_length, kv_length, options):
        return None
    return VisibleKeys.of(bounds, batch_size, q_length, kv_length)


def _is_traced(attention_mask: torch.Tensor | None, q_offset: Any, kv_offset: Any, options: dict[str, Any]) -> bool:
    """Whether values cannot be read: graphs are being made of the model, or it is on another device."""
    tensors = [x for x in (attention_mask, q_offset, kv_offset) if isinstance(x, torch.Tensor)]
    elsewhere = torch.device(options.get("device", "cpu")).type != "cpu"
    return elsewhere or torch.compiler.is_compiling() or any(masking_utils.is_tracing(x) for x in tensors)


def _is_implied(bounds: Bounds, queries: int, keys: int, options: dict[str, Any]) -> bool:
    """Whether the mask is what attention takes None for: every key, or all up to the query's index if it is causal."""
    if any(x is not None for x in (bounds.left, bounds.starts, bounds.ends, bounds.keys, bounds.packed)):
        return False
    if bounds.right is None:
        return options.get("allow_is_bidirectional_skip", False) or (
            options.get("allow_is_causal_skip", True) and queries == 1
        )
    return options.get("allow_is_causal_skip", True) and bounds.right == 0 and bounds.offset == 0 and queries > 1


def _without_idle_sides(bounds: Bounds, queries: int, keys: int) -> Bounds:
    """Sides that hide no key are open."""
    left, right = bounds.left, bounds.right
    if left is not None and bounds.offset + queries - 1 - left <= 0:
        left = None
    if right is not None and bounds.offset + right >= keys - 1:
        right = None
    return replace(bounds, left=left, right=right)


def _with_padding(bounds: Bounds, padding: torch.Tensor) -> Bounds:
    """Padding (B, S) as the range of keys that are none, if that is what it leaves of each sequence."""
    seen = padding.numpy()
    keys = seen.shape[1]
    if seen.all():
        return bounds
    starts, ends, counts = seen.argmax(1), keys - seen[:, ::-1].argmax(1), seen.sum(1)
    starts[counts == 0] = ends[counts == 0] = 0
    if (ends - starts != counts).any():
        return replace(bounds, keys=padding)
    return replace(bounds, starts=starts if starts.any() else None, ends=ends if (ends < keys).any() else None)


# --- what a function of indices says ---------------------------------------------------------------------------------


def bounds_of(function: Callable) -> Bounds | None:
    """The bounds that a mask function of `masking_utils` stands for, offset and padding left out; None for others."""
    if function is masking_utils.causal_mask_function:
        return CAUSAL
    if function is masking_utils.bidirectional_mask_function:
        return ALL_KEYS
    known = _MAKERS.get(getattr(function, "__qualname__", None))
    if known is None or function.__module__ != masking_utils.__name__:
        return None
    cells = function.__closure__ or ()
    return known(**{name: cell.cell_contents for name, cell in zip(function.__code__.co_freevars, cells)})


def _all_of(mask_functions: Sequence[Callable]) -> Bounds | None:
    joined = ALL_KEYS
    for function in mask_functions:
        bounds = bounds_of(function)
        if bounds is None:
            return None
        given = {name: value for name, value in vars(bounds).items() if value is not None and name != "offset"}
        both = [name for name in given if getattr(joined, name) is not None]
        if "packed" in both:
            return None
        given.update({name: min(given[name], getattr(joined, name)) for name in both})
        joined = replace(joined, **given)
    return joined


def _packed(packed_sequence_mask: torch.Tensor) -> Bounds:
    """Numbers (B, L) of the packed sequences that tokens are of; they ascend."""
    numbers = packed_sequence_mask.numpy()
    edges = np.diff(numbers, axis=1, prepend=-1, append=numbers[:, -1:] + 1)
    return Bounds(packed=tuple(np.flatnonzero(row) for row in edges))


# By the qualified name of the function that the maker returns: what its cells hold is what the maker was given.
_MAKERS: dict[str | None, Callable[..., Bounds | None]] = {
    "and_masks.<locals>.and_mask": _all_of,
    "sliding_window_overlay.<locals>.inner_mask": lambda sliding_window: Bounds(left=sliding_window - 1),
    "sliding_window_bidirectional_overlay.<locals>.inner_mask": lambda sliding_window: Bounds(
        left=sliding_window, right=sliding_window
    ),
    "packed_sequence_mask_function.<locals>.inner_mask": _packed,
    # Positions step by one within a packed sequence, so bounds on their differences are bounds on those of indices.
    "remap_positions_for_packed_sequence.<locals>.inner_mask": lambda mask_function, position_ids: bounds_of(
        mask_function
    ),
}
