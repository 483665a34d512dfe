"""The sequences behind `KVCache`: how they grow, are attended and change places. Without lock and argument checks."""

import math
from collections.abc import Iterator

import numpy as np

from fastcore._core import validate_cache
from fastcore._core.validate_cache import MOST_TOKENS, CacheSizes
from fastcore.kvcache.attend import Reader
from fastcore.kvcache.beams import reordered_pages
from fastcore.kvcache.call import AttendCall
from fastcore.kvcache.errors import CacheFullError
from fastcore.kvcache.kernels import plain
from fastcore.kvcache.ring import Part, Ring, plain_bounds
from fastcore.kvcache.rotary import Rotary
from fastcore.kvcache.snapshot import RowSnapshot
from fastcore.kvcache.storage import COUNT, FIRST, NO_RING, START, TABLE, Storage, new_records


class Sequences:
    """B sequences of one page each, and the rules by which they change.

    What depends on the state is refused here, before it changes. `_lengths` and `_kept_from` (see `Ring`; without one
    it stays 0) are replaced, never written to, and the lengths are set last: what was read of them stays as it was.
    """

    def __init__(self, sizes: CacheSizes, storage: Storage, ring: Ring | None, rotary: Rotary | None) -> None:
        self._sizes, self._storage, self._ring, self._rotary = sizes, storage, ring, rotary
        # The page of each sequence, and views of it: as many one-page tables, which follow when it is reordered.
        self._slots = np.arange(sizes.batch)
        self._tables = [self._slots[b : b + 1] for b in range(sizes.batch)]
        self._records = new_records(sizes.batch)  # what `write` tells the kernel of each, filled in anew by each call
        self._records[:, TABLE] = [table.ctypes.data for table in self._tables]
        self._reader = Reader(storage, *(ring or ()), tables=self._records[:, TABLE])
        self._lengths = np.zeros(sizes.batch, np.int64)
        self._kept_from = np.full(sizes.batch, 0 if ring is None else ring.sinks, np.int64)
        self._ring_slots = NO_RING if ring is None else ring[1:]
        self._bounds = plain_bounds(sizes, ring)
        self._default_scale = 1.0 / math.sqrt(sizes.head_dim)

    def _extend(self, key: np.ndarray, value: np.ndarray, counts: np.ndarray | None, call: AttendCall | None) -> None:
        """Append, and attend if there is a call; what can be refused is refused first, the lengths are set last."""
        starts = self._lengths
        new = np.full(self._sizes.batch, key.shape[2]) if counts is None else counts
        lengths = starts + new
        validate_cache.room(
            lengths, starts, self._sizes.capacity if self._ring is None else MOST_TOKENS, CacheFullError
        )
        if self._ring is None:
            key, call = self._rotated(key, starts), self._rotated_call(call, starts)
            part = None if counts is None else (np.zeros_like(new), new)
            self._write(key, value, starts, part)
            if call is not None:
                self._attend(call, starts, part)
            self._lengths = lengths
            return

        ring, kept_from = self._ring, self._kept_from
        parts = ring.parts_to_store(starts, new) if call is None else ring.parts_to_attend(starts, new)
        if call is not None:
            validate_cache.causal_chunks(call.is_causal, len(parts), ring.slack + 1)
        key, call = self._rotated(key, starts), self._rotated_call(call, starts)
        overwritten = RowSnapshot(self._storage)
        for b, (first, end) in enumerate(ring.rows_at_risk(kept_from, starts, new)):
            if first < end:
                overwritten.add(int(self._slots[b]), ring.slots(np.arange(first, end)))
        try:
            self._kept_from = ring.kept_after(kept_from, lengths)
            for part in parts:
                self._write(key, value, starts, part)
                if call is not None:
                    self._attend(call, starts, part)
            self._lengths = lengths
        except BaseException:
            overwritten.put_back()
            self._lengths, self._kept_from = starts, ring.kept_if_undone(kept_from, starts, new)
            raise

    def _extend_plain(self, key: np.ndarray, value: np.ndarray, call: AttendCall | None) -> bool:
        """`_extend` by all T tokens of plain arrays, if they are in order and overwrite nothing that a window shows."""
        starts = self._lengths
        lengths, kept_from = starts.copy(), self._kept_from.copy()
        if not plain.LENGTHEN.call(key, value, self._records, lengths, kept_from, self._bounds):
            return False
        if call is not None and not (
            call.query.shape[2] == key.shape[2]
            and plain.MAY_ATTEND.call(call.query, call.target, lengths, kept_from, self._bounds)
        ):
            return False
        key, call = self._rotated(key, starts), self._rotated_call(call, starts)
        self._kept_from = kept_from
        self._storage.write_arrays(self._records, key, value, self._ring_slots)
        if call is not None:
            self._reader.attend(None, lengths, call.query, call.target, *call.options)
        self._lengths = lengths
        return True

    def _attend_plain(self, call: AttendCall) -> bool:
        """Attend the T newest tokens of every sequence, if all is in order."""
        lengths = self._lengths
        if not plain.MAY_ATTEND.call(call.query, call.target, lengths, self._kept_from, self._bounds):
            return False
        query = call.query if self._rotary is None else self._rotated(call.query, lengths - call.query.shape[2])
        self._reader.attend(None, lengths, query, call.target, *call.options)
        return True

    def _truncate_plain(self, length: int) -> bool:
        """Shorten every sequence to one length, if all is in order."""
        lengths, kept_from = self._lengths.copy(), self._kept_from.copy()
        if not (0 <= length <= MOST_TOKENS and plain.SHORTEN.call(length, lengths, kept_from, self._bounds)):
            return False
        self._lengths, self._kept_from = lengths, kept_from
        return True

    def _write(self, key: np.ndarray, value: np.ndarray, starts: np.ndarray, part: Part | None) -> None:
        """Store the tokens of a part; those of a call begin at positions `starts`."""
        begins, ends = (0, key.shape[2]) if part is None else part
        records = self._records
        records[:, START] = starts + begins
        records[:, COUNT] = ends - begins
        records[:, FIRST] = begins
        self._storage.write_arrays(records, key, value, self._ring_slots)

    def _attend(self, call: AttendCall, starts: np.ndarray, part: Part | None) -> None:
        """Attend the tokens of a part, the newest in the cache; those of a call begin at positions `starts`."""
        if part is None:
            self._reader.attend(None, starts + call.query.shape[2], call.query, call.target, *call.options)
            return
        begins, ends = part
        self._reader.attend(None, starts + ends, call.query, call.target, *call.options, begins, ends - begins)

    def _rotated(self, x: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """(B, heads, T, D) rotated by the positions that begin at `starts`."""
        if self._rotary is None:
            return x
        return self._rotary.rotate(x, starts[:, None] + np.arange(x.shape[2]))

    def _rotated_call(self, call: AttendCall | None, starts: np.ndarray) -> AttendCall | None:
        if call is None or self._rotary is None:
            return call
        return call._replace(query=self._rotated(call.query, starts))

    def _used_slots(self, lengths: np.ndarray) -> list[int]:
        """So many first slots hold all there is: in a ring, too, positions below the capacity are their own slots."""
        return np.minimum(lengths, self._sizes.capacity).tolist()

    def _reorder(self, indices: list[int]) -> None:
        """Sequence b becomes the old sequence indices[b]."""
        old = self._slots.tolist()
        counts = self._used_slots(self._lengths)
        pages, copies = reordered_pages(indices, old)
        dropped = RowSnapshot(self._storage)
        for _, target in copies:
            dropped.add(old[target], slice(0, counts[target]))
        state = self._slots.copy(), self._lengths, self._kept_from
        lengths, kept_from = self._lengths[indices], self._kept_from[indices]
        try:
            for source, target in copies:
                self._storage.copy_slots(self._tables[source], self._storage, self._tables[target], counts[source])
            self._slots[:], self._lengths, self._kept_from = pages, lengths, kept_from
        except BaseException:
            self._slots[:], self._lengths, self._kept_from = state
            dropped.put_back()
            raise

    def _rows_in_use(self, lengths: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Names and views (G, slots, ...) of all that is stored of each sequence."""
        for b, (page, count) in enumerate(zip(self._slots.tolist(), self._used_slots(lengths), strict=True)):
            for name, array in self._storage.arrays.items():
                yield f"{name}.{b}", array[page, :, :count]
