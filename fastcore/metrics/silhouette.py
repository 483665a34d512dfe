"""Silhouettes: how much nearer points are to their own cluster than to the next one."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastcore._core import validate_silhouette as validate
from fastcore._core.validate_targets import is_sparse
from fastcore._core.warn import warn
from fastcore.metrics.kernels import silhouette as kernels
from fastcore.metrics.labels import encode
from fastcore.metrics.silhouette_distances import BOOLEAN_METRICS, OTHER_METRICS, distance_blocks, sparse_blocks

__all__ = ["silhouette_samples", "silhouette_score"]

# What compiled kernels compute straight from points, and whether float32 points give float32 silhouettes.
_KERNEL_OF = {
    "euclidean": (kernels.EUCLIDEAN, True),
    "l2": (kernels.EUCLIDEAN, True),
    "nan_euclidean": (kernels.EUCLIDEAN, True),
    "cosine": (kernels.SQUARED, True),
    "sqeuclidean": (kernels.SQUARED, False),
    "manhattan": (kernels.MANHATTAN, False),
    "l1": (kernels.MANHATTAN, False),
    "cityblock": (kernels.MANHATTAN, False),
}
_PLAIN_NAME = {kernels.EUCLIDEAN: "euclidean", kernels.SQUARED: "sqeuclidean", kernels.MANHATTAN: "manhattan"}
_METRICS = {*_KERNEL_OF, *OTHER_METRICS, "precomputed"}
_FLOAT64, _FLOAT32, _INT64 = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64)
_NUMBERS = (_FLOAT64, _FLOAT32)
# A sparse X of less is made dense: then its distances are exact, and sooner there.
_DENSE_BYTES = 1 << 28


def silhouette_score(
    X: Any, labels: Any, *, metric: Any = "euclidean", sample_size: Any = None, random_state: Any = None, **kwds: Any
) -> float:
    """Mean silhouette of all points, or of a sample of them.

    N points, D coordinates. Memory is O(N * D); distances are never kept.

    Parameters
    ----------
    X : (N, D) array-like or sparse matrix; with metric "precomputed" (N, N) distances, zeros on the diagonal
    labels : (N,) array-like of labels of any kind; 2 to N - 1 distinct ones
    metric : str or callable, default "euclidean"
        "euclidean" ("l2"), "sqeuclidean", "cosine", "manhattan" ("l1", "cityblock") and "precomputed" run compiled.
        Other metrics of `scipy.spatial.distance`, "haversine", and callables of two rows are computed row by row there.
    sample_size : int, optional; number of points drawn without replacement, the same ones as scikit-learn draws
    random_state : int, numpy.random.RandomState or None; for the sample
    **kwds : options of a metric of SciPy, or of a callable. `n_jobs` and `working_memory` are taken and mean nothing.

    Returns
    -------
    float : from -1 to 1

    Raises
    ------
    ValueError : 1 label, or as many as points; not finite; lengths differ; distances negative or not 0 on the diagonal
    TypeError : options that the metric does not have; labels that do not compare

    Notes
    -----
    Source: Rousseeuw 1987, "Silhouettes", eq. 2. Sums in float64 whatever X is. Distances come from differences of
    coordinates, which keep their digits where points are far from the origin; scikit-learn expands squares.
    """
    if sample_size is None and random_state is None:
        samples, total, _ = _silhouettes(X, labels, metric, kwds, "silhouette_score")
        return total / len(samples)
    metric = validate.metric_name(metric, _METRICS, "silhouette_score")
    state = validate.random_state(random_state, "silhouette_score")
    if sample_size is not None:
        size = validate.sample_size(sample_size, "silhouette_score")
        X, labels, is_column = validate.points_and_labels(X, labels, "silhouette_score")
        _warn_of_column(is_column)
        chosen = state.permutation(X.shape[0])[:size]
        if isinstance(metric, str) and metric == "precomputed":
            validate.square(X, X.shape[0])
            X = X[chosen][:, chosen]
        else:
            X = X[chosen]
        labels = labels[chosen]
    samples, total, _ = _silhouettes(X, labels, metric, kwds, "silhouette_score")
    return total / len(samples)


def silhouette_samples(X: Any, labels: Any, *, metric: Any = "euclidean", **kwds: Any) -> np.ndarray:
    """Silhouette of each point: (b - a) / max(a, b).

    a is the mean distance from the other points of the same cluster, b the least mean distance from the points of
    another. The only point of a cluster has 0.

    Parameters
    ----------
    X, labels, metric, **kwds : as for `silhouette_score`

    Returns
    -------
    (N,) float64; float32 for a float32 X where scikit-learn has that: euclidean, cosine and precomputed

    Raises
    ------
    ValueError, TypeError : as `silhouette_score`
    """
    samples, _, dtype = _silhouettes(X, labels, metric, kwds, "silhouette_samples")
    return samples if dtype is None else samples.astype(dtype)


def _silhouettes(
    X: Any, labels: Any, metric: Any, options: dict[str, Any], function: str
) -> tuple[np.ndarray, float, Any]:
    """(silhouettes in float64, their sum, what dtype they should have or None if that)."""
    if type(X) is type(labels) is np.ndarray and type(metric) is str and not options:
        result = _of_plain_arrays(X, labels, metric)
        if result is not None:
            return result
    metric = validate.metric_name(metric, _METRICS, function)
    X, labels, is_column = validate.points_and_labels(X, labels, function)
    _warn_of_column(is_column)
    is_given = isinstance(metric, str) and metric == "precomputed"
    if is_given:
        validate.zero_diagonal(X)
    num_clusters, codes = _clusters(labels)
    validate.number_of_labels(num_clusters, len(codes))
    options = {name: value for name, value in options.items() if name not in ("n_jobs", "working_memory")}
    if is_given:
        validate.square(X, len(codes))
        validate.no_options(options, "precomputed")
        return _from_distances(X, codes, num_clusters)
    if isinstance(metric, str) and metric in _KERNEL_OF and not (options and metric == "sqeuclidean"):
        validate.no_options(options, metric)
        return _from_metric(X, codes, num_clusters, metric)
    return _from_others(X, codes, num_clusters, metric, options)


def _of_plain_arrays(X: np.ndarray, labels: np.ndarray, metric: str) -> tuple[np.ndarray, float, Any] | None:
    """The short way. What it finds out of order, or does not know, goes on to what checks everything: None."""
    dtype = X.dtype
    if (
        metric not in _KERNEL_OF
        or not (dtype is _FLOAT64 or dtype is _FLOAT32)
        or X.ndim != 2
        or labels.ndim != 1
        or labels.dtype.kind not in "iu"
        or X.shape[1] == 0
        or not len(X) == len(labels) > 2
    ):
        return None
    if labels.dtype is not _INT64:
        labels = labels.astype(_INT64)
    if len(X) <= kernels.MOST_POINTS and metric != "cosine":
        result = _of_few(X, labels, metric)
        if result is not None:
            return result
    codes, num_clusters = kernels.codes_of_integers(labels)
    if not 1 < num_clusters < len(codes):
        return None
    result = _from_points(X, codes, num_clusters, metric)
    return result if result[1] == result[1] else None


def _of_few(X: np.ndarray, labels: np.ndarray, metric: str) -> tuple[np.ndarray, float, Any] | None:
    """At most MOST_POINTS, float32 or float64, with int64 labels. None where another way is for them."""
    kernel, keeps_dtype = _KERNEL_OF[metric]
    samples = np.zeros(len(X))
    points = X if X.dtype is _FLOAT64 else X.astype(_FLOAT64)
    total = kernels.silhouettes_of_few(points, labels, kernel, samples)
    if total != total:
        return None
    return samples, total, X.dtype if keeps_dtype and X.dtype == _FLOAT32 else None


def _clusters(labels: np.ndarray) -> tuple[int, np.ndarray]:
    """(number of clusters, cluster of each point). None among objects is a label of its own, after all others."""
    if labels.dtype.kind != "O":
        classes, codes = encode(labels)
        return len(classes), codes.astype(np.int64, copy=False)
    is_none = np.array([label is None for label in labels])
    num_clusters, codes = 0, np.empty(len(labels), np.int64)
    if not is_none.all():
        try:
            classes, codes[~is_none] = encode(labels[~is_none])
        except TypeError as error:
            validate.labels_do_not_compare(labels, error)
        num_clusters = len(classes)
    codes[is_none] = num_clusters
    return num_clusters + bool(is_none.any()), codes


def _from_points(X: np.ndarray, codes: np.ndarray, num_clusters: int, metric: str) -> tuple[np.ndarray, float, Any]:
    """Of a dense X, with a metric that has a kernel."""
    if len(X) <= kernels.MOST_POINTS and metric != "cosine":
        result = _of_few(X, codes, metric)
        if result is not None:
            return result
    kernel, keeps_dtype = _KERNEL_OF[metric]
    divisors = kernels.NO_DIVISORS
    if metric == "cosine":  # half the square of the distance between unit vectors
        divisors = kernels.norms_of(X, 10 * float(np.finfo(X.dtype).eps))
    samples = np.zeros(len(X))
    total = kernels.silhouettes_of_points(X, codes, num_clusters, kernel, divisors, samples)
    return samples, total, X.dtype if keeps_dtype and X.dtype == np.float32 else None


def _from_metric(X: Any, codes: np.ndarray, num_clusters: int, metric: str) -> tuple[np.ndarray, float, Any]:
    """Of any valid X, with a metric that has a kernel."""
    if not is_sparse(X):
        return _from_points(X if X.dtype in _NUMBERS else X.astype(np.float64), codes, num_clusters, metric)
    if 8 * X.shape[0] * X.shape[1] <= max(_DENSE_BYTES, 4 * X.data.nbytes):
        return _from_points(X.toarray(), codes, num_clusters, metric)
    kernel, keeps_dtype = _KERNEL_OF[metric]
    samples = np.zeros(len(codes))
    name = "cosine" if metric == "cosine" else _PLAIN_NAME[kernel]
    blocks = sparse_blocks(X, name)
    kernels.silhouettes_of_blocks(blocks, codes, num_clusters, samples)
    return samples, float(samples.sum()), X.dtype if keeps_dtype and X.dtype == np.float32 else None


def _from_distances(X: Any, codes: np.ndarray, num_clusters: int) -> tuple[np.ndarray, float, Any]:
    """Of given distances, dense or CSR."""
    samples = np.zeros(len(codes))
    if is_sparse(X):
        validate.not_negative(float(X.data.min(initial=0)))
        kernels.silhouettes_of_sparse(X, codes, num_clusters, samples)
    else:
        blocks = (X,) if X.dtype == _FLOAT64 else _blocks_in_float64(X)
        validate.not_negative(float(kernels.silhouettes_of_blocks(blocks, codes, num_clusters, samples)))
    return samples, float(samples.sum()), X.dtype if X.dtype == np.float32 else None


def _blocks_in_float64(X: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, _DENSE_BYTES // 64 // X.shape[1])
    for first in range(0, len(X), rows):
        yield X[first : first + rows].astype(np.float64)


def _from_others(
    X: Any, codes: np.ndarray, num_clusters: int, metric: str | Callable[..., float], options: dict[str, Any]
) -> tuple[np.ndarray, float, Any]:
    """Of points, with distances that SciPy or a callable computes."""
    if not callable(metric):
        validate.dense_for(metric, X)
        if metric in BOOLEAN_METRICS and X.dtype != bool:
            _warn_of_conversion(f"Data was converted to boolean for metric {metric}")
    if metric == "haversine":
        validate.two_columns(X)
        validate.no_options(options, metric)
    samples = np.zeros(len(codes))
    kernels.silhouettes_of_blocks(distance_blocks(X, metric, options), codes, num_clusters, samples)
    keeps_dtype = callable(metric) and X.dtype == np.float32
    return samples, float(samples.sum()), X.dtype if keeps_dtype else None


def _warn_of_column(is_column: bool) -> None:
    if is_column:
        _warn_of_conversion(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y"
            " to (n_samples,), for example using ravel()."
        )


def _warn_of_conversion(message: str) -> None:
    """Warn the caller of the public function; where scikit-learn is loaded, with its category."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "DataConversionWarning", UserWarning)
    warn(message, theirs, stacklevel=5)
