import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore.nn import add_layer_norm_backward, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward

# Below, at and above one vector, the unrolled loop, a chunk of rows; the last are shared by threads.
# Rows of one or two have a gradient of eps alone: nothing is left of the terms but their rounding.
SHAPES = [(3, 3), (5, 16), (2, 3, 17), (33, 65), (2, 131), (2, 5000), (1100, 384)]
DTYPES = [np.float32, np.float64]
FUNCTIONS = [layer_norm_backward, rms_norm_backward]


def draw(rng, shape, dtype, count=1):
    arrays = [rng.normal(1.5, 2.0, shape).astype(dtype) for _ in range(count)]
    return arrays[0] if count == 1 else arrays


def vectors_of(function, rng, shape, dtype):
    """weight, and bias where the function takes one."""
    vectors = draw(rng, shape, dtype, 2)
    return vectors[:1] if function is rms_norm_backward else vectors


def each_exact(assert_exact, got, function, *arrays, **options):
    """`assert_exact` of each gradient; float64 by 1e-13 of what is subtracted."""
    want = function(*arrays, **options)
    assert len(got) == len(want)
    for i, gradient in enumerate(got):
        if want[i] is None:
            assert gradient is None
            continue
        assert gradient.dtype == arrays[0].dtype
        if gradient.dtype == np.float64:
            np.testing.assert_allclose(gradient, want[i], rtol=0, atol=1e-13 * (10 + np.abs(want[i]).max()))
            continue
        assert_exact(gradient, lambda *a, i=i, **k: function(*a, **k)[i], *arrays, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_backward_is_as_exact_as_the_twin(rng, assert_exact, function, shape, dtype):
    grad_out, x = draw(rng, shape, dtype, 2)
    vectors = vectors_of(function, rng, shape[-1], dtype)
    twin = getattr(reference, function.__name__)
    for options in ({}, {"weight": vectors[0]}, dict(zip(("weight", "bias"), vectors, strict=False), eps=0.3)):
        each_exact(assert_exact, function(grad_out, x, shape[-1], **options), twin, grad_out, x, shape[-1], **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_add_layer_norm_backward_is_that_of_the_sum(rng, shape, dtype):
    grad_out, x, residual = draw(rng, shape, dtype, 3)
    weight, bias = draw(rng, shape[-1], dtype, 2)
    got = add_layer_norm_backward(grad_out, x, residual, shape[-1], weight, bias)
    want = layer_norm_backward(grad_out, x + residual, shape[-1], weight, bias)
    assert got[0] is got[1]
    for a, b in zip(got[1:], want, strict=True):
        np.testing.assert_array_equal(a, b)
    twin = reference.add_layer_norm_backward(grad_out, x, residual, shape[-1], weight, bias)
    for a, b in zip(got, twin, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=(1e-4 if dtype == np.float32 else 1e-12) * np.abs(b).max())


@pytest.mark.parametrize("size", [1, 2])
def test_layer_norm_backward_of_one_or_two_elements_is_nothing(rng, size):
    """Two are -1 and 1 whatever they are."""
    grad_out, x = rng.normal(size=(2, 5, size))
    gradient, grad_weight = layer_norm_backward(grad_out, x, size, np.ones(size), eps=0.0 if size == 2 else 1.0)[:2]
    assert np.abs(gradient).max() < 1e-12 * np.abs(1 / np.diff(x)).max(initial=1)
    np.testing.assert_allclose(grad_weight, (grad_out * np.sign(x - x.mean(1, keepdims=True))).sum(0), atol=1e-14)


@pytest.mark.parametrize("function, forward", [(layer_norm_backward, layer_norm), (rms_norm_backward, rms_norm)])
def test_backward_is_the_derivative_of_the_forward(rng, function, forward):
    """By central differences, along random directions of all arguments at once."""
    x, grad_out, direction = rng.normal(0.3, 1.0, (3, 4, 7))
    vectors = vectors_of(function, rng, 7, np.float64)
    directions = [rng.normal(size=7) for _ in vectors]
    step = 1e-6
    above, below = (
        forward(x + h * direction, 7, *(v + h * d for v, d in zip(vectors, directions, strict=True)), eps=0.1)
        for h in (step, -step)
    )
    want = ((above - below) / (2 * step) * grad_out).sum()
    gradients = function(grad_out, x, 7, *vectors, eps=0.1)
    got = sum((g * d).sum() for g, d in zip(gradients, [direction, *directions], strict=True))
    np.testing.assert_allclose(got, want, rtol=1e-8)


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    axes=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_backward_over_several_axes(shape, axes, seed):
    rng = np.random.default_rng(seed)
    normalized = shape[-axes:]
    grad_out, x = draw(rng, shape, np.float64, 2)
    for function in FUNCTIONS:
        vectors = vectors_of(function, rng, normalized, np.float64)
        got = function(grad_out, x, normalized, *vectors, eps=1e-2)
        want = getattr(reference, function.__name__)(grad_out, x, normalized, *vectors, eps=1e-2)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * (1 + np.abs(b).max()))


@given(st.lists(st.integers(1, 5), min_size=0, max_size=3), st.integers(1, 80), st.sampled_from([1e-5, 0.5]))
def test_backward_short_way_equals_the_long_way(axes, size, eps):
    """Plain float32 with weight and bias goes the short way, a tuple of axes the other."""
    rng = np.random.default_rng(size)
    grad_out, x = draw(rng, (*axes, size), np.float32, 2)
    for function in FUNCTIONS:
        vectors = vectors_of(function, rng, size, np.float32)
        short, long = (function(grad_out, x, n, *vectors, eps=eps) for n in (size, (size,)))
        for a, b in zip(short, long, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("offset", [1e4, -3e5])
def test_layer_norm_backward_float32_survives_a_mean_far_above_the_deviation(rng, offset):
    x = (offset + rng.normal(size=(20, 1000))).astype(np.float32)
    x[::2, :16] += 50.0  # a first guess of the mean that is far off
    grad_out, weight = rng.normal(size=(20, 1000)).astype(np.float32), np.ones(1000, np.float32)
    got = layer_norm_backward(grad_out, x, 1000, weight, weight)
    want = reference.layer_norm_backward(*(a.astype(np.float64) for a in (grad_out, x)), 1000, weight, weight)
    for a, b in zip(got, want, strict=True):
        assert np.abs(a - b).max() < 2e-6 * np.abs(b).max()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_backward_nan_stays_in_its_row_and_column(rng, function):
    grad_out, x = draw(rng, (6, 50), np.float32, 2)
    vectors = vectors_of(function, rng, 50, np.float32)
    want = function(grad_out, x, 50, *vectors)
    x[1, 7] = np.nan
    got = function(grad_out, x, 50, *vectors)
    assert np.isnan(got[0][1]).all()
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[0][[0, 2, 3, 4, 5]], want[0][[0, 2, 3, 4, 5]])
    for a, b in zip(got[2:], want[2:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [*FUNCTIONS, add_layer_norm_backward])
def test_backward_memory_does_not_matter(rng, in_memory, function, dtype):
    arrays = draw(rng, (6, 5, 33), dtype, 3 if function is add_layer_norm_backward else 2)
    vectors = vectors_of(function, rng, (5, 33), dtype)
    placed = [in_memory(a) for a in (*arrays, *vectors)]
    kept = [a.copy() for a in placed]
    want = function(*arrays, (5, 33), *vectors)
    got = function(*placed[: len(arrays)], (5, 33), *placed[len(arrays) :])
    for a, b in zip((*got, *placed), (*want, *kept), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_backward_half_precision_is_rounded_once(rng, function, dtype):
    grad_out, x = draw(rng, (9, 70), dtype, 2)
    vectors = vectors_of(function, rng, 70, dtype)
    want = function(*(a.astype(np.float32) for a in (grad_out, x)), 70, *(v.astype(np.float32) for v in vectors))
    for a, b in zip(function(grad_out, x, 70, *vectors), want, strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b.astype(dtype))


@pytest.mark.parametrize("overlap", ["grad_out", "input", "shifted input", "none", "fortran", "wide rows"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_backward_out_may_overlap_what_is_read(rng, function, overlap):
    memory = draw(rng, 8 * 40, np.float64)
    x, grad_out = memory[40:].reshape(7, 40), draw(rng, (7, 40), np.float64)
    vectors = vectors_of(function, rng, 40, np.float64)
    first = {
        "grad_out": grad_out,
        "input": x,
        "shifted input": memory[:-40].reshape(7, 40),
        "none": None,
        "fortran": np.empty((7, 40), order="F"),
        "wide rows": np.empty((7, 50))[:, :40],
    }[overlap]
    want = function(grad_out, x, 40, *vectors)
    out = (first, *vectors)  # the gradient of weight may lie where weight lies
    got = function(grad_out, x, 40, *vectors, out=out)
    for a, b, c in zip(got, want, out, strict=True):
        assert c is None or a is c
        np.testing.assert_array_equal(a, b)


def test_add_layer_norm_backward_out_of_both_summands(rng):
    grad_out, x, residual = draw(rng, (7, 40), np.float32, 3)
    want = add_layer_norm_backward(grad_out, x, residual, 40)
    for out in ((x.copy(), residual.copy()), (None, x.copy()), (x, residual)):
        got = add_layer_norm_backward(grad_out, x, residual, 40, out=(*out, None, None))
        assert got[1] is out[1]
        assert got[0] is (out[1] if out[0] is None else out[0])
        for gradient in got[:2]:
            np.testing.assert_array_equal(gradient, want[0])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_backward_of_nothing(function, shape):
    x, vectors = np.zeros(shape, np.float32), [np.ones(4, np.float32)] * (2 if function is layer_norm_backward else 1)
    grad_x, *others = function(x, x, 4, *vectors, out=(None, *(v.copy() for v in vectors)))
    assert grad_x.shape == shape
    assert all(v.shape == (4,) and not v.any() for v in others)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_backward_one_thread_equals_many(rng, function, dtype):
    grad_out, x = draw(rng, (3001, 576), dtype, 2)
    vectors = vectors_of(function, rng, 576, dtype)
    with fastcore.num_threads(1):
        want = function(grad_out, x, 576, *vectors)
    for a, b in zip(function(grad_out, x, 576, *vectors), want, strict=True):
        np.testing.assert_array_equal(a, b)


X, W = np.zeros((2, 3, 4)), np.zeros(4)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((X[0], X, 4), {}, ValueError, r"grad_out must have the shape of input. Got grad_out \(3, 4\)"),
        ((X.astype(np.float32), X, 4), {}, TypeError, "input, grad_out must have one dtype"),
        ((X, X, 3), {}, ValueError, r"normalized_shape must be the last axes .* Got \(3,\), input \(2, 3, 4\)"),
        ((X, X, 4, W[:3]), {}, ValueError, r"weight must have the shape normalized_shape, \(4,\). Got \(3,\)"),
        ((X, X, 4), {"eps": -1e-5}, ValueError, "eps must not be negative. Got -1e-05"),
        ((X, X, 4, W), {"out": X}, TypeError, r"out must be a tuple of \d arrays or None, for .*weight"),
        ((X, X, 4, W), {"out": (None,)}, ValueError, r"out must be a tuple of \d arrays .* Got 1"),
        ((X, X.tolist(), 4, W.astype(int)), {}, TypeError, "weight must be float32"),
    ],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_backward_wrong_argument_raises(function, arguments, options, error, message):
    with pytest.raises(error, match=message):
        function(*arguments, **options)


@pytest.mark.parametrize(
    "out, error, message",
    [
        ((X, W, None), ValueError, r"out\[1\] must be None: there is no weight to have a gradient. Got numpy.ndarray"),
        ((np.zeros((2, 3)), None, None), ValueError, r"out\[0\] must have the shape of the result"),
        ((X.astype(np.float32), None, None), TypeError, r"out\[0\] must have the dtype of the result"),
        ((X, None, X[0, 0]), ValueError, r"out\[0\] and out\[2\] must not overlap: both are written"),
    ],
)
def test_layer_norm_backward_wrong_out_writes_nothing(out, error, message):
    x = np.ones((2, 3, 4))
    with pytest.raises(error, match=message):
        layer_norm_backward(x, x, 4, None, np.ones(4), out=out)
    assert not X.any()
