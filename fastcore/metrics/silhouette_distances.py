"""Distances of blocks of points from all, for metrics without a kernel of their own."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastcore.metrics.kernels.silhouette_sparse import manhattan_rows

__all__ = ["BOOLEAN_METRICS", "OTHER_METRICS", "distance_blocks", "sparse_blocks"]

# Of scipy.spatial.distance, on truth values.
BOOLEAN_METRICS = frozenset({"dice", "jaccard", "rogerstanimoto", "russellrao", "sokalsneath", "yule"})
OTHER_METRICS = BOOLEAN_METRICS | {
    "braycurtis",
    "canberra",
    "chebyshev",
    "correlation",
    "hamming",
    "haversine",
    "mahalanobis",
    "matching",
    "minkowski",
    "seuclidean",
    "wminkowski",
}
_BLOCK_BYTES = 1 << 25


def _blocks(points: int) -> Iterator[slice]:
    """Rows of distances from all points that take _BLOCK_BYTES."""
    rows = max(1, _BLOCK_BYTES // 8 // points)
    for first in range(0, points, rows):
        yield slice(first, min(first + rows, points))


def distance_blocks(X: Any, metric: str | Callable[..., float], options: dict[str, Any]) -> Iterator[np.ndarray]:
    """Blocks of rows of distances (R, N), float64.

    X : (N, D) ndarray; for callables also CSR, of which they get rows
    options : of `scipy.spatial.distance.cdist`, or of the callable
    """
    if callable(metric):
        yield from _called(X, metric, options)
        return
    if metric in BOOLEAN_METRICS:
        X = X.astype(bool)
    elif X.dtype != np.float64:
        X = X.astype(np.float64)
    if metric == "haversine":
        compute = _haversine
    else:
        from scipy.spatial.distance import cdist

        options = _measured_options(X, metric) | options

        def compute(rows: np.ndarray, X: np.ndarray) -> np.ndarray:
            return cdist(rows, X, metric=metric, **options)

    for rows in _blocks(len(X)):
        block = compute(X[rows], X)
        np.fill_diagonal(block[:, rows], 0.0)
        yield block


def _measured_options(X: np.ndarray, metric: str) -> dict[str, Any]:
    """Options that default to measures of all points."""
    if metric == "seuclidean":
        return {"V": np.var(X, axis=0, ddof=1)}
    if metric == "mahalanobis":
        return {"VI": np.linalg.inv(np.atleast_2d(np.cov(X.T))).T}
    return {}


def _called(X: Any, metric: Callable[..., float], options: dict[str, Any]) -> Iterator[np.ndarray]:
    """Distances between rows i < j computed once, as metric(row i, row j), where all fit in one block; else each."""
    points = X.shape[0]
    row_of = [X[i : i + 1] if not isinstance(X, np.ndarray) else X[i] for i in range(points)]
    blocks = list(_blocks(points))
    for rows in blocks:
        block = np.empty((rows.stop - rows.start, points))
        for i in range(rows.start, rows.stop):
            for j in range(i if len(blocks) == 1 else 0, points):
                distance = metric(row_of[i], row_of[j], **options)
                block[i - rows.start, j] = distance
                if len(blocks) == 1:
                    block[j, i] = distance
        yield block


def _haversine(rows: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Angle between points on a sphere, of latitudes and longitudes in radians (N, 2)."""
    latitude, longitude = rows[:, :1], rows[:, 1:]
    across = np.sin((latitude - X[:, 0]) / 2) ** 2
    along = np.cos(latitude) * np.cos(X[:, 0]) * np.sin((longitude - X[:, 1]) / 2) ** 2
    return 2 * np.arcsin(np.sqrt(across + along))


def sparse_blocks(X: Any, metric: str) -> Iterator[np.ndarray]:
    """Blocks of rows of distances (R, N), float64, between the rows of a CSR matrix that is too wide to be dense.

    metric : "manhattan", "cosine", "sqeuclidean" or "euclidean". The last two expand squares, as scikit-learn does.
    """
    if metric == "manhattan":
        yield from _sparse_manhattan(X)
        return
    tiny = 10 * np.finfo(X.dtype).eps
    X = X.astype(np.float64)
    squares = np.asarray(X.multiply(X).sum(axis=1)).reshape(-1)
    scale = squares
    if metric == "cosine":
        norms = np.sqrt(squares)
        scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms >= tiny)
    transposed = X.T.tocsr()
    for rows in _blocks(X.shape[0]):
        block = (X[rows] @ transposed).toarray()
        if metric == "cosine":
            block *= -scale[rows, None]
            block *= scale
            block += 1.0
        else:
            block *= -2.0
            block += squares[rows, None]
            block += squares
        np.maximum(block, 0.0, out=block)
        np.fill_diagonal(block[:, rows], 0.0)
        yield np.sqrt(block, out=block) if metric == "euclidean" else block


def _sparse_manhattan(X: Any) -> Iterator[np.ndarray]:
    X = X.astype(np.float64)  # a copy, for the next line
    X.sum_duplicates()
    columns, starts = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    for rows in _blocks(X.shape[0]):
        block = np.empty((rows.stop - rows.start, X.shape[0]))
        manhattan_rows(X.data, columns, starts, rows.start, block)
        yield block
