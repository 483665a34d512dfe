"""JAX: value_and_grad of the function of two numbers, mapped over the points by vmap, jitted."""

import numpy as np

from benchmarks.cases.autodiff_task import judged, source
from benchmarks.peers import fastest, require
from benchmarks.registry import Side


def prepare(data: list[np.ndarray]) -> Side:
    jax = require("jax")
    jax.config.update("jax_platforms", "cpu")
    # float64 for these calls alone: elsewhere JAX is measured as it comes.
    is_double = data[0].dtype == np.float64

    def side() -> Side:
        with jax.enable_x64(is_double):
            arrays = [jax.numpy.asarray(x) for x in data]
            points = jax.vmap(jax.value_and_grad(lambda x, y: source(jax.numpy, x, y), argnums=(0, 1)))
            compiled = jax.jit(points).lower(*arrays).compile()
        return Side(lambda: jax.block_until_ready(compiled(*arrays)), judged)

    return fastest({"jit(vmap(value_and_grad))": side})
