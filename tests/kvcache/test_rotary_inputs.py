"""Rotary position embedding: arrays in any memory, empty, in place, at guard pages; and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore import num_threads, reference
from fastcore.kvcache.rotary import Rotary, rotary_embedding

LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 512,
}
YARN = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 512}


def readonly(x):
    x = x.copy()
    x.flags.writeable = False
    return x


MEMORY = {
    "fortran": np.asfortranarray,
    "(B, T, H, D)": lambda x: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
    "wide rows": lambda x: np.concatenate([x, x], -1)[..., : x.shape[-1]],
    "every second": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ..., ::-1])[::-1, ..., ::-1],
    "readonly": readonly,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
}


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MEMORY)
def test_rotary_memory_does_not_matter(rng, kind, dtype, interleaved):
    x = rng.normal(size=(2, 3, 4, 38)).astype(dtype)
    want = rotary_embedding(x, np.arange(4), interleaved=interleaved)
    placed = MEMORY[kind](x)
    np.testing.assert_array_equal(rotary_embedding(placed, np.arange(4), interleaved=interleaved), want)
    np.testing.assert_array_equal(placed, x)
    out = np.repeat(np.zeros_like(x), 2, -1)[..., ::2]
    assert rotary_embedding(placed, np.arange(4), interleaved=interleaved, out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("rotary_dim", [None, 6])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(7, 10), (3, 7, 10), (2, 3, 7, 10), (2, 1, 3, 7, 10), (2, 3, 300, 64)])
def test_rotary_in_place(rng, shape, dtype, interleaved, rotary_dim):
    x = rng.normal(size=shape).astype(dtype)
    want = rotary_embedding(x, np.arange(shape[-2]), interleaved=interleaved, rotary_dim=rotary_dim)
    for layout in (x.copy(), x[..., ::-1].copy()[..., ::-1], MEMORY["wide rows"](x)):
        got = rotary_embedding(layout, np.arange(shape[-2]), interleaved=interleaved, rotary_dim=rotary_dim, out=layout)
        assert got is layout
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shift", [1, 3, 16, 64])
def test_rotary_out_may_overlap_x(rng, shift):
    memory = rng.normal(size=2 * 3 * 5 * 16 + shift).astype(np.float32)
    x, out = (part.reshape(2, 3, 5, 16) for part in (memory[shift:], memory[:-shift]))
    want = rotary_embedding(x, np.arange(5))
    np.testing.assert_array_equal(rotary_embedding(x, np.arange(5), out=out), want)


@pytest.mark.parametrize("shape", [(0, 4), (2, 0, 4), (0, 3, 5, 4), (2, 3, 0, 4), (2, 3, 4, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rotary_empty(shape, dtype):
    x = np.zeros(shape, dtype)
    got = rotary_embedding(x, np.arange(shape[-2]))
    assert got.shape == shape
    assert got.dtype == dtype
    assert rotary_embedding(x, np.arange(shape[-2]), out=x) is x


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 40), st.booleans(), st.booleans(), st.data()
)
def test_rotary_short_way_equals_the_long_way(batch, heads, tokens, pairs, interleaved, partly, data):
    """Contiguous float32 with int64 positions goes the short way, a list of positions the other."""
    rng = np.random.default_rng(pairs)
    x = rng.normal(size=(batch, heads, tokens, 2 * pairs)).astype(np.float32)
    rotary = Rotary(interleaved=interleaved, rotary_dim=data.draw(st.integers(1, pairs)) * 2 if partly else None)
    shape = data.draw(st.sampled_from([(tokens,), (1, tokens), (batch, tokens)]))
    positions = rng.integers(0, 300, shape)
    want = rotary.rotate(x, positions.tolist())
    np.testing.assert_array_equal(rotary.rotate(x, positions), want)
    np.testing.assert_array_equal(rotary.rotate(x, positions, out=x), want)


def test_rotary_one_thread_equals_many_bit_for_bit(rng):
    x = rng.normal(size=(2, 8, 600, 64)).astype(np.float32)
    with num_threads(1):
        one = rotary_embedding(x, np.arange(600))
    np.testing.assert_array_equal(rotary_embedding(x, np.arange(600)), one)


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 130, 258, 259, 700])
def test_rotary_every_row_is_in_one_item(rng, rows):
    """Rows below, at and above the ends of the blocks that threads take: 129 of 64 elements."""
    x = rng.normal(size=(1, 1, rows, 64))
    want = reference.rotary_embedding(x, range(rows))
    np.testing.assert_allclose(rotary_embedding(x, range(rows)), want, rtol=0, atol=1e-11)


def test_rotary_is_right_and_touches_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_rotary.py")) == "48"


# --- errors -----------------------------------------------------------------------------------------------------------

X = np.zeros((2, 3, 4, 8), np.float32)
P = np.arange(4)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((X[0, 0, 0], P), {}, ValueError, r"x must have axes \(..., T, D\), two at least. Got shape \(8,\)"),
        ((X[..., :7], P), {}, ValueError, r"last axis of x must be even, or rotary_dim given. Got x \(2, 3, 4, 7\)"),
        ((X.astype(int), P), {}, TypeError, "x must be float32"),
        ((X.astype(complex), P), {}, TypeError, "x must be float32"),
        ((None, P), {}, TypeError, "x must be an array"),
        ((X, np.arange(5)), {}, ValueError, r"positions must broadcast to \(2, 4\).* Got \(5,\)"),
        ((X, np.zeros((3, 4), int)), {}, ValueError, r"positions must broadcast to \(2, 4\).* Got \(3, 4\)"),
        ((X, np.zeros((2, 3, 4), int)), {}, ValueError, "positions must broadcast"),
        ((X, np.zeros((2, 1, 4), int)), {}, ValueError, "positions must broadcast"),
        ((X[0], np.zeros((1, 4), int)), {}, ValueError, r"positions must broadcast to \(4,\).* Got \(1, 4\)"),
        ((X[0], np.zeros((3, 4), int)), {}, ValueError, "positions must broadcast"),
        ((X, []), {}, ValueError, r"positions must broadcast to \(2, 4\).* Got \(0,\)"),
        ((X, [0, 1, np.nan, 3]), {}, ValueError, "positions must be finite. Got nan"),
        ((X, [0, 1, -np.inf, 3]), {}, ValueError, "positions must be finite. Got -inf"),
        ((X, np.array([True] * 4)), {}, TypeError, "positions must hold integers or real numbers. Got bool"),
        ((X, np.array([1j] * 4)), {}, TypeError, "positions must hold"),
        ((X, ["1"] * 4), {}, TypeError, "positions must hold"),
        ((X, [10**30] * 4), {}, TypeError, "positions must hold numbers. Got dtype object"),
        ((X, None), {}, TypeError, "positions must be an array. Got None"),
        ((X, P), {"base": 1.0}, ValueError, "base must be above 1. Got 1.0"),
        ((X, P), {"base": -2.0}, ValueError, "base must be above 1"),
        ((X, P), {"base": np.nan}, ValueError, "base must be finite"),
        ((X, P), {"base": "10000"}, TypeError, "base must be a real number"),
        ((X, P), {"base": None}, TypeError, "base must be a real number"),
        ((X, P), {"base": [1e4, 2e4]}, TypeError, "base must be a real number"),
        ((X, P), {"interleaved": 1}, TypeError, "interleaved must be True or False. Got 1"),
        ((X, P), {"rotary_dim": 3}, ValueError, "rotary_dim must be even: .* Got 3"),
        ((X, P), {"rotary_dim": 0}, ValueError, "rotary_dim must be positive"),
        ((X, P), {"rotary_dim": 10}, ValueError, r"rotary_dim must be at most the last axis of x. Got 10, x \(2,"),
        ((X, P), {"rotary_dim": 4.0}, TypeError, "rotary_dim must be an integer"),
        ((X, P), {"rotary_dim": True}, TypeError, "rotary_dim must be an integer"),
        ((X, P), {"out": X[0]}, ValueError, "out must have the shape of the result"),
        ((X, P), {"out": X.astype(float)}, TypeError, "out must have the dtype of the result"),
        ((X, P), {"out": readonly(X)}, ValueError, "out must be writable"),
        ((X, P), {"out": [0.0]}, TypeError, "out must be a numpy.ndarray"),
    ],
)
def test_rotary_wrong_argument_raises(arguments, options, error, message):
    rotary_embedding(X, P)  # the table is there: nothing may slip through the short way
    with pytest.raises(error, match=message):
        rotary_embedding(*arguments, **options)
    assert not X.any()


def test_rotary_readonly_out_of_itself_raises():
    x = readonly(X)
    rotary_embedding(x, P)
    with pytest.raises(ValueError, match="out must be writable"):
        rotary_embedding(x, P, out=x)


@pytest.mark.parametrize(
    "scaling, error, message",
    [
        (0.0, ValueError, "scaling must be positive"),
        (np.nan, ValueError, "scaling must be finite"),
        ("linear", TypeError, "scaling must be a real number"),
        ({"rope_type": "dynamic", "factor": 2.0}, ValueError, r"scaling\['rope_type'\] must be .*Got 'dynamic'"),
        ({"rope_type": 3}, TypeError, r"scaling\['rope_type'\] must be"),
        ({"factor": 2.0}, ValueError, r"rope_type 'default' takes \[\]. Got unknown \['factor'\]"),
        ({"rope_type": "linear"}, ValueError, r"rope_type 'linear' takes \['factor'\]. Got missing \['factor'\]"),
        ({"rope_type": "linear", "factor": None}, ValueError, r"missing \['factor'\]"),
        ({"rope_type": "linear", "factor": -1}, ValueError, r"scaling\['factor'\] must be positive. Got -1.0"),
        ({"rope_type": "linear", "factor": "2"}, TypeError, r"scaling\['factor'\] must be a real number"),
        (
            LINEAR | {"rope_theta": 5e5},
            ValueError,
            r"scaling\['rope_theta'\] must equal base. Got 500000.0, base 10000.0",
        ),
        (LINEAR | {"partial_rotary_factor": 0.5}, ValueError, "Pass rotary_dim=... instead"),
        ({k: v for k, v in LLAMA3.items() if k != "low_freq_factor"}, ValueError, r"missing \['low_freq_factor'\]"),
        (LLAMA3 | {"high_freq_factor": 1.0}, ValueError, r"scaling\['high_freq_factor'\] must be above"),
        (YARN | {"beta_fast": 0.5}, ValueError, r"scaling\['beta_fast'\] must be above scaling\['beta_slow'\]"),
        (YARN | {"truncate": 1}, TypeError, r"scaling\['truncate'\] must be True or False"),
        (YARN | {"surprise": 1}, ValueError, r"may have \['attention_factor'.*Got unknown \['surprise'\]"),
        ([1, 2], TypeError, "scaling must be a real number"),
        ([[[1], 2]], TypeError, "scaling must be a real number"),
        ({3: 4}, ValueError, r"Got unknown \['3'\]"),
    ],
)
def test_rotary_wrong_scaling_raises(scaling, error, message):
    with pytest.raises(error, match=message):
        rotary_embedding(X, P, scaling=scaling)
    with pytest.raises(error, match=message):
        Rotary(scaling=scaling)
