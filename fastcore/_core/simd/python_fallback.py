"""The names of this package in NumPy, for NUMBA_DISABLE_JIT=1: kernel bodies run unchanged, slowly.

A vector is a `Lanes` array, a pointer an address with a dtype. Two differences from the compiled functions: `fma`
rounds float64 twice, and exp and its like are NumPy's.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.np.numpy_support import as_dtype

_QUIET: dict[str, Any] = {"all": "ignore"}


class Lanes(np.ndarray):
    """A vector value: scalars take its dtype, in-place operators make a new value, nothing warns."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        plain = [arg.view(np.ndarray) if isinstance(arg, Lanes) else _cast(arg, self.dtype) for arg in inputs]
        with np.errstate(**_QUIET):
            return _lanes(getattr(ufunc, method)(*plain, **kwargs))


def _lanes(values) -> Lanes:
    return np.asarray(values).view(Lanes)


def _dtype(dtype) -> np.dtype:
    return as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)


def _cast(values, dtype) -> np.ndarray:
    with np.errstate(**_QUIET):
        return np.asarray(values).astype(_dtype(dtype))


def _astype(values, dtype) -> Lanes:
    return _lanes(_cast(values, dtype))


class Pointer(NamedTuple):
    address: int
    dtype: np.dtype

    def elements(self, count):
        """Return the memory behind the pointer as an array."""
        size = max(int(count), 0) * self.dtype.itemsize
        return np.frombuffer(memoryview((ctypes.c_char * size).from_address(self.address)), self.dtype)


def pointer(array):
    return Pointer(array.__array_interface__["data"][0], array.dtype)


def pointer_at(address, dtype):
    return Pointer(int(address), _dtype(dtype))


def address_of(ptr):
    return ptr.address


def cast_pointer(ptr, dtype):
    return Pointer(ptr.address, _dtype(dtype))


def advance(ptr, count):
    return Pointer(ptr.address + int(count) * ptr.dtype.itemsize, ptr.dtype)


def load(ptr, lanes):
    return _lanes(ptr.elements(lanes).copy())


def store(ptr, vector):
    ptr.elements(len(vector))[:] = vector


def stream(ptr, vector):
    assert ptr.address % vector.nbytes == 0
    store(ptr, vector)


def stream_fence():
    pass


def load_first(ptr, lanes, count):
    result = np.zeros(lanes, ptr.dtype)
    count = min(int(count), lanes)
    if count > 0:
        result[:count] = ptr.elements(count)
    return _lanes(result)


def store_first(ptr, vector, count):
    count = min(int(count), len(vector))
    if count > 0:
        ptr.elements(count)[:] = vector[:count]


def store_selected(ptr, vector, mask):
    selected = np.asarray(vector)[np.asarray(mask)]
    ptr.elements(len(selected))[:] = selected
    return len(selected)


def load_scalar(ptr):
    return ptr.elements(1)[0]


def store_scalar(ptr, value):
    ptr.elements(1)[0] = value


def gather(ptr, index):
    offsets = np.asarray(index).astype(np.int64)
    first = int(offsets.min())
    return _lanes(advance(ptr, first).elements(int(offsets.max()) - first + 1)[offsets - first])


def broadcast(scalar, lanes, dtype=None):
    value = np.asarray(scalar)
    return _astype(np.full(lanes, value), value.dtype if dtype is None else dtype)


def iota_i32(lanes):
    return _lanes(np.arange(lanes, dtype=np.int32))


def iota_i64(lanes):
    return _lanes(np.arange(lanes, dtype=np.int64))


def _together(*arguments):
    """Return the arguments as plain arrays of the dtype of the vectors among them."""
    dtype = next(arg.dtype for arg in arguments if isinstance(arg, Lanes))
    return [_cast(arg, dtype) for arg in arguments]


def fma(a, b, c):
    a, b, c = _together(a, b, c)
    with np.errstate(**_QUIET):
        return _astype(a.astype(np.float64) * b + c, a.dtype)


def sqrt(vector):
    with np.errstate(**_QUIET):
        return _lanes(np.sqrt(np.asarray(vector)))


def quick_sqrt(vector):
    return sqrt(vector)


def select(mask, a, b):
    return _lanes(np.where(mask, *_together(a, b)))


def minimum(a, b):
    a, b = _together(a, b)
    return _lanes(np.where(a < b, a, b))


