"""JAX: jax.vjp of jax.nn.dot_product_attention, jitted, arrays in its own layout (B, L, H, D)."""

from typing import Any

import numpy as np

from benchmarks.peers import fastest, require
from benchmarks.registry import Side, Unavailable


def prepare(data: Any) -> Side:
    jax = require("jax")
    if not data.with_forward:
        raise Unavailable("its compiled gradient computes the forward pass too")
    jax.config.update("jax_platforms", "cpu")
    arrays = [
        jax.numpy.asarray(np.ascontiguousarray(x.transpose(0, 2, 1, 3)))
        for x in (data.query, data.key, data.value, data.grad_out)
    ]

    def attention(query: Any, key: Any, value: Any) -> Any:
        return jax.nn.dot_product_attention(query, key, value, is_causal=data.problem.causal)

    def gradients(query: Any, key: Any, value: Any, grad_out: Any) -> Any:
        return jax.vjp(attention, query, key, value)[1](grad_out)

    def side() -> Side:
        compiled = jax.jit(gradients)
        return Side(
            lambda: jax.block_until_ready(compiled(*arrays)),
            lambda result: np.stack([np.asarray(x).transpose(0, 2, 1, 3) for x in result]),
        )

    return fastest({"jit": side})
