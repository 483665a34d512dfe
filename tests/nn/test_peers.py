"""The same numbers as PyTorch. Run by `make test-peers`."""

import ml_dtypes
import numpy as np
import pytest

from fastcore.nn import (
    add_layer_norm,
    dropout,
    elastic_net_penalty,
    gelu,
    layer_norm,
    layer_norm_backward,
    prox_group_lasso,
    rms_norm,
    rms_norm_backward,
    silu,
    soft_threshold,
    swiglu,
)

pytestmark = pytest.mark.peer

TOLERANCE = {np.float64: 1e-12, np.float32: 4e-6}


@pytest.fixture(scope="module")
def functional():
    return pytest.importorskip("torch").nn.functional


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape, axes", [((4, 7, 384), (384,)), ((3, 5, 6), (5, 6)), ((2, 1000), (1000,))])
def test_layer_norm_equals_torch(rng, functional, shape, axes, dtype):
    torch = pytest.importorskip("torch")
    x, residual = rng.normal(size=(2, *shape)).astype(dtype)
    weight, bias = rng.normal(size=(2, *axes)).astype(dtype)
    tensors = [torch.from_numpy(a) for a in (x, weight, bias)]
    want = functional.layer_norm(tensors[0], axes, *tensors[1:], 1e-3).numpy()
    np.testing.assert_allclose(layer_norm(x, axes, weight, bias, 1e-3), want, rtol=0, atol=TOLERANCE[dtype])
    want = functional.layer_norm(tensors[0] + torch.from_numpy(residual), axes, *tensors[1:]).numpy()
    np.testing.assert_allclose(add_layer_norm(x, residual, axes, weight, bias), want, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("shape, axes", [((4, 7, 384), (384,)), ((3, 5, 6), (5, 6)), ((2, 1000), (1000,))])
def test_normalization_backward_equals_torch(rng, functional, function, shape, axes, dtype):
    torch = pytest.importorskip("torch")
    x, grad_out = rng.normal(size=(2, *shape)).astype(dtype)
    vectors = list(rng.normal(size=(2 if function == "layer_norm" else 1, *axes)).astype(dtype))
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, *vectors)]
    result = getattr(functional, function)(tensors[0], axes, *tensors[1:], eps=1e-3)
    want = torch.autograd.grad(result, tensors, torch.from_numpy(grad_out))
    backward = {"layer_norm": layer_norm_backward, "rms_norm": rms_norm_backward}[function]
    for a, b in zip(backward(grad_out, x, axes, *vectors, eps=1e-3), want, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=TOLERANCE[dtype] * 4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_equals_torch(rng, functional, approximate, dtype):
    torch = pytest.importorskip("torch")
    x = np.concatenate([rng.normal(0, 3, 10_000), [0.0, 1e30, -1e30, np.nan]]).astype(dtype)
    want = functional.gelu(torch.from_numpy(x), approximate=approximate).numpy()
    np.testing.assert_allclose(gelu(x, approximate), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("eps", [None, 1e-5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shape, axes", [((4, 7, 576), (576,)), ((3, 5, 6), (5, 6)), ((2, 1000), (1000,))])
def test_rms_norm_equals_torch(rng, functional, shape, axes, dtype, eps):
    torch = pytest.importorskip("torch")
    x, weight = (rng.normal(0, 0.1, size=size).astype(dtype) for size in (shape, axes))
    for given in (weight, None):
        tensor = None if given is None else torch.from_numpy(given)
        want = functional.rms_norm(torch.from_numpy(x), axes, tensor, eps).numpy()
        got = rms_norm(x, axes[0] if len(axes) == 1 else axes, given, eps)
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE.get(dtype, 4e-3))


def test_rms_norm_default_eps_of_bfloat16_equals_torch(functional):
    torch = pytest.importorskip("torch")
    x = np.full((1, 8), 2.0**-12, ml_dtypes.bfloat16)
    want = functional.rms_norm(torch.full((1, 8), 2.0**-12, dtype=torch.bfloat16), (8,)).float().numpy()
    np.testing.assert_allclose(rms_norm(x, 8).astype(np.float32), want, rtol=2.0**-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_silu_and_swiglu_equal_torch(rng, functional, dtype):
    torch = pytest.importorskip("torch")
    gate = np.concatenate([rng.normal(0, 3, 10_000), [0.0, 1e30, -1e30, np.inf, -np.inf, np.nan]]).astype(dtype)
    up = rng.normal(size=gate.size).astype(dtype)
    want = functional.silu(torch.from_numpy(gate))
    np.testing.assert_allclose(silu(gate), want.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    want = (want * torch.from_numpy(up)).numpy()
    np.testing.assert_allclose(swiglu(gate, up), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("p, training", [(0.3, True), (0.0, True), (0.3, False)])
def test_dropout_scales_as_torch_and_drops_its_share(functional, p, training):
    torch = pytest.importorskip("torch")
    x = np.full(100_000, 3.0)
    want = functional.dropout(torch.from_numpy(x), p, training).numpy()
    got = dropout(x, p, training, seed=1)
    np.testing.assert_array_equal(np.unique(got), np.unique(want))
    assert abs(np.mean(got > 0) - np.mean(want > 0)) < 0.01


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_soft_threshold_equals_softshrink(rng, functional, dtype):
    torch = pytest.importorskip("torch")
    x = np.concatenate([rng.normal(0, 3, 10_000), [0.0, 1e30, np.inf, -np.inf, np.nan]]).astype(dtype)
    want = functional.softshrink(torch.from_numpy(x), 0.7).numpy()
    np.testing.assert_allclose(soft_threshold(x, 0.7), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_penalties_and_their_gradients_equal_torch(rng, functional, dtype):
    torch = pytest.importorskip("torch")
    w = rng.normal(size=(70, 90)).astype(dtype)
    w[::7] = 0
    tensor = torch.from_numpy(w).requires_grad_()
    loss = 0.3 * (0.4 * tensor.double().abs().sum() + 0.3 * (tensor.double() ** 2).sum())
    loss.backward()
    value, gradient = elastic_net_penalty(w, 0.3, 0.4)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_group_lasso_equals_the_solution_of_its_optimality_condition(rng):
    """Where a group is kept, z - x + strength * z / |z| = 0, by automatic differentiation."""
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(50, 3))
    z = torch.from_numpy(prox_group_lasso(x, 1.5)).requires_grad_()
    objective = ((z - torch.from_numpy(x)) ** 2).sum() / 2 + 1.5 * z.norm(dim=1).sum()
    objective.backward()
    kept = z.detach().numpy().any(axis=1)
    assert 0 < kept.sum() < 50
    np.testing.assert_allclose(z.grad.numpy()[kept], 0, atol=1e-12)
