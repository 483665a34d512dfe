"""The quick cases of the registry as asv benchmarks: time, peak memory, and our time as a part of NumPy's."""

import sys
from typing import Any

from benchmarks import environment

environment.unset_openblas()  # before the registry loads NumPy

from benchmarks import registry, timing  # noqa: E402

CASES = {case.name: case for case in registry.select(quick=True, cases=registry.cases_of_this_commit())}
NAMES = list(CASES)


def warm() -> None:
    """Call every case once, so that no measured process compiles: memory peaks in the compiler. See `asv_compare`."""
    for case in CASES.values():
        try:
            case.ours(case.make()).call()
        except Exception as error:  # asv meets it again and reports it with its case
            print(f"{case.name} not warmed: {error}", file=sys.stderr)


class Quick:
    """Input and compiled code, made outside of what is measured."""

    params = NAMES
    param_names = ("case",)
    timeout = 300

    def setup(self, name: str) -> None:
        try:
            self.data = CASES[name].make()
        except registry.Unavailable as reason:
            raise NotImplementedError(str(reason)) from None  # asv's word for "skip"
        self.ours = CASES[name].ours(self.data)
        self.ours.call()  # compiles, or loads from the cache


class Time(Quick):
    """Seconds for one call."""

    rounds = 2
    repeat = (3, 15, 2.0)
    warmup_time = 0.1

    def time_fastcore(self, name: str) -> None:
        self.ours.call()


class Memory(Quick):
    """Peak memory of the process: interpreter, input, output and what the call needs besides."""

    def peakmem_fastcore(self, name: str) -> None:
        self.ours.call()


class Ratio(Quick):
    """Our time over NumPy's, measured in turn: what slows the machine down slows both. asv takes less as better."""

    unit = "of NumPy's time"

    def track_fastcore_over_numpy(self, name: str) -> float:
        sides: dict[str, Any] = {"numpy": CASES[name].naive(self.data), "fastcore": self.ours}
        sides["numpy"].call()
        timed = timing.compare(sides, budget_s=2.0)
        return timed["fastcore"].seconds / timed["numpy"].seconds
