"""Argument checks of rotary position embeddings; see `validate` for the form of checks and messages."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core import validate

# rope_type -> keys it needs, keys it may have, named as in Hugging Face's `rope_parameters`.
_LLAMA3 = ("factor", "high_freq_factor", "low_freq_factor", "original_max_position_embeddings")
_YARN = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "llama3": (_LLAMA3, ()),
    "yarn": (("factor", "original_max_position_embeddings"), _YARN),
}
# Not options of the scaling, but found beside them in a model's configuration.
_NAMES, _BASE = ("rope_type", "type"), "rope_theta"

Scaling = tuple[tuple[str, Any], ...]


def rotary_base(x: Any) -> float:
    value = validate.finite_float(x, "base")
    if value <= 1.0:
        raise ValueError(f"base must be above 1. Got {value}.")
    return value


def rotary_dim(x: Any) -> int | None:
    """The number of rotated elements, or None for all of a head."""
    if x is None:
        return None
    value = validate.positive_index(x, "rotary_dim")
    if value % 2:
        raise ValueError(f"rotary_dim must be even: elements are rotated in pairs. Got {value}.")
    return value


def rotary_scaling(x: Any, base: float) -> Scaling | None:
    """`scaling` as sorted pairs, which can be hashed and compared; None where nothing is scaled.

    Takes None, a factor, a mapping with Hugging Face's keys, or such pairs.
    """
    if x is None:
        return None
    options = _scaling_options(x)
    kind = validate.choice(options.pop("rope_type", "default"), "scaling['rope_type']", tuple(_KEYS))
    theta = options.pop(_BASE, None)
    if theta is not None and validate.finite_float(theta, "scaling['rope_theta']") != base:
        raise ValueError(f"scaling['rope_theta'] must equal base. Got {theta}, base {base}. Pass base={theta}.")
    required, optional = _KEYS[kind]
    missing = [key for key in required if options.get(key) is None]
    unknown = [key for key in options if key not in (*required, *optional)]
    if missing or unknown:
        rule = f"scaling of rope_type {kind!r} takes {list(required)}"
        rule += f" and may have {list(optional)}" if optional else ""
        got = f"missing {missing}" if missing else f"unknown {sorted(map(str, unknown))}"
        fix = " Pass rotary_dim=... instead." if "partial_rotary_factor" in unknown else ""
        raise ValueError(f"{rule}. Got {got}.{fix}")
    values = {key: _scaling_value(key, value) for key, value in options.items() if value is not None}
    _scaling_order(values)
    return None if kind == "default" else tuple(sorted({**values, "rope_type": kind}.items()))


def _scaling_options(x: Any) -> dict[Any, Any]:
    """A new dict with the kind under rope_type, which older configurations call type."""
    if isinstance(x, tuple | list) and all(_is_pair(each) for each in x):
        x = dict(x)  # what a Rotary keeps, also when it comes back from JSON
    if not isinstance(x, Mapping):
        return {"rope_type": "linear", "factor": validate.positive_float(x, "scaling")}
    options = dict(x)
    kinds = [options.pop(name) for name in _NAMES if name in options]
    return {**options, "rope_type": kinds[0]} if kinds else options


def _is_pair(x: Any) -> bool:
    return isinstance(x, tuple | list) and len(x) == 2 and isinstance(x[0], str)


def _scaling_value(key: str, value: Any) -> Any:
    name = f"scaling[{key!r}]"
    if key == "truncate":
        return validate.flag(value, name)
    number = validate.finite_float(value, name)
    if number <= 0.0:
        raise ValueError(f"{name} must be positive. Got {number}.")
    return number


def _scaling_order(values: Mapping[str, Any]) -> None:
    """Bounds of a ramp between two kinds of frequencies must differ, in the right order."""
    for low, low_default, high, high_default in (
        ("low_freq_factor", None, "high_freq_factor", None),
        ("beta_slow", 1.0, "beta_fast", 32.0),
    ):
        lower, upper = values.get(low, low_default), values.get(high, high_default)
        if lower is not None and upper is not None and lower >= upper:
            raise ValueError(f"scaling[{high!r}] must be above scaling[{low!r}]. Got {upper} and {lower}.")


def rotated_size(x: np.ndarray, rotary_dim: int | None) -> int:
    """How many elements of the last axis are rotated."""
    if x.ndim < 2:
        raise ValueError(f"x must have axes (..., T, D), two at least. Got shape {x.shape}.")
    size = x.shape[-1]
    if rotary_dim is None and size % 2:
        raise ValueError(f"The last axis of x must be even, or rotary_dim given. Got x {x.shape}.")
    if rotary_dim is not None and rotary_dim > size:
        raise ValueError(f"rotary_dim must be at most the last axis of x. Got {rotary_dim}, x {x.shape}.")
    return size if rotary_dim is None else rotary_dim


def rotary_positions(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Positions as aligned int64 or as float64, all finite, that broadcast to `shape`, (..., T) without heads."""
    array = validate.as_native_array(x, "positions")
    if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" or validate.is_float_type(array.dtype)):
        raise TypeError(f"positions must hold integers or real numbers. Got {array.dtype}.")
    stretches = all(n in (1, m) for n, m in zip(array.shape[::-1], shape[::-1]))
    if array.ndim > len(shape) or not stretches:
        raise ValueError(
            f"positions must broadcast to {shape}, the axes of x without heads and last axis. Got {array.shape}."
        )
    if array.dtype.kind in "iu" and (array.dtype != np.uint64 or not (array >> np.uint64(63)).any()):
        return np.require(array, np.int64, ["A"])
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(array)
    if not finite.all():
        raise ValueError(f"positions must be finite. Got {array[~finite][0]}.")
    return array
