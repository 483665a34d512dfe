"""What KVCache refuses, with which words, and that it has changed nothing by then."""

import signal
import sys

import ml_dtypes
import numpy as np
import pytest

from fastcore.kvcache import CacheFullError, KVCache, Rotary, contiguous
from fastcore.kvcache.attend import Reader


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


# --- making one -------------------------------------------------------------------------------------------------------

SIZES = {"batch": 2, "num_kv_heads": 2, "capacity": 8, "head_dim": 4}

WRONG_SIZES = [
    *(({name: 0}, ValueError, rf"{name} must be positive. Got 0") for name in [*SIZES, "value_dim", "window"]),
    *(({name: -3}, ValueError, rf"{name} must be positive. Got -3") for name in [*SIZES, "value_dim", "window"]),
    *(({name: 2.0}, TypeError, rf"{name} must be an integer. Got 2.0") for name in [*SIZES, "value_dim", "window"]),
    *(({name: True}, TypeError, rf"{name} must be an integer. Got True") for name in [*SIZES, "value_dim", "window"]),
    *(({name: "8"}, TypeError, rf"{name} must be an integer") for name in SIZES),
    ({"capacity": None}, TypeError, r"capacity must be an integer. Got None"),
    ({"batch": [2] * 10000}, TypeError, r"batch must be an integer. Got list\.$"),
    ({"batch": -(10**4000)}, ValueError, r"batch must be positive. Got an integer of 13288 bits"),
    ({"window": 10**4000}, ValueError, r"window an integer of 13288 bits. Pass capacity=an integer"),
    ({"sinks": -(10**4000), "window": 1}, ValueError, r"sinks must not be negative. Got an integer of 13288 bits"),
    ({"dtype": "float8"}, ValueError, r"dtype must be 'float32' or 'float16' .* 'int4'\. Got 'float8'"),
    ({"dtype": "Float32"}, ValueError, r"Got 'Float32'"),
    ({"dtype": np.float32}, TypeError, r"dtype must be"),
    ({"dtype": None}, TypeError, r"dtype must be .* Got NoneType"),
    ({"sinks": -1, "window": 2}, ValueError, r"sinks must not be negative. Got -1"),
    ({"sinks": 1.5, "window": 2}, TypeError, r"sinks must be an integer"),
    ({"sinks": 2}, ValueError, r"sinks need a window"),
    (
        {"window": 9},
        ValueError,
        r"capacity must hold sinks \+ window tokens.*capacity 8, sinks 0, window 9.*capacity=9",
    ),
    ({"window": 6, "sinks": 3}, ValueError, r"capacity must hold sinks \+ window"),
    ({"rotary": 10000.0}, TypeError, r"rotary must be a fastcore.kvcache.Rotary or None. Got float"),
    ({"rotary": Rotary(), "head_dim": 7}, ValueError, r"rotary must fit head_dim.* Got head_dim 7"),
    ({"rotary": Rotary(rotary_dim=6)}, ValueError, r"rotary must fit head_dim.* Got head_dim 4, rotary_dim 6"),
]


@pytest.mark.parametrize("changed, error, message", WRONG_SIZES, ids=lambda x: str(x)[:40])
def test_kv_cache_wrong_sizes_raise(changed, error, message):
    with pytest.raises(error, match=message):
        KVCache(**(SIZES | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"capacity": 1 << 62},
        {"capacity": 1 << 64},
        {"capacity": 10**5000},
        {"capacity": (1 << 63) - 1, "window": 4},
        {"capacity": 1 << 40, "batch": 1 << 40},
        {"batch": 1 << 62},
        {"num_kv_heads": 1 << 62},
        {"head_dim": 1 << 62},
        {"value_dim": 1 << 62},
        {"value_dim": 1 << 62, "dtype": "int4"},
    ],
)
def test_kv_cache_beyond_any_memory_raises_before_taking_some(changed, monkeypatch):
    monkeypatch.setattr(contiguous, "Storage", None)
    with pytest.raises(ValueError, match=r"capacity is too large.*less than 2\*\*47 bytes.*Lower capacity or batch"):
        KVCache(**(SIZES | changed))


def test_kv_cache_names_what_the_system_refuses(monkeypatch):
    def refuse(*arguments):
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr(contiguous, "Storage", refuse)
    with pytest.raises(MemoryError, match=r"batch 2 and capacity 1000000000 takes 476\.8 GiB.*Lower capacity"):
        KVCache(**(SIZES | {"capacity": 10**9}))


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache():
    """B 2, G 2, D 4, Dv 3; 5 and 2 of 8 tokens."""
    cache = KVCache(2, 2, 8, 4, value_dim=3)
    rng = np.random.default_rng(0)
    cache.append(rng.normal(size=(2, 2, 5, 4)), rng.normal(size=(2, 2, 5, 3)), lengths=[5, 2])
    return cache


