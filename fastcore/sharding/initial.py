"""Weights to start training from, or on a dry mesh their shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_sharding_block as check
from fastcore.sharding.mesh import Mesh

__all__ = ["initial_weights"]

SPREAD = 0.02  # standard deviation of matrices: Radford et al. 2019, GPT-2


def initial_weights(
    mesh: Mesh, shapes: Mapping[str, tuple[int, ...]], dtype: Any, seed: int, ones: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Normal matrices and vectors of zeros, those named in `ones` of ones; the same in every process.

    On a dry mesh arrays of one zero with strides of 0: a model of 7e9 parameters takes no memory.
    """
    dtype, seed = check.layer_dtype(dtype), validate.random_seed(seed)
    if mesh.is_dry:
        return {name: np.broadcast_to(np.zeros((), dtype), shape) for name, shape in shapes.items()}
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        if len(shape) > 1:
            weights[name] = (SPREAD * rng.standard_normal(shape, np.float32)).astype(dtype)
        else:
            weights[name] = np.full(shape, name in ones, dtype)
    return weights
