"""The numbers: every option alone and in pairs, shapes around the tiles, NaN and inf, lse, dropout, threads."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcore
from fastcore import reference, scaled_dot_product_attention

OPTION_NAMES = (
    "attn_mask_bool", "attn_mask_float", "dropout", "is_causal", "scale", "window", "window_left", "softcap",
    "query_offset", "key_lengths", "alibi_slopes", "sinks", "block_mask", "score_mod",
)  # fmt: skip
CONFLICTS = ({"attn_mask_bool", "attn_mask_float"}, {"window", "window_left"})
SETS = [
    names
    for count in (0, 1, 2)
    for names in itertools.combinations(OPTION_NAMES, count)
    if not any(conflict <= set(names) for conflict in CONFLICTS)
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("names", SETS, ids=lambda names: "+".join(names) or "plain")
def test_attention_options_alone_and_in_pairs_match_reference(arrays, options, check, names, dtype):
    check(arrays(1, dtype=dtype), options(names, 2, 2, 4, 37, 53, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_all_options_together_match_reference(arrays, options, check, dtype):
    names = [name for name in OPTION_NAMES if name not in ("attn_mask_float", "window_left")]
    check(arrays(3, dtype=dtype), options(names, 4, 2, 4, 37, 53, dtype))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("size, value_size", [(1, 1), (7, 33), (32, 32), (64, 64), (128, 80), (256, 256)])
@pytest.mark.parametrize(
    "queries, keys", [(1, 1), (1, 300), (3, 64), (16, 63), (47, 65), (48, 128), (49, 129), (130, 200)]
)
def test_attention_shapes_around_tiles_match_reference(arrays, check, queries, keys, size, value_size, causal):
    check(arrays(5, 1, 3, 1, queries, keys, size, value_size), {"is_causal": causal})


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    b=st.integers(1, 3),
    groups=st.integers(1, 3),
    repeat=st.integers(1, 3),
    queries=st.integers(1, 140),
    keys=st.integers(1, 200),
    size=st.integers(1, 80),
    value_size=st.integers(1, 80),
    names=st.sampled_from(SETS),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_attention_any_shape_matches_reference(
    arrays, options, check, b, groups, repeat, queries, keys, size, value_size, names, dtype
):
    heads = groups * repeat
    inputs = arrays(6, b, heads, groups, queries, keys, size, value_size, dtype)
    check(inputs, options(names, 7, b, heads, queries, keys, dtype))


@pytest.mark.parametrize("magnitude", [1e-3, 30.0, 1e4])
def test_attention_large_and_small_scores_match_reference(arrays, check, magnitude):
    query, key, value = arrays(8)
    check((np.float32(magnitude) * query, key, value), {})


def test_attention_long_rows_match_reference(arrays, check):
    check(arrays(9, 1, 2, 1, 70, 3000, 16, 16), {})
    check(arrays(10, 1, 1, 1, 500, 700, 32, 32), {"is_causal": True, "query_offset": 200})


@pytest.mark.parametrize("shape", [(), (1,), (53,), (37, 1), (4, 1, 1), (2, 1, 1, 53), (1, 4, 37, 53), (2, 4, 37, 53)])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_attention_mask_of_any_broadcastable_shape_matches_reference(arrays, check, shape, kind):
    rng = np.random.default_rng(11)
    mask = rng.random(shape) < 0.6 if kind == "bool" else rng.normal(size=shape).astype(np.float32)
    check(arrays(11), {"attn_mask": np.asarray(mask)})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_attention_float_mask_of_another_dtype_is_converted(arrays, dtype):
    mask = np.random.default_rng(12).normal(size=(37, 53)).astype(dtype)
    mask[:, 5] = np.finfo(dtype).min if dtype == np.float64 else -np.inf
    got = scaled_dot_product_attention(*arrays(12), mask)
    with np.errstate(over="ignore"):
        want = scaled_dot_product_attention(*arrays(12), mask.astype(np.float32))
    np.testing.assert_array_equal(got, want)


def test_attention_rows_without_keys_give_zeros_and_minus_inf(arrays, check):
    mask = np.ones((37, 53), bool)
    mask[[0, 5, 36]] = False
    out, lse = check(arrays(13), {"attn_mask": mask})
    assert not out[:, :, [0, 5, 36]].any()
    assert (lse[:, :, [0, 5, 36]] == -np.inf).all()
    out, lse = check(arrays(13), {"key_lengths": np.array([0, 3])})
    assert not out[0].any()
    assert (lse[0] == -np.inf).all()
    out, lse = check(arrays(13), {"is_causal": True, "query_offset": -10})
    assert not out[:, :, :10].any()
    out, _ = check(arrays(13), {"attn_mask": np.where(mask, 0, -np.inf).astype(np.float32)})
    assert not out[:, :, [0, 5, 36]].any()


POISON = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize("how", ["key_lengths", "bool", "float", "causal", "window"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_masked_nan_and_inf_never_reach_the_output(arrays, poison, how, dtype):
    query, key, value = arrays(14, dtype=dtype)
    seen = np.arange(53) < 30
    keywords = {
        "key_lengths": {"key_lengths": [30, 30]},
        "bool": {"attn_mask": seen},
        "float": {"attn_mask": np.where(seen, 0, -np.inf).astype(dtype)},
        "causal": {"is_causal": True, "query_offset": -7},
        "window": {"window": (None, 3), "query_offset": -10},
    }[how]
    clean = scaled_dot_product_attention(query, key, value, **keywords, return_lse=True)
    key[:, :, 30:], value[:, :, 30:] = poison, poison
    dirty = scaled_dot_product_attention(query, key, value, **keywords, return_lse=True)
    for got, want in zip(dirty, clean, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("poison", POISON)
def test_attention_causal_poisoned_key_reaches_only_rows_that_see_it(arrays, poison):
    query, key, value = arrays(15, m=60, n=60)
    clean = scaled_dot_product_attention(query, key, value, is_causal=True)
    value[0, 1, 20, 3] = poison
    dirty = scaled_dot_product_attention(query, key, value, is_causal=True)
    reached = ~np.isfinite(dirty)
    assert reached[0, 2:, 20:, 3].all()
    assert reached.sum() == 2 * 40
    np.testing.assert_array_equal(dirty[~reached], clean[~reached])


def test_attention_nan_query_spoils_its_own_row_only(arrays):
    query, key, value = arrays(16)
    clean = scaled_dot_product_attention(query, key, value)
    query[1, 2, 7, 0] = np.nan
    dirty = scaled_dot_product_attention(query, key, value)
    assert np.isnan(dirty[1, 2, 7]).all()
    dirty[1, 2, 7] = clean[1, 2, 7]
    np.testing.assert_array_equal(dirty, clean)


def test_attention_key_lengths_equal_shorter_keys(arrays):
    query, key, value = arrays(17)
    out = scaled_dot_product_attention(query, key, value, key_lengths=[20, 99])
    short = scaled_dot_product_attention(query[:1], key[:1, :, :20], value[:1, :, :20])
    np.testing.assert_allclose(out[:1], short, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        out[1:], scaled_dot_product_attention(query[1:], key[1:], value[1:]), rtol=1e-5, atol=1e-6
    )


def test_attention_query_offset_equals_rows_of_the_whole(arrays):
    query, key, value = arrays(18, m=53)
    whole = scaled_dot_product_attention(query, key, value, is_causal=True, window=(20, None))
    tail = scaled_dot_product_attention(
        query[:, :, 30:], key, value, is_causal=True, window=(20, None), query_offset=30
    )
    np.testing.assert_allclose(tail, whole[:, :, 30:], rtol=1e-5, atol=1e-6)


def test_attention_far_offsets_and_wide_windows_do_not_overflow(arrays, check):
    far = (1 << 39) - 1
    out, _ = check(arrays(19), {"query_offset": far, "is_causal": True})
    np.testing.assert_array_equal(out, scaled_dot_product_attention(*arrays(19)))
    out, _ = check(arrays(19), {"query_offset": -far, "is_causal": True})
    assert not out.any()
    out, _ = check(arrays(19), {"window": (1 << 62, 1 << 70), "query_offset": far})
    np.testing.assert_array_equal(out, scaled_dot_product_attention(*arrays(19)))


def test_attention_lse_does_not_change_the_output_and_is_natural(arrays):
    query, key, value = arrays(20)
    out, lse = scaled_dot_product_attention(query, key, value, return_lse=True)
    np.testing.assert_array_equal(out, scaled_dot_product_attention(query, key, value))
    scores = query.astype(float) @ np.repeat(key, 2, axis=1).astype(float).swapaxes(-1, -2) / np.sqrt(24)
    np.testing.assert_allclose(lse, np.log(np.exp(scores).sum(-1)), rtol=1e-6)


def test_attention_dropout_mask_equals_the_twin(arrays):
    query, key, _ = arrays(21)
    identity = np.broadcast_to(np.eye(53, dtype=np.float32), (2, 2, 53, 53))
    out = scaled_dot_product_attention(query, key, identity, dropout_p=0.35, seed=(3 << 40) + 1)
    np.testing.assert_array_equal(out != 0, reference.dropout_mask(2, 4, 37, 53, 0.35, (3 << 40) + 1))
    other = scaled_dot_product_attention(query, key, identity, dropout_p=0.35, seed=2)
    assert ((other != 0) != (out != 0)).any()


def test_attention_dropout_ends_of_the_range(arrays):
    inputs = arrays(22)
    plain = scaled_dot_product_attention(*inputs, return_lse=True)
    out, lse = scaled_dot_product_attention(*inputs, dropout_p=1.0, return_lse=True)
    assert not out.any()
    np.testing.assert_array_equal(lse, plain[1])
    assert not scaled_dot_product_attention(*inputs, dropout_p=1).any()
    np.testing.assert_array_equal(scaled_dot_product_attention(*inputs, dropout_p=0, seed=9), plain[0])


@pytest.mark.parametrize("names", [(), ("is_causal",), ("attn_mask_bool", "dropout"), ("key_lengths", "window")])
def test_attention_one_thread_equals_many_bit_for_bit(arrays, options, names):
    inputs, keywords = arrays(23, 2, 4, 2, 210, 300, 64, 64), options(names, 23, 2, 4, 210, 300)
    results = []
    for count in (1, fastcore.get_num_threads()):
        with fastcore.num_threads(count):
            results.append(scaled_dot_product_attention(*inputs, **keywords, return_lse=True))
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)
