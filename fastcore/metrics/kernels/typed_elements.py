"""Labels 0 and 1 and floats, read from an address, a stride and a type that are known only at run time."""

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel

LANES = simd.F64_LANES

# Element types that kernels read from an address, by NumPy's character: integers by their width, since a sign makes no
# difference to what is 0 or 1.
F32_KIND, F64_KIND = 14, 18
KINDS = {name: np.dtype(name).itemsize for name in "?bBhHiIlLqQ"} | {"f": F32_KIND, "d": F64_KIND}


@kernel
def width_of(kind):
    """Bytes of an element."""
    return kind - 10 if kind >= 10 else kind


@kernel
def read_integers(source, step, count, labels):
    """labels = the integers at ``source``, ``step`` elements apart; whether all are 0 or 1."""
    target = simd.pointer(labels)
    others = simd.load_scalar(source) >> 1
    for i in range(count):
        value = simd.load_scalar(simd.advance(source, i * step))
        others |= value >> 1
        simd.store_scalar(simd.advance(target, i), value & 1)
    return others == 0


@kernel
def read_numbers(source, step, count, numbers):
    """numbers = the floats at ``source``, ``step`` elements apart."""
    target = simd.pointer(numbers)
    whole = count - count % LANES if step == 1 else 0
    for i in range(0, whole, LANES):
        simd.store(simd.advance(target, i), simd.convert(simd.load(simd.advance(source, i), LANES), simd.f64))
    for i in range(whole, count):
        simd.store_scalar(simd.advance(target, i), simd.load_scalar(simd.advance(source, i * step)))


@kernel
def read_float_labels(numbers, count, labels):
    """The same from floats; whether all are 0 or 1."""
    good = True
    for i in range(count):
        good &= (numbers[i] == 0.0) | (numbers[i] == 1.0)
        labels[i] = numbers[i] == 1.0
    return good


@kernel
def read_labels(address, step, kind, count, labels, numbers):
    """labels = the elements of type ``kind`` at ``address``, ``step`` elements apart; whether all are 0 or 1."""
    if kind == 1:
        return read_integers(simd.pointer_at(address, simd.u8), step, count, labels)
    if kind == 2:
        return read_integers(simd.pointer_at(address, simd.u16), step, count, labels)
    if kind == 4:
        return read_integers(simd.pointer_at(address, simd.u32), step, count, labels)
    if kind == 8:
        return read_integers(simd.pointer_at(address, simd.u64), step, count, labels)
    read_floats(address, step, kind, count, numbers)
    return read_float_labels(numbers, count, labels)


@kernel
def read_floats(address, step, kind, count, numbers):
    """numbers = the elements of type ``kind`` (float32 or float64) at ``address``, ``step`` elements apart."""
    if kind == F32_KIND:
        read_numbers(simd.pointer_at(address, simd.f32), step, count, numbers)
    else:
        read_numbers(simd.pointer_at(address, simd.f64), step, count, numbers)
