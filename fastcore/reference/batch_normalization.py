"""Batch and group normalisation, written from their definitions."""

from typing import Any

import numpy as np


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> np.ndarray:
    """Twin of `fastcore.nn.batch_norm`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    input : (N, C, ...)
    running_mean, running_var : (C,), in training updated in place
    weight, bias, ... : as in the public function

    Returns
    -------
    (N, C, ...), dtype of input
    """
    x = _computing(input)
    axes = (0, *range(2, x.ndim))
    mean, variance = _moments(x, axes) if training else (_column(running_mean, x), _column(running_var, x))
    y = (x - mean) / np.sqrt(variance + eps)
    if weight is not None:
        y = y * _column(weight, x)
    if bias is not None:
        y = y + _column(bias, x)
    if training and x.size:
        count = x.size // x.shape[1]
        for running, new in ((running_mean, mean), (running_var, variance * count / (count - 1))):
            if running is not None:
                running[...] = running * (1 - momentum) + new.ravel() * momentum
    return y.astype(np.asarray(input).dtype)


def batch_norm_backward(
    grad_out: Any,
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Twin of `fastcore.nn.batch_norm_backward`.

    Parameters
    ----------
    grad_out, input : (N, C, ...)
    running_mean, ... : as in the public function

    Returns
    -------
    grad_input : (N, C, ...); grad_weight, grad_bias : (C,), or None where there is no weight or bias
    """
    x, grad = _computing(input), _computing(grad_out)
    axes = (0, *range(2, x.ndim))
    mean, variance = _moments(x, axes) if training else (_column(running_mean, x), _column(running_var, x))
    deviation = np.sqrt(variance + eps)
    normal = (x - mean) / deviation
    scaled = grad if weight is None else grad * _column(weight, x)
    grad_input = scaled / deviation
    if training and x.size:
        along = normal * (scaled * normal).mean(axes, keepdims=True)
        grad_input = (scaled - scaled.mean(axes, keepdims=True) - along) / deviation
    return (
        grad_input.astype(np.asarray(input).dtype),
        None if weight is None else (grad * normal).sum(axes).astype(np.asarray(weight).dtype),
        None if bias is None else grad.sum(axes).astype(np.asarray(bias).dtype),
    )


def fold_batch_norm(
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    bn_weight: Any = None,
    bn_bias: Any = None,
    eps: float = 1e-5,
    *,
    transpose: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `fastcore.nn.fold_batch_norm`.

    Parameters
    ----------
    weight : (C, ...), or with `transpose` (., C, ...)
    bias, running_mean, running_var, bn_weight, bn_bias : (C,)
    eps, transpose : as in the public function

    Returns
    -------
    weight : shape and dtype of weight; bias : (C,)
    """
    weight = np.asarray(weight)
    scale = 1.0 / np.sqrt(np.asarray(running_var, np.float64) + eps)
    if bn_weight is not None:
        scale = scale * bn_weight
    shift = ((0.0 if bias is None else np.asarray(bias, np.float64)) - running_mean) * scale
    if bn_bias is not None:
        shift = shift + bn_bias
    channels_last = np.moveaxis(weight, 1 if transpose else 0, -1)
    folded = np.moveaxis(channels_last * scale, -1, 1 if transpose else 0)
    return folded.astype(weight.dtype), shift.astype(weight.dtype)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> np.ndarray:
    """Twin of `fastcore.nn.group_norm`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    input : (N, C, ...)
    num_groups, weight, bias, eps : as in the public function

    Returns
    -------
    (N, C, ...), dtype of input
    """
    x = _computing(input)
    groups = x.reshape(x.shape[0], num_groups, -1)
    mean, variance = _moments(groups, (2,))
    y = ((groups - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    if weight is not None:
        y = y * _column(weight, x)
    if bias is not None:
        y = y + _column(bias, x)
    return y.astype(np.asarray(input).dtype)


def group_norm_backward(
    grad_out: Any, input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Twin of `fastcore.nn.group_norm_backward`.

    Parameters
    ----------
    grad_out, input : (N, C, ...)
    num_groups, weight, bias, eps : as in the public function

    Returns
    -------
    grad_input : (N, C, ...); grad_weight, grad_bias : (C,), or None where there is no weight or bias
    """
    x, grad = _computing(input), _computing(grad_out)
    shape = (x.shape[0], num_groups, -1)
    mean, variance = _moments(x.reshape(shape), (2,))
    deviation = np.sqrt(variance + eps)
    normal = (x.reshape(shape) - mean) / deviation
    scaled = (grad if weight is None else grad * _column(weight, x)).reshape(shape)
    along = normal * (scaled * normal).mean(2, keepdims=True)
    grad_input = ((scaled - scaled.mean(2, keepdims=True) - along) / deviation).reshape(x.shape)
    axes = (0, *range(2, x.ndim))
    return (
        grad_input.astype(np.asarray(input).dtype),
        None if weight is None else (grad * normal.reshape(x.shape)).sum(axes).astype(np.asarray(weight).dtype),
        None if bias is None else grad.sum(axes).astype(np.asarray(bias).dtype),
    )


def _computing(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(np.float64 if x.dtype == np.float64 else np.float32)


def _column(vector: Any, x: np.ndarray) -> np.ndarray:
    """One number a channel, to be broadcast against `x`."""
    return np.asarray(vector).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 2))


def _moments(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over the axes, to be broadcast against `x`."""
    if x.size == 0:
        return np.zeros((1,) * x.ndim, x.dtype), np.ones((1,) * x.ndim, x.dtype)
    mean = x.mean(axes, keepdims=True)
    return mean, ((x - mean) ** 2).mean(axes, keepdims=True)
