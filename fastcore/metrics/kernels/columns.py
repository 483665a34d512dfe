"""Columns: how kernels read labels of any number type, at any stride, with one compiled body.

A column is (address, stride in bytes, kind), three integers. A block of it becomes int32 codes, from which everything
else counts.
"""

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel

# Elements of a block: its codes (8 kB) stay in the L1 cache.
BLOCK = 2048

# The dtypes read in place. Each takes 0.3 s to compile, so that others are converted.
I8, U8, I16, I32, I64, U64, F64 = range(7)
_NAMES = {"b1": U8, "i1": I8, "u1": U8, "i2": I16, "i4": I32, "i8": I64, "u8": U64, "f8": F64}
_KIND_OF = {np.dtype(name): kind for name, kind in _NAMES.items()}
_WIDER = {np.dtype(name): np.dtype(wider) for name, wider in (("u2", "i4"), ("u4", "i8"), ("f2", "f8"), ("f4", "f8"))}


def readable(array):
    """A (N,) array of numbers as kernels read it: native, aligned, of a kind; itself where it can be. None if none."""
    dtype = array.dtype
    if dtype in _KIND_OF and array.flags.aligned:
        return array
    if dtype.kind not in "biuf":
        return None
    native = dtype.newbyteorder("=")
    native = _WIDER.get(native, native)
    return np.require(array, native, "A") if native in _KIND_OF else None


def column(array):
    """(address, stride, kind) of what `readable` gave; the caller keeps the array alive."""
    return array.ctypes.data, array.strides[0], _KIND_OF[array.dtype]


@kernel
def add_integers(items, count, low, size, factor, codes):
    """codes += (items - low) * factor; whether all are in [low, low + size), others count as low."""
    outside = np.int64(0)
    for i in range(count):
        code = np.uint64(np.int64(simd.load_scalar(simd.advance(items, i)))) - np.uint64(np.int64(low))
        is_outside = code >= np.uint64(np.int64(size))
        outside |= np.int64(is_outside)
        codes[i] += np.int32(np.int64(0) if is_outside else np.int64(code)) * np.int32(factor)
    return outside == 0


@kernel
def add_floats(items, count, low, size, factor, codes):
    """`add_integers` of floats; those that hold no integer are outside too."""
    outside = np.int64(0)
    lowest, highest = np.float64(low), np.float64(low + size - 1)
    for i in range(count):
        value = np.float64(simd.load_scalar(simd.advance(items, i)))
        is_inside = (value >= lowest) & (value <= highest)
        offset = (value if is_inside else lowest) - lowest
        code = np.int32(offset)
        outside |= np.int64((not is_inside) | (np.float64(code) != offset))
        codes[i] += code * np.int32(factor)
    return outside == 0


@kernel
def item_size(kind):
    """Bytes of an element."""
    if kind <= U8:
        return 1
    if kind == I16:
        return 2
    return 4 if kind == I32 else 8


@kernel
def gather_items(address, stride, width, count, scratch):
    """scratch holds ``count`` elements of ``width`` bytes, side by side, that lay ``stride`` bytes apart."""
    source, target = simd.pointer_at(address, simd.i8), simd.cast_pointer(simd.pointer(scratch), simd.i8)
    if width == 8:
        for i in range(count):
            item = simd.load_scalar(simd.cast_pointer(simd.advance(source, i * stride), simd.i64))
            simd.store_scalar(simd.cast_pointer(simd.advance(target, 8 * i), simd.i64), item)
    elif width == 4:
        for i in range(count):
            item = simd.load_scalar(simd.cast_pointer(simd.advance(source, i * stride), simd.i32))
            simd.store_scalar(simd.cast_pointer(simd.advance(target, 4 * i), simd.i32), item)
    elif width == 1:
        for i in range(count):
            simd.store_scalar(simd.advance(target, i), simd.load_scalar(simd.advance(source, i * stride)))
    else:
        for i in range(count):
            for byte in range(width):
                item = simd.load_scalar(simd.advance(source, i * stride + byte))
                simd.store_scalar(simd.advance(target, i * width + byte), item)


@kernel
def place(address, stride, width, start, count, scratch):
    """Address of ``count`` contiguous elements: in place, or copied to ``scratch``."""
    base = address + start * stride
    if stride == width:
        return base
    gather_items(base, stride, width, count, scratch)
    return np.int64(scratch.ctypes.data)


@kernel
def scratch_for(is_contiguous):
    """Memory for a block of any item size, where it is needed: taking it costs as much as counting 1000 labels."""
    return np.empty(0 if is_contiguous else BLOCK, np.int64)


@kernel
def add_codes(address, stride, kind, start, count, low, size, factor, codes, scratch):
    """codes[:count] += (column[start : start + count] - low) * factor, or False where one is not in [low, low + size).

    codes (BLOCK,) int32, scratch (BLOCK,) int64; count <= BLOCK; size * factor < 2**31.
    """
    base = place(address, stride, item_size(kind), start, count, scratch)
    if kind == I8:
        return add_integers(simd.pointer_at(base, simd.i8), count, low, size, factor, codes)
    if kind == U8:
        return add_integers(simd.pointer_at(base, simd.u8), count, low, size, factor, codes)
    if kind == I16:
        return add_integers(simd.pointer_at(base, simd.i16), count, low, size, factor, codes)
    if kind == I32:
        return add_integers(simd.pointer_at(base, simd.i32), count, low, size, factor, codes)
    if kind in (I64, U64):
        return add_integers(simd.pointer_at(base, simd.i64), count, low, size, factor, codes)
    return add_floats(simd.pointer_at(base, simd.f64), count, low, size, factor, codes)
