"""Gradients of attention: the public function against its twin, whatever the shapes, dtypes and options."""

import numpy as np
import pytest

from fastcore import reference, scaled_dot_product_attention, scaled_dot_product_attention_backward

TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5, np.float16: 2e-3}


def inputs_of(rng, shapes, dtype):
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def both(query, key, value, **options):
    """Our gradients of a random direction, and the twin's in float64."""
    out, lse = scaled_dot_product_attention(query, key, value, **options, return_lse=True)
    grad_out = np.random.default_rng(9).normal(size=out.shape).astype(out.dtype)
    got = scaled_dot_product_attention_backward(grad_out, query, key, value, out, lse, **options)
    wide = [x.astype(float) for x in (grad_out, query, key, value)]
    exact = reference.scaled_dot_product_attention(*wide[1:], **options, return_lse=True)
    return got, reference.scaled_dot_product_attention_backward(*wide, *exact, **options)


def assert_close(got, expected, dtype):
    for result, right in zip(got, expected, strict=True):
        assert result.dtype == dtype
        assert result.shape == right.shape
        assert np.abs(result - right).max(initial=0) <= TOLERANCE[dtype] * max(np.abs(right).max(initial=0), 1.0)


SHAPES = [
    ((5, 8), (7, 8), (7, 6)),
    ((3, 5, 8), (3, 7, 8), (3, 7, 6)),
    ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)),
    ((2, 3, 4, 5, 8), (2, 1, 1, 7, 8), (1, 3, 1, 7, 6)),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shapes", SHAPES)
def test_backward_of_any_number_of_axes_equals_twin(rng, shapes, dtype):
    assert_close(*both(*inputs_of(rng, shapes, dtype), is_causal=True), dtype)


def test_backward_of_grouped_heads_without_batch_equals_twin(rng):
    inputs = inputs_of(rng, ((4, 5, 8), (2, 7, 8), (2, 7, 6)), np.float64)
    assert_close(*both(*inputs, enable_gqa=True), np.float64)
