"""ALiBi's slopes: the formula, positions, batch and head, what it shares a call with; numbers are judged in pairs with
all other options by test_scaled_dot_product.py."""

import numpy as np
import pytest

from fastcore import scaled_dot_product_attention


def test_alibi_equals_the_written_out_mask(arrays):
    query, key, value = arrays(1)
    slopes = np.array([0.5, 0.25, 0.0, -0.125])
    distance = np.abs(np.arange(37)[:, None] - np.arange(53))
    mask = (-slopes[:, None, None] * distance).astype(np.float32)
    got = scaled_dot_product_attention(query, key, value, alibi_slopes=slopes, return_lse=True)
    want = scaled_dot_product_attention(query, key, value, mask, return_lse=True)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_alibi_slope_zero_changes_nothing(arrays):
    inputs = arrays(2)
    got = scaled_dot_product_attention(*inputs, alibi_slopes=np.zeros(4))
    np.testing.assert_array_equal(got, scaled_dot_product_attention(*inputs))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alibi_counts_from_the_position_of_the_query(arrays, dtype):
    query, key, value = arrays(3, m=53, dtype=dtype)
    whole = scaled_dot_product_attention(query, key, value, alibi_slopes=[0.1, 0.2, 0.3, 0.4])
    tail = scaled_dot_product_attention(
        query[:, :, 30:], key, value, alibi_slopes=[0.1, 0.2, 0.3, 0.4], query_offset=[30, 30]
    )
    np.testing.assert_allclose(tail, whole[:, :, 30:], rtol=1e-5, atol=1e-6)


def test_alibi_single_query_of_grouped_heads(arrays, check):
    check(arrays(4, 2, 4, 2, 1, 130, 16, 16), {"alibi_slopes": np.array([0.1, 0.2, 0.3, 0.4]), "query_offset": 129})


def test_alibi_long_rows_and_far_positions(arrays, check):
    check(arrays(5, 1, 2, 1, 70, 1000, 16, 16), {"alibi_slopes": np.array([0.02, 1.0])})
    # The same distance for all keys, as float32 has it: a constant, which softmax does not see.
    out = scaled_dot_product_attention(*arrays(6), alibi_slopes=np.full(4, 2.0**-34), query_offset=1 << 38)
    np.testing.assert_allclose(out, scaled_dot_product_attention(*arrays(6)), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [(37, 24), (2, 37, 24), (2, 3, 4, 37, 24)])
def test_alibi_sequences_of_any_axes(arrays, check, shape):
    rng = np.random.default_rng(7)
    query = rng.normal(size=shape).astype(np.float32)
    heads = 4 if len(shape) > 3 else 1
    batch = int(np.prod(shape[:-2])) // heads
    check((query, query, query), {"alibi_slopes": rng.random((batch, heads))})
    check((query, query, query), {"alibi_slopes": rng.random(heads)})


@pytest.mark.parametrize("kind", [np.float16, ">f8", int, list])
def test_alibi_slopes_of_any_real_kind(arrays, kind):
    slopes = [1, 2, 0, 1]
    given = slopes if kind is list else np.array(slopes, kind)
    want = scaled_dot_product_attention(*arrays(8), alibi_slopes=np.array(slopes, float))
    np.testing.assert_array_equal(scaled_dot_product_attention(*arrays(8), alibi_slopes=given), want)


def test_alibi_half_precision_is_the_rounded_float32(arrays):
    halves = [x.astype(np.float16) for x in arrays(9)]
    want = scaled_dot_product_attention(*(x.astype(np.float32) for x in halves), alibi_slopes=[0.1, 0.2, 0.3, 0.4])
    got = scaled_dot_product_attention(*halves, alibi_slopes=[0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("slopes", [[1.0], np.zeros((3, 4)), np.zeros((2, 3)), 0.5, np.zeros((1, 4))])
def test_alibi_slopes_of_a_wrong_shape_raise(arrays, slopes):
    with pytest.raises(ValueError, match=r"alibi_slopes must have shape \(4,\).*or \(2, 4\)"):
        scaled_dot_product_attention(*arrays(), alibi_slopes=slopes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e31])
def test_alibi_slopes_that_are_not_finite_raise(arrays, bad):
    with pytest.raises(ValueError, match="alibi_slopes must be finite"):
        scaled_dot_product_attention(*arrays(), alibi_slopes=[0.1, 0.2, bad, 0.3])


@pytest.mark.parametrize("bad", [["a"] * 4, np.zeros(4, complex), np.zeros(4, bool), np.ma.zeros(4)])
def test_alibi_slopes_of_a_wrong_kind_raise(arrays, bad):
    with pytest.raises(TypeError, match="alibi_slopes"):
        scaled_dot_product_attention(*arrays(), alibi_slopes=bad)