KEY, VALUE, QUERY = zeros(2, 2, 3, 4), zeros(2, 2, 3, 3), zeros(2, 4, 3, 4)

WRONG_TOKENS = [
    ((zeros(2, 3, 3, 4), zeros(2, 3, 3, 3)), ValueError, r"num_kv_heads, 2\. Got 3 heads in key \(2, 3, 3, 4\)"),
    ((zeros(2, 1, 3, 4), zeros(2, 1, 3, 3)), ValueError, r"num_kv_heads, 2\. Got 1 head in"),
    ((zeros(3, 2, 3, 4), zeros(3, 2, 3, 3)), ValueError, r"batch, 2\. Got key \(3, 2, 3, 4\)"),
    ((zeros(2, 2, 3, 5), VALUE), ValueError, r"last axis of key must be the cache's head_dim, 4"),
    ((KEY, zeros(2, 2, 3, 4)), ValueError, r"last axis of value must be the cache's value_dim, 3"),
    ((KEY, zeros(2, 2, 2, 3)), ValueError, r"with the same B, G and T, T at least 1"),
    ((zeros(2, 2, 0, 4), zeros(2, 2, 0, 3)), ValueError, r"with the same B, G and T, T at least 1"),
    ((zeros(2, 2, 4), zeros(2, 2, 3)), ValueError, r"must be \(B, G, T, D\) and \(B, G, T, Dv\)"),
    ((zeros(4), VALUE), ValueError, r"must be \(B, G, T, D\)"),
    ((np.zeros((2, 2, 3, 4), np.int64), VALUE), TypeError, r"key must be float32.*Pass key.astype\(np.float32\)"),
    ((KEY, VALUE.astype(bool)), TypeError, r"value must be float32"),
    ((KEY, VALUE.astype(complex)), TypeError, r"value must be float32.* Got complex128"),
    ((KEY, VALUE.astype(object)), TypeError, r"value must hold numbers"),
    ((None, VALUE), TypeError, r"key must be an array. Got None"),
    ((np.ma.masked_array(KEY), VALUE), TypeError, r"key must be a plain array"),
]

WRONG_LENGTHS = [
    ([1, 4], ValueError, r"lengths must lie in 0 \.\. T, here 3\. Got 4 for sequence 1"),
    (-1, ValueError, r"Got -1 for sequence 0"),
    ([1, 2, 3], ValueError, r"one integer or one for each of 2 sequences"),
    ([[1, 2]], ValueError, r"one integer or one for each of 2 sequences"),
    ([1.0, 2.0], TypeError, r"lengths must hold integers. Got float64"),
    ([1, np.nan], TypeError, r"lengths must hold integers"),
    (np.nan, TypeError, r"lengths must hold integers"),
    (np.array([1, np.inf], np.float32), TypeError, r"lengths must hold integers"),
    ([True, False], TypeError, r"lengths must hold integers. Got bool"),
    (np.array([1, 2], ml_dtypes.bfloat16), TypeError, r"lengths must hold integers"),
    (["1", "2"], TypeError, r"lengths must hold integers"),
    ([1, None], TypeError, r"lengths must hold integers"),
    ([1, 1 << 63], (ValueError, TypeError), r"lengths must"),
    ([1, 1 << 70], ValueError, r"lengths must fit into int64"),
    (np.array([1, (1 << 64) - 1], np.uint64), ValueError, r"lengths must fit into int64"),
]


def everything(cache):
    return [cache.lengths, *(x.copy() for x in cache.arrays.values()), cache.attend(QUERY[:, :, :1] + 1)]


