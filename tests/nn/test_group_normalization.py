"""Group normalisation and its gradient against the plain twins."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore.nn import group_norm, group_norm_backward

# (shape, groups): channels of one element, of less and more than a vector, groups of less and more than a chunk.
CASES = [
    ((3, 4), 2),
    ((300, 64), 4),
    ((2, 6, 1, 3), 6),
    ((5, 6, 7), 3),
    ((2, 3, 4, 16), 1),
    ((3, 8, 5, 7), 2),
    ((2, 4, 40, 41), 2),
    ((1, 2, 90, 100), 2),
    ((40, 32, 14, 14), 8),
]
DTYPES = [np.float32, np.float64]


def draw(rng, shape, dtype, count=1):
    arrays = [rng.normal(1.5, 2.0, shape).astype(dtype) for _ in range(count)]
    return arrays[0] if count == 1 else arrays


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, groups", CASES)
def test_group_norm_is_as_exact_as_the_twin(rng, assert_exact, shape, groups, dtype):
    x = draw(rng, shape, dtype)
    weight, bias = draw(rng, shape[1], dtype, 2)
    for options in ({}, {"weight": weight}, {"bias": bias}, {"weight": weight, "bias": bias, "eps": 0.3}):
        got = group_norm(x, groups, **options)
        assert got.dtype == dtype
        assert_exact(got, reference.group_norm, x, groups, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, groups", CASES)
def test_group_norm_backward_is_as_exact_as_the_twin(rng, assert_exact, shape, groups, dtype):
    x, grad = draw(rng, shape, dtype, 2)
    weight, bias = draw(rng, shape[1], dtype, 2)
    got = group_norm_backward(grad, x, groups, weight, bias)
    wants = reference.group_norm_backward(grad, x, groups, weight, bias)
    for i, (each, want) in enumerate(zip(got, wants, strict=True)):
        assert each.dtype == dtype
        if dtype == np.float64:
            np.testing.assert_allclose(each, want, rtol=1e-12, atol=1e-11)
        else:
            assert_exact(each, lambda *a, i=i: reference.group_norm_backward(*a)[i], grad, x, groups, weight, bias)


def test_group_norm_backward_is_the_derivative(rng):
    """Central differences of sum(grad * result) in float64, in the direction of a random step."""
    x, grad, step = draw(rng, (4, 6, 5), np.float64, 3)
    weight, bias, weight_step, bias_step = draw(rng, 6, np.float64, 4)

    def value(t):
        return (grad * group_norm(x + t * step, 3, weight + t * weight_step, bias + t * bias_step)).sum()

    slopes = group_norm_backward(grad, x, 3, weight, bias)
    got = sum((a * b).sum() for a, b in zip(slopes, (step, weight_step, bias_step), strict=True))
    np.testing.assert_allclose((value(1e-5) - value(-1e-5)) / 2e-5, got, rtol=1e-8)


def test_group_norm_backward_gives_none_for_what_was_not_given(rng):
    x, grad = draw(rng, (4, 6, 5), np.float64, 2)
    vector = draw(rng, 6, np.float64)
    for weight, bias in ((None, None), (vector, None), (None, vector)):
        got = group_norm_backward(grad, x, 3, weight, bias)
        want = reference.group_norm_backward(grad, x, 3, weight, bias)
        assert [each is None for each in got] == [each is None for each in want]
        np.testing.assert_allclose(got[0], want[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offset", [1e4, -3e5])
def test_group_norm_float32_survives_a_mean_far_above_the_deviation(rng, offset):
    x = (offset + rng.normal(size=(5, 6, 40, 40))).astype(np.float32)
    grad = rng.normal(size=x.shape).astype(np.float32)
    want = reference.group_norm(x.astype(float), 3)
    assert np.abs(group_norm(x, 3) - want).max() < 2e-6
    want = reference.group_norm_backward(grad.astype(float), x.astype(float), 3)[0]
    assert np.abs(group_norm_backward(grad, x, 3)[0] - want).max() < 4e-6


def test_group_norm_nan_stays_in_its_group(rng):
    x = draw(rng, (4, 6, 9), np.float32)
    want = group_norm(x, 3)
    x[2, 3, 8] = np.nan
    got = group_norm(x, 3)
    assert np.isnan(got[2, 2:4]).all()
    got[2, 2:4] = want[2, 2:4]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_group_norm_memory_does_not_matter(rng, in_memory, dtype):
    x, grad = draw(rng, (6, 4, 7, 3), dtype, 2)
    weight, bias = draw(rng, 4, dtype, 2)
    placed = in_memory(x)
    np.testing.assert_array_equal(group_norm(placed, 2, weight, bias), group_norm(x, 2, weight, bias))
    got = group_norm_backward(in_memory(grad), placed, 2, weight, bias)
    for a, b in zip(got, group_norm_backward(grad, x, 2, weight, bias), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(placed, x)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 40)),
    groups=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_group_norm_any_shape(shape, groups, seed):
    rng = np.random.default_rng(seed)
    shape = (shape[0], shape[1] * groups, *shape[2:])
    if np.prod(shape) == groups:
        return
    x, weight = draw(rng, shape, np.float64), draw(rng, shape[1], np.float64)
    want = reference.group_norm(x, groups, weight)
    np.testing.assert_allclose(group_norm(x, groups, weight), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("of_vectors", ["the same", "float32"])
def test_group_norm_half_precision_is_rounded_once(rng, dtype, of_vectors):
    x, grad = draw(rng, (5, 4, 7), dtype, 2)
    weight, bias = draw(rng, 4, dtype if of_vectors == "the same" else np.float32, 2)
    wide = [a.astype(np.float32) for a in (grad, x, weight, bias)]
    want = group_norm(wide[1], 2, *wide[2:]).astype(dtype)
    np.testing.assert_array_equal(group_norm(x, 2, weight, bias), want)
    wants = group_norm_backward(*wide[:2], 2, *wide[2:])
    for a, b, like in zip(group_norm_backward(grad, x, 2, weight, bias), wants, (x, weight, bias), strict=True):
        assert a.dtype == like.dtype
        np.testing.assert_array_equal(a, b.astype(like.dtype))


@pytest.mark.parametrize("overlap", ["input", "shifted", "none", "fortran", "weight"])
def test_group_norm_out_may_overlap_anything(rng, overlap):
    memory = draw(rng, 6 * 4 * 31 + 4, np.float64)
    x = memory[4:].reshape(6, 4, 31)
    weight = memory[-4:] if overlap == "weight" else draw(rng, 4, np.float64)
    out = {
        "input": x,
        "shifted": memory[:-4].reshape(x.shape),
        "none": np.empty(x.shape),
        "fortran": np.empty(x.shape, order="F"),
        "weight": x,
    }[overlap]
    want = group_norm(x.copy(), 2, weight.copy())
    assert group_norm(x, 2, weight, out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("overlap", ["grad_out", "input", "none"])
def test_group_norm_backward_out_is_written_and_returned(rng, overlap):
    x, grad = draw(rng, (6, 4, 31), np.float64, 2)
    weight, bias = draw(rng, 4, np.float64, 2)
    want = group_norm_backward(grad, x, 2, weight, bias)
    out = {"grad_out": grad, "input": x, "none": np.empty(x.shape)}[overlap], None, np.empty(4)
    got = group_norm_backward(grad, x, 2, weight, bias, out=out)
    assert got[0] is out[0]
    assert got[2] is out[2]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 4, 0), (2, 0, 3)])
def test_group_norm_of_nothing(shape):
    vector = np.ones(shape[1])
    assert group_norm(np.zeros(shape), 2, vector).shape == shape
    got = group_norm_backward(np.zeros(shape), np.zeros(shape), 2, vector, vector)
    assert got[0].shape == shape
    assert not got[1].any()
    assert not got[2].any()


def test_group_norm_one_thread_equals_many(rng):
    x, grad = rng.standard_normal((2, 16, 32, 60, 61), dtype=np.float32)
    weight, bias = draw(rng, 32, np.float32, 2)

    def run():
        return [group_norm(x, 8, weight, bias), *group_norm_backward(grad, x, 8, weight, bias)]

    with fastcore.num_threads(1):
        want = run()
    for a, b in zip(run(), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_group_norm_large_result_is_the_small_one(rng):
    """Past the caches from 16 MiB on: the same numbers, also where no row begins at a whole vector."""
    x = rng.standard_normal((20, 15, 121, 121), dtype=np.float32)
    weight, bias = draw(rng, 15, np.float32, 2)
    got = group_norm(x, 5, weight, bias)
    assert got.nbytes > 16 << 20
    np.testing.assert_array_equal(got[7:9], group_norm(x[7:9], 5, weight, bias))
    np.testing.assert_array_equal(
        group_norm_backward(x, x, 5, weight, bias)[0][7:9], group_norm_backward(x[7:9], x[7:9], 5, weight, bias)[0]
    )


X, V = np.zeros((2, 6, 4)), np.ones(6)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((V, 2), ValueError, r"input must have the axes \(N, C, ...\). Got \(6,\)"),
        ((X, 4), ValueError, r"num_groups must divide the channels of input. Got 4 groups, input \(2, 6, 4\)"),
        ((X, 0), ValueError, "num_groups must be positive"),
        ((X, 2.0), TypeError, "num_groups must be an integer"),
        ((X, 2, np.ones(2)), ValueError, "weight must have one number for each of 6 channels"),
        ((X, 2, None, V.astype("f4")), TypeError, "bias must have one dtype, float64"),
        ((X, 2, None, None, np.inf), ValueError, "eps must be finite"),
        ((X[:1, :2, :1], 2), ValueError, "more than one value per group"),
    ],
)
def test_group_norm_wrong_argument_raises(arguments, error, message):
    with pytest.raises(error, match=message):
        group_norm(*arguments)


def test_group_norm_backward_wrong_argument_raises():
    with pytest.raises(ValueError, match="grad_out must have the shape of input"):
        group_norm_backward(X[0], X, 2)
    with pytest.raises(ValueError, match="out must have None for grad_weight: weight is None"):
        group_norm_backward(X, X, 2, out=(None, V, None))
