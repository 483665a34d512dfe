"""PagedKVCache.transfer and what all changes have in common: whatever is raised and wherever, nothing is half done."""

import threading

import numpy as np
import pytest

from fastcore.kvcache import CacheFullError, KVCache, Rotary
from fastcore.kvcache.paged import PagedKVCache
from fastcore.kvcache.pages import PagePool
from fastcore.kvcache.storage import Storage
from tests.kvcache.paged_model import Words, assert_counted, interrupted_at

TEXT = list(range(23))
WORDS = Words()


def filled(words=WORDS, page_size=4, num_pages=20):
    """A cache with a sequence of 23 words, a fork of it, one of 5 words that shares 4 of them, and an empty one."""
    cache = words.cache(num_pages, page_size)
    first = cache.allocate()
    words.append(cache, [first], [TEXT])
    second, third = cache.fork(first), cache.fork(first)
    cache.truncate(third, 4)
    words.append(cache, [third], [[100]])
    return cache, {first: TEXT, second: TEXT, third: [*TEXT[:4], 100], cache.allocate(): []}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize("page_sizes", [(4, 4), (1, 64), (64, 1), (3, 16), (16, 3)], ids=str)
def test_transfer_moves_the_stored_bytes(dtype, page_sizes):
    words = Words(size=37, value_size=33, dtype=dtype)
    source, texts = filled(words, page_sizes[0], 60)
    target = words.cache(60, page_sizes[1])
    others = {target.allocate(): [7, 8]}
    words.append(target, list(others), others.values())
    moved = {}
    for sequence in [1, 3, 0]:
        moved[source.transfer(sequence, target)] = texts.pop(sequence)
        words.assert_stored(source, texts)
        words.assert_stored(target, others | moved)
        assert_counted(source)
        assert_counted(target)


def test_transfer_there_and_back_gives_new_ids():
    source, texts = filled()
    target = WORDS.cache(8, 3)
    there = source.transfer(0, target)
    back = target.transfer(there, source)
    assert back not in texts
    texts[back] = texts.pop(0)
    WORDS.assert_stored(source, texts)
    for cache, gone in ((source, 0), (target, there)):
        with pytest.raises(ValueError, match=f"Got {gone}, which was freed or transferred"):
            cache.length(gone)


def test_transfer_then_append_and_attend_go_on(rng):
    source, _ = filled()
    target = WORDS.cache(8, 16)
    moved = source.transfer(1, target)
    query = rng.normal(size=(4, 1, 5)).astype(np.float32)
    keys, values = WORDS.of([[50]])
    np.testing.assert_array_equal(
        target.step([moved], [query], keys, values)[0], source.step([0], [query], keys, values)[0]
    )


def test_transfer_to_a_cache_without_room_changes_nothing():
    source, texts = filled()
    target = WORDS.cache(3, 7)
    with pytest.raises(CacheFullError, match=r"^other has too few free pages\. Needed 4 of 7 tokens, free 3 of 3"):
        source.transfer(0, target)
    WORDS.assert_stored(source, texts)
    assert target.sequences == ()
    assert_counted(source)
    assert_counted(target)


OTHERS = [
    (lambda cache: cache, ValueError, "other must be another cache.*Call fork"),
    (lambda cache: None, TypeError, "other must be a PagedKVCache. Got NoneType"),
    (lambda cache: KVCache(1, 2, 8, 5), TypeError, "other must be a PagedKVCache. Got .*KVCache"),
    (lambda cache: PagedKVCache(9, 4, 3, 5, value_dim=3), ValueError, "same num_kv_heads.*Got 2 and 3"),
    (lambda cache: PagedKVCache(9, 4, 2, 6, value_dim=3), ValueError, "same head_dim.*Got 5 and 6"),
    (lambda cache: PagedKVCache(9, 4, 2, 5), ValueError, "same value_dim.*Got 3 and 5"),
    (lambda cache: PagedKVCache(9, 4, 2, 5, value_dim=3, dtype="int8"), ValueError, "same dtype.*Got float32 and int8"),
    (lambda cache: PagedKVCache(9, 4, 2, 5, value_dim=3, rotary=Rotary(rotary_dim=4)), ValueError, "same rotary"),
]


