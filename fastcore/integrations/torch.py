"""fastcore's attention inside PyTorch: on tensors, with gradients, and in the place of PyTorch's own."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastcore.integrations.torch needs PyTorch. Install it: pip install 'fastcore-kernels[torch]'"
    ) from error

from fastcore.integrations.torch_attention import scaled_dot_product_attention
from fastcore.integrations.torch_routing import use_fastcore
from fastcore.integrations.torch_sequences import linear_attention, scaled_dot_product_attention_varlen

__all__ = ["linear_attention", "scaled_dot_product_attention", "scaled_dot_product_attention_varlen", "use_fastcore"]
