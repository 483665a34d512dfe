"""KVCache: beams change places, failures change nothing, threads see whole calls."""

import threading

import numpy as np
import pytest

from fastcore.kvcache import CacheFullError, KVCache
from fastcore.kvcache.attend import Reader
from fastcore.kvcache.storage import Storage
from tests.kvcache.contiguous_model import FORMATS, assert_attends, draw, pair


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    "indices", [[3, 2, 1, 0], [0, 0, 0, 0], [1, 1, 3, 3], [2, 0, 1, 1], [0, 1, 2, 3], [3, 3, 0, 3]]
)
def test_kv_cache_reorder_follows_the_beams(rng, dtype, indices):
    cache, model = pair(4, 2, 30, 20, 12, dtype=dtype)
    for lengths in ([5, 0, 2, 4], [1, 1, 1, 1], [3, 5, 0, 1]):
        key, value = draw(rng, 4, 2, 5, 20, 12)
        cache.append(key, value, lengths=lengths)
        model.append(key, value, lengths)
        cache.reorder(indices)
        model.reorder(indices)
        np.testing.assert_array_equal(cache.lengths, model.lengths)
        (query,) = draw(rng, 4, 2, 3, 20)
        newest = np.minimum(model.lengths, 3)
        assert_attends(cache.attend(query, lengths=newest), model, query, newest)


def test_kv_cache_reorder_copies_repeated_sequences_only(rng, monkeypatch):
    copies = []
    monkeypatch.setattr(Storage, "copy_slots", lambda self, table, *rest: copies.append((int(table[0]), rest[-1])))
    cache = KVCache(4, 1, 1000, 4)
    cache.append(*draw(rng, 4, 1, 7, 4, 4))
    for indices in ([3, 2, 1, 0], [0, 1, 2, 3], [1, 2, 3, 0]):
        cache.reorder(indices)
    assert copies == []
    cache.reset()
    cache.append(*draw(rng, 4, 1, 7, 4, 4), lengths=[3, 5, 6, 7])
    page = int(cache._slots[2])
    cache.reorder([2, 2, 0, 2])
    assert copies == [(page, 6), (page, 6)]


def contents(cache, query):
    """All there is to see of a cache: lengths, the rows of each sequence, and what its newest tokens attend."""
    rows = [x.copy() for _, x in cache._rows_in_use(cache._lengths)]
    counts = np.minimum(cache.lengths, query.shape[2])
    if cache.window is not None:
        counts = np.minimum(counts, 1)
    return [cache.lengths, cache.attend(query, lengths=counts), *rows]


