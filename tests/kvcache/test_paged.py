"""PagedKVCache: ragged and packed tokens against the reference in float64, in any memory and dtype."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore.kvcache import Rotary, rotary_embedding
from tests.kvcache.contiguous_model import FORMATS
from tests.kvcache.paged_model import Words, assert_attends, assert_counted, normal

PAGE_SIZES = [1, 3, 16, 64]


def texts_of(rng, counts):
    return [rng.integers(0, 211, count).tolist() for count in counts]


def packed(arrays):
    """(heads, T_i, size) each as one (total, heads, size), and starts."""
    starts = np.cumsum([0, *(x.shape[1] for x in arrays)])
    return np.ascontiguousarray(np.concatenate(arrays, axis=1).swapaxes(0, 1)), starts


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_paged_ragged_appends_and_attends_match_the_reference(rng, page_size, dtype):
    words = Words(groups=2, size=40, value_size=24, dtype=dtype)
    cache = words.cache(600 // page_size + 12, page_size)
    sequences = [cache.allocate() for _ in range(6)]
    held = [[] for _ in sequences]
    for counts in (
        [1, 40, 0, 7, 1, 3],
        [1, 1, 1, 1, 1, 1],
        [40, 1, 0, 1, 16, 64],
        [0, 0, 0, 0, 0, 0],
        [5, 1, 3, 0, 1, 1],
    ):
        new = texts_of(rng, counts)
        held = [old + text for old, text in zip(held, new)]
        words.append(cache, sequences, new)
        queries = [normal(rng, 4, count, 40) for count in counts]
        assert_attends(cache.attend(sequences, queries), words, held, queries)
        backwards = cache.attend(sequences[::-1], queries[::-1], is_causal=False, scale=0.3, softcap=2.0)
        assert_attends(backwards[::-1], words, held, queries, is_causal=False, scale=0.3, softcap=2.0)
    words.assert_stored(cache, dict(zip(sequences, held)))
    assert_counted(cache)


@pytest.mark.parametrize("heads", [(1, 1), (8, 8), (9, 3), (8, 1)], ids=str)
def test_paged_any_heads_match_the_reference(rng, heads):
    words = Words(groups=heads[1], size=64, value_size=64)
    cache = words.cache(40, 16)
    sequences, held = [cache.allocate() for _ in range(3)], texts_of(rng, [100, 1, 17])
    words.append(cache, sequences, held)
    queries = [normal(rng, heads[0], count, 64) for count in (3, 1, 17)]
    assert_attends(cache.attend(sequences, queries), words, held, queries)


@given(st.integers(1, 20), st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), max_size=4), st.booleans())
def test_paged_step_is_append_and_attend(page_size, rounds, is_packed):
    rng, words = np.random.default_rng(5), Words(size=8, value_size=16)
    stepped, apart = words.cache(150, page_size), words.cache(150, page_size)
    sequences = [[cache.allocate() for _ in range(3)] for cache in (stepped, apart)]
    for counts in rounds:
        keys, values = words.of(texts_of(rng, counts))
        queries = [normal(rng, 2, count, 8) for count in counts]
        options = {}
        if is_packed:
            (queries, options["starts"]), (keys, _), (values, _) = packed(queries), packed(keys), packed(values)
        got = stepped.step(sequences[0], queries, keys, values, **options)
        apart.append(sequences[1], keys, values, **options)
        for a, b in zip(got, apart.attend(sequences[1], queries, **options), strict=True):
            np.testing.assert_array_equal(a, b)
    assert list(stepped.lengths.values()) == list(apart.lengths.values())
    assert_counted(stepped)


@pytest.mark.parametrize("counts", [[1, 1, 1], [0, 5, 0], [40, 1, 7], [0, 0, 0], []], ids=str)
def test_paged_packed_is_the_list(rng, counts):
    words = Words(size=24, value_size=40)
    listed, joined = words.cache(40, 3), words.cache(40, 3)
    sequences = [listed.allocate() for _ in counts]
    assert [joined.allocate() for _ in counts] == sequences
    keys, values = words.of(texts_of(rng, counts))
    queries = [normal(rng, 6, count, 24) for count in counts]
    packed_keys, starts = packed([np.zeros((2, 0, 24), np.float32), *keys])
    packed_values, packed_queries = (
        packed([np.zeros((h, 0, d), np.float32), *x])[0] for h, d, x in ((2, 40, values), (6, 24, queries))
    )
    listed.append(sequences, keys, values)
    joined.append(sequences, packed_keys, packed_values, starts=starts[1:])
    assert listed.lengths == joined.lengths
    results = listed.attend(sequences, queries)
    result = joined.attend(sequences, packed_queries, starts=list(starts[1:]))
    assert result.shape == (sum(counts), 6, 40)
    for first, end, want in zip(starts[1:-1], starts[2:], results, strict=True):
        np.testing.assert_array_equal(result[first:end].swapaxes(0, 1), want)


def test_paged_query_without_token_axis_is_the_newest_token(rng):
    words = Words(size=16, value_size=8)
    cache = words.cache(9, 4)
    sequences = [cache.allocate(), cache.allocate()]
    words.append(cache, sequences, [[1, 2, 3], [4, 5, 6, 7, 8]])
    query = normal(rng, 4, 16)
    flat, full = cache.attend(sequences, [query, query[:, None]])
    assert flat.shape == (4, 8)
    assert full.shape == (4, 1, 8)
    np.testing.assert_array_equal(flat, cache.attend(sequences[:1], [query[:, None]])[0][:, 0])
    keys, values = words.of([[9], [10]])
    result = cache.step(sequences, [query, query], keys, values)
    assert [x.shape for x in result] == [(4, 8), (4, 8)]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64], ids=lambda dtype: np.dtype(dtype).name)
def test_paged_other_dtypes_are_the_rounded_float32(rng, dtype):
    words = Words(size=24, value_size=40)
    caches = words.cache(9, 4), words.cache(9, 4), words.cache(9, 4)
    keys = [normal(rng, 2, n, 24, dtype=dtype) for n in (5, 1)]
    values = [normal(rng, 2, n, 40, dtype=dtype) for n in (5, 1)]
    queries = [normal(rng, 4, n, 24, dtype=dtype) for n in (2, 1)]
    plain = [[x.astype(np.float32) for x in arrays] for arrays in (queries, keys, values)]
    for cache in caches:
        sequences = [cache.allocate(), cache.allocate()]
    caches[0].append(sequences, keys, values)
    caches[1].append(sequences, *plain[1:])
    (packed_keys, starts), (packed_values, _) = packed(keys), packed(values)
    caches[2].append(sequences, packed_keys, packed_values, starts=starts)
    want = [x.astype(dtype) for x in caches[1].attend(sequences, plain[0])]
    for cache in caches:
        got = cache.attend(sequences, queries)
        assert [x.dtype for x in got] == [np.dtype(dtype)] * 2
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def views(x):
    """The same numbers in other memory: strided, turned around, read-only, swapped bytes, a column of a record."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    turned = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    fixed = x.copy()
    fixed.flags.writeable = False
    return [wide[..., ::2], turned, x[::-1].copy()[::-1], fixed, x.astype(">f4"), shifted]


