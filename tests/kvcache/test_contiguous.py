"""KVCache without a window: against lists of tokens and the reference in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.kvcache import KVCache, Rotary
from tests.kvcache.contiguous_model import FORMATS, Model, assert_attends, draw, pair

# (H, G, D, Dv): groups of 1 to 8 and 9 / 3, the head sizes of the issue, values of another size.
SHAPES = [
    (1, 1, 1, 1), (2, 1, 7, 5), (3, 1, 64, 64), (4, 1, 80, 80), (5, 1, 96, 32), (6, 1, 128, 128), (7, 1, 7, 64),
    (8, 1, 64, 80), (9, 3, 64, 64), (6, 3, 80, 1), (16, 2, 128, 96), (4, 4, 33, 65),
]  # fmt: skip


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kv_cache_prefill_decode_and_chunks_match_the_reference(rng, shape, dtype):
    heads, groups, size, value_size = shape
    cache, model = pair(2, groups, 64, size, value_size, dtype=dtype)
    for tokens in (17, 1, 4, 1, 33):
        key, value = draw(rng, 2, groups, tokens, size, value_size)
        (query,) = draw(rng, 2, heads, tokens, size)
        cache.append(key, value)
        model.append(key, value)
        assert_attends(cache.attend(query), model, query)
        assert_attends(cache.attend(query[:, :, -1]), model, query[:, :, -1])
    np.testing.assert_array_equal(cache.lengths, [56, 56])


@pytest.mark.parametrize("dtype", FORMATS)
def test_kv_cache_step_is_append_and_attend(rng, dtype):
    stepped, apart = (KVCache(2, 2, 20, 40, value_dim=24, dtype=dtype) for _ in range(2))
    for tokens, lengths in ((9, None), (1, None), (4, [1, 4]), (3, [0, 2])):
        key, value = draw(rng, 2, 2, tokens, 40, 24)
        (query,) = draw(rng, 2, 6, tokens, 40)
        apart.append(key, value, lengths=lengths)
        want = apart.attend(query, lengths=lengths)
        np.testing.assert_array_equal(stepped.step(query, key, value, lengths=lengths), want)
    np.testing.assert_array_equal(stepped.lengths, apart.lengths)


def test_kv_cache_step_takes_one_query_without_its_axis(rng):
    cache, other = KVCache(2, 1, 4, 8), KVCache(2, 1, 4, 8)
    key, value, query = draw(rng, 2, 1, 1, 8, 8, 8)
    got = cache.step(query[:, :, 0], key, value)
    assert got.shape == (2, 1, 8)
    np.testing.assert_array_equal(got, other.step(query, key, value)[:, :, 0])


@pytest.mark.parametrize("dtype", FORMATS)
def test_kv_cache_ragged_lengths_match_the_reference(rng, dtype):
    cache, model = pair(4, 2, 40, 48, 16, dtype=dtype)
    for lengths in ([7, 0, 3, 5], [0, 0, 7, 1], [2, 1, 0, 7], [0, 0, 0, 0], [7, 7, 7, 7]):
        key, value = draw(rng, 4, 2, 7, 48, 16)
        (query,) = draw(rng, 4, 4, 7, 48)
        got = cache.step(query, key, value, lengths=lengths)
        model.append(key, value, lengths)
        assert_attends(got, model, query, lengths)
        for b, length in enumerate(lengths):
            assert not got[b, :, length:].any()
    np.testing.assert_array_equal(cache.lengths, model.lengths)


@pytest.mark.parametrize("dtype", FORMATS)
def test_kv_cache_truncate_takes_speculative_tokens_back(rng, dtype):
    cache, model = pair(3, 1, 30, 64, dtype=dtype)
    for accepted in ([5, 5, 5], [6, 9, 5], [10, 9, 8], [0, 13, 12], [4, 14, 13]):
        key, value = draw(rng, 3, 1, 5, 64, 64)
        (query,) = draw(rng, 3, 4, 5, 64)
        got = cache.step(query, key, value)
        model.append(key, value)
        assert_attends(got, model, query)
        cache.truncate(accepted)
        model.truncate(accepted)
        np.testing.assert_array_equal(cache.lengths, accepted)
        newest = [min(1, n) for n in accepted]
        assert_attends(cache.attend(query[:, :, :1], lengths=newest), model, query[:, :, :1], newest)
    cache.truncate(3)
    np.testing.assert_array_equal(cache.lengths, [3, 3, 3])
    cache.reset()
    np.testing.assert_array_equal(cache.lengths, [0, 0, 0])


OPTIONS = {
    "scale": {"scale": -0.3},
    "softcap": {"softcap": 1.5},
    "both ways": {"is_causal": False},
    "scale and softcap": {"scale": 2.0, "softcap": 0.7},
    "softcap both ways": {"softcap": 5.0, "is_causal": False},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_kv_cache_options_match_the_reference(rng, options, tokens):
    cache, model = pair(2, 2, 64, 32)
    for new in (24, tokens):
        key, value = draw(rng, 2, 2, new, 32, 32)
        cache.append(key, value)
        model.append(key, value)
    (query,) = draw(rng, 2, 6, tokens, 32)
    assert_attends(cache.attend(query, **OPTIONS[options]), model, query, **OPTIONS[options])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_kv_cache_rotary_turns_keys_and_queries_by_their_positions(rng, dtype, interleaved):
    rotary = Rotary(interleaved=interleaved, rotary_dim=12)
    cache, model = pair(2, 2, 40, 16, dtype=dtype, rotary=rotary)
    for lengths in ([9, 4], [1, 1], [0, 9], [5, 2]):
        key, value = draw(rng, 2, 2, 9, 16, 16)
        (query,) = draw(rng, 2, 4, 9, 16)
        got = cache.step(query, key, value, lengths=lengths)
        model.append(key, value, lengths)
        assert_attends(got, model, query, lengths)
        newest = [min(2, n) for n in cache.lengths]
        assert_attends(cache.attend(query[:, :, :2], lengths=newest), model, query[:, :, :2], newest)
    assert cache.rotary == rotary


# --- NaN --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FORMATS)
def test_kv_cache_nan_beyond_the_lengths_does_not_leak(rng, dtype):
    cache, clean = (KVCache(2, 2, 48, 40, dtype=dtype) for _ in range(2))
    poison = np.full((2, 2, 48, 40), np.nan, np.float32)
    cache.append(poison, poison)
    cache.reset()
    for tokens, lengths in ((9, [9, 3]), (4, [0, 4]), (1, [1, 1])):
        key, value = draw(rng, 2, 2, tokens, 40, 40)
        (query,) = draw(rng, 2, 4, tokens, 40)
        unused = np.arange(tokens) >= np.array(lengths)[:, None]
        spoilt = [np.where(unused[:, None, :, None], np.float32(np.nan), x) for x in (query, key, value)]
        want = clean.step(query, key, value, lengths=lengths)
        assert np.isfinite(want).all()
        np.testing.assert_array_equal(cache.step(*spoilt, lengths=lengths), want)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("where", ["key", "value"])
def test_kv_cache_nan_reaches_those_who_attend_it_only(rng, dtype, where):
    cache = KVCache(2, 2, 20, 64, dtype=dtype)
    arrays = dict(zip(("key", "value"), draw(rng, 2, 2, 12, 64, 64), strict=True))
    arrays[where][1, 0, 7, 3] = np.nan
    cache.append(**arrays)
    got = np.isnan(cache.attend(draw(rng, 2, 4, 12, 64)[0]))
    assert not got[0].any()
    assert not got[1, 2:].any()
    assert not got[1, :2, :7].any()
    reached = slice(None) if where == "key" or dtype == "int8" else slice(32) if dtype == "int4" else 3
    assert got[1, :2, 7:, reached].all()
    assert got[1, :2, 7:].sum() == np.size(got[1, :2, 7:, reached])


# --- properties -------------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_kv_cache_any_sequence_of_operations_matches_the_model(data):
    draw_int = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    rng = np.random.default_rng(draw_int(0, 1000))
    batch, groups, per_group, size, value_size = (draw_int(1, most) for most in (3, 3, 3, 40, 40))
    cache, model = pair(batch, groups, 24, size, value_size, dtype=data.draw(st.sampled_from(FORMATS)))
    for operation in data.draw(
        st.lists(st.sampled_from(["step", "step", "append", "truncate", "reorder"]), max_size=7)
    ):
        if operation == "reorder":
            indices = data.draw(st.lists(st.integers(0, batch - 1), min_size=batch, max_size=batch))
            cache.reorder(indices)
            model.reorder(indices)
        elif operation == "truncate":
            lengths = [draw_int(0, n) for n in model.lengths.tolist()]
            cache.truncate(lengths)
            model.truncate(lengths)
        else:
            tokens = draw_int(1, 8)
            counts = [draw_int(0, min(tokens, 24 - n)) for n in model.lengths.tolist()]
            key, value = draw(rng, batch, groups, tokens, size, value_size)
            (query,) = draw(rng, batch, groups * per_group, tokens, size)
            model.append(key, value, counts)
            if operation == "append":
                cache.append(key, value, lengths=counts)
            else:
                assert_attends(cache.step(query, key, value, lengths=counts), model, query, counts)
        np.testing.assert_array_equal(cache.lengths, model.lengths)
        (query,) = draw(rng, batch, groups * per_group, 3, size)
        counts = [draw_int(0, min(3, n)) for n in model.lengths.tolist()]
        assert_attends(cache.attend(query, lengths=counts), model, query, counts)


# --- what it says of itself -------------------------------------------------------------------------------------------


def test_kv_cache_tells_its_sizes():
    cache = KVCache(2, 3, 10, 20, value_dim=40, dtype="int8", window=6, sinks=1)
    told = {name: getattr(cache, name) for name in ("batch", "num_kv_heads", "capacity", "head_dim", "value_dim")}
    assert told == {"batch": 2, "num_kv_heads": 3, "capacity": 10, "head_dim": 20, "value_dim": 40}
    assert (cache.dtype, cache.window, cache.sinks, cache.rotary) == ("int8", 6, 1, None)
    assert (KVCache(1, 1, 1, 1).window, KVCache(1, 1, 1, 1).sinks) == (None, 0)
    assert cache.nbytes == 2 * 3 * 10 * (32 + 4 + 48 + 4) == sum(x.nbytes for x in cache.arrays.values())
    assert "batch=2" in repr(cache)
    assert "dtype='int8', window=6, sinks=1, lengths=[0, 0]" in repr(cache)
    lengths = cache.lengths
    lengths[:] = 5
    assert cache.lengths.tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        cache.arrays["keys"][...] = 1
    for name in ("lengths", "capacity", "dtype"):
        with pytest.raises(AttributeError):
            setattr(cache, name, 1)


def test_model_of_the_tests_forgets_nothing(rng):
    """The judge judged: attention by hand of two tokens."""
    model = Model(1, 1, 1)
    model.append(np.array([0.0, 1.0]).reshape(1, 1, 2, 1), np.array([2.0, 4.0]).reshape(1, 1, 2, 1))
    weights = np.exp([0.0, 3.0]) / np.exp([0.0, 3.0]).sum()
    np.testing.assert_allclose(model.attend(np.full((1, 1, 1), 3.0)), weights @ [2.0, 4.0])
