"""PagedKVCache from 16 threads at once: each method is atomic, so counts and data are exact when all are done."""

import threading
from functools import partial

import numpy as np
import pytest

from fastcore.kvcache import CacheFullError
from tests.kvcache.paged_model import WORDS, Words, assert_attends, assert_counted, interrupted_at

THREADS = 16
PREFIX = list(range(21))


def run_threads(work):
    """work(number) in each thread, begun together; the errors that came out."""
    start, errors = threading.Barrier(THREADS), []

    def body(number):
        try:
            start.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "deadlock"
    assert errors == []


class Worker:
    """Random operations of one thread on sequences of its own, whose pages others share, and what they have to hold."""

    def __init__(self, words, caches, prefixes, number):
        self.words, self.caches, self.prefixes = words, caches, prefixes
        self.rng = np.random.default_rng(number)
        self.texts = {}  # (number of the cache, id) -> words
        self.refused = self.interrupted = 0

    def run(self, rounds):
        operations = [self.allocate, self.fork_prefix, self.append, self.append, self.step, self.fork, self.truncate]
        operations += [self.free, self.transfer, self.attend, self.interrupted_append]
        for _ in range(rounds):
            operation = operations[self.rng.integers(len(operations))]
            try:
                operation()
            except CacheFullError:
                self.refused += 1

    def some(self):
        """Up to three of its sequences in one cache."""
        if not self.texts:
            return 0, []
        keys = list(self.texts)
        number = keys[self.rng.integers(len(keys))][0]
        there = [sequence for of, sequence in keys if of == number]
        return number, self.rng.permutation(there)[:3].tolist()

    def drawn(self, count):
        return self.rng.integers(0, WORDS, count).tolist()

    def allocate(self):
        number = int(self.rng.integers(2))
        self.texts[number, self.caches[number].allocate()] = []

    def fork_prefix(self):
        number = int(self.rng.integers(2))
        self.texts[number, self.caches[number].fork(self.prefixes[number])] = list(PREFIX)

    def append(self):
        number, sequences = self.some()
        texts = [self.drawn(self.rng.integers(0, 6)) for _ in sequences]
        self.words.append(self.caches[number], sequences, texts)
        for sequence, text in zip(sequences, texts):
            self.texts[number, sequence] = self.texts[number, sequence] + text

    def step(self):
        number, sequences = self.some()
        texts = [self.drawn(self.rng.integers(0, 3)) for _ in sequences]
        queries = self.queries([len(text) for text in texts])
        results = self.caches[number].step(sequences, queries, *self.words.of(texts))
        for sequence, text in zip(sequences, texts):
            self.texts[number, sequence] = self.texts[number, sequence] + text
        self.assert_attended(number, sequences, queries, results)

    def interrupted_append(self):
        """With MemoryError anywhere inside it: done in full, or not at all, and all go on."""
        number, sequences = self.some()
        for sequence in sequences[:1]:
            cache, text = self.caches[number], self.drawn(self.rng.integers(1, 6))
            call = partial(self.words.append, cache, [sequence], [text])
            self.interrupted += interrupted_at(int(self.rng.integers(60)), MemoryError("injected"), call)
            if cache.length(sequence) != len(self.texts[number, sequence]):
                self.texts[number, sequence] = self.texts[number, sequence] + text

    def fork(self):
        number, sequences = self.some()
        for sequence in sequences[:1]:
            self.texts[number, self.caches[number].fork(sequence)] = list(self.texts[number, sequence])

    def truncate(self):
        number, sequences = self.some()
        for sequence in sequences[:1]:
            length = int(self.rng.integers(len(self.texts[number, sequence]) + 1))
            self.caches[number].truncate(sequence, length)
            self.texts[number, sequence] = self.texts[number, sequence][:length]

    def free(self):
        number, sequences = self.some()
        for sequence in sequences:
            self.caches[number].free(sequence)
            del self.texts[number, sequence]

    def transfer(self):
        number, sequences = self.some()
        for sequence in sequences[:1]:
            moved = self.caches[number].transfer(sequence, self.caches[1 - number])
            self.texts[1 - number, moved] = self.texts.pop((number, sequence))

    def attend(self):
        number, sequences = self.some()
        counts = [min(2, len(self.texts[number, sequence])) for sequence in sequences]
        queries = self.queries(counts)
        self.assert_attended(number, sequences, queries, self.caches[number].attend(sequences, queries))

    def queries(self, counts):
        return [self.rng.normal(size=(4, count, 5)).astype(np.float32) for count in counts]

    def assert_attended(self, number, sequences, queries, results):
        texts = [self.texts[number, sequence] for sequence in sequences]
        assert_attends(results, self.words, texts, queries)


@pytest.mark.parametrize("pages", [(400, 120), (40, 12)], ids=["roomy", "full"])
def test_paged_caches_shared_by_16_threads_hold_what_each_thread_put_there(pages):
    words = Words()
    caches = words.cache(pages[0], 4), words.cache(pages[1], 16)
    prefixes = [cache.allocate() for cache in caches]
    for cache, prefix in zip(caches, prefixes):
        words.append(cache, [prefix], [PREFIX])
    workers = [Worker(words, caches, prefixes, number) for number in range(THREADS)]
    run_threads(lambda number: workers[number].run(60))
    for number, cache in enumerate(caches):
        texts = {prefixes[number]: PREFIX}
        for worker in workers:
            texts |= {sequence: text for (of, sequence), text in worker.texts.items() if of == number}
        words.assert_stored(cache, texts)
        assert_counted(cache)
    assert sum(worker.interrupted for worker in workers) > 0
    assert (sum(worker.refused for worker in workers) > 0) == (pages[0] == 40)
    for worker in workers:
        for number, sequence in worker.texts:
            caches[number].free(sequence)
    for number, cache in enumerate(caches):
        cache.free(prefixes[number])
        assert cache.stats().free_pages == cache.num_pages


def test_paged_free_of_one_sequence_by_16_threads_succeeds_once():
    words = Words()
    cache = words.cache(20, 4)
    kept = cache.allocate()
    words.append(cache, [kept], [PREFIX])
    for _ in range(20):
        sequence, freed = cache.fork(kept), []

        def free(number, sequence=sequence, freed=freed):
            try:
                cache.free(sequence)
                freed.append(number)
            except ValueError:
                pass

        run_threads(free)
        assert len(freed) == 1
        assert_counted(cache)
    words.assert_stored(cache, {kept: PREFIX})


def test_paged_appends_of_16_threads_to_one_sequence_are_each_whole():
    words = Words()
    cache = words.cache(200, 3)
    sequence = cache.allocate()
    run_threads(lambda number: [words.append(cache, [sequence], [[number] * 4]) for _ in range(5)])
    keys, _ = cache._storage.read(cache.page_table(sequence), np.arange(cache.length(sequence)))
    runs = keys.reshape(words.groups, THREADS * 5, 4, words.size)
    np.testing.assert_array_equal(runs, np.repeat(runs[:, :, :1], 4, axis=2))
    writers = [
        int(np.flatnonzero((words.keys == run[:, None]).all(axis=(0, 2)))[0]) for run in runs[:, :, 0].swapaxes(0, 1)
    ]
    assert sorted(writers) == sorted(list(range(THREADS)) * 5)
    assert_counted(cache)
