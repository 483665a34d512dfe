"""Corners of the kernel: scores at the ends of the range, NaN behind and before masks, causal blocks of every shape."""

import numpy as np
import pytest

from fastcore import reference, scaled_dot_product_attention

DTYPES = [np.float32, np.float64]


def both(*arrays, **options):
    wanted = reference.scaled_dot_product_attention(*(x.astype(np.float64) for x in arrays), return_lse=True, **options)
    return scaled_dot_product_attention(*arrays, return_lse=True, **options), wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [5, 200])
def test_attention_lowest_additive_mask_on_a_whole_row_weighs_its_keys_alike(dtype, length, rng):
    query, key, value = (rng.standard_normal((1, 2, length, 8)).astype(dtype) for _ in range(3))
    mask = np.zeros((length, length), dtype)
    mask[1] = np.finfo(dtype).min
    mask[3, : length // 2] = np.finfo(dtype).min  # in its first blocks only
    out = scaled_dot_product_attention(query, key, value, mask)
    np.testing.assert_allclose(out[:, :, 1], value.mean(axis=2), rtol=0, atol=20 * np.finfo(dtype).eps)
    wanted = scaled_dot_product_attention(query[:, :, 3:4], key[:, :, length // 2 :], value[:, :, length // 2 :])
    np.testing.assert_allclose(out[:, :, 3:4], wanted, rtol=0, atol=20 * np.finfo(dtype).eps)


def test_attention_float64_scores_below_the_range_of_float32():
    query, key, value = np.full((1, 1, 1, 1), 1e25), np.full((1, 1, 3, 1), -1e25), np.arange(3.0).reshape(1, 1, 3, 1)
    (out, lse), (wanted, wanted_lse) = both(query, key, value)
    np.testing.assert_allclose(out, wanted)
    np.testing.assert_allclose(lse, wanted_lse)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_attention_nan_value_of_an_allowed_key_is_the_same_with_and_without_a_mask(dtype, bad):
    """Its weight underflows to zero, and zero times NaN is NaN on every way through the kernel, as in NumPy."""
    query, key = np.array([[100.0]], dtype), np.array([[-10.0], [10.0]], dtype)
    value = np.array([[bad], [1.0]], dtype)
    for options in ({}, {"attn_mask": np.ones((1, 2), bool)}, {"window": (5, 5)}, {"softcap": 1e6}):
        assert np.isnan(scaled_dot_product_attention(query, key, value, scale=1.0, **options)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", [1, 7, 16, 33, 64, 70, 130])
@pytest.mark.parametrize("offset", [-5, 0, 3, 40, 63])
def test_attention_causal_and_window_blocks_of_every_shape(dtype, queries, offset, rng):
    query = rng.standard_normal((1, 2, queries, 5)).astype(dtype)
    key, value = (rng.standard_normal((1, 2, 150, 5)).astype(dtype) for _ in range(2))
    key[:, :, 140:] = np.nan
    value[:, :, 140:] = np.inf
    for options in ({"is_causal": True}, {"window": (9, 4)}, {"window": (None, 17)}, {"window": (20, -0)}):
        options |= {"query_offset": offset, "key_lengths": [140]}
        (out, lse), (wanted, wanted_lse) = both(query, key, value, **options)
        tolerance = 40 * np.finfo(dtype).eps
        np.testing.assert_allclose(out, wanted, rtol=0, atol=tolerance)
        np.testing.assert_allclose(lse, wanted_lse, rtol=tolerance, atol=tolerance)


def test_attention_mask_over_two_batch_axes_is_joined_without_its_heads(rng, kernel_calls):
    query, key, value = (rng.standard_normal((3, 2, 4, 6, 8)).astype(np.float32) for _ in range(3))
    mask = rng.random((3, 1, 1, 6, 6)) < 0.8
    out = scaled_dot_product_attention(query, key, value, mask)
    np.testing.assert_allclose(out, reference.scaled_dot_product_attention(query, key, value, mask), atol=1e-6)
    (*_, given, _), *_ = kernel_calls
    assert given.strides[1] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [(6, 2), (40, 2), (5, 1)])
def test_attention_single_queries_of_grouped_heads(dtype, heads, rng):
    count, groups = heads
    query = rng.standard_normal((2, 1, count, 5)).astype(dtype).swapaxes(1, 2)
    key, value = (rng.standard_normal((2, groups, 150, size)).astype(dtype) for size in (5, 3))
    mask = rng.random((2, count, 1, 150)) < 0.7
    additive = rng.standard_normal((count, 1, 150)).astype(dtype)
    tolerance = 40 * np.finfo(dtype).eps
    for options in (
        {},
        {"is_causal": True},
        {"is_causal": True, "query_offset": [149, -1]},
        {"is_causal": True, "query_offset": 99, "key_lengths": [150, 20]},
        {"window": (None, 7), "query_offset": [60, 3]},
        {"window": (30, 7), "query_offset": [60, 3]},
        {"attn_mask": mask, "key_lengths": [70, 0]},
        {"attn_mask": mask[:1, :1], "softcap": 3.0},
        {"attn_mask": additive},
        {"dropout_p": 0.4, "seed": 9},
    ):
        (out, lse), (wanted, wanted_lse) = both(query, key, value, **options)
        np.testing.assert_allclose(out, wanted, rtol=0, atol=tolerance)
        np.testing.assert_allclose(lse, wanted_lse, rtol=tolerance, atol=tolerance)