def refused(cache, call, error, message):
    """`call` raises and the cache is what it was, to the last byte."""
    before = everything(cache)
    with pytest.raises(error, match=message):
        call()
    for x, y in zip(before, everything(cache), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("tokens, error, message", WRONG_TOKENS)
def test_kv_cache_wrong_keys_and_values_raise(cache, tokens, error, message):
    refused(cache, lambda: cache.append(*tokens), error, message)
    refused(cache, lambda: cache.step(QUERY, *tokens), error, message)


@pytest.mark.parametrize("lengths, error, message", WRONG_LENGTHS, ids=lambda x: str(x)[:30])
def test_kv_cache_wrong_lengths_raise(cache, lengths, error, message):
    for call in (
        lambda: cache.append(KEY, VALUE, lengths=lengths),
        lambda: cache.step(QUERY, KEY, VALUE, lengths=lengths),
        lambda: cache.attend(QUERY, lengths=lengths),
    ):
        refused(cache, call, error, message)


@pytest.mark.parametrize(
    "lengths, error, message",
    [
        *WRONG_LENGTHS[2:],
        ([6, 1], ValueError, r"truncate only shortens\. Got 6 for sequence 0, which has 5 tokens"),
        (3, ValueError, r"Got 3 for sequence 1, which has 2"),
        ([2, -1], ValueError, r"Got -1 for sequence 1"),
        (None, TypeError, r"lengths must"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_kv_cache_wrong_truncate_raises(cache, lengths, error, message):
    refused(cache, lambda: cache.truncate(lengths), error, message)


@pytest.mark.parametrize(
    "indices, error, message",
    [
        ([0, 2], ValueError, r"beam_indices must lie in 0 \.\. 1\. Got 2 for sequence 1"),
        ([-1, 0], ValueError, r"Got -1 for sequence 0"),
        ([0], ValueError, r"beam_indices must be one integer for each of 2 sequences"),
        (0, ValueError, r"beam_indices must be one integer for each of 2 sequences"),
        ([0, 1, 1], ValueError, r"must be one integer for each of 2 sequences. Got shape \(3,\)"),
        ([0.0, 1.0], TypeError, r"beam_indices must hold integers"),
        ([0, np.nan], TypeError, r"beam_indices must hold integers"),
        ([False, True], TypeError, r"beam_indices must hold integers. Got bool"),
        ([0, 1 << 70], ValueError, r"beam_indices must fit into int64"),
    ],
)
def test_kv_cache_wrong_beam_indices_raise(cache, indices, error, message):
    refused(cache, lambda: cache.reorder(indices), error, message)


WRONG_QUERIES = [
    (zeros(2, 3, 3, 4), {}, ValueError, r"query has 3 heads; it must have a multiple of the cache's num_kv_heads, 2"),
    (zeros(2, 1, 3, 4), {}, ValueError, r"query has 1 head; it must have a multiple"),
    (zeros(2, 0, 3, 4), {}, ValueError, r"H and T at least 1"),
    (zeros(2, 4, 0, 4), {}, ValueError, r"H and T at least 1"),
    (zeros(1, 4, 3, 4), {}, ValueError, r"query must be \(B, H, T, D\) or \(B, H, D\).*B = 2"),
    (zeros(2, 4, 3, 3), {}, ValueError, r"head_dim, D = 4.* Got \(2, 4, 3, 3\)"),
    (zeros(2, 4), {}, ValueError, r"query must be"),
    (zeros(1, 2, 4, 3, 4), {}, ValueError, r"query must be"),
    (QUERY.astype(np.int32), {}, TypeError, r"query must be float32.*Got int32"),
    (None, {}, TypeError, r"query must be an array"),
    (QUERY, {"scale": np.nan}, ValueError, r"scale must be finite"),
    (QUERY, {"scale": np.inf}, ValueError, r"scale must be finite"),
    (QUERY, {"scale": -1e39}, ValueError, r"scale must lie within ±1e\+30: .* float32's range. Got -1e\+39"),
    (QUERY, {"scale": "1"}, TypeError, r"scale must be a real number"),
    (QUERY, {"scale": True}, TypeError, r"scale must be a real number"),
    (QUERY, {"softcap": 0.0}, ValueError, r"softcap must be positive, or None"),
    (QUERY, {"softcap": -1}, ValueError, r"softcap must be positive"),
    (QUERY, {"softcap": np.nan}, ValueError, r"softcap must be finite"),
    (QUERY, {"softcap": 1e300}, ValueError, r"softcap must lie in 1e-30 .* float32's range. Got 1e\+300. Pass None"),
    (QUERY, {"softcap": 1e-300}, ValueError, r"softcap must lie in 1e-30 \.\. 1e\+30: .* Got 1e-300"),
    (QUERY, {"is_causal": 1}, TypeError, r"is_causal must be True or False"),
    (QUERY, {"is_causal": None}, TypeError, r"is_causal must be True or False"),
    (QUERY, {"out": zeros(2, 4, 3, 4)}, ValueError, r"out must have the shape of the result, \(2, 4, 3, 3\)"),
    (QUERY, {"out": zeros(2, 4, 3)}, ValueError, r"out must have the shape of the result"),
    (QUERY[:, :, 0], {"out": zeros(2, 4, 1, 3)}, ValueError, r"shape of the result, \(2, 4, 3\)"),
    (QUERY, {"out": zeros(2, 4, 3, 3, dtype=np.float64)}, TypeError, r"out must have the dtype of the result, float32"),
    (QUERY.astype(np.float16), {"out": zeros(2, 4, 3, 3)}, TypeError, r"dtype of the result, float16"),
    (QUERY, {"out": zeros(2, 4, 3, 3, dtype=">f4")}, TypeError, r"out must have the dtype"),
    (QUERY, {"out": np.broadcast_to(np.float32(0), (2, 4, 3, 3))}, ValueError, r"out must be writable"),
    (QUERY, {"out": zeros(2, 4, 3, 3).tolist()}, TypeError, r"out must be a numpy.ndarray. Got list"),
]


@pytest.mark.parametrize("query, options, error, message", WRONG_QUERIES)
def test_kv_cache_wrong_queries_raise(cache, query, options, error, message):
    tokens = KEY.shape[2] if np.ndim(query) != 3 else 1
    refused(cache, lambda: cache.attend(query, **options), error, message)
    refused(cache, lambda: cache.step(query, KEY[:, :, :tokens], VALUE[:, :, :tokens], **options), error, message)


def test_kv_cache_step_of_unequal_tokens_raises(cache):
    message = r"query has {} and key 3; they must be equal in a step"
    refused(cache, lambda: cache.step(QUERY[:, :, :2], KEY, VALUE), ValueError, message.format("2 tokens"))
    refused(cache, lambda: cache.step(QUERY[:, :, 0], KEY, VALUE), ValueError, message.format("1 token"))


def test_kv_cache_attend_of_tokens_that_are_not_there_raises(cache):
    message = r"query has 3 tokens, whose keys and values must be in the cache. Got 2 tokens in sequence 1"
    refused(cache, lambda: cache.attend(QUERY), ValueError, message)
    assert cache.attend(QUERY, lengths=[3, 2]).shape == (2, 4, 3, 3)


@pytest.mark.parametrize("options", [{}, {"window": 3, "sinks": 1}])
def test_kv_cache_attend_on_an_empty_cache_raises(options):
    cache = KVCache(2, 2, 8, 4, value_dim=3, **options)
    for query in (QUERY, QUERY[:, :, :1], QUERY[:, :, 0]):
        with pytest.raises(ValueError, match=r"must be in the cache. Got 0 tokens in sequence 0 of it. Append them"):
            cache.attend(query)
        np.testing.assert_array_equal(cache.attend(query, lengths=0), np.zeros((*query.shape[:-1], 3)))


def test_kv_cache_full_is_a_runtime_error_of_its_own(cache):
    assert issubclass(CacheFullError, RuntimeError)
    message = r"the cache is full: sequence 0 has 5 tokens and would get 9\. Got capacity 8\. Truncate or reset"
    big = zeros(2, 2, 4, 4), zeros(2, 2, 4, 3)
    refused(cache, lambda: cache.append(*big), CacheFullError, message)
    refused(cache, lambda: cache.step(zeros(2, 2, 4, 4), *big), CacheFullError, message)


@pytest.mark.parametrize("method", ["append", "attend", "truncate", "reset", "reorder", "save"])
def test_kv_cache_call_from_inside_another_is_refused(cache, tmp_path, monkeypatch, method):
    """As a signal handler or finalizer may try; the outer call ends as if nothing had been."""
    calls = {
        "append": lambda: cache.append(KEY, VALUE),
        "attend": lambda: cache.attend(QUERY[:, :, :1]),
        "truncate": lambda: cache.truncate(1),
        "reset": cache.reset,
        "reorder": lambda: cache.reorder([1, 0]),
        "save": lambda: cache.save(tmp_path / "x"),
    }
    attend, inside = Reader.attend, []

    def attend_and_call(*arguments, **options):
        with pytest.raises(RuntimeError, match="in the middle of a call of this thread"):
            calls[method]()
        inside.append(method)
        attend(*arguments, **options)

    monkeypatch.setattr(Reader, "attend", attend_and_call)
    cache.step(QUERY, KEY, VALUE)
    assert inside == [method]
    monkeypatch.undo()
    assert cache.lengths.tolist() == [8, 5]
    cache.reset()


@pytest.mark.skipif(sys.platform == "win32", reason="setitimer")
def test_kv_cache_interrupts_at_any_time_leave_a_whole_cache():
    """Signals land between any two steps of Python: each call was done in full or not at all."""
    cache = KVCache(2, 1, 5, 4, window=3, sinks=1)
    one = np.ones((2, 1, 2, 4), np.float32)
    cache.append(one, one)
    before, interrupts, armed = 2, 0, False

    def interrupt(number, frame):
        if armed:
            raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(300):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + i % 37))
                cache.step(one, one * (i % 7 + 1), one)
                armed = False
            except KeyboardInterrupt:
                interrupts += 1
            armed = False
            lengths = cache.lengths.tolist()
            assert lengths in ([before, before], [before + 2, before + 2])
            before = lengths[0]
            np.testing.assert_allclose(cache.attend(one[:, :, :1]), 1.0, rtol=1e-6)
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupts > 0
