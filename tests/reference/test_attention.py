"""The attention twins against loops over single elements in extended precision, written from the definition."""

import itertools
import math

import numpy as np
import pytest

from fastcore import reference


def attend_one_row(query, key, value, positions, scale, softcap, bias):
    """softmax over the listed keys, one query: the definition with Python loops."""
    scores = []
    for j in positions:
        score = scale * math.fsum(float(a) * float(b) for a, b in zip(query, key[j], strict=True))
        if softcap is not None:
            score = softcap * math.tanh(score / softcap)
        scores.append(score + bias[j])
    if not positions:
        return np.zeros(value.shape[1]), -math.inf
    highest = max(scores)
    weights = [math.exp(s - highest) for s in scores]
    total = math.fsum(weights)
    out = sum(w / total * value[j] for w, j in zip(weights, positions, strict=True))
    return out, highest + math.log(total)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(2, 2, 7, 3)), rng.normal(size=(2, 2, 7, 6)), rng


@pytest.mark.parametrize(
    "is_causal, window, softcap, masked, offset, lengths",
    [
        *itertools.product(
            [False, True],
            [None, (2, None), (1, 1)],
            [None, 0.5],
            ["no", "bool", "float"],
            [[0, 0], [3, -2]],
            [None, [4, 0]],
        )
    ],
)
def test_attention_options_match_loops(arrays, is_causal, window, softcap, masked, offset, lengths):
    query, key, value, rng = arrays
    admitted = rng.random((2, 4, 5, 7)) < 0.7
    bias = rng.normal(size=(2, 4, 5, 7)) if masked == "float" else np.zeros((2, 4, 5, 7))
    mask = {"no": None, "bool": admitted, "float": bias}[masked]
    out, lse = reference.scaled_dot_product_attention(
        query, key, value, mask, is_causal=is_causal, window=window, softcap=softcap, scale=0.7,
        query_offset=np.array(offset), key_lengths=lengths, return_lse=True,
    )  # fmt: skip
    left, right = window or (None, None)
    for b, h, i in itertools.product(range(2), range(4), range(5)):
        position = offset[b] + i
        keys = [
            j
            for j in range(7 if lengths is None else lengths[b])
            if not (is_causal and j > position)
            and not (left is not None and j < position - left)
            and not (right is not None and j > position + right)
            and not (masked == "bool" and not admitted[b, h, i, j])
        ]
        want, want_lse = attend_one_row(
            query[b, h, i], key[b, h // 2], value[b, h // 2], keys, 0.7, softcap, bias[b, h, i]
        )
        np.testing.assert_allclose(out[b, h, i], want, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(lse[b, h, i], want_lse, rtol=1e-13, atol=1e-14)


def test_attention_masked_nan_and_inf_do_not_reach_the_output(arrays):
    query, key, value, _ = arrays
    lengths = np.array([4, 6])
    clean = reference.scaled_dot_product_attention(query, key, value, key_lengths=lengths)
    for b, length in enumerate(lengths):
        key[b, :, length:] = np.nan
        value[b, :, length:] = np.inf
    np.testing.assert_array_equal(reference.scaled_dot_product_attention(query, key, value, key_lengths=lengths), clean)
    float_mask = np.where(np.arange(7) < lengths[:, None], 0.0, -np.inf)[:, None, None, :]
    np.testing.assert_array_equal(reference.scaled_dot_product_attention(query, key, value, float_mask), clean)


def test_attention_nan_value_reaches_only_rows_that_see_it(arrays):
    query, key, value, _ = arrays
    value[0, 0, 3, 1] = np.nan
    out = reference.scaled_dot_product_attention(query, key, value, is_causal=True)
    expected = np.zeros(out.shape, bool)
    expected[0, :2, 3:, 1] = True
    np.testing.assert_array_equal(np.isnan(out), expected)


def test_attention_lower_ranks_match_four_axes(arrays):
    query, key, value, _ = arrays
    key, value = np.repeat(key, 2, axis=1), np.repeat(value, 2, axis=1)
    full = reference.scaled_dot_product_attention(query, key, value, is_causal=True)
    np.testing.assert_allclose(
        reference.scaled_dot_product_attention(query[0], key[0], value[0], is_causal=True), full[0]
    )
    np.testing.assert_allclose(
        reference.scaled_dot_product_attention(query[1, 2], key[1, 2], value[1, 2], is_causal=True), full[1, 2]
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_attention_keeps_the_dtype_and_lse_the_computing_dtype(arrays, dtype):
    query, key, value = (x.astype(dtype) for x in arrays[:3])
    out, lse = reference.scaled_dot_product_attention(query, key, value, return_lse=True)
    assert out.dtype == dtype
    assert lse.dtype == (np.float64 if dtype == np.float64 else np.float32)


def test_attention_without_keys_gives_zeros(arrays):
    query, key, value, _ = arrays
    out, lse = reference.scaled_dot_product_attention(query, key[:, :, :0], value[:, :, :0], return_lse=True)
    assert out.shape == (2, 4, 5, 6)
    assert not out.any()
    assert (lse == -np.inf).all()


def test_attention_dropout_scales_the_kept_weights(arrays):
    query, key, _, _ = arrays
    key = np.repeat(key, 2, axis=1)
    weights, lse, _ = reference.attention_weights(query, key)
    identity = np.broadcast_to(np.eye(7), (2, 4, 7, 7))
    dropped, dropped_lse = reference.scaled_dot_product_attention(
        query, key, identity, dropout_p=0.4, seed=9, return_lse=True
    )
    kept = reference.dropout_mask(2, 4, 5, 7, 0.4, 9)
    np.testing.assert_allclose(dropped, np.where(kept, weights / 0.6, 0.0), rtol=1e-14)
    np.testing.assert_array_equal(dropped_lse, lse)
    assert not reference.scaled_dot_product_attention(query, key, identity, dropout_p=1.0).any()


def test_merge_attention_states_equals_attention_over_all_keys(arrays):
    query, key, value, _ = arrays
    parts = [
        reference.scaled_dot_product_attention(query, key[:, :, keys], value[:, :, keys], return_lse=True)
        for keys in (slice(0, 3), slice(3, 7))
    ]
    whole = reference.scaled_dot_product_attention(query, key, value, return_lse=True)
    for got, want in zip(reference.merge_attention_states(*parts[0], *parts[1]), whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-14)


def test_merge_attention_states_empty_sides_are_not_looked_at():
    out_a, out_b = np.full((3, 2), np.nan), np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]])
    lse_a, lse_b = np.full(3, -np.inf), np.array([0.5, -3.0, -np.inf])
    out, lse = reference.merge_attention_states(out_a, lse_a, out_b, lse_b)
    np.testing.assert_array_equal(out, [[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(lse, lse_b)


def test_multi_head_attention_matches_heads_one_by_one():
    rng = np.random.default_rng(4)
    x, memory = rng.normal(size=(2, 3, 8)), rng.normal(size=(2, 5, 8))
    weights = {f"{name}_weight": rng.normal(size=(8, 8)) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
    ignored = np.array([[False, True, False, False, True], [False] * 5])
    out, shares = reference.multi_head_attention(
        x, memory, num_heads=2, key_padding_mask=ignored, need_weights=True, **weights
    )
    for b in range(2):
        heads = []
        for h in range(2):
            rows = slice(4 * h, 4 * h + 4)
            q, k, v = (
                source[b] @ weights[f"{name}_weight"][rows].T
                for source, name in ((x, "q_proj"), (memory, "k_proj"), (memory, "v_proj"))
            )
            heads.append(reference.scaled_dot_product_attention(q, k, v, ~ignored[b]))
            np.testing.assert_allclose(shares[b, h], reference.attention_weights(q, k, ~ignored[b])[0], rtol=1e-13)
        np.testing.assert_allclose(out[b], np.hstack(heads) @ weights["out_proj_weight"].T, rtol=1e-12)
    np.testing.assert_allclose(
        reference.multi_head_attention(x[0], memory[0], num_heads=2, key_padding_mask=ignored[0], **weights), out[0]
    )
