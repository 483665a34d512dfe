"""PagedKVCache: every promised error, before anything changes: one line each, with what its message has to say."""

import numpy as np
import pytest

from fastcore.kvcache import Rotary
from fastcore.kvcache.paged import PagedKVCache
from tests.kvcache.paged_model import assert_counted

SIZES = [
    ((0, 4, 2, 8), {}, ValueError, "num_pages must be positive. Got 0"),
    ((4, -1, 2, 8), {}, ValueError, "page_size must be positive. Got -1"),
    ((4, 4, 0, 8), {}, ValueError, "num_kv_heads must be positive"),
    ((4, 4, 2, 0), {}, ValueError, "head_dim must be positive"),
    ((4, 4, 2, 8), {"value_dim": 0}, ValueError, "value_dim must be positive"),
    ((4.0, 4, 2, 8), {}, TypeError, "num_pages must be an integer. Got 4.0"),
    ((4, float("nan"), 2, 8), {}, TypeError, "page_size must be an integer. Got nan"),
    ((4, True, 2, 8), {}, TypeError, "page_size must be an integer. Got True"),
    ((4, 4, 2, 8), {"dtype": "float8"}, ValueError, "dtype must be 'float32' or .* Got 'float8'"),
    ((4, 4, 2, 8), {"dtype": np.float32}, TypeError, "dtype must be"),
    ((4, 4, 2, 8), {"rotary": 10000.0}, TypeError, "rotary must be a fastcore.kvcache.Rotary or None"),
    ((4, 4, 2, 7), {"rotary": Rotary()}, ValueError, "rotary must fit head_dim"),
    ((1 << 40, 1 << 20, 2, 8), {}, ValueError, r"less than 2\*\*47 bytes.*Lower num_pages"),
    ((10**30, 4, 2, 8), {}, ValueError, "num_pages = an integer of 100 bits, page_size = 4"),
]


@pytest.mark.parametrize("sizes, options, error, message", SIZES)
def test_paged_wrong_sizes_raise(sizes, options, error, message):
    with pytest.raises(error, match=message):
        PagedKVCache(*sizes, **options)


def test_paged_without_memory_says_how_much(monkeypatch):
    def no_memory(*arguments):
        raise MemoryError

    monkeypatch.setattr("fastcore.kvcache.paged.Storage", no_memory)
    with pytest.raises(MemoryError, match=r"a cache of 1024 pages of 1024 tokens takes 1\.0 GiB"):
        PagedKVCache(1024, 1024, 8, 16)


def ones(*shape):
    return np.ones(shape, np.float32)


KEY, VALUE, QUERY = ones(2, 1, 8), ones(2, 1, 6), ones(4, 1, 8)
PACKED = ones(3, 2, 8), ones(3, 2, 6)

