"""A mixture of experts whose experts are spread over devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastcore._core import validate_sharding_experts as check
from fastcore._core.validate import flag
from fastcore._core.validate_sharding import axis_names
from fastcore._core.validate_sharding import mesh as check_mesh
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import psum
from fastcore.sharding.device import device_kernel
from fastcore.sharding.elementwise import activated, gelu_backward
from fastcore.sharding.kernels import experts as kernels
from fastcore.sharding.layer import Layer
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.products import matmul, matmul_nt, matmul_tn
from fastcore.sharding.routing import (
    Axis,
    Routing,
    combine_tokens,
    combine_tokens_backward,
    dispatch_tokens,
    dispatch_tokens_backward,
    route_tokens,
    route_tokens_backward,
)
from fastcore.sharding.spec import P, entry_of

__all__ = ["MixtureOfExperts", "SavedExperts"]


def _flops_of_linear(x: ShardedArray, weight: ShardedArray, *others: Any) -> float:
    """Of all slots, free ones too."""
    experts, rows, depth = x.block_shape
    return 2.0 * experts * rows * depth * weight.block_shape[-1]


def _parts_of_linear(x: ShardedArray, *others: Any) -> int:
    return x.block_shape[0]


_linear = device_kernel(kernels.expert_linear, flops=_flops_of_linear, parts=_parts_of_linear, as_rows=True)
_linear_backward = device_kernel(
    kernels.expert_linear_backward,
    flops=lambda *given: 2 * _flops_of_linear(*given),
    parts=_parts_of_linear,
    as_rows=True,
)


class SavedExperts(NamedTuple):
    """What the backward of `MixtureOfExperts` needs, and the record of what was dropped: ``routing.dropped``."""

    x: ShardedArray
    logits: ShardedArray
    routing: Routing
    inputs: ShardedArray
    hidden: ShardedArray
    returned: ShardedArray


class MixtureOfExperts(Layer):
    """A layer that sends each token to k of E small MLPs, and adds their answers up: expert parallelism.

    ``y = Σ_j weight_j · (gelu(x @ up[e_j] + up_bias[e_j]) @ down[e_j] + down_bias[e_j])``

    Parameters
    ----------
    mesh : Mesh
    weights : mapping of arrays, the same in every process, of one of float32 and float64: router_weight (D, E),
        up_weight (E, D, F), up_bias (E, F), down_weight (E, F, D), down_bias (E, D)
    top_k, capacity_factor, normalize : see `route_tokens`; by default no token is dropped
    axis : mesh axis, or several, over which experts are divided, and tokens, too. E need not divide.

    Attributes
    ----------
    params : dict, name → ShardedArray; the router is on all devices

    Raises
    ------
    ValueError : shapes disagree, a weight is missing or unknown, an axis is not of the mesh, an option is out of range
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Two all_to_all forward and two backward, of buffers of ceil(E / n) n · capacity · D on each device. With the default
    capacity these have a slot for each token with each expert, E / k times what is used; an expert computes all
    its slots. A capacity_factor of 1 to 2 is what saves work, and drops tokens, which then go past the layer by the
    residual connection around it.

    `backward` adds the router's gradient up over `axis`; an expert has seen the tokens of the whole axis anyway. So
    `axis` is not to be averaged over again; other axes that split the tokens, such as "dp", are. There is no loss for
    balance. Sources: Shazeer et al. 2017; Lepikhin et al. 2020, "GShard"; Fedus et al. 2022, "Switch Transformers".

    Examples
    --------
    >>> layer = MixtureOfExperts(mesh, weights, top_k=2, capacity_factor=1.25, axis="ep")
    >>> y, saved = layer.forward(mesh.put(x, P("ep"), pad=True))
    >>> psum(saved.routing.dropped, "ep").gather()
    """

    def __init__(
        self,
        mesh: Mesh,
        weights: Mapping[str, Any],
        *,
        top_k: int = 2,
        capacity_factor: float | None = None,
        normalize: bool = True,
        axis: Axis = "ep",
    ) -> None:
        check_mesh(mesh, Mesh)
        arrays = check.expert_weights(weights)
        self.axis = axis_names(axis, mesh.axes)
        self.mesh = mesh
        self.num_experts = arrays["router_weight"].shape[1]
        self.top_k = check.top_k(top_k, self.num_experts)
        check.capacity(capacity_factor, top_k, 1, self.num_experts)
        self.capacity_factor = capacity_factor
        self.normalize = flag(normalize, "normalize")
        self.params = {
            name: mesh.put(array, P() if name == "router_weight" else P(entry_of(self.axis)), pad=True)
            for name, array in arrays.items()
        }

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, SavedExperts]:
        """The sum of the experts' answers, laid out as x.

        Parameters
        ----------
        x : (..., D), dtype of the weights; its tokens are split over `axis`, and maybe others. Only its first axis may
            be padded.

        Raises
        ------
        ValueError, TypeError : shape, dtype, mesh or partition of x is wrong
        """
        check.tokens(x, self.params["router_weight"], self.axis)
        logits = self.mesh.empty((*x.shape[:-1], self.num_experts), x.dtype, x.spec, pad=True)
        matmul(x, self.params["router_weight"], logits)
        routing = route_tokens(logits, self.top_k, capacity_factor=self.capacity_factor, normalize=self.normalize)
        inputs = dispatch_tokens(x, routing, axis=self.axis)
        hidden = self._linear(inputs, "up")
        answers = self._linear(activated(hidden), "down")
        y, returned = combine_tokens(answers, routing, axis=self.axis)
        return y, SavedExperts(x, logits, routing, inputs, hidden, returned)

    def backward(self, saved: SavedExperts, grad_y: ShardedArray) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        """Gradient by x, and those of `params` by name, whole along `axis`."""
        check.gradient_of_tokens(grad_y, saved.x)
        grads = {name: param.empty_like() for name, param in self.params.items()}
        grad, grad_weights = combine_tokens_backward(saved.returned, saved.routing, grad_y, axis=self.axis)
        grad = self._linear_backward(activated(saved.hidden), "down", grad, grads)
        gelu_backward(saved.hidden, grad)
        grad = self._linear_backward(saved.inputs, "up", grad, grads)

        grad_logits = route_tokens_backward(saved.logits, saved.routing, grad_weights)
        matmul_tn(saved.x, grad_logits, grads["router_weight"])
        grads["router_weight"] = psum(grads["router_weight"], self.axis)
        grad_x = saved.x.empty_like()
        matmul_nt(grad_logits, self.params["router_weight"], grad_x)
        dispatch_tokens_backward(grad, saved.routing, grad_x, axis=self.axis)
        return grad_x, grads

    def _linear(self, x: ShardedArray, name: str) -> ShardedArray:
        weight, bias = self.params[f"{name}_weight"], self.params[f"{name}_bias"]
        out = self.mesh.empty((*x.shape[:-1], weight.shape[-1]), x.dtype, x.spec, pad=True)
        _linear(x, weight, bias, out)
        return out

    def _linear_backward(
        self, x: ShardedArray, name: str, grad: ShardedArray, grads: dict[str, ShardedArray]
    ) -> ShardedArray:
        grad_x = x.empty_like()
        _linear_backward(x, self.params[f"{name}_weight"], grad, grad_x, grads[f"{name}_weight"], grads[f"{name}_bias"])
        return grad_x
