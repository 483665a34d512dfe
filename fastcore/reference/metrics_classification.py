"""Classification metrics by their definitions, label by label: plain NumPy on labels, or on dense indicators (N, L)."""

from typing import Any

import numpy as np


def label_indicators(y_true: Any, y_pred: Any, labels: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labels (K,), true (N, K), pred (N, K)): bools of whether samples have, and were given, each label."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim == 2:
        labels = np.arange(y_true.shape[1]) if labels is None else np.asarray(labels)
        return labels, y_true[:, labels] != 0, y_pred[:, labels] != 0
    labels = np.unique(np.concatenate([np.unique(y_true), np.unique(y_pred)])) if labels is None else np.asarray(labels)
    return labels, y_true[:, None] == labels, y_pred[:, None] == labels


def multilabel_confusion_matrix(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, labels: Any = None, samplewise: bool = False
) -> np.ndarray:
    """(K, 2, 2) or (N, 2, 2): [[true negatives, false positives], [false negatives, true positives]]."""
    _, true, pred = label_indicators(y_true, y_pred, labels)
    weights = np.ones(len(true), np.int64) if sample_weight is None else np.asarray(sample_weight)
    axis = 1 if samplewise else 0
    cells = (~true & ~pred, ~true & pred, true & ~pred, true & pred)
    return np.stack([(cell * weights[:, None]).sum(axis) for cell in cells], -1).reshape(-1, 2, 2)


def confusion_matrix(
    y_true: Any, y_pred: Any, *, labels: Any = None, sample_weight: Any = None, normalize: str | None = None
) -> np.ndarray:
    """(K, K): samples of each true label (rows) that were given each label (columns)."""
    _, true, pred = label_indicators(y_true, y_pred, labels)
    weights = np.ones(len(true), np.int64) if sample_weight is None else np.asarray(sample_weight)
    matrix = (true * weights[:, None]).T @ pred.astype(weights.dtype)
    if normalize is None:
        return matrix
    total = matrix.sum({"true": 1, "pred": 0, "all": None}[normalize], keepdims=True)
    return np.where(total == 0, 0.0, matrix / np.where(total == 0, 1, total))


def accuracy_score(y_true: Any, y_pred: Any, *, normalize: bool = True, sample_weight: Any = None) -> float:
    """Share, or number, of samples that are right in all their labels."""
    right = np.asarray(y_true) == np.asarray(y_pred)
    right = right.reshape(len(right), -1).all(1)
    weights = np.ones(len(right)) if sample_weight is None else np.asarray(sample_weight)
    return float((right * weights).sum() / (weights.sum() if normalize else 1))


def precision_recall_fscore_support(
    y_true: Any,
    y_pred: Any,
    *,
    beta: float = 1.0,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = None,
    sample_weight: Any = None,
    zero_division: float = 0.0,
) -> tuple[Any, Any, Any, Any]:
    """Precision, recall, F score, and support of each label where there is no average."""
    labels = [pos_label] if average == "binary" else labels
    options = {"sample_weight": sample_weight, "labels": labels, "samplewise": average == "samples"}
    matrices = multilabel_confusion_matrix(y_true, y_pred, **options)
    if average == "micro":
        matrices = matrices.sum(0, keepdims=True)
    fp, fn, tp = matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1]
    fscore = (tp, tp + fn) if np.isinf(beta) else ((1 + beta**2) * tp, (1 + beta**2) * tp + beta**2 * fn + fp)
    precision, recall = _ratio(tp, tp + fp, zero_division), _ratio(tp, tp + fn, zero_division)
    fbeta = _ratio(fscore[0], fscore[1], zero_division)
    if average is None:
        return precision, recall, fbeta, tp + fn
    weights = {"weighted": tp + fn, "samples": sample_weight}.get(average)
    return _nan_average(precision, weights), _nan_average(recall, weights), _nan_average(fbeta, weights), None


def _ratio(numerator: np.ndarray, denominator: np.ndarray, zero_division: float) -> np.ndarray:
    return np.where(denominator == 0, zero_division, numerator / np.where(denominator == 0, 1, denominator))


def _nan_average(values: np.ndarray, weights: Any) -> float:
    there = ~np.isnan(values)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    if not there.any():
        return float("nan")
    if weights[there].sum() == 0:
        return float(values[there].mean())
    return float((values * weights)[there].sum() / weights[there].sum())


def precision_score(y_true: Any, y_pred: Any, *, average: str | None = "binary", **options: Any) -> Any:
    """tp / (tp + fp)."""
    return precision_recall_fscore_support(y_true, y_pred, average=average, **options)[0]


def recall_score(y_true: Any, y_pred: Any, *, average: str | None = "binary", **options: Any) -> Any:
    """tp / (tp + fn)."""
    return precision_recall_fscore_support(y_true, y_pred, average=average, **options)[1]


def fbeta_score(y_true: Any, y_pred: Any, *, beta: float, average: str | None = "binary", **options: Any) -> Any:
    """(1 + β²) tp / ((1 + β²) tp + β² fn + fp)."""
    return precision_recall_fscore_support(y_true, y_pred, beta=beta, average=average, **options)[2]


def f1_score(y_true: Any, y_pred: Any, *, average: str | None = "binary", **options: Any) -> Any:
    """2 tp / (2 tp + fp + fn)."""
    return fbeta_score(y_true, y_pred, beta=1.0, average=average, **options)


def lift_score(y_true: Any, y_pred: Any, *, pos_label: Any = 1, sample_weight: Any = None) -> float:
    """Precision over the proportion of positives."""
    true = np.asarray(y_true) == pos_label
    weights = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight)
    precision = precision_score(y_true, y_pred, pos_label=pos_label, sample_weight=sample_weight)
    return float(precision / (weights[true].sum() / weights.sum()))


def lift_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = 1, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fraction, lift, thresholds), each (G,): of the samples that score at least each distinct threshold, falling."""
    true, score = np.asarray(y_true) == pos_label, np.asarray(y_score)
    weights = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight)
    thresholds = np.unique(score[weights != 0])[::-1]
    taken = np.array([weights[score >= threshold].sum() for threshold in thresholds])
    positives = np.array([weights[(score >= threshold) & true].sum() for threshold in thresholds])
    return taken / taken[-1], (positives / taken) / (positives[-1] / taken[-1]), thresholds
