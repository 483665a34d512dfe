"""The names of :mod:`fastcore._core.tile` in NumPy, for NUMBA_DISABLE_JIT=1, on the fallback pointers of `simd`."""

import numpy as np

from fastcore._core import simd
from fastcore._core.simd import advance, broadcast


def lanes_of(pointer):
    return int(simd.F32_LANES if pointer.dtype.itemsize == 4 else simd.F64_LANES)


def filled(pointer, scalar):
    return broadcast(scalar, lanes_of(pointer), pointer.dtype)


def lane_numbers(pointer):
    return filled(pointer, 0) + np.arange(lanes_of(pointer), dtype=pointer.dtype)


def _rows(pointer, stride, rows, columns):
    """A copy of ``rows`` rows of ``columns`` elements."""
    return np.stack([advance(pointer, row * stride).elements(columns).copy() for row in range(rows)])


def _halves(pairs):
    """The even and the odd one of pairs of bfloat16."""
    return [each.view(np.float32) for each in (pairs << 16, pairs & np.uint32(0xFFFF0000))]


def _product(out, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors):
    columns = vectors * lanes_of(panel)
    starts = [advance(matrix, min(row, valid_rows - 1) * row_stride) for row in range(rows)]
    numbers = [[advance(start, k * depth_stride).elements(1)[0] for k in range(depth)] for start in starts]
    terms = _rows(panel, width, depth, columns) if depth else np.zeros((0, columns), panel.dtype)
    factors = np.array(numbers, panel.dtype).reshape(rows, depth)
    parts = zip(_halves(factors), _halves(terms), strict=True) if panel.dtype == np.uint32 else [(factors, terms)]
    with np.errstate(all="ignore"):
        product = sum(left @ right for left, right in parts)
    return product, [advance(out, row * width).elements(columns) for row in range(rows)]


def multiply(out, peak, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors):
    product, target = _product(out, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors)
    for row, sums in zip(target, product, strict=True):
        row[...] = sums


def multiply_add(out, peak, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors):
    product, target = _product(out, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors)
    with np.errstate(all="ignore"):
        for row, sums in zip(target, product, strict=True):
            row += sums


def multiply_peak(out, peak, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors):
    product, target = _product(out, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors)
    for row, sums in zip(target, product, strict=True):
        row[...] = sums
    highest = peak.elements(product.shape[1])
    for row in product:
        highest[...] = np.where(row > highest, row, highest)


def transpose(source, target, source_stride, target_stride):
    lanes = lanes_of(source)
    transpose_part(source, target, source_stride, target_stride, lanes, lanes, lanes)


def transpose_part(source, target, source_stride, target_stride, rows, stored, columns):
    block = _rows(source, source_stride, rows, columns)
    repeated = block[np.minimum(np.arange(stored), rows - 1)]
    for column in range(columns):
        advance(target, column * target_stride).elements(stored)[...] = repeated[:, column]
