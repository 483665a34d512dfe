"""Run tests of scikit-learn with fastcore's metrics in place: run.py test_ranking [options of pytest]."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SITE = Path(importlib.util.find_spec("sklearn").origin).parents[1]
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

MODULES = {
    "test_common": "sklearn.metrics.tests.test_common",
    "test_classification": "sklearn.metrics.tests.test_classification",
    "test_ranking": "sklearn.metrics.tests.test_ranking",
    "test_regression": "sklearn.metrics.tests.test_regression",
    "test_score_objects": "sklearn.metrics.tests.test_score_objects",
    "test_cluster_common": "sklearn.metrics.cluster.tests.test_common",
    "test_supervised": "sklearn.metrics.cluster.tests.test_supervised",
    "test_unsupervised": "sklearn.metrics.cluster.tests.test_unsupervised",
}


def command(module: str, *options: str) -> list[str]:
    target = ["--pyargs", MODULES.get(module, module)]
    plain = ["-c", os.devnull, "--rootdir", str(SITE), "-p", "no:cacheprovider", "-p", "fastcore_in_sklearn"]
    return [sys.executable, "-P", "-m", "pytest", *target, *plain, "-q", *options]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(HERE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    cache = os.environ.get("FASTCORE_CACHE_DIR", str(ROOT / ".cache" / "tests"))
    return {**os.environ, "PYTHONPATH": path, "FASTCORE_CACHE_DIR": cache}


if __name__ == "__main__":
    sys.exit(subprocess.call(command(*sys.argv[1:]), env=environment(), cwd=SITE))
