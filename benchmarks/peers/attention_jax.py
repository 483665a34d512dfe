"""JAX: jax.nn.dot_product_attention, jitted, arrays in its own layout (B, L, H, D)."""

from typing import Any

import numpy as np

from benchmarks.peers import fastest, require
from benchmarks.registry import Side, Unavailable


def prepare(data: Any) -> Side:
    jax = require("jax")
    if data.problem.dtype == "float64":
        raise Unavailable("dot_product_attention takes float64 but is no more exact than float32 (error 1e-7)")
    # JAX gives no way to set its threads once it runs: it uses one for each core, as every other side here does.
    jax.config.update("jax_platforms", "cpu")
    p = data.problem
    arrays = [
        jax.numpy.asarray(np.ascontiguousarray(array.transpose(0, 2, 1, 3)))
        for array in (data.query, data.key, data.value)
    ]

    def side(**options: Any) -> Side:
        lengths = options.pop("key_value_seq_lengths", None)
        bound = {} if lengths is None else {"key_value_seq_lengths": lengths}

        def attention(query: Any, key: Any, value: Any, bound: dict) -> Any:
            return jax.nn.dot_product_attention(query, key, value, is_causal=p.causal, **bound, **options)

        compiled = jax.jit(attention)
        return Side(
            lambda: compiled(*arrays, bound).block_until_ready(),
            lambda result: np.asarray(result).transpose(0, 2, 1, 3),
        )

    padding = data.padding()
    if padding is None:
        return fastest({"jit": side})
    lengths = jax.numpy.asarray(data.key_lengths.astype(np.int32))
    return fastest({"jit, key_value_seq_lengths": lambda: side(key_value_seq_lengths=lengths)})
