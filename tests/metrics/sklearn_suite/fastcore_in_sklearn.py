"""pytest plugin: fastcore's metrics stand for scikit-learn's before scikit-learn's test modules are imported."""

import collections
import functools
import json
import os

from fastcore import metrics
from fastcore.integrations import sklearn as integration
from fastcore.integrations import substitution

CALLS: collections.Counter[str] = collections.Counter()
MISSING: list[str] = []


def counted(name, function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        CALLS[name] += 1
        return function(*args, **kwargs)

    return call


def pytest_configure(config):
    functions = {}
    for name in integration.substituted_names():
        try:
            ours = getattr(metrics, name)
        except (ImportError, AttributeError) as error:
            MISSING.append(f"{name} ({error})")
            continue
        functions[name] = integration.theirs(name), counted(name, ours)
    substitution.enter("sklearn", functions, integration._SCORER_FUNCTION)


def pytest_terminal_summary(terminalreporter):
    calls = {name: CALLS[name] for name in integration.substituted_names() if substitution.in_place("sklearn", name)}
    terminalreporter.write_line("fastcore in place, and calls: " + ", ".join(f"{n} {c}" for n, c in calls.items()))
    if MISSING:
        terminalreporter.write_line("scikit-learn's own stood: " + ", ".join(MISSING))
    if "FASTCORE_SUITE_CALLS" in os.environ:
        with open(os.environ["FASTCORE_SUITE_CALLS"], "w", encoding="utf-8") as file:
            json.dump(calls, file)
