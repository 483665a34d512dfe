"""Derivatives by dual numbers: a value carries its derivative along, forwards, where the public functions go backwards.

`Dual(a, b)` stands for a + b*e with e**2 = 0. Parts may be duals themselves, which gives second derivatives.
Source: Griewank and Walther 2008, "Evaluating Derivatives", section 3.1.
"""

import inspect
import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_LN2, _LN10, _DEGREE = math.log(2.0), math.log(10.0), math.pi / 180.0
# d f(a) = SLOPES[f](a, f(a)) * d a
_SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "negative": lambda a, out: -1.0,
    "positive": lambda a, out: 1.0,
    "square": lambda a, out: 2.0 * a,
    "reciprocal": lambda a, out: -(out * out),
    "sqrt": lambda a, out: 0.5 / out,
    "cbrt": lambda a, out: 1.0 / (3.0 * (out * out)),
    "exp": lambda a, out: out,
    "exp2": lambda a, out: out * _LN2,
    "expm1": lambda a, out: out + 1.0,
    "log": lambda a, out: 1.0 / a,
    "log2": lambda a, out: 1.0 / (a * _LN2),
    "log10": lambda a, out: 1.0 / (a * _LN10),
    "log1p": lambda a, out: 1.0 / (a + 1.0),
    "sin": lambda a, out: np.cos(a),
    "cos": lambda a, out: -np.sin(a),
    "tan": lambda a, out: out * out + 1.0,
    "arcsin": lambda a, out: 1.0 / np.sqrt((1.0 - a) * (1.0 + a)),
    "arccos": lambda a, out: -1.0 / np.sqrt((1.0 - a) * (1.0 + a)),
    "arctan": lambda a, out: 1.0 / (a * a + 1.0),
    "sinh": lambda a, out: np.cosh(a),
    "cosh": lambda a, out: np.sinh(a),
    "tanh": lambda a, out: (1.0 - out) * (1.0 + out),
    "arcsinh": lambda a, out: 1.0 / np.hypot(a, 1.0),
    "arccosh": lambda a, out: 1.0 / np.sqrt((a - 1.0) * (a + 1.0)),
    "arctanh": lambda a, out: 1.0 / ((1.0 - a) * (1.0 + a)),
    "absolute": lambda a, out: np.sign(a),
    "fabs": lambda a, out: np.sign(a),
    "conjugate": lambda a, out: 1.0,
    "deg2rad": lambda a, out: _DEGREE,
    "radians": lambda a, out: _DEGREE,
    "rad2deg": lambda a, out: 1.0 / _DEGREE,
    "degrees": lambda a, out: 1.0 / _DEGREE,
    "sign": lambda a, out: 0.0,
    "floor": lambda a, out: 0.0,
    "ceil": lambda a, out: 0.0,
    "trunc": lambda a, out: 0.0,
    "rint": lambda a, out: 0.0,
}
_COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}


class Dual(np.lib.mixins.NDArrayOperatorsMixin):
    """A value and its derivative: arrays, or duals."""

    def __init__(self, value: Any, slope: Any) -> None:
        self.value, self.slope = value, slope

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        values, slopes = [_value(x) for x in inputs], [_slope(x) for x in inputs]
        name = ufunc.__name__
        if name in _COMPARISONS:
            return ufunc(*(_plain(x) for x in inputs))
        if name in ("maximum", "minimum"):
            return _extremum(ufunc, values, slopes)
        out = ufunc(*values)
        if name in _SLOPES:
            return Dual(out, _SLOPES[name](values[0], out) * slopes[0])
        return Dual(out, _TWO_OPERANDS[name](values, slopes, out))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where:
            condition, a, b = args
            return Dual(np.where(condition, _value(a), _value(b)), np.where(condition, _slope(a), _slope(b)))
        assert function is np.clip
        a, low, high = args
        return np.minimum(np.maximum(a, low), high)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Dual) else x


def _slope(x: Any) -> Any:
    return x.slope if isinstance(x, Dual) else 0.0


def _plain(x: Any) -> Any:
    while isinstance(x, Dual):
        x = x.value
    return x


def _extremum(ufunc: np.ufunc, values: Sequence[Any], slopes: Sequence[Any]) -> Dual:
    """Equal ones share the derivative; NaN has none."""
    a, b = (_plain(x) for x in values)
    wins = a > b if ufunc is np.maximum else a < b
    loses = a < b if ufunc is np.maximum else a > b
    halves = np.where(a == b, 0.5 * slopes[0] + 0.5 * slopes[1], 0.0)
    return Dual(ufunc(*values), np.where(wins, slopes[0], np.where(loses, slopes[1], halves)))


