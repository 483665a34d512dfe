"""Proximal operators, written from their closed forms."""

from typing import Any

import numpy as np


def soft_threshold(x: Any, threshold: float) -> np.ndarray:
    """Twin of `fastcore.nn.soft_threshold`: sign(x) * max(|x| - threshold, 0)."""
    x, y = _computed(x)
    return (np.sign(y) * np.maximum(np.abs(y) - threshold, 0)).astype(x.dtype)


def prox_l2(x: Any, strength: float) -> np.ndarray:
    """Twin of `fastcore.nn.prox_l2`: x / (1 + strength)."""
    x, y = _computed(x)
    return (y / (1 + strength)).astype(x.dtype)


def prox_elastic_net(x: Any, strength: float, l1_ratio: float = 0.5) -> np.ndarray:
    """Twin of `fastcore.nn.prox_elastic_net`: soft thresholding, then division."""
    x, y = _computed(x)
    return (soft_threshold(y, strength * l1_ratio) / (1 + strength * (1 - l1_ratio))).astype(x.dtype)


def prox_group_lasso(x: Any, strength: float, groups: Any = None, axis: int = -1) -> np.ndarray:
    """Twin of `fastcore.nn.prox_group_lasso`: each group times max(0, 1 - strength / norm).

    Parameters
    ----------
    x : one axis or more
    strength, groups, axis : as in the public function

    Returns
    -------
    The shape and dtype of x
    """
    x, y = _computed(x)
    if strength == 0:
        return x.copy()
    y = np.moveaxis(y, axis, -1).copy()
    labels = np.zeros(y.shape[-1], np.int64) if groups is None else np.asarray(groups)
    for label in np.unique(labels):
        members = y[..., labels == label]
        norm = np.sqrt((members * members).sum(-1, keepdims=True))
        factor = np.where(norm > strength, 1 - strength / np.where(norm > 0, norm, 1), 0)
        y[..., labels == label] = members * np.where(np.isnan(norm), np.nan, factor)
    return np.moveaxis(y, -1, axis).astype(x.dtype)


def _computed(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """The array, and what it is computed in: float64 in float64, all else in float32."""
    x = np.asarray(x)
    return x, x.astype(np.float64 if x.dtype == np.float64 else np.float32)
