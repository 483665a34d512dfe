"""Containers of metrics as ndarrays: sequences, pandas, polars, torch CPU tensors, whatever has `__array__`.

What is a valid container, and how the ones of pandas convert, is scikit-learn's `check_array`: nullable columns become
float64 with NaN for missing values, categoricals and strings become what `numpy.asarray` makes of them.
"""

import sys
from typing import Any

import numpy as np

from fastcore._core.validate import kind_of, shown

__all__ = ["InvalidParameterError", "as_array", "is_sparse", "number_of_samples"]


class InvalidParameterError(ValueError, TypeError):
    """An argument has a wrong kind or value; both a ValueError and a TypeError, as scikit-learn's is."""


def is_sparse(x: Any) -> bool:
    """Whether `x` is a scipy.sparse matrix or array, which cannot be where scipy.sparse was never imported."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and type(x) is not np.ndarray and bool(sparse.issparse(x))


def as_array(x: Any, name: str) -> np.ndarray:
    """`x` as a plain ndarray of any number of axes and native byte order, in place where that is possible."""
    if type(x) is not np.ndarray:
        x = _converted(x, name)
    dtype = x.dtype
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {dtype}. Pass {name}.real.")
    if dtype.kind == "T":  # variable-width strings: their bytes lie elsewhere, objects are what all else can read
        return x.astype(object)
    if dtype.kind == "V" and dtype.name == "bfloat16":
        return x.astype(np.float32)
    return x if dtype.isnative else x.astype(dtype.newbyteorder("="))


def _converted(x: Any, name: str) -> np.ndarray:
    if isinstance(x, np.matrix):
        raise TypeError(f"np.matrix is not supported. Got {name} of that type. Pass np.asarray({name}).")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain array: a masked array's mask would be ignored. Got {kind_of(x)}."
            f" Pass {name}.compressed(), or weights of 0 for what is masked."
        )
    if is_sparse(x):
        raise TypeError(
            f"Sparse data was passed for {name}, but dense data is required."
            " Use '.toarray()' to convert to a dense numpy array."
        )
    if isinstance(x, list | tuple):
        return np.asarray(x)
    dtype = getattr(x, "dtype", None)
    if getattr(dtype, "na_value", dtype) is not dtype and hasattr(x, "astype"):
        if _is_nullable_number(dtype):
            x = x.astype(np.float64)
    elif hasattr(x, "dtypes") and getattr(x, "ndim", 1) == 2:
        return _data_frame(x, name)
    return _foreign(x, name)


def _is_nullable_number(dtype: Any) -> bool:
    """An extension dtype of pandas that holds numbers and missing values; sparse ones convert by themselves."""
    return getattr(dtype, "kind", "O") in "iufb" and type(dtype).__name__ != "SparseDtype"


def _data_frame(frame: Any, name: str) -> np.ndarray:
    """Columns in their common dtype: of bool and int columns pandas itself would make objects."""
    dtypes = list(frame.dtypes)
    plain = all(isinstance(dtype, np.dtype) and dtype.kind != "b" for dtype in dtypes)
    if plain or len(dtypes) == 0:
        return _foreign(frame, name)
    columns = [as_array(frame.iloc[:, i], name) for i in range(len(dtypes))]
    if any(column.dtype.kind == "O" for column in columns):
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


def _foreign(x: Any, name: str) -> np.ndarray:
    try:
        if hasattr(x, "__array__") or not hasattr(x, "__dlpack__"):
            return np.asarray(x)
        return np.from_dlpack(x)
    except (TypeError, ValueError):
        raise
    except Exception as error:  # torch alone has three kinds
        fix = " Pass it with .detach()." if getattr(x, "requires_grad", False) else ""
        raise TypeError(f"{name} cannot be read as a NumPy array. Got {kind_of(x)}: {error}.{fix}") from error


def number_of_samples(x: Any) -> int:
    """Length of the first axis."""
    if type(x) is np.ndarray and x.ndim:
        return len(x)
    if isinstance(x, list | tuple):
        return len(x)
    shape = getattr(x, "shape", None)
    if shape is not None:
        if len(shape) == 0:
            raise InvalidParameterError(
                "Input should have at least 1 dimension i.e. satisfy `len(x.shape) > 0`,"
                f" got scalar `{shown(x)}` instead. Pass an array."
            )
        if isinstance(shape[0], int | np.integer):
            return int(shape[0])
    if isinstance(x, str | bytes) or not hasattr(x, "__len__"):
        if not isinstance(x, str | bytes) and hasattr(x, "__array__"):
            return number_of_samples(np.asarray(x))
        raise InvalidParameterError(f"Expected sequence or array-like, got {type(x)}")
    try:
        return len(x)
    except TypeError as error:
        raise InvalidParameterError(f"Expected sequence or array-like, got {type(x)}") from error
