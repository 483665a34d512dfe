"""What PagedKVCache has to be: lists of words, and pages as objects that sequences hold in lists."""

import sys
from itertools import count

import numpy as np

import fastcore.kvcache
from fastcore import reference
from fastcore.kvcache import CacheFullError
from fastcore.kvcache.paged import PagedKVCache
from tests.kvcache.contiguous_model import ROUNDED_WEIGHTS, as_stored

WORDS = 211


class Words:
    """Keys and values of some words, so that a sequence is a list of numbers."""

    def __init__(self, groups=2, size=5, value_size=3, dtype="float32", seed=0):
        rng = np.random.default_rng(seed)
        self.groups, self.size, self.value_size, self.dtype = groups, size, value_size, dtype
        self.keys = rng.normal(size=(groups, WORDS, size)).astype(np.float32)
        self.values = rng.normal(size=(groups, WORDS, value_size)).astype(np.float32)
        self.stored_keys, self.stored_values = as_stored(self.keys, self.values, dtype)

    def cache(self, num_pages, page_size, **options):
        shape = (num_pages, page_size, self.groups, self.size)
        return PagedKVCache(*shape, value_dim=self.value_size, dtype=self.dtype, **options)

    def of(self, texts):
        """Lists of keys and of values, as append takes them."""
        return [self.keys[:, text] for text in texts], [self.values[:, text] for text in texts]

    def append(self, cache, sequences, texts):
        cache.append(sequences, *self.of(texts))

    def assert_stored(self, cache, texts):
        """The cache holds exactly these texts, {id: words}, bit for bit."""
        assert cache.lengths == {sequence: len(text) for sequence, text in texts.items()}
        for sequence, text in texts.items():
            keys, values = cache._storage.read(cache.page_table(sequence), np.arange(len(text)))
            np.testing.assert_array_equal(keys, self.stored_keys[:, text])
            np.testing.assert_array_equal(values, self.stored_values[:, text])


def assert_counted(cache):
    """Reference counts and free pages are what the page tables say: none leaked, none owned by more than own it."""
    tables = {sequence: cache.page_table(sequence) for sequence in cache.sequences}
    owners = np.zeros(cache.num_pages, int)
    for sequence, table in tables.items():
        assert len(table) == -(-cache.length(sequence) // cache.page_size)
        assert len(set(table.tolist())) == len(table)
        owners[table] += 1
    pool = cache._pool
    np.testing.assert_array_equal(pool.owners, owners)
    free = pool._stack[: pool.free].tolist()
    assert sorted(free) == np.flatnonzero(owners == 0).tolist()
    stats = cache.stats()
    assert (stats.free_pages, stats.used_pages) == (len(free), cache.num_pages - len(free))
    assert stats.shared_pages == (owners > 1).sum()
    assert stats.sequences == len(tables)
    assert stats.tokens == sum(cache.lengths.values())
    assert cache._open is None
    assert not cache._busy.locked()


class Model:
    """One cache: of each sequence its words, and its pages, objects that several sequences may hold."""

    def __init__(self, num_pages, page_size):
        self.num_pages, self.page_size = num_pages, page_size
        self.texts, self.pages = {}, {}

    def copy(self):
        other = Model(self.num_pages, self.page_size)
        other.texts = {sequence: list(text) for sequence, text in self.texts.items()}
        other.pages = {sequence: list(pages) for sequence, pages in self.pages.items()}
        return other

    @property
    def used(self):
        return len({page for pages in self.pages.values() for page in pages})

    def add(self, sequence, text=()):
        assert sequence not in self.texts
        self.texts[sequence], self.pages[sequence] = [], []
        if text:
            self.append(sequence, text)

    def append(self, sequence, text):
        """One after another, as if each were a call of its own: an append of many takes no more pages than that."""
        own = self.pages[sequence]
        is_partial = len(self.texts[sequence]) % self.page_size > 0
        if text and is_partial and sum(own[-1] in pages for pages in self.pages.values()) > 1:
            own[-1] = object()
        self.texts[sequence] += text
        while len(own) * self.page_size < len(self.texts[sequence]):
            own.append(object())
        if self.used > self.num_pages:
            raise CacheFullError

    def fork(self, sequence, forked):
        self.texts[forked], self.pages[forked] = list(self.texts[sequence]), list(self.pages[sequence])

    def truncate(self, sequence, length):
        del self.texts[sequence][length:]
        del self.pages[sequence][-(-length // self.page_size) :]

    def free(self, sequence):
        del self.texts[sequence], self.pages[sequence]

    def assert_is(self, cache, words):
        """Texts, sharing of pages and counts of the cache are those of the model."""
        assert_counted(cache)
        words.assert_stored(cache, self.texts)
        number_of = {}
        for sequence, pages in self.pages.items():
            for page, number in zip(pages, cache.page_table(sequence).tolist(), strict=True):
                assert number_of.setdefault(page, number) == number
        assert len(set(number_of.values())) == len(number_of)


def attention(words, text, query, dtype=np.float64, **options):
    """Attention of the newest tokens' queries (H, T, D) to the words of a sequence as they are stored."""
    inputs = (x[None].astype(dtype) for x in (query, words.stored_keys[:, text], words.stored_values[:, text]))
    options.setdefault("is_causal", True)
    return reference.scaled_dot_product_attention(*inputs, query_offset=len(text) - query.shape[1], **options)[0]


def normal(rng, *shape, dtype=np.float32):
    return rng.normal(size=shape).astype(dtype)


def assert_attends(results, words, texts, queries, **options):
    """At most twice the error of the plain float32 implementation, plus 1e-6 of the largest value.

    int8 also has what rounding queries and weights to 16 bits may cost: elements off by 2^-16 of the largest one shift
    no score by more than d, and the weights by 2 d in sum.
    """
    scale = options.get("scale", words.size**-0.5)
    for result, text, query in zip(results, texts, queries, strict=True):
        exact = attention(words, text, query, **options)
        rough = attention(words, text, query, np.float32, **options)
        bound = 2.0 * np.abs(rough - exact).max(initial=0.0) + 1e-6 * np.abs(words.stored_values).max()
        if words.dtype == "int8":
            shift = scale * 2.0**-16 * np.abs(query).max(initial=0.0) * np.abs(words.stored_keys).sum(-1).max()
            bound += (2.0 * shift + ROUNDED_WEIGHTS) * np.abs(words.stored_values).max()
        assert np.abs(result - exact).max(initial=0.0) <= bound


FOLDER = fastcore.kvcache.__path__[0]


def interrupted_at(number, error, call):
    """Run `call`, raising `error` at its `number`-th boundary of a call inside fastcore.kvcache; whether that came.

    There, before and after each function, is where Python delivers signals, and where memory runs out. Not before a
    lock's release, where nothing can be raised: a `with` makes that call itself.
    """
    numbers = count()

    def watch(frame, event, function):
        inside = frame.f_code.co_filename.startswith(FOLDER)
        if inside and getattr(function, "__name__", "") != "__exit__" and event != "return" and next(numbers) == number:
            raise error  # Python then stops watching, so that what handles it runs undisturbed

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    except type(error):
        return True
    finally:
        sys.setprofile(before)
    return False
