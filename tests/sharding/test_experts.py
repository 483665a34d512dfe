"""Expert parallelism: the unsharded mixture of experts."""

import math

import numpy as np
import pytest

import fastcore
from fastcore.reference import sharding_experts as reference
from fastcore.sharding import Mesh, MixtureOfExperts, P, dispatch_tokens, psum, route_tokens
from tests.sharding.programs.experts import D, F, weights_of


def assert_equal(actual, expected, bound=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound * max(np.abs(expected).max(initial=0), 1.0))


def run(mesh, weights, x, grad_y, spec, **options):
    """y, gradients, and how many choices were dropped."""
    layer = MixtureOfExperts(mesh, weights, **options)
    y, saved = layer.forward(mesh.put(x, spec, pad=True))
    grad_x, grads = layer.backward(saved, mesh.put(grad_y, spec, pad=True))
    gathered = {name: each.gather() for name, each in grads.items()}
    return y.gather(), {"x": grad_x.gather(), **gathered}, int(saved.routing.dropped.gather().sum())


def assert_is_unsharded(results, x, grad_y, weights, groups, top_k=2, capacity_factor=None, normalize=True):
    capacity = None
    if capacity_factor is not None:
        tokens = -(-len(x) // groups)
        capacity = min(math.ceil(capacity_factor * top_k * tokens / weights["up_bias"].shape[0]), tokens)
    options = {"top_k": top_k, "capacity": capacity, "groups": groups, "normalize": normalize}
    y, grads, dropped = results
    assert_equal(y, reference.mixture_of_experts(x, weights, **options))
    grad_x, expected = reference.mixture_of_experts_backward(grad_y, x, weights, **options)
    for name, each in {"x": grad_x, **expected}.items():
        assert_equal(grads[name], each)
    kept = reference.route_tokens(x @ weights["router_weight"], **options)[2]
    assert dropped == (~kept).sum()


@pytest.mark.parametrize("capacity_factor", [None, 0.5, 1.25])
@pytest.mark.parametrize("tokens, experts", [(24, 8), (19, 8), (13, 5), (3, 3)])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
def test_mixture_of_experts_equals_unsharded(rng, devices, tokens, experts, capacity_factor):
    x, grad_y = rng.standard_normal((2, tokens, D))
    weights = weights_of(rng, experts)
    results = run(Mesh({"ep": devices}), weights, x, grad_y, P("ep"), capacity_factor=capacity_factor)
    assert_is_unsharded(results, x, grad_y, weights, devices, capacity_factor=capacity_factor)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("top_k", [1, 3, 5])
def test_mixture_of_experts_with_options_equals_unsharded(rng, top_k, normalize):
    x, grad_y = rng.standard_normal((2, 17, D))
    weights = weights_of(rng, 5)
    results = run(Mesh({"ep": 3}), weights, x, grad_y, P("ep"), top_k=top_k, normalize=normalize, capacity_factor=1.0)
    assert_is_unsharded(results, x, grad_y, weights, 3, top_k, 1.0, normalize)


@pytest.mark.parametrize(
    "axes, spec, axis",
    [
        ({"dp": 2, "ep": 2}, P(("dp", "ep")), "ep"),
        ({"ep": 2, "dp": 2}, P(("dp", "ep")), "ep"),
        ({"a": 2, "b": 3}, P(("a", "b")), ("a", "b")),
        ({"a": 2, "b": 3}, P(("a", "b")), ("b", "a")),
        ({"ep": 2, "tp": 2}, P("ep"), "ep"),
    ],
)
def test_mixture_of_experts_on_several_axes_equals_unsharded(rng, axes, spec, axis):
    x, grad_y = rng.standard_normal((2, 13, D))
    weights = weights_of(rng, 5)
    mesh = Mesh(axes)
    layer = MixtureOfExperts(mesh, weights, axis=axis)
    y, saved = layer.forward(mesh.put(x, spec, pad=True))
    grad_x, grads = layer.backward(saved, mesh.put(grad_y, spec, pad=True))
    if axes.get("dp"):
        grads = {name: psum(each, "dp") for name, each in grads.items()}
    results = y.gather(), {"x": grad_x.gather()} | {name: each.gather() for name, each in grads.items()}, 0
    assert_is_unsharded(results, x, grad_y, weights, mesh.axis_size(spec.used()))


@pytest.mark.parametrize("sequences, capacity_factor", [(4, 1.0), (4, None), (3, None)])
def test_mixture_of_experts_of_sequences_is_that_of_their_tokens(rng, sequences, capacity_factor):
    x, grad_y = rng.standard_normal((2, sequences, 4, D))
    weights = weights_of(rng, 4)
    y, grads, dropped = run(Mesh({"ep": 2}), weights, x, grad_y, P("ep"), capacity_factor=capacity_factor)
    results = y.reshape(-1, D), grads | {"x": grads["x"].reshape(-1, D)}, dropped
    flat = x.reshape(-1, D), grad_y.reshape(-1, D)
    assert_is_unsharded(results, *flat, weights, 2, capacity_factor=capacity_factor)


def test_mixture_of_experts_bits_do_not_depend_on_threads(rng):
    x, grad_y = rng.standard_normal((2, 40, D))
    weights = weights_of(rng, 8)
    bits = set()
    for threads in (1, 2):
        with fastcore.num_threads(threads):
            y, grads, _ = run(Mesh({"ep": 4}), weights, x, grad_y, P("ep"))
            bits.add(y.tobytes() + b"".join(each.tobytes() for each in grads.values()))
    assert len(bits) == 1


def test_mixture_of_experts_float32_is_near_float64(rng):
    x, grad_y = rng.standard_normal((2, 24, D))
    weights = weights_of(rng, 4)
    exact = run(Mesh({"ep": 2}), weights, x, grad_y, P("ep"))
    short = {name: each.astype(np.float32) for name, each in weights.items()}
    y, grads, _ = run(Mesh({"ep": 2}), short, x.astype(np.float32), grad_y.astype(np.float32), P("ep"))
    assert_equal(y, exact[0], 1e-4)
    for name, each in grads.items():
        assert each.dtype == np.float32
        assert_equal(each, exact[1][name], 1e-4)


def test_mixture_of_experts_gradients_are_those_of_finite_differences(rng):
    x, grad_y = rng.standard_normal((2, 6, D))
    weights = weights_of(rng, 3)
    for normalize in (True, False):

        def loss(x, weights, normalize=normalize):
            return float((reference.mixture_of_experts(x, weights, normalize=normalize) * grad_y).sum())

        grad_x, grads = reference.mixture_of_experts_backward(grad_y, x, weights, normalize=normalize)
        for name, grad in {"x": grad_x, **grads}.items():
            direction = rng.standard_normal(grad.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = dict(weights)
                if name != "x":
                    moved[name] = weights[name] + step * direction
                ends.append(loss(x + step * direction if name == "x" else x, moved))
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((grad * direction).sum()), rel=1e-6, abs=1e-6)


def test_mixture_of_experts_sends_two_buffers_each_way(rng):
    devices, tokens, experts = 4, 16, 8
    mesh = Mesh({"ep": devices}, engine="dry")
    layer = MixtureOfExperts(mesh, weights_of(rng, experts), top_k=2, capacity_factor=1.0)
    y, saved = layer.forward(mesh.zeros((tokens, D), np.float64, P("ep")))
    layer.backward(saved, y)
    buffer = experts * 1 * D * 8  # capacity: 2 choices of 4 tokens over 8 experts
    sent = [entry for entry in mesh.ledger.entries[:] if entry.kind == "all_to_all"]
    assert [entry.sent_bytes for entry in sent] == [devices * (devices - 1) * buffer // devices] * 4
    (router,) = [entry for entry in mesh.ledger.entries[:] if entry.kind == "psum"]
    assert router.sent_bytes == 2 * (devices - 1) * D * experts * 8


def test_mixture_of_experts_of_no_tokens_runs(rng):
    weights = weights_of(rng, 4)
    y, grads, dropped = run(Mesh({"ep": 2}), weights, np.zeros((0, D)), np.zeros((0, D)), P("ep"))
    assert y.shape == (0, D)
    assert dropped == 0
    assert not any(each.any() for each in grads.values())


def test_route_tokens_of_equal_logits_takes_the_first_experts():
    mesh = Mesh({"ep": 2})
    routing = route_tokens(mesh.zeros((4, 3), np.float64, P("ep")), 2)
    assert routing.experts.gather().tolist() == [[0, 1]] * 4
    assert routing.weights.gather().tolist() == [[0.5, 0.5]] * 4
    assert routing.slots.gather().tolist() == [[0, 0], [1, 1]] * 2


def test_dispatch_tokens_puts_tokens_in_order_of_devices():
    mesh = Mesh({"ep": 2})
    x = np.arange(4.0)[:, None] + 1
    logits = np.array([[0.0, 1], [0, 1], [1, 0], [0, 1]])
    routing = route_tokens(mesh.put(logits, P("ep")), 1)
    inputs = dispatch_tokens(mesh.put(x, P("ep")), routing)
    assert inputs.gather()[..., 0].tolist() == [[0, 0, 3, 0], [1, 2, 4, 0]]


# --- mistakes ---


@pytest.mark.parametrize(
    "change, options, error, message",
    [
        ({"up_bias": np.zeros((4, F + 1))}, {}, ValueError, r"up_bias must have shape \(4, 9\)"),
        ({"up_bias": None}, {}, ValueError, "weights must be router_weight, up_weight"),
        ({"up_bias": np.zeros((4, F), np.float32)}, {}, TypeError, "dtype"),
        ({"router_weight": np.zeros(4)}, {}, ValueError, r"router_weight must be \(D, E\)"),
        ({}, {"top_k": 5}, ValueError, "top_k must be at most the number of experts, 4"),
        ({}, {"top_k": 0}, ValueError, "top_k"),
        ({}, {"capacity_factor": 0.0}, ValueError, "capacity_factor must be"),
        ({}, {"axis": "tp"}, ValueError, "'tp' is not an axis of the mesh"),
        ({}, {"normalize": 1}, TypeError, "normalize"),
    ],
)
def test_mixture_of_experts_wrong_argument_raises(rng, change, options, error, message):
    weights = {name: each for name, each in (weights_of(rng, 4) | change).items() if each is not None}
    with pytest.raises(error, match=message):
        MixtureOfExperts(Mesh({"ep": 2}), weights, **options)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda mesh: np.zeros((4, D)), TypeError, "x must be a ShardedArray"),
        (lambda mesh: mesh.zeros((4, D), np.float32, P("ep")), TypeError, "dtype"),
        (lambda mesh: mesh.zeros((4, D + 1), np.float64, P("ep")), ValueError, "last axis of x must have 6 elements"),
        (lambda mesh: mesh.zeros((4, D), np.float64), ValueError, "Tokens must be split over 'ep'"),
        (lambda mesh: mesh.zeros((4, D), np.float64, P(None, "ep")), ValueError, "last axis of x must not be split"),
        (lambda mesh: mesh.zeros((2, 3, D), np.float64, P(None, "ep"), pad=True), ValueError, "Only the first axis"),
        (lambda mesh: mesh.zeros((D,), np.float64), ValueError, "x must have axes of tokens"),
        (lambda mesh: Mesh({"ep": 2}).zeros((4, D), np.float64, P("ep")), ValueError, "one mesh"),
    ],
)
def test_mixture_of_experts_wrong_tokens_raise(rng, make, error, message):
    mesh = Mesh({"ep": 2})
    layer = MixtureOfExperts(mesh, weights_of(rng, 4))
    with pytest.raises(error, match=message):
        layer.forward(make(mesh))


def test_mixture_of_experts_wrong_gradient_raises(rng):
    mesh = Mesh({"ep": 2})
    layer = MixtureOfExperts(mesh, weights_of(rng, 4))
    _, saved = layer.forward(mesh.zeros((4, D), np.float64, P("ep")))
    with pytest.raises(ValueError, match="grad_y must be as y"):
        layer.backward(saved, mesh.zeros((6, D), np.float64, P("ep")))
    with pytest.raises(ValueError, match="x must have the tokens that were routed"):
        dispatch_tokens(mesh.zeros((6, D), np.float64, P("ep")), saved.routing)
