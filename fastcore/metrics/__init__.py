"""Metrics with scikit-learn's names, arguments and numbers: classification, ranking, regression, clustering, uplift.

Public names load on first use (PEP 562): whoever needs one metric does not pay for the import of all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The one table of public names: the module each is found in.
_MODULE_OF = {
    name: f"fastcore.metrics.{module}"
    for module, names in {
        "classification": ("accuracy_score", "f1_score", "fbeta_score", "precision_score", "recall_score"),
        "precision_recall_fscore": ("precision_recall_fscore_support",),
        "confusion": ("confusion_matrix", "multilabel_confusion_matrix"),
        "lift": ("lift_curve", "lift_score"),
        "roc": ("auc", "roc_auc_score", "roc_curve"),
        "precision_recall": ("average_precision_score", "precision_recall_curve"),
        "probability": ("brier_score_loss", "log_loss"),
        "regression": (
            "explained_variance_score",
            "max_error",
            "mean_absolute_error",
            "mean_absolute_percentage_error",
            "mean_percentage_error",
            "mean_squared_error",
            "median_absolute_error",
            "r2_score",
            "root_mean_squared_error",
        ),
        "regression_summary": ("regression_report",),
        "contingency": ("contingency_matrix", "pair_confusion_matrix"),
        "mutual_information": (
            "adjusted_mutual_info_score",
            "entropy",
            "expected_mutual_information",
            "mutual_info_score",
            "normalized_mutual_info_score",
        ),
        "agreement": (
            "adjusted_rand_score",
            "completeness_score",
            "fowlkes_mallows_score",
            "homogeneity_completeness_v_measure",
            "homogeneity_score",
            "rand_score",
            "v_measure_score",
        ),
        "silhouette": ("silhouette_samples", "silhouette_score"),
        "treatment_effect": ("average_treatment_effect", "uplift"),
        "uplift_ranking": ("uplift_at_k", "uplift_by_percentile"),
        "uplift_curves": ("qini_auc_score", "qini_curve", "uplift_auc_score", "uplift_curve"),
        "resampling": ("BootstrapResult", "bootstrap"),
        "streams": ("stream",),
        "warning": ("UndefinedMetricWarning",),
    }.items()
    for name in names
}

# Repeated for type checkers, which read only literals; a test holds this list, the table and the imports together.
__all__ = [
    "BootstrapResult",
    "UndefinedMetricWarning",
    "accuracy_score",
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "auc",
    "average_precision_score",
    "average_treatment_effect",
    "bootstrap",
    "brier_score_loss",
    "completeness_score",
    "confusion_matrix",
    "contingency_matrix",
    "entropy",
    "expected_mutual_information",
    "explained_variance_score",
    "f1_score",
    "fbeta_score",
    "fowlkes_mallows_score",
    "homogeneity_completeness_v_measure",
    "homogeneity_score",
    "lift_curve",
    "lift_score",
    "log_loss",
    "max_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_percentage_error",
    "mean_squared_error",
    "median_absolute_error",
    "multilabel_confusion_matrix",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "pair_confusion_matrix",
    "precision_recall_curve",
    "precision_recall_fscore_support",
    "precision_score",
    "qini_auc_score",
    "qini_curve",
    "r2_score",
    "rand_score",
    "recall_score",
    "regression_report",
    "roc_auc_score",
    "roc_curve",
    "root_mean_squared_error",
    "silhouette_samples",
    "silhouette_score",
    "stream",
    "uplift",
    "uplift_at_k",
    "uplift_auc_score",
    "uplift_by_percentile",
    "uplift_curve",
    "v_measure_score",
]

if TYPE_CHECKING:
    from fastcore.metrics.agreement import (
        adjusted_rand_score,
        completeness_score,
        fowlkes_mallows_score,
        homogeneity_completeness_v_measure,
        homogeneity_score,
        rand_score,
        v_measure_score,
    )
    from fastcore.metrics.classification import accuracy_score, f1_score, fbeta_score, precision_score, recall_score
    from fastcore.metrics.confusion import confusion_matrix, multilabel_confusion_matrix
    from fastcore.metrics.contingency import contingency_matrix, pair_confusion_matrix
    from fastcore.metrics.lift import lift_curve, lift_score
    from fastcore.metrics.mutual_information import (
        adjusted_mutual_info_score,
        entropy,
        expected_mutual_information,
        mutual_info_score,
        normalized_mutual_info_score,
    )
    from fastcore.metrics.precision_recall import average_precision_score, precision_recall_curve
    from fastcore.metrics.precision_recall_fscore import precision_recall_fscore_support
    from fastcore.metrics.probability import brier_score_loss, log_loss
    from fastcore.metrics.regression import (
        explained_variance_score,
        max_error,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_percentage_error,
        mean_squared_error,
        median_absolute_error,
        r2_score,
        root_mean_squared_error,
    )
    from fastcore.metrics.regression_summary import regression_report
    from fastcore.metrics.resampling import BootstrapResult, bootstrap
    from fastcore.metrics.roc import auc, roc_auc_score, roc_curve
    from fastcore.metrics.silhouette import silhouette_samples, silhouette_score
    from fastcore.metrics.streams import stream
    from fastcore.metrics.treatment_effect import average_treatment_effect, uplift
    from fastcore.metrics.uplift_curves import qini_auc_score, qini_curve, uplift_auc_score, uplift_curve
    from fastcore.metrics.uplift_ranking import uplift_at_k, uplift_by_percentile
    from fastcore.metrics.warning import UndefinedMetricWarning
else:  # hidden from type checkers, which would otherwise take any misspelt name for a lazy one

    def __getattr__(name):
        module_name = _MODULE_OF.get(name)
        if module_name is None:
            raise AttributeError(f"module 'fastcore.metrics' has no attribute {name!r}")
        value = getattr(import_module(module_name), name)
        globals()[name] = value  # the next look-up does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
