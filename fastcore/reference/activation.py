"""Activations, written from their definitions."""

import math
from typing import Any

import numpy as np

# NumPy has no erf; the standard library's is exact to a rounding of float64.
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _tanh_share(x: Any) -> Any:
    """(1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x**3), without what that loses where tanh is near -1."""
    with np.errstate(over="ignore"):  # of a far negative x: the quotient is 0
        return 1 / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


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
        share = _tanh_share(x)
    else:
        share = 0.5 * (1 + _erf(x * math.sqrt(0.5)).astype(x.dtype))
    y = np.asarray(x * share).astype(given.dtype)
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


def gelu_backward(grad_out: Any, input: Any, approximate: str = "none", *, bias: Any = None) -> np.ndarray:
    """Twin of `fastcore.nn.gelu_backward`: grad_out times the derivative at input + bias.

    Parameters
    ----------
    grad_out, input : (..., D)
    approximate, bias : as in the public function

    Returns
    -------
    (..., D), dtype of input
    """
    given = np.asarray(input)
    x: Any = given.astype(np.float64 if given.dtype == np.float64 else np.float32)
    if bias is not None:
        x = x + np.asarray(bias).astype(x.dtype)
    if approximate == "tanh":
        share = _tanh_share(x)
        inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        slope = share + x * 2 * share * _tanh_share(-x) * inner
    else:
        slope = 0.5 * (1 + _erf(x * math.sqrt(0.5)).astype(x.dtype)) + x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return np.asarray(np.asarray(grad_out).astype(x.dtype) * slope).astype(given.dtype)


def silu_backward(grad_out: Any, input: Any) -> np.ndarray:
    """Twin of `fastcore.nn.silu_backward`, rounded to the dtype of input once."""
    given = np.asarray(input)
    x: Any = given.astype(np.float64 if given.dtype == np.float64 else np.float32)
    with np.errstate(over="ignore"):  # exp(-x) of far negative x: the quotient is 0
        s = 1 / (1 + np.exp(-x))
    return np.asarray(np.asarray(grad_out).astype(x.dtype) * s * (1 + x * (1 - s))).astype(given.dtype)


def swiglu_backward(grad_out: Any, gate: Any, up: Any) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `fastcore.nn.swiglu_backward`: the gradients of gate and up, each rounded once."""
    dtype = np.asarray(gate).dtype
    wide = np.float64 if dtype == np.float64 else np.float32
    g: Any
    g, x, y = (np.asarray(a).astype(wide) for a in (grad_out, gate, up))
    return silu_backward(g * y, x).astype(dtype), (g * silu(x)).astype(dtype)
