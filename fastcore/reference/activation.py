"""Activations, written from their definitions."""

import math
from typing import Any

import numpy as np

# NumPy has no erf; the standard library's is exact to a rounding of float64.
_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(input: Any, approximate: str = "none", *, bias: Any = None, out: np.ndarray | None = None) -> np.ndarray:
    """Twin of `fastcore.nn.gelu`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    input : (..., D)
    approximate, bias, out : as in the public function

    Returns
    -------
    (..., D), dtype of input
    """
    given = np.asarray(input)
    x: Any = given.astype(np.float64 if given.dtype == np.float64 else np.float32)
    if bias is not None:
        x = x + np.asarray(bias).astype(x.dtype)
    if approximate == "tanh":
        share = 1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    else:
        share = 1 + _erf(x * math.sqrt(0.5)).astype(x.dtype)
    y = np.asarray(0.5 * x * share).astype(given.dtype)
    if out is None:
        return y
    out[...] = y
    return out


def silu(input: Any, *, out: np.ndarray | None = None) -> np.ndarray:
    """Twin of `fastcore.nn.silu`; float64 in gives float64 throughout, all else float32.

    Parameters
    ----------
    input : any shape
    out : as in the public function

    Returns
    -------
    The shape and dtype of input
    """
    return swiglu(input, None, out=out)


def swiglu(gate: Any, up: Any, *, out: np.ndarray | None = None) -> np.ndarray:
    """Twin of `fastcore.nn.swiglu`, rounded to the dtype of gate once; silu(gate) where up is None."""
    given = np.asarray(gate)
    x: Any = given.astype(np.float64 if given.dtype == np.float64 else np.float32)
    with np.errstate(over="ignore"):  # exp(-x) of far negative x: the quotient is -0
        y = x / (1 + np.exp(-x))
    if up is not None:
        y = y * np.asarray(up).astype(x.dtype)
    y = np.asarray(y).astype(given.dtype)
    if out is None:
        return y
    out[...] = y
    return out
