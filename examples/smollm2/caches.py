"""What keeps the earlier tokens of sequences while a model reads and writes text: caches, or nothing."""

from collections.abc import Sequence

import numpy as np

from examples.smollm2.model import Model
from fastcore import scaled_dot_product_attention
from fastcore.kvcache import KVCache, PagedKVCache


class Cached:
    """One sequence, with a `KVCache` for each layer.

    Parameters
    ----------
    model : Model
    capacity : int, tokens
    dtype : how keys and values are stored
    """

    def __init__(self, model: Model, capacity: int, dtype: str = "float32") -> None:
        config = model.config
        self._model = model
        self._layers = [
            KVCache(1, config.kv_heads, capacity, config.head_dim, dtype=dtype) for _ in range(config.layers)
        ]
        self._length = 0

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self._layers)

    def feed(self, tokens: Sequence[int]) -> np.ndarray:
        """Features of the next T tokens, (T, E)."""
        positions = np.arange(self._length, self._length + len(tokens))
        hidden = self._model(np.array(tokens), positions, self._attend)
        self._length += len(tokens)
        return hidden

    def truncate(self, length: int) -> None:
        """Shorten the sequence to its first `length` tokens."""
        for layer in self._layers:
            layer.truncate(length)
        self._length = length

    def _attend(self, layer: int, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
        out = np.empty(query.shape, np.float32)
        self._layers[layer].step(*map(as_batch, (query, key, value)), out=as_batch(out))
        return out


class Uncached:
    """One sequence of which the tokens alone are kept: each step computes all of them again."""

    nbytes = 0

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokens: list[int] = []

    def feed(self, tokens: Sequence[int]) -> np.ndarray:
        """As `Cached.feed`."""
        self._tokens += tokens
        hidden = self._model(np.array(self._tokens), np.arange(len(self._tokens)), attend_all)
        return hidden[-len(tokens) :]


class Batch:
    """Any number of sequences at once, with a `PagedKVCache` for each layer.

    The same calls go to the caches of all layers, so that ids and page tables agree. A table has 8 bytes a page, whose
    32 tokens have 49,152 bytes of keys and values: one table for all layers would save nothing.

    Parameters
    ----------
    model : Model
    num_pages : int, of each layer
    page_size : int, tokens
    dtype : how keys and values are stored
    """

    def __init__(self, model: Model, num_pages: int, page_size: int = 32, dtype: str = "float32") -> None:
        config = model.config
        self._model = model
        self.page_size = page_size
        self._layers = [
            PagedKVCache(num_pages, page_size, config.kv_heads, config.head_dim, dtype=dtype)
            for _ in range(config.layers)
        ]

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self._layers)

    @property
    def used_pages(self) -> int:
        """Of each layer."""
        return self._layers[0].stats().used_pages

    def allocate(self) -> int:
        (sequence,) = {layer.allocate() for layer in self._layers}
        return sequence

    def free(self, sequence: int) -> None:
        for layer in self._layers:
            layer.free(sequence)

    def feed(self, sequences: Sequence[int], tokens: Sequence[Sequence[int]]) -> np.ndarray:
        """Features (total, E) of the next tokens of each sequence, one sequence after the other.

        Raises
        ------
        CacheFullError : by the first layer, so that nothing has changed in any
        """
        starts = np.cumsum([0, *map(len, tokens)])
        lengths = [self._layers[0].length(sequence) for sequence in sequences]
        positions = np.concatenate([np.arange(n, n + len(new)) for n, new in zip(lengths, tokens)])

        def attend(layer: int, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
            return self._layers[layer].step(sequences, query, key, value, starts=starts)

        return self._model(np.concatenate(tokens), positions, attend)


def attend_all(layer: int, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Attention of tokens that are the whole sequence."""
    out = np.empty(query.shape, np.float32)
    scaled_dot_product_attention(
        as_batch(query), as_batch(key), as_batch(value), is_causal=True, enable_gqa=True, out=as_batch(out)
    )
    return out


def as_batch(rows: np.ndarray) -> np.ndarray:
    """(T, H, D) as (1, H, T, D), without a copy."""
    return rows.transpose(1, 0, 2)[None]
