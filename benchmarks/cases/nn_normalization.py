"""layer_norm, add_layer_norm, rms_norm and batch_norm with their gradients, from memory and from cache."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases.nn_task import Input, Problem, Task
from benchmarks.peers import nn_jax, nn_torch

EPSILON = 1e-5
_Call = Callable[[], Any]


def _given(data: Input) -> dict[str, Any]:
    return {} if data.out is None else {"out": data.out}


# --- layer_norm, rms_norm -------------------------------------------------------------------------------------------


def _arrays_of_rows(names: str) -> Callable[[tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Arrays of the input's shape, and vectors of its last axis."""
    return lambda shape: {name: shape[-1:] if name in ("weight", "bias") else shape for name in names.split()}


def _layer_norm(library: Any, data: Input) -> _Call:
    x, vectors = data["input"], (data["weight"], data["bias"])
    return lambda: library.layer_norm(x, x.shape[-1], *vectors, EPSILON, **_given(data))


def _add_layer_norm(library: Any, data: Input) -> _Call:
    x, vectors = data["input"], (data["weight"], data["bias"])
    return lambda: library.add_layer_norm(x, data["residual"], x.shape[-1], *vectors, EPSILON, **_given(data))


def _layer_norm_backward(library: Any, data: Input) -> _Call:
    x, vectors = data["input"], (data["weight"], data["bias"])
    given = {} if data.out is None else {"out": data.out}
    return lambda: library.layer_norm_backward(data["grad_out"], x, x.shape[-1], *vectors, EPSILON, **given)


def _rms_norm(library: Any, data: Input) -> _Call:
    x = data["input"]
    return lambda: library.rms_norm(x, x.shape[-1], data["weight"], EPSILON, **_given(data))


def _rms_norm_backward(library: Any, data: Input) -> _Call:
    x = data["input"]
    return lambda: library.rms_norm_backward(data["grad_out"], x, x.shape[-1], data["weight"], EPSILON, **_given(data))


def _normalized(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
    return centred * scale, scale


def _naive_layer_norm(data: Input) -> _Call:
    return lambda: _normalized(data["input"])[0] * data["weight"] + data["bias"]


def _naive_add_layer_norm(data: Input) -> _Call:
    return lambda: _normalized(data["input"] + data["residual"])[0] * data["weight"] + data["bias"]


def _naive_layer_norm_backward(data: Input) -> _Call:
    def call() -> tuple[np.ndarray, ...]:
        normal, scale = _normalized(data["input"])
        grad = data["grad_out"] * data["weight"]
        along = (grad * normal).mean(axis=-1, keepdims=True)
        grad_input = (grad - grad.mean(axis=-1, keepdims=True) - normal * along) * scale
        return grad_input, (data["grad_out"] * normal).sum(axis=0), data["grad_out"].sum(axis=0)

    return call


def _inverse_root(x: np.ndarray) -> np.ndarray:
    return 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)


def _naive_rms_norm(data: Input) -> _Call:
    return lambda: data["input"] * _inverse_root(data["input"]) * data["weight"]


def _naive_rms_norm_backward(data: Input) -> _Call:
    def call() -> tuple[np.ndarray, ...]:
        scale = _inverse_root(data["input"])
        normal = data["input"] * scale
        grad = data["grad_out"] * data["weight"]
        grad_input = (grad - normal * (grad * normal).mean(axis=-1, keepdims=True)) * scale
        return grad_input, (data["grad_out"] * normal).sum(axis=0)

    return call


# --- batch_norm -----------------------------------------------------------------------------------------------------


def _arrays_of_channels(names: str) -> Callable[[tuple[int, ...]], dict[str, tuple[int, ...]]]:
    return lambda shape: {name: shape if name in ("input", "grad_out") else shape[1:2] for name in names.split()}


