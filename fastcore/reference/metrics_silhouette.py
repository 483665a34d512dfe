"""Silhouettes in plain NumPy."""

from typing import Any

import numpy as np


def distances(X: np.ndarray, metric: str) -> np.ndarray:
    """(N, N) distances from differences of coordinates, in float64."""
    X = np.asarray(X, np.float64)
    if metric == "precomputed":
        return X
    if metric == "cosine":
        norms = np.sqrt((X * X).sum(axis=1, keepdims=True))
        unit = np.divide(X, norms, out=np.zeros_like(X), where=norms >= 10 * np.finfo(float).eps)
        result = 1.0 - unit @ unit.T
        np.fill_diagonal(result, 0.0)
        return result
    differences = X[:, None, :] - X[None, :, :]
    if metric == "manhattan":
        return np.abs(differences).sum(axis=2)
    squares = (differences**2).sum(axis=2)
    return squares if metric == "sqeuclidean" else np.sqrt(squares)


def silhouette_samples(X: Any, labels: Any, *, metric: str = "euclidean") -> np.ndarray:
    """Silhouette of each point; metric "euclidean", "sqeuclidean", "manhattan", "cosine" or "precomputed"."""
    apart = distances(X, metric)
    classes, codes = np.unique(labels, return_inverse=True)
    if not 1 < len(classes) < len(codes):
        raise ValueError(f"Number of labels is {len(classes)}. Valid values are 2 to n_samples - 1 (inclusive)")
    result = np.zeros(len(codes))
    for i, own in enumerate(codes):
        sums = np.bincount(codes, apart[i], len(classes))
        sizes = np.bincount(codes)
        if sizes[own] == 1:
            continue
        a = sums[own] / (sizes[own] - 1)
        b = np.min(np.delete(sums / sizes, own))
        result[i] = (b - a) / max(a, b) if max(a, b) > 0 else 0.0
    return result


def silhouette_score(X: Any, labels: Any, *, metric: str = "euclidean") -> float:
    """Mean silhouette."""
    return float(np.mean(silhouette_samples(X, labels, metric=metric)))
