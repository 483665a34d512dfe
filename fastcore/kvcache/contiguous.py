"""`KVCache`: keys and values of a fixed batch of sequences, and attention of new tokens to them."""

import dataclasses
import threading
from os import PathLike
from typing import Any

import numpy as np

from fastcore._core import validate, validate_cache, validate_pages
from fastcore.kvcache.cache import Cache
from fastcore.kvcache.call import attend_call, plain_call, plain_tokens
from fastcore.kvcache.formats import FORMATS, bytes_per_token
from fastcore.kvcache.persistence import reading, write_archive
from fastcore.kvcache.ring import Ring
from fastcore.kvcache.rotary import Rotary
from fastcore.kvcache.sequences import Sequences
from fastcore.kvcache.storage import Storage


class KVCache(Sequences, Cache):
    """Keys and values of B sequences in memory reserved once, read in place by attention.

    Axes: B sequences, H query heads, G key/value heads (H % G == 0), T new tokens, D head size, Dv value size.

    Parameters
    ----------
    batch, num_kv_heads, capacity, head_dim : positive ints: B, G, tokens a sequence can hold, D
    value_dim : int, default head_dim; Dv
    dtype : "float32", "float16", "bfloat16", "int8" or "int4", how keys and values are stored
        int8 has a scale for each token and head, int4 a scale and a minimum for each 32 numbers. They are quantised on
        append; attention reads the stored bytes. A row (int4: a group) with a NaN or inf in it becomes NaN as a whole.
        Attention computes in float32, with one exception: for int8, D up to 512, on CPUs with AVX-512 VNNI, few query
        rows (decoding) are rounded to 16 bits, an element to 2^-16 of its row's largest, and so are the weights. Beside
        the error of int8 itself that is small, unless a query has elements hundreds of times the others.
    window : int, optional: a token sees the last `window` tokens, itself included, and the first `sinks`
        The capacity is then a ring: old tokens make room for new ones and it is never full. It must hold sinks +
        window tokens; each row beyond lets one more token attend at once, and truncate take one more back.
    sinks : int, default 0
    rotary : Rotary, optional: keys are rotated by their positions on append, queries on attend

    Raises
    ------
    ValueError : a size is not positive or beyond memory, an unknown dtype, a window that does not fit
    TypeError : a size that is no integer, a rotary of another kind
    MemoryError : the system refuses the memory

    Notes
    -----
    Locking rule: each method is atomic. A method holds the cache's lock from its first look at the state to its last
    change, so calls from many threads on one cache run one after another, in some order. A call from a signal handler
    or finalizer into the middle of another one of the same thread is refused with a RuntimeError. A fork of the process
    waits for calls of other threads, so that the child has whole caches; one that it cannot wait for (60 s, or the fork
    comes from a handler inside a call) refuses calls in the child. A cache cannot be copied or pickled: save it.

    All or nothing: what a method can refuse it refuses before it changes anything, and should memory or the process be
    interrupted half way, the cache is as it was. New tokens are written beyond the lengths, which are set last. In a
    ring new tokens overwrite old ones: those that the window still shows are copied first and put back on failure, so
    only the rows beyond the window, which truncate may go back to, can be lost.

    Sources: Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks", section 3.2 (window and
    sinks); Dao et al. 2023, "Flash-Decoding" (split along keys, merged by log-sum-exp).
    """

    _instead_of_copies = "Call save, then load."

    def __init__(
        self,
        batch: int,
        num_kv_heads: int,
        capacity: int,
        head_dim: int,
        *,
        value_dim: int | None = None,
        dtype: str = "float32",
        window: int | None = None,
        sinks: int = 0,
        rotary: Rotary | None = None,
    ) -> None:
        sizes = validate_cache.cache_sizes(batch, num_kv_heads, capacity, head_dim, value_dim)
        dtype = validate.choice(dtype, "dtype", FORMATS)
        bounds = validate_cache.ring_sizes(window, sinks, sizes.capacity)
        if rotary is not None:
            validate_cache.rotary_of_cache(rotary, Rotary, sizes.head_dim)
        per_token = bytes_per_token(dtype, sizes.head_dim, sizes.value_dim)
        validate_cache.addressable(sizes, per_token)
        ring = None if bounds is None else Ring(*bounds, sizes.capacity - bounds[1])
        try:
            storage = Storage(sizes.batch, sizes.capacity, sizes.num_kv_heads, sizes.head_dim, sizes.value_dim, dtype)
        except MemoryError as error:
            validate_cache.no_memory(sizes, per_token, error)
        Sequences.__init__(self, sizes, storage, ring, rotary)
        Cache.__init__(self)

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def batch(self) -> int:
        return self._sizes.batch

    @property
    def capacity(self) -> int:
        """Tokens a sequence can hold; in a ring, rows it keeps of any number of tokens."""
        return self._sizes.capacity

    @property
    def window(self) -> int | None:
        return None if self._ring is None else self._ring.window

    @property
    def sinks(self) -> int:
        return 0 if self._ring is None else self._ring.sinks

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence, (B,) int64, a copy. In a ring all that were ever appended and not taken back."""
        return self._lengths.copy()

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored, by name: read-only views (B, G, capacity, ...) of the rows and, if quantised, their scales.

        In the order of pages, which is that of sequences until the first `reorder`, and no longer after it. They show
        what later calls write. Do not append them, or views of them, to the cache itself: pass copies.
        """
        views = {name: array.view() for name, array in self._storage.arrays.items()}
        for view in views.values():
            view.flags.writeable = False
        return views

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={size}" for name, size in self._sizes._asdict().items())
        ring = "" if self._ring is None else f", window={self._ring.window}, sinks={self._ring.sinks}"
        rotary = "" if self._rotary is None else f", rotary={self._rotary}"
        return f"KVCache({sizes}, dtype={self.dtype!r}{ring}{rotary}, lengths={self._lengths.tolist()})"

    # --- tokens in, results out ---------------------------------------------------------------------------------------

    def append(self, key: Any, value: Any, *, lengths: Any = None) -> None:
        """Add T tokens to each sequence.

        Parameters
        ----------
        key, value : (B, G, T, D), (B, G, T, Dv), T >= 1; float32, float16, bfloat16 or float64, each rounded to float32
            first. Any strides; arrays or anything with `__array__` or `__dlpack__`, but not views of `arrays`.
        lengths : (B,) ints or one for all, optional: only the first lengths[b] of the T tokens go to sequence b, 0 .. T

        Raises
        ------
        CacheFullError : a sequence would get longer than the capacity; nothing is appended to any
        ValueError : shapes or lengths do not fit the cache
        TypeError : not float arrays, lengths that are not integers
        """
        if lengths is None and plain_tokens(key, value):
            with self._lock, self._alone():
                if self._extend_plain(key, value, None):
                    return
        key, value = validate_cache.keys_and_values(key, value, self._sizes)
        counts = validate_cache.token_counts(lengths, self.batch, key.shape[2])
        with self._lock, self._alone():
            self._extend(key, value, counts, None)

    def attend(
        self,
        query: Any,
        *,
        lengths: Any = None,
        scale: float | None = None,
        softcap: float | None = None,
        is_causal: bool = True,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Attend the newest tokens, which are in the cache, to all tokens up to their own.

        Parameters
        ----------
        query : (B, H, T, D), or (B, H, D) for the newest token alone; float32, float16, bfloat16 or float64
            Query t of sequence b belongs to position cache.lengths[b] - n + t, n = lengths[b] new tokens. H is any
            multiple of G; head h looks at key/value head h // (H / G).
        lengths : (B,) ints or one for all, optional, 0 .. T: sequence b has only lengths[b] new tokens; default T
        scale : float, default 1 / sqrt(D); multiplies query @ key
        softcap : float, optional: scores become softcap * tanh(scores / softcap)
        is_causal : bool; False lets the new tokens see each other both ways; a window bounds how far back only
        out : shape and dtype of the result, optional; written in place and returned

        Returns
        -------
        (B, H, T, Dv) or (B, H, Dv), dtype of query. Computed in float32; of int8 see the class. Rows t >= lengths[b]
        are zero.

        Raises
        ------
        ValueError : shapes or lengths do not fit; fewer than n tokens are in the cache; the ring dropped what they see
        TypeError : not float arrays, lengths that are not integers
        """
        sizes, options = self._sizes, (scale, softcap, is_causal, self._default_scale)
        if lengths is None and (plain := plain_call(query, options, out, sizes)):
            with self._lock, self._alone():
                if self._attend_plain(plain):
                    return plain.result
        call = attend_call(query, options, out, sizes)
        counts = validate_cache.token_counts(lengths, self.batch, call.query.shape[2])
        with self._lock, self._alone():
            new = np.full(self.batch, call.query.shape[2]) if counts is None else counts
            validate_cache.tokens_in_cache(new, self._lengths)
            starts = self._lengths - new
            if self._ring is not None:
                oldest, kept_from = self._ring.oldest_seen(starts), self._kept_from
                validate_cache.window_is_stored(new, oldest, kept_from, self._lengths, self._ring.window)
            part = None if counts is None else (np.zeros_like(counts), counts)
            self._attend(call._replace(query=self._rotated(call.query, starts)), starts, part)
        return call.finish(counts)

    def step(
        self,
        query: Any,
        key: Any,
        value: Any,
        *,
        lengths: Any = None,
        scale: float | None = None,
        softcap: float | None = None,
        is_causal: bool = True,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Append T tokens and attend them, all or nothing.

        Parameters
        ----------
        query : (B, H, T, D), or (B, H, D) where T is 1
        key, value, lengths : as in `append`
        scale, softcap, is_causal, out : as in `attend`

        Returns
        -------
        (B, H, T, Dv) or (B, H, Dv), as `attend` after `append`. In a ring T may be any number: more tokens than can
        attend at once are taken in chunks.

        Raises
        ------
        CacheFullError, ValueError, TypeError : as in `append` and `attend`; nothing is appended
        """
        sizes, options = self._sizes, (scale, softcap, is_causal, self._default_scale)
        if (
            lengths is None
            and plain_tokens(key, value)
            and (plain := plain_call(query, options, out, sizes, (key, value)))
        ):
            with self._lock, self._alone():
                if self._extend_plain(key, value, plain):
                    return plain.result
        key, value = validate_cache.keys_and_values(key, value, sizes)
        call = attend_call(query, options, out, sizes, (key, value))
        validate_cache.tokens_of_step(call.query, key)
        counts = validate_cache.token_counts(lengths, self.batch, key.shape[2])
        with self._lock, self._alone():
            self._extend(key, value, counts, call)
        return call.finish(counts)

    # --- lengths and order --------------------------------------------------------------------------------------------

    def truncate(self, lengths: Any) -> None:
        """Shorten sequences to their first `lengths` tokens, e.g. to take refused speculative tokens back.

        Parameters
        ----------
        lengths : (B,) ints or one for all, none longer than the sequence is

        Raises
        ------
        ValueError : longer than now, negative, or in a ring further back than it holds the window that is seen there
        TypeError : not integers
        """
        with self._lock, self._alone():
            if type(lengths) is int and self._truncate_plain(lengths):
                return
            shorter, kept_from = validate_cache.shorter_lengths(lengths, self._lengths), self._kept_from
            if self._ring is not None:
                kept_from = np.where(shorter <= self._ring.sinks, self._ring.sinks, kept_from)
                validate_cache.window_after_truncate(shorter, self._ring.oldest_seen(shorter - 1), kept_from)
            self._lengths, self._kept_from = shorter, kept_from

    def reset(self) -> None:
        """Empty all sequences. The memory stays reserved."""
        self.truncate(0)

    def reorder(self, beam_indices: Any) -> None:
        """Sequence b becomes what sequence beam_indices[b] was, as beam search asks for.

        Parameters
        ----------
        beam_indices : (B,) ints in 0 .. B - 1. One that comes more than once is copied, one that is missing is dropped.

        Raises
        ------
        ValueError : not one index for each sequence, or out of range
        TypeError : not integers
        MemoryError : no room for the rows set aside while copying; nothing has changed

        Notes
        -----
        Sequences change places in a table of pages. Only repeated ones are copied, over the pages of dropped ones,
        whose rows are set aside until all copies are made: a failure loses nothing.
        """
        with self._lock, self._alone():
            indices = validate_cache.beam_indices(beam_indices, self.batch)
            self._reorder(indices.tolist())

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | bytes | PathLike[str]) -> None:
        """Write the cache to a file: NumPy's npz of the stored rows that are in use, with checksums.

        Parameters
        ----------
        path : taken as it is, without an ending added

        Raises
        ------
        OSError : the file cannot be written, or path is a folder; one that was there before is as it was

        Notes
        -----
        Written under another name in the same folder, flushed to disk, then renamed. The new name is flushed too where
        the system lets a program open that folder.
        """
        with self._lock, self._alone():
            state = {"lengths": self._lengths.tolist(), "kept_from": self._kept_from.tolist()}
            rotary = None if self._rotary is None else dataclasses.asdict(self._rotary)
            header = {"arguments": self._arguments(), "rotary": rotary, **state}
            write_archive(path, header, dict(self._rows_in_use(self._lengths)))

    @classmethod
    def load(cls, path: str | bytes | PathLike[str]) -> "KVCache":
        """The cache that `save` wrote, bit for bit.

        Raises
        ------
        ValueError : the file is damaged, cut short or of another kind. Nothing in it is ever unpickled.
        OSError : it cannot be opened
        MemoryError : the system refuses the memory
        """
        with reading(path) as archive:
            header = archive.header
            rotary = None if header["rotary"] is None else Rotary(**header["rotary"])
            cache = cls(**header["arguments"], rotary=rotary)
            ring = None if cache._ring is None else (cache._ring.window, cache._ring.sinks)
            state = validate_cache.saved_state(header["lengths"], header["kept_from"], cache._sizes, ring)
            archive.read_into(dict(cache._rows_in_use(state[0])))
            cache._lengths, cache._kept_from = state
        return cache

    def _alone(self) -> threading.Lock:
        """What a method holds beside the lock, refused to one that runs inside another."""
        if self._busy.locked():
            validate_pages.nested_call()
        return self._busy

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments but rotary."""
        return {**self._sizes._asdict(), "dtype": self.dtype, "window": self.window, "sinks": self.sinks}
