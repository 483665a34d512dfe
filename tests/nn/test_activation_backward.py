from functools import partial
from itertools import permutations

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore.nn import gelu, gelu_backward, silu, silu_backward, swiglu_backward

# Below, at and above a vector and an item; the last ones are shared by threads.
SHAPES = [(), (17,), (3, 16), (2, 3, 33), (5, 4097), (70, 1536)]
DTYPES = [np.float32, np.float64]
# Name, gradient, its twin: of the three with one result.
ONE = {
    "none": (partial(gelu_backward, approximate="none"), partial(reference.gelu_backward, approximate="none")),
    "tanh": (partial(gelu_backward, approximate="tanh"), partial(reference.gelu_backward, approximate="tanh")),
    "silu": (silu_backward, reference.silu_backward),
}


@pytest.fixture(params=ONE)
def pair(request):
    """A gradient and its twin."""
    return ONE[request.param]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_backward_is_as_exact_as_the_twin(rng, assert_exact, pair, shape, dtype):
    function, twin = pair
    grad, x = (np.asarray(rng.normal(0, size, shape), dtype) for size in (1, 3))
    got = function(grad, x)
    assert got.dtype == dtype
    assert_exact(got, twin, grad, x)


@pytest.mark.parametrize("kind", ["none", "tanh"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_backward_with_a_bias_is_that_of_the_sum(rng, assert_exact, dtype, kind):
    grad, x = rng.normal(size=(2, 4, 5, 33)).astype(dtype)
    bias = rng.normal(size=33).astype(dtype)
    got = gelu_backward(grad, x, kind, bias=bias)
    np.testing.assert_array_equal(got, gelu_backward(grad, x + bias, kind))
    assert_exact(got, reference.gelu_backward, grad, x, approximate=kind, bias=bias)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_swiglu_backward_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype):
    grad, gate, up = (np.asarray(rng.normal(0, size, shape), dtype) for size in (1, 3, 1))
    got = swiglu_backward(grad, gate, up)
    for k, part in enumerate(got):
        assert part.dtype == dtype
        assert_exact(part, lambda *a, k=k: reference.swiglu_backward(*a)[k], grad, gate, up)
    ones = np.ones_like(gate)
    np.testing.assert_array_equal(swiglu_backward(grad, gate, ones)[0], silu_backward(grad, gate))


@pytest.mark.parametrize(
    "forward, backward",
    [(gelu, gelu_backward), (partial(gelu, approximate="tanh"), ONE["tanh"][0]), (silu, silu_backward)],
)
def test_backward_is_the_derivative(forward, backward):
    """Central differences, whose error is step**2 / 6 times the third derivative, below 3."""
    x, step = np.linspace(-9, 9, 1001), 1e-5
    want = (forward(x + step) - forward(x - step)) / (2 * step)
    np.testing.assert_allclose(backward(np.ones_like(x), x), want, rtol=0, atol=2e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_at_the_ends(pair, dtype):
    """Slope 0 and 1, also where the cubes and squares inside exceed the dtype; NaN at infinities, as in PyTorch."""
    function, _ = pair
    largest = np.finfo(dtype).max
    x = np.array([0.0, 1000.0, -1000.0, largest, -largest, np.inf, -np.inf, np.nan], dtype)
    got = function(np.full_like(x, 2), x)
    np.testing.assert_allclose(got, np.array([1, 2, 0, 2, 0, *[np.nan] * 3], dtype), atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_memory_does_not_matter(rng, in_memory, pair, dtype):
    function, _ = pair
    grad, x, up = rng.normal(size=(3, 6, 5, 33)).astype(dtype)
    placed = [in_memory(a) for a in (grad, x, up)]
    kept = [a.copy() for a in placed]
    np.testing.assert_array_equal(function(placed[0], placed[1]), function(grad, x))
    np.testing.assert_array_equal(function(grad, placed[1]), function(grad, x))
    for got, want in zip(swiglu_backward(*placed), swiglu_backward(grad, x, up), strict=True):
        np.testing.assert_array_equal(got, want)
    for a, b in zip(placed, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_backward_half_precision_is_rounded_once(rng, pair, dtype):
    function, _ = pair
    grad, x, up = rng.normal(size=(3, 9, 70)).astype(dtype)
    wide = [a.astype(np.float32) for a in (grad, x, up)]
    want = function(*wide[:2]).astype(dtype)
    wanted_pair = [a.astype(dtype) for a in swiglu_backward(*wide)]
    np.testing.assert_array_equal(swiglu_backward(grad, x, up), wanted_pair)
    assert function(grad, x, out=grad) is grad
    np.testing.assert_array_equal(grad, want)


@pytest.mark.parametrize("overlap", ["grad", "input", "shifted", "fortran", "wide rows"])
def test_backward_out_may_overlap_anything(rng, pair, overlap):
    function, _ = pair
    memory = rng.normal(size=8 * 40)
    grad, x = memory[40:].reshape(7, 40), rng.normal(size=(7, 40))
    out = {
        "grad": grad,
        "input": x,
        "shifted": memory[20:-20].reshape(7, 40),
        "fortran": np.empty((7, 40), order="F"),
        "wide rows": np.empty((7, 50))[:, :40],
    }[overlap]
    want = function(grad, x)
    assert function(grad, x, out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("first, second", [*permutations(range(4), 2), (3, 3)])
def test_swiglu_backward_out_may_be_any_input(rng, first, second):
    """The number 3 stands for None."""
    arrays = [*rng.normal(size=(3, 7, 40)), None]
    want = swiglu_backward(*arrays[:3])
    out = arrays[first], arrays[second]
    got = swiglu_backward(*arrays[:3], out=out)
    for k in range(2):
        assert out[k] is None or got[k] is out[k]
        np.testing.assert_array_equal(got[k], want[k])


@pytest.mark.parametrize("shift", range(3))
def test_large_results_are_the_same_past_the_caches(rng, shift):
    """Results of 16 MiB are written by other stores, from where memory is aligned; out may begin anywhere."""
    count, end = 1 << 22, slice(-9000, None)
    grad, x, up = rng.standard_normal((3, count), dtype=np.float32)
    memory = np.full(count + 3, 7, np.float32)
    out = memory[shift : shift + count]
    for function, arrays in ((gelu, [x]), (silu, [x]), (gelu_backward, [grad, x]), (silu_backward, [grad, x])):
        assert function(*arrays, out=out) is out
        np.testing.assert_array_equal(out[end], function(*(a[end] for a in arrays)))
        np.testing.assert_array_equal(out[:9000], function(*(a[:9000] for a in arrays)))
    got = swiglu_backward(grad, x, up, out=(out, None))
    for part, want in zip(got, swiglu_backward(grad[end], x[end], up[end]), strict=True):
        np.testing.assert_array_equal(part[end], want)
    assert (np.delete(memory, np.s_[shift : shift + count]) == 7).all()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_backward_of_nothing(pair, shape):
    nothing = np.zeros(shape)
    assert pair[0](nothing, nothing).shape == shape
    assert [a.shape for a in swiglu_backward(nothing, nothing, nothing)] == [shape, shape]


def test_backward_one_thread_equals_many(rng, pair):
    function, _ = pair
    grad, x, up = rng.normal(size=(3, 200_001))
    with fastcore.num_threads(1):
        want, wanted_pair = function(grad, x), swiglu_backward(grad, x, up)
    np.testing.assert_array_equal(function(grad, x), want)
    np.testing.assert_array_equal(swiglu_backward(grad, x, up), wanted_pair)


X = np.zeros((2, 3))
OUT = np.zeros((2, 3))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: gelu_backward(X[:1], X), ValueError, r"grad_out must have the shape of input. Got grad_out \(1, 3\)"),
        (lambda: gelu_backward(X.astype("f4"), X), TypeError, "input, grad_out must have one dtype"),
        (lambda: gelu_backward(X, X, "erf"), ValueError, "approximate must be 'none' or 'tanh'"),
        (lambda: gelu_backward(X, X, bias=X[0, :2]), ValueError, "bias must have the shape of the last axis of input"),
        (lambda: silu_backward(X, X[:1]), ValueError, "input must have the shape of grad_out"),
        (lambda: silu_backward(X, X, out=X[0].copy()), ValueError, "out must have the shape of the result"),
        (lambda: swiglu_backward(X, X, None), TypeError, "up must be an array"),
        (lambda: swiglu_backward(X, X, X, out=OUT), TypeError, "out must be a tuple of two, .* Got numpy.ndarray"),
        (lambda: swiglu_backward(X, X, X, out=(OUT,)), TypeError, "out must be a tuple of two, .* Got a tuple of 1"),
        (lambda: swiglu_backward(X, X, X, out=(OUT, 1)), TypeError, r"out\[1\] must be a numpy.ndarray. Got int"),
        (lambda: swiglu_backward(X, X, X, out=(OUT, OUT)), ValueError, r"out\[0\] and out\[1\] must not overlap"),
    ],
)
def test_backward_wrong_argument_raises(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert not OUT.any()
