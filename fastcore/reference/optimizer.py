"""Steps of optimisers, in place, written as in the papers."""

from typing import Any

import numpy as np


def _as(dtype: np.dtype, x: Any) -> Any:
    return np.asarray(x).astype(dtype)


def _computing(param: np.ndarray) -> np.dtype:
    return np.dtype(np.float64 if param.dtype == np.float64 else np.float32)


def sgd_step(
    param: np.ndarray,
    grad: Any,
    momentum_buffer: np.ndarray | None = None,
    step: int | None = None,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> np.ndarray:
    """Twin of `fastcore.nn.sgd_step`; changes param and momentum_buffer, and returns param."""
    dtype = _computing(param)
    w, change = _as(dtype, param), _as(dtype, grad)
    if maximize:
        change = -change
    if weight_decay:
        change = change + weight_decay * w
    if momentum and momentum_buffer is not None:
        buffer = change if step == 1 else momentum * momentum_buffer + (1 - dampening) * change
        momentum_buffer[...] = buffer
        change = change + momentum * buffer if nesterov else buffer
    param[...] = w - lr * change
    return param


def adam_step(
    param: np.ndarray,
    grad: Any,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    max_exp_avg_sq: np.ndarray | None = None,
    maximize: bool = False,
) -> np.ndarray:
    """Twin of `fastcore.nn.adam_step`; changes param and the states, and returns param."""
    dtype = _computing(param)
    w, g = _as(dtype, param), _as(dtype, grad)
    if maximize:
        g = -g
    if weight_decay:
        g = g + weight_decay * w
    exp_avg[...] = betas[0] * exp_avg + (1 - betas[0]) * g
    exp_avg_sq[...] = betas[1] * exp_avg_sq + (1 - betas[1]) * g**2
    square = exp_avg_sq
    if max_exp_avg_sq is not None:
        max_exp_avg_sq[...] = square = np.maximum(max_exp_avg_sq, exp_avg_sq)
    mean = exp_avg / (1 - betas[0] ** step)
    root = np.sqrt(square / (1 - betas[1] ** step))
    param[...] = w - lr * mean / (root + eps)
    return param


def adamw_step(
    param: np.ndarray,
    grad: Any,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    max_exp_avg_sq: np.ndarray | None = None,
    maximize: bool = False,
) -> np.ndarray:
    """Twin of `fastcore.nn.adamw_step`; changes param and the states, and returns param."""
    shrunk = np.array(_as(_computing(param), param) * (1 - lr * weight_decay))
    adam_step(
        shrunk, grad, exp_avg, exp_avg_sq, step,
        lr=lr, betas=betas, eps=eps, max_exp_avg_sq=max_exp_avg_sq, maximize=maximize,
    )  # fmt: skip
    param[...] = shrunk
    return param
