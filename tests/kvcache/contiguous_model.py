"""What KVCache has to be: lists of tokens, and attention of each query to all tokens it may see, in float64."""

import numpy as np

from fastcore import reference
from fastcore.kvcache import KVCache
from fastcore.kvcache.storage import Storage

# Half a step each of 256 weights, of which the largest is 1: what rounding them may cost beside the largest value.
ROUNDED_WEIGHTS = 256 * 0.5 / 65535
FORMATS = ["float32", "float16", "bfloat16", "int8", "int4"]


def as_stored(key, value, dtype):
    """(G, T, D) and (G, T, Dv) as they read back from a storage of `dtype`."""
    heads, tokens, size = key.shape
    if tokens == 0:
        return key, value
    storage, table = Storage(1, tokens, heads, size, value.shape[2], dtype), np.zeros(1, np.int64)
    storage.write([table], [0], [np.ascontiguousarray(key)], [np.ascontiguousarray(value)])
    return storage.read(table, np.arange(tokens))


class Model:
    """The methods of KVCache on plain arrays that grow; every token is kept, a window is a mask over all of them."""

    def __init__(self, batch, heads, size, value_size=None, *, dtype="float32", window=None, sinks=0, rotary=None):
        value_size = size if value_size is None else value_size
        self.dtype, self.window, self.sinks, self.rotary = dtype, window, sinks, rotary
        self.keys = [np.zeros((heads, 0, size), np.float32)] * batch
        self.values = [np.zeros((heads, 0, value_size), np.float32)] * batch

    @property
    def lengths(self):
        return np.array([key.shape[1] for key in self.keys])

    def append(self, key, value, lengths=None):
        key, value = np.asarray(key, np.float32), np.asarray(value, np.float32)
        counts = np.broadcast_to(key.shape[2] if lengths is None else lengths, len(self.keys))
        for b, count in enumerate(counts):
            new_key = self._rotated(key[b, :, :count], self.keys[b].shape[1])
            new_key, new_value = as_stored(new_key, value[b, :, :count], self.dtype)
            self.keys[b] = np.concatenate([self.keys[b], new_key], 1)
            self.values[b] = np.concatenate([self.values[b], new_value], 1)

    def _rotated(self, x, start):
        if self.rotary is None or x.shape[1] == 0:
            return x
        return self.rotary.rotate(x[None], start + np.arange(x.shape[1]))[0]

    def attend(self, query, lengths=None, dtype=np.float64, **options):
        """The result in `dtype`, and that of the plain implementation."""
        query = np.asarray(query, np.float32)
        four = query if query.ndim == 4 else query[:, :, None]
        counts = np.broadcast_to(four.shape[2] if lengths is None else lengths, len(self.keys))
        out = np.zeros((*four.shape[:3], self.values[0].shape[2]), dtype)
        for b, count in enumerate(counts):
            length = self.keys[b].shape[1]
            rows = self._rotated(four[b, :, :count], length - count)
            mask = self.mask(length, count, options.get("is_causal", True))
            inputs = (x[None].astype(dtype) for x in (rows, self.keys[b], self.values[b]))
            keywords = {name: option for name, option in options.items() if name != "is_causal"}
            out[b, :, :count] = reference.scaled_dot_product_attention(*inputs, mask, **keywords)[0]
        return out.reshape(*query.shape[:-1], -1)

    def mask(self, length, count, is_causal):
        at, j = np.arange(length - count, length)[:, None], np.arange(length)
        seen = (j <= at) if is_causal else np.ones((count, length), bool)
        if self.window is not None:
            seen = seen & ((j < self.sinks) | (j > at - self.window))
        return seen

    def truncate(self, lengths):
        lengths = np.broadcast_to(lengths, len(self.keys))
        self.keys = [x[:, :n] for x, n in zip(self.keys, lengths, strict=True)]
        self.values = [x[:, :n] for x, n in zip(self.values, lengths, strict=True)]

    def reorder(self, indices):
        self.keys, self.values = [self.keys[i] for i in indices], [self.values[i] for i in indices]


def pair(batch, heads, capacity, size, value_size=None, **options):
    """A cache and its model."""
    cache = KVCache(batch, heads, capacity, size, value_dim=value_size, **options)
    return cache, Model(batch, heads, size, value_size, **options)


def assert_attends(got, model, query, lengths=None, **options):
    """At most twice the error of the plain float32 implementation, plus 1e-6 of the largest value.

    int8 also has what rounding the queries to 16 bits may cost.
    """
    with np.errstate(invalid="ignore"):
        want = model.attend(query, lengths, **options)
        rough = model.attend(query, lengths, np.float32, **options)
    seen = np.isfinite(want)
    np.testing.assert_array_equal(np.isfinite(got), seen)
    error = 2.0 * np.abs(rough[seen] - want[seen]).max(initial=0.0) + 1e-6 * np.abs(want[seen]).max(initial=1e-30)
    if model.dtype == "int8":
        error += cost_of_rounded_queries(model, query, options.get("scale", query.shape[-1] ** -0.5))
    assert np.abs(got[seen] - want[seen]).max(initial=0.0) <= error


def cost_of_rounded_queries(model, query, scale):
    """A bound: elements off by 2^-16 of the largest one shift no score by more than d, the weights by 2 d in sum.

    The weights of up to 256 keys at once are themselves rounded to 1 / 65535 of their largest.
    """
    sums, values = ([np.abs(x[np.isfinite(x).all(-1)]) for x in rows] for rows in (model.keys, model.values))
    largest = np.abs(query).max() * (1.0 if model.rotary is None else 2**0.5)
    shift = abs(scale) * 2.0**-16 * largest * max(x.sum(-1).max(initial=0.0) for x in sums)
    return (2.0 * shift + ROUNDED_WEIGHTS) * max(x.max(initial=0.0) for x in values)


def draw(rng, batch, heads, tokens, *sizes):
    """float32 arrays (B, heads, T, size), one for each size."""
    return [rng.normal(size=(batch, heads, tokens, size)).astype(np.float32) for size in sizes]
