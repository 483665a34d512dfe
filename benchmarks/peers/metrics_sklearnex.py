"""Intel's extension of scikit-learn (oneDAL), of whose metrics roc_auc_score is the only one here."""

from typing import Any

from benchmarks.peers import require
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    return data.side(data.call_of(getattr(require("sklearnex.metrics"), data.task.function)))