def _power(values: Sequence[Any], slopes: Sequence[Any], out: Any) -> Any:
    (a, b), (da, db) = values, slopes
    to_base = np.where((_plain(b) == 0.0) & (_plain(a) == 0.0), 0.0, b * np.power(a, b - 1.0))
    slope = to_base * da
    if not isinstance(db, float) or db != 0.0:
        slope = slope + out * np.log(np.where(_plain(a) == 0.0, 1.0, a)) * db
    return slope


_TWO_OPERANDS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda v, s, out: s[0] + s[1],
    "subtract": lambda v, s, out: s[0] - s[1],
    "multiply": lambda v, s, out: s[0] * v[1] + v[0] * s[1],
    "divide": lambda v, s, out: (s[0] - out * s[1]) / v[1],
    "power": _power,
    "float_power": _power,
    "logaddexp": lambda v, s, out: np.exp(v[0] - out) * s[0] + np.exp(v[1] - out) * s[1],
    "hypot": lambda v, s, out: v[0] / out * s[0] + v[1] / out * s[1],
    "arctan2": lambda v, s, out: (v[1] / np.hypot(*v) * s[0] - v[0] / np.hypot(*v) * s[1]) / np.hypot(*v),
}


def _names(fn: Callable[..., Any], count: int) -> list[str]:
    return list(inspect.signature(fn).parameters)[:count]


def _partials(fn: Callable[..., Any], values: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The value and all partials; each needs a pass of its own."""
    results = [
        fn(*(Dual(x, 1.0 if i == wanted else 0.0) for i, x in enumerate(values))) for wanted in range(len(values))
    ]
    return _value(results[0]), [_slope(result) for result in results]


def _arrays(args: Sequence[Any]) -> list[np.ndarray]:
    arrays = [np.asarray(x) for x in args]
    dtype = np.result_type(*(x.dtype if x.dtype.kind == "f" else np.float64 for x in arrays))
    return list(np.broadcast_arrays(*(x.astype(dtype) for x in arrays)))


def _like(result: Any, array: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(result, array.dtype), array.shape).copy()


def _packed(fn: Callable[..., Any], argnums: Any, results: Sequence[Any]) -> Any:
    if isinstance(argnums, int) or (argnums is None and len(results) == 1):
        return results[argnums or 0]
    if argnums is not None:
        return tuple(results[i] for i in argnums)
    return namedtuple("Partials", _names(fn, len(results)))(*results)


def value_and_grad(fn: Callable[..., Any], argnums: Any = None) -> Callable[..., Any]:
    """Twin of `fastcore.autodiff.value_and_grad`, of arguments by position."""

    def both(*args: Any) -> tuple[Any, Any]:
        arrays = _arrays(args)
        with np.errstate(all="ignore"):
            value, partials = _partials(fn, arrays)
        return _like(value, arrays[0]), _packed(fn, argnums, [_like(each, arrays[0]) for each in partials])

    return both


def grad(fn: Callable[..., Any], argnums: Any = None) -> Callable[..., Any]:
    """Twin of `fastcore.autodiff.grad`."""
    return lambda *args: value_and_grad(fn, argnums)(*args)[1]


def hessian(fn: Callable[..., Any], argnums: Any = None) -> Callable[..., Any]:
    """Twin of `fastcore.autodiff.hessian`: duals of duals."""

    def second(*args: Any) -> Any:
        arrays = _arrays(args)
        rows = []
        with np.errstate(all="ignore"):
            for i in range(len(arrays)):
                _, row = _partials(lambda *values, i=i: _partials(fn, values)[1][i], arrays)
                rows.append(_packed(fn, argnums, [_like(_plain_slope(each), arrays[0]) for each in row]))
        return _packed(fn, argnums, rows)

    return second


def _plain_slope(x: Any) -> Any:
    return x.value if isinstance(x, Dual) else x


def jvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Twin of `fastcore.autodiff.jvp`, of functions with one result."""
    arrays = _arrays([*primals, *tangents])
    count = len(primals)
    with np.errstate(all="ignore"):
        result = fn(*(Dual(x, d) for x, d in zip(arrays[:count], arrays[count:])))
    return _like(_value(result), arrays[0]), _like(_slope(result), arrays[0])
