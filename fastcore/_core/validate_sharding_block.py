"""Checks of layers and losses on blocks, and the messages they raise."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core.validate import kind_of
from fastcore._core.validate_sharding import array_dtype, axis_names, same_mesh, sharded


def layers(given: Sequence[Any], kind: Any) -> None:
    """At least one layer, all on one mesh."""
    if not given:
        raise ValueError("Sequential needs at least one layer. Got none.")
    for place, layer in enumerate(given):
        if not isinstance(layer, kind):
            raise TypeError(f"Layer {place} must be a Layer, with forward and backward. Got {kind_of(layer)}.")
        if not same_mesh(layer.mesh, given[0].mesh):
            raise ValueError(
                f"All layers must be on one mesh. Got {given[0].mesh!r} and, of layer {place}, {layer.mesh!r}."
            )


def float_weights(weights: Any, required: Sequence[str], optional: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays by name: all that are required, none that is unknown, one of float32 and float64."""
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map names to arrays. Got {kind_of(weights)}.")
    known = (*required, *optional)
    for name in weights:
        if name not in known:
            raise ValueError(f"{name!r} is not a weight of this layer, which has {', '.join(known)}.")
    for name in required:
        if name not in weights:
            raise ValueError(f"weights must hold {name!r}. Got {', '.join(weights) or 'none'}.")
    arrays = {name: validate.as_native_array(weights[name], name) for name in known if name in weights}
    dtype = validate.same_dtype(arrays)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"weights must be float32 or float64. Got {dtype}.")
    return arrays


def layer_dtype(dtype: Any) -> np.dtype:
    found = array_dtype(dtype)
    if found not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64. Got {found}.")
    return found


