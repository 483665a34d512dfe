"""The state of a paged cache, and the rules by which it stays whole whatever breaks off."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate, validate_pages
from fastcore.kvcache.attend import NO_NUMBERS, Reader
from fastcore.kvcache.cache import Cache
from fastcore.kvcache.errors import require_pages
from fastcore.kvcache.growth import Entry, extended_table, pages_of, plan_growth
from fastcore.kvcache.pages import PagePool
from fastcore.kvcache.ragged import NewTokens, Queries
from fastcore.kvcache.rotary import Rotary
from fastcore.kvcache.storage import FIRST, TABLE, Storage, new_records
from fastcore.kvcache.transfer import WITHIN, Unfinished


class PagedStats(NamedTuple):
    """How full a paged cache is. used_pages + free_pages = num_pages; a shared page is used once."""

    num_pages: int
    page_size: int
    free_pages: int
    used_pages: int
    shared_pages: int  # owned by several sequences
    sequences: int
    tokens: int  # of all sequences; those on shared pages count for each of them
    nbytes: int


class PagedState(Cache):
    """What a paged cache holds, what can be read of it, and how it changes; `PagedKVCache` has the calls.

    A call holds `_lock`, settles first, and holds `_busy` while it relies on what it read. A change sets `_open`,
    prepares what no sequence can see, commits by one operation on `_sequences` and clears `_open`. Where it breaks off,
    `_settle` makes the index of pages anew from the page tables: at once, or in the next call if that broke off too.
    """

    def __init__(
        self, sizes: validate_pages.PagedSizes, storage: Storage, pool: PagePool, rotary: Rotary | None
    ) -> None:
        self._sizes, self._storage, self._pool, self._rotary = sizes, storage, pool, rotary
        self._reader = Reader(storage)
        self._records = new_records(0)  # what `write` tells the kernel of each sequence, filled in anew by each call
        self._default_scale = 1.0 / math.sqrt(sizes.head_dim)
        self._sequences: dict[int, Entry] = {}
        self._issued = 0
        self._open: Unfinished | None = None
        super().__init__()

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def num_pages(self) -> int:
        return self._sizes.num_pages

    @property
    def page_size(self) -> int:
        return self._sizes.page_size

    @property
    def sequences(self) -> tuple[int, ...]:
        """Ids of the sequences in the cache, oldest first."""
        with self._lock:
            self._settle()
            return tuple(self._sequences)

    @property
    def lengths(self) -> dict[int, int]:
        """Tokens of each sequence, by id."""
        with self._lock:
            self._settle()
            return {sequence: length for sequence, (_, length, _) in self._sequences.items()}

    def length(self, sequence: int) -> int:
        """Tokens of a sequence."""
        with self._lock:
            self._settle()
            return self._entry(sequence)[1]

    def page_table(self, sequence: int) -> np.ndarray:
        """Pages of a sequence, int64, a copy: token t is in row t % page_size of page_table[t // page_size]."""
        with self._lock:
            self._settle()
            return pages_of(self._entry(sequence), self.page_size).copy()

    def stats(self) -> PagedStats:
        with self._lock:
            self._settle()
            free, owners = self._pool.free, self._pool.owners
            return PagedStats(
                num_pages=self.num_pages,
                page_size=self.page_size,
                free_pages=free,
                used_pages=self.num_pages - free,
                shared_pages=int(np.count_nonzero(owners > 1)),
                sequences=len(self._sequences),
                tokens=sum(length for _, length, _ in self._sequences.values()),
                nbytes=self.nbytes,
            )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={size}" for name, size in self._sizes._asdict().items())
        stats = self.stats()
        return (
            f"PagedKVCache({sizes}, dtype={self.dtype!r}: {stats.sequences} sequences, {stats.free_pages} free pages)"
        )

    # --- inside, with the lock held -----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """What every method does first: refuse to run inside another call, end a change that broke off."""
        if self._busy.locked():
            validate_pages.nested_call()
        if self._open is not None:
            self._settle_open()

    def _settle_open(self) -> None:
        """Bring everything in line with what was committed. Breaking off again does no harm."""
        unfinished = self._open
        if unfinished is None:
            return
        if unfinished.commit.done == unfinished.drop_if:
            self._sequences.pop(unfinished.sequence, None)
        self._pool.recount(pages_of(entry, self.page_size) for entry in self._sequences.values())
        self._open = None

    def _new_id(self) -> int:
        self._issued += 1
        return self._issued - 1

    def _entry(self, sequence: Any) -> Entry:
        return self._entries([validate.index(sequence, "sequence")])[0]

    def _entries(self, ids: Sequence[int]) -> list[Entry]:
        known = self._sequences
        try:
            return [known[sequence] for sequence in ids]
        except KeyError as error:
            unknown = error.args[0]
        validate_pages.unknown_sequence(unknown, self._issued)

    def _written(self, ids: Sequence[int], entries: Sequence[Entry], tokens: NewTokens) -> dict[int, Entry]:
        """Take pages and write new tokens where no sequence can see them; what the sequences are to become."""
        size, pool, storage = self.page_size, self._pool, self._storage
        tables = [table for table, _, _ in entries]
        addresses = [address for _, _, address in entries]
        lengths = [length for _, length, _ in entries]
        ends = [length + new for length, new in zip(lengths, tokens.counts, strict=True)]
        growth = plan_growth(tables, lengths, ends, pool, size)
        require_pages(growth.pages, pool.free, self.num_pages, size)
        self._open = WITHIN
        if growth.pages:
            pages, used = pool.take(growth.pages), len(growth.copies)
            for (i, shared), own in zip(growth.copies, pages.tolist()):
                storage.copy_page(shared, own)
                pool.release(np.array([shared]))
                tables[i] = tables[i].copy()
                tables[i][lengths[i] // size] = own
            for i, before, after in growth.extensions:
                tables[i] = extended_table(tables[i], before, after, self.num_pages)
                tables[i][before:after] = pages[used : used + after - before]
                used += after - before
            for i in {i for i, *_ in (*growth.copies, *growth.extensions)}:
                addresses[i] = tables[i].ctypes.data
        if any(tokens.counts):
            if len(self._records) != len(ids):
                self._records = new_records(len(ids))
            records = self._records
            records[:, TABLE : FIRST + 1] = list(zip(addresses, lengths, tokens.counts, tokens.firsts, strict=True))
            storage.write_arrays(records, self._rotated_keys(tokens, lengths), tokens.values)
        return dict(zip(ids, zip(tables, ends, addresses, strict=True), strict=True))

    def _attend(self, entries: Sequence[Entry], call: Queries, options: tuple[float, float, bool]) -> None:
        """Fill in the results of a call."""
        if not any(call.counts):
            return
        rows, firsts, counts = call.rows, NO_NUMBERS, NO_NUMBERS
        if self._rotary is not None:
            starts = [end - new for (_, end, _), new in zip(entries, call.counts, strict=True)]
            rows = self._rotary.rotate(rows, _positions(starts, call.counts, len(rows)))
        if call.firsts is not None:
            firsts, counts = (np.array(numbers, np.int64) for numbers in (call.firsts, call.counts))
        lengths = np.array([end for _, end, _ in entries], np.int64)
        addresses = [address for _, _, address in entries]
        self._reader.attend(addresses, lengths, rows, call.target, *options, firsts, counts, call.apart)

    def _rotated_keys(self, tokens: NewTokens, lengths: Sequence[int]) -> np.ndarray:
        if self._rotary is None:
            return tokens.keys
        return self._rotary.rotate(tokens.keys, _positions(lengths, tokens.counts, len(tokens.keys)))


def _positions(starts: Sequence[int], counts: Sequence[int], rows: int) -> np.ndarray:
    """Of sequences one after another, each with `counts` positions from `starts` on, as (rows, positions)."""
    before = np.cumsum([0, *counts])
    return (np.arange(before[-1]) + np.repeat(np.subtract(starts, before[:-1]), counts)).reshape(rows, -1)