def assert_same(before, after):
    for x, y in zip(before, after, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_kv_cache_failed_copy_of_reorder_loses_nothing(rng, monkeypatch, failing, halfway, error):
    cache = KVCache(4, 2, 9, 12, dtype="int8")
    cache.append(*draw(rng, 4, 2, 7, 12, 12), lengths=[4, 5, 7, 0])
    cache.reorder([1, 0, 3, 2])
    (query,) = draw(rng, 4, 2, 3, 12)
    before, copy, calls = contents(cache, query), Storage.copy_slots, []

    def copy_slots(self, *arguments):
        calls.append(arguments)
        if len(calls) - 1 < failing or halfway:
            copy(self, *arguments)
        if len(calls) - 1 == failing:
            raise error

    monkeypatch.setattr(Storage, "copy_slots", copy_slots)
    with pytest.raises(error):
        cache.reorder([3, 3, 3, 1])
    assert_same(before, contents(cache, query))
    monkeypatch.undo()
    cache.reorder([3, 3, 3, 1])
    np.testing.assert_array_equal(cache.lengths, [7, 7, 7, 4])


# --- all or nothing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["write", "attend"])
def test_kv_cache_failed_step_changes_nothing(rng, monkeypatch, where, error):
    cache = KVCache(2, 2, 9, 8, dtype="float16")
    cache.append(*draw(rng, 2, 2, 5, 8, 8), lengths=[5, 2])
    query, key, value = draw(rng, 2, 2, 3, 8, 8, 8)
    before = contents(cache, query)

    def fail(*arguments, **options):
        raise error

    if where == "write":
        monkeypatch.setattr(Storage, "write_arrays", fail)
    else:
        monkeypatch.setattr(Reader, "attend", fail)
    with pytest.raises(error):
        cache.step(query, key, value)
    monkeypatch.undo()
    assert_same(before, contents(cache, query))


def test_kv_cache_full_raises_and_changes_nothing(rng):
    cache = KVCache(2, 1, 6, 8)
    key, value, query = draw(rng, 2, 1, 5, 8, 8, 8)
    cache.append(key, value, lengths=[2, 5])
    before = contents(cache, query)
    for call in (lambda: cache.append(key, value), lambda: cache.step(query, key, value, lengths=[0, 2])):
        with pytest.raises(CacheFullError, match=r"the cache is full: sequence [01] has [25] tokens and would get 7"):
            call()
    assert_same(before, contents(cache, query))
    cache.append(key, value, lengths=[4, 1])
    np.testing.assert_array_equal(cache.lengths, [6, 6])


# --- threads ----------------------------------------------------------------------------------------------------------


def run_threads(work, count=16):
    errors = []

    def guarded(i):
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_kv_cache_methods_are_atomic_from_16_threads():
    """Each token says who wrote it; whole calls follow each other, so all sequences and heads tell one story."""
    rounds, tokens = 12, 3
    cache = KVCache(2, 2, 16 * rounds * tokens, 8, value_dim=4)

    def work(i):
        for j in range(rounds):
            key = np.full((2, 2, tokens, 8), i, np.float32)
            value = np.full((2, 2, tokens, 4), j, np.float32) + np.arange(tokens, dtype=np.float32)[:, None] / 4
            result = cache.step(np.zeros((2, 2, tokens, 8), np.float32), key, value)
            assert np.isfinite(result).all()
            assert len(set(cache.lengths.tolist())) == 1

    run_threads(work)
    assert cache.lengths.tolist() == [16 * rounds * tokens] * 2
    keys, values = cache.arrays["keys"][..., 0], cache.arrays["values"][..., 0]
    for x in (keys, values):
        assert (x == x[0, 0]).all()
    writers, story = keys[0, 0].reshape(-1, tokens), values[0, 0].reshape(-1, tokens)
    assert (writers == writers[:, :1]).all()
    for i in range(16):
        np.testing.assert_array_equal(story[writers[:, 0] == i], np.arange(rounds)[:, None] + np.arange(tokens) / 4)


def test_kv_cache_threads_that_mix_all_methods_leave_a_whole_cache(tmp_path):
    """All values are 1, so that whatever order the calls take, each attention that is not refused is 1."""
    cache = KVCache(3, 1, 40, 4, dtype="int8")
    one = np.ones((3, 1, 2, 4), np.float32)
    cache.append(one, one)
    refused = []

    def work(i):
        for j in range(15):
            try:
                if i % 5 == 0:
                    cache.reorder([(j + b * i) % 3 for b in range(3)])
                elif i % 5 == 1:
                    cache.truncate(2)
                elif i % 5 == 2:
                    np.testing.assert_allclose(cache.attend(one), 1.0, rtol=1e-6)
                elif i % 5 == 3:
                    np.testing.assert_allclose(cache.step(one, one, one), 1.0, rtol=1e-6)
                else:
                    cache.save(tmp_path / f"{i}")
                    np.testing.assert_allclose(KVCache.load(tmp_path / f"{i}").attend(one), 1.0, rtol=1e-6)
            except CacheFullError as error:
                refused.append(error)

    run_threads(work)
    assert sorted(cache._slots.tolist()) == [0, 1, 2]
    assert set(cache.lengths.tolist()) <= set(range(2, 41, 2))
    np.testing.assert_allclose(cache.attend(one), 1.0, rtol=1e-6)
