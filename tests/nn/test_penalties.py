import math

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore._core.streaming import STREAMED_BYTES
from fastcore.nn import elastic_net_penalty, l1_penalty, l2_penalty

SHAPES = [(), (1,), (17,), (3, 16), (2, 3, 33), (5, 4097), (70, 1536)]
DTYPES = [np.float32, np.float64]
PENALTIES = [
    (l1_penalty, reference.l1_penalty, {}),
    (l2_penalty, reference.l2_penalty, {}),
    (elastic_net_penalty, reference.elastic_net_penalty, {"l1_ratio": 0.3}),
]


@pytest.mark.parametrize("ours, twin, options", PENALTIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_penalty_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype, ours, twin, options):
    w = np.asarray(rng.normal(size=shape), dtype)
    value, gradient = ours(w, 0.7, **options)
    assert type(value) is float
    assert gradient.dtype == dtype
    assert_exact(gradient, lambda x: twin(x, 0.7, **options)[1], w)
    np.testing.assert_allclose(value, twin(w, 0.7, **options)[0], rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_value_is_summed_in_float64(rng, dtype):
    w = (1e4 + rng.normal(size=200_000)).astype(dtype)
    exact = math.fsum(float(x) * float(x) for x in w) / 2
    assert abs(l2_penalty(w).value - exact) <= 1e-13 * exact


def test_elastic_net_ends_are_lasso_and_ridge(rng):
    w = rng.normal(size=99)
    for got, want in (
        (elastic_net_penalty(w, 2.0, 1.0), l1_penalty(w, 2.0)),
        (elastic_net_penalty(w, 2.0, 0.0), l2_penalty(w, 2.0)),
    ):
        assert got.value == want.value
        np.testing.assert_array_equal(got.gradient, want.gradient)


def test_gradient_is_the_derivative_of_the_value(rng):
    w, step = rng.normal(size=12), 1e-6
    gradient = elastic_net_penalty(w, 0.8, 0.4).gradient
    for i in range(w.size):
        shift = step * (np.arange(w.size) == i)
        up, down = (elastic_net_penalty(w + s, 0.8, 0.4).value for s in (shift, -shift))
        assert abs((up - down) / (2 * step) - gradient[i]) < 1e-8


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty_at_zero_infinity_and_nan(dtype):
    w = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3.0], dtype)
    np.testing.assert_array_equal(l1_penalty(w, 2.0).gradient, np.array([0, 0, 2, -2, np.nan, 2], dtype))
    np.testing.assert_array_equal(l2_penalty(w, 2.0).gradient, 2 * w)
    assert l1_penalty(w[:4]).value == l2_penalty(w[:4]).value == math.inf
    assert math.isnan(l1_penalty(w).value)
    value, gradient = elastic_net_penalty(w, 0.0)
    assert value == 0.0
    assert gradient.tobytes() == np.zeros(6, dtype).tobytes()


@pytest.mark.parametrize("ours, twin, options", PENALTIES)
def test_penalty_memory_does_not_matter(rng, in_memory, ours, twin, options):
    w = rng.normal(size=(6, 5, 33))
    placed = in_memory(w)
    kept = placed.copy()
    got, want = ours(placed, 0.7, **options), ours(w, 0.7, **options)
    assert got.value == want.value
    np.testing.assert_array_equal(got.gradient, want.gradient)
    np.testing.assert_array_equal(placed, kept)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_penalty_half_precision_is_rounded_once(rng, dtype):
    w = rng.normal(size=(9, 70)).astype(dtype)
    want = elastic_net_penalty(w.astype(np.float32), 0.3)
    got = elastic_net_penalty(w, 0.3)
    assert got.value == want.value
    np.testing.assert_array_equal(got.gradient, want.gradient.astype(dtype))


@pytest.mark.parametrize("overlap", ["weights", "shifted", "none", "fortran", "wide rows"])
def test_penalty_out_may_overlap_anything(rng, overlap):
    memory = rng.normal(size=8 * 40)
    w = memory[40:].reshape(7, 40)
    out = {
        "weights": w,
        "shifted": memory[20:-20].reshape(7, 40),
        "none": np.empty((7, 40)),
        "fortran": np.empty((7, 40), order="F"),
        "wide rows": np.empty((7, 50))[:, :40],
    }[overlap]
    want = elastic_net_penalty(w, 0.5)
    got = elastic_net_penalty(w, 0.5, out=out)
    assert got.gradient is out
    assert got.value == want.value
    np.testing.assert_array_equal(out, want.gradient)


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty_written_past_the_caches_is_the_same(rng, dtype):
    w = np.resize(rng.normal(size=1001).astype(dtype), STREAMED_BYTES // np.dtype(dtype).itemsize + 77)
    in_place = w.copy()
    want = elastic_net_penalty(in_place, 0.5, out=in_place)
    with fastcore.num_threads(1):
        got = elastic_net_penalty(w, 0.5, out=np.empty(w.size + 1, dtype)[1:])
    assert got.value == want.value
    np.testing.assert_array_equal(got.gradient, in_place)


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_penalty_of_no_weights_is_zero(shape):
    value, gradient = l1_penalty(np.zeros(shape))
    assert value == 0.0
    assert gradient.shape == shape


@pytest.mark.parametrize(
    "arguments, keywords, error, message",
    [
        ((-1.0,), {}, ValueError, r"alpha must not be negative. Got -1.0"),
        ((math.nan,), {}, ValueError, "alpha must be finite"),
        (("1",), {}, TypeError, "alpha must be a real number"),
        ((1.0, 1.5), {}, ValueError, r"l1_ratio must lie in \[0, 1\]. Got 1.5"),
        ((), {"out": np.zeros(2)}, ValueError, "out must have the shape of the result"),
    ],
)
def test_penalty_wrong_argument_raises(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        elastic_net_penalty(np.zeros(3), *arguments, **keywords)


def test_penalty_names_its_weights():
    with pytest.raises(TypeError, match="weights must be float32, float64"):
        l1_penalty([1, 2])
