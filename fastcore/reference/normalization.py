"""Layer and root mean square normalisation, written from their definitions."""

from typing import Any

import numpy as np


def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Twin of `fastcore.nn.layer_norm`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    input : (..., *normalized_shape)
    normalized_shape : int or tuple of ints
    weight, bias, ... : as in the public function

    Returns
    -------
    (..., *normalized_shape), dtype of input
    """
    x = np.asarray(input)
    y = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
    axes = tuple(range(-np.size(normalized_shape), 0))
    y = y - y.mean(axes, keepdims=True)
    y = y / np.sqrt((y * y).mean(axes, keepdims=True) + eps)
    if weight is not None:
        y = y * np.asarray(weight).astype(y.dtype)
    if bias is not None:
        y = y + np.asarray(bias).astype(y.dtype)
    y = y.astype(x.dtype)
    if out is None:
        return y
    out[...] = y
    return out


def add_layer_norm(
    input: Any,
    residual: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Twin of `fastcore.nn.add_layer_norm`: layer norm of the sum, which is not rounded to float16 in between."""
    x = np.asarray(input)
    computing = np.float64 if x.dtype == np.float64 else np.float32
    total = x.astype(computing) + np.asarray(residual).astype(computing)
    y = layer_norm(total, normalized_shape, weight, bias, eps).astype(x.dtype)
    if out is None:
        return y
    out[...] = y
    return out


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Twin of `fastcore.nn.rms_norm`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    input : (..., *normalized_shape)
    normalized_shape : int or tuple of ints
    weight, eps, out : as in the public function

    Returns
    -------
    (..., *normalized_shape), dtype of input
    """
    x = np.asarray(input)
    y: Any = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
    if eps is None:
        eps = np.finfo(y.dtype).eps
    axes = tuple(range(-np.size(normalized_shape), 0))
    y = y / np.sqrt((y * y).mean(axes, keepdims=True) + eps)
    if weight is not None:
        y = y * np.asarray(weight).astype(y.dtype)
    y = y.astype(x.dtype)
    if out is None:
        return y
    out[...] = y
    return out
