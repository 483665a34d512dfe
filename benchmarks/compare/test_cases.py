"""pytest-benchmark: `pytest benchmarks/compare -k "L512 and causal"`; one table for each case, one row for each side.

`pytest benchmarks/compare --benchmark-columns=median,iqr,rounds` keeps the table narrow. Quick cases only, unless
FASTCORE_BENCH_ALL is set. Wrong results fail; sides that are not installed are skipped.
"""

import os
from functools import lru_cache
from typing import Any

import pytest

from benchmarks import environment

environment.unset_openblas()  # before the registry loads NumPy

from benchmarks import registry, session, timing  # noqa: E402

# Deprecations inside of the libraries we compare with are not ours to fix.
pytestmark = pytest.mark.filterwarnings("default")

PAIRS = [
    (case, side) for case in registry.select(quick="FASTCORE_BENCH_ALL" not in os.environ) for side in case.factories()
]


@lru_cache(maxsize=1)
def prepared(case_name: str) -> tuple[Any, registry.Check]:
    """Input and reference of the case that is being run; pairs come case by case."""
    case = next(case for case in registry.all_cases() if case.name == case_name)
    data = case.make()
    return data, case.check(data)


@pytest.fixture
def idle() -> None:
    """Let the workers of the side before come to rest."""
    timing.wait_until_idle()


@pytest.mark.parametrize("case, side", PAIRS, ids=[f"{case.name}-{side}" for case, side in PAIRS])
def test_case(case: registry.Case, side: str, benchmark: Any, idle: None) -> None:
    try:
        data, check = prepared(case.name)
        contestant, error = session.first_right(check, case.factories()[side](data), case.tolerance)
    except registry.Unavailable as reason:
        pytest.skip(str(reason))
    assert error <= case.tolerance
    benchmark.group = case.name
    benchmark.name = side
    benchmark.extra_info.update(error=error, setup=contestant.setup)
    benchmark.pedantic(contestant.call, rounds=15, iterations=timing.calibrate(contestant)[1], warmup_rounds=1)
