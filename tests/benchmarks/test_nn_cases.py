"""The cases of `fastcore.nn` on few elements: what they time, and what judges it, is right."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks import registry, session
from benchmarks.cases import nn as nn_cases
from benchmarks.cases import nn_task, nn_training
from fastcore import nn

FEW = {"N": 70, "E": 48, "C": 5, "H": 3, "W": 7}
PROBLEMS = {
    problem.name: (part.TASKS[problem.function], problem)
    for part in nn_cases.PARTS
    for problem in (
        replace(each, sizes={letter: min(size, FEW[letter]) for letter, size in each.sizes.items()})
        for each in part.problems()
    )
    if problem.function in nn.__all__
}
SMALL = {
    **{name: partial(nn_task.case, *each) for name, each in PROBLEMS.items()},
    "dropout": partial(nn_training.dropout_case, 40_000),
    "adamw_step": partial(nn_training.adamw_case, 9000),
}


@pytest.mark.parametrize("name", SMALL)
def test_ours_and_naive_sides_are_right(name):
    case = SMALL[name]()
    sides, entries = session.prepare(case, case.make(), [])
    assert set(sides) == {registry.OURS, registry.NUMPY}, entries


@pytest.mark.peer
@pytest.mark.parametrize("name", SMALL)
def test_peers_are_right(name):
    case = SMALL[name]()
    _, entries = session.prepare(case, case.make(), list(case.peers))
    assert not {side: entry for side, entry in entries.items() if "failed" in entry}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_sum_over_rows_that_is_wrong_is_told(name):
    case = SMALL[name]()
    data = case.make()
    right = case.naive(data).call()
    results = [array.copy() for array in right] if isinstance(right, tuple) else [right.copy()]
    results[-1].reshape(-1)[0] += 1.0
    side = registry.Side(lambda: tuple(results), nn_task.judged)
    assert session.error_of(case.check(data), side) > case.tolerance


@pytest.mark.parametrize("change", ["unscaled", "halved mask"])
def test_wrong_dropout_is_told(change):
    case = SMALL["dropout"]()
    x = case.make()
    rng = np.random.default_rng(3)
    kept = rng.random(x.shape) >= (nn_task.P / 2 if change == "halved mask" else nn_task.P)
    result = np.where(kept, x if change == "unscaled" else x / (1 - nn_task.P), 0)
    side = registry.Side(lambda: result.astype(np.float32), partial(nn_task.dropout_judged, x))
    assert session.error_of(case.check(x), side) > case.tolerance


def test_results_that_are_given_memory_are_bound_by_a_copy_of_as_many_bytes():
    case = SMALL[next(name for name in PROBLEMS if name.endswith("/out"))]()
    data = case.make()
    assert case.bound is not None
    for side in case.bound(data):
        copied = side.collect(side.call())
        assert 2 * copied.nbytes >= case.bytes_moved
