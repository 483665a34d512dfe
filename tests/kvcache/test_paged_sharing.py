"""PagedKVCache: sharing of pages, copy on write, full caches, and what can be read of it."""

import numpy as np
import pytest

from fastcore.kvcache import CacheFullError
from fastcore.kvcache.paged import PagedKVCache
from tests.kvcache.paged_model import Words, assert_attends, assert_counted, normal

PAGE_SIZES = [1, 3, 16, 64]


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_paged_fork_shares_pages_and_copies_the_last_on_append(page_size):
    words = Words()
    cache = words.cache(150, page_size)
    first = cache.allocate()
    words.append(cache, [first], [list(range(33))])
    second = cache.fork(first)
    used = cache.stats().used_pages
    np.testing.assert_array_equal(cache.page_table(first), cache.page_table(second))
    assert cache.stats().shared_pages == used == -(-33 // page_size)
    words.append(cache, [second], [[50]])
    assert cache.stats().used_pages == used + 1
    assert cache.stats().shared_pages == 33 // page_size
    words.append(cache, [first], [[60, 61]])
    words.assert_stored(cache, {first: [*range(33), 60, 61], second: [*range(33), 50]})
    assert_counted(cache)
    cache.free(first)
    words.assert_stored(cache, {second: [*range(33), 50]})
    assert cache.stats().shared_pages == 0


def test_paged_forks_that_append_together_leave_one_on_the_shared_page():
    words = Words()
    cache = words.cache(6, 4)
    first = cache.allocate()
    words.append(cache, [first], [[0, 1, 2, 3, 4, 5]])
    beams = [first, *(cache.fork(first) for _ in range(3))]
    cache.truncate(beams[2], 5)
    words.append(cache, beams, [[10], [11], [12], [13]])
    assert cache.stats().used_pages == 5
    texts = {s: [*range(6), 10 + i] for i, s in enumerate(beams)} | {beams[2]: [*range(5), 12]}
    words.assert_stored(cache, texts)
    assert_counted(cache)


def test_paged_truncate_into_a_shared_page_then_append_copies_it():
    words = Words()
    cache = words.cache(12, 4)
    first = cache.allocate()
    words.append(cache, [first], [list(range(10))])
    second = cache.fork(first)
    cache.truncate(second, 6)
    words.append(cache, [second], [[70, 71, 72]])
    cache.truncate(first, 9)
    words.append(cache, [first], [[80]])
    words.assert_stored(cache, {first: [*range(9), 80], second: [*range(6), 70, 71, 72]})
    assert_counted(cache)


def test_paged_truncate_to_a_full_shared_page_needs_no_copy():
    words = Words()
    cache = words.cache(4, 4)
    first = cache.allocate()
    words.append(cache, [first], [list(range(10))])
    second = cache.fork(first)
    cache.truncate(second, 4)
    words.append(cache, [second], [[70]])
    assert cache.stats().free_pages == 0
    words.assert_stored(cache, {first: list(range(10)), second: [0, 1, 2, 3, 70]})


def test_paged_stale_rows_of_a_page_are_never_seen(rng):
    words = Words(size=24, value_size=40)
    cache = words.cache(3, 16)
    broken = cache.allocate()
    cache.append([broken], [np.full((2, 48, 24), np.nan, np.float32)], [np.full((2, 48, 40), np.inf, np.float32)])
    cache.free(broken)
    sequence, text = cache.allocate(), list(range(19))
    words.append(cache, [sequence], [text])
    for new in (1, 19):
        query = normal(rng, 4, new, 24)
        assert_attends(cache.attend([sequence], [query]), words, [text], [query])


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_paged_full_cache_raises_and_leaves_everything(page_size):
    words = Words()
    cache = words.cache(3, page_size)
    first, second = cache.allocate(), cache.allocate()
    text = list(range(2 * page_size))
    words.append(cache, [first], [text])
    for call in (
        lambda: words.append(cache, [second, first], [[5], [6]]),
        lambda: words.append(cache, [second], [list(range(page_size + 1))]),
        lambda: cache.step([first], [np.ones((2, 2 * page_size, 5), np.float32)], *words.of([text])),
    ):
        with pytest.raises(CacheFullError, match=f"Needed 2 of {page_size} tokens, free 1 of 3"):
            call()
        words.assert_stored(cache, {first: text, second: []})
        assert_counted(cache)
    words.append(cache, [second], [list(range(page_size))])
    cache.free(first)
    words.append(cache, [second], [list(range(2 * page_size))])
    assert cache.stats().free_pages == 0


def test_paged_full_cache_raises_where_a_page_has_to_be_copied():
    words = Words()
    cache = words.cache(2, 4)
    first = cache.allocate()
    words.append(cache, [first], [[0, 1, 2, 3, 4]])
    second = cache.fork(first)
    with pytest.raises(CacheFullError, match="Needed 1 of 4 tokens, free 0 of 2"):
        words.append(cache, [second], [[9]])
    with pytest.raises(CacheFullError):
        words.append(cache, [first, second], [[9], [8]])
    words.assert_stored(cache, {first: [0, 1, 2, 3, 4], second: [0, 1, 2, 3, 4]})
    cache.free(first)
    words.append(cache, [second], [[9]])
    words.assert_stored(cache, {second: [0, 1, 2, 3, 4, 9]})


def test_paged_long_sequence_grows_token_by_token():
    words = Words()
    cache = words.cache(100, 2)
    sequence, other = cache.allocate(), cache.allocate()
    for i in range(99):
        words.append(cache, [sequence, other], [[i], [200 - i] if i % 3 == 0 else []])
    words.assert_stored(cache, {sequence: list(range(99)), other: list(range(200, 101, -3))})
    assert_counted(cache)


def test_paged_ids_are_never_given_again():
    cache = PagedKVCache(2, 4, 1, 8)
    given = []
    for _ in range(5):
        given += [cache.allocate(), cache.fork(given[-1] if given else cache.allocate())]
        cache.free(given[-2])
    assert len(set(given)) == len(given)


def test_paged_what_it_is():
    cache = PagedKVCache(10, 4, 2, 8, value_dim=6, dtype="int8")
    sequence = cache.allocate()
    cache.append([sequence], [np.ones((2, 5, 8), np.float32)], [np.ones((2, 5, 6), np.float32)])
    fork = cache.fork(sequence)
    assert (cache.num_pages, cache.page_size, cache.num_kv_heads, cache.head_dim, cache.value_dim) == (10, 4, 2, 8, 6)
    assert cache.dtype == "int8"
    assert cache.rotary is None
    assert cache.nbytes == 10 * 4 * 2 * (16 + 16 + 4 + 4)
    assert cache.sequences == (sequence, fork)
    assert cache.lengths == {sequence: 5, fork: 5}
    assert cache.length(np.int64(sequence)) == 5
    assert cache.stats() == (10, 4, 8, 2, 2, 2, 10, cache.nbytes)
    assert repr(cache) == (
        "PagedKVCache(num_pages=10, page_size=4, num_kv_heads=2, head_dim=8, value_dim=6, dtype='int8':"
        " 2 sequences, 8 free pages)"
    )
    table = cache.page_table(sequence)
    table[:] = 99
    np.testing.assert_array_equal(cache.page_table(sequence), [0, 1])
    cache.lengths.clear()
    assert cache.length(fork) == 5


def test_paged_nothing_asked_gives_nothing():
    cache = PagedKVCache(2, 4, 2, 8)
    cache.append([], [], [])
    assert cache.attend([], []) == []
    assert cache.step([], [], [], []) == []
    empty = np.zeros((0, 2, 8), np.float32)
    cache.append([], empty, empty, starts=[0])
    assert cache.attend((), empty, starts=np.array([0])).shape == (0, 2, 8)
    sequence = cache.allocate()
    none = np.zeros((2, 0, 8), np.float32)
    assert cache.step([sequence], [none], [none], [none])[0].shape == (2, 0, 8)
    assert cache.lengths == {sequence: 0}
    assert_counted(cache)


def test_paged_sequences_may_be_any_list_of_integers():
    words = Words()
    cache = words.cache(9, 4)
    sequences = [cache.allocate() for _ in range(3)]
    for ids in (sequences, tuple(sequences), np.array(sequences), np.array(sequences, np.uint8), range(3)):
        words.append(cache, ids, [[1], [2], [3]])
    words.append(cache, [np.int32(2), 0], [[4], [5]])
    assert cache.lengths == {0: 6, 1: 5, 2: 6}


def test_paged_one_query_of_a_sequence_twice_is_allowed(rng):
    words = Words()
    cache = words.cache(9, 4)
    sequence = cache.allocate()
    words.append(cache, [sequence], [[1, 2, 3]])
    queries = [normal(rng, 2, 1, 5), normal(rng, 2, 3, 5)]
    assert_attends(cache.attend([sequence] * 2, queries), words, [[1, 2, 3]] * 2, queries)
