import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore._core.streaming import STREAMED_BYTES
from fastcore.nn import (
    elastic_net_penalty,
    l1_penalty,
    l2_penalty,
    prox_elastic_net,
    prox_group_lasso,
    prox_l2,
    soft_threshold,
)

SHAPES = [(1,), (17,), (3, 16), (2, 3, 33), (5, 8200), (70, 1536)]
DTYPES = [np.float32, np.float64]
OPERATORS = [
    (soft_threshold, reference.soft_threshold, {}),
    (prox_l2, reference.prox_l2, {}),
    (prox_elastic_net, reference.prox_elastic_net, {"l1_ratio": 0.3}),
    (prox_group_lasso, reference.prox_group_lasso, {}),
    (prox_group_lasso, reference.prox_group_lasso, {"axis": 0}),
]


def group_norms(z, groups):
    return sum(np.linalg.norm(z[groups == g]) for g in np.unique(groups))


@pytest.mark.parametrize("ours, twin, options", OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_prox_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype, ours, twin, options):
    x = np.asarray(rng.normal(size=shape), dtype)
    for strength in (0.0, 0.4, 3.0, 100.0):
        got = ours(x, strength, **options)
        assert got.dtype == dtype
        assert_exact(got, twin, x, strength, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_group_lasso_of_labelled_groups_is_as_exact_as_the_twin(rng, assert_exact, dtype, axis):
    x = rng.normal(size=(41, 50, 60)).astype(dtype)
    size = x.shape[axis]
    for groups in (np.arange(size) // 7, rng.integers(-3, 5, size), np.zeros(size, np.uint8), np.arange(size)[::-1]):
        got = prox_group_lasso(x, 1.7, groups, axis)
        # assert_exact casts arrays among the options, which would make labels floats.
        assert_exact(got, lambda y, groups=groups: reference.prox_group_lasso(y, 1.7, groups, axis), x)


vectors = st.lists(st.floats(-5, 5), min_size=1, max_size=12).map(np.array)
strengths = st.floats(0, 3)


@given(x=vectors, strength=strengths, l1_ratio=st.floats(0, 1), seed=st.integers(0, 99))
def test_prox_minimises_its_objective(x, strength, l1_ratio, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 3, x.size)
    cases = [
        (soft_threshold(x, strength), lambda z: l1_penalty(z, strength).value),
        (prox_l2(x, strength), lambda z: l2_penalty(z, strength).value),
        (prox_elastic_net(x, strength, l1_ratio), lambda z: elastic_net_penalty(z, strength, l1_ratio).value),
        (prox_group_lasso(x, strength, groups), lambda z: strength * group_norms(z, groups)),
    ]
    for best, penalty in cases:
        least = np.sum((best - x) ** 2) / 2 + penalty(best)
        for scale in (1e-3, 0.1, 2.0):
            other = best + scale * rng.normal(size=x.size)
            assert least <= np.sum((other - x) ** 2) / 2 + penalty(other) + 1e-12


@given(x=vectors, strength=strengths)
def test_prox_and_the_projection_on_the_dual_ball_make_up_the_whole(x, strength):
    """Moreau: x is the prox of a norm plus the projection on its dual's ball of radius ``strength``."""
    np.testing.assert_allclose(x - soft_threshold(x, strength), np.clip(x, -strength, strength), atol=1e-15)
    norm = np.linalg.norm(x)
    projection = x if norm <= strength else x * (strength / norm)
    np.testing.assert_allclose(x - prox_group_lasso(x, strength), projection, atol=1e-14)


@given(x=vectors, y=vectors, strength=strengths)
def test_prox_brings_points_no_further_apart(x, y, strength):
    size = min(x.size, y.size)
    x, y = x[:size], y[:size]
    for prox in (soft_threshold, prox_l2, prox_elastic_net, prox_group_lasso):
        assert np.linalg.norm(prox(x, strength) - prox(y, strength)) <= np.linalg.norm(x - y) * (1 + 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_prox_at_zero_infinity_and_nan(dtype):
    x = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(soft_threshold(x, 1.0), np.array([0, 0, 0, 0, np.inf, -np.inf, np.nan], dtype))
    np.testing.assert_array_equal(prox_l2(x, 1.0), x / 2)
    np.testing.assert_array_equal(soft_threshold(x, 0.0), x)
    np.testing.assert_array_equal(prox_group_lasso(x[:6], 1.0), x[:6])  # of an infinite norm
    assert np.isnan(prox_group_lasso(x, 1.0)).all()
    np.testing.assert_array_equal(prox_group_lasso(x, 0.0), x)
    assert not prox_group_lasso(np.zeros(5, dtype), 1.0).any()


def test_group_lasso_of_large_float32_does_not_overflow():
    x = np.full(4, 1e30, np.float32)
    np.testing.assert_allclose(prox_group_lasso(x, 1e30), x / 2, rtol=1e-6)


@pytest.mark.parametrize("ours, twin, options", OPERATORS)
def test_prox_memory_does_not_matter(rng, in_memory, ours, twin, options):
    x = rng.normal(size=(6, 5, 33))
    placed = in_memory(x)
    kept = placed.copy()
    np.testing.assert_array_equal(ours(placed, 0.7, **options), ours(x, 0.7, **options))
    np.testing.assert_array_equal(placed, kept)


@pytest.mark.parametrize("ours, twin, options", OPERATORS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_prox_half_precision_is_rounded_once(rng, dtype, ours, twin, options):
    x = rng.normal(size=(9, 70)).astype(dtype)
    want = ours(x.astype(np.float32), 0.3, **options).astype(dtype)
    np.testing.assert_array_equal(ours(x, 0.3, **options), want)


@pytest.mark.parametrize("ours, twin, options", OPERATORS)
@pytest.mark.parametrize("overlap", ["x", "shifted", "none", "fortran", "wide rows"])
def test_prox_out_may_overlap_anything(rng, overlap, ours, twin, options):
    memory = rng.normal(size=8 * 40)
    x = memory[40:].reshape(7, 40)
    out = {
        "x": x,
        "shifted": memory[20:-20].reshape(7, 40),
        "none": np.empty((7, 40)),
        "fortran": np.empty((7, 40), order="F"),
        "wide rows": np.empty((7, 50))[:, :40],
    }[overlap]
    want = ours(x, 0.5, **options)
    assert ours(x, 0.5, out=out, **options) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("ours, twin, options", OPERATORS)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_prox_of_nothing(shape, ours, twin, options):
    assert ours(np.zeros(shape), 1.0, **options).shape == shape


@pytest.mark.parametrize("ours, twin, options", OPERATORS)
def test_prox_one_thread_equals_many(rng, ours, twin, options):
    x = rng.normal(size=(2000, 301))
    with fastcore.num_threads(1):
        want = ours(x, 0.7, **options)
    np.testing.assert_array_equal(ours(x, 0.7, **options), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_soft_threshold_written_past_the_caches_is_the_same(rng, dtype):
    x = np.resize(rng.normal(size=1001).astype(dtype), STREAMED_BYTES // np.dtype(dtype).itemsize + 77)
    out = soft_threshold(x, 0.5, out=np.empty(x.size + 1, dtype)[1:])
    np.testing.assert_array_equal(out, soft_threshold(x, 0.5, out=x))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: soft_threshold(x, -1), ValueError, "threshold must not be negative. Got -1.0"),
        (lambda x: soft_threshold(x, math.inf), ValueError, "threshold must be finite"),
        (lambda x: prox_l2(x, np.ones(3)), TypeError, "strength must be a real number"),
        (lambda x: prox_elastic_net(x, 1, 2), ValueError, r"l1_ratio must lie in \[0, 1\]. Got 2.0"),
        (lambda x: prox_group_lasso(x, 1, axis=2), ValueError, r"axis must be one of the axes of x. Got 2, x \(2, 3\)"),
        (lambda x: prox_group_lasso(x[0, 0], 1), ValueError, r"axis must be one of the axes of x. Got -1, x \(\)"),
        (lambda x: prox_group_lasso(x, 1, axis=0.0), TypeError, "axis must be an integer"),
        (lambda x: prox_group_lasso(x, 1, [0, 1]), ValueError, r"one label for each of 3 elements along axis. Got \(2"),
        (lambda x: prox_group_lasso(x, 1, [0.0, 1.0, 2.0]), TypeError, "groups must hold integer labels. Got float64"),
        (lambda x: soft_threshold(x.astype(int), 1), TypeError, "x must be float32"),
        (lambda x: prox_l2(x, 1, out=x.T), ValueError, "out must have the shape"),
    ],
)
def test_prox_wrong_argument_raises(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3)))
