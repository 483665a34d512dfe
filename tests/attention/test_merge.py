"""merge_attention_states against its twin, and against attention over all keys at once."""

import ml_dtypes
import numpy as np
import pytest

from fastcore import merge_attention_states, num_threads, reference, scaled_dot_product_attention

TOLERANCE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}


def states(rng, shape, dtype=np.float32, spread=3.0):
    computing = np.float64 if dtype == np.float64 else np.float32
    for _ in range(2):
        yield rng.normal(size=shape).astype(dtype)
        yield (spread * rng.normal(size=shape[:-1])).astype(computing)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (4, 3), (2, 5, 7), (2, 3, 4, 64), (1, 2, 300, 33), (2, 2, 3, 4, 5)])
def test_merge_any_shape_matches_reference(rng, shape, dtype):
    inputs = list(states(rng, shape, dtype))
    for got, want in zip(merge_attention_states(*inputs), reference.merge_attention_states(*inputs), strict=True):
        assert got.dtype == dtype
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=TOLERANCE[got.dtype], atol=TOLERANCE[got.dtype])


def test_merge_two_halves_of_the_keys_equals_all_keys(arrays):
    query, key, value = arrays(1)
    halves = (
        scaled_dot_product_attention(query, key[:, :, keys], value[:, :, keys], return_lse=True)
        for keys in (slice(0, 20), slice(20, None))
    )
    (out_a, lse_a), (out_b, lse_b) = halves
    whole = scaled_dot_product_attention(query, key, value, return_lse=True)
    for got, want in zip(merge_attention_states(out_a, lse_a, out_b, lse_b), whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_merge_rows_without_keys_are_not_looked_at(dtype):
    out_a, lse_a, out_b, lse_b = states(np.random.default_rng(2), (4, 19), dtype)
    lse_a[:2], lse_b[1:3] = -np.inf, -np.inf
    out_a[:2], out_b[1:3] = np.nan, np.inf
    out, lse = merge_attention_states(out_a, lse_a, out_b, lse_b)
    np.testing.assert_array_equal(out[0], out_b[0])
    np.testing.assert_array_equal(out[2], out_a[2])
    np.testing.assert_array_equal(lse[[0, 2]], [lse_b[0], lse_a[2]])
    assert not out[1].any()
    assert lse[1] == -np.inf
    assert np.isfinite(out).all()


def test_merge_far_apart_states_do_not_overflow():
    out_a, out_b = np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)
    lse_a, lse_b = np.array([1e30, -500], np.float32), np.array([-1e30, 500], np.float32)
    out, lse = merge_attention_states(out_a, lse_a, out_b, lse_b)
    np.testing.assert_array_equal(out, [[1] * 3, [2] * 3])
    np.testing.assert_array_equal(lse, np.array([1e30, 500], np.float32))


def test_merge_nan_lse_spoils_its_own_row_only(rng):
    for side in (1, 3):
        inputs = list(states(rng, (3, 4)))
        clean, _ = merge_attention_states(*inputs)
        inputs[side][1] = np.nan
        out, lse = merge_attention_states(*inputs)
        assert np.isnan(out[1]).all()
        assert np.isnan(lse[1])
        np.testing.assert_array_equal(out[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_merge_half_types_are_computed_in_float32(rng, dtype):
    out_a, lse_a, out_b, lse_b = states(rng, (5, 8), dtype)
    out, lse = merge_attention_states(out_a, lse_a, out_b, lse_b)
    want, want_lse = merge_attention_states(out_a.astype(np.float32), lse_a, out_b.astype(np.float32), lse_b)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, want.astype(dtype))
    np.testing.assert_array_equal(lse, want_lse)


def test_merge_any_strides_equal_contiguous_and_inputs_stay(rng):
    inputs = list(states(rng, (2, 3, 4, 40)))
    want = merge_attention_states(*inputs)
    strided = [np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in inputs]
    strided[2] = np.asfortranarray(inputs[2])
    strided[3] = inputs[3].astype(">f4")
    copies = [x.copy() for x in strided]
    for x in strided:
        x.flags.writeable = False
    for got, expected in zip(merge_attention_states(*strided), want, strict=True):
        np.testing.assert_array_equal(got, expected)
    for x, copy in zip(strided, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


def test_merge_one_thread_equals_many_bit_for_bit(rng):
    inputs = list(states(rng, (2, 8, 500, 64)))
    with num_threads(1):
        one = merge_attention_states(*inputs)
    for got, want in zip(merge_attention_states(*inputs), one, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [1, 64, 5000])
@pytest.mark.parametrize("rows", [1, 33, 34, 67, 68, 69, 150])
def test_merge_every_row_is_in_one_item(rng, rows, size):
    """Rows below, at and above the ends of the blocks that threads take: 68, 34 and 1 of them."""
    inputs = list(states(rng, (rows, size)))
    for got, want in zip(merge_attention_states(*inputs), reference.merge_attention_states(*inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (2, 0, 3, 4), (2, 3, 0, 4, 5), (2, 3, 2, 4, 0)])
def test_merge_empty(shape):
    out, lse = merge_attention_states(*states(np.random.default_rng(0), shape))
    assert out.shape == shape
    assert lse.shape == shape[:-1]


OUT, LSE = np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "inputs, error, message",
    [
        ((OUT, LSE, OUT[:1], LSE), ValueError, r"out_a and out_b must have one shape.*Got \(2, 3, 4\) and \(1, 3, 4\)"),
        ((OUT[0, 0, 0], LSE, OUT[0, 0, 0], LSE), ValueError, "out_a and out_b must have one shape"),
        ((OUT, LSE[:1], OUT, LSE), ValueError, r"lse_a must have the shape of out_a without its last axis, \(2, 3\)"),
        ((OUT, LSE, OUT, LSE[..., None]), ValueError, r"lse_b must have.*Got \(2, 3, 1\)"),
        ((OUT, LSE, OUT.astype(float), LSE), TypeError, "one dtype. Got out_a float32, out_b float64"),
        ((OUT, LSE.astype(int), OUT, LSE), TypeError, "lse_a must be float32"),
        ((OUT.astype(complex), LSE, OUT, LSE), TypeError, "out_a must be float32"),
        ((OUT, None, OUT, LSE), TypeError, "lse_a must be an array. Got None"),
        ((OUT, LSE, np.ma.masked_array(OUT), LSE), TypeError, "out_b must be a plain array"),
    ],
)
def test_merge_wrong_arguments_raise(inputs, error, message):
    with pytest.raises(error, match=message):
        merge_attention_states(*inputs)
