"""Sums over rows that have the same bits for any number of threads: fixed chunks of rows, added in order."""

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import lanes_of
from fastcore._core.work import Direct
from fastcore.nn.kernels.layer_norm import add_rows

# Chunks there are at most, so that adding them is nothing, and elements and rows of one at least.
MOST_CHUNKS, CHUNK_ELEMENTS, CHUNK_ROWS = 64, 4096, 32


def new_sums(shape, count, dtype):
    """Zeros for ``count`` sums of each chunk, side by side: (chunks, count * size). The shape alone says how many."""
    rows, size = shape
    rows_of_chunk = max(CHUNK_ROWS, -(-CHUNK_ELEMENTS // size), -(-rows // MOST_CHUNKS))
    return np.zeros((-(-rows // rows_of_chunk), count * size), dtype)


@kernel
def rows_per_chunk(rows, sums):
    """Rows of a chunk but the last."""
    return -(-rows // sums.shape[0])


@kernel
def add_some(sums, x, count):
    """sums += x for the first ``count`` lanes."""
    simd.store_first(sums, simd.load_first(sums, lanes_of(sums), count) + x, count)


@kernel
def add_chunks(sums):
    """sums[0] += sums[1:], in order. (chunks, elements)"""
    total = simd.pointer(sums)
    for chunk in range(1, sums.shape[0]):
        add_rows(total, simd.advance(total, chunk * sums.shape[1]), total, sums.shape[1])


def _add(sums):
    add_chunks(sums)


_ADD_F32 = Direct(_add, types.void(types.Array(types.float32, 2, "C")))
_ADD_F64 = Direct(_add, types.void(types.Array(types.float64, 2, "C")))


def sum_of_chunks(sums):
    """The sum of the first axis, (elements,), whose first row it takes; float32 or float64, C-contiguous."""
    add = _ADD_F32 if sums.itemsize == 4 else _ADD_F64
    if sums.shape[0] > 1:
        add.call(sums)
    return sums[0]