def test_paged_any_strides_give_the_same_bits(rng):
    words = Words(size=24, value_size=40)
    queries, keys, values = (normal(rng, h, 5, d) for h, d in ((4, 24), (2, 24), (2, 40)))
    cache = words.cache(30, 3)
    first = cache.allocate()
    (want,) = cache.step([first], [queries], [keys], [values])
    for query, key, value in zip(views(queries), views(keys), views(values), strict=True):
        copies = query.copy(), key.copy(), value.copy()
        second, third = cache.allocate(), cache.allocate()
        a, b = cache.step([second, third], [query] * 2, [key] * 2, [value] * 2)
        for x, y in zip((query, key, value), copies, strict=True):
            np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a, want)
        np.testing.assert_array_equal(b, want)
        cache.free(second)
        result = cache.attend([third], query.swapaxes(0, 1), starts=[0, 5])
        np.testing.assert_array_equal(result.swapaxes(0, 1), want)
        cache.free(third)


def test_paged_out_is_written_and_returned(rng):
    words = Words(size=24, value_size=24)
    cache = words.cache(9, 4)
    sequences = [cache.allocate(), cache.allocate()]
    words.append(cache, sequences, [[1, 2, 3], [4, 5, 6, 7, 8]])
    queries = [normal(rng, 4, 2, 24), normal(rng, 4, 24)]
    fresh = cache.attend(sequences, queries)
    out = [np.full((4, 4, 24), 7.0, np.float32)[:, ::2], np.empty((4, 24), np.float32)]
    result = cache.attend(sequences, queries, out=out)
    assert result is out
    for a, b in zip(out, fresh, strict=True):
        np.testing.assert_array_equal(a, b)
    crossed = [queries[1][:, None].repeat(2, 1), queries[0][:, 0].copy()]
    same = [x.copy() for x in queries]
    assert cache.attend(sequences, same, out=same) is same
    for a, b in zip(same, fresh, strict=True):
        np.testing.assert_array_equal(a, b)
    assert cache.attend(sequences, crossed, out=tuple(crossed))[0] is crossed[0]
    together, starts = packed([queries[0], queries[1][:, None]])
    want = cache.attend(sequences, together, starts=starts)
    for target in (np.empty_like(together), np.empty((3, 4, 48), np.float32)[..., ::2], together):
        assert cache.attend(sequences, together, starts=starts, out=target) is target
        np.testing.assert_array_equal(target, want)


def test_paged_one_thread_equals_many(rng):
    words = Words(size=64, value_size=64)
    cache = words.cache(300, 16)
    sequences = [cache.allocate() for _ in range(3)]
    words.append(cache, sequences, texts_of(rng, [4000, 1, 60]))
    queries = [normal(rng, 8, n, 64) for n in (1, 1, 33)]
    many = cache.attend(sequences, queries)
    with fastcore.num_threads(1):
        one = cache.attend(sequences, queries)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("interleaved", [False, True])
def test_paged_rotary_is_rotation_before_append_and_attend(rng, interleaved):
    rotary = Rotary(interleaved=interleaved, rotary_dim=16)
    words = Words(size=24, value_size=8)
    rotated, plain = words.cache(40, 3, rotary=rotary), words.cache(40, 3)
    assert rotated.rotary == rotary
    sequences = [rotated.allocate() for _ in range(3)]
    assert [plain.allocate() for _ in range(3)] == sequences
    lengths = np.zeros(3, int)
    for counts in ([5, 0, 1], [1, 1, 1], [0, 9, 2]):
        keys, values = words.of(texts_of(rng, counts))
        queries = [normal(rng, 4, count, 24) for count in counts]

        def turn(x, first):
            return rotary_embedding(x, first + np.arange(x.shape[1]), interleaved=interleaved, rotary_dim=16)

        got = rotated.step(sequences, queries, keys, values)
        plain.append(sequences, [turn(x, n) for x, n in zip(keys, lengths)], values)
        want = plain.attend(sequences, [turn(x, n) for x, n in zip(queries, lengths)])
        again = rotated.attend(sequences, queries)
        lengths += counts
        for a, b, c in zip(got, want, again, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
