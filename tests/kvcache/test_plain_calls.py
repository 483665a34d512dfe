"""The short ways of the caches: they do what the thorough ways do, which a call takes that says `lengths`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.kvcache import KVCache, PagedKVCache, Rotary, call, contiguous
from fastcore.kvcache.kernels import plain
from fastcore.kvcache.sequences import Sequences
from tests.kvcache.contiguous_model import FORMATS, draw


def unaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:]
    memory.view(x.dtype).reshape(x.shape)[...] = x
    return memory.view(x.dtype).reshape(x.shape)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


PLAIN_ARRAYS = {
    "contiguous": np.copy,
    "read-only": read_only,
    "tokens first": lambda x: np.moveaxis(np.moveaxis(x, -2, 0).copy(), 0, -2),
    "wide rows": lambda x: np.concatenate([x, x], -1)[..., : x.shape[-1]],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "stretched": lambda x: np.broadcast_to(x[:1, :1], x.shape),
}
OTHER_ARRAYS = {
    "unaligned": unaligned,
    "every second": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "big-endian": lambda x: x.astype(">f4"),
    "list": lambda x: x.tolist(),
    "subclass": lambda x: x.view(np.memmap),
}
ARRAYS = PLAIN_ARRAYS | OTHER_ARRAYS
SIZES = {"full": {}, "ring": {"window": 5, "sinks": 2}, "rotary": {"rotary": Rotary()}}
OPTIONS = [
    {},
    {"scale": 0.3},
    {"softcap": 2.0},
    {"is_causal": False},
    {"scale": 1.0, "softcap": 9.0, "is_causal": True},
]


def outcome(function, *arguments, **options):
    """What a call returned, or how it was refused."""
    try:
        return function(*arguments, **options)
    except (ValueError, TypeError, RuntimeError) as error:
        return type(error).__name__, str(error)


def assert_equal(got, want):
    if isinstance(want, tuple) or want is None:
        assert got == want
    else:
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def out_of(kind, shape, dtype, key):
    if kind == "tokens before heads" and len(shape) == 4:
        return np.zeros(np.array(shape)[[0, 2, 1, 3]], dtype).swapaxes(1, 2)
    return {
        "read-only": lambda: read_only(np.zeros(shape, dtype)),
        "every second": lambda: np.zeros((*shape[:-1], 2 * shape[-1]), dtype)[..., ::2],
        "unaligned": lambda: unaligned(np.zeros(shape, dtype)),
        "wrong": lambda: np.zeros((*shape[:-1], shape[-1] + 1), dtype),
        "key": lambda: key if isinstance(key, np.ndarray) else np.zeros(shape, dtype),
    }.get(kind, lambda: np.zeros(shape, dtype))()


OUTS = ["none", "none", "contiguous", "tokens before heads", "read-only", "every second", "unaligned", "wrong", "key"]


def call_of(cache, method, query, pair, kinds, out_kind, options, lengths):
    """Call append, attend or step with arrays of some kinds."""
    x, key, value = (ARRAYS[kind](each) for kind, each in zip(kinds, (query, *pair), strict=True))
    dtype = getattr(x, "dtype", np.dtype(np.float64)).newbyteorder("=")
    out = None if out_kind == "none" else out_of(out_kind, (*query.shape[:-1], 6), dtype, key)
    if method == "append":
        return outcome(cache.append, key, value, lengths=lengths)
    arguments = (x,) if method == "attend" else (x, key, value)
    result = outcome(getattr(cache, method), *arguments, lengths=lengths, out=out, **options)
    assert out is None or isinstance(result, tuple) or result is out
    return result


@given(data=st.data(), size=st.sampled_from(list(SIZES)), dtype=st.sampled_from(FORMATS), batch=st.integers(1, 3))
def test_kv_cache_plain_calls_equal_thorough_ones(data, size, dtype, batch):
    """Two caches see the same calls; one is told the lengths that are the default. Results, errors, state: equal."""
    pick = lambda values: data.draw(st.sampled_from(list(values)))  # noqa: E731
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    short, thorough = (KVCache(batch, 2, 11, 6, dtype=dtype, **SIZES[size]) for _ in range(2))
    for _ in range(data.draw(st.integers(1, 6))):
        tokens, method = pick([1, 1, 1, 2, 4, 6]), pick(["append", "step", "step", "attend", "truncate"])
        if method == "truncate":
            length = data.draw(st.integers(-1, 12))
            assert outcome(short.truncate, length) == outcome(thorough.truncate, [length] * batch)
        else:
            (query,) = draw(rng, batch, pick([2, 2, 4, 4, 3]), tokens, pick([6, 6, 6, 6, 5]))
            pair = draw(rng, batch, 2, pick([tokens] * 4 + [1]), 6, 6)
            if tokens == 1 and pick([False, True]):
                query = query[:, :, 0]
            kinds = [pick([*PLAIN_ARRAYS, pick(ARRAYS)]) for _ in range(3)]
            rest = method, query, pair, kinds, pick(OUTS), pick(OPTIONS)
            assert_equal(call_of(short, *rest, None), call_of(thorough, *rest, pair[0].shape[2]))
        np.testing.assert_array_equal(short._lengths, thorough._lengths)
        np.testing.assert_array_equal(short._kept_from, thorough._kept_from)
    for name, array in short.arrays.items():
        np.testing.assert_array_equal(array, thorough.arrays[name])


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("place", ["query", "key", "value"])
def test_kv_cache_one_array_of_another_kind_is_read_alike(rng, kind, place):
    arrays = dict(zip(["query", "key", "value"], draw(rng, 2, 2, 3, 6, 6, 6), strict=True))
    arrays[place] = ARRAYS[kind](arrays[place])
    short, thorough = KVCache(2, 2, 6, 6), KVCache(2, 2, 6, 6)
    assert_equal(short.step(**arrays), thorough.step(**arrays, lengths=3))
    short.append(arrays["key"], arrays["value"])
    thorough.append(arrays["key"], arrays["value"], lengths=3)
    np.testing.assert_array_equal(short.arrays["values"], thorough.arrays["values"])
    assert_equal(short.attend(arrays["query"]), thorough.attend(arrays["query"], lengths=3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", PLAIN_ARRAYS)
@pytest.mark.parametrize("has_out", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_kv_cache_plain_calls_take_the_short_way(rng, monkeypatch, size, kind, has_out, options):
    cache = KVCache(2, 2, 11, 6, value_dim=4, **SIZES[size])
    for owner, name in (
        (contiguous, "attend_call"),
        (Sequences, "_extend"),
        (contiguous.validate_cache, "keys_and_values"),
        (contiguous.validate_cache, "shorter_lengths"),
    ):
        monkeypatch.setattr(owner, name, None)
    key, value, query = (PLAIN_ARRAYS[kind](x) for x in draw(rng, 2, 2, 3, 6, 4, 6))
    out = np.zeros((2, 2, 3, 4), np.float32) if has_out else None
    cache.append(key, value)
    cache.step(query, key, value, out=out, **options)
    cache.attend(query, out=out, **options)
    cache.truncate(5)
    cache.step(query[:, :, 0], key[:, :, 1:2], value[:, :, 1:2], **options)
    assert cache.lengths.tolist() == [6, 6]


def test_kv_cache_truncate_of_any_number_is_refused_alike():
    cache = KVCache(2, 1, 4, 4)
    for length in (-1, 1, 1 << 62, -(1 << 62)):
        with pytest.raises(ValueError, match=r"lengths must lie in 0 \.\. the sequence's length"):
            cache.truncate(length)
    with pytest.raises(ValueError, match="lengths must fit into int64"):
        cache.truncate(1 << 70)
    with pytest.raises(TypeError, match="lengths must hold integers"):
        cache.truncate(True)


def test_kv_cache_wrong_query_of_any_extent_is_named():
    """A stretched array has any shape; no result of it is made before the shape is known to be right."""
    cache = KVCache(1, 1, 4, 4)
    for shape in ((1, 1 << 40, 1, 3), (1 << 58, 1, 1, 1), (1 << 50, 4)):
        with pytest.raises(ValueError, match=r"query must be \(B, H, T, D\)"):
            cache.attend(np.broadcast_to(np.float32(0), shape))


def test_kv_cache_read_only_out_is_refused_and_stays_as_it_was(rng):
    cache, out = KVCache(1, 1, 4, 4), read_only(np.zeros((1, 1, 1, 4), np.float32))
    arrays = draw(rng, 1, 1, 1, 4, 4, 4)
    cache.append(*arrays[1:])
    for call_it in (lambda: cache.attend(arrays[0], out=out), lambda: cache.step(*arrays, out=out)):
        with pytest.raises(ValueError, match="out must be writable"):
            call_it()
    assert not out.any()
    assert cache.lengths.tolist() == [1]


def memory_of(x):
    return {x.__array_interface__["data"][0] + i for i in np.indices(x.shape).T.reshape(-1, 4) @ x.strides}


@given(data=st.data())
def test_touches_never_misses_shared_memory(data):
    memory = np.zeros((4, 4, 4, 4), np.float32)

    def view():
        slices = []
        for _ in range(4):
            first = data.draw(st.integers(0, 3))
            end = data.draw(st.integers(first + 1, 4))
            slices.append(slice(first, end)[::1] if False else slice(first, end))
        x = memory[tuple(slices)]
        turned = tuple(slice(None, None, data.draw(st.sampled_from([-1, 1]))) for _ in range(3))
        return x[turned].transpose([*data.draw(st.permutations([0, 1, 2])), 3])

    out, query, key, value = (view() for _ in range(4))
    shared = any(memory_of(out) & memory_of(x) for x in (query, key, value))
    assert plain.TOUCHES.call(out, query, key, value) or not shared
    assert not plain.TOUCHES.call(out.copy(), query, key, value)


def test_attend_options_take_what_is_no_plain_float():
    assert call.attend_options(None, None, True, 0.5) == (0.5, 0.0, True)
    assert call.attend_options(np.float32(2), 3, np.False_, 0.5) == (2.0, 3.0, False)
    for wrong in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="must be finite"):
            call.attend_options(wrong, None, True, 0.5)
        with pytest.raises(ValueError, match="softcap must be"):
            call.attend_options(None, wrong, True, 0.5)


# --- pages ------------------------------------------------------------------------------------------------------------


def paged_call_of(cache, method, ids, form, queries, pair, kind, out, options):
    """Call append, attend or step with lists or tuples of arrays of a kind."""
    x, key, value = (form(ARRAYS[kind](each) for each in arrays) for arrays in (queries, *pair))
    if method == "append":
        return outcome(cache.append, ids, key, value)
    arguments = (x,) if method == "attend" else (x, key, value)
    result = outcome(getattr(cache, method), ids, *arguments, out=out, **options)
    return [each.copy() for each in result] if isinstance(result, list) else result


@given(data=st.data(), dtype=st.sampled_from(FORMATS), count=st.integers(1, 4), has_rotary=st.booleans())
def test_paged_lists_of_one_shape_equal_tuples(data, dtype, count, has_rotary):
    """A list of arrays of one shape becomes a batch, a tuple does not."""
    pick = lambda values: data.draw(st.sampled_from(list(values)))  # noqa: E731
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    rotary = Rotary() if has_rotary else None
    short, thorough = (PagedKVCache(12, 3, 2, 6, value_dim=4, dtype=dtype, rotary=rotary) for _ in range(2))
    ids = [(short.allocate(), thorough.allocate())[0] for _ in range(count)]
    for _ in range(data.draw(st.integers(1, 6))):
        tokens, method = pick([1, 1, 2, 3]), pick(["append", "step", "step", "attend"])
        pair = [[*x] for x in draw(rng, count, 2, tokens, 6, 4)]
        queries = [*draw(rng, count, pick([2, 4, 3]), tokens, 6)[0]]
        odd = pick(["", "", "", "shorter", "queries without tokens", "keys without tokens"])
        if odd == "shorter":
            pair = [[*x[:-1], x[-1][:, :1]] for x in pair]
        elif odd == "queries without tokens":
            queries = [x[:, 0] for x in queries]
        elif odd:
            pair = [[x[:, 0] for x in arrays] for arrays in pair]
        out = pick([None, [np.zeros((*x.shape[:-1], 4), np.float32) for x in queries]])
        rest = queries, pair, pick([*PLAIN_ARRAYS, pick(ARRAYS)]), out, pick(OPTIONS)
        got, want = (
            paged_call_of(cache, method, ids, form, *rest) for cache, form in ((short, list), (thorough, tuple))
        )
        if isinstance(want, list):
            for one, other in zip(got, want, strict=True):
                assert_equal(one, other)
        else:
            assert got == want
        assert short.lengths == thorough.lengths
    for name, array in short._storage.arrays.items():
        np.testing.assert_array_equal(array, thorough._storage.arrays[name])
