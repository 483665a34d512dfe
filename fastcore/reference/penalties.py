"""Penalties on weights, written from their definitions."""

from typing import Any

import numpy as np


def l1_penalty(weights: Any, alpha: float = 1.0) -> tuple[float, np.ndarray]:
    """Twin of `fastcore.nn.l1_penalty`: alpha * sum(|w|) and alpha * sign(w)."""
    return elastic_net_penalty(weights, alpha, 1.0)


def l2_penalty(weights: Any, alpha: float = 1.0) -> tuple[float, np.ndarray]:
    """Twin of `fastcore.nn.l2_penalty`: alpha / 2 * sum(w**2) and alpha * w."""
    return elastic_net_penalty(weights, alpha, 0.0)


def elastic_net_penalty(weights: Any, alpha: float = 1.0, l1_ratio: float = 0.5) -> tuple[float, np.ndarray]:
    """Twin of `fastcore.nn.elastic_net_penalty`: both terms, the value in float64.

    Parameters
    ----------
    weights : any shape
    alpha, l1_ratio : as in the public function

    Returns
    -------
    value : float
    gradient : the shape and dtype of weights
    """
    w = np.asarray(weights)
    computing: np.ndarray = w.astype(np.float64 if w.dtype == np.float64 else np.float32)
    wide = w.astype(np.float64)
    value, gradient = 0.0, np.zeros_like(computing)
    slope, decay = alpha * l1_ratio, alpha * (1 - l1_ratio)
    if slope > 0:  # 0 times infinity would be NaN
        value += slope * float(np.abs(wide).sum())
        gradient = gradient + slope * np.sign(computing)
    if decay > 0:
        value += decay / 2 * float((wide * wide).sum())
        gradient = gradient + decay * computing
    return value, gradient.astype(w.dtype)
