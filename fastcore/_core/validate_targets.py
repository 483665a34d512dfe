"""Checks that all metrics share: lengths, vectors, matrices, weights, options; their messages in scikit-learn's words.

Labels are in `validate_labels.py`, containers in `validate_containers.py`; their names are found here too.
"""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core.validate import shown
from fastcore._core.validate_containers import InvalidParameterError, as_array, is_sparse, number_of_samples
from fastcore._core.validate_labels import finite, type_of_target, unique_labels

__all__ = [
    "InvalidParameterError",
    "array",
    "array_like",
    "boolean",
    "finite",
    "is_array_like",
    "is_sparse",
    "matrix",
    "number_of_samples",
    "option",
    "real",
    "same_lengths",
    "sample_weights",
    "type_of_target",
    "unique_labels",
    "vector",
]


def same_lengths(*arrays: Any) -> None:
    """First axes of one length; None is skipped."""
    lengths = [number_of_samples(x) for x in arrays if x is not None]
    if len(set(lengths)) > 1:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {lengths}")


def array(x: Any, name: str, *, numeric: bool = True, may_be_empty: bool = False) -> np.ndarray:
    """`x` as a native ndarray of one or two axes (`check_array` with ``ensure_2d=False``), in place where possible.

    numeric : objects become float64; strings are refused. Otherwise both are kept as they are.
    may_be_empty : no samples, or no columns, are no fault
    """
    y = as_array(x, name)
    if numeric and y.dtype.kind not in "fiub":
        y = _numbers(y, name)
    if y.ndim > 2:
        raise ValueError(f"Found array with dim {y.ndim}, while dim <= 2 is required. Got {name} of shape {y.shape}.")
    if y.ndim == 0:
        raise InvalidParameterError(
            "Input should have at least 1 dimension i.e. satisfy `len(x.shape) > 0`,"
            f" got scalar `{shown(x)}` instead. Pass {name} as an array."
        )
    if y.size == 0 and not may_be_empty:
        rows, what = len(y), "sample(s)" if len(y) == 0 else "feature(s)"
        count = rows if rows == 0 else y.shape[1]
        raise ValueError(f"Found array with {count} {what} (shape={y.shape}) while a minimum of 1 is required.")
    return y


def _numbers(y: np.ndarray, name: str) -> np.ndarray:
    if y.dtype.kind != "O":
        raise ValueError(
            f"dtype='numeric' is not compatible with arrays of bytes/strings. Got {name} of dtype {y.dtype}."
            " Convert your data to numeric values explicitly instead."
        )
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must hold numbers: {error}. Convert it first, e.g. {name}.astype(float).") from error


def vector(x: Any, name: str, *, numeric: bool = True, may_be_empty: bool = False) -> np.ndarray:
    """(N,) native ndarray, in place where possible; (N, 1) is ravelled (`column_or_1d`).

    numeric, may_be_empty : as for `array`
    """
    y = as_array(x, name)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.reshape(-1)
    if y.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {y.shape} instead. Here y is {name}.")
    if numeric and y.dtype.kind not in "fiub":
        y = _numbers(y, name)
    if y.size == 0 and not may_be_empty:
        raise ValueError(f"Found array with 0 sample(s) (shape={y.shape}) while a minimum of 1 is required.")
    return y


def matrix(x: Any, name: str, *, numeric: bool = True) -> np.ndarray:
    """(N, D) native ndarray, N > 0 and D > 0, in place where possible (`check_array`). Not checked for being finite."""
    y = as_array(x, name)
    if y.ndim < 2:
        what = "scalar" if y.ndim == 0 else "1D"
        values = np.array2string(y, threshold=6, edgeitems=3) if y.dtype.kind != "O" else f"of shape {y.shape}"
        raise ValueError(
            f"Expected 2D array, got {what} array instead:\n{name}={values}.\n"
            "Reshape your data either using array.reshape(-1, 1) if your data has a single feature"
            " or array.reshape(1, -1) if it contains a single sample."
        )
    return array(y, name, numeric=numeric)


