"""The unsharded transformer block, forward and backward; weights are (in, out)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore.reference.activation import gelu

Weights = Mapping[str, np.ndarray]
Gradients = dict[str, np.ndarray]


def block_weights(
    embed_dim: int,
    hidden_dim: int,
    num_heads: int,
    num_kv_heads: int | None = None,
    *,
    seed: int = 0,
    dtype: type = np.float64,
) -> dict[str, np.ndarray]:
    """Random weights of a pre-norm block, by the names that `transformer_block` takes."""
    rng = np.random.default_rng(seed)
    kv = embed_dim // num_heads * (num_kv_heads or num_heads)
    shapes = {
        "norm1.weight": (embed_dim,),
        "norm1.bias": (embed_dim,),
        "attention.query_weight": (embed_dim, embed_dim),
        "attention.key_weight": (embed_dim, kv),
        "attention.value_weight": (embed_dim, kv),
        "attention.output_weight": (embed_dim, embed_dim),
        "attention.query_bias": (embed_dim,),
        "attention.key_bias": (kv,),
        "attention.value_bias": (kv,),
        "attention.output_bias": (embed_dim,),
        "norm2.weight": (embed_dim,),
        "norm2.bias": (embed_dim,),
        "mlp.up_weight": (embed_dim, hidden_dim),
        "mlp.down_weight": (hidden_dim, embed_dim),
        "mlp.up_bias": (hidden_dim,),
        "mlp.down_bias": (embed_dim,),
    }
    weights: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        spread = 1.0 / math.sqrt(shape[0]) if len(shape) == 2 else 0.1
        weights[name] = (rng.standard_normal(shape) * spread + ("norm" in name and "weight" in name)).astype(dtype)
    return weights


def layer_norm_backward(
    x: np.ndarray, weight: np.ndarray, grad_y: np.ndarray, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of layer norm over the last axis for x, weight and bias."""
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    normal = (x - x.mean(axis=-1, keepdims=True)) / deviation
    g = grad_y * weight
    grad_x = (g - g.mean(axis=-1, keepdims=True) - normal * (g * normal).mean(axis=-1, keepdims=True)) / deviation
    rows = tuple(range(x.ndim - 1))
    return grad_x, (grad_y * normal).sum(axis=rows), grad_y.sum(axis=rows)


