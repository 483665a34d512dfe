"""PyTorch's tensors as NumPy's arrays on the same memory, and back."""

import numpy as np
import torch

from fastcore._core import validate_integrations as check

try:
    # NumPy has no bfloat16 of its own; without ml_dtypes tensors of it are converted.
    from ml_dtypes import bfloat16 as _bfloat16
except ImportError:
    _bfloat16 = None

_BFLOAT16 = torch.bfloat16


def as_array(x: torch.Tensor, name: str) -> np.ndarray:
    """The tensor's memory as an array, any strides; bfloat16 without ml_dtypes as a float32 copy."""
    if not x.is_cpu:
        check.on_the_cpu(x, name)
    if x.requires_grad:
        x = x.detach()
    if x.dtype is not _BFLOAT16:
        return x.numpy(force=True)  # also resolves views that are marked as negative
    if _bfloat16 is None:
        return x.float().numpy(force=True)
    return x.view(torch.int16).numpy(force=True).view(_bfloat16)


def as_tensor(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """A result of fastcore as a tensor of this dtype, on the same memory where the dtype is the array's."""
    if dtype is not _BFLOAT16:
        return torch.from_numpy(x)
    if x.dtype == np.float32:
        return torch.from_numpy(x).bfloat16()
    return torch.from_numpy(x.view(np.int16)).view(_BFLOAT16)