def sample_weights(
    w: Any,
    length: int,
    dtype: Any = np.float64,
    *,
    may_be_zero: bool = False,
    may_be_negative: bool = True,
    name: str = "sample_weight",
) -> np.ndarray:
    """Weights of `length` samples, (length,) and C-contiguous (`_check_sample_weight`).

    Parameters
    ----------
    w : (length,) numbers, one number for all, or None, which is 1
    dtype : of the result; None keeps integers, bools, float32 and float64 as they came
    may_be_zero : whether all may be
    may_be_negative : whether any may be
    name : what messages call it

    Raises
    ------
    ValueError : not finite, not one axis, another length, all zero, negative
    """
    if w is None:
        return np.ones(length, np.float64 if dtype is None else dtype)
    if isinstance(w, numbers.Number) and not isinstance(w, np.ndarray):
        weights = np.full(length, w, dtype)
    else:
        weights = array(w, name)
        if weights.dtype.kind == "f" and weights.dtype.itemsize not in (4, 8):
            weights = weights.astype(np.float64)
        finite(weights, name)
        if weights.ndim != 1:
            raise ValueError(
                f"Sample weights must be 1D array or scalar, got {weights.ndim}D array."
                f" Expected either a scalar value or a 1D array of length {length}."
            )
        if weights.shape != (length,):
            raise ValueError(f"{name}.shape == {weights.shape}, expected {(length,)}!")
    if not may_be_zero and not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    if not may_be_negative and weights.min() < 0:
        raise ValueError(f"Negative values in data passed to `{name}`. Got {weights.min()}.")
    return np.ascontiguousarray(weights, dtype)


# --- options ----------------------------------------------------------------------------------------------------------


def invalid(x: Any, name: str, rule: str, function: str) -> InvalidParameterError:
    """The error of a parameter that breaks a rule, to be raised."""
    return InvalidParameterError(f"The {name!r} parameter of {function} must be {rule}. Got {shown(x)} instead.")


def is_array_like(x: Any) -> bool:
    """Something with a length that is no string and no scalar; sparse arrays too."""
    if isinstance(x, str | bytes) or np.isscalar(x):
        return False
    return hasattr(x, "__len__") or hasattr(x, "shape") or hasattr(x, "__array__")


def array_like(x: Any, name: str, function: str, *, optional: bool = False) -> None:
    """A list, an array or whatever scikit-learn takes for one; None only where it is optional."""
    if not is_array_like(x) and not (optional and x is None):
        raise invalid(x, name, "an array-like" + (" or None" if optional else ""), function)


def option(x: Any, name: str, choices: Sequence[str | None], function: str) -> Any:
    """One of some strings, or None where that is among them."""
    for choice in choices:
        if x is choice or (isinstance(x, str) and x == choice):
            return choice
    strings = ", ".join(repr(choice) for choice in choices if choice is not None)
    rule = f"a str among {{{strings}}}" + (" or None" if None in choices else "")
    raise invalid(x, name, rule, function)


def boolean(x: Any, name: str, function: str) -> bool:
    if isinstance(x, bool | np.bool_):
        return bool(x)
    raise invalid(x, name, "an instance of 'bool'", function)


def real(
    x: Any,
    name: str,
    low: float | None,
    high: float | None,
    function: str,
    *,
    closed: str = "both",
    kind: str = "float",
) -> float:
    """A real number from `low` to `high`; None is no bound there.

    closed : which bounds belong: 'both', 'left', 'right' or 'neither'
    kind : 'float', or 'int' for integers only, which come back as int
    """
    wanted: Any = numbers.Integral if kind == "int" else numbers.Real
    if isinstance(x, wanted) and not (kind == "int" and isinstance(x, bool)):
        above = low is None or x > low or (x == low and closed in ("both", "left"))
        below = high is None or x < high or (x == high and closed in ("both", "right"))
        if above and below and x == x:
            return _as_python_number(x, name, function, kind)
    left = "[" if closed in ("both", "left") and low is not None else "("
    right = "]" if closed in ("both", "right") and high is not None else ")"
    bounds = f"{left}{'-inf' if low is None else low}, {'inf' if high is None else high}{right}"
    raise invalid(x, name, f"{'an int' if kind == 'int' else 'a float'} in the range {bounds}", function)


def _as_python_number(x: Any, name: str, function: str, kind: str) -> Any:
    try:
        return int(x) if kind == "int" else float(x)
    except OverflowError:
        raise invalid(x, name, "a number that fits into float64", function) from None
