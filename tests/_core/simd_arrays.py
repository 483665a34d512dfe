"""Vector functions as functions of whole arrays."""

import numba
import numpy as np

from fastcore._core import simd
from fastcore._core.jit import SAFE_FASTMATH

_compiled: dict = {}


def over_array(function, lanes):
    """Return function(array) that applies a vector function `lanes` elements at a time."""

    def run(x, out):
        source, target = simd.pointer(x), simd.pointer(out)
        for i in range(0, x.size, lanes):
            simd.store(simd.advance(target, i), function(simd.load(simd.advance(source, i), lanes)))

    key = id(function), lanes
    if key not in _compiled:
        _compiled[key] = numba.njit(run, nogil=True, error_model="numpy", fastmath=set(SAFE_FASTMATH))

    def apply(x, dtype=None):
        padded = np.concatenate([x, np.zeros(-x.size % lanes, x.dtype)])
        out = np.empty(padded.shape, dtype or x.dtype)
        _compiled[key](padded, out)
        return out[: x.size]

    return apply


def native(name, dtype):
    return over_array(getattr(simd, name), int(simd.F32_LANES if dtype == np.float32 else simd.F64_LANES))


def of_two(name, dtype):
    lanes = int(simd.F32_LANES if dtype == np.float32 else simd.F64_LANES)
    function = getattr(simd, name)

    def run(x, y, out):
        for i in range(0, x.size, lanes):
            first = simd.load(simd.advance(simd.pointer(x), i), lanes)
            second = simd.load(simd.advance(simd.pointer(y), i), lanes)
            simd.store(simd.advance(simd.pointer(out), i), function(first, second))

    compiled = numba.njit(run, nogil=True, error_model="numpy", fastmath=set(SAFE_FASTMATH))

    def apply(x, y):
        padded = [np.concatenate([each, np.ones(-each.size % lanes, dtype)]).astype(dtype) for each in (x, y)]
        out = np.empty_like(padded[0])
        compiled(*padded, out)
        return out[: x.size]

    return apply
