"""The same numbers as PyTorch. Run by `make test-peers`."""

import numpy as np
import pytest

from fastcore.nn import add_layer_norm, gelu, layer_norm

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
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_equals_torch(rng, functional, approximate, dtype):
    torch = pytest.importorskip("torch")
    x = np.concatenate([rng.normal(0, 3, 10_000), [0.0, 1e30, -1e30, np.nan]]).astype(dtype)
    want = functional.gelu(torch.from_numpy(x), approximate=approximate).numpy()
    np.testing.assert_allclose(gelu(x, approximate), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
