"""JAX: functions of jax.nn where it has them, else their formulas; jitted, gradients by jax.vjp."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases.nn_task import judged
from benchmarks.peers import fastest, require
from benchmarks.registry import Side, Unavailable

EPSILON = 1e-5


def prepare(data: Any) -> Side:
    jax = require("jax")
    if data.out is not None:
        raise Unavailable("functions of JAX cannot write to memory that is given")
    jax.config.update("jax_platforms", "cpu")
    p = data.problem
    backward = p.function.endswith("_backward")
    arrays = [jax.numpy.asarray(array) for array in data.arrays.values()]

    def side(forward: Callable[..., Any]) -> Side:
        def gradients(grad: Any, *inputs: Any) -> Any:
            return jax.vjp(forward, *inputs)[1](grad)

        compiled = jax.jit(gradients if backward else forward)
        return Side(
            lambda: jax.block_until_ready(compiled(*arrays)),
            lambda result: judged([np.asarray(each) for each in (result if backward else [result])]),
        )

    ways = _ways(jax, p.function.removesuffix("_backward"), p.option)
    return fastest({f"jit, {name}": partial(side, forward) for name, forward in ways.items()})


def _ways(jax: Any, function: str, option: str) -> dict[str, Callable[..., Any]]:
    """Ways to say the same, by name."""
    numpy, lax = jax.numpy, jax.lax

    def centred(x: Any, axes: Any) -> Any:
        x = x - x.mean(axes, keepdims=True)
        return x * lax.rsqrt(numpy.square(x).mean(axes, keepdims=True) + EPSILON)

    def rms_norm(x: Any, weight: Any) -> Any:
        return x * lax.rsqrt(numpy.square(x).mean(-1, keepdims=True) + EPSILON) * weight

    def batch_norm(x: Any, weight: Any, bias: Any) -> Any:
        return centred(x, (0, 2, 3)) * weight[:, None, None] + bias[:, None, None]

    def standardized(x: Any, weight: Any, bias: Any) -> Any:
        return jax.nn.standardize(x, axis=-1, epsilon=EPSILON) * weight + bias

    ways: dict[str, dict[str, Callable[..., Any]]] = {
        "layer_norm": {
            "jax.nn.standardize": standardized,
            "formula": lambda x, weight, bias: centred(x, -1) * weight + bias,
        },
        "add_layer_norm": {
            "jax.nn.standardize": lambda x, residual, *vectors: standardized(x + residual, *vectors),
            "formula": lambda x, residual, weight, bias: centred(x + residual, -1) * weight + bias,
        },
        "rms_norm": {"formula": rms_norm},
        "batch_norm": {"formula, without running statistics": batch_norm},
        "softmax": {"jax.nn.softmax": lambda x: jax.nn.softmax(x, -1)},
        "log_softmax": {"jax.nn.log_softmax": lambda x: jax.nn.log_softmax(x, -1)},
        "gelu": {"jax.nn.gelu": lambda x: jax.nn.gelu(x, approximate=option == "tanh")},
        "silu": {"jax.nn.silu": jax.nn.silu},
    }
    return ways[function]
