"""What layers have in common: parameters by name, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from fastcore._core import validate_sharding_block as check
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.spec import P

__all__ = ["JoinedParams", "Layer", "Recomputed", "Sequential", "joined", "matrix_of"]


class Layer:
    """A differentiable function of blocks, with parameters; base of all layers.

    Attributes
    ----------
    mesh : Mesh
    params : mapping, name → ShardedArray. Assigning ``params[name] = array`` replaces a parameter, also in a layer made
        of others, where names have dots: "attention.query_weight".

    Notes
    -----
    ``forward(x)`` answers (y, saved). ``backward(saved, grad_y)`` answers (grad_x, grads), grads by the names of
    `params`, and may use `saved` up: call it once. Gradients are whole along the axis that splits the layer, and not
    yet added up over "dp": see `data_parallel`. Every process calls all layers alike, whatever devices it has.
    """

    mesh: Mesh
    params: MutableMapping[str, ShardedArray]

    def forward(self, x: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def backward(self, saved: Any, grad_y: Any) -> tuple[Any, dict[str, ShardedArray]]:
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        """The result of `forward`; nothing is kept for a backward pass."""
        return self.forward(x)[0]


class JoinedParams(MutableMapping[str, ShardedArray]):
    """Parameters of several layers, "part.name"; reads and writes those of the layers."""

    def __init__(self, parts: Mapping[str, Layer]) -> None:
        self._parts = parts

    def _place(self, name: str) -> tuple[MutableMapping[str, ShardedArray], str]:
        part, _, rest = name.partition(".")
        if part not in self._parts or rest not in self._parts[part].params:
            raise KeyError(name)
        return self._parts[part].params, rest

    def __getitem__(self, name: str) -> ShardedArray:
        params, rest = self._place(name)
        return params[rest]

    def __setitem__(self, name: str, value: ShardedArray) -> None:
        params, rest = self._place(name)
        params[rest] = value

    def __delitem__(self, name: str) -> None:
        params, rest = self._place(name)
        del params[rest]

    def __iter__(self) -> Iterator[str]:
        return (f"{part}.{name}" for part, layer in self._parts.items() for name in layer.params)

    def __len__(self) -> int:
        return sum(len(layer.params) for layer in self._parts.values())


def joined(grads: Mapping[str, Mapping[str, ShardedArray]]) -> dict[str, ShardedArray]:
    """Gradients of several layers under the names of `JoinedParams`."""
    return {f"{part}.{name}": grad for part, named in grads.items() for name, grad in named.items()}


class Sequential(Layer):
    """Layers one after another, such as the blocks of a stage. Parameters are named "0.weight", "1.weight", …

    Parameters
    ----------
    *layers : Layer, at least one, on the same mesh

    Raises
    ------
    TypeError : an argument is no Layer
    ValueError : no layers, or on different meshes
    """

    def __init__(self, *layers: Layer) -> None:
        check.layers(layers, Layer)
        self.layers = layers
        self.mesh = layers[0].mesh
        self.params = JoinedParams({str(place): layer for place, layer in enumerate(layers)})

    def forward(self, x: Any) -> tuple[Any, list[Any]]:
        """Through all layers; see `Layer`."""
        saved = []
        for layer in self.layers:
            x, kept = layer.forward(x)
            saved.append(kept)
        return x, saved

    def backward(self, saved: list[Any], grad_y: Any) -> tuple[Any, dict[str, ShardedArray]]:
        """Back through all layers; what each has saved is dropped when it is done."""
        grads = {}
        for place in reversed(range(len(self.layers))):
            grad_y, grads[str(place)] = self.layers[place].backward(saved.pop(), grad_y)
        return grad_y, joined(grads)


class Recomputed(Layer):
    """A layer that keeps nothing but its input, and runs forward a second time when it goes backward.

    Parameters
    ----------
    layer : Layer

    Notes
    -----
    The same gradients bit for bit. Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", sec. 4.
    """

    def __init__(self, layer: Layer) -> None:
        check.layers((layer,), Layer)
        self.layer, self.mesh, self.params = layer, layer.mesh, layer.params

    def forward(self, x: Any) -> tuple[Any, list[Any]]:
        """See `Layer`."""
        return self.layer.forward(x)[0], [x]

    def backward(self, saved: list[Any], grad_y: Any) -> tuple[Any, dict[str, ShardedArray]]:
        """See `Layer`."""
        return self.layer.backward(self.layer.forward(saved.pop())[1], grad_y)


def matrix_of(x: ShardedArray, rows: int) -> ShardedArray:
    """The block of each device as a matrix, its first `rows` axes joined and the others joined: the same memory.

    For kernels, which are compiled once for matrices instead of once for each number of axes.
    """
    block = math.prod(x.block_shape[:rows]), math.prod(x.block_shape[rows:])
    view = object.__new__(ShardedArray)  # past __init__: the ledger has entered this memory already
    view.mesh, view.spec, view.dtype = x.mesh, P(), x.dtype
    view.shape = view.block_shape = block
    view.local = None if x.local is None else x.local.reshape(x.mesh.n_local, *block)
    return view