def gelu_backward(x: np.ndarray, grad_y: np.ndarray) -> np.ndarray:
    """Gradient of x Phi(x): Phi(x) + x phi(x)."""
    erf = np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2.0)) if x.size else x
    return grad_y * (0.5 * (1.0 + erf) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _columns(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def _linear_backward(
    x: np.ndarray, weight: np.ndarray, grad_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grad_weight = np.einsum("bli,blo->io", x, grad_y)
    return grad_y @ weight.T, grad_weight, grad_y.sum(axis=(0, 1))


def parallel_attention(
    x: np.ndarray,
    weights: Weights,
    grad_y: np.ndarray | None = None,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    is_causal: bool = False,
) -> tuple[np.ndarray, Any, Gradients]:
    """Self-attention of x (B, L, E) with its projections; result, gradient of x and of the weights (for grad_y)."""
    groups = num_kv_heads or num_heads
    repeats = num_heads // groups
    query = _heads(x @ weights["query_weight"] + weights.get("query_bias", 0.0), num_heads)
    key, value = (
        np.repeat(_heads(x @ weights[f"{name}_weight"] + weights.get(f"{name}_bias", 0.0), groups), repeats, axis=1)
        for name in ("key", "value")
    )
    scale = 1.0 / math.sqrt(query.shape[-1])
    scores = scale * query @ key.swapaxes(-1, -2)
    if is_causal:
        scores = np.where(np.tri(x.shape[1], dtype=bool), scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    out = _columns(shares @ value)
    y = out @ weights["output_weight"] + weights.get("output_bias", 0.0)
    if grad_y is None:
        return y, None, {}
    grad_out, *of_output = _linear_backward(out, weights["output_weight"], grad_y)
    grad_heads = _heads(grad_out, num_heads)
    grad_shares = grad_heads @ value.swapaxes(-1, -2)
    grad_scores = scale * shares * (grad_shares - (grad_shares * shares).sum(axis=-1, keepdims=True))
    shape = (x.shape[0], groups, repeats, x.shape[1], query.shape[-1])
    inner = {
        "query": _columns(grad_scores @ key),
        "key": _columns((grad_scores.swapaxes(-1, -2) @ query).reshape(shape).sum(axis=2)),
        "value": _columns((shares.swapaxes(-1, -2) @ grad_heads).reshape(shape).sum(axis=2)),
    }
    grad_x, grads = np.zeros_like(x), dict(zip(("output_weight", "output_bias"), of_output))
    for name, gradient in inner.items():
        part, grads[f"{name}_weight"], grads[f"{name}_bias"] = _linear_backward(x, weights[f"{name}_weight"], gradient)
        grad_x += part
    return y, grad_x, {name: grad for name, grad in grads.items() if name in weights}


def parallel_mlp(
    x: np.ndarray, weights: Weights, grad_y: np.ndarray | None = None
) -> tuple[np.ndarray, Any, Gradients]:
    """gelu(x up + bias) down + bias; result, gradient of x and of the weights (for grad_y)."""
    hidden = x @ weights["up_weight"] + weights.get("up_bias", 0.0)
    active = gelu(hidden)
    y = active @ weights["down_weight"] + weights.get("down_bias", 0.0)
    if grad_y is None:
        return y, None, {}
    grad_active, *of_down = _linear_backward(active, weights["down_weight"], grad_y)
    grad_x, *of_up = _linear_backward(x, weights["up_weight"], gelu_backward(hidden, grad_active))
    grads = dict(zip(("down_weight", "down_bias", "up_weight", "up_bias"), (*of_down, *of_up)))
    return y, grad_x, {name: grad for name, grad in grads.items() if name in weights}


def _part(weights: Weights, name: str) -> dict[str, np.ndarray]:
    return {key.partition(".")[2]: value for key, value in weights.items() if key.startswith(f"{name}.")}


def _layer_norm(x: np.ndarray, weights: Weights, eps: float) -> np.ndarray:
    normal = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return normal * weights["weight"] + weights["bias"]


def transformer_block(
    x: np.ndarray,
    weights: Weights,
    grad_y: np.ndarray | None = None,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    is_causal: bool = True,
    eps: float = 1e-5,
) -> tuple[np.ndarray, Any, Gradients]:
    """x + attention(norm1(x)), then x + mlp(norm2(x)); result, gradient of x and of the weights (for grad_y)."""
    norm1, norm2, mlp = (_part(weights, name) for name in ("norm1", "norm2", "mlp"))
    heads: dict[str, Any] = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "is_causal": is_causal}
    attention = _part(weights, "attention")
    normal1 = _layer_norm(x, norm1, eps)
    middle = x + parallel_attention(normal1, attention, **heads)[0]
    normal2 = _layer_norm(middle, norm2, eps)
    y = middle + parallel_mlp(normal2, mlp)[0]
    if grad_y is None:
        return y, None, {}
    grads: Gradients = {}
    _, grad_normal, of_mlp = parallel_mlp(normal2, mlp, grad_y)
    gained, grads["norm2.weight"], grads["norm2.bias"] = layer_norm_backward(middle, norm2["weight"], grad_normal, eps)
    grad_middle = grad_y + gained
    _, grad_normal, of_attention = parallel_attention(normal1, attention, grad_middle, **heads)
    gained, grads["norm1.weight"], grads["norm1.bias"] = layer_norm_backward(x, norm1["weight"], grad_normal, eps)
    grads |= {f"mlp.{name}": grad for name, grad in of_mlp.items()}
    grads |= {f"attention.{name}": grad for name, grad in of_attention.items()}
    return y, grad_middle + gained, grads


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean of -log softmax(logits)[target], and its gradient for logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    shares = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)
    picked = targets[..., None]
    value = float(-np.log(np.take_along_axis(shares, picked, -1)).mean())
    np.put_along_axis(shares, picked, np.take_along_axis(shares, picked, -1) - 1.0, -1)
    return value, shares / targets.size


def language_model(
    tokens: np.ndarray,
    targets: np.ndarray,
    weights: Weights,
    *,
    num_layers: int,
    num_heads: int,
    num_kv_heads: int | None = None,
) -> tuple[float, Gradients]:
    """A training step: embedding, causal blocks, norm, head, `cross_entropy`; the loss and all gradients.

    Weights: "embedding.weight" (V, E), "embedding.position_weight", "0.norm1.weight", … of each block as
    `transformer_block` has them, "norm.weight", "norm.bias", "head.weight" (E, V).
    """
    heads: dict[str, Any] = {"num_heads": num_heads, "num_kv_heads": num_kv_heads}
    x = weights["embedding.weight"][tokens] + weights["embedding.position_weight"][: tokens.shape[1]]
    inputs = []
    for layer in range(num_layers):
        inputs.append(x)
        x = transformer_block(x, _part(weights, str(layer)), **heads)[0]
    normal = _layer_norm(x, _part(weights, "norm"), 1e-5)
    value, grad_logits = cross_entropy(normal @ weights["head.weight"], targets)
    grads: Gradients = {}
    gradient, grads["head.weight"], _ = _linear_backward(normal, weights["head.weight"], grad_logits)
    gradient, grads["norm.weight"], grads["norm.bias"] = layer_norm_backward(x, weights["norm.weight"], gradient)
    for layer in reversed(range(num_layers)):
        _, gradient, named = transformer_block(inputs[layer], _part(weights, str(layer)), gradient, **heads)
        grads |= {f"{layer}.{name}": grad for name, grad in named.items()}
    grads["embedding.weight"] = np.zeros_like(weights["embedding.weight"])
    np.add.at(grads["embedding.weight"], tokens, gradient)
    grads["embedding.position_weight"] = np.zeros_like(weights["embedding.position_weight"])
    grads["embedding.position_weight"][: tokens.shape[1]] = gradient.sum(axis=0)
    return value, grads
