"""The stored bytes of keys and values behind both caches: pages of rows in one of five formats."""

from collections.abc import Sequence

import numpy as np

from fastcore.attention.kernels.storage_formats import VECTOR
from fastcore.kvcache.formats import FORMAT, FORMATS
from fastcore.kvcache.kernels import write as kernels
from fastcore.kvcache.kernels.read import read
from fastcore.kvcache.kernels.write import COUNT, FIRST, RECORD_FIELDS, START, TABLE

__all__ = ["COUNT", "FIRST", "FORMATS", "NO_RING", "START", "TABLE", "Storage", "new_records"]

ALIGNMENT = 64
# In the place of (sinks, ring_rows): slots are positions.
NO_RING = (0, 0)


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
    arrays : those of the four that there are, by name; filled in place, never replaced: kernels have their addresses
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
        self._storage = self._describe()

    def _describe(self) -> np.ndarray:
        """What kernels know of this storage: `fastcore.kvcache.kernels.write`."""
        return np.array(
            [
                self.keys.ctypes.data,
                0 if self.key_scales is None else self.key_scales.ctypes.data,
                self.values.ctypes.data,
                0 if self.value_scales is None else self.value_scales.ctypes.data,
                self.page_size,
                self.num_kv_heads,
                self.head_dim,
                self.value_dim,
                FORMAT[self.dtype].number,
            ],
            np.int64,
        )

    def write(
        self,
        tables: Sequence[np.ndarray],
        starts: Sequence[int],
        keys: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        ring: tuple[int, int] | None = None,
    ) -> None:
        """Store new tokens of several sequences. For tests and a look from outside; caches call `write_arrays`.

        Parameters
        ----------
        tables : of each sequence its pages, int64, C-contiguous
        starts : position of each one's first new token
        keys, values : of each one (G, T, D) and (G, T, Dv) float32 of any strides whose last axis is contiguous; T >= 0
        ring : (sinks, ring_rows), optional: position p >= sinks has slot sinks + (p - sinks) % ring_rows, else slot p.
            No more than ring_rows tokens a sequence.
        """
        records = new_records(len(tables))
        numbers = 0
        for i, (table, start, key, value) in enumerate(zip(tables, starts, keys, values, strict=True)):
            kernels.complete_record(records, i, table, start, key, value)
            numbers += key.size + value.size
        kernels.write_records(records, numbers, self._storage, *(ring or NO_RING))

    def write_arrays(
        self, records: np.ndarray, keys: np.ndarray, values: np.ndarray, ring: tuple[int, int] = NO_RING
    ) -> None:
        """`write` without Python's work for each sequence: tokens of all sequences in one array, and records.

        Parameters
        ----------
        records : (n, RECORD_FIELDS) int64, C-contiguous, from `new_records`; may be used again and again
            Of sequence i the caller fills in TABLE, START, COUNT and FIRST; what else is in there is overwritten.
        keys, values : (B, G, T, D) and (B, G, T, Dv) float32 of any strides whose last axis is contiguous
            B = n: tokens FIRST to FIRST + COUNT of row i belong to sequence i. B = 1: those tokens of the one row,
            where sequences are packed one after the other: ``packed.transpose(1, 0, 2)[None]`` of (tokens, G, D).
        ring : as in `write`
        """
        kernels.write_arrays(records, self._storage, keys, values, *ring)

    def read(self, table: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keys (G, n, D) and values (G, n, Dv) in float32 of n slots of a sequence.

        For tests and a look from outside: attention reads the stored bytes itself.
        """
        slots = np.asarray(slots, np.int64)
        heads = np.arange(self.num_kv_heads)[:, None]
        rows = (table[slots // self.page_size] * self.num_kv_heads + heads) * self.page_size + slots % self.page_size
        return (
            self._read(rows, self.keys, self.key_scales, self.head_dim),
            self._read(rows, self.values, self.value_scales, self.value_dim),
        )

    def _read(self, rows: np.ndarray, stored: np.ndarray, scales: np.ndarray | None, size: int) -> np.ndarray:
        out = np.empty((rows.size, -(-size // VECTOR) * VECTOR), np.float32)
        row_bytes = stored.shape[-1] * stored.itemsize
        scales_address = 0 if scales is None else scales.ctypes.data
        read(out, rows.reshape(-1), stored.ctypes.data, row_bytes, scales_address, FORMAT[self.dtype].number)
        return out[:, :size].reshape(*rows.shape, size)

    def copy_page(self, source: int, target: int) -> None:
        """Copy a page onto another one."""
        for array in self.arrays.values():
            array[target] = array[source]

    def copy_slots(self, table: np.ndarray, other: "Storage", other_table: np.ndarray, count: int) -> None:
        """Copy the first `count` slots of a sequence into another storage, byte for byte.

        `other` has the same heads, sizes and dtype; its page size may be another one.
        """
        done = 0
        while done < count:
            (page, place), (other_page, other_place) = divmod(done, self.page_size), divmod(done, other.page_size)
            run = min(count - done, self.page_size - place, other.page_size - other_place)
            rows, other_rows = slice(place, place + run), slice(other_place, other_place + run)
            for name, array in self.arrays.items():
                other.arrays[name][other_table[other_page], :, other_rows] = array[table[page], :, rows]
            done += run


def new_records(count: int) -> np.ndarray:
    """Zeroed records of `count` sequences, for `Storage.write_arrays`."""
    return np.zeros((count, RECORD_FIELDS), np.int64)


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
