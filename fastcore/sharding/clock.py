"""When each device did what, by the cost model: a clock for every device, moved on by the entries of a ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastcore.sharding.cost import entry_seconds
from fastcore.sharding.ledger import Entry, Interval, Ledger, PerDevice, Pipeline


class Moment(NamedTuple):
    """Entry number `which` of the ledger: begins at start_s on the devices of its mesh, an array as of `PerDevice`, or
    on all of them at once."""

    which: int
    entry: Entry
    start_s: np.ndarray | float
    seconds: float


class Clock:
    """Modelled times of all devices after a program.

    The upper time lets a device do one thing after another: it computes, waits in a collective until all of its group
    are there, and goes on when the collective is done. The lower time lets it compute and communicate at once, and wait
    for nobody: the greater of both sums. A pipeline brings times of its own for both, and begins when all of its stages
    are ready.

    Attributes
    ----------
    numbers : PerDevice: upper time; lower time up to the last pipeline; seconds computing and communicating since
    pipeline_starts : list of float, upper times at which pipelines began
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.numbers = PerDevice(ledger.axes, 4, np.float64)
        self.pipeline_starts: list[float] = []
        for entry in ledger.entries.distinct:
            self.numbers.of(entry.mesh)
            if entry.target is not None:
                self.numbers.of(entry.target)
        self._seconds = [entry_seconds(entry) for entry in ledger.entries.distinct]

    def time_s(self) -> tuple[float, float]:
        """Lower and upper time of the device that takes longest."""
        upper, base, compute, communication = self.numbers.values
        return float((base + np.maximum(compute, communication)).max()), float(upper.max())

    def finish(self) -> None:
        """Go to the end."""
        if self.numbers.split:
            for _ in self.run(inside_pipelines=False):
                pass
            return
        upper, _, compute, communication = self.numbers.values[:, None]  # all devices alike: sums are enough
        for entry, seconds, count in zip(
            self.ledger.entries.distinct, self._seconds, self.ledger.entries.counts().tolist()
        ):
            total = compute if entry.kind == "compute" else communication
            total += seconds * count
            upper += seconds * count

    def run(self, *, inside_pipelines: bool = True) -> Iterator[Moment]:
        """All entries in turn, at their upper times; those of pipelines may be passed over."""
        done = 0
        for pipeline in self.ledger.pipelines:
            yield from self._entries(done, pipeline.first)
            start = self._pass(pipeline)
            if inside_pipelines:
                yield from self._placed(pipeline, start)
            done = pipeline.last
        yield from self._entries(done, len(self.ledger.entries))

    def _entries(self, first: int, last: int) -> Iterator[Moment]:
        entries = self.ledger.entries
        for index in range(first, last):
            code = entries.codes[index]
            entry, seconds = entries.distinct[code], self._seconds[code]
            upper, _, compute, communication = self.numbers.of(entry.mesh)
            if entry.kind == "compute":
                compute += seconds
            else:
                communication += seconds
                together = tuple(self.numbers.split.index(name) for name in self._waiting(entry))
                if together:
                    upper[...] = upper.max(axis=together, keepdims=True)
            yield Moment(index, entry, upper.copy(), seconds)
            upper += seconds
            if entry.target is not None:
                arrived = self.numbers.of(entry.target)[0]
                np.maximum(arrived, upper, out=arrived)

    def _waiting(self, entry: Entry) -> list[str]:
        """Axes along which devices wait for each other and which some sub-mesh tells apart."""
        fixed = dict(entry.mesh.fixed)
        return [name for name in entry.axis.split(",") if name in self.numbers.split and name not in fixed]

    def _pass(self, pipeline: Pipeline) -> float:
        """Move the stages' clocks behind a pipeline; answers the upper time at which it began."""
        stages = {interval.mesh.fixed: interval.mesh for interval in pipeline.upper}
        views = {fixed: self.numbers.of(mesh) for fixed, mesh in stages.items()}
        start = max((float(view[0].max()) for view in views.values()), default=0.0)
        ready = max((float((base + np.maximum(a, b)).max()) for _, base, a, b in views.values()), default=0.0)
        lower_ends, upper_ends = _ends(pipeline.lower), _ends(pipeline.upper)
        for fixed, (upper, base, compute, communication) in views.items():
            upper[...] = start + upper_ends[fixed]
            base[...] = ready + lower_ends.get(fixed, 0.0)
            compute[...] = communication[...] = 0
        self.pipeline_starts.append(start)
        return start

    def _placed(self, pipeline: Pipeline, start: float) -> Iterator[Moment]:
        entries = self.ledger.entries
        for interval in pipeline.upper:
            now = start + interval.start_s
            for which in range(interval.span.first, interval.span.last):
                code = entries.codes[which]
                yield Moment(which, entries.distinct[code], now, self._seconds[code])
                now += self._seconds[code]


def _ends(intervals: tuple[Interval, ...]) -> dict[tuple[tuple[str, int], ...], float]:
    """When the devices of each stage are done, by the axes that its mesh fixes."""
    ends: dict[tuple[tuple[str, int], ...], float] = defaultdict(float)
    for interval in intervals:
        ends[interval.mesh.fixed] = max(ends[interval.mesh.fixed], interval.end_s)
    return ends


def bubble(pipelines: list[Pipeline]) -> float:
    """Idle seconds of all stages over busy ones, in the upper times; 0 without pipelines.

    With even stages and free transfers (p − 1) / (v·m), and p stages, v chunks a device and m micro-batches.
    """
    idle = busy = 0.0
    for pipeline in pipelines:
        work = [interval for interval in pipeline.upper if not interval.sends]
        stages = {interval.mesh.fixed for interval in work}
        working = sum(interval.end_s - interval.start_s for interval in work)
        busy += working
        idle += len(stages) * max((interval.end_s for interval in work), default=0.0) - working
    return idle / busy if busy else 0.0
