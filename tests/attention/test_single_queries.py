"""The short way of decoding inside frameworks: one query a sequence, planned and run in one compiled call."""

import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore.attention.kernels.attend import attend_single_queries


def arrays(batch, heads, groups, keys, size, seed=0):
    generator = np.random.default_rng(seed)
    shapes = (batch, heads, 1, size), (batch, groups, keys, size), (batch, groups, keys, size)
    return [generator.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("batch, heads, groups, keys, size", [(1, 9, 3, 513, 64), (3, 8, 8, 40, 32)])
def test_single_queries_are_the_twins(batch, heads, groups, keys, size):
    query, key, value = arrays(batch, heads, groups, keys, size)
    out = np.empty_like(query)
    assert attend_single_queries(query, key, value, out)
    expected = reference.scaled_dot_product_attention(query, key, value)
    np.testing.assert_allclose(out, expected, atol=2e-6)


def test_ranges_of_keys_are_those_keys_alone():
    query, key, value = arrays(3, 4, 2, 300, 32)
    starts, lengths = np.array([0, 17, 299]), np.array([300, 280, 0])
    key[1, :, :17] = value[1, :, 297:] = np.nan
    out = np.empty_like(query)
    assert attend_single_queries(query, key, value, out, starts, lengths, 0.3, 5.0)
    for b in range(2):
        own = slice(starts[b], starts[b] + lengths[b])
        expected = fastcore.scaled_dot_product_attention(
            query[b], key[b, :, own], value[b, :, own], enable_gqa=True, scale=0.3, softcap=5.0
        )
        np.testing.assert_array_equal(out[b], expected)
    assert not out[2].any()


def test_what_is_not_in_order_or_much_work_is_left_to_others():
    query, key, value = arrays(2, 4, 2, 8, 32)
    assert not attend_single_queries(query, key[:1], value, np.empty_like(query))
    assert not attend_single_queries(query[..., :20], key[..., :20], value, np.empty_like(query))
    assert not attend_single_queries(query[:, :3], key, value, np.empty_like(query[:, :3]))
    assert not attend_single_queries(query, key[:, :, :0], value[:, :, :0], np.empty_like(query))
    long = np.zeros((2, 2, 6000, 32), np.float32)
    assert not attend_single_queries(query, long, long, np.empty_like(query))