def maximum(a, b):
    a, b = _together(a, b)
    return _lanes(np.where(a > b, a, b))


def _reduce(vector, combine):
    while len(vector) > 1:
        half = len(vector) // 2
        vector = combine(vector[:half], vector[half:])
    return np.asarray(vector)[0]


def reduce_add(vector):
    return _reduce(vector, np.add)


def reduce_max(vector):
    return _reduce(vector, maximum)


def reduce_min(vector):
    return _reduce(vector, minimum)


def rotate(vector, count):
    return _lanes(np.roll(vector, -count))


def interleave(a, b):
    return _lanes(np.stack([a, b], axis=-1).reshape(-1))


def mask_bits(mask):
    return sum(1 << lane for lane in np.flatnonzero(mask).tolist())


def mask_of_bits(bits, lanes):
    return _lanes([bool(int(bits) >> lane & 1) for lane in range(lanes)])


def any_lane(mask):
    return bool(np.asarray(mask).any())


def all_lanes(mask):
    return bool(np.asarray(mask).all())


def convert(vector, dtype):
    return _astype(vector, dtype)


def bitcast(vector, dtype):
    return _lanes(np.asarray(vector).view(_dtype(dtype)))


def half_to_float(x):
    return _astype(np.asarray(x).view(np.float16), np.float32)


def float_to_half(x):
    return bitcast(_astype(x, np.float16), np.uint16)


def bfloat_to_float(x):
    return bitcast(_astype(x, np.uint32) << 16, np.float32)


def float_to_bfloat(x):
    bits = np.asarray(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return _astype(np.where(np.isnan(x), (bits >> 16) | 0x40, rounded), np.uint16)


def floats_to_bfloats(low, high):
    return _lanes(np.concatenate([float_to_bfloat(low), float_to_bfloat(high)]))


def floats_to_pairs(low, high):
    return bitcast(interleave(float_to_bfloat(low), float_to_bfloat(high)), np.uint32)


def _in_double(function, x):
    with np.errstate(**_QUIET):
        return _astype(function(np.asarray(x, np.float64)), x.dtype)


def exp2(x):
    return _in_double(np.exp2, x)


def softmax_exp2(x):
    return exp2(x)


def exp(x):
    return _in_double(np.exp, x)


def log(x):
    return _in_double(np.log, x)


def tanh(x):
    return _in_double(np.tanh, x)


def sin(x):
    return _in_double(np.sin, x)


def cos(x):
    return _in_double(np.cos, x)


def sincos(x):
    return sin(x), cos(x)


def log2(x):
    return _in_double(np.log2, x)


def log10(x):
    return _in_double(np.log10, x)


def log1p(x):
    return _in_double(np.log1p, x)


def expm1(x):
    return _in_double(np.expm1, x)


def tan(x):
    return _in_double(np.tan, x)


def sinh(x):
    return _in_double(np.sinh, x)


def cosh(x):
    return _in_double(np.cosh, x)


def arcsin(x):
    return _in_double(np.arcsin, x)


def arccos(x):
    return _in_double(np.arccos, x)


def arctan(x):
    return _in_double(np.arctan, x)


def arcsinh(x):
    return _in_double(np.arcsinh, x)


def arccosh(x):
    return _in_double(np.arccosh, x)


def arctanh(x):
    return _in_double(np.arctanh, x)


def cbrt(x):
    return _in_double(np.cbrt, x)


def _of_two(function, x, y):
    x, y = _together(x, y)
    with np.errstate(**_QUIET):
        return _astype(function(x.astype(np.float64), y.astype(np.float64)), x.dtype)


def hypot(x, y):
    return _of_two(np.hypot, x, y)


def power(x, y):
    return _of_two(np.power, x, y)


def copysign(x, y):
    return _of_two(np.copysign, x, y)


def arctan2(y, x):
    return _of_two(np.arctan2, y, x)


def absolute(x):
    return _in_double(np.absolute, x)


def floor(x):
    return _in_double(np.floor, x)


def ceil(x):
    return _in_double(np.ceil, x)


def trunc(x):
    return _in_double(np.trunc, x)


def rint(x):
    return _in_double(np.rint, x)


def erf(x):
    return _in_double(np.vectorize(math.erf, otypes=[np.float64]), x)


def sigmoid(x):
    def from_small_side(values):
        power = np.exp(-np.abs(values))
        return np.where(values < 0, power, 1.0) / (1.0 + power)

    return _in_double(from_small_side, x)
