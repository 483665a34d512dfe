"""Half precision as kernels take it: the bits as uint16, and which of the two formats they are."""

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.work import Direct
from fastcore.attention.kernels.blocks import convert_rows, round_rows
from fastcore.attention.kernels.options import row_pointer
from fastcore.attention.kernels.storage_formats import BF16, F16, F32
from fastcore.attention.kernels.views import Stored


def storage_of(dtype):
    """The storage format of arrays of a float dtype; float64 is F32, "as computed"."""
    if dtype.char in "fd":
        return F32
    return F16 if dtype.char == "e" else BF16


def kernel_view(array, storage):
    """What kernels take: half precision as its bits."""
    return array if storage == F32 else array.view(np.uint16)


def multiplies_bfloat(dtype, precision):
    """Whether products are taken in bfloat16: of bfloat16 always where the CPU can, of float32 if asked for."""
    return simd.HAS_BFLOAT and (storage_of(dtype) == BF16 or precision == "bf16")


def widen_rows(bits, numbers, storage):
    """numbers <- bits, row by row."""
    nowhere, size = simd.pointer_at(0, simd.f32), bits.shape[3]
    for b in range(bits.shape[0]):
        for h in range(bits.shape[1]):
            rows = Stored(nowhere, row_pointer(bits, b, h, 0), bits.strides[2] // 2, bits.shape[2], storage)
            convert_rows(rows, 0, rows.length, size, row_pointer(numbers, b, h, 0), size)


def round_numbers(bits, numbers, storage):
    """bits <- numbers, row by row."""
    nowhere, size = simd.pointer_at(0, simd.f32), bits.shape[3]
    for b in range(bits.shape[0]):
        for h in range(bits.shape[1]):
            rows = Stored(nowhere, row_pointer(bits, b, h, 0), bits.strides[2] // 2, bits.shape[2], storage)
            round_rows(row_pointer(numbers, b, h, 0), size, size, rows)


_NUMBERS = types.Array(types.float32, 4, "C")
_WIDEN = Direct(widen_rows, types.void(types.Array(types.uint16, 4, "A", readonly=True), _NUMBERS, types.int64))
_ROUND = Direct(round_numbers, types.void(types.Array(types.uint16, 4, "A"), _NUMBERS, types.int64))


def to_float32(bits, storage):
    """(B, H, L, D) of half precision from its bits, exactly; D is a multiple of `VECTOR`.

    Compiled, as `round_into`: in NumPy both together took 15 us of a call that takes 20.
    """
    numbers = np.empty(bits.shape, np.float32)
    _WIDEN.call(bits, numbers, storage)
    return numbers


def round_into(bits, numbers, storage):
    """bits <- float32 rounded to nearest even, C-contiguous, of the same four axes."""
    _ROUND.call(bits, numbers, storage)
