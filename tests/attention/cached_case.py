"""Sequences in a storage and everything that was ever written to them, for tests of attention over stored rows."""

import numpy as np

from fastcore import reference
from fastcore.kvcache.attend import Reader
from fastcore.kvcache.formats import FORMATS
from fastcore.kvcache.storage import Storage
from fastcore.reference.attention import attention_weights

__all__ = ["FORMATS", "Sequences", "normal"]


def normal(rng, *shape):
    """float32 of a normal distribution."""
    return rng.standard_normal(shape, np.float32)


class Sequences:
    """Sequences of given lengths in pages in random order, and the same tokens as plain arrays.

    Parameters
    ----------
    lengths : tokens of each sequence
    heads, size, value_size, page_size : G, D, Dv, P
    window, sinks, slack : a ring of window + slack rows behind `sinks` rows; window None: all is kept
    keys, values : of each sequence (G, S, D) and (G, S, Dv); drawn where not given
    spare : pages of no sequence

    Attributes
    ----------
    given : keys and values as they were written
    keys, values : lists of (G, S, D) and (G, S, Dv), all tokens as they read back from the storage
    """

    def __init__(
        self, rng, dtype, lengths, heads=2, size=64, value_size=None, page_size=16, window=None, sinks=0, slack=0,
        keys=None, values=None, spare=1,
    ):  # fmt: skip
        value_size = size if value_size is None else value_size
        self.dtype, self.heads, self.size, self.value_size = dtype, heads, size, value_size
        self.window, self.sinks = window, sinks
        ring = None if window is None else (sinks, window + slack)
        keys = [normal(rng, heads, n, size) for n in lengths] if keys is None else keys
        values = [normal(rng, heads, n, value_size) for n in lengths] if values is None else values
        self.given = keys, values
        rows = [n if ring is None else min(n, sum(ring)) for n in lengths]
        counts = [-(-n // page_size) for n in rows]
        self.storage = Storage(sum(counts) + spare, page_size, heads, size, value_size, dtype)
        self.tables = np.split(rng.permutation(sum(counts) + spare), np.cumsum(counts))[:-1]
        self.lengths = np.array(lengths, np.int64)
        for table, key, value in zip(self.tables, keys, values, strict=True):
            step = max(key.shape[1], 1) if ring is None else ring[1]
            for start in range(0, key.shape[1], step):
                part = np.s_[:, start : start + step]
                self.storage.write([table], [start], [key[part]], [value[part]], ring)
        self.keys, self.values = zip(*map(self._as_stored, keys, values), strict=True)
        self.ring = () if ring is None else (window, *ring)
        self.reader = self.new_reader()

    def new_reader(self):
        """A reader of the storage's arrays, wherever they are by now."""
        return Reader(self.storage, *self.ring)

    def _as_stored(self, key, value):
        storage = Storage(1, max(key.shape[1], 1), self.heads, self.size, self.value_size, self.dtype)
        table = np.zeros(1, np.int64)
        storage.write([table], [0], [key], [value])
        return storage.read(table, np.arange(key.shape[1]))

    def addresses(self, chosen=None):
        chosen = range(len(self.tables)) if chosen is None else chosen
        return np.array([self.tables[i].ctypes.data for i in chosen], np.int64)

    def attend(self, query, scale=None, softcap=0.0, is_causal=True, chosen=None, reader=None, **places):
        """Of the kernel, for query (n, H, T, D), or (1, H, total, D) with firsts and counts; NaN where none is written.

        chosen : numbers of the sequences that are attended, by default all
        """
        out = np.full((*query.shape[:3], self.value_size), np.nan, np.float32)
        lengths = self.lengths if chosen is None else self.lengths[chosen]
        scale = self.scale if scale is None else scale
        reader = self.reader if reader is None else reader
        reader.attend(self.addresses(chosen), lengths, query, out, scale, softcap, is_causal, **places)
        return out

    @property
    def scale(self):
        return self.size**-0.5

    def mask(self, number, new, is_causal=True):
        """Which tokens the newest ones of a sequence see."""
        length = int(self.lengths[number])
        at, key = np.arange(length - new, length)[:, None], np.arange(length)
        seen = (key <= at) if is_causal else np.ones((new, length), bool)
        if self.window is not None:
            seen = seen & ((key < self.sinks) | (key > at - self.window))
        return seen

    def expected(self, number, query, dtype=np.float64, scale=None, softcap=0.0, is_causal=True):
        """The twin's result of one sequence for query (H, T, D)."""
        inputs = (x[None].astype(dtype) for x in (query, self.keys[number], self.values[number]))
        mask = self.mask(number, query.shape[1], is_causal)
        scale = self.scale if scale is None else scale
        with np.errstate(all="ignore"):
            result = reference.scaled_dot_product_attention(*inputs, mask, scale=scale, softcap=softcap or None)
        return result[0]

    def check(self, number, got, query, **options):
        """At most twice the error of the plain float32 implementation, plus 1e-6 of the largest value.

        int8 also has what rounding queries and weights to 16 bits may cost.
        """
        want = self.expected(number, query, **options)
        rough = self.expected(number, query, np.float32, **options)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        largest = np.abs(self.values[number]).max(initial=1e-30)
        bound = 2.0 * np.nanmax(np.abs(rough - want), initial=0.0) + 1e-6 * largest
        if self.dtype == "int8":
            bound = bound + self.cost_of_rounding(number, query, **options)
        error = np.abs(got - want)
        worst = np.nanmax(error - bound, initial=-1.0)
        assert worst <= 0.0, f"error {np.nanmax(error)}, beyond the bound by {worst}"

    def cost_of_rounding(self, number, query, scale=None, softcap=0.0, is_causal=True):
        """A bound on what 16 bits for queries and for weights change in the result of query (H, T, D): (H, T, 1).

        A query's step is max |q| / 32767 and an element off by half of one (1 % more for the float32 it is computed
        in), so a score by d <= scale * sum |k| * max |q| / 65534 and its weight by a factor within e^(+-2 d). A soft
        cap makes d smaller. Weights, times the scales of their values, are off by half of 1 / 65535 of the largest one
        of a block, which has up to 256 keys.
        """
        scale = self.scale if scale is None else scale
        heads = query.shape[0] // self.heads
        sums = np.abs(self.keys[number]).sum(axis=-1).max(axis=-1, initial=0.0).repeat(heads)[:, None, None]
        largest = np.abs(query).max(axis=-1, keepdims=True)
        shift = 1.01 * abs(scale) * sums * largest / 65534.0
        mask = self.mask(number, query.shape[1], is_causal)
        inputs = query[None].astype(np.float64), self.keys[number][None].astype(np.float64)
        with np.errstate(all="ignore"):
            weights, _, _ = attention_weights(*inputs, mask, scale=scale, softcap=softcap or None)
        peak = weights[0].max(axis=-1, keepdims=True, initial=0.0) * mask.sum(axis=-1, keepdims=True)
        lost = 1.01 * np.minimum(peak, 256.0) / 131070.0
        return (np.expm1(np.minimum(2.0 * shift, 80.0)) + lost) * np.abs(self.values[number]).max(initial=0.0)

    def check_all(self, query, **options):
        """`attend` of query (n, H, T, D), each sequence checked."""
        got = self.attend(query, **options)
        for number in range(len(self.tables)):
            self.check(number, got[number], query[number], **options)
        return got
