"""Plain NumPy twins of the ranking metrics, of those of probabilities, and of the sorting kernels behind them.

They take what the kernels take: labels 0 and 1, finite scores, probabilities in [0, 1]; no options of averaging.
"""

import numpy as np


def ranked_groups(
    score: np.ndarray, code: np.ndarray, num_codes: int = 2, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct scores, falling, and how many samples (or what weight) of each code have at least that score.

    score (N,) finite, code (N,) in [0, num_codes). Returns (G,) and (G, num_codes), int64 or with weights float64.
    """
    ranks = np.unique(score, return_inverse=True)[1]
    order = np.argsort(-ranks, kind="stable")
    score, code = score[order], code[order]
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    counts = np.empty((len(last), num_codes), np.int64 if weights is None else np.float64)
    for each in range(num_codes):
        amounts = (code == each) * (1 if weights is None else weights[order])
        counts[:, each] = np.cumsum(amounts)[last]
    return score[last], counts


def roc_area(
    y_true: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> tuple[int, float, float, float]:
    """(status, area under the ROC curve, weight of positives, of negatives); status 0 where the area is defined."""
    if len(y_true) != len(score) or len(score) == 0 or not np.isin(y_true, (0, 1)).all():
        return 1, np.nan, 0.0, 0.0
    if not np.isfinite(score).all():
        return 2, np.nan, 0.0, 0.0
    _, counts = ranked_groups(score, np.asarray(y_true, np.uint8), 2, weights)
    negatives, positives = counts[-1].tolist()
    if negatives <= 0 or positives <= 0:
        return 3, np.nan, positives, negatives
    fp, tp = np.concatenate([[[0, 0]], counts]).astype(float).T
    area = np.sum(np.diff(fp) * (tp[1:] + tp[:-1])) / (2.0 * positives * negatives)
    return 0, float(area), positives, negatives


def roc_auc_score(y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve."""
    return roc_area(y_true, y_score, weights)[1]


def roc_curve(
    y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray | None = None, drop_intermediate: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False positive rates, true positive rates, falling thresholds."""
    scores, counts = ranked_groups(y_score, y_true, 2, weights)
    if drop_intermediate and len(scores) > 2:
        keep = np.ones(len(scores), bool)
        keep[1:-1] = np.diff(counts, 2, axis=0).any(axis=1)
        scores, counts = scores[keep], counts[keep]
    fpr, tpr = np.concatenate([[[0.0, 0.0]], counts / counts[-1]]).T
    return fpr, tpr, np.append(np.inf, scores)


def auc(x: np.ndarray, y: np.ndarray) -> float:
    """Area under a curve by the trapezoidal rule, not negative for falling x."""
    return float(abs(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)))


def precision_recall_curve(
    y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall, rising thresholds."""
    scores, counts = ranked_groups(y_score, y_true, 2, weights)
    negatives, positives = counts.T[:, ::-1]
    total = positives[0]
    recall = positives / total if total else np.ones(len(scores))
    return np.append(positives / (positives + negatives), 1.0), np.append(recall, 0.0), scores[::-1]


def average_precision_score(y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean of the precisions, weighted with what recall gains at each threshold."""
    precision, recall, _ = precision_recall_curve(y_true, y_score, weights)
    return float(max(0.0, -np.sum(np.diff(recall) * precision[:-1])))


def log_loss(codes: np.ndarray, p: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean of -log(probability of the true class), clipped by the epsilon of p's dtype; p (N,) of class 1 or (N, C)."""
    table = p if p.ndim == 2 else np.stack([1 - p, p], axis=1)
    epsilon = np.finfo(p.dtype).eps
    chosen = np.clip(table[np.arange(len(codes)), codes], epsilon, 1 - epsilon).astype(float)
    return float(-np.average(np.log(chosen), weights=weights))


def brier_score_loss(codes: np.ndarray, p: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean squared distance of p from the truth; half of it for two classes."""
    table = (p if p.ndim == 2 else np.stack([1 - p, p], axis=1)).astype(float)
    squares = np.sum((table - (codes[:, None] == np.arange(table.shape[1]))) ** 2, axis=1)
    return float(np.average(squares, weights=weights)) * (0.5 if table.shape[1] == 2 else 1.0)
