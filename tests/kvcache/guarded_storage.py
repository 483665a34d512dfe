"""Storage whose arrays, and what is written to and read from it, end or begin right at a page nobody may touch.

Run by test_storage.py; prints the number of cases.
"""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import reference
from fastcore.attention.kernels.storage_formats import VECTOR
from fastcore.kvcache.formats import FORMAT, FORMATS
from fastcore.kvcache.kernels.read import read
from fastcore.kvcache.storage import Storage

SIZES = [(1, 7), (16, 33), (20, 80), (64, 100)]
PAGE_SIZES = [1, 3]


def place(array, at_end):
    return guarded(array, at_end, range(array.ndim))


def guarded_storage(at_end, *sizes):
    storage = Storage(*sizes)
    for name in storage.arrays:
        storage.arrays[name] = place(storage.arrays[name], at_end)
        setattr(storage, name, storage.arrays[name])
    storage._storage = storage._describe()  # the new addresses
    return storage


def read_stored(rows, scales, size, dtype, numbers, at_end):
    """All rows by the kernel, into memory without a byte to spare."""
    out = place(np.zeros((numbers.size, -(-size // VECTOR) * VECTOR), np.float32), at_end)
    row_bytes = rows.shape[-1] * rows.itemsize
    address = 0 if scales is None else scales.ctypes.data
    read(out, numbers, rows.ctypes.data, row_bytes, address, FORMAT[dtype].number)
    return out[:, :size]


def run(rng, dtype, sizes, page_size, at_end):
    storage = guarded_storage(at_end, 4, page_size, 2, *sizes, dtype)
    count = 4 * page_size
    key, value = (place(rng.normal(size=(2, count, size)).astype(np.float32), at_end) for size in sizes)
    value[0, 0, -1] = np.nan
    table = place(rng.permutation(4), at_end)
    storage.write([table], [0], [key], [value])
    pages, places = table[np.arange(count) // page_size], np.arange(count) % page_size
    for x, rows, scales in ((key, storage.keys, storage.key_scales), (value, storage.values, storage.value_scales)):
        want = reference.quantize(x.swapaxes(0, 1), dtype)
        for got, stored in ((rows, "rows"), (scales, "scales")):
            if got is not None:
                np.testing.assert_array_equal(got[pages, :, places], want[stored])
        numbers = place(np.arange(rows[..., 0].size)[::-1].copy(), at_end)
        stored = {"rows": rows} if scales is None else {"rows": rows, "scales": scales}
        plain = reference.dequantize(stored, dtype, x.shape[-1]).reshape(-1, x.shape[-1])
        np.testing.assert_array_equal(read_stored(rows, scales, x.shape[-1], dtype, numbers, at_end), plain[::-1])


def main():
    rng = np.random.default_rng(0)
    cases = list(itertools.product(FORMATS, SIZES, PAGE_SIZES, (True, False)))
    for case in cases:
        run(rng, *case)
    print(len(cases))


if __name__ == "__main__":
    main()
