"""A mixture of experts, all of them on one device."""

from collections.abc import Mapping

import numpy as np

from fastcore.reference.activation import gelu


def route_tokens(
    logits: np.ndarray, top_k: int, *, capacity: int | None = None, groups: int = 1, normalize: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Experts (T, k), their weights (T, k), and which choices (T, k) an expert has room for.

    Tokens are in `groups` of ceil(T / groups), in each of which an expert has room for `capacity`.
    """
    experts = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    chosen = np.take_along_axis(logits, experts, 1)
    largest = chosen[:, :1]
    over = chosen if normalize else logits
    weights = np.exp(chosen - largest) / np.exp(over - largest).sum(axis=1, keepdims=True)
    kept = np.ones(experts.shape, bool)
    if capacity is not None:
        size = -(-len(logits) // groups)
        for start in range(0, len(logits), max(size, 1)):
            part = slice(start, start + size)
            for e in range(logits.shape[1]):
                # first choices of all tokens of the group, then second ones, …
                is_e = (experts[part] == e).T
                kept[part][is_e.T] = ((np.cumsum(is_e.ravel()) <= capacity).reshape(is_e.shape).T)[is_e.T]
    return experts, weights, kept


def mixture_of_experts(
    x: np.ndarray,
    weights: Mapping[str, np.ndarray],
    *,
    top_k: int = 2,
    capacity: int | None = None,
    groups: int = 1,
    normalize: bool = True,
) -> np.ndarray:
    """x (T, D): each token's weighted sum of the answers of its experts. weights: as `sharding.MixtureOfExperts`."""
    routing = route_tokens(x @ weights["router_weight"], top_k, capacity=capacity, groups=groups, normalize=normalize)
    y = np.zeros_like(x)
    for e in range(weights["up_weight"].shape[0]):
        hidden = x @ weights["up_weight"][e] + weights["up_bias"][e]
        answer = gelu(hidden) @ weights["down_weight"][e] + weights["down_bias"][e]
        y += _share(routing, e)[:, None] * answer
    return y


def mixture_of_experts_backward(
    grad_y: np.ndarray,
    x: np.ndarray,
    weights: Mapping[str, np.ndarray],
    *,
    top_k: int = 2,
    capacity: int | None = None,
    groups: int = 1,
    normalize: bool = True,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Gradients by x, and by the weights."""
    logits = x @ weights["router_weight"]
    routing = route_tokens(logits, top_k, capacity=capacity, groups=groups, normalize=normalize)
    experts, share, kept = routing
    grads = {name: np.zeros_like(each) for name, each in weights.items()}
    grad_x, grad_share = np.zeros_like(x), np.zeros_like(share)
    for e in range(logits.shape[1]):
        hidden = x @ weights["up_weight"][e] + weights["up_bias"][e]
        active = gelu(hidden)
        answer = active @ weights["down_weight"][e] + weights["down_bias"][e]
        grad_share += np.where((experts == e) & kept, (grad_y * answer).sum(axis=1)[:, None], 0)
        grad_answer = _share(routing, e)[:, None] * grad_y
        grads["down_weight"][e] = active.T @ grad_answer
        grads["down_bias"][e] = grad_answer.sum(axis=0)
        grad_hidden = grad_answer @ weights["down_weight"][e].T * _gelu_slope(hidden, active)
        grads["up_weight"][e] = x.T @ grad_hidden
        grads["up_bias"][e] = grad_hidden.sum(axis=0)
        grad_x += grad_hidden @ weights["up_weight"][e].T
    mean = (share * grad_share).sum(axis=1, keepdims=True)
    if normalize:
        grad_logits = np.zeros_like(logits)
        np.put_along_axis(grad_logits, experts, share * (grad_share - mean), 1)
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        grad_logits = -mean * powers / powers.sum(axis=1, keepdims=True)
        grad_logits[np.arange(len(x))[:, None], experts] += share * grad_share
    grads["router_weight"] = x.T @ grad_logits
    return grad_x + grad_logits @ weights["router_weight"].T, grads


def _share(routing: tuple[np.ndarray, np.ndarray, np.ndarray], expert: int) -> np.ndarray:
    """(T,) weight of an expert for each token."""
    experts, weights, kept = routing
    return (weights * ((experts == expert) & kept)).sum(axis=1)


def _gelu_slope(x: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Φ(x) + x φ(x), of gelu(x) = x Φ(x)."""
    below = np.divide(active, x, out=np.full_like(x, 0.5), where=x != 0)
    return below + x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
