"""Run tests of scikit-learn with fastcore's metrics in place: run.py test_ranking [options of pytest]."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SITE = Path(importlib.util.find_spec("sklearn").origin).parents[1]

MODULES = {
    "test_common": "sklearn.metrics.tests.test_common",
    "test_classification": "sklearn.metrics.tests.test_classification",
    "test_ranking": "sklearn.metrics.tests.test_ranking",
    "test_regression": "sklearn.metrics.tests.test_regression",
    "test_score_objects": "sklearn.metrics.tests.test_score_objects",
    "test_cluster_common": "sklearn.metrics.cluster.tests.test_common",
    "test_supervised": "sklearn.metrics.cluster.tests.test_supervised",
    "test_unsupervised": "sklearn.metrics.cluster.tests.test_unsupervised",
    "test_confusion_matrix_display": "sklearn.metrics._plot.tests.test_confusion_matrix_display",
    "test_precision_recall_display": "sklearn.metrics._plot.tests.test_precision_recall_display",
    "test_roc_curve_display": "sklearn.metrics._plot.tests.test_roc_curve_display",
    "test_public_functions": "sklearn.tests.test_public_functions",
    "test_mutual_info": "sklearn.feature_selection.tests.test_mutual_info",
    "test_classification_threshold": "sklearn.model_selection.tests.test_classification_threshold",
    "test_permutation_importance": "sklearn.inspection.tests.test_permutation_importance",
    "test_scoring_monitor": "sklearn.callback.tests.test_scoring_monitor",
    "test_validation": "sklearn.model_selection.tests.test_validation",
    "test_search": "sklearn.model_selection.tests.test_search",
}


def command(module: str, *options: str) -> list[str]:
    """-P: the folder it runs in is no place to import from, and without -c the settings of this repository applied."""
    target = ["--pyargs", MODULES.get(module, module)]
    plain = ["-c", os.devnull, "--rootdir", str(SITE), "-p", "no:cacheprovider", "-p", "fastcore_in_sklearn"]
    return [sys.executable, "-P", "-m", "pytest", *target, *plain, "-q", *options]


def environment(module: str) -> dict[str, str]:
    """Kernels come from the cache of the tests; what changes scikit-learn's tests is not inherited."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SKLEARN_", "SCIPY_", "PYTEST_"))}
    path = os.pathsep.join([str(HERE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    cache = os.environ.get("FASTCORE_CACHE_DIR", str(ROOT / ".cache" / "tests"))
    return {**kept, "PYTHONPATH": path, "FASTCORE_CACHE_DIR": cache, "FASTCORE_SUITE_MODULE": module}


if __name__ == "__main__":
    sys.exit(subprocess.call(command(*sys.argv[1:]), env=environment(sys.argv[1]), cwd=SITE))
