"""Linear attention against its twin: shapes, options, memory, states, threads, and what is hidden."""

import itertools
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore import linear_attention, linear_attention_backward, num_threads, reference
from fastcore.attention.kernels.linear_blocks import SEGMENT

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
OPTIONS = [
    {},
    {"is_causal": True},
    {"feature_map": "relu"},
    {"feature_map": "relu", "is_causal": True},
    {"normalize": False, "scale": -0.3},
    {"normalize": False, "feature_map": "identity", "is_causal": True},
]


def inputs(seed=0, b=2, h=4, g=2, m=37, n=37, d=24, dv=40, dtype=np.float32):
    """query, key, value and a gradient by the result."""
    rng = np.random.default_rng(seed)
    shapes = (b, h, m, d), (b, g, n, d), (b, g, n, dv), (b, h, m, dv)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def states(seed, b=2, g=2, d=24, dv=40):
    """An initial state whose sums of keys are positive, and a gradient by the final one."""
    rng = np.random.default_rng(seed)
    return (
        (rng.normal(size=(b, g, d, dv)), rng.random((b, g, d))),
        (rng.normal(size=(b, g, d, dv)), rng.normal(size=(b, g, d))),
    )


def everything(query, key, value, grad_out, initial=None, grad_state=None, functions=None, **options):
    """Result, final state, gradients by inputs and initial state: all arrays either function gives."""
    forward, backward = functions or (linear_attention, linear_attention_backward)
    out, final = forward(query, key, value, **options, initial_state=initial, return_state=True)
    *gradients, first = backward(
        grad_out, query, key, value, **options, initial_state=initial, grad_state=grad_state, return_grad_state=True
    )
    return [out, *final, *gradients, *first]


TWINS = reference.linear_attention, reference.linear_attention_backward


def assert_matches_twin(arrays, initial=None, grad_state=None, **options):
    """float64 to 1e-11 of the largest; float32 by twice what the plain float32 twin is off by, plus 2e-6 of it."""
    got = everything(*arrays, initial, grad_state, **options)
    exact = everything(*(x.astype(float) for x in arrays), initial, grad_state, TWINS, **options)
    plain = everything(*(x.astype(np.float32) for x in arrays), initial, grad_state, TWINS, **options)
    for result, want, rough in zip(got, exact, plain, strict=True):
        assert result.shape == want.shape
        largest = np.abs(want).max(initial=1.0)  # the inputs' size: a single token's gradient by its query is 0
        bound = 1e-11 * largest if result.dtype == np.float64 else 2 * np.abs(rough - want).max() + 2e-6 * largest
        assert np.abs(result - want).max(initial=0.0) <= bound
    return got


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_state", [False, True])
def test_linear_attention_and_gradients_match_reference(options, dtype, with_state):
    assert_matches_twin(inputs(dtype=dtype), *(states(1) if with_state else ()), **options)


@pytest.mark.parametrize("m, n", [(5, 90), (90, 5), (1, 1), (70, SEGMENT + 3), (SEGMENT + 3, 70)])
def test_linear_attention_of_other_keys_than_queries_matches_reference(m, n):
    assert_matches_twin(inputs(2, m=m, n=n), *states(2))


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 63, 64, 65, 80, SEGMENT, 2 * SEGMENT + 100])
def test_linear_attention_causal_lengths_match_reference(tokens):
    assert_matches_twin(inputs(3, 1, 2, 1, tokens, tokens, 7, 9), is_causal=True)


@given(
    b=st.integers(1, 2), groups=st.integers(1, 2), sharing=st.integers(1, 3), tokens=st.integers(1, 140),
    d=st.integers(1, 70), dv=st.integers(1, 70), options=st.sampled_from(OPTIONS),
)  # fmt: skip
def test_linear_attention_any_shape_matches_reference(b, groups, sharing, tokens, d, dv, options):
    arrays = inputs(tokens, b, groups * sharing, groups, tokens, tokens, d, dv, np.float64)
    assert_matches_twin(arrays, *states(4, b, groups, d, dv), **options)


@pytest.mark.parametrize("axes", [(), (3,), (2, 3, 4)])
@pytest.mark.parametrize("is_causal", [False, True])
def test_linear_attention_any_number_of_axes_matches_reference(rng, axes, is_causal):
    arrays = [rng.normal(size=(*axes, 6, size)) for size in (5, 5, 3, 3)]
    assert_matches_twin(arrays, is_causal=is_causal)


def test_linear_attention_batch_axes_of_one_stretch(rng):
    query, key, value, grad_out = inputs(5, dtype=np.float64)
    spread = np.repeat(key[:1], 2, axis=0)
    want = everything(query, spread, value, grad_out, is_causal=True)
    got = everything(query, key[:1], value, grad_out, is_causal=True)
    want[4] = want[4].sum(axis=0, keepdims=True)
    for result, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=str)
