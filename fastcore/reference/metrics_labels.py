"""Distinct labels, codes and counts of pairs, by NumPy."""

import numpy as np


def encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `fastcore.metrics.labels.encode`."""
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    return classes, codes


def pair_histogram(
    a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(classes_a, classes_b, matrix of the counts of each pair, or of the sums of their weights)."""
    (classes_a, codes_a), (classes_b, codes_b) = encode(a), encode(b)
    matrix = np.zeros((len(classes_a), len(classes_b)), np.int64 if weights is None else np.float64)
    np.add.at(matrix, (codes_a, codes_b), 1 if weights is None else np.asarray(weights, np.float64))
    return classes_a, classes_b, matrix


def per_label_counts(
    codes_true: np.ndarray, codes_pred: np.ndarray, num_labels: int, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tp, true_sum, pred_sum), each (num_labels,)."""
    labels = np.arange(num_labels)
    is_true, is_pred = codes_true == labels[:, None], codes_pred == labels[:, None]
    each = 1 if weights is None else np.asarray(weights, np.float64)
    return tuple((cells * each).sum(1) for cells in (is_true & is_pred, is_true, is_pred))


def binary_counts(y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, ...]:
    """(true_sum, pred_sum, both) of labels 0 and 1."""
    each = 1 if weights is None else np.asarray(weights, np.float64)
    is_true, is_pred = np.asarray(y_true) == 1, np.asarray(y_pred) == 1
    return tuple((cells * each).sum() for cells in (is_true, is_pred, is_true & is_pred))
