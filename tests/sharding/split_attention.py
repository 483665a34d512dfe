"""What the tests of attention over split sequences share."""

import numpy as np

from fastcore import reference
from fastcore.sharding import P

SPEC = P(None, None, "sp")
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


def inputs(rng, heads, groups, queries, keys, dtype=np.float64, size=8, value_size=6):
    """query, key, value and the gradient of a result."""
    shapes = ((2, heads, queries, size), (2, groups, keys, size), (2, groups, keys, value_size))
    return [rng.normal(size=shape).astype(dtype) for shape in (*shapes, (2, heads, queries, value_size))]


def put(mesh, arrays, spec=SPEC):
    return [mesh.put(x, spec, pad=True) for x in arrays]


def expected(arrays, is_causal):
    """Result and gradients of the unsharded twin, in float64."""
    *given, grad_out = (x.astype(float) for x in arrays)
    out, lse = reference.scaled_dot_product_attention(*given, is_causal=is_causal, return_lse=True)
    return [
        out,
        *reference.scaled_dot_product_attention_backward(grad_out, *given, out, lse, is_causal=is_causal),
    ]


def assert_equal_to_twin(found, arrays, is_causal):
    tolerance = TOLERANCE[arrays[0].dtype.type]
    for result, right in zip(found, expected(arrays, is_causal), strict=True):
        assert result.shape == right.shape
        assert result.dtype == arrays[0].dtype
        assert np.abs(result - right).max(initial=0) <= tolerance * np.abs(right).max(initial=1e-300)
