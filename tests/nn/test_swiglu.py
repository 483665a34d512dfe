import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore.nn import silu, swiglu

# Below, at and above a vector and an item; the last ones are shared by threads.
SHAPES = [(), (1,), (17,), (3, 16), (1, 1536), (2, 3, 33), (5, 4097), (9000,), (170, 1536)]
DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_swiglu_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype):
    gate, up = (np.asarray(rng.normal(0, 3, shape), dtype) for _ in range(2))
    got = swiglu(gate, up)
    assert got.dtype == dtype
    assert_exact(got, reference.swiglu, gate, up)
    assert_exact(silu(gate), reference.silu, gate)
    np.testing.assert_array_equal(swiglu(gate, np.ones_like(gate)), silu(gate))


@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_at_the_ends(dtype):
    x = np.array([0.0, -0.0, 800.0, -800.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30], dtype)
    want = np.array([0, 0, 800, -0.0, np.inf, np.nan, np.nan, 5e-31, -5e-31], dtype)
    np.testing.assert_allclose(silu(x), want, rtol=0, atol=0 if dtype == np.float32 else 1e-300)


@given(st.integers(1, 6), st.integers(1, 80), st.booleans())
def test_swiglu_short_way_equals_the_long_way(rows, size, halves):
    """Two axes go the short way, also as the halves of one array; three axes the other."""
    both = np.random.default_rng(size).normal(0, 3, (rows, 2 * size)).astype(np.float32)
    gate, up = both[:, :size], both[:, size:]
    if not halves:
        gate, up = gate.copy(), up.copy()
    np.testing.assert_array_equal(swiglu(gate, up), swiglu(gate[None], up[None])[0])
    np.testing.assert_array_equal(swiglu(gate, up, out=np.empty_like(gate)), swiglu(gate, up))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 33), (6, 5, 33)])
def test_swiglu_memory_does_not_matter(rng, in_memory, shape, dtype):
    arrays = rng.normal(size=(2, *shape)).astype(dtype)
    placed = [in_memory(a) for a in arrays]
    kept = [a.copy() for a in placed]
    np.testing.assert_array_equal(swiglu(*placed), swiglu(*arrays))
    np.testing.assert_array_equal(swiglu(placed[0], arrays[1]), swiglu(*arrays))
    np.testing.assert_array_equal(silu(placed[0]), silu(arrays[0]))
    for a, b in zip(placed, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_swiglu_half_precision_is_rounded_once(rng, dtype):
    gate, up = rng.normal(size=(2, 9, 70)).astype(dtype)
    want = swiglu(gate.astype(np.float32), up.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(silu(gate), silu(gate.astype(np.float32)).astype(dtype))
    assert swiglu(gate, up, out=up) is up
    np.testing.assert_array_equal(up, want)


@pytest.mark.parametrize("overlap", ["gate", "up", "shifted", "none", "fortran", "wide rows"])
def test_swiglu_out_may_overlap_anything(rng, overlap):
    memory = rng.normal(size=8 * 40).astype(np.float32)
    gate, up = memory[40:].reshape(7, 40), rng.normal(size=(7, 40)).astype(np.float32)
    out = {
        "gate": gate,
        "up": up,
        "shifted": memory[20:-20].reshape(7, 40),
        "none": np.empty((7, 40), np.float32),
        "fortran": np.empty((7, 40), np.float32, order="F"),
        "wide rows": np.empty((7, 50), np.float32)[:, :40],
    }[overlap]
    want = swiglu(gate, up)
    assert swiglu(gate, up, out=out) is out
    np.testing.assert_array_equal(out, want)


def test_silu_in_place(rng):
    x = rng.normal(size=(7, 40))
    want = silu(x)
    assert silu(x, out=x) is x
    np.testing.assert_array_equal(x, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3)])
def test_swiglu_of_nothing(shape, dtype):
    assert swiglu(np.zeros(shape, dtype), np.zeros(shape, dtype)).shape == shape
    assert silu(np.zeros(shape, dtype)).shape == shape


def test_swiglu_one_thread_equals_many(rng):
    gate, up = rng.normal(size=(2, 300_001))
    with fastcore.num_threads(1):
        want = swiglu(gate, up)
    np.testing.assert_array_equal(swiglu(gate, up), want)


X = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((X, X[:1]), ValueError, r"up must have the shape of gate. Got up \(1, 3\), gate \(2, 3\)"),
        ((X, X[0]), ValueError, "up must have the shape of gate"),
        ((X, X.T), ValueError, "up must have the shape of gate"),
        ((X, X.astype(float)), TypeError, "gate, up must have one dtype. Got gate float32, up float64"),
        ((X.astype(int), X), TypeError, "gate must be float32"),
        ((X, None), TypeError, "up must be an array. Got None"),
        ((X, X.astype(complex)), TypeError, "up must be float32"),
    ],
)
def test_swiglu_wrong_argument_raises(arguments, error, message):
    with pytest.raises(error, match=message):
        swiglu(*arguments)


def test_silu_wrong_argument_raises():
    with pytest.raises(TypeError, match="input must be float32"):
        silu(X.astype(int))
    with pytest.raises(ValueError, match="out must have the shape of the result"):
        silu(X, out=X[0].copy())
