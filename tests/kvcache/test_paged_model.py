"""PagedKVCache against the plain model after any sequence of operations and injected failures."""

import contextlib

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastcore.kvcache import CacheFullError
from fastcore.kvcache.pages import PagePool
from fastcore.kvcache.storage import Storage
from tests.kvcache.paged_model import WORDS, Model, Words, assert_attends

PLACES = [
    (Storage, "write_arrays"), (Storage, "copy_page"), (Storage, "copy_slots"), (PagePool, "take"), (PagePool, "share"),
    (PagePool, "release"),
]  # fmt: skip

# Mostly none: what fails, at which of its calls, before its work or behind it.
FAILURES = st.one_of(
    st.none(), st.none(), st.none(), st.tuples(st.sampled_from(PLACES), st.integers(0, 2), st.booleans(), st.booleans())
)
TEXTS = st.lists(st.integers(0, WORDS - 1), max_size=9)
NUMBERS = st.integers(0, 1)
PICKS = st.integers(0, 32)


class Injected(BaseException):
    """Nothing in the package knows it."""


@contextlib.contextmanager
def injected(failure):
    """The k-th call of a method raises; with `twice` so does the repair that follows."""
    if failure is None:
        yield
        return
    (owner, method), number, late, twice = failure
    calls, original = iter(range(100)), getattr(owner, method)

    def failing(*arguments):
        fails = next(calls) == number
        if late or not fails:
            result = original(*arguments)
        if fails:
            raise Injected
        return result

    def failing_repair(*arguments):
        raise Injected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, failing)
        if twice:
            patch.setattr(PagePool, "recount", failing_repair)
        yield


class PagedCaches(RuleBasedStateMachine):
    """Two caches and their models. A rule picks a sequence by a number among those there are, or one that is gone."""

    @initialize(
        num_pages=st.tuples(st.integers(1, 30), st.integers(1, 30)),
        page_sizes=st.tuples(st.sampled_from([1, 2, 3, 4, 16]), st.sampled_from([2, 3, 5])),
        dtype=st.sampled_from(["float32", "int8", "int4"]),
        texts=st.lists(TEXTS, min_size=1, max_size=3),
    )
    def begin(self, num_pages, page_sizes, dtype, texts):
        self.words = Words(size=4, dtype=dtype)
        sizes = list(zip(num_pages, page_sizes))
        self.caches = [self.words.cache(*size) for size in sizes]
        self.models = [Model(*size) for size in sizes]
        for text in texts:
            for number in (0, 1):
                self.allocate(number, None)
                self.append([(number, -1, text)], None)

    def picked(self, number, pick):
        """The id that a number stands for: 30 in a cache that gave more than that many may be gone."""
        there = list(self.models[number].texts)
        return there[pick % len(there)] if there and pick < 30 else pick - 30

    def changed(self, change, model_change, failure):
        """Change caches and models alike, or neither; what came out, or None. New sequences are "new" in the models."""
        models = [model.copy() for model in self.models]
        refusal = None
        try:
            model_change(models)
        except KeyError:
            refusal = ValueError
        except CacheFullError:
            refusal = CacheFullError
        try:
            with injected(failure):
                result = change(self.caches)
        except Injected:
            return None
        except (ValueError, CacheFullError) as error:
            assert type(error) is refusal  # noqa: PT017
            return None
        assert refusal is None
        for model in models:
            for contents in (model.texts, model.pages):
                if "new" in contents:
                    contents[result] = contents.pop("new")
        self.models = models
        return result

    @rule(number=NUMBERS, failure=FAILURES)
    def allocate(self, number, failure):
        self.changed(lambda caches: caches[number].allocate(), lambda models: models[number].add("new"), failure)

    @rule(drawn=st.lists(st.tuples(NUMBERS, PICKS, TEXTS), min_size=1, max_size=5), failure=FAILURES)
    def append(self, drawn, failure):
        number = drawn[0][0]
        self.append_texts(number, {self.picked(number, pick): text for _, pick, text in drawn}, failure)

    @rule(number=NUMBERS, pick=PICKS, texts=st.tuples(TEXTS, TEXTS), failures=st.tuples(FAILURES, FAILURES))
    def fork_and_append(self, number, pick, texts, failures):
        sequence = self.picked(number, pick)
        forked = self.forked(number, sequence, failures[0])
        if forked is not None:
            self.append_texts(number, dict(zip((sequence, forked), texts)), failures[1])

    def append_texts(self, number, texts, failure):
        def model_change(models):
            if not set(texts) <= set(models[number].texts):
                raise KeyError
            for sequence, text in texts.items():
                models[number].append(sequence, text)

        self.changed(
            lambda caches: self.words.append(caches[number], list(texts), texts.values()), model_change, failure
        )

    @rule(number=NUMBERS, pick=PICKS, failure=FAILURES)
    def fork(self, number, pick, failure):
        self.forked(number, self.picked(number, pick), failure)

    def forked(self, number, sequence, failure):
        return self.changed(
            lambda caches: caches[number].fork(sequence), lambda models: models[number].fork(sequence, "new"), failure
        )

    @rule(number=NUMBERS, pick=PICKS, share=st.floats(0, 1), failure=FAILURES)
    def truncate(self, number, pick, share, failure):
        sequence = self.picked(number, pick)
        length = int(share * len(self.models[number].texts.get(sequence, "")))
        self.changed(
            lambda caches: caches[number].truncate(sequence, length),
            lambda models: models[number].truncate(sequence, length),
            failure,
        )

    @rule(number=NUMBERS, pick=PICKS, failure=FAILURES)
    def free(self, number, pick, failure):
        sequence = self.picked(number, pick)
        self.changed(
            lambda caches: caches[number].free(sequence), lambda models: models[number].free(sequence), failure
        )

    @rule(number=NUMBERS, pick=PICKS, failure=FAILURES)
    def transfer(self, number, pick, failure):
        sequence = self.picked(number, pick)

        def model_change(models):
            models[1 - number].add("new", models[number].texts[sequence])
            models[number].free(sequence)

        self.changed(lambda caches: caches[number].transfer(sequence, caches[1 - number]), model_change, failure)

    @rule(number=NUMBERS, new=st.integers(0, 5), is_causal=st.booleans(), seed=st.integers(0, 9))
    def attend(self, number, new, is_causal, seed):
        texts, rng = self.models[number].texts, np.random.default_rng(seed)
        queries = [rng.normal(size=(4, min(new, len(text)), 4)).astype(np.float32) for text in texts.values()]
        results = self.caches[number].attend(list(texts), queries, is_causal=is_causal)
        assert_attends(results, self.words, texts.values(), queries, is_causal=is_causal)

    @invariant()
    def caches_are_the_models(self):
        for cache, model in zip(getattr(self, "caches", ()), getattr(self, "models", ())):
            model.assert_is(cache, self.words)


TestPagedCaches = PagedCaches.TestCase
TestPagedCaches.settings = settings(deadline=None, derandomize=True, max_examples=60, stateful_step_count=40)
