"""Attention over stored rows, bit for bit: whatever else runs, and whatever lies where a query does not look."""

import threading

import numpy as np
import pytest

import fastcore
from fastcore._core import threads
from tests.attention.cached_case import FORMATS, Sequences, normal

THREADS = 16
NOT_FINITE = {"float32": [np.nan, np.inf], "float16": [np.nan, -np.inf], "bfloat16": [np.nan, np.inf]}


@pytest.fixture(params=FORMATS)
def dtype(request):
    """Each storage format."""
    return request.param


@pytest.fixture
def eager_threads(monkeypatch):
    """However little there is to do, it is done by all threads."""
    threads.start()
    monkeypatch.setattr(threads, "SMALLEST_WORK_NS", 0.0)
    monkeypatch.setattr(threads, "WORK_NS_PER_WORKER", dict.fromkeys(threads.WORK_NS_PER_WORKER, 1e-3))


def assert_near(got, want, dtype):
    """To rounding: where a NaN is about, int8 takes its weights in float32 instead of 16 bits."""
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 if dtype == "int8" else 1e-6)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint32)


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("new", [1, 3, 20, 70])
def test_cached_attention_of_one_thread_equals_many(dtype, new, rng):
    case = Sequences(rng, dtype, [2000, 70, 300, 1025], 3, 32, 24)
    query = normal(rng, 4, 6, new, 32)
    with fastcore.num_threads(1):
        alone = case.attend(query)
    for _ in range(3):
        np.testing.assert_array_equal(bits(case.attend(query)), bits(alone))


@pytest.mark.parametrize("new", [1, 2, 5, 20])
def test_cached_attention_of_a_sequence_alone_equals_the_same_in_a_batch(dtype, new, rng):
    """Batch invariance: no result depends on the other sequences, their number, lengths or new tokens."""
    lengths = [90, 1300, 64, 257, 20]
    case = Sequences(rng, dtype, lengths, 2, 32, 24)
    counts = np.array([new, new, 40, 1, new])
    firsts = np.cumsum(counts) - counts
    query = normal(rng, 1, 6, counts.sum(), 32)
    together = case.attend(query, firsts=firsts, counts=counts)
    for number, (first, count) in enumerate(zip(firsts, counts, strict=True)):
        part = np.s_[:, :, first : first + count]
        alone = case.attend(query[part], chosen=[number])
        np.testing.assert_array_equal(bits(alone), bits(together[part]))
    order = [3, 1, 1, 0]
    again = case.attend(query, chosen=order, firsts=firsts[order], counts=counts[order])
    for number in order:
        part = np.s_[:, :, firsts[number] : firsts[number] + counts[number]]
        np.testing.assert_array_equal(bits(again[part]), bits(together[part]))


