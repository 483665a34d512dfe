"""Half precision as kernels take it: the bits as uint16, and which of the two formats they are."""

import numpy as np

from fastcore._core.simd import HAS_BFLOAT
from fastcore.attention.kernels.storage_formats import BF16, F16, F32


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
    return HAS_BFLOAT and (storage_of(dtype) == BF16 or precision == "bf16")


def to_float32(bits, storage):
    """Half precision from its bits, exactly."""
    if storage == F16:
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def round_into(bits, numbers, storage):
    """bits <- float32 rounded to nearest even; float16 ends at 65504, what is beyond becomes inf."""
    if storage == F16:
        with np.errstate(over="ignore"):
            bits.view(np.float16)[...] = numbers
        return
    wide = np.ascontiguousarray(numbers).view(np.uint32)
    rounded = (wide + np.uint32(0x7FFF) + ((wide >> 16) & 1)) >> 16
    bits[...] = np.where(np.isnan(numbers), (wide >> 16) | 0x40, rounded)
