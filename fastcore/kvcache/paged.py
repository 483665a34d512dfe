"""`PagedKVCache`: keys and values of many sequences in pages, and attention of new tokens to them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core import validate, validate_cache, validate_pages
from fastcore.kvcache.call import attend_options
from fastcore.kvcache.formats import FORMATS, bytes_per_token
from fastcore.kvcache.growth import new_entry, pages_of
from fastcore.kvcache.paged_state import PagedState
from fastcore.kvcache.pages import PagePool
from fastcore.kvcache.ragged import asked_queries, new_tokens
from fastcore.kvcache.rotary import Rotary
from fastcore.kvcache.storage import Storage
from fastcore.kvcache.transfer import WITHIN, move


class PagedKVCache(PagedState):
    """Keys and values of any number of sequences, in pages of memory reserved once and read in place by attention.

    Axes: H query heads, G key/value heads (H % G == 0), T_i new tokens of sequence i, D head size, Dv value size.

    Parameters
    ----------
    num_pages, page_size : positive ints; a page holds `page_size` tokens of one sequence
    num_kv_heads, head_dim : positive ints, G and D
    value_dim : int, default head_dim; Dv
    dtype : "float32", "float16", "bfloat16", "int8" or "int4", how keys and values are stored
        As in `KVCache`: quantised on append, and attention reads the stored bytes; it computes in float32, except for
        int8 on CPUs with AVX-512 VNNI, where few query rows and their weights are rounded to 16 bits.
    rotary : Rotary, optional: keys are rotated by their positions on append, queries on attend

    Raises
    ------
    ValueError : a size is not positive or beyond memory, an unknown dtype
    TypeError : a size that is no integer, a rotary of another kind
    MemoryError : the system refuses the memory

    Notes
    -----
    Locking rule: each method is atomic. It holds the cache's lock from its first look at the state to its last change,
    so calls from many threads on one cache run one after another, in some order; `transfer` holds the locks of both
    caches. A call from a signal handler or finalizer into the middle of another one of the same thread is refused with
    a RuntimeError. Forks of the process and copies: as for `KVCache`, but there is no save.

    All or nothing: what a method can refuse it refuses before it changes anything, and an exception from anywhere else
    (MemoryError, KeyboardInterrupt) leaves the cache as it was. New pages are filled while no sequence has them, and
    new tokens are written behind the sequences' lengths; one assignment then shows them all. Page tables and lengths
    are the truth, reference counts and free pages an index made anew from them when a change broke off.

    Source: Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with PagedAttention",
    section 4.1 (block tables), 4.3 and 4.4 (sharing and copy on write).
    """

    _instead_of_copies = "Call fork for a copy of a sequence, transfer to move one to another cache."

    def __init__(
        self,
        num_pages: int,
        page_size: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        value_dim: int | None = None,
        dtype: str = "float32",
        rotary: Rotary | None = None,
    ) -> None:
        sizes = validate_pages.paged_sizes(num_pages, page_size, num_kv_heads, head_dim, value_dim)
        dtype = validate.choice(dtype, "dtype", FORMATS)
        if rotary is not None:
            validate_cache.rotary_of_cache(rotary, Rotary, sizes.head_dim)
        per_token = bytes_per_token(dtype, sizes.head_dim, sizes.value_dim)
        validate_pages.addressable_pages(sizes, per_token)
        try:
            storage, pool = Storage(*sizes, dtype), PagePool(sizes.num_pages)
        except MemoryError as error:
            validate_pages.no_memory_for_pages(sizes, per_token, error)
        super().__init__(sizes, storage, pool, rotary)

    # --- sequences ----------------------------------------------------------------------------------------------------

    def allocate(self) -> int:
        """A new, empty sequence: its id, which is never given again."""
        with self._lock:
            self._settle()
            with self._busy:
                sequence = self._new_id()
                self._sequences[sequence] = new_entry(np.empty(0, np.int64), 0)
                return sequence

    def free(self, sequence: int) -> None:
        """Drop a sequence. Its pages are free again unless others share them.

        Raises
        ------
        ValueError : unknown or freed sequence
        """
        with self._lock:
            self._settle()
            with self._busy:
                entry = self._entry(sequence)
                try:
                    self._open = WITHIN
                    self._pool.release(pages_of(entry, self.page_size))
                    del self._sequences[sequence]
                    self._open = None
                except BaseException:
                    self._settle_open()
                    raise

    def fork(self, sequence: int) -> int:
        """A new sequence with the same tokens, on the same pages: its id.

        No keys or values are copied. The first of the two that appends to a last page they share, and that has room,
        gets a copy of that page.

        Raises
        ------
        ValueError : unknown or freed sequence
        """
        with self._lock:
            self._settle()
            with self._busy:
                entry = self._entry(sequence)
                forked = self._new_id()
                _, length, _ = entry
                pages = pages_of(entry, self.page_size).copy()
                try:
                    self._open = WITHIN
                    self._pool.share(pages)
                    self._sequences[forked] = new_entry(pages, length)
                    self._open = None
                except BaseException:
                    self._settle_open()
                    raise
                return forked

    def truncate(self, sequence: int, length: int) -> None:
        """Shorten a sequence to its first `length` tokens, e.g. to take refused speculative tokens back.

        Raises
        ------
        ValueError : unknown or freed sequence; longer than it is, or negative
        TypeError : length is not an integer
        """
        with self._lock:
            self._settle()
            with self._busy:
                table, now, address = self._entry(sequence)
                shorter = (table, validate_pages.shorter_length(length, now, sequence), address)
                kept = len(pages_of(shorter, self.page_size))
                try:
                    self._open = WITHIN
                    self._pool.release(pages_of((table, now, address), self.page_size)[kept:])
                    self._sequences[sequence] = shorter
                    self._open = None
                except BaseException:
                    self._settle_open()
                    raise

    def transfer(self, sequence: int, other: "PagedKVCache") -> int:
        """Move a sequence to another cache: its id there. Here it is gone.

        Parameters
        ----------
        sequence : id in this cache. Others that share its pages keep them.
        other : PagedKVCache with the same heads, sizes, dtype and rotary; num_pages and page_size may differ

        Raises
        ------
        ValueError : unknown or freed sequence; other stores differently, or is this cache
        TypeError : other is no PagedKVCache
        CacheFullError : too few free pages in `other`

        Notes
        -----
        A transaction: whatever is raised and wherever, the sequence is whole in exactly one of the caches. The rows are
        copied first; then one store, seen by both caches, decides.
        """
        validate_pages.transfer_target(self, other)
        first, second = (self, other) if self._rank < other._rank else (other, self)
        with first._lock, second._lock:
            first._settle()
            second._settle()
            with first._busy, second._busy:
                self._entry(sequence)
                return move(self, sequence, other)

    # --- tokens -------------------------------------------------------------------------------------------------------

    def append(self, sequences: Sequence[int], keys: Any, values: Any, *, starts: Any = None) -> None:
        """Append new tokens to sequences, all or nothing.

        Parameters
        ----------
        sequences : list of ids, none twice
        keys, values : lists of (G, T_i, D) and (G, T_i, Dv) float32, float16, bfloat16 or float64, T_i >= 0
            Rounded to float32 and then to the cache's dtype. With `starts` packed: one (total, G, D), (total, G, Dv).
        starts : (n + 1,) ints, optional: sequence i has tokens starts[i] to starts[i + 1] of the packed arrays

        Raises
        ------
        CacheFullError : too few free pages
        ValueError : unknown, freed or repeated sequences; shapes or starts do not fit
        TypeError : not float arrays, ids or starts that are not integers
        """
        ids = validate_pages.sequence_ids(sequences)
        validate_pages.distinct_sequences(ids)
        tokens = new_tokens(keys, values, starts, len(ids), self._sizes)
        with self._lock:
            self._settle()
            with self._busy:
                entries = self._entries(ids)
                try:
                    self._sequences.update(self._written(ids, entries, tokens))
                    self._open = None
                except BaseException:
                    self._settle_open()
                    raise

    def attend(
        self,
        sequences: Sequence[int],
        queries: Any,
        *,
        starts: Any = None,
        scale: float | None = None,
        softcap: float | None = None,
        is_causal: bool = True,
        out: Any = None,
    ) -> Any:
        """Attend the newest tokens of sequences, which are in the cache, to all tokens up to their own.

        Parameters
        ----------
        sequences : list of ids
        queries : list of (H, T_i, D), or (H, D) for the newest token alone; float32, float16, bfloat16 or float64
            Query t of sequence i belongs to position length - T_i + t. H is any multiple of G, the same for all; head h
            looks at key/value head h // (H / G). With `starts` packed: one (total, H, D).
        starts : as in `append`
        scale : float, default 1 / sqrt(D); multiplies query @ key
        softcap : float, optional: scores become softcap * tanh(scores / softcap)
        is_causal : bool; False lets the new tokens see each other both ways
        out : list of arrays, or a packed one, of the results' shapes and dtypes, optional; written and returned

        Returns
        -------
        List of (H, T_i, Dv) or (H, Dv), dtypes of the queries; packed (total, H, Dv). Computed in float32; of int8 see
        the class.

        Raises
        ------
        ValueError : unknown or freed sequences; shapes or starts do not fit; fewer than T_i tokens are in the cache
        TypeError : not float arrays, ids or starts that are not integers
        """
        options = attend_options(scale, softcap, is_causal, self._default_scale)
        ids = validate_pages.sequence_ids(sequences)
        call = asked_queries(queries, starts, len(ids), self._sizes, out)
        with self._lock:
            self._settle()
            with self._busy:
                entries = self._entries(ids)
                validate_pages.queried_tokens(ids, call.counts, [length for _, length, _ in entries])
                self._attend(entries, call, options)
        return call.finish()

    def step(
        self,
        sequences: Sequence[int],
        queries: Any,
        keys: Any,
        values: Any,
        *,
        starts: Any = None,
        scale: float | None = None,
        softcap: float | None = None,
        is_causal: bool = True,
        out: Any = None,
    ) -> Any:
        """Append new tokens and attend them, all or nothing: `append`, then `attend`.

        Parameters
        ----------
        sequences, keys, values, starts : as in `append`
        queries : as in `attend`, as many of a sequence as it has new tokens
        scale, softcap, is_causal, out : as in `attend`

        Returns
        -------
        As `attend`

        Raises
        ------
        CacheFullError, ValueError, TypeError : as in `append` and `attend`; nothing is appended
        """
        options = attend_options(scale, softcap, is_causal, self._default_scale)
        ids = validate_pages.sequence_ids(sequences)
        validate_pages.distinct_sequences(ids)
        tokens = new_tokens(keys, values, starts, len(ids), self._sizes)
        call = asked_queries(queries, starts, len(ids), self._sizes, out)
        if call.counts != tokens.counts:
            validate_pages.step_tokens(ids, call.counts, tokens.counts)
        with self._lock:
            self._settle()
            with self._busy:
                entries = self._entries(ids)
                try:
                    changes = self._written(ids, entries, tokens)
                    self._attend(list(changes.values()), call, options)
                    self._sequences.update(changes)
                    self._open = None
                except BaseException:
                    self._settle_open()
                    raise
        return call.finish()
