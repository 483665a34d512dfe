"""scikit-uplift: the functions of the same names."""

from typing import Any

from benchmarks.peers import require
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    return data.side(data.call_of(getattr(require("sklift.metrics"), data.task.function)))