# sequences, keys, values, starts; 0 has 5 tokens, 1 none, 2 was freed, 3 is none
APPENDS = [
    ([2], [KEY], [VALUE], None, ValueError, "a sequence must be in the cache. Got 2, which was freed or transferred"),
    ([0, 3], [KEY] * 2, [VALUE] * 2, None, ValueError, "Got 3, which no call returned. Call allocate"),
    ([-1], [KEY], [VALUE], None, ValueError, "Got -1, which no call returned"),
    ([10**30], [KEY], [VALUE], None, ValueError, "Got an integer of 100 bits, which no call returned"),
    ([0, 1, 0], [KEY] * 3, [VALUE] * 3, None, ValueError, "sequences must be distinct.*Got 0 more than once"),
    ([0.0], [KEY], [VALUE], None, TypeError, r"sequences\[0\] must be an integer. Got 0.0"),
    ([1, True], [KEY] * 2, [VALUE] * 2, None, TypeError, r"sequences\[1\] must be an integer. Got True"),
    ([float("nan")], [KEY], [VALUE], None, TypeError, r"sequences\[0\] must be an integer. Got nan"),
    (0, [KEY], [VALUE], None, TypeError, "sequences must be a list of ids.*Got int"),
    (None, [KEY], [VALUE], None, TypeError, "sequences must be a list of ids.*Got NoneType"),
    (np.array([0.0]), [KEY], [VALUE], None, TypeError, "sequences must be a list of ids.*Got numpy.ndarray"),
    ([0, 1], [KEY], [VALUE] * 2, None, ValueError, "keys must have one array for each of 2 sequences. Got 1"),
    ([0], [KEY], [], None, ValueError, "values must have one array for each of 1 sequences. Got 0"),
    ([0], KEY, [VALUE], None, TypeError, "keys must be a list of arrays.*with starts one packed array. Got numpy.nd"),
    ([0], [KEY], ones(1, 2, 6), None, TypeError, "values must be a list of arrays"),
    ([0], [ones(3, 1, 8)], [VALUE], None, ValueError, r"keys\[0\] must be \(2, T, 8\): the cache's num_kv_heads, tok"),
    ([0, 1], [KEY, ones(2, 1, 7)], [VALUE] * 2, None, ValueError, r"keys\[1\] must be \(2, T, 8\).*Got \(2, 1, 7\)"),
    ([0, 1], [KEY] * 2, [VALUE, ones(2, 6)], None, ValueError, r"values\[1\] must be \(2, T, 6\): .*value_dim"),
    ([0], [ones(2, 8)], [VALUE], None, ValueError, r"keys\[0\] must be .*Got \(2, 8\)"),
    ([0], [np.float32(1)], [VALUE], None, ValueError, r"keys\[0\] must be .*Got \(\)"),
    ([0, 1], [KEY, ones(2, 3, 8)], [VALUE] * 2, None, ValueError, r"keys\[1\] has 3 tokens and values\[1\] 1; they"),
    ([0], [KEY.astype(int)], [VALUE], None, TypeError, r"keys\[0\] must be float32.*Got int64"),
    ([0, 1], [KEY, KEY.astype(np.int8)], [VALUE] * 2, None, TypeError, r"keys\[1\] must be float32.*Got int8"),
    ([0], [KEY], [np.ma.masked_array(VALUE)], None, TypeError, r"values\[0\] must be a plain array"),
    ([0], [None], [VALUE], None, TypeError, r"keys\[0\] must be an array. Got None"),
    ([0, 1], *PACKED, [0, 1], ValueError, r"starts must have one entry more than sequences, 3.*Got shape \(2,\)"),
    ([0, 1], *PACKED, 3, ValueError, r"starts must have one entry more.*Got shape \(\)"),
    ([0, 1], *PACKED, [0, 2, 2], ValueError, "begin with 0 and end with the tokens of keys, 3. Got 0 and 2"),
    ([0, 1], *PACKED, [1, 2, 3], ValueError, "starts must begin with 0.*Got 1 and 3"),
    ([0, 1], *PACKED, [0, 4, 3], ValueError, "starts must not decrease. Got 4 and then 3, for sequence number 1"),
    ([0, 1], *PACKED, [0, -1, 3], ValueError, "starts must not decrease. Got 0 and then -1"),
    ([0, 1], *PACKED, [0.0, 1.0, 3.0], TypeError, "starts must hold integers. Got float64"),
    ([0, 1], *PACKED, [0, float("nan"), 3], TypeError, "starts must hold integers. Got float64"),
    ([0, 1], *PACKED, [False, True, True], TypeError, "starts must hold integers. Got bool"),
    ([0, 1], *PACKED, [0, None, 3], TypeError, "starts must hold numbers"),
    ([0], [KEY], [VALUE], [0, 1], ValueError, r"keys with starts must be \(tokens, 2, 8\).*Got \(1, 2, 1, 8\)"),
    ([0, 1], [KEY, ones(2, 2, 8)], PACKED[1], [0, 1, 3], TypeError, "keys with starts must be one packed.* Got a list"),
    ([0], PACKED[0], ones(4, 2, 6), [0, 3], ValueError, "keys has 3 tokens and values 4; they must be equal"),
    ([0], ones(3, 1, 8), PACKED[1], [0, 3], ValueError, r"keys with starts must be .*Got \(3, 1, 8\)"),
    ([0], PACKED[0], ones(3, 2, 8), [0, 3], ValueError, r"values with starts must be \(tokens, 2, 6\)"),
]  # fmt: skip


