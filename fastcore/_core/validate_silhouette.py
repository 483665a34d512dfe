"""Checks of silhouettes: metric, distances, number of clusters, sampling; their messages in scikit-learn's words."""

import numbers
from collections.abc import Callable, Collection
from typing import Any, NoReturn

import numpy as np

from fastcore._core.validate_containers import InvalidParameterError, number_of_samples
from fastcore._core.validate_targets import array_like, finite, invalid, is_array_like, is_sparse, matrix, real, vector

# Of a distance that should be 0, in ulps of 1: what rounding may leave on the diagonal.
_ROUNDED_ZERO = 100


def metric_name(metric: Any, names: Collection[str], function: str) -> str | Callable[..., float]:
    """One of the names, or a callable."""
    if callable(metric) or (isinstance(metric, str) and metric in names):
        return metric
    choices = ", ".join(repr(name) for name in sorted(names))
    raise invalid(metric, "metric", f"a str among {{{choices}}} or a callable", function)


def points_and_labels(X: Any, labels: Any, function: str) -> tuple[Any, np.ndarray, bool]:
    """Points or distances as a (N, D) ndarray of numbers or a CSR matrix; labels (N,); whether these were a column."""
    if not is_array_like(X):
        raise invalid(X, "X", "an array-like or a sparse array or matrix", function)
    array_like(labels, "labels", function)
    points = _sparse_points(X) if is_sparse(X) else matrix(X, "X")
    finite(points, "X")
    vector_of_labels = vector(labels, "labels", numeric=False)
    finite(vector_of_labels, "y")
    lengths = [points.shape[0], number_of_samples(vector_of_labels)]
    if lengths[0] != lengths[1]:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {lengths}")
    return points, vector_of_labels, np.ndim(labels) == 2


def _sparse_points(X: Any) -> Any:
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {X.dtype}. Pass X.real.")
    if X.ndim != 2:
        raise ValueError(f"Expected 2D input, got input with shape {X.shape}. Reshape X to (samples, features).")
    if 0 in X.shape:
        what = "sample(s)" if X.shape[0] == 0 else "feature(s)"
        raise ValueError(f"Found array with 0 {what} (shape={X.shape}) while a minimum of 1 is required.")
    X = X.tocsr()
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def number_of_labels(count: int, samples: int) -> None:
    """More than one cluster, and fewer than points."""
    if not 1 < count < samples:
        raise ValueError(
            f"Number of labels is {count}. Valid values are 2 to n_samples - 1 (inclusive). Got {samples} samples."
        )


def labels_do_not_compare(labels: np.ndarray, error: TypeError) -> NoReturn:
    """Refuse labels that do not compare with each other."""
    kinds = sorted({type(label).__name__ for label in labels.tolist()})
    raise TypeError(
        "Encoders require their input argument must be uniformly strings or numbers."
        f" Got {kinds} in labels: {error}. Convert labels to strings or integers."
    ) from error


def zero_diagonal(X: Any) -> None:
    """Distances of points from themselves: 0, up to rounding where they are floats."""
    allowed = np.finfo(X.dtype).eps * _ROUNDED_ZERO if X.dtype.kind == "f" else 0
    diagonal = np.abs(X.diagonal())
    if (diagonal > allowed).any():
        raise ValueError(
            "The precomputed distance matrix contains non-zero elements on the diagonal. Use np.fill_diagonal(X, 0)."
            f" The largest is {diagonal.max()}."
        )


def square(X: Any, samples: int) -> None:
    """Distances of each point from each."""
    if X.shape[1] != samples:
        raise ValueError(
            "Precomputed metric requires shape (n_queries, n_indexed)."
            f" Got ({X.shape[0]}, {X.shape[1]}) for {samples} indexed."
        )


def not_negative(lowest: float) -> None:
    """The least of all distances."""
    if lowest < 0:
        raise ValueError(
            "Negative values in data passed to `pairwise_distances`. Precomputed distance need to have non-negative"
            f" values. The least is {lowest}."
        )


def sample_size(size: Any, function: str) -> int:
    """An integer from 1 on."""
    try:
        return int(real(size, "sample_size", 1, None, function, closed="left", kind="int"))
    except InvalidParameterError:
        raise invalid(size, "sample_size", "an int in the range [1, inf) or None", function) from None


def random_state(state: Any, function: str) -> np.random.RandomState:
    """The generator that scikit-learn's `check_random_state` takes for it."""
    if state is None:
        return np.random.mtrand._rand
    if isinstance(state, np.random.RandomState):
        return state
    if isinstance(state, numbers.Integral) and 0 <= int(state) < 2**32:
        return np.random.RandomState(int(state))
    rule = "an int in the range [0, 4294967295], an instance of 'numpy.random.mtrand.RandomState' or None"
    raise invalid(state, "random_state", rule, function)


def no_options(options: dict[str, Any], metric: str) -> None:
    """Keyword arguments that a metric does not have."""
    if options:
        raise TypeError(
            f"metric {metric!r} got an unexpected keyword argument {next(iter(options))!r}. Options are for metrics of"
            " scipy.spatial.distance, such as p of 'minkowski', and for callables."
        )


def two_columns(X: np.ndarray) -> None:
    """Latitude and longitude."""
    if X.shape[1] != 2:
        raise ValueError(f"Haversine distance only valid in 2 dimensions. Got X of shape {X.shape}.")


def dense_for(metric: Any, X: Any) -> None:
    """What only dense points are for."""
    if is_sparse(X):
        raise TypeError(
            f"scipy distance metrics do not support sparse matrices. Got a sparse X for metric {metric!r}."
            " Pass X.toarray()."
        )
