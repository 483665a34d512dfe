"""Gradients of attention against the twin, and the twin against differences of the forward pass."""

from pathlib import Path

import numpy as np
import pytest

import fastcore
from fastcore import reference, scaled_dot_product_attention
from fastcore.attention.kernels.backward import attention_backward

# (B, H, G, L, S, D, Dv): one vector of queries and less, tiles and blocks with and without remainders, ragged heads.
SIZES = [
    (1, 1, 1, 1, 1, 1, 1),
    (2, 4, 2, 5, 9, 8, 12),
    (1, 2, 1, 64, 64, 16, 16),
    (1, 3, 3, 70, 131, 20, 33),
    (2, 6, 2, 130, 65, 64, 40),
]
TOLERANCE = {np.float64: 1e-13, np.float32: 1e-5}


def inputs_of(rng, sizes, dtype):
    batch, heads, groups, queries, keys, size, value_size = sizes
    shapes = (
        (batch, heads, queries, size),
        (batch, groups, keys, size),
        (batch, groups, keys, value_size),
        (batch, heads, queries, value_size),
    )
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def twin(grad_out, query, key, value, **options):
    out, lse = reference.scaled_dot_product_attention(query, key, value, return_lse=True, **options)
    return reference.scaled_dot_product_attention_backward(grad_out, query, key, value, out, lse, **options)


def gradients(query, key, value, grad_out, **options):
    out, lse = scaled_dot_product_attention(query, key, value, return_lse=True, **options)
    results = [np.zeros_like(x) for x in (query, key, value)]
    options = {"is_causal": False, "scale": query.shape[-1] ** -0.5} | options
    attention_backward(query, key, value, out, lse, grad_out, *results, **options)
    return results


def assert_close(results, expected, tolerance):
    for result, right in zip(results, expected, strict=True):
        assert np.abs(result - right).max(initial=0) <= tolerance * max(np.abs(right).max(initial=0), 1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_attention_backward_equals_twin(rng, sizes, is_causal, dtype):
    query, key, value, grad_out = inputs_of(rng, sizes, dtype)
    results = gradients(query, key, value, grad_out, is_causal=is_causal)
    wide = [x.astype(float) for x in (grad_out, query, key, value)]
    assert_close(results, twin(*wide, is_causal=is_causal), TOLERANCE[dtype])


def test_attention_backward_twin_equals_differences(rng):
    query, key, value, grad_out = inputs_of(rng, (1, 2, 1, 4, 5, 3, 2), float)
    expected = twin(grad_out, query, key, value, is_causal=True)
    step = 1e-6
    for x, gradient in zip((query, key, value), expected, strict=True):
        direction = rng.normal(size=x.shape)
        moved = []
        for sign in (1, -1):
            x += sign * step * direction
            moved.append(np.sum(grad_out * reference.scaled_dot_product_attention(query, key, value, is_causal=True)))
            x -= sign * step * direction
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(np.sum(gradient * direction), abs=1e-8)


@pytest.mark.parametrize("offset", [-200, -70, -3, 0, 40, 500])
def test_attention_backward_by_positions_equals_twin(rng, offset):
    """Keys that lie before and behind the queries, all masked and none; a length for each sequence."""
    query, key, value, grad_out = inputs_of(rng, (3, 2, 2, 70, 90, 8, 8), float)
    options = {
        "is_causal": True,
        "query_offset": np.array([offset, offset + 7, 0]),
        "key_lengths": np.array([90, 65, 0]),
    }
    assert_close(gradients(query, key, value, grad_out, **options), twin(grad_out, query, key, value, **options), 1e-13)


def test_attention_backward_over_parts_of_the_keys_adds_up(rng):
    """With the log-sum-exp over all keys, as around a ring."""
    query, key, value, grad_out = inputs_of(rng, (1, 4, 2, 33, 80, 16, 16), float)
    out, lse = scaled_dot_product_attention(query, key, value, return_lse=True)
    results = [np.zeros_like(x) for x in (query, key, value)]
    for part in (slice(0, 50), slice(50, 80)):
        of_keys = [x[:, :, part] for x in (key, value)]
        targets = [results[0], *(x[:, :, part] for x in results[1:])]
        attention_backward(query, *of_keys, out, lse, grad_out, *targets, is_causal=False, scale=0.25)
    assert_close(results, twin(grad_out, query, key, value), 1e-13)


def test_attention_backward_strided_equals_contiguous(rng):
    query, key, value, grad_out = inputs_of(rng, (2, 4, 2, 20, 70, 16, 16), np.float32)
    both = np.concatenate([key, value], axis=-1)
    swapped = np.ascontiguousarray(query.swapaxes(1, 2)).swapaxes(1, 2)
    plain = gradients(query, key, value, grad_out)
    for result, right in zip(gradients(swapped, both[..., :16], both[..., 16:], grad_out), plain, strict=True):
        np.testing.assert_array_equal(result, right)


def test_attention_backward_bits_depend_on_neither_threads_nor_neighbours(rng):
    query, key, value, grad_out = inputs_of(rng, (3, 4, 2, 150, 200, 32, 32), np.float32)
    many = gradients(query, key, value, grad_out, is_causal=True)
    with fastcore.num_threads(1):
        serial = gradients(query, key, value, grad_out, is_causal=True)
    alone = gradients(*(x[1:2] for x in (query, key, value, grad_out)), is_causal=True)
    for result, one, part in zip(many, serial, alone, strict=True):
        np.testing.assert_array_equal(result, one)
        np.testing.assert_array_equal(result[1:2], part)


@pytest.mark.parametrize("sizes", [(0, 2, 1, 3, 4, 8, 8), (1, 2, 1, 0, 4, 8, 8), (1, 2, 1, 3, 0, 8, 8)])
def test_attention_backward_of_nothing_is_zero(rng, sizes):
    for result in gradients(*inputs_of(rng, sizes, np.float32)):
        assert not result.any()


@pytest.mark.peer
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("groups", [4, 2, 1])
def test_attention_backward_equals_torch(rng, groups, is_causal):
    torch = pytest.importorskip("torch")
    inputs = inputs_of(rng, (2, 4, groups, 60, 70, 24, 20), float)
    *tensors, grad_out = [torch.from_numpy(x).requires_grad_() for x in inputs]
    with torch.enable_grad():
        out = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=is_causal, enable_gqa=groups != 4)
        expected = torch.autograd.grad(out, tensors, grad_out.detach())
    assert_close(gradients(*inputs, is_causal=is_causal), [each.numpy() for each in expected], 1e-12)


@pytest.mark.parametrize("run_guarded", ["host", "AVX2", "no compiler"], indirect=True)
def test_attention_backward_stays_in_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("backward_guard_pages.py")) == "9"