@pytest.mark.parametrize("make, error, message", OTHERS)
def test_transfer_to_what_stores_differently_raises(make, error, message):
    cache, texts = filled()
    with pytest.raises(error, match=message):
        cache.transfer(0, make(cache))
    WORDS.assert_stored(cache, texts)
    assert_counted(cache)


# --- failures ---------------------------------------------------------------------------------------------------------

KEYS, VALUES = WORDS.of([[30, 31, 32, 33, 34], [], [40], [50] * 5])
QUERIES = [np.ones((2, n, 5), np.float32) for n in (5, 0, 1, 5)]

# Each changes a filled cache `a`, or moves between it and `b`.
CHANGES = {
    "allocate": lambda a, b: a.allocate(),
    "append": lambda a, b: a.append([0, 3, 1, 2], KEYS, VALUES),
    "step": lambda a, b: a.step([0, 3, 1, 2], QUERIES, KEYS, VALUES),
    "fork": lambda a, b: a.fork(0),
    "truncate": lambda a, b: a.truncate(2, 1),
    "truncate_pages": lambda a, b: a.truncate(0, 3),
    "free": lambda a, b: a.free(2),
    "free_shared": lambda a, b: a.free(1),
    "transfer": lambda a, b: a.transfer(0, b),
    "transfer_own_page": lambda a, b: a.transfer(2, b),
    "transfer_here": lambda a, b: b.transfer(1, a),
}


def pair_of_caches():
    source, _ = filled()
    target, _ = filled(page_size=3, num_pages=24)
    return source, target


def state_of(caches):
    """All that can be seen of caches: lengths, rows, and which pages are shared; not the numbers of pages and ids."""
    state = []
    for cache in caches:
        assert_counted(cache)
        contents = []
        for length, table in ((cache.length(s), cache.page_table(s)) for s in cache.sequences):
            rows = [x.tobytes() for x in cache._storage.read(table, np.arange(length))]
            contents.append((length, rows, cache._pool.owners[table].tolist()))
        state.append(sorted(contents))
    return state


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=repr)
def test_change_interrupted_at_any_call_is_whole_or_not_at_all(name, error):
    caches = pair_of_caches()
    before = state_of(caches)
    CHANGES[name](*caches)
    after = state_of(caches)
    seen, number = [], 0
    while True:
        caches = pair_of_caches()
        if not interrupted_at(number, error, lambda: CHANGES[name](*caches)):  # noqa: B023
            break
        state = state_of(caches)
        assert state in (before, after), number
        seen.append(state == after)
        number += 1
    assert seen == sorted(seen)  # not at all up to some point, whole from there on
    assert seen.count(False) > 3
    assert state_of(caches) == after


PLACES = [
    (Storage, "write_arrays"), (Storage, "copy_page"), (Storage, "copy_slots"), (PagePool, "take"), (PagePool, "share"),
    (PagePool, "release"),
]  # fmt: skip


