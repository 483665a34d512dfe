"""Block masks: which blocks, that empty ones are not read, and any shape that broadcasts."""

import numpy as np
import pytest

import fastcore
from fastcore import scaled_dot_product_attention

SHAPES = [(), (4,), (3, 1), (1, 4), (3, 4), (4, 3, 4), (4, 1, 1), (2, 1, 3, 4), (1, 4, 1, 4), (2, 4, 3, 4)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_block_mask_of_any_broadcastable_shape_matches_reference(arrays, check, shape, dtype):
    mask = np.asarray(np.random.default_rng(1).random(shape) < 0.5)
    check(arrays(1, m=150, n=203, dtype=dtype), {"block_mask": mask})


def test_block_mask_of_ones_changes_nothing(arrays):
    inputs = arrays(2, m=150, n=203)
    got = scaled_dot_product_attention(*inputs, block_mask=True, return_lse=True)
    for ours, theirs in zip(got, scaled_dot_product_attention(*inputs, return_lse=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_block_mask_of_zeros_leaves_no_keys(arrays):
    out, lse = scaled_dot_product_attention(*arrays(3, m=70), block_mask=np.zeros((2, 1), bool), return_lse=True)
    assert not out.any()
    assert (lse == -np.inf).all()


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("extra", [{}, {"is_causal": True, "query_offset": 100}, {"window": (100, 20)}])
def test_block_mask_nothing_in_empty_blocks_is_read(arrays, poison, extra):
    query, key, value = arrays(4, m=150, n=203)
    mask = np.array([[True, False, True, False]] * 3)
    clean = scaled_dot_product_attention(query, key, value, block_mask=mask, **extra, return_lse=True)
    for x in (key, value):
        x[:, :, 64:128] = x[:, :, 192:] = poison
    dirty = scaled_dot_product_attention(query, key, value, block_mask=mask, **extra, return_lse=True)
    for got, want in zip(dirty, clean, strict=True):
        np.testing.assert_array_equal(got, want)


def test_block_mask_counts_rows_and_not_positions(arrays, check):
    mask = np.random.default_rng(5).random((3, 4)) < 0.5
    check(arrays(5, m=150, n=203), {"block_mask": mask, "is_causal": True, "query_offset": np.array([33, 190])})


def test_block_mask_any_strides(arrays, check):
    mask = np.random.default_rng(6).random((4, 6, 4, 2)) < 0.5
    check(arrays(6, m=150, n=203), {"block_mask": mask[:, ::2].transpose(3, 2, 1, 0)})
    mask = np.random.default_rng(6).random((3, 4)) < 0.5
    mask.flags.writeable = False
    check(arrays(6, m=150, n=203), {"block_mask": mask[::-1, ::-1]})


def test_block_mask_sequences_of_any_axes(arrays, check):
    rng = np.random.default_rng(7)
    query = rng.normal(size=(2, 3, 4, 130, 8)).astype(np.float32)
    check((query, query, query), {"block_mask": rng.random((2, 1, 4, 3, 3)) < 0.5})
    check((query[0, 0], query[0, 0], query[0, 0]), {"block_mask": rng.random((4, 3, 3)) < 0.5})
    check((query[0, 0, 0], query[0, 0, 0], query[0, 0, 0]), {"block_mask": rng.random((3, 3)) < 0.5})


def test_block_mask_single_query(arrays, check):
    check(arrays(8, 2, 4, 2, 1, 203, 16, 16), {"block_mask": np.array([[True, False, True, False]])})


def test_block_mask_one_thread_equals_many_bit_for_bit(arrays):
    inputs = arrays(9, 2, 4, 2, 310, 400, 64, 64)
    mask = np.random.default_rng(9).random((2, 4, 5, 7)) < 0.3
    results = []
    for count in (1, fastcore.get_num_threads()):
        with fastcore.num_threads(count):
            results.append(scaled_dot_product_attention(*inputs, block_mask=mask))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 4), (2, 2, 4, 3, 4), (0, 4)])
def test_block_mask_of_a_wrong_shape_raises(arrays, shape):
    with pytest.raises(ValueError, match=r"block_mask must broadcast to \(2, 4, 3, 4\).*Got shape"):
        scaled_dot_product_attention(*arrays(m=150, n=203), block_mask=np.ones(shape, bool))


@pytest.mark.parametrize("bad", [np.ones((1, 1), int), np.ones((1, 1)), [["a"]], np.ma.ones((1, 1), bool)])
def test_block_mask_of_a_wrong_kind_raises(arrays, bad):
    with pytest.raises(TypeError, match="block_mask"):
        scaled_dot_product_attention(*arrays(), block_mask=bad)
