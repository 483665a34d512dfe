"""Batch and group normalisation: the same numbers as PyTorch, forward and backward. Run by `make test-peers`."""

import numpy as np
import pytest

from fastcore.nn import batch_norm, batch_norm_backward, fold_batch_norm, group_norm, group_norm_backward

pytestmark = pytest.mark.peer

# Relative to the largest number of a result. PyTorch's own float32 sums are off by as much.
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def assert_near(got, want):
    want = want.detach().numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[got.dtype.type] * max(np.abs(want).max(), 1.0))


def differentiable(torch, arrays):
    return [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(8, 40, 28, 28), (2, 3, 5000), (300, 70), (4, 5, 3, 4, 5)])
def test_batch_norm_equals_torch(rng, torch, shape, dtype, training):
    x, grad = rng.normal(1.0, 2.0, (2, *shape)).astype(dtype)
    mean, variance, weight, bias = rng.uniform(0.5, 2.0, (4, shape[1])).astype(dtype)
    tensors = differentiable(torch, (x, weight, bias))
    running = torch.from_numpy(mean.copy()), torch.from_numpy(variance.copy())
    want = torch.nn.functional.batch_norm(tensors[0], *running, *tensors[1:], training, 0.3, 1e-3)
    want.backward(torch.from_numpy(grad))
    got_mean, got_variance = mean.copy(), variance.copy()
    assert_near(batch_norm(x, got_mean, got_variance, weight, bias, training, 0.3, 1e-3), want)
    assert_near(got_mean, running[0])
    assert_near(got_variance, running[1])
    got = batch_norm_backward(grad, x, mean, variance, weight, bias, training, 0.3, 1e-3)
    for a, b in zip(got, tensors, strict=True):
        assert_near(a, b.grad)


def test_batch_norm_keeps_the_memory_format_as_torch_does(rng, torch):
    x = rng.normal(size=(3, 5, 6, 7)).transpose(0, 3, 1, 2)
    want = torch.nn.functional.batch_norm(torch.from_numpy(x), None, None, training=True)
    got = batch_norm(x, None, None, training=True)
    assert got.strides == tuple(8 * n for n in want.stride())
    assert_near(got, want)


@pytest.mark.parametrize("transpose", [False, True])
def test_fold_batch_norm_equals_torch(rng, torch, transpose):
    weight = rng.normal(size=(3, 4, 2, 2) if transpose else (4, 3, 2, 2))
    bias, mean, scale, shift = rng.normal(size=(4, 4))
    variance = rng.uniform(0.5, 2.0, 4)
    w, b, m, v, s, t = (torch.from_numpy(a) for a in (weight, bias, mean, variance, scale, shift))
    want = torch.nn.utils.fusion.fuse_conv_bn_weights(w, b, m, v, 1e-3, s, t, transpose)
    got = fold_batch_norm(weight, bias, mean, variance, scale, shift, 1e-3, transpose=transpose)
    for a, c in zip(got, want, strict=True):
        assert_near(a, c)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape, groups", [((4, 32, 14, 14), 8), ((2, 6, 5000), 3), ((300, 64), 4), ((5, 6, 3), 6)])
def test_group_norm_equals_torch(rng, torch, shape, groups, dtype):
    x, grad = rng.normal(1.0, 2.0, (2, *shape)).astype(dtype)
    weight, bias = rng.uniform(0.5, 2.0, (2, shape[1])).astype(dtype)
    tensors = differentiable(torch, (x, weight, bias))
    want = torch.nn.functional.group_norm(tensors[0], groups, *tensors[1:], 1e-3)
    want.backward(torch.from_numpy(grad))
    assert_near(group_norm(x, groups, weight, bias, 1e-3), want)
    got = group_norm_backward(grad, x, groups, weight, bias, 1e-3)
    for a, b in zip(got, tensors, strict=True):
        assert_near(a, b.grad)
