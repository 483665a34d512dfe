"""One benchmark run: verify, time and record each case. Loads NumPy; `runner` has settled the environment before."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.machine import Ceilings
from benchmarks.registry import NUMPY, OURS, Case, Check, Side, Unavailable

Progress = Callable[[str], None]


@dataclass
class Pace:
    """How long to measure: seconds for the rounds of a case, and the least number of rounds.

    Where `total_s` is set and runs short (compilation in a first run, a slow or busy machine), what is left is shared
    out among the remaining cases, which are then measured in fewer rounds. No case begins after `stop_s`.
    """

    case_s: float
    min_rounds: int
    total_s: float = float("inf")
    stop_s: float = float("inf")
    start: float = field(default_factory=time.perf_counter)

    @property
    def is_over(self) -> bool:
        """Whether the remaining cases have to be skipped."""
        return time.perf_counter() - self.start > self.stop_s

    def next_case(self, remaining: int) -> tuple[float, int]:
        """Budget and least number of rounds of the next of `remaining` cases."""
        share = (self.total_s - (time.perf_counter() - self.start)) / remaining
        # A case takes about as long to set up and verify as to measure.
        return (self.case_s, self.min_rounds) if share > 2 * self.case_s else (max(0.0, share / 2), 3)


def error_of(check: Check, side: Side) -> float:
    """Largest error of a fresh result, relative to the largest magnitude expected; inf where shape or NaN disagree."""
    return error_in(check, side, side.call())


def error_in(check: Check, side: Side, result: Any) -> float:
    expected = np.asarray(check.expected)
    got = np.asarray(check.select(np.asarray(side.collect(result))))
    if got.shape != expected.shape:
        return float("inf")
    if expected.size == 0:
        return 0.0
    error = np.abs(got.astype(np.float64) - expected).max() / max(np.abs(expected).max(), np.finfo(np.float64).tiny)
    return float(error) if np.isfinite(error) else float("inf")


def first_right(check: Check, side: Side, tolerance: float) -> tuple[Side, float]:
    """The side, or the fastest of its other ways whose result is right where its own is not; and the error."""
    side, error = judged(check, side)
    for other in side.slower if error > tolerance else ():
        other, error_of_other = judged(check, other)
        if error_of_other <= tolerance:
            side, error = other, error_of_other
            break
    return replace(side, slower=()), error


def judged(check: Check, side: Side) -> tuple[Side, float]:
    """The side, which knows then how long a call took, and its error."""
    start = time.perf_counter()
    result = side.call()
    side = replace(side, seconds=time.perf_counter() - start)
    return side, error_in(check, side, result)


def prepare(case: Case, data: Any, peers: list[str]) -> tuple[dict[str, Side], dict[str, dict]]:
    """Set every side up and verify it.

    Returns
    -------
    sides : those with the right result, to be timed
    entries : the record of each: its error, or why it is missing or failed
    """
    check = case.check(data)
    sides: dict[str, Side] = {}
    entries: dict[str, dict] = {}
    for name, factory in case.factories().items():
        if name not in (OURS, NUMPY, *peers):
            continue
        try:
            tolerance = case.tolerance_of(name)
            side, error = first_right(check, factory(data), tolerance)
        except Unavailable as reason:
            entries[name] = {"missing": str(reason)}
            continue
        except Exception as fault:  # whatever a side raises is its result: the run goes on and says so
            entries[name] = {"failed": f"{type(fault).__name__}: {str(fault)[:300]}"}
            continue
        if error > tolerance:
            entries[name] = {"failed": f"wrong result: error {error:.2g}, tolerance {tolerance:.2g}"}
            continue
        # Our first call may compile for seconds: it says nothing of the next ones.
        sides[name] = replace(side, seconds=0.0) if name.startswith(OURS) else side
        entries[name] = {"error": error, "setup": side.setup}
    return sides, entries


def run_case(
    case: Case,
    peers: list[str],
    pace: tuple[float, int],
    ceilings: Ceilings,
    progress: Progress = lambda _: None,
) -> dict:
    """The record of one case (see `report`); its `fraction` is filled in when the run has ended."""
    progress("verifying")
    gc.collect()  # what cycles still hold of the case before, which may be gigabytes
    sides: dict[str, Side] = {}
    entries: dict[str, dict] = {}
    reads: dict[str, Side] = {}
    try:
        data = case.make()
        sides, entries = prepare(case, data, peers)
        if case.bound is not None and OURS in sides:
            reads = {f"{case.bound_name} {number}": side for number, side in enumerate(case.bound(data))}
    except Unavailable as reason:
        entries[OURS] = {"missing": str(reason)}
    key = case.bound_name if reads else None
    if case.ceiling and sides and not reads:
        key = ceilings.measure(case.ceiling, case.dtype, case.bytes_moved, case.threads)
    timed = {}
    if sides:
        everything = sides | reads
        timed = timing.compare(everything, *pace, on_round=lambda done, planned: progress(f"round {done}/{planned}"))
    read = min((timed.pop(name) for name in reads), key=lambda each: each.seconds, default=None)
    share = None if read is None else list(timing.ratio(read, timed[OURS]))
    for name, result in timed.items():
        low, high = result.quartiles()
        entries[name] |= {
            "seconds": result.seconds,
            "low": low,
            "high": high,
            "rounds": list(result.rounds.values()),
            "calls": result.calls,
        }
        if name != OURS and OURS in timed:
            entries[name]["ratio"] = list(timing.ratio(result, timed[OURS]))
    return {
        "name": case.name,
        "group": case.group,
        "sizes": dict(case.sizes),
        "dtype": case.dtype,
        "flops": case.flops,
        "bytes": case.bytes_moved,
        "ceiling": key,
        "fraction": share and share[0],
        "share": share,
        "sides": entries,
    }


def fill_fractions(records: list[dict], ceilings: dict[str, float]) -> None:
    """How close ours comes to its ceiling, once the ceilings are final; a `bound` has said so in its own rounds."""
    for record in records:
        seconds = record["sides"].get(OURS, {}).get("seconds")
        if seconds and record["ceiling"] in ceilings:
            amount = record["flops"] if record["ceiling"].startswith("fma") else record["bytes"]
            record["fraction"] = amount / seconds / ceilings[record["ceiling"]]


def new_run(
    mode: str, machine: dict, peers: list[str], records: list[dict], ceilings: Ceilings, skipped: list[str]
) -> dict:
    """The dictionary that `report` describes."""
    ceilings.base()
    fill_fractions(records, ceilings.values)
    return {
        "created": time.strftime("%Y-%m-%d %H:%M:%S"),
        "mode": mode,
        "machine": machine,
        "ceilings": ceilings.values,
        "peers": peers,
        "skipped": skipped,
        "cases": records,
    }
