"""Checks of sharded optimisers, and the messages they raise."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fastcore._core.validate import index, kind_of, not_negative_float, shown
from fastcore._core.validate_sharding import axis_names, sharded


def not_negative(**numbers: Any) -> None:
    for name, number in numbers.items():
        not_negative_float(number, name)


def update_rule(x: Any, kind: type) -> None:
    if not isinstance(x, kind):
        fix = " Write AdamW(), with parentheses." if isinstance(x, type) and issubclass(x, kind) else ""
        raise TypeError(f"rule must be an Adam, AdamW or SGD, e.g. AdamW(lr=1e-3). Got {kind_of(x)}.{fix}")


def stage(x: Any) -> int:
    number = index(x, "stage")
    if number not in (1, 2, 3):
        raise ValueError(
            f"stage must be 1 (the state is partitioned), 2 (gradients, too) or 3 (parameters, too). Got {number}."
        )
    return number


def parameters(x: Any, axis: Any) -> dict[str, Any]:
    """Name → sharded array of floats, each on a mesh with the axis."""
    if not isinstance(x, Mapping):
        raise TypeError(f"params must map names to sharded arrays, as layer.params does. Got {kind_of(x)}.")
    for name, each in x.items():
        sharded(each, f"params[{name!r}]")
        axis_names(axis, each.mesh.axes)
        if not _is_float(each.dtype):
            raise TypeError(f"params[{name!r}] must be of a float dtype. Got {each.dtype}.")
        if not each.ndim:
            raise ValueError(f"params[{name!r}] must have at least one axis. Got shape (). Give it shape (1,).")
    return dict(x)


def gradients(x: Any, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name → gradient, laid out as the parameter of this name."""
    if not isinstance(x, Mapping):
        raise TypeError(f"grads must map names of parameters to sharded arrays. Got {kind_of(x)}.")
    for name, each in x.items():
        _known(name, params, "grads")
        sharded(each, f"grads[{name!r}]")
        param = params[name]
        if (each.shape, each.block_shape, each.mesh.axes) != (param.shape, param.block_shape, param.mesh.axes):
            raise ValueError(
                f"grads[{name!r}] must be laid out as its parameter: shape {param.shape} in blocks of"
                f" {param.block_shape}. Got shape {each.shape} in blocks of {each.block_shape}."
            )
        if not _is_float(each.dtype):
            raise TypeError(f"grads[{name!r}] must be of a float dtype. Got {each.dtype}.")
    return x


def all_gradients(names: Collection[str], params: Mapping[str, Any]) -> None:
    missing = [name for name in params if name not in names]
    if missing:
        raise ValueError(
            f"step needs a gradient of each parameter; accumulate() takes them. Missing: {', '.join(missing[:10])}."
        )


def known_parameters(names: Collection[Any], params: Mapping[str, Any]) -> None:
    for name in names:
        _known(name, params, "names")


def _known(name: Any, params: Mapping[str, Any], what: str) -> None:
    if name not in params:
        shown_names = ", ".join(map(repr, list(params)[:10])) or "none"
        raise ValueError(f"{what} must be names of parameters: {shown_names}. Got {shown(name)}.")


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"
