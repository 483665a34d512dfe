"""A frozen run and a small fake case."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.registry import Case, Check, Side


@pytest.fixture
def run() -> dict:
    """Two timed cases and one in which ours failed; see `benchmarks/report.py`."""
    return json.loads((Path(__file__).parent / "run.json").read_text(encoding="utf-8"))


def doubling(factor: float) -> Callable[[Any], Side]:
    """A side that multiplies by `factor`; 2 is right."""
    return lambda data: Side(lambda: data * factor, np.asarray)


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """The case "twice the input", with any side replaced."""

    def make(name: str = "fake/f64/N64", **changed: Any) -> Case:
        fields: dict[str, Any] = {
            "group": "fake",
            "sizes": {"L": int(re.findall(r"\d+", name)[-1])},
            "dtype": "float64",
            "make": lambda: np.arange(64.0),
            "ours": doubling(2.0),
            "naive": doubling(2.0),
            "check": lambda data: Check(lambda result: result[::2], 2.0 * data[::2]),
            "flops": 64.0,
            "bytes_moved": 1024.0,
            "tolerance": 1e-12,
            "quick": True,
        }
        return Case(name=name, **(fields | changed))

    return make
