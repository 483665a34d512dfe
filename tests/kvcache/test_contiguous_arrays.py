"""KVCache: arrays in any memory and dtype come in, `out` may be any array that fits."""

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore.kvcache import KVCache
from tests.kvcache.contiguous_model import FORMATS, draw


def wide_rows(x):
    memory = np.full((*x.shape[:-1], x.shape[-1] + 3), np.nan, x.dtype)
    memory[..., : x.shape[-1]] = x
    return memory[..., : x.shape[-1]]


def readonly(x):
    x = x.copy()
    x.flags.writeable = False
    return x


MEMORY = {
    "fortran": np.asfortranarray,
    "tokens before heads": lambda x: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
    "wide rows": wide_rows,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, :, ::-1, ::-1])[::-1, :, ::-1, ::-1],
    "readonly": readonly,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
    "float64": lambda x: x.astype(np.float64),
}


@pytest.mark.parametrize("memory", MEMORY)
def test_kv_cache_takes_arrays_in_any_memory(rng, memory):
    lay = MEMORY[memory]
    plain, other = (KVCache(2, 2, 12, 24, value_dim=8, dtype="int8") for _ in range(2))
    for tokens in (5, 1, 4):
        key, value = draw(rng, 2, 2, tokens, 24, 8)
        (query,) = draw(rng, 2, 4, tokens, 24)
        given = [lay(x) for x in (query, key, value)]
        before = [x.copy() for x in given]
        want, got = plain.step(query, key, value), other.step(*given)
        np.testing.assert_array_equal(got, want.astype(got.dtype))
        np.testing.assert_array_equal(other.attend(given[0]), got)
        for x, y in zip(given, before, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, np.float32])
def test_kv_cache_result_has_the_dtype_of_query_computed_in_float32(rng, dtype):
    key, value = (x.astype(dtype) for x in draw(rng, 2, 2, 5, 16, 16))
    query = draw(rng, 2, 4, 5, 16)[0].astype(dtype)
    rounded, given = KVCache(2, 2, 5, 16), KVCache(2, 2, 5, 16)
    want = rounded.step(*(x.astype(np.float32) for x in (query, key, value)))
    got = given.step(query, key, value)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, want.astype(dtype))


def test_kv_cache_float64_beyond_float32_becomes_infinite(rng):
    cache = KVCache(1, 1, 2, 4)
    cache.append(np.zeros((1, 1, 1, 4)), np.array([1e300, -1e300, 1.0, 0.0]).reshape(1, 1, 1, 4))
    np.testing.assert_array_equal(cache.attend(np.zeros((1, 1, 4)))[0, 0], [np.inf, -np.inf, 1.0, 0.0])


def test_kv_cache_takes_broadcast_arrays(rng):
    one, other = KVCache(2, 2, 6, 8), KVCache(2, 2, 6, 8)
    key, value, query = (np.broadcast_to(x, (2, 2, 5, 8)) for x in draw(rng, 1, 1, 1, 8, 8, 8))
    np.testing.assert_array_equal(one.step(query, key, value), other.step(query.copy(), key.copy(), value.copy()))


def test_kv_cache_takes_what_can_be_an_array(rng):
    class Foreign:
        def __init__(self, x):
            self.x = x

        def __dlpack__(self, **kwargs):
            return self.x.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.x.__dlpack_device__()

    cache = KVCache(1, 1, 4, 4)
    key, value, query = draw(rng, 1, 1, 2, 4, 4, 4)
    want = KVCache(1, 1, 4, 4).step(query, key, value)
    np.testing.assert_array_equal(cache.step(Foreign(query), key.tolist(), Foreign(value)), want)


def test_kv_cache_out_is_written_and_returned(rng):
    cache = KVCache(2, 2, 9, 16, value_dim=12)
    cache.append(*draw(rng, 2, 2, 6, 16, 12))
    (query,) = draw(rng, 2, 4, 3, 16)
    fresh = cache.attend(query)
    wide = np.full((2, 4, 3, 20), 7.0, np.float32)
    outs = {
        "contiguous": np.empty((2, 4, 3, 12), np.float32),
        "wide rows": wide[..., :12],
        "every second": np.zeros((2, 4, 3, 24), np.float32)[..., ::2],
        "fortran": np.zeros((2, 4, 3, 12), np.float32, "F"),
        "backwards": np.zeros((2, 4, 3, 12), np.float32)[::-1, ::-1],
        "tokens before heads": np.zeros((2, 3, 4, 12), np.float32).swapaxes(1, 2),
    }
    for name, out in outs.items():
        assert cache.attend(query, out=out) is out, name
        np.testing.assert_array_equal(out, fresh, name)
    assert (wide[..., 12:] == 7.0).all()
    single = np.empty((2, 4, 12), np.float32)
    assert cache.attend(query[:, :, 2], out=single) is single
    np.testing.assert_array_equal(single, cache.attend(query[:, :, 2]))
    half = np.empty((2, 4, 3, 12), np.float16)
    assert cache.attend(query.astype(np.float16), out=half) is half


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_kv_cache_out_may_overlap_the_inputs(rng, shift):
    cache, other = KVCache(2, 2, 9, 16), KVCache(2, 2, 9, 16)
    key, value, query = draw(rng, 2, 2, 5, 16, 16, 16)
    want = other.step(query, key, value)
    memory = np.zeros(query.size + shift, np.float32)
    overlapping = memory[: query.size].reshape(query.shape)
    overlapping[...] = query
    out = memory[shift:].reshape(query.shape)
    cache.append(key, value)
    np.testing.assert_array_equal(cache.attend(overlapping, out=out), want)
    cache.reset()
    np.testing.assert_array_equal(cache.step(query, key, value, out=value), want)


def test_kv_cache_lengths_below_tokens_zero_the_rest_of_out(rng):
    cache = KVCache(2, 1, 8, 4)
    key, value, query = draw(rng, 2, 1, 3, 4, 4, 4)
    out = np.full((2, 1, 3, 4), np.nan, np.float32)
    cache.step(query, key, value, lengths=[2, 0], out=out)
    assert np.isfinite(out).all()
    assert not out[0, :, 2:].any()
    assert not out[1].any()


@pytest.mark.parametrize("dtype", FORMATS)
def test_kv_cache_one_thread_equals_many(rng, dtype):
    key, value = draw(rng, 2, 2, 600, 64, 64)
    (query,) = draw(rng, 2, 8, 600, 64)
    results = []
    for threads in (1, fastcore.get_num_threads()):
        with fastcore.num_threads(threads):
            cache = KVCache(2, 2, 700, 64, dtype=dtype)
            cache.append(key, value)
            results.append((cache.arrays, cache.attend(query), cache.attend(query[:, :, :2])))
    for name, array in results[0][0].items():
        np.testing.assert_array_equal(results[1][0][name], array)
    for i in (1, 2):
        np.testing.assert_allclose(results[1][i], results[0][i], rtol=0, atol=2e-6)
