"""The matrix microkernels against NumPy, on every tail they promise to stay inside."""

import numpy as np
import pytest

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import (
    NARROW_ROWS,
    TILE_ROWS,
    TILE_VECTORS,
    lanes_of,
    multiply,
    multiply_add,
    multiply_peak,
    native_lanes,
    transpose,
    transpose_part,
)

DTYPES = [np.float32, np.float64]
SENTINEL = 77.0


@kernel
def run_products(matrix, panel, out, added, peaked, peak, row_stride, depth_stride, valid_rows, depth, wide):
    a, b = simd.pointer(matrix), simd.pointer(panel)
    o, s, p, m = simd.pointer(out), simd.pointer(added), simd.pointer(peaked), simd.pointer(peak)
    if wide:
        multiply(o, o, a, b, panel.shape[1], row_stride, depth_stride, valid_rows, depth, TILE_ROWS, TILE_VECTORS)
        multiply_add(s, s, a, b, panel.shape[1], row_stride, depth_stride, valid_rows, depth, TILE_ROWS, TILE_VECTORS)
        multiply_peak(p, m, a, b, panel.shape[1], row_stride, depth_stride, valid_rows, depth, TILE_ROWS, TILE_VECTORS)
    else:
        multiply(o, o, a, b, panel.shape[1], row_stride, depth_stride, valid_rows, depth, NARROW_ROWS, 1)
        multiply_add(s, s, a, b, panel.shape[1], row_stride, depth_stride, valid_rows, depth, NARROW_ROWS, 1)
        multiply_peak(p, m, a, b, panel.shape[1], row_stride, depth_stride, valid_rows, depth, NARROW_ROWS, 1)


@kernel
def run_transpose(source, target, rows, stored, columns):
    lanes = lanes_of(simd.pointer(source))
    if rows == lanes and stored == lanes and columns == lanes:
        transpose(simd.pointer(source), simd.pointer(target), source.shape[1], target.shape[1])
    else:
        transpose_part(
            simd.pointer(source), simd.pointer(target), source.shape[1], target.shape[1], rows, stored, columns
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2, 7, 64])
def test_multiply_any_depth_and_stride_matches_numpy(dtype, wide, transposed, depth, rng):
    rows = TILE_ROWS if wide else NARROW_ROWS
    width = native_lanes(dtype) * (TILE_VECTORS if wide else 1)
    matrix = rng.standard_normal((rows, depth + 3)).astype(dtype)
    panel = rng.standard_normal((max(depth, 1), width)).astype(dtype)
    start = rng.standard_normal((rows, width)).astype(dtype)
    memory = np.ascontiguousarray(matrix.T) if transposed else matrix
    strides = (1, rows) if transposed else (depth + 3, 1)
    out, added, peaked = (np.full((rows, width), SENTINEL, dtype), start.copy(), np.zeros((rows, width), dtype))
    peak = np.full(width, -np.inf, dtype)
    run_products(memory, panel, out, added, peaked, peak, *strides, rows, depth, wide)
    expected = matrix[:, :depth].astype(np.float64) @ panel[:depth].astype(np.float64)
    tolerance = 4 * max(depth, 1) * np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(added, start + expected, rtol=0, atol=2 * tolerance)
    np.testing.assert_array_equal(peaked, out)
    np.testing.assert_array_equal(peak, out.max(axis=0))


def bfloat_pairs(numbers):
    """Neighbours along the last axis as pairs in a u32, and what they hold."""
    bits = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    return bits.view(np.uint32), (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 2, 7, 64])
def test_multiply_pairs_of_bfloat_sums_in_float32(wide, depth, rng):
    rows = TILE_ROWS if wide else NARROW_ROWS
    width = native_lanes(np.float32) * (TILE_VECTORS if wide else 1)
    pairs, matrix = bfloat_pairs(rng.standard_normal((rows, 2 * depth + 6)).astype(np.float32))
    columns, panel = bfloat_pairs(rng.standard_normal((width, 2 * max(depth, 1))).astype(np.float32))
    start = rng.standard_normal((rows, width)).astype(np.float32)
    out, added, peaked = (np.full((rows, width), SENTINEL, np.float32), start.copy(), np.zeros_like(start))
    peak = np.full(width, -np.inf, np.float32)
    packed = np.ascontiguousarray(columns.T)
    run_products(pairs, packed, out, added, peaked, peak, depth + 3, 1, rows, depth, wide)
    expected = matrix[:, : 2 * depth] @ panel[:, : 2 * depth].T
    tolerance = 8 * max(depth, 1) * np.finfo(np.float32).eps
    np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(added, start + expected, rtol=0, atol=2 * tolerance)
    np.testing.assert_array_equal(peaked, out)
    np.testing.assert_array_equal(peak, out.max(axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wide", [True, False])
def test_multiply_missing_rows_repeat_the_last_valid_one(dtype, wide, rng):
    rows = TILE_ROWS if wide else NARROW_ROWS
    width = native_lanes(dtype) * (TILE_VECTORS if wide else 1)
    panel = rng.standard_normal((5, width)).astype(dtype)
    for valid in range(1, rows + 1):
        matrix = rng.standard_normal((valid, 5)).astype(dtype)
        out, added, peaked = (np.zeros((rows, width), dtype) for _ in range(3))
        peak = np.full(width, -np.inf, dtype)
        run_products(matrix, panel, out, added, peaked, peak, 5, 1, valid, 5, wide)
        np.testing.assert_allclose(out[:valid], matrix @ panel, rtol=0, atol=40 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(out[valid:], np.broadcast_to(out[valid - 1], (rows - valid, width)))
        np.testing.assert_array_equal(peak, out.max(axis=0))


def test_multiply_peak_passes_over_nan_scores(rng):
    width = native_lanes(np.float32) * TILE_VECTORS
    matrix = rng.standard_normal((TILE_ROWS, 3)).astype(np.float32)
    matrix[1] = np.nan
    panel = rng.standard_normal((3, width)).astype(np.float32)
    out, added, peaked = (np.zeros((TILE_ROWS, width), np.float32) for _ in range(3))
    peak = np.full(width, -np.inf, np.float32)
    run_products(matrix, panel, out, added, peaked, peak, 3, 1, TILE_ROWS, 3, True)
    np.testing.assert_array_equal(peak, np.nanmax(out, axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_every_part_matches_numpy_and_stays_inside(dtype, rng):
    lanes = native_lanes(dtype)
    source = rng.standard_normal((lanes, lanes + 3)).astype(dtype)
    for rows, stored, columns in [(lanes, lanes, lanes), (1, lanes, 3), (lanes - 1, lanes - 1, lanes), (2, 2, 1)]:
        target = np.full((lanes, lanes + 5), SENTINEL, dtype)
        run_transpose(source, target, rows, stored, columns)
        expected = np.full_like(target, SENTINEL)
        expected[:columns, :stored] = source[np.minimum(np.arange(stored), rows - 1), :columns].T
        np.testing.assert_array_equal(target, expected)
