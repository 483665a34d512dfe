import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore.nn import rms_norm

# Below, at and above one vector, the unrolled loop, an item; the last is shared by threads.
SHAPES = [(1, 1), (3, 2), (5, 16), (2, 3, 17), (4, 64), (7, 65), (2, 131), (1, 1, 576), (2, 5000), (1200, 576)]
DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype):
    x = rng.normal(1.5, 2.0, shape).astype(dtype)
    weight = rng.normal(size=shape[-1]).astype(dtype)
    for options in ({"eps": 0.3}, {"weight": weight, "eps": 0.0}, {"weight": weight, "eps": 1e-5}):
        got = rms_norm(x, shape[-1], **options)
        assert got.dtype == dtype
        assert_exact(got, reference.rms_norm, x, shape[-1], **options)


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    axes=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_rms_norm_over_several_axes(assert_exact, shape, axes, seed):
    rng = np.random.default_rng(seed)
    normalized = shape[-axes:]
    x, weight = rng.normal(size=shape), rng.normal(size=normalized)
    assert_exact(rms_norm(x, normalized, weight), reference.rms_norm, x, normalized, weight)


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
def test_rms_norm_default_eps_is_the_one_of_the_computing_dtype(dtype, weighted):
    """Squares as large as eps halve the square of what comes out."""
    eps = 2.0**-52 if dtype == np.float64 else 2.0**-23
    x = np.full((1, 8), np.sqrt(eps), dtype)
    weight = np.ones(8, dtype) if weighted else None
    np.testing.assert_allclose(rms_norm(x, 8, weight).astype(float), np.sqrt(0.5), rtol=2.0**-8)
    np.testing.assert_array_equal(rms_norm(x, 8, weight), reference.rms_norm(x, 8, weight))


@given(st.lists(st.integers(1, 5), min_size=0, max_size=3), st.integers(1, 80), st.sampled_from([None, 1e-5, 0.0]))
def test_rms_norm_short_way_equals_the_long_way(axes, size, eps):
    """Plain float32 with a weight goes the short way, a tuple of axes the other."""
    rng = np.random.default_rng(size)
    x, weight = rng.normal(size=(*axes, size)).astype(np.float32), rng.normal(size=size).astype(np.float32)
    np.testing.assert_array_equal(rms_norm(x, size, weight, eps), rms_norm(x, (size,), weight, eps))


def test_rms_norm_of_zeros_is_zero_and_without_eps_nan():
    x, weight = np.zeros((2, 5), np.float32), np.ones(5, np.float32)
    assert not rms_norm(x, 5, weight).any()
    assert np.isnan(rms_norm(x, 5, weight, 0.0)).all()


def test_rms_norm_nan_stays_in_its_row(rng):
    x, weight = rng.normal(size=(4, 50)).astype(np.float32), np.ones(50, np.float32)
    want = rms_norm(x, 50, weight)
    x[1, 7] = np.nan
    got = rms_norm(x, 50, weight)
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[[0, 2, 3]], want[[0, 2, 3]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 33), (6, 5, 33)])
def test_rms_norm_memory_does_not_matter(rng, in_memory, shape, dtype):
    x, weight = rng.normal(size=shape).astype(dtype), rng.normal(size=shape[-2:]).astype(dtype)
    placed = [in_memory(a) for a in (x, weight)]
    kept = [a.copy() for a in placed]
    np.testing.assert_array_equal(rms_norm(placed[0], 33, placed[1][1]), rms_norm(x, 33, weight[1]))
    np.testing.assert_array_equal(rms_norm(placed[0], shape[-2:], placed[1]), rms_norm(x, shape[-2:], weight))
    for a, b in zip(placed, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_rms_norm_half_precision_is_rounded_once(rng, dtype):
    x, weight = rng.normal(size=(9, 70)).astype(dtype), rng.normal(size=70).astype(dtype)
    want = rms_norm(x.astype(np.float32), 70, weight.astype(np.float32), 1e-5).astype(dtype)
    got = rms_norm(x, 70, weight, 1e-5, out=x)
    assert got is x
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("overlap", ["input", "shifted input", "weight", "none", "fortran", "wide rows"])
def test_rms_norm_out_may_overlap_anything(rng, overlap):
    memory = rng.normal(size=8 * 40).astype(np.float32)
    x, weight = memory[40:].reshape(7, 40), memory[-40:]
    out = {
        "input": x,
        "shifted input": memory[:-40].reshape(7, 40),
        "weight": memory[40:].reshape(7, 40),
        "none": np.empty((7, 40), np.float32),
        "fortran": np.empty((7, 40), np.float32, order="F"),
        "wide rows": np.empty((7, 50), np.float32)[:, :40],
    }[overlap]
    want = rms_norm(x, 40, weight)
    assert rms_norm(x, 40, weight, out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_rms_norm_of_nothing(shape, dtype):
    assert rms_norm(np.zeros(shape, dtype), 4).shape == shape
    assert rms_norm(np.zeros(shape, dtype), 4, np.zeros(4, dtype)).shape == shape


def test_rms_norm_one_thread_equals_many(rng):
    x, weight = rng.normal(size=(4000, 576)).astype(np.float32), rng.normal(size=576).astype(np.float32)
    with fastcore.num_threads(1):
        want = rms_norm(x, 576, weight)
    np.testing.assert_array_equal(rms_norm(x, 576, weight), want)


X, W = np.zeros((2, 3, 4), np.float32), np.zeros(4, np.float32)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((X, 3), ValueError, r"normalized_shape must be the last axes .* Got \(3,\), input \(2, 3, 4\)"),
        ((X, 12, np.zeros(12, np.float32)), ValueError, r"normalized_shape must be the last axes .* Got \(12,\)"),
        ((X[..., :0], 0, W[:0]), ValueError, "none of them empty"),
        ((X[0, 0, 0], 4, W), ValueError, r"normalized_shape must be the last axes .* input \(\)"),
        ((X, ()), ValueError, "normalized_shape must be the last axes"),
        ((X, True, W), TypeError, "normalized_shape must be an integer"),
        ((X, 4, W[:3]), ValueError, r"weight must have the shape normalized_shape, \(4,\). Got \(3,\)"),
        ((X, 4, X[0]), ValueError, r"weight must have the shape normalized_shape, \(4,\). Got \(3, 4\)"),
        ((X, 4, W.astype(float)), TypeError, "input, weight must have one dtype"),
        ((X, 4, W, -1e-5), ValueError, "eps must not be negative. Got -1e-05"),
        ((X, 4, W, np.nan), ValueError, "eps must be finite"),
        ((X, 4, W, np.inf), ValueError, "eps must be finite"),
        ((X, 4, W, "1e-5"), TypeError, "eps must be a real number"),
        ((X.astype(int), 4), TypeError, "input must be float32"),
    ],
)
def test_rms_norm_wrong_argument_raises(arguments, error, message):
    with pytest.raises(error, match=message):
        rms_norm(*arguments)


def test_rms_norm_wrong_out_raises():
    with pytest.raises(ValueError, match="out must have the shape of the result"):
        rms_norm(X, 4, W, out=np.zeros((2, 3), np.float32))
