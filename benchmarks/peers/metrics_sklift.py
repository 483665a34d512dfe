"""scikit-uplift: the functions of the same names."""

import warnings
from typing import Any

from benchmarks.peers import require
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    # scikit-learn's deprecation of what scikit-uplift calls: nothing for whoever runs the benchmark.
    warnings.filterwarnings("ignore", message="Function stable_cumsum", category=FutureWarning)
    return data.side(data.call_of(getattr(require("sklift.metrics"), data.task.function)))
