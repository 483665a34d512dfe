"""The names of `row_products` in NumPy, for NUMBA_DISABLE_JIT=1, on the fallback pointers of `simd`."""

import numpy as np

from fastcore._core import simd
from fastcore._core.simd import advance
from fastcore.attention.kernels.storage_formats import GROUP

LANES = int(simd.F32_LANES)


def _row_numbers(rows, count):
    return [int(advance(rows, i).elements(1)[0]) for i in range(count)]


def _scale(scales, scale_bytes, number):
    return simd.pointer_at(scales + number * scale_bytes, np.float32).elements(1)[0]


def _row(base, row_bytes, scales, scale_bytes, number, units):
    """A stored row in float32; int8 without its scale."""
    at = base.address + number * row_bytes
    if base.dtype != np.uint8:
        stored = simd.pointer_at(at, base.dtype).elements(units * LANES)
        if base.dtype == np.uint16:
            return stored.view(np.float16).astype(np.float32)
        if base.dtype == np.int16:
            return (stored.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return stored.astype(np.float32)
    packed = simd.pointer_at(at, np.uint8).elements(units * GROUP // 2).reshape(units, -1)
    pairs = simd.pointer_at(scales + number * scale_bytes, np.uint16).elements(2 * units).view(np.float16)
    codes = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    scale, minimum = pairs.astype(np.float32).reshape(units, 2, 1).transpose(1, 0, 2)
    return (codes * scale + minimum).reshape(-1)


def dot_rows(
    out, queries, stride, base, row_bytes, scales, scale_bytes, rows, units, ahead, ahead_bytes, ahead_rows, count
):
    numbers = _row_numbers(rows, LANES // count)
    with np.errstate(all="ignore"):
        keys = np.stack([_row(base, row_bytes, scales, scale_bytes, number, units) for number in numbers])
        columns = keys.shape[1]
        heads = np.stack([advance(queries, q * stride).elements(columns) for q in range(count)])
        scores = keys @ heads.T
        if base.dtype == np.int8:
            scores *= np.array([_scale(scales, scale_bytes, number) for number in numbers])[:, None]
    out.elements(LANES)[:] = scores.reshape(-1)


def dot_fixed(
    out, planes, stride, factors, corrections, base, row_bytes, scales, scale_bytes, rows, columns, ahead,
    ahead_bytes, ahead_rows, count,
):  # fmt: skip
    """Never taken: `FIXED_POINT` is off."""
    return False


def add_rows(
    out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, first_unit, ahead,
    ahead_bytes, ahead_rows, queries, units,
):  # fmt: skip
    width = GROUP if base.dtype == np.uint8 else LANES
    begin, end = first_unit * width, (first_unit + units) * width
    factors = weights.elements(count * queries).reshape(count, queries)
    with np.errstate(all="ignore"):
        for number, factor in zip(_row_numbers(rows, count), factors):
            row = _row(base, row_bytes, scales, scale_bytes, number, first_unit + units)[begin:end]
            for q in range(queries):
                advance(out, q * stride + begin).elements(end - begin)[:] += factor[q] * row


def scale_weights(weights, base, row_bytes, scales, scale_bytes, rows, queries):
    factors = [_scale(scales, scale_bytes, number) for number in _row_numbers(rows, LANES // queries)]
    with np.errstate(all="ignore"):
        weights.elements(LANES)[:] *= np.repeat(np.array(factors, np.float32), queries)


def split_weights(planes, panel, inverse, first_key, queries):
    """Nothing: `FIXED_POINT` is off."""


def add_fixed(
    out, stride, planes, factors, base, row_bytes, scales, scale_bytes, rows, count, first, columns, ahead,
    ahead_bytes, ahead_rows, queries,
):  # fmt: skip
    """Never taken: `FIXED_POINT` is off."""
    return False