@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_linear_attention_half_types_are_computed_in_float32_and_rounded_once(dtype, options):
    arrays = [x.astype(dtype) for x in inputs(6, d=20, dv=35)]
    got = everything(*arrays, **options)
    want = everything(*(x.astype(np.float32) for x in arrays), **options)
    for i, (result, expected) in enumerate(zip(got, want, strict=True)):
        assert result.dtype == (np.float32 if i in (1, 2, 6, 7) else dtype)
        np.testing.assert_array_equal(result, expected.astype(result.dtype))


# --- memory ----------------------------------------------------------------------------------------------------------


def strided(x, how):
    """`x` in other memory."""
    if how == "transposed":
        return np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
    if how == "reversed":
        return np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1]
    if how == "last axis":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if how == "big-endian":
        return x.astype(x.dtype.newbyteorder(">"))
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view = memory[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


@pytest.mark.parametrize("how", ["transposed", "reversed", "last axis", "big-endian", "unaligned"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_linear_attention_any_memory_equals_contiguous(how, dtype):
    arrays = inputs(7, dtype=dtype)
    moved = [strided(x, how) for x in arrays]
    for x in moved:
        x.flags.writeable = False
    for got, want in zip(everything(*moved, is_causal=True), everything(*arrays, is_causal=True), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("is_causal", [False, True])
def test_linear_attention_writes_out_of_any_strides_even_over_an_input(is_causal):
    query, key, value, _ = inputs(8, h=2, dv=24)
    want = linear_attention(query, key, value, is_causal)
    out = np.zeros((2, 37, 2, 48), np.float32)[..., ::2].swapaxes(1, 2)
    assert linear_attention(query, key, value, is_causal, out=out) is out
    np.testing.assert_array_equal(out, want)
    assert linear_attention(query, key, value, is_causal, out=value) is value
    np.testing.assert_array_equal(value, want)


@pytest.mark.parametrize("shape", [(0, 4, 2, 5, 5), (2, 0, 0, 5, 5), (2, 4, 2, 0, 5), (2, 4, 2, 5, 0), (2, 4, 2, 0, 0)])
def test_linear_attention_of_nothing_matches_reference(shape):
    b, h, g, m, n = shape
    arrays = inputs(9, b, h, g, m, n, dtype=np.float64)
    initial, grad_state = states(9, b, g)
    got = everything(*arrays, initial, grad_state)
    for result, want in zip(got, everything(*arrays, initial, grad_state, TWINS), strict=True):
        np.testing.assert_allclose(result, want, rtol=1e-12, atol=1e-12)


def test_linear_attention_without_weight_gives_zeros_and_no_gradient():
    query, key, value, grad_out = inputs(10, dtype=np.float64)
    query[:, :, 4] = -1.0
    got = everything(query, key, value, grad_out, feature_map="relu", is_causal=True)
    assert np.all(got[0][:, :, 4] == 0.0)
    assert np.all(got[3][:, :, 4] == 0.0)
    assert all(np.isfinite(x).all() for x in got)


# --- states, threads, neighbours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [OPTIONS[1], OPTIONS[5]], ids=str)
@pytest.mark.parametrize("pieces", [[0, 1, 2, 40, 100], [0, 64, 100], [0, 100]])
def test_linear_attention_in_pieces_gives_the_numbers_of_the_whole(options, pieces):
    arrays = inputs(11, m=100, n=100, dtype=np.float64)
    initial, grad_state = states(11)
    want = everything(*arrays, initial, grad_state, **options)
    parts = list(itertools.pairwise(pieces))
    outs, befores = [], [initial]
    for begin, end in parts:
        out, state = linear_attention(
            *(x[:, :, begin:end] for x in arrays[:3]), **options, initial_state=befores[-1], return_state=True
        )
        outs.append(out)
        befores.append(state)
    gradients = []
    for (begin, end), before in zip(parts[::-1], befores[-2::-1], strict=True):
        query, key, value, grad_out = (x[:, :, begin:end] for x in arrays)
        *gradient, grad_state = linear_attention_backward(
            grad_out, query, key, value, **options, initial_state=before, grad_state=grad_state, return_grad_state=True
        )
        gradients.insert(0, gradient)
    got = [np.concatenate(outs, 2), *befores[-1], *(np.concatenate(x, 2) for x in zip(*gradients)), *grad_state]
    for result, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("heads", [2, 8])
def test_linear_attention_has_the_same_bits_for_any_threads_and_neighbours(is_causal, heads):
    # 2 heads: one thread walks through their segments, two share them out; 8 heads: one each either way.
    tokens = 3 * SEGMENT - 60
    arrays = inputs(12, 2, heads, heads, tokens, tokens, 32, 32)
    with num_threads(1):
        alone = everything(*arrays, is_causal=is_causal)
        first = everything(*(x[:1] for x in arrays), is_causal=is_causal)
    with num_threads(2):
        together = everything(*arrays, is_causal=is_causal)
    for one, two, of_first in zip(alone, together, first, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one[:1], of_first)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [3, 20, 40, 66, 130])
def test_linear_attention_nan_reaches_no_token_that_does_not_see_it(bad, dtype, place):
    clean = inputs(13, 1, 2, 1, 150, 150, 20, 20, dtype=dtype)
    want = everything(*clean, is_causal=True)
    with np.errstate(all="ignore"):
        for i in range(4):
            dirty = [x.copy() for x in clean]
            dirty[i][0, 0, place, 3] = bad
            got = everything(*dirty, is_causal=True)
            # Results and gradients of queries before the token; where it is a query's, gradients of keys behind it.
            for j in (0, 3):
                np.testing.assert_array_equal(got[j][:, :, :place], want[j][:, :, :place])
            if i in (0, 3):
                for j in (4, 5):
                    np.testing.assert_array_equal(got[j][:, :, place + 1 :], want[j][:, :, place + 1 :])
            assert not np.isfinite(got[0][0, 0, place] if i < 3 else got[3][0, 0, place]).all()


def test_linear_attention_is_right_and_touches_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("linear_guard_pages.py")) == "24 cases"


# --- errors ----------------------------------------------------------------------------------------------------------

QUERY, KEY, VALUE = (np.zeros(shape, np.float32) for shape in ((2, 8, 10, 64), (2, 4, 10, 64), (2, 4, 10, 32)))
STATE = np.zeros((2, 4, 64, 32), np.float32), np.zeros((2, 4, 64), np.float32)
ERRORS = [
    ({"is_causal": 1}, TypeError, "is_causal must be True or False. Got 1"),
    ({"feature_map": "exp"}, ValueError, "feature_map must be 'elu' or 'relu' or 'identity'. Got 'exp'"),
    ({"feature_map": np.exp}, TypeError, "feature_map must be 'elu' or"),
    ({"normalize": None}, TypeError, "normalize must be True or False"),
    ({"scale": float("nan")}, ValueError, "scale must be finite"),
    ({"initial_state": STATE[0]}, TypeError, "initial_state must be a pair of arrays.*Got numpy.ndarray"),
    ({"initial_state": STATE[:1]}, TypeError, "initial_state must be a pair"),
    ({"initial_state": (STATE[0], None)}, TypeError, r"initial_state\[1\] must be an array. Got None"),
    ({"initial_state": (STATE[0].astype(int), STATE[1])}, TypeError, r"initial_state\[0\] must be float32.*int64"),
    ({"initial_state": (STATE[0][:1], STATE[1])}, ValueError, r"\[0\] must have shape \(2, 4, 64, 32\).*\(1, 4, 64, 3"),
    ({"initial_state": (STATE[0], STATE[1][..., 1:])}, ValueError, r"\[1\] must have shape \(2, 4, 64\).*\(2, 4, 63\)"),
]  # fmt: skip


@pytest.mark.parametrize("keywords, error, message", ERRORS)
@pytest.mark.parametrize("backward", [False, True])
def test_linear_attention_wrong_options_raise(keywords, error, message, backward):
    function = linear_attention_backward if backward else linear_attention
    first = [np.zeros((2, 8, 10, 32), np.float32)] if backward else []
    with pytest.raises(error, match=message):
        function(*first, QUERY, KEY, VALUE, **keywords)


def test_linear_attention_wrong_inputs_raise():
    with pytest.raises(ValueError, match=r"same number of positions with is_causal=True.*\(2, 4, 9, 64\).*initial_st"):
        linear_attention(QUERY, KEY[:, :, 1:], VALUE[:, :, 1:], True)
    with pytest.raises(TypeError, match="one dtype"):
        linear_attention(QUERY, KEY, VALUE.astype(float))
    with pytest.raises(ValueError, match="multiple of it"):
        linear_attention(QUERY, KEY[:, :3], VALUE[:, :3])
    with pytest.raises(TypeError, match="return_state must be"):
        linear_attention(QUERY, KEY, VALUE, return_state=1)
    with pytest.raises(ValueError, match="out must have the shape"):
        linear_attention(QUERY, KEY, VALUE, out=QUERY.copy())
    with pytest.raises(ValueError, match=r"grad_out must have the shape of attention's result, \(2, 8, 10, 32\)"):
        linear_attention_backward(QUERY, QUERY, KEY, VALUE)
    with pytest.raises(TypeError, match="grad_out must have the dtype of query, float32"):
        linear_attention_backward(np.zeros((2, 8, 10, 32)), QUERY, KEY, VALUE)
    with pytest.raises(TypeError, match="grad_state must be a pair"):
        linear_attention_backward(np.zeros((2, 8, 10, 32), np.float32), QUERY, KEY, VALUE, grad_state=1)
    with pytest.raises(TypeError, match="return_grad_state must be"):
        linear_attention_backward(np.zeros((2, 8, 10, 32), np.float32), QUERY, KEY, VALUE, return_grad_state=None)
