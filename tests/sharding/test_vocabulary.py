"""Embedding and cross-entropy over a vocabulary that is spread over devices; squared errors."""

import numpy as np
import pytest

from fastcore import reference
from fastcore.sharding import Mesh, P, VocabularyEmbedding, cross_entropy, mean_squared_error, psum

AXES = [{"dp": 1, "tp": 1}, {"dp": 1, "tp": 2}, {"dp": 2, "tp": 3}, {"tp": 4, "dp": 2}, {"dp": 1, "tp": 8}]


def close(result, expected, bound=1e-12):
    np.testing.assert_allclose(result, expected, rtol=0, atol=bound * max(np.abs(expected).max(initial=0), 1e-300))


@pytest.mark.parametrize("axes, dtype", [*((axes, np.int64) for axes in AXES), (AXES[2], np.int32)])
def test_embedding_equals_indexing(rng, axes, dtype):
    table, places = rng.standard_normal((13, 5)), rng.standard_normal((9, 5))
    tokens = rng.integers(0, 13, (3, 7)).astype(dtype)
    grad_y = rng.standard_normal((3, 7, 5))
    mesh = Mesh(axes)
    layer = VocabularyEmbedding(mesh, {"weight": table, "position_weight": places})
    y, saved = layer.forward(mesh.put(tokens, "dp", pad=True))
    nothing, grads = layer.backward(saved, mesh.put(grad_y, "dp", pad=True))
    assert nothing is None
    np.testing.assert_array_equal(y.gather(), table[tokens] + places[:7])
    expected = np.zeros_like(table)
    np.add.at(expected, tokens, grad_y)
    close(psum(grads["weight"], "dp").gather(), expected)
    by_place = psum(grads["position_weight"], "dp").gather()
    close(by_place[:7], grad_y.sum(axis=0))
    assert not by_place[7:].any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("vocabulary", [24, 17, 1])
@pytest.mark.parametrize("axes", AXES)
def test_cross_entropy_equals_unsharded(rng, axes, vocabulary, dtype):
    logits = (10 * rng.standard_normal((3, 4, vocabulary)) + 500).astype(dtype)  # exp(500) has no float32
    targets = rng.integers(0, vocabulary, (3, 4))
    mesh = Mesh(axes)
    value, grad = cross_entropy(
        mesh.put(logits, P("dp", None, "tp"), pad=True), mesh.put(targets, "dp", pad=True), count=12
    )
    expected, slope = reference.cross_entropy(logits.astype(float), targets)
    bound = 1e-12 if dtype == np.float64 else 2e-6
    assert (value.shape, value.dtype, grad.dtype) == ((), np.float64, dtype)
    assert abs(psum(value, "dp").gather() - expected) <= bound * abs(expected) + 1e-300
    close(grad.gather(), slope, bound)