def weight_shapes(weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, array in weights.items():
        if array.shape != shapes[name]:
            raise ValueError(f"{name} must have the shape {shapes[name]}. Got {array.shape}.")


def matrix(array: np.ndarray, name: str) -> None:
    if array.ndim != 2:
        raise ValueError(f"{name} must be a matrix, (in, out). Got {array.shape}.")


def head_counts(columns: int, num_heads: Any, num_kv_heads: Any) -> tuple[int, int]:
    """Heads and key/value heads that divide the columns of query_weight, and each other."""
    heads = validate.positive_index(num_heads, "num_heads")
    groups = heads if num_kv_heads is None else validate.positive_index(num_kv_heads, "num_kv_heads")
    if columns % heads:
        raise ValueError(f"The columns of query_weight must be a multiple of num_heads. Got {columns} and {heads}.")
    if heads % groups:
        raise ValueError(f"num_heads must be a multiple of num_kv_heads. Got {heads} and {groups}.")
    return heads, groups


def activations(x: Any, name: str, layer: Any, features: int) -> None:
    """Blocks (B, L, E) of the layer's mesh and dtype, whole along E and along the axes that split the layer."""
    sharded(x, name)
    if not same_mesh(x.mesh, layer.mesh):
        raise ValueError(f"{name} must be on the mesh of the layer, {layer.mesh!r}. Got {x.mesh!r}.")
    if x.ndim != 3 or x.shape[2] != features:
        raise ValueError(f"{name} must have the shape (B, L, {features}). Got {x.shape}.")
    if x.dtype != layer.dtype:
        raise TypeError(f"{name} must be {layer.dtype} as the weights. Got {x.dtype}.")
    if x.spec.names(2) or set(x.spec.used()) & set(layer.axes):
        copied = f", and copied over {layer.axes}, which split the layer" if layer.axes else ""
        raise ValueError(f"{name} must be whole along its last axis{copied}. Got {x.spec!r}.")


def sequences(x: Any, axes: tuple[str, ...]) -> None:
    if x.spec.names(1) != axes:
        rule = f"split over {axes}" if axes else "whole"
        raise ValueError(
            f"x must be {rule} along its second axis, the tokens. Got {x.spec!r}. sequence_axis= of the layer says over"
            " which axes of the mesh they are split."
        )


def gradient(grad_y: Any, shape: tuple[int, ...], spec: Any) -> None:
    """The gradient of a result: its shape, split alike."""
    sharded(grad_y, "grad_y")
    if grad_y.shape != shape:
        raise ValueError(f"grad_y must have the shape of the result, {shape}. Got {grad_y.shape}.")
    if any(grad_y.spec.names(i) != spec.names(i) for i in range(len(shape))):
        raise ValueError(f"grad_y must be split as the result, {spec!r}. Got {grad_y.spec!r}.")


def vector(array: np.ndarray, name: str) -> tuple[int, ...]:
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must have one axis of at least one element. Got {array.shape}.")
    return array.shape


def weights_of_parts(weights: Any, parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Weights named "part.name", by part."""
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map names to arrays. Got {kind_of(weights)}.")
    found: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for name, array in weights.items():
        part, _, rest = str(name).partition(".")
        if part not in found or not rest:
            raise ValueError(
                f"Names of weights must begin with {', '.join(part + '.' for part in parts)}. Got {name!r}."
            )
        found[part][rest] = array
    return found


def same_features(layers: Mapping[str, Any]) -> None:
    """All layers have one E and one dtype."""
    (first, model), *others = layers.items()
    for name, layer in others:
        if layer.embed_dim != model.embed_dim:
            raise ValueError(
                f"All layers must have as many features as {first}, {model.embed_dim}. Got {layer.embed_dim} in {name}."
            )
        if layer.dtype != model.dtype:
            raise TypeError(
                f"All layers must have the dtype of {first}. Got {model.dtype} and, in {name}, {layer.dtype}."
            )


# --- vocabulary and losses ------------------------------------------------------------------------------------------


def same_columns(arrays: Mapping[str, np.ndarray]) -> None:
    (first, model), *others = arrays.items()
    for name, array in others:
        if array.shape[1] != model.shape[1]:
            raise ValueError(
                f"{name} must have as many columns as {first}. Got {name} {array.shape}, {first} {model.shape}."
            )


def tokens(x: Any, name: str, mesh: Any, axes: tuple[str, ...]) -> None:
    sharded(x, name)
    if not same_mesh(x.mesh, mesh):
        raise ValueError(f"{name} must be on the mesh of the layer, {mesh!r}. Got {x.mesh!r}.")
    if x.ndim != 2:
        raise ValueError(f"{name} must have the shape (B, L). Got {x.shape}.")
    if x.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, the numbers of tokens. Got {x.dtype}.")
    if set(x.spec.used()) & set(axes):
        raise ValueError(f"{name} must be copied over {axes}, which split the vocabulary. Got {x.spec!r}.")


def positions(x: Any, rows: int) -> None:
    if x.spec.names(1) or x.shape[1] > rows:
        raise ValueError(
            f"With position_weight, sequences must be whole and of at most {rows} tokens. Got {x.shape}, {x.spec!r}."
        )


def logits_and_targets(logits: Any, targets: Any, axes: tuple[str, ...]) -> None:
    if logits.ndim != 3:
        raise ValueError(f"logits must have the shape (B, L, V). Got {logits.shape}.")
    if logits.dtype not in (np.float32, np.float64):
        raise TypeError(f"logits must be float32 or float64. Got {logits.dtype}.")
    if logits.spec.names(2) != axes:
        raise ValueError(f"The last axis of logits must be split over {axes}. Got {logits.spec!r}.")
    tokens(targets, "targets", logits.mesh, axes)
    if targets.shape != logits.shape[:2] or any(targets.spec.names(i) != logits.spec.names(i) for i in (0, 1)):
        raise ValueError(f"targets must have the axes B and L of logits, split alike. Got {targets!r} for {logits!r}.")
    whole_tokens(logits)


def whole_tokens(x: Any) -> None:
    parts = x.block_shape[1] and -(-x.shape[1] // x.block_shape[1])
    if x.spec.names(1) and parts * x.block_shape[1] != x.shape[1]:
        raise ValueError(f"Where the tokens are split over devices, they must divide. Got {x!r}.")


def same_blocks(x: Any, other: Any, name: str) -> None:
    """Two arrays of floats of one shape, split alike, whose last axis is whole; only the first may be padded."""
    sharded(other, name)
    if not same_mesh(x.mesh, other.mesh):
        raise ValueError(f"{name} must be on the same mesh. Got {x.mesh!r} and {other.mesh!r}.")
    if x.shape != other.shape or any(x.spec.names(i) != other.spec.names(i) for i in range(x.ndim)):
        raise ValueError(f"{name} must have the same shape and partition. Got {x!r} and {other!r}.")
    if x.dtype != other.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError(f"Both must be float32 or both float64. Got {x.dtype} and, for {name}, {other.dtype}.")
    padded = any(x.block_shape[i] * _parts(x, i) != x.shape[i] for i in range(1, x.ndim))
    if x.ndim < 2 or x.spec.names(x.ndim - 1) or padded:
        raise ValueError(f"y must have rows and a whole last axis, and only rows may be padded. Got {x!r}.")


def _parts(x: Any, axis: int) -> int:
    return int(np.prod([x.mesh.axes[name] for name in x.spec.names(axis)], dtype=np.int64))


def count_of_elements(count: Any) -> float:
    return validate.positive_float(count, "count")


# --- data-parallel steps --------------------------------------------------------------------------------------------


def callable_step(step: Any) -> None:
    if not callable(step):
        raise TypeError(f"step must be a function that answers (loss, grads). Got {kind_of(step)}.")


def rows_of_batch(batch: Any, axis: Any) -> tuple[int, int]:
    """Rows of a device and of the whole batch, which must be split over `axis`."""
    if batch is None:
        raise TypeError("The step needs a ShardedArray among its arguments: the batch. Got none.")
    names = axis_names(axis, batch.mesh.axes)
    if not batch.ndim or batch.spec.names(0) != names:
        raise ValueError(
            f"The first axis of the batch must be split over {names}, so that each device has rows of its own."
            f" Got {batch.spec!r}."
        )
    return batch.block_shape[0], batch.shape[0]


def step_results(results: Any) -> tuple[Any, Any]:
    """(loss, grads) as a step must answer."""
    if not isinstance(results, tuple) or len(results) != 2:
        raise TypeError(f"step must answer (loss, grads). Got {kind_of(results)}.")
    loss, grads = results
    if not hasattr(loss, "block_shape") or loss.shape != () or loss.dtype.kind != "f":
        raise TypeError(f"The loss must be a ShardedArray of shape () and floats. Got {loss!r}.")
    parts = [grads] if isinstance(grads, Mapping) else grads
    if not isinstance(parts, list | tuple) or not all(isinstance(each, Mapping) for each in parts):
        raise TypeError(f"grads must map names to arrays, or be a list of such. Got {kind_of(grads)}.")
    for named in parts:
        for name, gradient in named.items():
            sharded(gradient, f"The gradient {name!r}")
    return loss, grads
