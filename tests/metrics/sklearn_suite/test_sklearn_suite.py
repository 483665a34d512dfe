"""scikit-learn's own tests of its metrics, with fastcore's in their place.

Each module runs in a process of its own, since its parameters are made at import and ours must be there first.
A failure here lists the failed tests of scikit-learn with what they said; `run.py` beside this file repeats a module.
"""

import importlib.util
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import STDOUT, run
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
LONGEST_MESSAGE = 1500  # characters of a failure, from its end


def load(name):
    """A neighbour of this file: pytest imports test files without putting their folder on the path."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


suite = load("run")

# Module -> tests that pass at least: those of scikit-learn 1.9.1 without torch and polars, less some room for the next.
AT_LEAST = {
    "test_common": 1600,
    "test_classification": 240,
    "test_ranking": 235,
    "test_regression": 25,
    "test_score_objects": 265,
    "test_cluster_common": 75,
    "test_supervised": 53,
    "test_unsupervised": 46,
    "test_confusion_matrix_display": 33,
    "test_precision_recall_display": 70,
    "test_roc_curve_display": 145,
    "test_public_functions": 30,
}


class Outcome(NamedTuple):
    output: str
    outcomes: dict
    messages: dict
    calls: dict
    missing: list


def run_module(module: str, folder: Path) -> Outcome:
    report = folder / f"{module}.json"
    environment = {**suite.environment(module), "FASTCORE_SUITE_REPORT": str(report)}
    done = run(
        suite.command(module, "--tb=short"), env=environment, cwd=suite.SITE, stdout=-1, stderr=STDOUT, text=True
    )
    if not report.exists():
        return Outcome(done.stdout, {}, {}, {}, [])
    return Outcome(done.stdout, **json.loads(report.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """Module -> its outcome, of the modules selected in this session: they run at once, two at a time."""
    asked = {
        item.callspec.params["module"]
        for item in request.session.items
        if item.path == Path(__file__) and hasattr(item, "callspec")
    }
    folder = tmp_path_factory.mktemp("sklearn_suite")
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        yield {module: pool.submit(run_module, module, folder) for module in AT_LEAST if module in asked}


@pytest.mark.parametrize("module", AT_LEAST)
def test_sklearn_suite_passes(module, outcomes):
    outcome = outcomes[module].result()
    assert outcome.outcomes, f"{module} did not run:\n{outcome.output[-6000:]}"
    failed = [f"{test}\n{outcome.messages[test][-LONGEST_MESSAGE:]}" for test in outcome.outcomes.get("failed", ())]
    assert not failed, f"{len(failed)} tests of scikit-learn fail with ours in place:\n\n" + "\n\n".join(failed)
    assert outcome.outcomes["unknown"] == [], "excused.py names tests that do not exist"
    assert len(outcome.outcomes["passed"]) >= AT_LEAST[module], outcome.output[-3000:]


def test_sklearn_suite_calls_every_metric(outcomes):
    if len(outcomes) < len(AT_LEAST):
        pytest.skip("only some of the modules were selected")
    done = [future.result() for future in outcomes.values()]
    assert {name for outcome in done for name in outcome.missing} == set()
    calls = {name: sum(outcome.calls.get(name, 0) for outcome in done) for name in done[0].calls}
    assert [name for name, number in calls.items() if number < 2] == []
    assert sum(calls.values()) > 10_000
