"""NumPy's elementwise functions on traced values, by the names of its ufuncs."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastcore._core import validate_autodiff as check
from fastcore.autodiff.kernels.operations import OPERATIONS
from fastcore.autodiff.node import Node, apply

__all__ = ["call_function", "call_ufunc"]

_DEGREE = math.pi / 180.0


def _logaddexp(a: Any, b: Any) -> Node:
    """As NumPy's: the larger one plus log1p(exp(-distance)); equal infinities have no distance."""
    same = apply("equal", a, b)
    distance = apply("absolute", apply("subtract", a, b))
    rest = apply("log1p", apply("exp", -distance))
    middle = a * 0.5 + b * 0.5
    return apply("where", same, middle + math.log(2.0), apply("maximum", a, b) + rest)


def _other_if_nan(operation: str, a: Any, b: Any) -> Any:
    for number, other in ((a, b), (b, a)):
        if not isinstance(number, Node) and np.all(np.isnan(number)):
            return other
    larger = apply(operation, a, b)
    without_a = apply("where", apply("not_equal", a, a), b, larger) if isinstance(a, Node) else larger
    return apply("where", apply("not_equal", b, b), a, without_a) if isinstance(b, Node) else without_a


# Ufuncs that are made of others; the rest of what is supported has its own operation.
_COMPOSED: dict[str, Callable[..., Any]] = {
    "positive": lambda x: x,
    "conjugate": lambda x: x,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1.0 / x,
    "fabs": lambda x: apply("absolute", x),
    "float_power": lambda x, y: apply("power", x, y),
    "deg2rad": lambda x: x * _DEGREE,
    "radians": lambda x: x * _DEGREE,
    "rad2deg": lambda x: x / _DEGREE,
    "degrees": lambda x: x / _DEGREE,
    "isnan": lambda x: apply("not_equal", x, x),
    "isfinite": lambda x: apply("equal", x - x, 0.0),
    "isinf": lambda x: apply("equal", apply("absolute", x), math.inf),
    "fmax": lambda x, y: _other_if_nan("maximum", x, y),
    "fmin": lambda x, y: _other_if_nan("minimum", x, y),
    "bitwise_and": lambda x, y: apply("logical_and", x, y),
    "bitwise_or": lambda x, y: apply("logical_or", x, y),
    "bitwise_xor": lambda x, y: apply("logical_xor", x, y),
    "invert": lambda x: apply("logical_not", x),
    "expit": lambda x: apply("sigmoid", x),  # scipy.special's
    "logaddexp": _logaddexp,
}
_INTERNAL = {"where", "sigmoid", "sincos"}
UFUNCS = sorted((set(OPERATIONS) - _INTERNAL) | set(_COMPOSED))


def call_ufunc(ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What `Node.__array_ufunc__` answers."""
    name = ufunc.__name__
    if method != "__call__":
        check.refuse_array(f"numpy.{name}.{method}")
    if options:
        check.refuse_ufunc_options(name, list(options))
    if name in _COMPOSED:
        return _COMPOSED[name](*inputs)
    if name not in OPERATIONS or name in _INTERNAL:
        check.refuse_function(name, UFUNCS + sorted(_FUNCTIONS))
    return apply(name, *inputs)


def _where(condition: Any, *values: Any) -> Any:
    if len(values) != 2:
        check.refuse_array("numpy.where of a condition alone")
    if isinstance(condition, bool | np.bool_):
        return values[0] if condition else values[1]
    if not isinstance(condition, Node):
        check.refuse_constant(condition)
    return apply("where", condition, *values)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is not None:
        a = apply("maximum", a, low)
    return a if high is None else apply("minimum", a, high)


def _select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0.0) -> Any:
    check.number_of_arrays(len(choicelist), len(condlist), "choicelist of numpy.select")
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        result = _where(condition, choice, result)
    return result


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "clip": _clip,
    "ones_like": lambda a: 1.0,
    "select": _select,
    "where": _where,
    "zeros_like": lambda a: 0.0,
}


def call_function(function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What `Node.__array_function__` answers."""
    name = function.__name__
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](*args, **kwargs)
    check.refuse_array(f"numpy.{name}")
