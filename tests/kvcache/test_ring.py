"""KVCache with window and sinks: against a mask over the whole history, of which the ring keeps a part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.kvcache import CacheFullError, KVCache, Rotary
from fastcore.kvcache.attend import Reader
from fastcore.kvcache.ring import Ring
from fastcore.kvcache.storage import Storage
from tests.kvcache.contiguous_model import FORMATS, Model, assert_attends, draw, pair


def ring_pair(batch, heads, size, value_size=None, *, window, sinks=0, slack=0, **options):
    """A cache of the smallest capacity plus `slack`, and its model."""
    return pair(batch, heads, sinks + window + slack, size, value_size, window=window, sinks=sinks, **options)


# (window, sinks, slack)
RINGS = [(1, 0, 0), (1, 3, 0), (4, 0, 0), (4, 2, 0), (4, 2, 1), (5, 1, 3), (7, 4, 20), (16, 0, 5), (3, 9, 2)]


@pytest.mark.parametrize("ring", RINGS, ids=str)
@pytest.mark.parametrize("dtype", FORMATS)
def test_ring_decoding_sees_the_sinks_and_the_window(rng, ring, dtype):
    window, sinks, slack = ring
    cache, model = ring_pair(2, 2, 24, 8, window=window, sinks=sinks, slack=slack, dtype=dtype)
    nbytes = cache.nbytes
    for _ in range(2 * cache.capacity + 3):
        key, value = draw(rng, 2, 2, 1, 24, 8)
        (query,) = draw(rng, 2, 4, 1, 24)
        got = cache.step(query, key, value)
        model.append(key, value)
        assert_attends(got, model, query)
        assert_attends(cache.attend(query[:, :, 0]), model, query[:, :, 0])
    np.testing.assert_array_equal(cache.lengths, model.lengths)
    assert cache.nbytes == nbytes


@pytest.mark.parametrize("ring", RINGS, ids=str)
@pytest.mark.parametrize("first", [1, 6, 60])
def test_ring_step_takes_chunks_of_any_size(rng, ring, first):
    window, sinks, slack = ring
    cache, model = ring_pair(3, 1, 12, window=window, sinks=sinks, slack=slack, dtype="float16")
    for tokens, lengths in ((first, None), (3, [3, 0, 1]), (50, [50, 17, 1]), (1, None), (33, None), (2, [0, 0, 0])):
        key, value = draw(rng, 3, 1, tokens, 12, 12)
        (query,) = draw(rng, 3, 2, tokens, 12)
        got = cache.step(query, key, value, lengths=lengths)
        model.append(key, value, lengths)
        assert_attends(got, model, query, lengths)
        np.testing.assert_array_equal(cache.lengths, model.lengths)


@pytest.mark.parametrize("ring", RINGS, ids=str)
def test_ring_append_of_more_than_it_holds_keeps_sinks_and_newest(rng, ring):
    window, sinks, slack = ring
    cache, model = ring_pair(3, 2, 12, window=window, sinks=sinks, slack=slack)
    for tokens, lengths in ((1, [1, 0, 1]), (70, [70, 5, 0]), (90, [1, 90, 40])):
        key, value = draw(rng, 3, 2, tokens, 12, 12)
        cache.append(key, value, lengths=lengths)
        model.append(key, value, lengths)
        newest = np.minimum(cache.lengths, slack + 1)
        (query,) = draw(rng, 3, 2, slack + 1, 12)
        assert_attends(cache.attend(query, lengths=newest), model, query, newest)


@pytest.mark.parametrize("slack", [0, 1, 5])
def test_ring_attends_as_many_tokens_as_it_has_room_beside_the_window(rng, slack):
    cache, model = ring_pair(2, 1, 8, window=6, sinks=2, slack=slack)
    key, value = draw(rng, 2, 1, 40, 8, 8)
    cache.append(key, value)
    model.append(key, value)
    (query,) = draw(rng, 2, 1, slack + 2, 8)
    assert_attends(cache.attend(query[:, :, 1:]), model, query[:, :, 1:])
    with pytest.raises(ValueError, match=rf"looks back to position .* ring dropped.* newest {slack + 1} tokens? can"):
        cache.attend(query)
    with pytest.raises(ValueError, match="sequence 1"):
        cache.attend(query, lengths=[1, slack + 2])


def test_ring_after_truncate_says_how_many_tokens_attend(rng):
    cache, _ = ring_pair(1, 1, 8, window=5, sinks=0, slack=15)
    cache.append(*draw(rng, 1, 1, 60, 8, 8))
    cache.truncate(50)
    (query,) = draw(rng, 1, 1, 7, 8)
    with pytest.raises(ValueError, match=r"it holds 40 and later\. Now its newest 6 tokens can attend"):
        cache.attend(query)
    cache.attend(query[:, :, 1:])


def test_ring_counts_no_more_tokens_than_angles_are_exact_for(rng):
    cache, _ = ring_pair(1, 1, 8, window=5, sinks=0, slack=1)
    cache._lengths, cache._kept_from = cache._lengths + (1 << 53) - 1, cache._kept_from + (1 << 53) - 6
    key, value = draw(rng, 1, 1, 2, 8, 8)
    for tokens in ((key, value), (key.astype(np.float64), value)):
        with pytest.raises(CacheFullError, match="would get 9007199254740993"):
            cache.append(*tokens)
    cache.append(key[:, :, 1:], value[:, :, 1:])
    assert cache.lengths == 1 << 53


def test_ring_not_yet_full_attends_everything(rng):
    cache, model = ring_pair(2, 1, 8, window=6, sinks=2)
    key, value = draw(rng, 2, 1, 8, 8, 8)
    cache.append(key, value)
    model.append(key, value)
    (query,) = draw(rng, 2, 3, 8, 8)
    assert_attends(cache.attend(query), model, query)
    assert_attends(cache.attend(query, is_causal=False), model, query, is_causal=False)


@pytest.mark.parametrize(
    "options", [{"scale": 0.4}, {"softcap": 2.0}, {"is_causal": False}, {"scale": -1, "softcap": 1}]
)
def test_ring_options_match_the_reference(rng, options):
    cache, model = ring_pair(2, 2, 16, window=5, sinks=2, slack=4)
    for tokens in (9, 30, 3):
        key, value = draw(rng, 2, 2, tokens, 16, 16)
        cache.append(key, value)
        model.append(key, value)
        (query,) = draw(rng, 2, 4, 4, 16)
        tokens = min(tokens, 4)
        assert_attends(cache.attend(query[:, :, :tokens], **options), model, query[:, :, :tokens], **options)


def test_ring_chunks_both_ways_raise(rng):
    cache = KVCache(1, 1, 6, 4, window=3, sinks=1)
    key, value, query = draw(rng, 1, 1, 7, 4, 4, 4)
    cache.step(query[:, :, :6], key[:, :, :6], value[:, :, :6], is_causal=False)
    before = cache.attend(query[:, :, 0])
    with pytest.raises(ValueError, match=r"is_causal must be True .* at most 3 tokens"):
        cache.step(query[:, :, :4], key[:, :, :4], value[:, :, :4], is_causal=False)
    np.testing.assert_array_equal(cache.attend(query[:, :, 0]), before)
    np.testing.assert_array_equal(cache.lengths, [6])


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_ring_rotary_keeps_the_positions_of_the_text(rng, dtype):
    cache, model = ring_pair(2, 1, 16, window=5, sinks=3, slack=2, dtype=dtype, rotary=Rotary())
    for tokens in (12, 1, 1, 25, 2):
        key, value = draw(rng, 2, 1, tokens, 16, 16)
        (query,) = draw(rng, 2, 2, tokens, 16)
        got = cache.step(query, key, value)
        model.append(key, value)
        assert_attends(got, model, query)


@pytest.mark.parametrize("dtype", FORMATS)
def test_ring_nan_reaches_nobody_once_dropped(rng, dtype):
    cache, model = ring_pair(1, 1, 8, window=3, sinks=2, slack=1, dtype=dtype)
    seen = []
    for position in range(14):
        key, value = draw(rng, 1, 1, 1, 8, 8)
        if position == 5:
            key[...] = np.nan
            value[...] = np.nan
        (query,) = draw(rng, 1, 1, 1, 8)
        got = cache.step(query, key, value)
        model.append(key, value)
        assert_attends(got, model, query)
        seen.append(bool(np.isnan(got).any()))
    assert np.flatnonzero(seen).tolist() == [5, 6, 7]


# --- back and forth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slack", [0, 1, 4])
def test_ring_truncate_goes_back_as_far_as_the_window_is_stored(rng, slack):
    cache, model = ring_pair(2, 1, 8, window=4, sinks=2, slack=slack)
    key, value = draw(rng, 2, 1, 30, 8, 8)
    cache.append(key, value)
    model.append(key, value)
    with pytest.raises(ValueError, match=r"lengths go back further than the ring holds.*sequence 1"):
        cache.truncate([30, 30 - slack - 1])
    np.testing.assert_array_equal(cache.lengths, [30, 30])
    cache.truncate([30, 30 - slack])
    model.truncate([30, 30 - slack])
    (query,) = draw(rng, 2, 1, 1, 8)
    assert_attends(cache.attend(query), model, query)
    if slack:
        with pytest.raises(ValueError, match="go back further"):
            cache.truncate([30, 30 - slack - 1])
    for tokens in (1, 3, 8):  # grows again over what was taken back
        key, value = draw(rng, 2, 1, tokens, 8, 8)
        (query,) = draw(rng, 2, 1, tokens, 8)
        model.append(key, value)
        assert_attends(cache.step(query, key, value), model, query)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_ring_truncate_to_the_sinks_begins_anew(rng, length):
    cache, model = ring_pair(2, 1, 8, window=4, sinks=3)
    for tokens in (30, 5, 1):
        key, value = draw(rng, 2, 1, tokens, 8, 8)
        (query,) = draw(rng, 2, 1, tokens, 8)
        cache.truncate(np.minimum(cache.lengths, length))
        model.truncate(np.minimum(model.lengths, length))
        model.append(key, value)
        assert_attends(cache.step(query, key, value), model, query)
    with pytest.raises(ValueError, match="go back further"):
        cache_after(20).truncate(4)


def cache_after(tokens):
    cache = KVCache(1, 1, 7, 4, window=4, sinks=3)
    cache.append(*np.zeros((2, 1, 1, tokens, 4)))
    return cache


@pytest.mark.parametrize("dtype", ["float32", "int4"])
def test_ring_reorder_takes_the_whole_ring_along(rng, dtype):
    cache, model = ring_pair(3, 1, 8, window=4, sinks=2, slack=1, dtype=dtype)
    for lengths, indices in (([20, 3, 0], [0, 0, 1]), ([1, 0, 30], [2, 0, 0]), ([1, 9, 2], [1, 1, 1])):
        key, value = draw(rng, 3, 1, 30, 8, 8)
        cache.append(key, value, lengths=lengths)
        model.append(key, value, lengths)
        cache.reorder(indices)
        model.reorder(indices)
        key, value = draw(rng, 3, 1, 2, 8, 8)
        (query,) = draw(rng, 3, 1, 2, 8)
        model.append(key, value)
        assert_attends(cache.step(query, key, value), model, query)


# --- all or nothing ---------------------------------------------------------------------------------------------------


def newest(cache, query):
    return [cache.lengths, cache.attend(query[:, :, 0])]


@pytest.mark.parametrize("slack", [0, 2, 9])
@pytest.mark.parametrize("tokens", [1, 3, 8, 40])
@pytest.mark.parametrize("where", ["write", "attend"])
@pytest.mark.parametrize("written", [False, True])
def test_ring_failed_step_changes_nothing_it_shows(rng, monkeypatch, slack, tokens, where, written):
    """Fails in each of its calls of the kernels, before or after they did their work."""
    owner, name = (Storage, "write_arrays") if where == "write" else (Reader, "attend")
    kernel, failing, completed = getattr(owner, name), 0, False
    while not completed:
        cache, model = ring_pair(2, 1, 8, window=5, sinks=2, slack=slack, dtype="int8")
        key, value = draw(rng, 2, 1, 30, 8, 8)
        cache.append(key, value, lengths=[30, 6])
        model.append(key, value, [30, 6])
        query, key, value = draw(rng, 2, 1, tokens, 8, 8, 8)
        before, calls = newest(cache, query), []

        def fail(*arguments, failing=failing, calls=calls, **options):
            calls.append(None)
            if written or len(calls) <= failing:
                kernel(*arguments, **options)
            if len(calls) > failing:
                raise MemoryError

        monkeypatch.setattr(owner, name, fail)
        try:
            cache.step(query, key, value)
            completed = True
        except MemoryError:
            monkeypatch.undo()
            for x, y in zip(before, newest(cache, query), strict=True):
                np.testing.assert_array_equal(x, y)
            assert_attends(newest(cache, query)[1], model, query[:, :, 0])
            model.append(key, value)
            assert_attends(cache.step(query, key, value), model, query)
        monkeypatch.undo()
        failing += 1
    assert failing > 1


@pytest.mark.parametrize("tokens", [1, 4, 40])
@pytest.mark.parametrize("slack", [0, 3])
def test_ring_failed_append_changes_nothing_it_shows(rng, monkeypatch, tokens, slack):
    cache = KVCache(2, 1, 7 + slack, 8, window=5, sinks=2, dtype="int4")
    cache.append(*draw(rng, 2, 1, 19, 8, 8))
    query, key, value = draw(rng, 2, 1, tokens, 8, 8, 8)
    before, write = newest(cache, query), Storage.write_arrays

    def fail(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Storage, "write_arrays", fail)
    with pytest.raises(KeyboardInterrupt):
        cache.append(key, value)
    monkeypatch.undo()
    for x, y in zip(before, newest(cache, query), strict=True):
        np.testing.assert_array_equal(x, y)
    # What truncate may go back to can be lost, and is refused then.
    if slack:
        with pytest.raises(ValueError, match="go back further"):
            cache.truncate(19 - slack)


def test_ring_refused_step_writes_nothing(rng):
    cache = KVCache(1, 1, 5, 4, window=4, sinks=1)
    cache.append(*draw(rng, 1, 1, 12, 4, 4))
    before = {name: array.copy() for name, array in cache.arrays.items()}
    key, value, query = draw(rng, 1, 1, 3, 4, 4, 4)
    for bad in (
        {"lengths": [4]},
        {"lengths": [1.0]},
        {"scale": np.nan},
        {"softcap": 0.0},
        {"is_causal": False},
        {"out": np.zeros((1, 1, 3, 5), np.float32)},
    ):
        with pytest.raises((ValueError, TypeError)):
            cache.step(query, key, value, **bad)
    for name, array in cache.arrays.items():
        np.testing.assert_array_equal(array, before[name])


# --- the sizes alone --------------------------------------------------------------------------------------------------


@given(data=st.data(), window=st.integers(1, 5), sinks=st.integers(0, 4), slack=st.integers(0, 6))
def test_ring_knows_which_positions_its_slots_hold(data, window, sinks, slack):
    """A dictionary slot -> position is what the memory holds; the ring may never claim more, nor less than it must."""
    ring, length, kept, memory = Ring(window, sinks, window + slack), 0, np.array([sinks]), {}
    for _ in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()):
            count = data.draw(st.integers(0, 20))
            attends = data.draw(st.booleans())
            divide = ring.parts_to_attend if attends else ring.parts_to_store
            for begins, ends in divide(np.array([length]), np.array([count])):
                positions = length + np.arange(begins[0], ends[0])
                slots = ring.slots(positions).tolist()
                assert len(set(slots)) == len(slots)
                assert all(0 <= slot < sinks + ring.rows for slot in slots)
                memory.update(zip(slots, positions.tolist(), strict=True))
                if attends:
                    for at in positions.tolist():
                        shown = [*range(min(sinks, at + 1)), *range(max(sinks, at - window + 1), at + 1)]
                        assert [memory[int(ring.slots(np.array(j)))] for j in shown] == shown
            length += count
            kept = ring.kept_after(kept, np.array([length]))
        else:
            shorter = data.draw(st.integers(0, length))
            kept_then = np.array([sinks]) if shorter <= sinks else kept
            if (kept_then <= ring.oldest_seen(np.array([shorter - 1]))).all():
                length, kept = shorter, kept_then
            else:
                oldest = max(sinks, shorter - window)
                held = [memory.get(int(ring.slots(np.array(j)))) == j for j in range(oldest, shorter)]
                assert not all(held)
        claimed = [*range(min(sinks, length)), *range(int(kept[0]), length)]
        assert [memory[int(ring.slots(np.array(j)))] for j in claimed] == claimed
        assert kept[0] <= max(sinks, length - window)
        used = min(length, sinks + ring.rows)  # what is saved and copied
        assert all(ring.slots(np.array(j)) < used for j in claimed)


@given(data=st.data())
def test_ring_any_sequence_of_operations_matches_the_model(data):
    draw_int = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    rng = np.random.default_rng(draw_int(0, 1000))
    batch, window, sinks, slack = draw_int(1, 3), draw_int(1, 6), draw_int(0, 4), draw_int(0, 5)
    dtype = data.draw(st.sampled_from(FORMATS))
    cache, model = ring_pair(batch, 2, 6, 5, window=window, sinks=sinks, slack=slack, dtype=dtype)
    for operation in data.draw(
        st.lists(st.sampled_from(["step", "step", "append", "truncate", "reorder"]), max_size=8)
    ):
        if operation == "reorder":
            indices = data.draw(st.lists(st.integers(0, batch - 1), min_size=batch, max_size=batch))
            cache.reorder(indices)
            model.reorder(indices)
        elif operation == "truncate":
            lengths = [draw_int(max(0, n - slack - 1), n) for n in model.lengths.tolist()]
            try:
                cache.truncate(lengths)
                model.truncate(lengths)
            except ValueError as error:
                assert "go back further" in str(error)  # noqa: PT017
        else:
            tokens = draw_int(1, 20)
            counts = [draw_int(0, tokens) for _ in range(batch)]
            key, value = draw(rng, batch, 2, tokens, 6, 5)
            (query,) = draw(rng, batch, 4, tokens, 6)
            model.append(key, value, counts)
            if operation == "append":
                cache.append(key, value, lengths=counts)
            else:
                assert_attends(cache.step(query, key, value, lengths=counts), model, query, counts)
        np.testing.assert_array_equal(cache.lengths, model.lengths)
        (query,) = draw(rng, batch, 4, 1, 6)
        counts = np.minimum(model.lengths, 1)
        assert_attends(cache.attend(query, lengths=counts), model, query, counts)


def test_model_masks_what_lies_between_sinks_and_window():
    seen = Model(1, 1, 1, window=2, sinks=1).mask(5, 2, True)
    np.testing.assert_array_equal(seen, [[1, 0, 1, 1, 0], [1, 0, 0, 1, 1]])
