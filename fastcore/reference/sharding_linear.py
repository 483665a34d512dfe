"""Linear layers, unsharded: the plain NumPy twins of column- and row-parallel layers."""

import numpy as np


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """x (..., K) @ weight (K, N) + bias (N,)."""
    y = x @ weight
    return y if bias is None else y + bias


def linear_backward(x: np.ndarray, weight: np.ndarray, grad_y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients by x, weight and bias."""
    rows, grad_rows = x.reshape(-1, x.shape[-1]), grad_y.reshape(-1, grad_y.shape[-1])
    return grad_y @ weight.T, rows.T @ grad_rows, grad_rows.sum(axis=0)
