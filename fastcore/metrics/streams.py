"""Metrics over data that comes in batches: from loaders, folds, processes or machines."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_streams as check
from fastcore.metrics.stream_state import Stream

__all__ = ["Stream", "stream"]


class Family(NamedTuple):
    """Metrics that stream alike: where their state is, what a batch consists of, and a tiny one."""

    module: str
    state: str
    arguments: tuple[str, ...]
    sample: tuple[Any, ...]
    metrics: tuple[str, ...]


_TWO = np.array([0, 1, 0, 1])
_HALVES = np.array([0.1, 0.2, 0.8, 0.9])
_GROUPS = np.array([0, 0, 1, 1])
_FAMILIES = (
    Family(
        "stream_labels",
        "LabelStream",
        ("y_true", "y_pred"),
        (_TWO, _GROUPS),
        (
            "accuracy_score",
            "confusion_matrix",
            "f1_score",
            "fbeta_score",
            "lift_score",
            "multilabel_confusion_matrix",
            "precision_recall_fscore_support",
            "precision_score",
            "recall_score",
        ),
    ),
    Family(
        "stream_labels",
        "ClusteringStream",
        ("labels_true", "labels_pred"),
        (_TWO, _GROUPS),
        (
            "adjusted_mutual_info_score",
            "adjusted_rand_score",
            "completeness_score",
            "contingency_matrix",
            "fowlkes_mallows_score",
            "homogeneity_completeness_v_measure",
            "homogeneity_score",
            "mutual_info_score",
            "normalized_mutual_info_score",
            "pair_confusion_matrix",
            "rand_score",
            "v_measure_score",
        ),
    ),
    Family("stream_labels", "ClusteringStream", ("labels",), (_TWO,), ("entropy",)),
    Family(
        "stream_scores",
        "ScoreStream",
        ("y_true", "y_score"),
        (_TWO, _HALVES),
        ("average_precision_score", "lift_curve", "precision_recall_curve", "roc_auc_score", "roc_curve"),
    ),
    Family(
        "stream_moments",
        "RegressionStream",
        ("y_true", "y_pred"),
        (_TWO + 1.0, _HALVES),
        (
            "explained_variance_score",
            "max_error",
            "mean_absolute_error",
            "mean_absolute_percentage_error",
            "mean_percentage_error",
            "mean_squared_error",
            "r2_score",
            "regression_report",
            "root_mean_squared_error",
        ),
    ),
    Family("stream_moments", "EffectStream", ("outcome", "treatment"), (_HALVES, _TWO), ("average_treatment_effect",)),
    Family("stream_sums", "LossStream", ("y_true", "y_proba"), (_TWO, _HALVES), ("brier_score_loss", "log_loss")),
    Family("stream_uplift", "UpliftStream", ("y", "treatment"), (_TWO, _GROUPS), ("uplift",)),
    Family(
        "stream_uplift",
        "UpliftRankStream",
        ("y_true", "uplift", "treatment"),
        (_TWO, _HALVES, _GROUPS),
        ("qini_auc_score", "qini_curve", "uplift_auc_score", "uplift_curve"),
    ),
)
_FAMILY_OF = {name: family for family in _FAMILIES for name in family.metrics}
_REASONS = {
    "median_absolute_error": "a median needs all the errors at once",
    "silhouette_score": "it needs the distances of each sample to all others",
    "silhouette_samples": "it needs the distances of each sample to all others",
    "uplift_at_k": "which rows are the first k, among equal scores, follows from the order of all rows",
    "uplift_by_percentile": "which rows are in a percentile, among equal scores, follows from the order of all rows",
    "expected_mutual_information": "it takes a contingency matrix, which stream(contingency_matrix) gives",
    "auc": "its points are no samples; stream roc_auc_score or roc_curve",
    "bootstrap": "resamples are drawn from all the data",
}


def stream(metric: Callable[..., Any], *, bins: int | None = None, **options: Any) -> Any:
    """A state of a metric, to which batches of samples are added, and other states.

    Parameters
    ----------
    metric : function of this package: one of classification, ranking (labels of two classes), regression but for the
        median, probabilities, clusterings by labels, `average_treatment_effect` without pairs, `uplift`, or an uplift
        or Qini curve or area
    bins : int, optional, for `roc_auc_score`: scores are counted in so many bins from ``low`` to ``high`` (0.0 and 1.0
        unless given), those outside in the first and the last one, in fixed memory. The state then has
        ``error_bound()``, for how far ``result()`` may be off. By default all distinct scores are kept.
    **options : of the metric, by name. Arrays are copied.

    Returns
    -------
    Stream : with ``update(*arrays, sample_weight=None)``, ``merge(other)``, ``result()``, ``copy()`` and ``rows``.
        ``result()`` is ``metric`` of all the batches put together, with the same warnings and errors.

    Raises
    ------
    TypeError : metric is none of these, or cannot be streamed, which the message explains; unknown options
    ValueError : values of options that the metric refuses

    Notes
    -----
    A batch that is refused leaves the state as it was. Empty batches are none. States can be pickled and copied, and
    used by several threads.

    What is kept: counts of the distinct pairs of labels; distinct scores with the counts of each class, in runs that
    are joined when there are eight of about one size, so that a sample is moved O(log) times in all; for regression
    sums, and moments merged as in Chan, Golub and LeVeque 1983; for losses compensated sums. Without weights, results
    from counts (labels, clusterings, scores, uplift) are the same to the last bit however data is divided into
    batches and these are merged; sums of floats, and of weights, are to rounding.

    What the metric would learn from all labels must be known early: `log_loss` and `brier_score_loss` need ``labels``
    or ``pos_label`` unless labels are 0 and 1, or -1 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcore.metrics import f1_score, stream
    >>> state = stream(f1_score)
    >>> state.update(np.array([0, 1, 1]), np.array([0, 1, 0])).update(np.array([1]), np.array([1]))
    <stream(f1_score): 4 rows>
    >>> state.merge(stream(f1_score).update(np.array([0]), np.array([1]))).result()
    0.6666666666666666
    """
    name = check.metric(metric)
    family = _FAMILY_OF.get(name)
    if family is None:
        check.cannot_be_streamed(name, _REASONS.get(name))
    module = import_module(f"fastcore.metrics.{family.module}")
    if bins is None:
        return getattr(module, family.state)(metric, family.arguments, options, family.sample)
    check.bins_are_for(name)
    histogram = check.number_of_bins(bins, options.pop("low", 0.0), options.pop("high", 1.0))
    return module.HistogramStream(metric, family.arguments, options, family.sample, histogram)
