"""The unsharded twin, by which sharded blocks are judged, against PyTorch's own gradients."""

import numpy as np
import pytest

from fastcore import reference

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("is_causal", [False, True])
def test_twin_of_the_block_equals_torch(rng, is_causal):
    embed, hidden, heads = 24, 40, 6
    weights = reference.block_weights(embed, hidden, heads)
    x, grad_y = rng.standard_normal((2, 3, 7, embed))
    with torch.enable_grad():
        tensors = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
        given = torch.tensor(x, requires_grad=True)
        y = torch_block(given, tensors, heads, is_causal)
        y.backward(torch.tensor(grad_y))
    ours, grad_x, grads = reference.transformer_block(x, weights, grad_y, num_heads=heads, is_causal=is_causal)
    np.testing.assert_allclose(ours, y.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(grad_x, given.grad.numpy(), atol=1e-12)
    for name, gradient in grads.items():
        np.testing.assert_allclose(gradient, tensors[name].grad.numpy(), atol=1e-11, err_msg=name)


def torch_block(x, weights, heads, is_causal):
    functional = torch.nn.functional

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    def linear(x, name):
        return x @ weights[f"{name}_weight"] + weights[f"{name}_bias"]

    normal = norm(x, "norm1")
    query, key, value = (
        linear(normal, f"attention.{name}").unflatten(-1, (heads, -1)).transpose(1, 2)
        for name in ("query", "key", "value")
    )
    out = functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    x = x + linear(out.transpose(1, 2).flatten(-2), "attention.output")
    return x + linear(functional.gelu(linear(norm(x, "norm2"), "mlp.up")), "mlp.down")


def test_twin_of_cross_entropy_equals_torch(rng):
    logits, targets = rng.standard_normal((3, 4, 9)), rng.integers(0, 9, (3, 4))
    with torch.enable_grad():
        given = torch.tensor(logits, requires_grad=True)
        value = torch.nn.functional.cross_entropy(given.flatten(0, 1), torch.tensor(targets).flatten())
        value.backward()
    ours, gradient = reference.cross_entropy(logits, targets)
    assert abs(ours - value.item()) < 1e-14
    np.testing.assert_allclose(gradient, given.grad.numpy(), atol=1e-15)


@pytest.mark.parametrize("name", ["attention.key_weight", "mlp.up_bias", "norm2.weight"])
def test_twin_of_grouped_heads_equals_differences(rng, name):
    """PyTorch 2.x groups heads only by an option; central differences of sum(y * grad_y) instead, in one direction."""
    weights = reference.block_weights(16, 12, 4, 2)
    x, grad_y = rng.standard_normal((2, 2, 5, 16))
    gradient = reference.transformer_block(x, weights, grad_y, num_heads=4, num_kv_heads=2)[2][name]
    direction, step = rng.standard_normal(weights[name].shape), 1e-6

    def along(distance):
        moved = weights | {name: weights[name] + distance * direction}
        return np.sum(grad_y * reference.transformer_block(x, moved, num_heads=4, num_kv_heads=2)[0])

    difference = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(np.sum(gradient * direction), difference, rtol=1e-7)
