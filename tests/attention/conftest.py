"""What the attention tests share: seeded inputs, and the bound every result is held to."""

import sys

import ml_dtypes
import numpy as np
import pytest
from numba import njit

from fastcore import reference, scaled_dot_product_attention
from fastcore._core.validate import NO_BOUND
from fastcore.attention.kernels.storage_formats import F16, F32


@njit
def written_by_a_user(score, b, h, i, j):
    return 0.75 * score + 0.1 * h - 0.02 * b * abs(i - j)


# Every option once, as functions of (rng, B, H, L, S) = (rng, b, h, m, n), so that any two make a test.
OPTIONS = {
    "attn_mask_bool": lambda rng, b, h, m, n: {"attn_mask": rng.random((b, h, m, n)) < 0.7},
    "attn_mask_float": lambda rng, b, h, m, n: {"attn_mask": rng.normal(size=(b, 1, m, n))},
    "dropout": lambda rng, b, h, m, n: {"dropout_p": 0.3, "seed": (7 << 32) + 5},
    "is_causal": lambda rng, b, h, m, n: {"is_causal": True},
    "scale": lambda rng, b, h, m, n: {"scale": -0.31},
    "window": lambda rng, b, h, m, n: {"window": (9, 4)},
    "window_left": lambda rng, b, h, m, n: {"window": (5, None)},
    "softcap": lambda rng, b, h, m, n: {"softcap": 1.5},
    "query_offset": lambda rng, b, h, m, n: {"query_offset": rng.integers(-5, n + 5, b)},
    "key_lengths": lambda rng, b, h, m, n: {"key_lengths": rng.integers(0, n + 1, b)},
    "alibi_slopes": lambda rng, b, h, m, n: {"alibi_slopes": 0.3 * rng.random((b, h))},
    "sinks": lambda rng, b, h, m, n: {"sinks": 2.0 * rng.normal(size=h)},
    "block_mask": lambda rng, b, h, m, n: {"block_mask": rng.random((b, h, -(-m // 64), -(-n // 64))) < 0.6},
}
# What the gradients take with a second function only.
FUNCTIONS = {"score_mod": lambda rng, b, h, m, n: {"score_mod": written_by_a_user}}


@pytest.fixture(scope="session")
def options():
    """make(names, seed, B, H, L, S, dtype) -> keyword arguments with the named options."""

    def make(names, seed, b, h, m, n, dtype=np.float32):
        rng = np.random.default_rng(seed)
        keywords = {}
        for name in names:
            for key, value in (OPTIONS | FUNCTIONS)[name](rng, b, h, m, n).items():
                is_float_mask = key == "attn_mask" and value.dtype != np.bool_
                keywords[key] = value.astype(dtype) if is_float_mask else value
        return keywords

    return make


@pytest.fixture(scope="session")
def arrays():
    """make(seed, B, H, G, L, S, D, Dv, dtype) -> query, key, value; L and S are called m and n."""

    def make(seed=0, b=2, h=4, g=2, m=37, n=53, d=24, dv=40, dtype=np.float32):
        rng = np.random.default_rng(seed)
        return tuple(rng.normal(size=shape).astype(dtype) for shape in ((b, h, m, d), (b, g, n, d), (b, g, n, dv)))

    return make


@pytest.fixture(scope="session")
def assert_close():
    """compare(got, (query, key, value), options): out and lse of ours against the twin in float64.

    float32 may be off by twice what the plain float32 implementation is off by on the same input, plus 1e-6 of the
    largest value for inputs on which that happens to be exact; float64 by 1e-12 of it.
    """

    def compare(got, inputs, keywords, atol=1e-6):
        exact = twin(inputs, np.float64, keywords)
        plain = twin(inputs, np.float32, keywords)
        for result, want, rough in zip(got, exact, plain, strict=True):
            seen = np.isfinite(want)
            np.testing.assert_array_equal(np.asarray(result, np.float64)[~seen], want[~seen])
            largest = np.abs(want[seen]).max(initial=1e-30)
            if result.dtype == np.float64:
                bound = 1e-12 * largest
            else:
                bound = 2.0 * np.abs(rough[seen] - want[seen]).max(initial=0.0) + atol * largest
            assert np.abs(result[seen] - want[seen]).max(initial=0.0) <= bound

    def twin(inputs, dtype, keywords):
        keywords = dict(keywords)
        mask = keywords.get("attn_mask")
        if mask is not None and mask.dtype != np.bool_:
            keywords["attn_mask"] = mask.astype(dtype)
        return reference.scaled_dot_product_attention(*(x.astype(dtype) for x in inputs), **keywords, return_lse=True)

    return compare


@pytest.fixture(scope="session")
def check(assert_close):
    """run(inputs, options): call ours with `return_lse` and compare; returns (out, lse)."""

    def run(inputs, keywords, **kinds):
        got = scaled_dot_product_attention(*inputs, **keywords, return_lse=True)
        assert_close(got, inputs, keywords, **kinds)
        return got

    return run


def numbers_of(array, storage):
    """What the kernel is given as bits of half precision as the numbers, in the same memory."""
    return array if storage == F32 else array.view(np.float16 if storage == F16 else ml_dtypes.bfloat16)


@pytest.fixture
def kernel_calls(monkeypatch):
    """Puts the twin in the kernel's place and holds each call to what the kernel is promised; yields the calls.

    For tests of what the public function does with its arguments, without compiling anything.
    """
    calls = []

    def attend(query, key, value, mask_bool, mask_float, offset, lengths, left, right, *more):
        scale, softcap, dropout_p, seed, out, lse, changes, storage, _ = more
        (b, h, m, d), (_, g, n, _), dv = query.shape, key.shape, value.shape[3]
        assert query.dtype in ((np.float32, np.float64) if storage == F32 else (np.uint16,))
        assert query.dtype.isnative
        computing = np.dtype(np.float64 if query.dtype == np.float64 else np.float32)
        assert h % g == 0
        assert 0 not in (b, h, m, n, d, dv)
        shapes = {id(query): (b, h, m, d), id(key): (b, g, n, d), id(value): (b, g, n, dv), id(out): (b, h, m, dv)}
        for array in (query, key, value, out):
            assert type(array) is np.ndarray
            assert array.dtype == query.dtype
            assert array.shape == shapes[id(array)]
            assert array.shape[3] == 1 or array.strides[3] == array.itemsize
            assert array.flags.aligned
        for mask, dtype in ((mask_bool, np.bool_), (mask_float, computing)):
            assert mask is None or (mask.shape == (b, h, m, n) and mask.dtype == dtype and mask.flags.aligned)
        assert mask_bool is None or mask_float is None
        for integers in (offset, lengths):
            assert integers is None or (integers.shape == (b,) and integers.dtype == np.int64)
            assert integers is None or integers.flags.c_contiguous
        assert lengths is None or (lengths.min() >= 0 and lengths.max() <= n)
        assert lse is None or (lse.shape == (b, h, m) and lse.dtype == computing and lse.flags.c_contiguous)
        for number, kind in (
            (left, int),
            (right, int),
            (seed, int),
            (scale, float),
            (softcap, float),
            (dropout_p, float),
        ):
            assert type(number) is kind
        assert 0 <= left <= NO_BOUND
        assert 0 <= right <= NO_BOUND
        assert 0.0 <= dropout_p < 1.0
        for numbers, allowed in ((changes.slopes, ((1, h), (b, h))), (changes.sinks, ((h,),))):
            assert numbers is None or (numbers.shape in allowed and numbers.dtype == np.float64)
            assert numbers is None or numbers.flags.c_contiguous
        blocks = changes.blocks
        assert blocks is None or (blocks.shape == (b, h, -(-m // 64), -(-n // 64)) and blocks.dtype == np.bool_)
        numbers = (numbers_of(x, storage) for x in (query, key, value))
        result, lse_nat = reference.scaled_dot_product_attention(
            *numbers, mask_float if mask_bool is None else mask_bool, dropout_p, scale=scale,
            window=(left, right), softcap=softcap or None, query_offset=0 if offset is None else offset,
            key_lengths=lengths, return_lse=True, seed=seed, sinks=changes.sinks, block_mask=blocks,
            alibi_slopes=None if changes.slopes is None else np.broadcast_to(changes.slopes, (b, h)),
        )  # fmt: skip
        numbers_of(out, storage)[...] = result
        if lse is not None:
            lse[...] = lse_nat
        calls.append((query, key, value, mask_float if mask_bool is None else mask_bool, out))

    module = sys.modules[scaled_dot_product_attention.__module__]
    monkeypatch.setattr(module, "attend", attend)
    monkeypatch.setattr(module, "flash_forward_small", lambda *arguments: False)  # all go the thorough way
    return calls
