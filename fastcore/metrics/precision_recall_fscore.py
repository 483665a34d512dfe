"""Precision, recall, F score and support at once."""

from collections.abc import Collection
from typing import Any

from fastcore._core import validate_classification as validate
from fastcore.metrics.label_scores import FSCORE, PRECISION, RECALL, WARN, question, scores


def precision_recall_fscore_support(
    y_true: Any,
    y_pred: Any,
    *,
    beta: float = 1.0,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = None,
    warn_for: Collection[str] = (PRECISION, RECALL, FSCORE),
    sample_weight: Any = None,
    zero_division: Any = WARN,
) -> tuple[Any, Any, Any, Any]:
    """Precision, recall, F score and support of each label, or averages of them.

    Axes: N samples, L labels of indicator matrices, K labels that are reported.

    Parameters
    ----------
    y_true, y_pred : (N,) labels or (N, L) indicators, as for `precision_score`
    beta : float, 0 to infinity; what recall counts beside precision in the F score
    labels, pos_label, average, sample_weight, zero_division : as for `precision_score`, but that there is no average
    warn_for : which of 'precision', 'recall' and 'f-score' warn where they are 0 / 0

    Returns
    -------
    precision, recall, fbeta : float, or (K,) float64 where ``average`` is None
    support : (K,) samples, or their weight, that have each label; None with an average

    Raises
    ------
    ValueError, TypeError : as for `precision_score`

    Notes
    -----
    The same as scikit-learn's, to 1e-12.
    """
    function = "precision_recall_fscore_support"
    beta = validate.beta(beta, function)
    asked = question(labels, pos_label, average, zero_division, validate.warn_for(warn_for, function), function)
    found, support = scores(y_true, y_pred, sample_weight, asked, beta, (PRECISION, RECALL, FSCORE))
    return found[PRECISION], found[RECALL], found[FSCORE], support if average is None else None
