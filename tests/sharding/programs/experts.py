"""Mixtures of experts, with and without room for all tokens."""

import numpy as np

from fastcore.sharding import Mesh, MixtureOfExperts, P

AXES = [{"ep": 8}, {"dp": 2, "ep": 4}, {"ep": 2, "tp": 4}, {"ep": 3}]
D, F, EXPERTS = 6, 9, 5


def cases():
    found = {}
    for axes in AXES:
        for factor in (None, 1.0):
            text = ",".join(f"{name}{size}" for name, size in axes.items())
            found[f"capacity factor {factor} on {text}"] = lambda make_mesh, axes=axes, factor=factor: both_ways(
                make_mesh(axes), factor
            )
    return found


def weights_of(rng, experts, dtype=np.float64):
    shapes = {
        "router_weight": (D, experts),
        "up_weight": (experts, D, F),
        "up_bias": (experts, F),
        "down_weight": (experts, F, D),
        "down_bias": (experts, D),
    }
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def both_ways(mesh: Mesh, factor: float | None) -> list[np.ndarray]:
    """y, what was dropped, and all gradients; those of experts differ along dp."""
    rng = np.random.default_rng(5)
    layer = MixtureOfExperts(mesh, weights_of(rng, EXPERTS), capacity_factor=factor)
    spec = P(("dp", "ep")) if "dp" in mesh.axes else P("ep")
    x, grad_y = (mesh.put(rng.normal(size=(19, D)), spec, pad=True) for _ in range(2))
    y, saved = layer.forward(x)
    grad_x, grads = layer.backward(saved, grad_y)
    found = [y, saved.routing.dropped, saved.routing.slots, grad_x, *grads.values()]
    return [each.gather(check="dp" not in mesh.axes) for each in found]
