from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore.nn import add_layer_norm, layer_norm

# Below, at and above one vector, the unrolled loop, an item; the last is shared by threads.
SHAPES = [(1, 1), (3, 2), (5, 16), (2, 3, 17), (4, 64), (7, 65), (2, 131), (3, 384), (2, 5000), (700, 384)]
DTYPES = [np.float32, np.float64]


def draw(rng, shape, dtype, count=1):
    arrays = [rng.normal(1.5, 2.0, shape).astype(dtype) for _ in range(count)]
    return arrays[0] if count == 1 else arrays


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_layer_norm_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype):
    x = draw(rng, shape, dtype)
    weight, bias = draw(rng, shape[-1], dtype, 2)
    for options in ({}, {"weight": weight}, {"bias": bias}, {"weight": weight, "bias": bias, "eps": 0.3}):
        got = layer_norm(x, shape[-1], **options)
        assert got.dtype == dtype
        assert_exact(got, reference.layer_norm, x, shape[-1], **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_add_layer_norm_is_layer_norm_of_the_sum(rng, assert_exact, shape, dtype):
    x, residual = draw(rng, shape, dtype, 2)
    weight, bias = draw(rng, shape[-1], dtype, 2)
    got = add_layer_norm(x, residual, shape[-1], weight, bias)
    np.testing.assert_array_equal(got, layer_norm(x + residual, shape[-1], weight, bias))
    assert_exact(got, reference.add_layer_norm, x, residual, shape[-1], weight, bias)


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    axes=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_layer_norm_over_several_axes(assert_exact, shape, axes, seed):
    rng = np.random.default_rng(seed)
    normalized = shape[-axes:]
    x, weight, bias = draw(rng, shape, np.float64), *draw(rng, normalized, np.float64, 2)
    assert_exact(layer_norm(x, normalized, weight, bias), reference.layer_norm, x, normalized, weight, bias)


@pytest.mark.parametrize("offset", [1e4, -3e5])
def test_layer_norm_float32_survives_a_mean_far_above_the_deviation(rng, offset):
    """Where the textbook's rounding of the mean alone costs three digits."""
    x = (offset + rng.normal(size=(20, 1000))).astype(np.float32)
    want = reference.layer_norm(x.astype(np.float64), 1000)
    assert np.abs(layer_norm(x, 1000) - want).max() < 2e-6


def test_layer_norm_of_equal_numbers_is_the_bias():
    x = np.full((3, 40), 1e4 / 3, np.float32)
    bias = np.arange(40, dtype=np.float32)
    np.testing.assert_array_equal(layer_norm(x, 40, bias=bias), np.broadcast_to(bias, (3, 40)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("magnitude", [1.0, 1e8, 1e12, 1e15])
def test_layer_norm_variance_of_equal_numbers_never_rounds_below_zero(rng, magnitude, dtype):
    """Its root was NaN in a fifth to a third of such float32 rows from 1e12 on."""
    for size in (3, 7, 17, 40, 65, 131, 384, 1000):
        x = np.repeat(magnitude * rng.uniform(1, 10, (50, 1)), size, axis=1).astype(dtype)
        assert np.isfinite(layer_norm(x, size)).all()


def test_layer_norm_nan_stays_in_its_row(rng):
    x = draw(rng, (4, 50), np.float32)
    want = layer_norm(x, 50)
    x[1, 7], x[2, 49] = np.nan, np.inf
    got = layer_norm(x, 50)
    assert np.isnan(got[1:3]).all()
    np.testing.assert_array_equal(got[[0, 3]], want[[0, 3]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm_memory_does_not_matter(rng, in_memory, dtype):
    x, residual = draw(rng, (6, 5, 33), dtype, 2)
    weight, bias = draw(rng, (5, 33), dtype, 2)
    placed = [in_memory(a) for a in (x, residual, weight, bias)]
    kept = [a.copy() for a in placed]
    np.testing.assert_array_equal(layer_norm(placed[0], 33), layer_norm(x, 33))
    want = add_layer_norm(x, residual, (5, 33), weight, bias)
    np.testing.assert_array_equal(add_layer_norm(*placed[:2], (5, 33), *placed[2:]), want)
    for a, b in zip(placed, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_layer_norm_half_precision_is_rounded_once(rng, dtype):
    x, residual = draw(rng, (9, 70), dtype, 2)
    weight, bias = draw(rng, 70, dtype, 2)
    wide = [a.astype(np.float32) for a in (x, residual, weight, bias)]
    want = add_layer_norm(*wide[:2], 70, *wide[2:]).astype(dtype)
    got = add_layer_norm(x, residual, 70, weight, bias, out=x)
    assert got is x
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("overlap", ["input", "residual", "shifted input", "weight", "none", "fortran"])
def test_add_layer_norm_out_may_overlap_anything(rng, overlap):
    memory = draw(rng, 8 * 40, np.float64)
    x, residual = memory[40:].reshape(7, 40), draw(rng, (7, 40), np.float64)
    weight = memory[-40:]
    out = {
        "input": x,
        "residual": residual,
        "shifted input": memory[:-40].reshape(7, 40),
        "weight": memory[40:].reshape(7, 40),
        "none": np.empty((7, 40)),
        "fortran": np.empty((7, 40), order="F"),
    }[overlap]
    want = add_layer_norm(x, residual, 40, weight)
    assert add_layer_norm(x, residual, 40, weight, out=out) is out
    np.testing.assert_array_equal(out, want)


def test_add_layer_norm_out_that_is_both_summands(rng):
    x = draw(rng, (7, 40), np.float32)
    want = layer_norm(x + x, 40)
    np.testing.assert_array_equal(add_layer_norm(x, x, 40, out=x), want)


def test_layer_norm_out_in_wide_rows_is_written_in_place(rng):
    memory = np.full((5, 40), 7.0)
    x = draw(rng, (5, 33), np.float64)
    layer_norm(x, 33, out=memory[:, :33])
    np.testing.assert_array_equal(memory[:, :33], layer_norm(x, 33))
    assert (memory[:, 33:] == 7.0).all()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_layer_norm_of_nothing(shape):
    assert layer_norm(np.zeros(shape), 4).shape == shape
    assert add_layer_norm(np.zeros(shape), np.zeros(shape), 4).shape == shape


def test_layer_norm_one_thread_equals_many(rng):
    x, residual = draw(rng, (4000, 384), np.float32, 2)
    with fastcore.num_threads(1):
        want = add_layer_norm(x, residual, 384)
    np.testing.assert_array_equal(add_layer_norm(x, residual, 384), want)


X = np.zeros((2, 3, 4))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((X, 3), ValueError, r"normalized_shape must be the last axes .* Got \(3,\), input \(2, 3, 4\)"),
        ((X, ()), ValueError, "normalized_shape must be the last axes"),
        ((X, (1, 2, 3, 4)), ValueError, "normalized_shape must be the last axes"),
        ((np.zeros((2, 0)), 0), ValueError, "none of them empty"),
        ((X, 4.0), TypeError, "normalized_shape must be an integer"),
        ((X, 4, np.zeros(3)), ValueError, r"weight must have the shape normalized_shape, \(4,\). Got \(3,\)"),
        ((X, (3, 4), None, np.zeros(12)), ValueError, r"bias must have the shape normalized_shape, \(3, 4\)"),
        ((X, 4, np.zeros(4, np.float32)), TypeError, "input, weight must have one dtype"),
        ((X, 4, None, None, -1e-5), ValueError, "eps must not be negative. Got -1e-05"),
        ((X, 4, None, None, np.nan), ValueError, "eps must be finite"),
        ((X, 4, None, None, 10**400), ValueError, "eps must be finite"),
        ((X.astype(int), 4), TypeError, "input must be float32"),
    ],
)
def test_layer_norm_wrong_argument_raises(arguments, error, message):
    with pytest.raises(error, match=message):
        layer_norm(*arguments)


def test_add_layer_norm_wrong_residual_raises():
    with pytest.raises(ValueError, match=r"residual must have the shape of input. Got residual \(3, 4\)"):
        add_layer_norm(X, X[0], 4)
    with pytest.raises(TypeError, match="input, residual must have one dtype"):
        add_layer_norm(X, X.astype(np.float32), 4)


def test_layer_norm_wrong_out_raises():
    with pytest.raises(ValueError, match="out must have the shape of the result"):
        layer_norm(X, 4, out=np.zeros((2, 3)))


def test_norms_of_rows_are_right_and_touch_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_rows.py"), "normalize_rows").endswith(" cases")
