from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import nn, reference

DTYPES = [np.float32, np.float64]
FUNCTIONS = ["softmax", "log_softmax"]
# Shape and axis: rows below, at and above a vector, two and a block of them; columns below, at and above a vector, a
# strip and what is copied of one; a number, axes in the middle, axes of one element. Threads share the last ones.
CASES = [
    ((), -1),
    ((1,), 0),
    ((30, 16), -1),
    ((30, 33), 1),
    ((20, 300), -1),
    ((2, 5000), -1),
    ((7, 30), 0),
    ((4, 5, 60), 1),
    ((3, 4, 5, 17), -3),
    ((2, 9, 520), 1),
    ((9000, 40), 0),
    ((40_000, 9), 0),
    ((3, 5, 1), 1),
    ((5, 1, 4), 1),
    ((300, 700), 1),
    ((300, 700), 0),
]


@pytest.fixture(params=FUNCTIONS)
def name(request):
    return request.param


def both(name):
    """A function and its twin."""
    return getattr(nn, name), getattr(reference, name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, dim", CASES)
def test_softmax_and_its_gradient_are_as_exact_as_the_twins(rng, assert_exact, name, shape, dim, dtype):
    x, grad = (np.asarray(rng.normal(0, size, shape), dtype) for size in (3, 1))
    function, twin = both(name)
    got = function(x, dim)
    assert got.dtype == dtype
    assert_exact(got, twin, x, dim)
    function, twin = both(f"{name}_backward")
    back = function(grad, got, dim)
    assert back.dtype == dtype
    want = twin(grad.astype(float), got.astype(float), dim)
    # Slopes are differences: what is rounded is as large as their terms.
    largest = np.abs(want).max() + np.abs(grad * np.exp(got) if name == "log_softmax" else grad * got).max()
    plain = np.abs(twin(grad, got, dim) - want).max() if dtype == np.float32 else 0
    assert np.abs(back - want).max() <= 2 * plain + (1e-7 if dtype == np.float32 else 1e-14) * largest


@given(
    shape=st.lists(st.integers(1, 20), min_size=1, max_size=4).map(tuple),
    axis=st.integers(0, 3),
    seed=st.integers(0, 100),
)
def test_softmax_properties(shape, axis, seed):
    """Sums of one; a number added to all changes nothing; the logarithm is one; a gradient sums to 0."""
    rng = np.random.default_rng(seed)
    dim = axis % len(shape)
    x, grad = rng.normal(0, 3, (2, *shape))
    y, log_y = nn.softmax(x, dim), nn.log_softmax(x, dim)
    np.testing.assert_allclose(y.sum(dim), 1, rtol=1e-14)
    np.testing.assert_allclose(np.exp(log_y), y, rtol=1e-13)
    np.testing.assert_allclose(nn.softmax(x + 700, dim), y, rtol=2e-12)
    np.testing.assert_allclose(nn.softmax_backward(grad, y, dim).sum(dim), 0, atol=1e-14)
    np.testing.assert_allclose(nn.log_softmax_backward(grad, log_y, dim).sum(dim), 0, atol=1e-13)


def test_softmax_backward_is_the_derivative(rng, name):
    """Central differences of a weighted sum of the result, for each element of a row."""
    x, weights, step = rng.normal(0, 2, 9), rng.normal(size=9), 1e-5
    function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
    shifts = step * np.eye(9)
    want = (function(x + shifts) @ weights - function(x - shifts) @ weights) / (2 * step)
    np.testing.assert_allclose(backward(weights, function(x)), want, rtol=0, atol=2e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_of_infinities_and_nan(name, dim, dtype):
    """-inf counts as nothing; only -inf, +inf and NaN make a row NaN, and no other row, as in PyTorch."""
    inf, nan = np.inf, np.nan
    x = np.zeros((5, 40), dtype)
    x[0, 7], x[1], x[2, 3], x[3, 39] = -inf, -inf, inf, nan
    got = getattr(nn, name)(x if dim == 1 else np.ascontiguousarray(x.T), dim)
    got = got if dim == 1 else got.T
    assert np.isnan(got[1:4]).all()
    share = 1 / np.array([39, 40]) if name == "softmax" else -np.log([39, 40])
    np.testing.assert_allclose(got[0], np.where(np.arange(40) == 7, 0 if name == "softmax" else -inf, share[0]), 1e-6)
    np.testing.assert_allclose(got[4], share[1], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_far_from_zero_keeps_its_digits(rng, name, dim, dtype):
    x = np.round(rng.normal(0, 3, (50, 60)) * 64) / 64
    shifted = (x + 3e4).astype(dtype)
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    want = getattr(reference, name)(x, dim)
    np.testing.assert_allclose(getattr(nn, name)(shifted, dim), want, rtol=2 * tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_softmax_memory_does_not_matter(rng, in_memory, name, dim, dtype):
    function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
    x, grad = rng.normal(size=(2, 6, 5, 33)).astype(dtype)
    want = function(x, dim)
    placed = [in_memory(a) for a in (x, grad, want)]
    kept = [a.copy() for a in placed]
    np.testing.assert_array_equal(function(placed[0], dim), want)
    np.testing.assert_array_equal(backward(*placed[1:], dim), backward(grad, want, dim))
    np.testing.assert_array_equal(backward(grad, placed[2], dim), backward(grad, want, dim))
    for a, b in zip(placed, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@given(rows=st.integers(1, 6), size=st.integers(1, 80), wide=st.booleans())
def test_softmax_short_way_equals_the_long_way(rows, size, wide):
    """Two axes go the short way; three axes, and with `out`, the other."""
    x = np.random.default_rng(size).normal(0, 3, (rows, size + 3)).astype(np.float32)[:, : size + 3 * wide]
    for function in (nn.softmax, nn.log_softmax):
        np.testing.assert_array_equal(function(x), function(x[None])[0])
        np.testing.assert_array_equal(function(x, out=np.empty_like(x)), function(x))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_softmax_half_precision_is_rounded_once(rng, name, dtype):
    x = rng.normal(0, 3, (9, 70)).astype(dtype)
    function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
    want = function(x.astype(np.float32), 0).astype(dtype)
    slopes = backward(x.astype(np.float32), want.astype(np.float32), 0).astype(dtype)
    np.testing.assert_array_equal(backward(x, want, 0), slopes)
    assert function(x, 0, out=x) is x
    np.testing.assert_array_equal(x, want)


def test_softmax_dtype_casts_the_input_first(rng, name):
    function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
    x = rng.normal(0, 3, (4, 30))
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, "f8", ">f4"):
        native = np.dtype(dtype).newbyteorder("=")
        got = function(x, dtype=dtype)
        assert got.dtype == native
        np.testing.assert_array_equal(got, function(x.astype(native)))
        slopes = backward(got, got, dtype=np.float64)
        assert slopes.dtype == np.float64
        wide = np.float64 if native == np.float64 else np.float32
        np.testing.assert_array_equal(slopes, backward(got.astype(wide), got.astype(wide)))
    with np.errstate(all="raise"):
        assert np.isnan(function(np.array([0.0, 1e6]), dtype=np.float16)).all()  # 1e6 is infinite there


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("overlap", ["input", "shifted", "fortran", "wide rows"])
def test_softmax_out_may_overlap_anything(rng, name, overlap, dim):
    function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
    memory, grad = rng.normal(size=8 * 40), rng.normal(size=(7, 40))
    x = memory[40:].reshape(7, 40)
    out = {
        "input": x,
        "shifted": memory[20:-20].reshape(7, 40),
        "fortran": np.empty((7, 40), order="F"),
        "wide rows": np.empty((7, 50))[:, :40],
    }[overlap]
    kept = x.copy()
    want, slopes = function(x, dim), backward(grad, x, dim)
    assert function(x, dim, out=out) is out
    np.testing.assert_array_equal(out, want)
    x[:] = kept
    assert backward(grad, x, dim, out=out) is out
    np.testing.assert_array_equal(out, slopes)
    assert backward(grad, kept, dim, out=grad) is grad
    np.testing.assert_array_equal(grad, slopes)


@pytest.mark.parametrize("shift", range(2))
def test_softmax_large_results_are_the_same_past_the_caches(rng, name, shift):
    """From 16 MiB on, the logarithm and the gradients are written by other stores, from where memory is aligned."""
    function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
    shape = (1050, 4001)
    x, grad = rng.standard_normal((2, *shape), dtype=np.float32)
    memory = np.full(x.size + 2, 7, np.float32)
    out = memory[shift : shift + x.size].reshape(shape)
    function(x, out=out)
    np.testing.assert_array_equal(out[-3:], function(x[-3:]))
    y = out.copy()
    backward(grad, y, out=out)
    np.testing.assert_array_equal(out[-3:], backward(grad[-3:], y[-3:]))
    assert (np.delete(memory, np.s_[shift : shift + x.size]) == 7).all()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3)])
def test_softmax_of_nothing(name, shape):
    nothing = np.zeros(shape)
    for dim in range(len(shape)):
        assert getattr(nn, name)(nothing, dim).shape == shape
        assert getattr(nn, f"{name}_backward")(nothing, nothing, dim).shape == shape


@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_one_thread_equals_many(rng, name, dim):
    function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
    x = rng.normal(size=(700, 400))
    with fastcore.num_threads(1):
        want = function(x, dim)
        slopes = backward(x, want, dim)
    np.testing.assert_array_equal(function(x, dim), want)
    np.testing.assert_array_equal(backward(x, want, dim), slopes)


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    "arguments, keywords, error, message",
    [
        ((X, 2), {}, ValueError, r"dim must be an axis of input, -2 to 1. Got 2, input \(2, 3\)"),
        ((X, -3), {}, ValueError, "dim must be an axis of input"),
        ((np.float64(1), 1), {}, ValueError, "dim must be an axis of input, -1 to 0. Got 1"),
        ((X, 1.0), {}, TypeError, "dim must be an integer"),
        ((X, None), {}, TypeError, "dim must be an integer"),
        ((X.astype("f4"), np.array([0, 1])), {}, TypeError, "dim must be an integer"),
        ((X.astype(int),), {}, TypeError, "input must be float32"),
        ((np.ma.array(X),), {}, TypeError, "masked"),
        ((X,), {"dtype": int}, TypeError, "dtype must be float32, float64, float16 or bfloat16, .* Got int64"),
        ((X,), {"dtype": "torch.float32"}, TypeError, "dtype must be float32"),
        ((X,), {"dtype": np.float32, "out": X.copy()}, TypeError, "out must have the dtype of the result, float32"),
        ((X,), {"out": X[0].copy()}, ValueError, "out must have the shape of the result"),
    ],
)
def test_softmax_wrong_argument_raises(name, arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        getattr(nn, name)(*arguments, **keywords)


def test_softmax_backward_wrong_argument_raises(name):
    backward = getattr(nn, f"{name}_backward")
    with pytest.raises(ValueError, match=r"grad_out must have the shape of output. Got grad_out \(1, 3\)"):
        backward(X[:1], X)
    with pytest.raises(TypeError, match="output, grad_out must have one dtype"):
        backward(X.astype("f4"), X)
    with pytest.raises(ValueError, match="dim must be an axis of output"):
        backward(X, X, 2)


def test_softmax_and_log_softmax_are_right_and_touch_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_rows.py"), "probabilities").endswith(" cases")
