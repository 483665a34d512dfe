"""scors, ranking metrics in Rust: labels as bools, the smallest dtype it takes."""

from functools import partial
from typing import Any

from benchmarks.peers import require
from benchmarks.registry import Side

FUNCTIONS = {"roc_auc_score": "roc_auc", "average_precision_score": "average_precision"}


def prepare(data: Any) -> Side:
    function = getattr(require("scors"), FUNCTIONS[data.task.function])
    labels, score = data.arrays[:2]
    return data.side(partial(function, labels.astype(bool), score, weights=data.keywords().get("sample_weight")))
