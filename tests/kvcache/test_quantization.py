"""The storage formats as the twin has them: error bounds, corners of the number range, and the bytes themselves."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest

from fastcore.kvcache.formats import FORMAT, FORMATS, bytes_per_token
from fastcore.reference import dequantize, quantize

F32_ROUNDING = 2.0**-22  # a few roundings of float32 on the way


def error_bound(x, dtype):
    """What the number read back may differ by; what `fastcore.kvcache.formats` states, plus float32 and denormals."""
    x = np.asarray(x, np.float64)
    if dtype == "float32":
        return np.zeros_like(x)
    if dtype == "float16":
        return np.abs(x) * 2.0**-11 + 2.0**-25
    if dtype == "bfloat16":
        return np.abs(x) * 2.0**-8 + 2.0**-134
    if dtype == "int8":
        largest = np.abs(x).max(axis=-1, keepdims=True)
        return np.broadcast_to(largest * (1 / 254 + F32_ROUNDING) + 2.0**-142, x.shape)
    bound = np.empty_like(x)
    for first in range(0, x.shape[-1], 32):
        group = x[..., first : first + 32]
        lowest, highest = group.min(axis=-1, keepdims=True), group.max(axis=-1, keepdims=True)
        half_step = (highest - lowest) / 30 * (1 + 2.0**-10)
        rounded = 2.0**-11 * (np.abs(lowest) + highest - lowest)
        largest = np.maximum(np.abs(lowest), np.abs(highest))
        bound[..., first : first + 32] = np.maximum(half_step, rounded) + F32_ROUNDING * 2 * largest + 2.0**-21
    return bound


@pytest.mark.parametrize("size", [1, 7, 16, 17, 32, 33, 64, 80, 100])
@pytest.mark.parametrize("scale", [1e-38, 1e-5, 1.0, 3e3])
def test_quantize_normal_rows_are_within_the_stated_error(dtype, size, scale, rng):
    x = (rng.standard_normal((50, size)) * scale + rng.integers(-2, 3, (50, 1)) * scale).astype(np.float32)
    got = dequantize(quantize(x, dtype), dtype, size)
    assert got.shape == x.shape
    assert got.dtype == np.float32
    assert np.all(np.abs(got.astype(np.float64) - x) <= error_bound(x, dtype))


@hypothesis.given(
    st.sampled_from(FORMATS),
    hnp.arrays(np.float32, st.integers(1, 70), elements=st.floats(-30000, 30000, width=32)),
)
def test_quantize_any_row_within_float16_is_within_the_stated_error(dtype, x):
    got = dequantize(quantize(x, dtype), dtype, x.size)
    assert np.all(np.abs(got.astype(np.float64) - x) <= error_bound(x, dtype))


def test_quantize_halves_are_those_of_numpy_and_ml_dtypes(rng):
    x = np.concatenate(
        [rng.standard_normal(999), [0.0, -0.0, 1e-7, 1e-40, 65519, 65520, 3e38, np.inf, -np.inf, np.nan]]
    )
    x = x.astype(np.float32)
    with np.errstate(over="ignore"):
        half, bfloat = x.astype(np.float16).view(np.uint16), x.astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(quantize(x, "float16")["rows"][: x.size], half)
    np.testing.assert_array_equal(quantize(x, "bfloat16")["rows"][: x.size], bfloat)


def test_quantize_int8_largest_number_is_127_steps():
    stored = quantize(np.array([254.0, -254.0, 1.0, 3.0, -1.0, 2.1], np.float32), "int8")
    assert stored["scales"] == 2.0
    assert stored["rows"].dtype == np.int8
    assert stored["rows"].tolist() == [127, -127, 0, 2, 0, 1, *[0] * 10]  # ties to even


def test_quantize_int4_packs_the_second_half_of_a_group_into_the_high_bits():
    x = np.arange(32, dtype=np.float32) // 2 - 3
    stored = quantize(x, "int4")
    codes = np.arange(32) // 2
    assert stored["rows"].tolist() == (codes[:16] | codes[16:] << 4).tolist()
    assert stored["scales"].view(np.float16).tolist() == [[1.0, -3.0]]
    np.testing.assert_array_equal(dequantize(stored, "int4", 32), x)


def test_quantize_int4_tail_takes_no_part_in_the_minimum():
    x = np.full(33, 5.0, np.float32)
    x[1:] += np.arange(32)
    stored = quantize(x, "int4")
    assert stored["rows"].shape == (32,)
    assert stored["scales"].view(np.float16)[1].tolist() == [0.0, 36.0]
    assert dequantize(stored, "int4", 33)[32] == 36.0


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -7.0, 60000.0])
def test_quantize_constant_rows_come_back(dtype, value):
    x = np.full((2, 40), value, np.float32)
    got = dequantize(quantize(x, dtype), dtype, 40)
    np.testing.assert_allclose(got, x, rtol=2**-8 if dtype == "bfloat16" else 2**-11)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 20, 40])
def test_quantize_nan_or_inf_spoils_the_row_or_the_group_and_no_other(bad, place):
    x = np.tile(np.arange(48, dtype=np.float32), (3, 1))
    x[1, place] = bad
    eight, four = (dequantize(quantize(x, dtype), dtype, 48) for dtype in ("int8", "int4"))
    np.testing.assert_array_equal(np.isnan(eight).all(axis=1), [False, True, False])
    spoiled = np.zeros(48, bool)
    spoiled[place // 32 * 32 : place // 32 * 32 + 32] = True
    np.testing.assert_array_equal(np.isnan(four), [spoiled & False, spoiled, spoiled & False])


@pytest.mark.parametrize("low, high", [(-70000.0, 0.0), (0.0, 1e6), (-3e38, 3e38), (66000.0, 66001.0)])
def test_quantize_int4_beyond_float16_is_nan(low, high):
    x = np.full(40, low, np.float32)
    x[3] = high
    got = dequantize(quantize(x, "int4"), "int4", 40)
    assert np.isnan(got[:32]).all()
    assert np.isnan(got[32:]).all() == (abs(low) > 65520)


@pytest.mark.parametrize("largest", [2.0**-149, 1.5e-43, 1e-40, 1e-38])
def test_quantize_int8_denormal_rows_have_finite_codes(largest):
    x = np.array([largest, -largest, largest / 3, 0.0], np.float32)
    stored = quantize(x, "int8")
    assert np.isfinite(stored["scales"])
    assert np.abs(dequantize(stored, "int8", 4) - x.astype(np.float64)).max() <= error_bound(x, "int8").max()


def test_format_rows_and_scales_are_what_the_twin_makes(dtype):
    for size in (1, 15, 16, 17, 32, 33, 80, 100, 128):
        stored, layout = quantize(np.ones((3, size), np.float32), dtype), FORMAT[dtype]
        assert stored["rows"].shape == (3, layout.row(size))
        assert stored["rows"].dtype == layout.dtype
        scales = layout.scales(size)
        assert ("scales" in stored) == (scales is not None)
        if scales is not None:
            assert stored["scales"].shape == (3, *scales[0])
            assert stored["scales"].dtype == scales[1]
        assert bytes_per_token(dtype, size, size) == 2 * sum(array[0].nbytes for array in stored.values())
