import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore._core.streaming import STREAMED_BYTES
from fastcore.nn import dropout, dropout_backward

# Below, at and above a block of words and an item; the last ones are shared by threads.
SHAPES = [(), (1,), (3,), (31,), (32,), (2, 3, 33), (5, 16385), (70, 4099)]
DTYPES = [np.float32, np.float64]
FUNCTIONS = [(dropout, reference.dropout), (dropout_backward, reference.dropout_backward)]


@pytest.mark.parametrize("ours, twin", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_dropout_has_the_bits_of_the_twin(rng, shape, dtype, ours, twin):
    x = np.asarray(rng.normal(size=shape), dtype)
    for offset in (0, 1, 2, 3):
        got = ours(x, 0.3, seed=(5 << 32) + 11, offset=offset)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, twin(x, 0.3, seed=(5 << 32) + 11, offset=offset))


@given(
    size=st.integers(1, 300),
    p=st.floats(0, 1),
    seed=st.integers(0, 2**64 - 1),
    offset=st.one_of(st.integers(0, 100), st.integers(0, 2**63 - 300)),
    cut=st.integers(0, 300),
)
def test_dropout_of_a_part_is_the_part_of_dropout(size, p, seed, offset, cut):
    x, cut = np.arange(1.0, size + 1), min(cut, size)
    whole = dropout(x, p, seed=seed, offset=offset)
    np.testing.assert_array_equal(whole, reference.dropout(x, p, seed=seed, offset=offset))
    np.testing.assert_array_equal(dropout(x[cut:], p, seed=seed, offset=offset + cut), whole[cut:])


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_written_past_the_caches_has_the_same_bits(rng, dtype, start):
    x = np.resize(rng.normal(size=1000).astype(dtype), STREAMED_BYTES // np.dtype(dtype).itemsize + 77)
    out = np.empty(x.size + start, dtype)[start:]
    assert dropout(x, 0.5, seed=3, offset=1, out=out) is out
    part = slice(len(x) // 2 - 5000, len(x) // 2 + 5000)
    want = reference.dropout(x[part], 0.5, seed=3, offset=1 + part.start)
    np.testing.assert_array_equal(out[part], want)
    in_place = x.copy()
    np.testing.assert_array_equal(dropout(in_place, 0.5, seed=3, offset=1, out=in_place), out)


def test_dropout_memory_does_not_matter(rng, in_memory):
    x = rng.normal(size=(6, 5, 33))
    placed = in_memory(x)
    kept = placed.copy()
    np.testing.assert_array_equal(dropout(placed, 0.4, seed=1, offset=2), dropout(x, 0.4, seed=1, offset=2))
    np.testing.assert_array_equal(placed, kept)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_dropout_half_precision_is_rounded_once(rng, dtype):
    x = rng.normal(size=(9, 70)).astype(dtype)
    want = dropout(x.astype(np.float32), 0.3, seed=1).astype(dtype)
    np.testing.assert_array_equal(dropout(x, 0.3, seed=1), want)
    assert dropout(x, 0.3, seed=1, out=x) is x
    np.testing.assert_array_equal(x, want)


@pytest.mark.parametrize("overlap", ["input", "shifted", "none", "fortran", "wide rows"])
def test_dropout_out_may_overlap_anything(rng, overlap):
    memory = rng.normal(size=8 * 40)
    x = memory[40:].reshape(7, 40)
    out = {
        "input": x,
        "shifted": memory[20:-20].reshape(7, 40),
        "none": np.empty((7, 40)),
        "fortran": np.empty((7, 40), order="F"),
        "wide rows": np.empty((7, 50))[:, :40],
    }[overlap]
    want = dropout(x, seed=9)
    assert dropout(x, seed=9, out=out) is out
    np.testing.assert_array_equal(out, want)


ODD = np.array([1.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, -2.0])


@pytest.mark.parametrize("p, training", [(0, True), (0.0, False), (0.5, False), (1.0, False)])
def test_dropout_of_nothing_is_a_copy(p, training):
    got = dropout(ODD, p, training, seed=1)
    assert got.tobytes() == ODD.tobytes()
    assert got is not ODD
    x = ODD.copy()
    assert dropout(x, p, training, seed=1, out=x) is x
    assert x.tobytes() == ODD.tobytes()


def test_dropout_of_everything_is_zero():
    assert dropout(ODD, 1, seed=1).tobytes() == np.zeros(7).tobytes()


def test_what_is_dropped_is_zero_and_what_is_kept_stays_nan():
    x = np.full(1000, np.nan)
    got = dropout(x, seed=0)
    kept = reference.dropout(np.ones(1000), seed=0) > 0
    np.testing.assert_array_equal(got, np.where(kept, np.nan, 0))
    assert not np.signbit(dropout(-np.ones(100), seed=0)[~kept[:100]]).any()


@pytest.mark.parametrize("p", [1e-30, 2.0**-33, 1 - 2.0**-53])
def test_dropout_near_the_ends_of_p(p):
    x = np.ones(5000, np.float32)
    got = dropout(x, p, seed=4)
    np.testing.assert_array_equal(got, reference.dropout(x, p, seed=4))
    assert np.count_nonzero(got) in (0, 5000)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_dropout_of_an_empty_array(shape):
    assert dropout(np.zeros(shape), seed=0).shape == shape


def test_dropout_one_thread_equals_many(rng):
    x = rng.normal(size=300_001)
    with fastcore.num_threads(1):
        want = dropout(x, seed=2)
    np.testing.assert_array_equal(dropout(x, seed=2), want)


N = 1 << 22


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_share_and_correlations_are_those_of_chance(p):
    """Each statistic within five standard deviations of what independent draws give; the seeds are fixed."""
    masks = [dropout(np.ones(N, np.float32), p, seed=seed) > 0 for seed in (0, 1)]
    deviation = math.sqrt(p * (1 - p))
    for kept in masks:
        assert abs(kept.mean() - (1 - p)) < 5 * deviation / math.sqrt(N)
        counts = kept.reshape(-1, 64).sum(axis=1)
        # The variance of N / 64 binomial counts has a relative deviation of sqrt(2 / (N / 64)).
        assert abs(counts.var() / (64 * deviation**2) - 1) < 5 * math.sqrt(2 * 64 / N)
    centred = [(kept - (1 - p)) / deviation for kept in masks]
    assert abs(np.mean(centred[0] * centred[1])) < 5 / math.sqrt(N)
    for lag in (1, 2, 3, 4, 5, 32, 64, 1024):
        assert abs(np.mean(centred[0][lag:] * centred[0][:-lag])) < 5 / math.sqrt(N)


def test_dropout_keeps_the_mean():
    x = np.full(N, 3.0)
    assert abs(dropout(x, 0.25, seed=8).mean() - 3.0) < 5 * 3.0 * math.sqrt(0.25 / 0.75 / N)


@pytest.mark.parametrize(
    "arguments, keywords, error, message",
    [
        ((-0.1,), {}, ValueError, r"p must lie in \[0, 1\]. Got -0.1"),
        ((1.5,), {}, ValueError, r"p must lie in \[0, 1\]. Got 1.5"),
        ((float("nan"),), {}, ValueError, "p must be finite. Got nan"),
        ((None,), {}, TypeError, "p must be a real number. Got None"),
        ((0.5, 1), {}, TypeError, "training must be True or False. Got 1"),
        ((), {"seed": -1}, ValueError, r"seed must lie in \[0, 2\*\*64\). Got -1"),
        ((), {"seed": None}, TypeError, "seed must be an integer. Got None"),
        ((), {"offset": -1}, ValueError, r"offset must lie in \[0, 2\*\*63 - size\]. Got -1, size 3"),
        ((), {"offset": 2**63 - 2}, ValueError, "offset must lie in"),
        ((), {"offset": 1.0}, TypeError, "offset must be an integer"),
        ((), {"out": np.zeros(2)}, ValueError, "out must have the shape of the result"),
        ((), {"out": np.zeros(3, np.float32)}, TypeError, "out must have the dtype of the result"),
    ],
)
@pytest.mark.parametrize("function", [dropout, dropout_backward])
def test_dropout_wrong_argument_raises(function, arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        function(np.zeros(3), *arguments, **{"seed": 0, **keywords})


def test_dropout_names_its_array():
    with pytest.raises(TypeError, match=r"input must be float32, float64, float16 or bfloat16\. Got int64"):
        dropout(np.arange(3), seed=0)
    with pytest.raises(TypeError, match="grad_out must be a plain array"):
        dropout_backward(np.ma.zeros(3), seed=0)


def test_dropout_asks_for_a_seed():
    with pytest.raises(TypeError, match="seed"):
        dropout(np.zeros(3))


def test_dropout_and_penalties_are_right_and_touch_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_rows.py"), "regularizers").endswith(" cases")
