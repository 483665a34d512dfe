"""Softmax and its logarithm, written from their definitions."""

from typing import Any

import numpy as np


def _wide(x: Any) -> np.ndarray:
    """float64 as it is, all else as float32."""
    x = np.asarray(x)
    return x.astype(np.float64 if x.dtype == np.float64 else np.float32)


def _below_largest(x: np.ndarray, dim: int) -> np.ndarray:
    """The numbers minus the largest of their row; NaN where that is infinite."""
    with np.errstate(invalid="ignore"):
        return x - x.max(axis=dim, keepdims=True, initial=-np.inf)


def softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> np.ndarray:
    """Twin of `fastcore.nn.softmax`: exp(input) / sum(exp(input)).

    Parameters
    ----------
    input : any shape
    dim : int, an axis
    dtype : of the result; default that of input, which is cast to it first

    Returns
    -------
    The shape of input; float64 gives float64 throughout, all else float32, rounded once
    """
    given = np.asarray(input) if dtype is None else np.asarray(input).astype(dtype)
    powers = np.exp(_below_largest(_wide(given), dim))
    return np.asarray(powers / powers.sum(axis=dim, keepdims=True)).astype(given.dtype)


def log_softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> np.ndarray:
    """Twin of `fastcore.nn.log_softmax`: input - log(sum(exp(input))); arguments as in `softmax`."""
    given = np.asarray(input) if dtype is None else np.asarray(input).astype(dtype)
    below = _below_largest(_wide(given), dim)
    return np.asarray(below - np.log(np.exp(below).sum(axis=dim, keepdims=True))).astype(given.dtype)


def softmax_backward(grad_out: Any, output: Any, dim: int = -1, *, dtype: Any = None) -> np.ndarray:
    """Twin of `fastcore.nn.softmax_backward`: output * (grad_out - sum(grad_out * output)).

    Parameters
    ----------
    grad_out, output : one shape; output is what `softmax` returned
    dim : int, an axis
    dtype : of the result; default that of output

    Returns
    -------
    The shape of output
    """
    g, y = _wide(grad_out), _wide(output)
    slope = y * (g - (g * y).sum(axis=dim, keepdims=True))
    return np.asarray(slope).astype(np.asarray(output).dtype if dtype is None else dtype)


def log_softmax_backward(grad_out: Any, output: Any, dim: int = -1, *, dtype: Any = None) -> np.ndarray:
    """Twin of `fastcore.nn.log_softmax_backward`: grad_out - exp(output) * sum(grad_out); as `softmax_backward`."""
    g, y = _wide(grad_out), _wide(output)
    slope = g - np.exp(y) * g.sum(axis=dim, keepdims=True)
    return np.asarray(slope).astype(np.asarray(output).dtype if dtype is None else dtype)
