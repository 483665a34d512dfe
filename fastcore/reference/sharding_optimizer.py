"""Optimiser steps of one parameter, all of it on one device."""

import numpy as np


def adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Adam (Kingma and Ba 2015), or AdamW if decoupled. Step counts from 1. Returns param, exp_avg, exp_avg_sq."""
    if decoupled:
        param = param * (1 - lr * weight_decay)
    else:
        grad = grad + weight_decay * param
    exp_avg = betas[0] * exp_avg + (1 - betas[0]) * grad
    exp_avg_sq = betas[1] * exp_avg_sq + (1 - betas[1]) * grad**2
    mean = exp_avg / (1 - betas[0] ** step)
    root = np.sqrt(exp_avg_sq / (1 - betas[1] ** step))
    return param - lr * mean / (root + eps), exp_avg, exp_avg_sq


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    momentum_buffer: np.ndarray,
    step: int,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent with momentum, as PyTorch has it. Step counts from 1. Returns param, momentum_buffer."""
    grad = grad + weight_decay * param
    momentum_buffer = grad if step == 1 else momentum * momentum_buffer + (1 - dampening) * grad
    change = grad + momentum * momentum_buffer if nesterov else momentum_buffer if momentum else grad
    return param - lr * change, momentum_buffer