def _batch_norm(library: Any, data: Input) -> _Call:
    """With running statistics, which each side has of its own."""
    x = data["input"]
    mean, variance = np.zeros(x.shape[1], x.dtype), np.ones(x.shape[1], x.dtype)
    vectors = (data["weight"], data["bias"])
    return lambda: library.batch_norm(x, mean, variance, *vectors, True, 0.1, EPSILON, **_given(data))


def _batch_norm_backward(library: Any, data: Input) -> _Call:
    vectors = (None, None, data["weight"], data["bias"])
    return lambda: library.batch_norm_backward(
        data["grad_out"], data["input"], *vectors, True, 0.1, EPSILON, **_given(data)
    )


def _normalized_channels(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=(0, 2, 3), keepdims=True) + EPSILON)
    return centred * scale, scale


def _column(vector: np.ndarray) -> np.ndarray:
    return vector[:, None, None]


def _naive_batch_norm(data: Input) -> _Call:
    return lambda: _normalized_channels(data["input"])[0] * _column(data["weight"]) + _column(data["bias"])


def _naive_batch_norm_backward(data: Input) -> _Call:
    def call() -> tuple[np.ndarray, ...]:
        normal, scale = _normalized_channels(data["input"])
        grad, axes = data["grad_out"], (0, 2, 3)
        grad_weight, grad_bias = (grad * normal).sum(axis=axes), grad.sum(axis=axes)
        count = grad.size // grad.shape[1]
        centred = grad - _column(grad_bias / count) - normal * _column(grad_weight / count)
        return centred * scale * _column(data["weight"]), grad_weight, grad_bias

    return call


# --- the cases ------------------------------------------------------------------------------------------------------

_PEERS = {"torch": nn_torch.prepare, "jax": nn_jax.prepare}
TASKS = {
    "layer_norm": Task(
        _arrays_of_rows("input weight bias"), _layer_norm, _naive_layer_norm, ["input"], 8.0, peers=_PEERS
    ),
    "add_layer_norm": Task(
        _arrays_of_rows("input residual weight bias"),
        _add_layer_norm, _naive_add_layer_norm, ["input"], 9.0, peers=_PEERS,
    ),
    "layer_norm_backward": Task(
        _arrays_of_rows("grad_out input weight bias"),
        _layer_norm_backward, _naive_layer_norm_backward,
        ["input", "weight", "bias"], 17.0, whole=True, tolerance=4e-6, peers=_PEERS,
    ),
    "rms_norm": Task(_arrays_of_rows("input weight"), _rms_norm, _naive_rms_norm, ["input"], 4.0, peers=_PEERS),
    "rms_norm_backward": Task(
        _arrays_of_rows("grad_out input weight"),
        _rms_norm_backward, _naive_rms_norm_backward,
        ["input", "weight"], 12.0, whole=True, tolerance=4e-6, peers=_PEERS,
    ),
    "batch_norm": Task(
        _arrays_of_channels("input weight bias"),
        _batch_norm, _naive_batch_norm, ["input"], 7.0, whole=True, tolerance=2e-6, peers=_PEERS,
    ),
    "batch_norm_backward": Task(
        _arrays_of_channels("grad_out input weight bias"),
        _batch_norm_backward, _naive_batch_norm_backward,
        ["input", "weight", "bias"], 14.0, whole=True, tolerance=1e-5, peers=_PEERS,
    ),
}  # fmt: skip


def problems() -> list[Problem]:
    large, small = {"N": 8192, "E": 1024}, {"N": 64, "E": 768}
    rows = ("layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward")
    images = {"N": 64, "C": 128, "H": 56, "W": 56}
    return [
        *(Problem(function, large, quick=function == "layer_norm") for function in rows),
        *(Problem(function, large, given_out=True) for function in rows),
        *(Problem(function, small) for function in rows),
        Problem("add_layer_norm", {"N": 5632, "E": 384}),
        Problem("batch_norm", images, "training"),
        Problem("batch_norm_backward", images, "training"),
    ]
