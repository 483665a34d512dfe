"""The quick cases of the registry as asv benchmarks: time, peak memory, and our time as a part of NumPy's."""

import os
import sys
from pathlib import Path
from typing import Any

import fastcore
from benchmarks import environment

environment.unset_openblas()  # before the registry loads NumPy

from benchmarks import registry, timing  # noqa: E402

tree = os.environ.get("FASTCORE_TREE")
if tree and not Path(fastcore.__file__).resolve().is_relative_to(Path(tree).resolve()):
    raise ImportError(f"fastcore must come from {tree}, but Python finds {fastcore.__file__}.")

found, LEFT_OUT = registry.cases_of_this_commit()
CASES = {case.name: case for case in registry.select(quick=True, cases=found)}
NAMES = list(CASES)


def warm() -> None:
    """Call every case once, so that no measured process compiles: memory peaks in the compiler. See `asv_compare`.

    Says what cannot be measured on this commit.
    """
    print(*LEFT_OUT, sep="\n", end="\n" * bool(LEFT_OUT), file=sys.stderr)
    for case in CASES.values():
        try:
            case.ours(case.make()).call()
        except Exception as error:  # of an old commit under new cases; `setup` meets it again and skips the case
            last = (str(error).strip().splitlines() or [""])[-1]
            print(f"{case.name} left out: {type(error).__name__}: {last}", file=sys.stderr)


class Quick:
    """Input and compiled code, made outside of what is measured."""

    params = NAMES
    param_names = ("case",)
    timeout = 300

    def setup(self, name: str) -> None:
        try:
            self.data = CASES[name].make()
            self.ours = CASES[name].ours(self.data)
            self.ours.call()  # compiles, or loads from the cache
        except Exception as error:
            raise NotImplementedError(str(error)) from None  # asv's word for "skip"; `warm` has said why


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
