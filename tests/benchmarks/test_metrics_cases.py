"""The cases of `fastcore.metrics` with few rows: what they time, and what judges many rows, is right."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from benchmarks import session
from benchmarks.cases import metrics_task
from benchmarks.registry import METRICS, NUMPY, OURS

TASKS = [task for domain in METRICS for task in import_module(f"benchmarks.cases.{domain}").tasks()]
# Of 60 rows in 1000 clusters hardly two are together.
PAIRS = [(task, rows) for task in TASKS if task.sizes.get("K") != 1000 for rows in sorted({60, min(*task.rows, 60)})]
IDS = [task.name(rows) for task, rows in PAIRS]


@pytest.mark.parametrize("task, rows", PAIRS, ids=IDS)
def test_ours_and_numpy_agree_with_the_definition(task, rows):
    case = metrics_task.case(task, rows)
    sides, entries = session.prepare(case, case.make(), [])
    assert set(sides) == {OURS, NUMPY}, entries


@pytest.mark.peer
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.group)
def test_peers_agree_with_the_definition(task):
    # Of 60 rows in 1000 clusters nearly all stand alone: what is left over chance is rounding.
    case = metrics_task.case(task, 1000 if task.sizes.get("K") == 1000 else 60)
    _, entries = session.prepare(case, case.make(), list(case.peers))
    assert not [entry for entry in entries.values() if "failed" in entry], entries


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.group)
def test_input_is_seeded(task):
    first, second = (metrics_task.make(task, 60) for _ in range(2))
    for x, y in zip(first.arrays, second.arrays, strict=True):
        np.testing.assert_array_equal(x, y)


def test_many_rows_are_judged_by_numpy():
    task = TASKS[0]
    data = metrics_task.make(task, 60)
    assert metrics_task.check(data).expected == task.twin(*data.arrays)
    small = replace(task, twin_rows=59, naive=lambda *arrays: 7.0)
    assert metrics_task.check(metrics_task.Input(small, data.arrays)).expected == 7.0


def test_quick_selection_has_six_metrics():
    """More would take the time of others."""
    quick = [task.name(task.quick_rows) for task in TASKS if task.quick_rows]
    assert len(quick) == 6
    assert all(task.quick_rows in task.rows for task in TASKS if task.quick_rows)