def small_cache():
    cache = PagedKVCache(6, 4, 2, 8, value_dim=6)
    sequences = [cache.allocate() for _ in range(3)]
    cache.append(sequences[:1], [ones(2, 5, 8)], [ones(2, 5, 6)])
    cache.free(sequences[2])
    return cache


def assert_untouched(cache):
    assert cache.lengths == {0: 5, 1: 0}
    assert_counted(cache)


@pytest.mark.parametrize("sequences, keys, values, starts, error, message", APPENDS)
def test_paged_append_of_what_does_not_fit_raises_before_anything_changes(
    sequences, keys, values, starts, error, message
):
    cache = small_cache()
    with pytest.raises(error, match=message):
        cache.append(sequences, keys, values, starts=starts)
    assert_untouched(cache)


ATTENDS = [
    ([2], [QUERY], {}, ValueError, "Got 2, which was freed or transferred"),
    ([1], [QUERY], {}, ValueError, "queries of sequence 1 are 1, whose keys.* Got 0 tokens in it"),
    ([0], [ones(4, 6, 8)], {}, ValueError, "queries of sequence 0 are 6, .* Got 5 tokens in it. Append them first"),
    ([1], [ones(4, 8)], {}, ValueError, "queries of sequence 1 are 1"),
    (
        [0, 0],
        [QUERY, ones(2, 1, 8)],
        {},
        ValueError,
        r"the same heads. Got 4 in .*, 2 in queries\[1",
    ),
    ([0], [ones(3, 1, 8)], {}, ValueError, "queries have 3 heads; they must be a positive multiple.*num_kv_heads, 2"),
    ([0], [ones(0, 1, 8)], {}, ValueError, "queries have 0 heads"),
    ([0], [ones(4, 1, 7)], {}, ValueError, r"queries\[0\] must be \(H, T, D\) or \(H, D\).*D = 8. Got \(4, 1, 7\)"),
    ([0], [ones(1, 4, 1, 8)], {}, ValueError, r"queries\[0\] must be"),
    ([0], [ones(8)], {}, ValueError, r"queries\[0\] must be"),
    ([0], QUERY, {}, TypeError, "queries must be a list of arrays"),
    ([0], [QUERY.astype(int)], {}, TypeError, r"queries\[0\] must be float32.*Got int64"),
    ([0, 1], [QUERY], {}, ValueError, "queries must have one array for each of 2 sequences. Got 1"),
    ([0], ones(3, 4, 8), {"starts": [0, 2]}, ValueError, "end with the tokens of queries, 3. Got 0 and 2"),
    ([0], ones(3, 4, 7), {"starts": [0, 3]}, ValueError, r"queries with starts must be \(tokens, H, D\)"),
    ([0], ones(3, 5, 8), {"starts": [0, 3]}, ValueError, "queries have 5 heads"),
    ([0], [QUERY], {"scale": float("nan")}, ValueError, "scale must be finite"),
    ([0], [QUERY], {"softcap": 0.0}, ValueError, "softcap must be positive"),
    ([0], [QUERY], {"scale": 1e39}, ValueError, "scale must lie .* float32's range"),
    ([0], [QUERY], {"softcap": 1e39}, ValueError, "softcap must lie .* float32's range"),
    ([0, 0], [QUERY, ones(4, 2, 8)], {"starts": [0, 1, 3]}, TypeError, "queries with starts must be one packed array"),
    ([0], [QUERY], {"is_causal": 1}, TypeError, "is_causal must be True or False"),
    ([0], [QUERY], {"out": ones(4, 1, 6)}, TypeError, "out must be a list of arrays"),
    ([0], [QUERY], {"out": []}, ValueError, "out must have one array for each of 1 sequences"),
    ([0], [QUERY], {"out": [ones(4, 1, 8)]}, ValueError, r"out\[0\] must have the shape of the result, \(4, 1, 6\)"),
    ([0], [QUERY], {"out": [np.ones((4, 1, 6))]}, TypeError, r"out\[0\] must have the dtype of the result, float32"),
    ([0], ones(2, 4, 8), {"starts": [0, 2], "out": ones(4, 2, 6)}, ValueError, r"out must have the shape.*\(2, 4, 6\)"),
]


