from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore.nn import gelu

# Below, at and above a vector and an item; the last ones are shared by threads.
SHAPES = [(), (1,), (17,), (3, 16), (2, 3, 33), (5, 4097), (9000,), (70, 1536)]
KINDS = ["none", "tanh"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_gelu_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype, kind):
    x = np.asarray(rng.normal(0, 3, shape), dtype)
    got = gelu(x, kind)
    assert got.dtype == dtype
    assert_exact(got, reference.gelu, x, approximate=kind)
    if shape:
        bias = rng.normal(size=shape[-1]).astype(dtype)
        assert_exact(gelu(x, kind, bias=bias), reference.gelu, x, approximate=kind, bias=bias)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_at_the_ends(kind, dtype):
    x = np.array([0.0, -0.0, 40.0, -40.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30], dtype)
    np.testing.assert_array_equal(gelu(x, kind), np.array([0, 0, 40, 0, np.inf, np.nan, np.nan, 5e-31, -5e-31], dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_memory_does_not_matter(rng, in_memory, dtype, kind):
    x, bias = rng.normal(size=(6, 5, 33)).astype(dtype), rng.normal(size=33).astype(dtype)
    placed = in_memory(x)
    kept = placed.copy()
    np.testing.assert_array_equal(gelu(placed, kind), gelu(x, kind))
    np.testing.assert_array_equal(gelu(placed, kind, bias=bias), gelu(x + bias, kind))
    np.testing.assert_array_equal(placed, kept)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_gelu_half_precision_is_rounded_once(rng, dtype):
    x, bias = rng.normal(size=(9, 70)).astype(dtype), rng.normal(size=70).astype(dtype)
    want = gelu(x.astype(np.float32), bias=bias.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(gelu(x, bias=bias), want)
    assert gelu(x, bias=bias, out=x) is x
    np.testing.assert_array_equal(x, want)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("overlap", ["input", "shifted", "bias", "none", "fortran", "wide rows"])
def test_gelu_out_may_overlap_anything(rng, overlap, biased):
    memory = rng.normal(size=8 * 40)
    x, bias = memory[40:].reshape(7, 40), memory[:40] if biased else None
    out = {
        "input": x,
        "shifted": memory[20:-20].reshape(7, 40),
        "bias": memory[:-40].reshape(7, 40),
        "none": np.empty((7, 40)),
        "fortran": np.empty((7, 40), order="F"),
        "wide rows": np.empty((7, 50))[:, :40],
    }[overlap]
    want = gelu(x, bias=bias)
    assert gelu(x, bias=bias, out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_gelu_of_nothing(shape):
    assert gelu(np.zeros(shape), bias=np.zeros(shape[-1])).shape == shape


def test_gelu_one_thread_equals_many(rng):
    x = rng.normal(size=300_001)
    with fastcore.num_threads(1):
        want = gelu(x)
    np.testing.assert_array_equal(gelu(x), want)


@pytest.mark.parametrize(
    "keywords, error, message",
    [
        ({"approximate": "erf"}, ValueError, "approximate must be 'none' or 'tanh'. Got 'erf'"),
        ({"approximate": np.array(["a", "b"])}, TypeError, r"'none' or 'tanh'. Got numpy\.ndarray"),
        ({"approximate": None}, TypeError, "'none' or 'tanh'. Got NoneType"),
        ({"bias": np.zeros(2)}, ValueError, r"bias must have the shape of the last axis of input. Got bias \(2,\)"),
        ({"bias": np.zeros(3, np.float32)}, TypeError, "input, bias must have one dtype"),
        ({"out": np.zeros(3)}, ValueError, "out must have the shape of the result"),
    ],
)
def test_gelu_wrong_argument_raises(keywords, error, message):
    with pytest.raises(error, match=message):
        gelu(np.zeros((2, 3)), **keywords)


def test_gelu_of_a_number_takes_no_bias():
    with pytest.raises(ValueError, match="bias must have the shape of the last axis"):
        gelu(np.float64(1), bias=np.zeros(()))


def test_gelu_silu_and_swiglu_are_right_and_touch_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_rows.py"), "activations").endswith(" cases")
