"""softmax, log_softmax, gelu, silu and their gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf

from benchmarks.cases.nn_task import Input, Problem, Task
from benchmarks.peers import nn_jax, nn_torch

_Call = Callable[[], Any]
_ROOT_HALF = 0.5**0.5
_ROOT = (2 / np.pi) ** 0.5


def _one(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {"input": shape}


def _two(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {"grad_out": shape, "input": shape}


def _call(library: Any, data: Input) -> _Call:
    """Functions whose only argument besides the arrays is how gelu approximates, or the axis."""
    p = data.problem
    options = ["tanh"] if p.option == "tanh" else [-1] if "softmax" in p.function else []
    function, arrays = getattr(library, p.function), list(data.arrays.values())
    given = {} if data.out is None else {"out": data.out}
    return lambda: function(*arrays, *options, **given)


def _softmax(x: np.ndarray) -> np.ndarray:
    power = np.exp(x - x.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x * _ROOT_HALF))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(_ROOT * (x + 0.044715 * x**3)))


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def _gelu_backward(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    density = np.exp(-0.5 * x * x) * (_ROOT * 0.5)
    return grad * (0.5 * (1 + erf(x * _ROOT_HALF)) + x * density)


def _silu_backward(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    sigmoid = 1 / (1 + np.exp(-x))
    return grad * sigmoid * (1 + x * (1 - sigmoid))


_FORMULAS: dict[str, Callable[..., np.ndarray]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "gelu": _gelu,
    "silu": _silu,
    "gelu_backward": _gelu_backward,
    "silu_backward": _silu_backward,
}


def _naive(data: Input) -> _Call:
    p = data.problem
    formula = _gelu_tanh if p.option == "tanh" else _FORMULAS[p.function]
    return lambda: formula(*data.arrays.values())


_FLOPS = {
    "softmax": 25.0,
    "log_softmax": 25.0,
    "gelu": 30.0,
    "silu": 25.0,
    "gelu_backward": 50.0,
    "silu_backward": 30.0,
}
_PEERS = {"torch": nn_torch.prepare, "jax": nn_jax.prepare}
TASKS = {
    function: Task(
        _two if function.endswith("backward") else _one, _call, _naive, ["input"], _FLOPS[function], peers=_PEERS
    )
    for function in _FORMULAS
}


def problems() -> list[Problem]:
    square, long, block = {"N": 4096, "E": 4096}, {"N": 10_000_000}, {"N": 5632, "E": 1536}
    return [
        Problem("softmax", square, quick=True),
        Problem("log_softmax", square),
        Problem("gelu", long),
        Problem("gelu", long, "tanh"),
        Problem("silu", long),
        Problem("gelu_backward", long),
        Problem("silu_backward", long),
        Problem("gelu", block),
        Problem("gelu", block, "tanh"),
    ]