def test_cached_attention_in_16_threads_at_once_equals_one(dtype, rng):
    case = Sequences(rng, dtype, [700, 70, 300], 2, 32, 24)
    queries = [normal(rng, 3, 6, new, 32) for new in (1, 4, 33)]
    want = [case.attend(query) for query in queries]
    start, wrong = threading.Barrier(THREADS), []

    def body(number):
        reader = case.new_reader()
        start.wait()
        for turn in range(12):
            which = (number + turn) % len(queries)
            if not np.array_equal(bits(case.attend(queries[which], reader=reader)), bits(want[which])):
                wrong.append((number, turn))

    running = [threading.Thread(target=body, args=(number,)) for number in range(THREADS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert not any(thread.is_alive() for thread in running)
    assert wrong == []


# New tokens, of few query rows and of many.
NEW = [2, 3, 7, 20, 66]


def with_row(case, rows, number, position, value, dtype):
    """A new case whose keys or values (0, 1) hold `value` at one element of a token."""
    keys, values = ([x.copy() for x in side] for side in case.given)
    (keys, values)[rows][number][0, position, 3] = value
    sizes = case.heads, case.size, case.value_size, case.storage.page_size
    more = {} if case.window is None else {"window": case.window, "sinks": case.sinks, "slack": 70}
    rng = np.random.default_rng(1)
    return Sequences(rng, dtype, case.lengths.tolist(), *sizes, **more, keys=keys, values=values)


@pytest.mark.parametrize("rows", [0, 1], ids=["key", "value"])
@pytest.mark.parametrize("new", NEW)
def test_cached_attention_nan_hidden_by_causality_reaches_no_earlier_query(dtype, new, rows, rng):
    case = Sequences(rng, dtype, [130, 330], 2, 24, 20)
    query = normal(rng, 2, 4, new, 24)
    want = case.attend(query)
    for bad in NOT_FINITE.get(dtype, [np.nan, np.inf]):
        for behind in (1, 2, new - 1):
            spoiled = with_row(case, rows, 1, 330 - behind, bad, dtype)
            got = spoiled.attend(query)
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_array_equal(got[1, 2:], want[1, 2:])  # heads of the other key/value head
            unseen = np.s_[1, :2, : new - behind]
            assert_near(got[unseen], want[unseen], dtype)
            assert_spoiled(spoiled, got[1], query[1], np.s_[:2, new - behind :])


def assert_spoiled(case, got, query, place):
    """NaN or inf is where the twin has it on the rows as they read back, and so in `place`."""
    plain = case.expected(1, query, np.float32)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(plain))
    if not np.isinf(case.keys[1]).any():  # an inf in a key may make the score -inf: no weight at all
        assert not np.isfinite(got[place]).all(axis=-1).any()


@pytest.mark.parametrize("rows", [0, 1], ids=["key", "value"])
@pytest.mark.parametrize("new", [2, 5, 20, 66])
@pytest.mark.parametrize("sinks", [0, 4])
def test_cached_attention_nan_that_left_the_window_reaches_no_later_query(dtype, new, sinks, rows, rng):
    case = Sequences(rng, dtype, [130, 330], 2, 24, 20, 16, 80, sinks, 70)
    query = normal(rng, 2, 4, new, 24)
    want = case.attend(query)
    # Seen by the first query only, and by all but the last one.
    for seen_by in {1, new - 1}:
        place = 330 - new - 80 + seen_by
        spoiled = with_row(case, rows, 1, place, np.nan, dtype)
        got = spoiled.attend(query)
        assert_near(got[1, :2, seen_by:], want[1, :2, seen_by:], dtype)
        assert_spoiled(spoiled, got[1], query[1], np.s_[:2, :seen_by])
    spoiled = with_row(case, rows, 1, 330 - new - 80, np.nan, dtype)  # seen by none
    np.testing.assert_array_equal(bits(spoiled.attend(query)), bits(want))
    if sinks:
        spoiled = with_row(case, rows, 1, 1, np.nan, dtype)
        assert_spoiled(spoiled, spoiled.attend(query)[1], query[1], np.s_[:2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("new", [1, 3, 20])
def test_cached_attention_query_that_is_not_finite_spoils_its_own_row_only(dtype, bad, new, rng):
    case = Sequences(rng, dtype, [130], 2, 24, 20)
    query = normal(rng, 1, 6, new, 24)
    want = case.attend(query)
    for head, token in ((1, 0), (4, new - 1)):
        spoiled = query.copy()
        spoiled[0, head, token, 5] = bad
        got = case.attend(spoiled)
        assert np.isnan(got[0, head, token]).all()
        want[0, head, token] = got[0, head, token] = 0.0
        assert_near(got, want, dtype)
        other = np.s_[0, 3:] if head < 3 else np.s_[0, :3]  # heads of the other key/value head
        np.testing.assert_array_equal(bits(got[other]), bits(want[other]))
        want = case.attend(query)


@pytest.mark.parametrize("new", [1, 3, 20])
@pytest.mark.parametrize("largest", [1e-44, 1e-38, 1e-30, 1e-12, 1e12, 1e30])
def test_cached_attention_queries_of_any_magnitude(dtype, new, largest, rng):
    """Those of 16 bits divide by the largest element: also by a denormal."""
    case = Sequences(rng, dtype, [130, 40], 1, 24, 20)
    query = normal(rng, 2, 2, new, 24)
    query[..., 3] = 0.0
    case.check_all((query * np.float32(largest)).astype(np.float32), scale=min(1.0, 1.0 / largest))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("small", [1e-32, 1e-20, 1e20])
def test_cached_attention_small_queries_of_large_keys(dtype, small, rng):
    """Their products are as usual; in fixed point queries count as zero below 2^-110, 8e-34."""
    keys = [normal(rng, 1, 100, 24) / np.float32(small)]
    case = Sequences(rng, dtype, [100], 1, 24, 20, keys=keys)
    for new in (1, 2, 20):
        case.check_all(normal(rng, 1, 2, new, 24) * np.float32(small))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("new", [1, 3, 20])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cached_attention_scores_of_1e30_choose_the_highest(dtype, new, sign, rng):
    keys = [np.full((1, 300, 16), -sign, np.float32) * 1e15]
    keys[0][:, 77] *= -sign
    case = Sequences(rng, dtype, [300], 1, 16, keys=keys)
    query = np.full((1, 2, new, 16), 1e15, np.float32)
    if sign > 0:
        want = np.broadcast_to(case.values[0][0, 77], (1, 2, new, 16))
        np.testing.assert_allclose(case.attend(query), want, rtol=1e-6)
    else:
        case.check_all(query)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("new", [1, 3, 20])
def test_cached_attention_scores_beyond_float32(dtype, new, rng):
    """-inf weighs nothing, +inf makes NaN of the queries that see it, as in the plain float32 implementation."""
    for sign in (-1.0, 1.0):
        keys = [normal(rng, 1, 300, 16)]
        keys[0][:, 298 if sign > 0 else 77] = np.float32(3e38) * sign
        case = Sequences(rng, dtype, [300], 1, 16, keys=keys)
        query = np.abs(normal(rng, 1, 2, new, 16)) + np.float32(1.0)
        got, plain = case.attend(query, scale=1.0), case.expected(0, query[0], np.float32, scale=1.0)
        np.testing.assert_array_equal(np.isnan(got[0]), np.isnan(plain))
        np.testing.assert_allclose(got[0], plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("new", [1, 3, 20])
def test_cached_attention_denormal_values_stay(new, rng):
    values = [normal(rng, 1, 40, 16) * np.float32(1e-40)]
    case = Sequences(rng, "float32", [40], 1, 16, values=values)
    query = normal(rng, 1, 2, new, 16)
    want = case.expected(0, query[0])
    np.testing.assert_allclose(case.attend(query)[0], want, rtol=0, atol=1e-44)
