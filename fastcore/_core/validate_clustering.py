"""Checks of the metrics that compare two clusterings, in scikit-learn's words."""

from typing import Any

import numpy as np

from fastcore._core.validate import shown
from fastcore._core.validate_containers import as_array, is_sparse
from fastcore._core.validate_labels import type_of_distinct, type_of_target
from fastcore._core.validate_targets import (
    InvalidParameterError,
    boolean,
    finite,
    invalid,
    is_array_like,
    matrix,
    option,
    real,
    same_lengths,
)
from fastcore._core.warn import warn

AVERAGES = ("arithmetic", "geometric", "max", "min")
# dtypes that scipy.sparse has, of which contingency matrices are.
_KINDS, _REFUSED = "biufc", (np.dtype(np.float16),)
_STACKLEVEL = 5  # of a warning: to the caller of the public function


def _is_array_like(x: Any) -> bool:
    return is_array_like(x) and not is_sparse(x)


def labels(x: Any, name: str, function: str, *, may_be_none: bool = False) -> np.ndarray:
    """`x` as an ndarray of any number of axes."""
    if not _is_array_like(x) and not (x is None and may_be_none):
        raise invalid(x, name, "an array-like" + (" or None" if may_be_none else ""), function)
    return as_array(x, name)


def _clustering(x: Any, name: str, function: str) -> np.ndarray:
    y = labels(x, name, function)
    if y.ndim > 2:
        raise ValueError(f"Found array with dim {y.ndim}, while dim <= 2 is required. Got {name} of shape {y.shape}.")
    finite(y, "")
    if y.ndim == 1 and y.dtype.kind in "OS":
        type_of_distinct(y[:1], y[:1], name)  # refuses bytes
    return y


def _is_continuous(y: np.ndarray) -> bool:
    return y.dtype.kind == "f" and bool((np.trunc(y) != y).any())


def clusterings(labels_true: Any, labels_pred: Any, function: str) -> tuple[np.ndarray, np.ndarray]:
    """Two (N,) native ndarrays of labels, in place where possible; N may be 0.

    Warns of labels that are fractions, by scikit-learn's message.

    Raises
    ------
    ValueError : no array-like, not one axis, not of one length, NaN, infinite or complex
    TypeError : bytes, or objects that cannot be compared
    """
    true = _clustering(labels_true, "labels_true", function)
    pred = _clustering(labels_pred, "labels_pred", function)
    if _is_continuous(true) or _is_continuous(pred):
        kinds = type_of_target(true, "labels_true"), type_of_target(pred, "labels_pred")
        warn(
            f"Clustering metrics expects discrete values but received {kinds[0]} values for label,"
            f" and {kinds[1]} values for target",
            UserWarning,
            stacklevel=_STACKLEVEL,
        )
    for name, y in (("labels_true", true), ("labels_pred", pred)):
        if y.ndim != 1:
            raise ValueError(f"{name} must be 1D: shape is {y.shape}. Pass {name}.ravel() if it is one column.")
    same_lengths(true, pred)
    return true, pred


def label_columns(labels_true: Any, labels_pred: Any, function: str) -> tuple[np.ndarray, np.ndarray]:
    """Two (N,) native ndarrays of labels of a contingency matrix, which may hold NaN: a label like others."""
    arrays = []
    for name, x in (("labels_true", labels_true), ("labels_pred", labels_pred)):
        y = labels(x, name, function, may_be_none=True)
        if y.ndim != 1:
            raise ValueError(f"{name} must be 1D: shape is {y.shape}. Pass {name}.ravel() if it is one column.")
        arrays.append(y)
    same_lengths(*arrays)
    return arrays[0], arrays[1]


def is_sparse_wanted(x: Any) -> bool:
    """The option of `contingency_matrix`."""
    return boolean(x, "sparse", "contingency_matrix")


def average_method(x: Any, function: str) -> str:
    """How two entropies are averaged."""
    checked: str = option(x, "average_method", AVERAGES, function)
    return checked


def not_negative(x: Any, name: str, function: str) -> float:
    """A finite number, 0 or more."""
    return real(x, name, 0, None, function, closed="left")


def added(x: Any, sparse: bool) -> float | None:
    """What is added to each cell of a contingency matrix, which then is dense."""
    if x is None:
        return None
    value = not_negative(x, "eps", "contingency_matrix")
    if sparse:
        raise ValueError(f"Cannot set 'eps' when sparse=True: no cell would be empty. Got eps={x!r}.")
    return value


def cell_dtype(x: Any) -> np.dtype:
    """A dtype of numbers that scipy.sparse has."""
    try:
        dtype = np.dtype(x)
    except TypeError as error:
        raise InvalidParameterError(f"dtype must be a dtype of numbers. Got {shown(x)}: {error}.") from None
    if dtype.kind not in _KINDS or dtype in _REFUSED:
        raise InvalidParameterError(
            f"scipy.sparse does not support dtype {dtype}. Contingency matrices are bool, integer, float32, float64"
            " or complex."
        )
    return dtype


def contingency(x: Any, function: str) -> Any:
    """(Ka, Kb) int64 ndarray of counts, not empty, or the sparse matrix (in COO) that it is. Fractions are cut off."""
    if is_sparse(x):
        if 0 in x.shape:
            raise ValueError(f"Found array with 0 sample(s) (shape={x.shape}) while a minimum of 1 is required.")
        finite(x, "")
        return x.tocoo()
    if not _is_array_like(x):
        raise invalid(x, "contingency", "an array-like, a sparse array or matrix or None", function)
    cells = matrix(x, "contingency")
    finite(cells, "")
    return cells.astype(np.int64, copy=False)


def cluster_sizes(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sums (Ka,), (Kb,) int64 of the rows and of the columns of a contingency matrix, none negative."""
    cells = x if is_sparse(x) else np.asarray(x)
    if cells.ndim != 2 or cells.dtype.kind not in "biuf":
        raise ValueError(f"contingency must be a matrix of counts. Got shape {cells.shape}, dtype {cells.dtype}.")
    rows, cols = (np.asarray(cells.sum(axis=axis)).ravel().astype(np.int64) for axis in (1, 0))
    if (rows < 0).any() or (cols < 0).any():
        raise ValueError("contingency must hold counts; a row or a column has a negative sum.")
    return rows, cols


def number_of_samples(x: Any, *sizes: np.ndarray) -> int:
    """How many samples clusterings have whose clusters are of these sizes: at least as many as the largest."""
    try:
        samples = int(x)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidParameterError(f"n_samples must be an integer. Got {shown(x)}.") from error
    largest = max(int(size.max(initial=0)) for size in sizes)
    if samples < largest:
        raise ValueError(
            f"n_samples must be at least the number of samples of the largest cluster, {largest}. Got {samples}."
            " Pass contingency.sum()."
        )
    return samples