@pytest.mark.parametrize("sequences, queries, options, error, message", ATTENDS)
def test_paged_attend_of_what_does_not_fit_raises(sequences, queries, options, error, message):
    cache = small_cache()
    with pytest.raises(error, match=message):
        cache.attend(sequences, queries, **options)
    assert_untouched(cache)


@pytest.mark.parametrize("sequences, queries, options, error, message", ATTENDS[4:])
def test_paged_step_of_what_does_not_fit_raises_before_anything_changes(sequences, queries, options, error, message):
    cache, starts = small_cache(), options.get("starts")
    if starts is None:
        keys, values = [ones(2, 1, 8) for _ in sequences], [ones(2, 1, 6) for _ in sequences]
    else:
        keys, values = ones(starts[-1], 2, 8), ones(starts[-1], 2, 6)
    sequences = [0, 1][: len(sequences)]
    with pytest.raises(error, match=message):
        cache.step(sequences, queries, keys, values, **options)
    assert_untouched(cache)


def test_paged_step_with_other_numbers_of_queries_and_keys_raises():
    cache = small_cache()
    with pytest.raises(ValueError, match="queries of sequence 1 are 2 and its keys 1; they must be equal in a step"):
        cache.step([0, 1], [QUERY, ones(4, 2, 8)], [KEY] * 2, [VALUE] * 2)
    with pytest.raises(ValueError, match="sequences must be distinct"):
        cache.step([0, 0], [QUERY] * 2, [KEY] * 2, [VALUE] * 2)
    assert_untouched(cache)


CALLS = [
    (lambda cache: cache.free(2), ValueError, "Got 2, which was freed"),
    (lambda cache: cache.free(7), ValueError, "Got 7, which no call returned"),
    (lambda cache: cache.free(None), TypeError, "sequence must be an integer. Got None"),
    (lambda cache: cache.free(False), TypeError, "sequence must be an integer. Got False"),
    (lambda cache: cache.fork(2), ValueError, "Got 2, which was freed"),
    (lambda cache: cache.fork(0.5), TypeError, "sequence must be an integer. Got 0.5"),
    (lambda cache: cache.length(2), ValueError, "Got 2, which was freed"),
    (lambda cache: cache.page_table(2), ValueError, "Got 2, which was freed"),
    (lambda cache: cache.truncate(2, 0), ValueError, "Got 2, which was freed"),
    (
        lambda cache: cache.truncate(0, 6),
        ValueError,
        "only shortens. Got 6 for sequence 0, which has 5 tokens",
    ),
    (lambda cache: cache.truncate(0, -1), ValueError, "length must lie in 0 .. the sequence's length.*Got -1"),
    (lambda cache: cache.truncate(0, float("nan")), TypeError, "length must be an integer. Got nan"),
    (lambda cache: cache.truncate(0, 1 << 5000), ValueError, "Got an integer of 5001 bits for sequence 0"),
    (lambda cache: cache.length([0] * 10000), TypeError, r"sequence must be an integer. Got list\.$"),
    (lambda cache: cache.truncate(0, None), TypeError, "length must be an integer. Got None"),
    (lambda cache: cache.transfer(2, PagedKVCache(6, 4, 2, 8, value_dim=6)), ValueError, "Got 2, which was freed"),
]


@pytest.mark.parametrize("call, error, message", CALLS)
def test_paged_call_with_what_is_not_there_raises(call, error, message):
    cache = small_cache()
    with pytest.raises(error, match=message):
        call(cache)
    assert_untouched(cache)
