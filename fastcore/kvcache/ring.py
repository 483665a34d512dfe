"""A ring of rows that keeps the first tokens and the last ones: which positions it still holds, and in which slots."""

from typing import NamedTuple

import numpy as np

from fastcore._core.validate_cache import MOST_TOKENS, CacheSizes
from fastcore.kvcache.kernels import plain

# A part of a call's T tokens: of sequence b those in begins[b] .. ends[b] - 1. None stands for all tokens of all.
Part = tuple[np.ndarray, np.ndarray]


class Ring(NamedTuple):
    """Sizes of the ring, and what follows from them. Lengths and positions are (B,) int64, one a sequence.

    Position p < sinks has slot p, for good; any other shares its slot with those `rows` before and after it:

        slot      0 .. sinks - 1 | sinks .............................. capacity - 1
        position  0 .. sinks - 1 | p with (p - sinks) % rows = 0 .. rows - 1, the newest one that was written

    `kept_from` is the oldest position >= sinks whose row has not been overwritten, so a sequence holds positions
    0 .. sinks - 1 and kept_from .. length - 1. It only grows, except that a sequence cut down to its sinks begins anew.
    Always kept_from <= max(sinks, length - window): the window of the newest token is whole.

    Source: Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks", section 3.2. Positions stay
    those of the text; StreamingLLM renumbers them within the cache instead.
    """

    window: int
    sinks: int
    rows: int

    @property
    def slack(self) -> int:
        """Rows beyond the window: how many tokens a chunk may have beyond one, and how far truncate may go back."""
        return self.rows - self.window

    def slots(self, positions: np.ndarray) -> np.ndarray:
        return np.where(positions < self.sinks, positions, self.sinks + (positions - self.sinks) % self.rows)

    def kept_after(self, kept_from: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """`kept_from` once all positions below `lengths` have been written."""
        return np.maximum(kept_from, lengths - self.rows)

    def oldest_seen(self, positions: np.ndarray) -> np.ndarray:
        """The oldest position beyond the sinks that a query at `positions` looks at."""
        return np.maximum(self.sinks, positions - self.window + 1)

    def parts_to_store(self, lengths: np.ndarray, counts: np.ndarray) -> list[Part]:
        """What of `counts` new tokens has to be written, no more than `rows` a part: the sinks and the last ones."""
        begins = np.zeros_like(counts)
        if counts.max() <= self.rows:
            return [(begins, counts)]
        sinks = np.clip(self.sinks - lengths, 0, counts)
        return [(begins, sinks), (np.maximum(sinks, counts - self.rows), counts)]

    def parts_to_attend(self, lengths: np.ndarray, counts: np.ndarray) -> list[Part]:
        """`counts` new tokens in parts, each of which can be written and then attend with its windows still there."""
        parts: list[Part] = []
        begins = np.zeros_like(counts)
        while not parts or (begins < counts).any():
            most = np.maximum(self.sinks + self.rows - lengths - begins, self.slack + 1)
            ends = np.minimum(begins + most, counts)
            parts.append((begins, ends))
            begins = ends
        return parts

    def rows_at_risk(self, kept_from: np.ndarray, lengths: np.ndarray, counts: np.ndarray) -> list[tuple[int, int]]:
        """Positions [first, end) of each sequence that `counts` new tokens overwrite and its window still shows."""
        first = np.maximum(kept_from, lengths - self.window)
        end = np.minimum(lengths, lengths + counts - self.rows)
        return list(zip(first.tolist(), np.maximum(first, end).tolist(), strict=True))

    def kept_if_undone(self, kept_from: np.ndarray, lengths: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """`kept_from` after `counts` tokens were written and the rows at risk were put back."""
        return np.maximum(kept_from, np.minimum(lengths + counts - self.rows, lengths - self.window))


def plain_bounds(sizes: CacheSizes, ring: Ring | None) -> np.ndarray:
    """What compiled code knows of a cache and its ring, if it has one: `fastcore.kvcache.kernels.plain`."""
    bounds = np.zeros(8, np.int64)
    bounds[[plain.GROUPS, plain.SIZE, plain.VALUE_SIZE]] = sizes.num_kv_heads, sizes.head_dim, sizes.value_dim
    if ring is None:
        bounds[[plain.LONGEST, plain.MOST_TOKENS, plain.ROWS]] = sizes.capacity
    else:
        bounds[[plain.LONGEST, plain.MOST_TOKENS]] = MOST_TOKENS, ring.slack
        bounds[[plain.WINDOW, plain.SINKS, plain.ROWS]] = ring
    return bounds