def test_cross_entropy_counts_own_rows_and_leaves_padding_out(rng):
    logits, targets = rng.standard_normal((3, 4, 6)), rng.integers(0, 6, (3, 4))
    mesh = Mesh({"dp": 4, "tp": 2})  # the last device of dp has no rows
    value, grad = cross_entropy(mesh.put(logits, P("dp", None, "tp"), pad=True), mesh.put(targets, "dp", pad=True))
    expected = [reference.cross_entropy(logits[i : i + 1], targets[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(value.local.reshape(4, 2)[:, 0], [*(one for one, _ in expected), 0.0], rtol=1e-12)
    close(grad.gather(), np.concatenate([slope for _, slope in expected]))
    assert not grad.local.reshape(4, 2, -1)[3].any()


def test_cross_entropy_of_tokens_outside_is_nan(rng):
    mesh = Mesh({"tp": 4})
    for token in (-1, 6):
        value, grad = cross_entropy(
            mesh.put(rng.standard_normal((1, 2, 6)), P(None, None, "tp"), pad=True), mesh.put(np.array([[0, token]]))
        )
        assert np.isnan(value.gather())
        assert np.isnan(grad.gather()).tolist() == [[[False] * 6, [True] * 6]]
        layer = VocabularyEmbedding(mesh, {"weight": np.ones((6, 2))})
        assert np.isnan(layer(mesh.put(np.array([[0, token]]))).gather()).tolist() == [[[False] * 2, [True] * 2]]


@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("count", [None, 12])
def test_cross_entropy_leaves_out_ignored_tokens(rng, ignored, count):
    logits, targets = rng.standard_normal((3, 4, 6)), rng.integers(0, 6, (3, 4))
    targets[0, 1] = targets[2] = ignored
    taken = targets != ignored
    mesh = Mesh({"tp": 4})
    value, grad = cross_entropy(
        mesh.put(logits, P(None, None, "tp"), pad=True), mesh.put(targets), count=count, ignore_index=ignored
    )
    expected, slope = reference.cross_entropy(logits[taken], targets[taken])
    part = 1.0 if count is None else taken.sum() / count
    close(value.gather(), expected * part)
    close(grad.gather()[taken], slope * part)
    assert not grad.gather()[~taken].any()


def test_cross_entropy_of_ignored_tokens_alone_is_zero(rng):
    mesh = Mesh({"tp": 2})
    logits = mesh.put(rng.standard_normal((1, 2, 6)), P(None, None, "tp"))
    value, grad = cross_entropy(logits, mesh.put(np.full((1, 2), -100)), ignore_index=-100)
    assert value.gather() == 0
    assert not grad.gather().any()


def test_cross_entropy_of_nan_and_infinite_logits():
    mesh = Mesh({"tp": 2})
    logits = np.array([[[0.0, np.nan, 1.0, 2.0], [0.0, -np.inf, 1.0, 2.0]]])
    values = []
    for row in (0, 1):
        value, grad = cross_entropy(mesh.put(logits[:, row : row + 1], P(None, None, "tp")), mesh.put(np.array([[2]])))
        values.append(value.gather())
    assert np.isnan(values[0])
    close(values[1], -np.log(np.e / (1 + np.e + np.e**2)))
    assert grad.gather()[0, 0, 1] == 0


@pytest.mark.parametrize("axes", [{"dp": 1}, {"dp": 3}, {"dp": 8}])
def test_squared_error_equals_numpy(rng, axes):
    mesh = Mesh(axes)
    y, wanted = rng.standard_normal((2, 5, 3, 2))
    value, grad = mean_squared_error(*(mesh.put(each, "dp", pad=True) for each in (y, wanted)), count=30)
    close(psum(value, "dp").gather(), np.mean((y - wanted) ** 2))
    close(grad.gather(), 2 * (y - wanted) / 30)
    own = mean_squared_error(*(mesh.put(each, "dp", pad=True) for each in (y, wanted)))[0].local
    rows = -(-5 // axes["dp"])
    parts = [y[i : i + rows] - wanted[i : i + rows] for i in range(0, rows * axes["dp"], rows)]
    np.testing.assert_allclose(own, [np.mean(each**2) if each.size else 0.0 for each in parts], rtol=1e-12)


MESH = Mesh({"dp": 2, "tp": 2})
LOGITS, TARGETS = (4, 3, 6), (4, 3)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: cross_entropy(np.zeros(LOGITS), None), TypeError, "logits must be a ShardedArray"),
        (lambda: _entropy(P("dp"), P("dp")), ValueError, "The last axis of logits must be split over"),
        (lambda: _entropy(P("dp", None, "tp"), P()), ValueError, "targets must have the axes B and L of logits"),
        (lambda: _entropy(P("dp", None, "tp"), P("dp"), float), TypeError, "targets must be integers"),
        (lambda: _entropy(P(None, None, "tp"), P("tp")), ValueError, "targets must be copied over"),
        (lambda: _entropy(P("dp", None, "tp"), P("dp"), count=0), ValueError, "count must"),
        (lambda: _entropy(P("dp", None, "tp"), P("dp"), axis="pp"), ValueError, "'pp' is not an axis"),
        (
            lambda: _entropy(P("dp", None, "tp"), P("dp"), ignore_index="x"),
            TypeError,
            "ignore_index must be an integer",
        ),
        (
            lambda: mean_squared_error(MESH.zeros((4, 3), float), np.zeros((4, 3))),
            TypeError,
            "targets must be a Sharded",
        ),
        (
            lambda: mean_squared_error(MESH.zeros((4, 3), float), MESH.zeros((4, 3), float, "dp")),
            ValueError,
            "targets must have the same shape and partition",
        ),
        (
            lambda: mean_squared_error(MESH.zeros((4, 3), float), MESH.zeros((4, 3), np.float32)),
            TypeError,
            "Both must be float32 or both float64",
        ),
        (lambda: mean_squared_error(*[MESH.zeros((4, 4), float, P(None, "tp"))] * 2), ValueError, "a whole last axis"),
        (lambda: VocabularyEmbedding(MESH, {"weight": np.zeros(3)}), ValueError, "weight must be a matrix"),
        (
            lambda: VocabularyEmbedding(MESH, {"weight": np.zeros((3, 2)), "position_weight": np.zeros((3, 4))}),
            ValueError,
            "position_weight must have as many columns",
        ),
        (lambda: _embed(np.zeros((2, 2))), TypeError, "x must be integers"),
        (lambda: _embed(np.zeros((2, 2, 2), int)), ValueError, r"x must have the shape \(B, L\)"),
        (lambda: _embed(np.zeros((2, 5), int)), ValueError, "at most 4 tokens"),
        (lambda: _embed(np.zeros((2, 2), int), "tp"), ValueError, "x must be copied over"),
    ],
)
def test_losses_and_embedding_wrong_arguments_raise(call, error, text):
    with pytest.raises(error, match=text):
        call()


def _entropy(spec, spec_of_targets, dtype=int, **options):
    return cross_entropy(MESH.zeros(LOGITS, float, spec), MESH.zeros(TARGETS, dtype, spec_of_targets), **options)


def _embed(tokens, spec=None):
    layer = VocabularyEmbedding(MESH, {"weight": np.zeros((3, 2)), "position_weight": np.zeros((4, 2))})
    return layer(MESH.put(tokens, spec))
