"""torchmetrics: its functional interface on tensors that share the arrays' memory, without checks of values.

What classification and ranking give is float32.
"""

from functools import partial
from typing import Any

from benchmarks.peers import require, require_torch
from benchmarks.registry import Side, Unavailable

CLASSIFICATION = {
    "f1_score": "binary_f1_score",
    "roc_auc_score": "binary_auroc",
    "average_precision_score": "binary_average_precision",
}
MOST_ROWS = 1_000_000


def prepare(data: Any) -> Side:
    torch = require_torch()
    functional = require("torchmetrics.functional")
    target, prediction = map(torch.from_numpy, data.arrays[:2])
    name = CLASSIFICATION.get(data.task.function)
    if name is None:
        return data.side(partial(getattr(functional, data.task.function), prediction, target))
    if len(target) > MOST_ROWS:
        raise Unavailable(f"takes many seconds a call for more than {MOST_ROWS:,} rows")
    return data.side(partial(getattr(functional.classification, name), prediction, target, validate_args=False))
