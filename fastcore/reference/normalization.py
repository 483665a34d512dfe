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


def layer_norm_backward(
    grad_out: Any, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Twin of `fastcore.nn.layer_norm_backward`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    grad_out, input : (..., *normalized_shape)
    normalized_shape : int or tuple of ints
    weight, bias, eps : as in the public function

    Returns
    -------
    (grad_input, grad_weight, grad_bias), dtype of input; None for a weight or bias that was not given
    """
    x, slope, scale = _computed(input, grad_out, weight)
    axes = tuple(range(-np.size(normalized_shape), 0))
    rows = tuple(range(x.ndim - len(axes)))
    centred = x - x.mean(axes, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axes, keepdims=True) + eps)
    normal = centred / deviation
    g = slope if scale is None else slope * scale
    gradient = (g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True)) / deviation
    dtype = np.asarray(input).dtype
    grad_weight = None if weight is None else (slope * normal).sum(rows).astype(dtype)
    grad_bias = None if bias is None else slope.sum(rows).astype(dtype)
    return gradient.astype(dtype), grad_weight, grad_bias


def add_layer_norm_backward(
    grad_out: Any,
    input: Any,
    residual: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Twin of `fastcore.nn.add_layer_norm_backward`: the gradients of layer norm of the sum, the first one twice."""
    dtype = np.asarray(input).dtype
    x, other, slope, scale, shift = _computed(input, residual, grad_out, weight, bias)
    total, *others = layer_norm_backward(slope, x + other, normalized_shape, scale, shift, eps)
    gradient = total.astype(dtype)
    grad_weight, grad_bias = (None if each is None else each.astype(dtype) for each in others)
    return gradient, gradient, grad_weight, grad_bias


def rms_norm_backward(
    grad_out: Any, input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Twin of `fastcore.nn.rms_norm_backward`, as `layer_norm_backward`."""
    x, slope, scale = _computed(input, grad_out, weight)
    if eps is None:
        eps = np.finfo(x.dtype).eps
    axes = tuple(range(-np.size(normalized_shape), 0))
    root = np.sqrt((x * x).mean(axes, keepdims=True) + eps)
    normal = x / root
    g = slope if scale is None else slope * scale
    gradient = (g - normal * (g * normal).mean(axes, keepdims=True)) / root
    dtype = np.asarray(input).dtype
    grad_weight = None if weight is None else (slope * normal).sum(tuple(range(x.ndim - len(axes)))).astype(dtype)
    return gradient.astype(dtype), grad_weight


def _computed(*arrays: Any) -> list[Any]:
    """The arrays in the dtype of the computation, None as it is."""
    dtype = np.float64 if np.asarray(arrays[0]).dtype == np.float64 else np.float32
    return [None if x is None else np.asarray(x).astype(dtype) for x in arrays]
