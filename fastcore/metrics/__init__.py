"""Metrics with scikit-learn's names, arguments and numbers: classification, ranking, regression, clustering, uplift.

Public names load on first use (PEP 562): whoever needs one metric does not pay for the import of all.
"""

from importlib import import_module
from typing import Any

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


def __getattr__(name: str) -> Any:
    module_name = _MODULE_OF.get(name)
    if module_name is None:
        raise AttributeError(f"module 'fastcore.metrics' has no attribute {name!r}")
    value = getattr(import_module(module_name), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*_MODULE_OF, *(name for name in globals() if name.startswith("__"))})
