"""Twins of the metrics that compare two clusterings: one contingency matrix, and sums over it as they are defined."""

import numpy as np


def contingency_matrix(labels_true: np.ndarray, labels_pred: np.ndarray) -> np.ndarray:
    """(K_true, K_pred) counts of each pair of labels; labels (N,) of any kind that `numpy.unique` takes."""
    classes, true = np.unique(labels_true, return_inverse=True)
    clusters, pred = np.unique(labels_pred, return_inverse=True)
    matrix = np.zeros((len(classes), len(clusters)), np.int64)
    np.add.at(matrix, (true, pred), 1)
    return matrix


def pair_confusion_matrix(labels_true: np.ndarray, labels_pred: np.ndarray) -> np.ndarray:
    """(2, 2) ordered pairs of samples, apart (0) or together (1) in each of the clusterings."""
    cells = contingency_matrix(labels_true, labels_pred)
    both = (cells**2).sum() - cells.sum()
    true, pred = ((cells.sum(axis) ** 2).sum() - cells.sum() for axis in (1, 0))
    pairs = cells.sum() * (cells.sum() - 1)
    return np.array([[pairs - true - pred + both, pred - both], [true - both, both]])


def rand_score(labels_true: np.ndarray, labels_pred: np.ndarray) -> float:
    """Share of the pairs on which the clusterings agree; 1 if there are none."""
    pairs = pair_confusion_matrix(labels_true, labels_pred)
    return float(np.trace(pairs) / pairs.sum()) if pairs.any() else 1.0


def adjusted_rand_score(labels_true: np.ndarray, labels_pred: np.ndarray) -> float:
    """Rand index, (index - expected) / (most - expected), of pairs that are together in both."""
    pairs = pair_confusion_matrix(labels_true, labels_pred).astype(float)
    if pairs[0, 1] == pairs[1, 0] == 0:
        return 1.0
    true, pred, both = pairs[1].sum(), pairs[:, 1].sum(), pairs[1, 1]
    expected = true * pred / pairs.sum()
    return float((both - expected) / ((true + pred) / 2 - expected))


def fowlkes_mallows_score(labels_true: np.ndarray, labels_pred: np.ndarray) -> float:
    """Pairs together in both over the geometric mean of those together in either; 0 if there are none in both."""
    pairs = pair_confusion_matrix(labels_true, labels_pred).astype(float)
    return float(pairs[1, 1] / np.sqrt(pairs[1].sum() * pairs[:, 1].sum())) if pairs[1, 1] else 0.0


def entropy(labels: np.ndarray) -> float:
    """-sum of p * log(p) over the labels; 1 for none."""
    share = np.unique(labels, return_counts=True)[1] / max(len(labels), 1)
    return float(-(share * np.log(share)).sum()) + 0.0 if len(share) else 1.0


def mutual_information_of(matrix: np.ndarray) -> float:
    """Sum of p_ij * log(p_ij / (p_i * p_j)) over the cells of a contingency matrix that are not 0."""
    shares = matrix / max(matrix.sum(), 1)
    product = shares.sum(1, keepdims=True) * shares.sum(0, keepdims=True)
    there = shares > 0
    return max(float((shares[there] * np.log(shares[there] / product[there])).sum()), 0.0)


def mutual_info_score(labels_true: np.ndarray, labels_pred: np.ndarray) -> float:
    """Mutual information of two clusterings, in nats."""
    return mutual_information_of(contingency_matrix(labels_true, labels_pred))


def expected_mutual_information(contingency: np.ndarray, n_samples: int) -> float:
    """Sum over cells of E[n / N * log(N * n / (a * b))], n hypergeometric: from ratios of successive probabilities."""
    total = 0.0
    for a in contingency.sum(1):
        for b in contingency.sum(0):
            n = np.arange(max(0, a + b - n_samples), min(a, b) + 1, dtype=float)
            ratio = (a - n[:-1]) * (b - n[:-1]) / (n[1:] * (n_samples - a - b + n[1:]))
            logs = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
            p = np.exp(logs - logs.max())
            value = n / n_samples * np.log(np.maximum(n, 1) * n_samples / (a * b))
            total += (p * value).sum() / p.sum()
    return float(total)


def average(a: float, b: float, method: str) -> float:
    """One of four means of two numbers."""
    means = {"arithmetic": (a + b) / 2, "geometric": np.sqrt(a * b), "min": min(a, b), "max": max(a, b)}
    return float(means[method])


def adjusted_mutual_info_score(labels_true: np.ndarray, labels_pred: np.ndarray, average_method: str) -> float:
    """(information - expected) / (average entropy - expected)."""
    matrix = contingency_matrix(labels_true, labels_pred)
    if len(matrix) == matrix.shape[1] <= 1:
        return 1.0
    if 1 in matrix.shape:
        return 0.0
    expected = expected_mutual_information(matrix, len(labels_true))
    most = average(entropy(labels_true), entropy(labels_pred), average_method)
    return (mutual_information_of(matrix) - expected) / (most - expected)


def normalized_mutual_info_score(labels_true: np.ndarray, labels_pred: np.ndarray, average_method: str) -> float:
    """Information over the average entropy."""
    matrix = contingency_matrix(labels_true, labels_pred)
    if len(matrix) == matrix.shape[1] <= 1:
        return 1.0
    if 1 in matrix.shape:
        return 0.0
    information = mutual_information_of(matrix)
    most = average(entropy(labels_true), entropy(labels_pred), average_method)
    return information / most


def homogeneity_completeness_v_measure(
    labels_true: np.ndarray, labels_pred: np.ndarray, beta: float = 1.0
) -> tuple[float, float, float]:
    """Information over the entropy of classes, over that of clusters, and their weighted harmonic mean."""
    information = mutual_info_score(labels_true, labels_pred)
    homogeneity, completeness = (
        information / entropy(labels) if len(set(labels)) > 1 else 1.0 for labels in (labels_true, labels_pred)
    )
    weighted = beta * homogeneity + completeness
    return homogeneity, completeness, (1 + beta) * homogeneity * completeness / weighted if weighted else 0.0
