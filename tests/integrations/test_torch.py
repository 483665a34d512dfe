"""fastcore's attention of PyTorch's tensors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

from fastcore.integrations.torch import scaled_dot_product_attention  # noqa: E402


def torch_attention(*arguments, **options):
    return torch.nn.functional.scaled_dot_product_attention(*arguments, **options)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 20, 16, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_of_tensors_equals_torch(tensors, dtype, is_causal):
    q, k, v = (x.to(dtype).transpose(1, 2).contiguous().transpose(1, 2) for x in tensors)
    out = scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    expected = torch_attention(q.double(), k.double(), v.double(), is_causal=is_causal)
    assert out.dtype == dtype
    assert out.transpose(1, 2).is_contiguous()
    tolerance = {torch.float32: 2e-6, torch.float64: 1e-14}.get(dtype, 4 * torch.finfo(dtype).eps)
    np.testing.assert_allclose(out.double(), expected, rtol=0, atol=tolerance)
