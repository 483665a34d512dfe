"""Sinks: a logit a head without a value; numbers in pairs with all other options in test_scaled_dot_product.py."""

import numpy as np
import pytest

from fastcore import scaled_dot_product_attention


def test_sinks_equal_a_key_of_that_score_without_value(arrays):
    query, key, value = arrays(1)
    sinks = np.array([0.5, -1.0, 3.0, 0.0], np.float32)
    mask = np.zeros((2, 4, 37, 54), np.float32)
    mask[..., 53] = sinks[:, None]
    longer_key = np.concatenate([key, np.zeros_like(key[:, :, :1])], axis=2)
    longer_value = np.concatenate([value, np.zeros_like(value[:, :, :1])], axis=2)
    want = scaled_dot_product_attention(query, longer_key, longer_value, mask, return_lse=True)
    got = scaled_dot_product_attention(query, key, value, sinks=sinks, return_lse=True)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_sinks_rows_without_keys_give_zeros_and_the_sink(arrays, check):
    sinks = np.array([0.5, -1.0, 3.0, -np.inf])
    out, lse = check(arrays(2), {"sinks": sinks, "key_lengths": np.array([0, 53])})
    assert not out[0].any()
    np.testing.assert_allclose(lse[0], np.broadcast_to(sinks[:, None], (4, 37)), rtol=1e-6)
    query, key, value = arrays(2)
    out, lse = scaled_dot_product_attention(query, key[:, :, :0], value[:, :, :0], sinks=sinks, return_lse=True)
    assert not out.any()
    np.testing.assert_array_equal(lse, np.broadcast_to(sinks.astype(np.float32)[:, None], (2, 4, 37)))


def test_sinks_of_minus_infinity_are_none(arrays):
    inputs = arrays(3)
    got = scaled_dot_product_attention(*inputs, sinks=np.full(4, -np.inf), return_lse=True)
    for ours, theirs in zip(got, scaled_dot_product_attention(*inputs, return_lse=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sink", [-1e30, -200.0, -20.0, 20.0, 80.0, 1e30])
def test_sinks_far_from_the_scores_match_reference(arrays, check, sink, dtype):
    check(arrays(4, dtype=dtype), {"sinks": np.full(4, sink)})


def test_sinks_single_query_of_grouped_heads(arrays, check):
    sinks = np.array([0.5, -1.0, 3.0, 1.0])
    check(arrays(5, 2, 4, 2, 1, 130, 16, 16), {"sinks": sinks})
    check(arrays(5, 2, 4, 2, 1, 130, 16, 16), {"sinks": sinks, "is_causal": True, "query_offset": np.array([129, 70])})


def test_sinks_dropout_leaves_them_alone(arrays, check):
    _, lse = check(arrays(6), {"sinks": np.ones(4), "dropout_p": 0.5, "seed": 3})
    np.testing.assert_array_equal(lse, scaled_dot_product_attention(*arrays(6), sinks=np.ones(4), return_lse=True)[1])


@pytest.mark.parametrize("sinks", [[1.0], np.zeros((1, 4)), 0.5, np.zeros(2)])
def test_sinks_of_a_wrong_shape_raise(arrays, sinks):
    with pytest.raises(ValueError, match=r"sinks must have shape \(4,\)"):
        scaled_dot_product_attention(*arrays(), sinks=sinks)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e31])
def test_sinks_that_are_not_finite_raise(arrays, bad):
    with pytest.raises(ValueError, match="sinks must lie within"):
        scaled_dot_product_attention(*arrays(), sinks=[0.0, 1.0, bad, 2.0])


def test_sinks_of_a_wrong_kind_raise(arrays):
    with pytest.raises(TypeError, match="sinks must hold real numbers"):
        scaled_dot_product_attention(*arrays(), sinks=["a"] * 4)
