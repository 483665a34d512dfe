"""The stored bytes of keys and values behind both caches: pages of rows in one of five formats."""

from collections.abc import Sequence

import numpy as np

from fastcore.kvcache.formats import FORMAT, FORMATS
from fastcore.reference.quantization import dequantize, quantize

__all__ = ["FORMATS", "Storage"]

ALIGNMENT = 64


class Storage:
    """Pages of keys and values: page p, head g, row r is one token's key and value of one head, in storage format.

    A sequence is a table of pages: its slot s is row s % P of page table[s // P]. Who owns which page, and what a slot
    means, is the caller's to know; nothing is checked here.

    Parameters
    ----------
    num_pages, page_size, num_kv_heads, head_dim, value_dim : ints, called N, P, G, D, Dv below
    dtype : one of FORMATS

    Attributes
    ----------
    keys, values : (N, G, P, row) stored elements; zero at first, so that the memory is only taken when it is written
    key_scales, value_scales : None, for int8 (N, G, P) float32, for int4 (N, G, P, groups, 2) float16 bits
    arrays : those of the four that there are, by name
    nbytes : their bytes
    """

    def __init__(
        self, num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, value_dim: int, dtype: str
    ) -> None:
        self.num_pages, self.page_size, self.num_kv_heads = num_pages, page_size, num_kv_heads
        self.head_dim, self.value_dim, self.dtype = head_dim, value_dim, dtype
        pages = (num_pages, num_kv_heads, page_size)
        self.keys, self.key_scales = _stored(pages, head_dim, dtype)
        self.values, self.value_scales = _stored(pages, value_dim, dtype)
        self.arrays: dict[str, np.ndarray] = {"keys": self.keys, "values": self.values}
        if self.key_scales is not None and self.value_scales is not None:
            self.arrays |= {"key_scales": self.key_scales, "value_scales": self.value_scales}
        self.nbytes = sum(array.nbytes for array in self.arrays.values())

    def write(
        self,
        tables: Sequence[np.ndarray],
        starts: Sequence[int],
        keys: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        ring: tuple[int, int] | None = None,
    ) -> None:
        """Store new tokens of several sequences.

        Parameters
        ----------
        tables : of each sequence its pages, int64, C-contiguous
        starts : position of each one's first new token
        keys, values : of each one (G, T, D) and (G, T, Dv) float32 of any strides whose last axis is contiguous
        ring : (sinks, ring_rows), optional: position p >= sinks has slot sinks + (p - sinks) % ring_rows, else slot p.
            No more than ring_rows tokens a sequence.
        """
        for table, start, key, value in zip(tables, starts, keys, values, strict=True):
            slots = start + np.arange(key.shape[1])
            if ring is not None:
                sinks, ring_rows = ring
                slots = np.where(slots < sinks, slots, sinks + (slots - sinks) % ring_rows)
            pages, places = table[slots // self.page_size], slots % self.page_size
            for x, rows, scales in ((key, self.keys, self.key_scales), (value, self.values, self.value_scales)):
                stored = quantize(x.swapaxes(0, 1), self.dtype)
                rows[pages, :, places] = stored["rows"]
                if scales is not None:
                    scales[pages, :, places] = stored["scales"]

    def read(self, table: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keys (G, n, D) and values (G, n, Dv) in float32 of n slots of a sequence."""
        slots = np.asarray(slots, np.int64)
        pages, places = table[slots // self.page_size], slots % self.page_size
        result = []
        for rows, scales, size in (
            (self.keys, self.key_scales, self.head_dim),
            (self.values, self.value_scales, self.value_dim),
        ):
            stored = {"rows": rows[pages, :, places]}
            if scales is not None:
                stored["scales"] = scales[pages, :, places]
            result.append(dequantize(stored, self.dtype, size).swapaxes(0, 1))
        return result[0], result[1]

    def copy_page(self, source: int, target: int) -> None:
        """Copy a page onto another one."""
        for array in self.arrays.values():
            array[target] = array[source]

    def copy_slots(self, table: np.ndarray, other: "Storage", other_table: np.ndarray, count: int) -> None:
        """Copy the first `count` slots of a sequence into another storage, byte for byte.

        `other` has the same heads, sizes and dtype; its page size may be another one.
        """
        for first in range(0, count, SLOTS_AT_ONCE):
            slots = np.arange(first, min(first + SLOTS_AT_ONCE, count))
            pages, places = table[slots // self.page_size], slots % self.page_size
            other_pages, other_places = other_table[slots // other.page_size], slots % other.page_size
            for name, array in self.arrays.items():
                other.arrays[name][other_pages, :, other_places] = array[pages, :, places]


# Slots that `copy_slots` moves by one indexing: a bound for the memory between the two.
SLOTS_AT_ONCE = 1024


def _stored(pages: tuple[int, ...], size: int, dtype: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Zeroed rows, and their scales if there are any."""
    layout = FORMAT[dtype]
    rows, scales = _zeros((*pages, layout.row(size)), layout.dtype), layout.scales(size)
    return rows, None if scales is None else _zeros((*pages, *scales[0]), scales[1])


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin at a cache line, as rows of whole vectors then do; NumPy's begin 16 bytes after one."""
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % ALIGNMENT
    return memory[offset : offset + size].view(dtype).reshape(shape)