@pytest.mark.parametrize("late", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("name", CHANGES)
def test_change_with_a_failing_part_leaves_everything_as_it_was(monkeypatch, name, late):
    """Each part fails at its k-th call, for all k, before or behind its work: the error comes out, nothing changed."""
    failures = 0
    for owner, method in PLACES:
        for number in range(10):
            caches = pair_of_caches()
            before, calls, original = state_of(caches), iter(range(100)), getattr(owner, method)

            def failing(*arguments, original=original, calls=calls, number=number):
                fails = next(calls) == number
                if fails and not late:
                    raise RuntimeError("injected")
                result = original(*arguments)
                if fails:
                    raise RuntimeError("injected")
                return result

            with monkeypatch.context() as patch:
                patch.setattr(owner, method, failing)
                try:
                    CHANGES[name](*caches)
                except RuntimeError:
                    failures += 1
                else:
                    break
            assert state_of(caches) == before
    assert failures or name in ("allocate", "truncate")


@pytest.mark.parametrize("name", CHANGES)
def test_change_whose_repair_fails_too_is_settled_by_the_next_call(monkeypatch, name):
    caches = pair_of_caches()
    before = state_of(caches)
    CHANGES[name](*caches)
    after = state_of(caches)

    def failing(*arguments):
        raise MemoryError

    for number in range(2000):
        caches = pair_of_caches()
        with monkeypatch.context() as patch:
            patch.setattr(PagePool, "recount", failing)
            try:
                if not interrupted_at(number, KeyboardInterrupt(), lambda: CHANGES[name](*caches)):  # noqa: B023
                    break
            except MemoryError:
                pass
            for cache in caches:
                if cache._open is not None:
                    with pytest.raises(MemoryError):
                        cache.stats()
        assert state_of(caches) in (before, after)
    else:
        pytest.fail("never ran through")


def test_change_after_a_failure_works_again(monkeypatch):
    cache, texts = filled()
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write_arrays", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            WORDS.append(cache, [0, 1], [[60], [61]])
    WORDS.append(cache, [0, 1], [[60], [61]])
    WORDS.assert_stored(cache, texts | {0: [*TEXT, 60], 1: [*TEXT, 61]})
    assert_counted(cache)


def test_append_by_all_owners_of_a_page_that_fails_behind_its_writes_harms_none(monkeypatch):
    """The longest owner keeps the page: what it writes there lies behind what the shorter one and itself show."""
    cache, original = WORDS.cache(20, 4), Storage.write_arrays
    longer = cache.allocate()
    WORDS.append(cache, [longer], [TEXT[:7]])
    shorter = cache.fork(longer)
    cache.truncate(shorter, 5)
    for sequences in ([longer, shorter], [shorter, longer]):
        with monkeypatch.context() as patch:
            patch.setattr(Storage, "write_arrays", lambda *arguments: (original(*arguments), 1 / 0))
            with pytest.raises(ZeroDivisionError):
                WORDS.append(cache, sequences, [[60, 61], [62, 63]])
        WORDS.assert_stored(cache, {longer: TEXT[:7], shorter: TEXT[:5]})
        assert_counted(cache)


def test_step_whose_attention_fails_appends_nothing(monkeypatch):
    cache, texts = filled()
    with monkeypatch.context() as patch:
        patch.setattr("fastcore.kvcache.attend.Reader.attend", lambda *arguments, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cache.step([0, 3, 1, 2], QUERIES, KEYS, VALUES)
    WORDS.assert_stored(cache, texts)
    assert_counted(cache)


# --- threads ----------------------------------------------------------------------------------------------------------


def test_transfer_in_opposite_directions_from_two_threads_does_not_deadlock():
    caches = WORDS.cache(40, 4), WORDS.cache(40, 3)
    errors = []

    def shuttle(here, there):
        try:
            sequence = here.allocate()
            WORDS.append(here, [sequence], [TEXT])
            for _ in range(200):
                sequence = here.transfer(sequence, there)
                sequence = there.transfer(sequence, here)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=shuttle, args=caches[:: 1 if i % 2 else -1], daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors
    for cache in caches:
        assert_counted(cache)
        WORDS.assert_stored(cache, dict.fromkeys(cache.sequences, TEXT))
        assert len(cache.sequences) == 2


def test_transfer_of_one_sequence_by_16_threads_succeeds_once():
    source, texts = filled()
    targets = [WORDS.cache(8, 4) for _ in range(4)]
    start, results = threading.Barrier(16), []

    def race(number):
        start.wait()
        try:
            results.append(source.transfer(0, targets[number % 4]))
        except ValueError:
            results.append(None)

    threads = [threading.Thread(target=race, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [0, *[None] * 15]
    assert sum(len(target.sequences) for target in targets) == 1
    del texts[0]
    WORDS.assert_stored(source, texts)
    for cache in (source, *targets):
        assert_counted(cache)


def test_nested_call_from_a_finalizer_is_refused():
    cache, texts = filled()
    seen = []

    def nested():
        for call in (cache.stats, cache.allocate, lambda: cache.free(0), lambda: cache.transfer(0, WORDS.cache(9, 4))):
            with pytest.raises(RuntimeError, match="in the middle of a call of this thread"):
                call()
            seen.append(call)

    original = Storage.write_arrays
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "write_arrays", lambda *arguments: (nested(), original(*arguments)))
        WORDS.append(cache, [0], [[77]])
    assert len(seen) == 4
    WORDS.assert_stored(cache, texts | {0: [*TEXT, 77]})
    assert_counted(cache)
