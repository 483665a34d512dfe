"""pytest plugin: fastcore's metrics stand for scikit-learn's before scikit-learn's test modules are imported."""

import collections
import functools
import json
import os
import sys
from pathlib import Path

import excused
import pytest

from fastcore import metrics
from fastcore._core.validate_targets import InvalidParameterError
from fastcore.integrations import sklearn as integration
from fastcore.integrations import substitution

REPORT = os.environ.get("FASTCORE_SUITE_REPORT")  # where the outcome goes, as JSON

calls: collections.Counter[str] = collections.Counter()
missing: list[str] = []
outcomes: dict[str, list[str]] = collections.defaultdict(list)
messages: dict[str, str] = {}


def counted(name, function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        calls[name] += 1
        return function(*args, **kwargs)

    call.__module__, call.__qualname__ = __name__, name  # pickled by reference, as functions are
    globals()[name] = call
    return call


def __getattr__(name):
    """In joblib's worker processes, which unpickle what `counted` made in another."""
    if name not in metrics._MODULE_OF:
        raise AttributeError(name)
    return counted(name, getattr(metrics, name))


def pytest_configure(config):
    functions = {}
    for name in integration.substituted_names():
        try:
            ours = getattr(metrics, name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name} ({error})")
            continue
        theirs = integration.theirs(name)
        functions[name] = theirs, counted(name, ours)
        functions[name][1]._skl_parameter_constraints = getattr(theirs, "_skl_parameter_constraints", None)
        calls[name] = 0
    substitution.enter("sklearn", functions, integration.SCORER_FUNCTION)


def checks_another_function(item):
    """Of scikit-learn's 220 functions, test_public_functions is run for those that are ours here."""
    if item.module.__name__ != "sklearn.tests.test_public_functions":
        return False
    return item.callspec.params.get("func_module", "").split(".")[-1] not in calls


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    module = os.environ["FASTCORE_SUITE_MODULE"]
    left_out = excused.DESELECTED.get(module, ())
    dropped = [item for item in items if item.originalname in left_out or checks_another_function(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]
    reasons = excused.EXCUSED.get(module, {})
    for item in items:
        if item.name in reasons:
            item.add_marker(pytest.mark.xfail(reason=reasons[item.name], strict=True))
    unknown = {*reasons, *left_out} - {item.name for item in items} - {item.originalname for item in dropped}
    outcomes["unknown"] += sorted(unknown)


def pytest_runtest_logreport(report):
    """One outcome a test: that of the call, or what kept it from being called."""
    if report.when != "call" and report.passed:
        return
    kind = ("xfailed" if report.skipped else "xpassed") if hasattr(report, "wasxfail") else report.outcome
    outcomes[kind].append(report.nodeid)
    if report.failed:
        messages[report.nodeid] = report.longreprtext


def pytest_collection_finish(session):
    """test_public_functions looks for scikit-learn's class of errors; that of ours has the same two bases."""
    module = sys.modules.get("sklearn.tests.test_public_functions")
    if module is not None:
        module.InvalidParameterError = (module.InvalidParameterError, InvalidParameterError)


def pytest_collectreport(report):
    if report.failed:
        outcomes["failed"].append(report.nodeid)
        messages[report.nodeid] = report.longreprtext


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("fastcore in place, and calls: " + ", ".join(f"{n} {c}" for n, c in calls.items()))
    if missing:
        terminalreporter.write_line("scikit-learn's own stood: " + ", ".join(missing))
    if REPORT:
        report = {"outcomes": outcomes, "messages": messages, "calls": calls, "missing": missing}
        Path(REPORT).write_text(json.dumps(report), encoding="utf-8")
