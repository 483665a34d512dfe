"""Stored rows of a cache as float32, for looking at them."""

from numba import types

from fastcore._core import simd
from fastcore._core.work import Direct
from fastcore.attention.kernels.dequantize import load_rows


def read_rows(out, rows, base_address, row_bytes, scales_address, storage_format):
    """out[i] = stored row rows[i]."""
    load_rows(
        simd.pointer(out), base_address, simd.pointer(rows), 0, rows.shape[0], row_bytes, scales_address, out.shape[1],
        storage_format,
    )  # fmt: skip


_READ = Direct(
    read_rows,
    types.void(
        types.Array(types.float32, 2, "C"), types.Array(types.int64, 1, "C", readonly=True), types.int64, types.int64,
        types.int64, types.int64,
    ),
)  # fmt: skip


def read(out, rows, base_address, row_bytes, scales_address, storage_format):
    """out (n, a multiple of 16) float32, rows (n,) int64, both C-contiguous; see `load_rows`."""
    _READ.call(out, rows, base_address, row_bytes, scales_address, storage_format)
