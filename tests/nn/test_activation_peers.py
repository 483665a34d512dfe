"""Softmax and the gradients of activations: the same numbers as PyTorch. Run by `make test-peers`."""

import ml_dtypes
import numpy as np
import pytest

from fastcore import nn

pytestmark = pytest.mark.peer

TOLERANCE = {np.float64: 1e-12, np.float32: 4e-6}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def gradients(torch, function, arrays, grad):
    """What PyTorch's own differentiation gives for each array."""
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    return [g.numpy() for g in torch.autograd.grad(function(*tensors), tensors, torch.from_numpy(grad))]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_and_its_gradient_equal_torch(rng, torch, dim, name, dtype):
    x, grad = rng.normal(0, 4, (2, 30, 5, 70)).astype(dtype)
    x[3, :, 7], x[5, 1], x[:, 2, 9] = -np.inf, -np.inf, -np.inf
    function = getattr(torch.nn.functional, name)
    tensor = torch.from_numpy(x).requires_grad_()
    want = function(tensor, dim)
    got = getattr(nn, name)(x, dim)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=tolerance, atol=tolerance)
    (slopes,) = torch.autograd.grad(want, tensor, torch.from_numpy(grad))
    got = getattr(nn, f"{name}_backward")(grad, want.detach().numpy(), dim)
    np.testing.assert_allclose(got, slopes.numpy(), rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_ends_and_dtypes_equal_torch(torch, name):
    function, ours = getattr(torch.nn.functional, name), getattr(nn, name)
    x = np.array([[0, np.inf, 1], [np.nan, 1, 2], [-np.inf] * 3, [-np.inf, 0, 800], [7e4, 1, 7e4]])
    kinds = [(np.float32, torch.float32), (np.float16, torch.float16), (ml_dtypes.bfloat16, torch.bfloat16)]
    for dtype, torch_dtype in kinds:
        want = function(torch.from_numpy(x), -1, dtype=torch_dtype).double().numpy()
        np.testing.assert_allclose(ours(x, dtype=dtype).astype(float), want, rtol=2.0**-7)
    want = function(torch.tensor(3.0), 0).numpy()
    np.testing.assert_array_equal(ours(np.float32(3), 0), want)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients_of_activations_equal_torch(rng, torch, dtype):
    functional = torch.nn.functional
    ends = [0.0, 30.0, -30.0, np.inf, -np.inf, np.nan]
    x = np.concatenate([rng.normal(0, 3, 5000), ends]).astype(dtype)
    grad, up = rng.normal(size=(2, x.size)).astype(dtype)
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    for kind in ("none", "tanh"):
        (want,) = gradients(torch, lambda t, kind=kind: functional.gelu(t, approximate=kind), [x], grad)
        np.testing.assert_allclose(nn.gelu_backward(grad, x, kind), want, **close)
    (want,) = gradients(torch, functional.silu, [x], grad)
    np.testing.assert_allclose(nn.silu_backward(grad, x), want, **close)
    pair = gradients(torch, lambda a, b: functional.silu(a) * b, [x, up], grad)
    for got, want in zip(nn.swiglu_backward(grad, x, up), pair, strict=True):
        np.testing.assert_allclose(got, want, **close)
