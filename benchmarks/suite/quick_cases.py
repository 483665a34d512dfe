"""The quick cases of the registry as asv benchmarks: time, peak memory, and our time as a part of NumPy's."""

from functools import cache
from typing import Any

from benchmarks import environment

environment.unset_openblas()  # before the registry loads NumPy

from benchmarks import registry, timing  # noqa: E402

NAMES = [case.name for case in registry.select(quick=True)]


@cache
def _case(name: str) -> registry.Case:
    return next(case for case in registry.all_cases() if case.name == name)


class Quick:
    """Input and compiled code, made outside of what is measured."""

    params = NAMES
    param_names = ("case",)
    timeout = 300

    def setup(self, name: str) -> None:
        self.data = _case(name).make()
        self.ours = _case(name).ours(self.data)
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
        sides: dict[str, Any] = {"numpy": _case(name).naive(self.data), "fastcore": self.ours}
        sides["numpy"].call()
        timed = timing.compare(sides, budget_s=2.0)
        return timed["fastcore"].seconds / timed["numpy"].seconds
