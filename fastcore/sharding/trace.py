"""The modelled clock as a Trace Event file, for chrome://tracing and ui.perfetto.dev."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastcore.sharding.clock import Clock
from fastcore.sharding.ledger import Ledger
from fastcore.sharding.link import Link

__all__ = ["Box", "Row", "boxes_of", "chosen_rows", "write_trace"]

ALL_SHOWN = 32  # devices up to which each has a row
MOST_ROWS = 64


class Row(NamedTuple):
    """A device that is shown. alike: devices that no sub-mesh tells apart from it; place: its index in `PerDevice`."""

    device: int
    alike: int
    coordinates: dict[str, int]
    place: tuple[int, ...]

    @property
    def label(self) -> str:
        others = f" and {self.alike - 1:,} alike" if self.alike > 1 else ""
        return f"device {self.device}{others}"


class Box(NamedTuple):
    """What a device does from start_s on. which: number of the entry in the ledger."""

    row: Row
    which: int
    start_s: float
    seconds: float


def chosen_rows(clock: Clock, devices: list[int] | None) -> list[Row]:
    """The rows of these devices. None: of all up to 32; of more, the first of each kind that some sub-mesh tells apart,
    64 at most. A device of the second sort stands for those like it."""
    axes, split = clock.ledger.axes, clock.numbers.split
    shape, size = tuple(axes.values()), math.prod(axes.values())
    alike = 1
    if devices is None:
        devices = list(range(min(size, ALL_SHOWN)))
        if size > ALL_SHOWN:
            alike = math.prod(axes[name] for name in axes if name not in split)
            kinds = np.arange(size).reshape(shape)[tuple(slice(None) if name in split else 0 for name in axes)]
            devices = kinds.ravel()[:MOST_ROWS].tolist()
    rows = []
    for device in devices:
        coordinates = dict(zip(axes, map(int, np.unravel_index(device, shape)))) if axes else {}
        rows.append(Row(device, alike, coordinates, tuple(coordinates[name] for name in split)))
    return rows


def boxes_of(clock: Clock, rows: list[Row]) -> Iterator[Box]:
    """What these rows do, in order of the program."""
    members: dict[tuple[tuple[str, int], ...], list[tuple[Row, tuple[int, ...]]]] = {}  # of a mesh's rows
    for which, entry, start_s, seconds in clock.run():
        fixed = entry.mesh.fixed
        if fixed not in members:
            names = dict(fixed)
            members[fixed] = [
                (row, tuple(0 if name in names else at for name, at in zip(clock.numbers.split, row.place)))
                for row in rows
                if all(row.coordinates[name] == at for name, at in fixed)
            ]
        for row, place in members[fixed]:
            yield Box(row, which, start_s if isinstance(start_s, float) else float(start_s[place]), seconds)


def write_trace(file: Path, ledger: Ledger, link: Link, devices: list[int] | None) -> None:
    """Write the events of some devices; see `Mesh.chrome_trace`."""
    clock = Clock(ledger)
    rows = chosen_rows(clock, devices)
    held: dict[int, int] = {}
    boxes = [event for box in boxes_of(clock, rows) for event in _box_events(box, ledger, held)]
    lower, upper = clock.time_s()
    content = {
        "traceEvents": [*_names(rows, ledger), *_actions(clock, rows), *boxes],
        "displayTimeUnit": "ms",
        "otherData": {
            "clock": "modelled by fastcore.sharding, one thing after another; not measured",
            "axes": ledger.axes,
            "link": {name: value if math.isfinite(value) else "infinite" for name, value in link._asdict().items()},
            "time_s": [lower, upper],
            "devices": f"{len(rows):,} of {math.prod(ledger.axes.values()):,} shown",
        },
    }
    file.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def _event(phase: str, name: str, thread: int, **more: Any) -> dict[str, Any]:
    return {"ph": phase, "name": name, "pid": 0, "tid": thread, **more}


def _send_thread(device: int, ledger: Ledger) -> int:
    return math.prod(ledger.axes.values()) + device


def _names(rows: list[Row], ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Rows in the order of devices, each with one below it for what it sends to other meshes."""
    yield _event("M", "process_name", 0, args={"name": "modelled clock"})
    sending = any(entry.kind == "transfer" for entry in ledger.entries.distinct)
    for order, row in enumerate(rows):
        threads = [(row.device, row.label)]
        if sending:
            threads.append((_send_thread(row.device, ledger), f"device {row.device} sends"))
        for below, (thread, name) in enumerate(threads):
            yield _event("M", "thread_name", thread, args={"name": name})
            yield _event("M", "thread_sort_index", thread, args={"sort_index": 2 * order + below})


def _box_events(box: Box, ledger: Ledger, held: dict[int, int]) -> Iterator[dict[str, Any]]:
    """The box, and the memory held where that has changed."""
    entry, device, start = ledger.entries[box.which], box.row.device, _microseconds(box.start_s)
    more: dict[str, Any] = {"scope": "/".join(entry.scope)}
    if entry.kind == "compute":
        name, category, thread = entry.name, "compute", device
        more["flops"] = "unknown" if entry.flops is None else entry.flops
    else:
        name, category, thread = f"{entry.kind} {entry.axis}".strip(), "communication", device
        more.update(entering_bytes=entry.entering_bytes, sent_bytes_of_all=entry.sent_bytes, devices=entry.devices)
        if entry.kind == "transfer":
            thread = _send_thread(device, ledger)
    yield _event("X", name, thread, cat=category, ts=start, dur=_microseconds(box.seconds), args=more)
    size = ledger.entries.held_bytes[box.which]
    if held.get(device) != size:
        held[device] = size
        yield _event("C", f"memory of device {device}", device, ts=start, args={"bytes": size})


def _actions(clock: Clock, rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Boxes around what a stage does with one micro-batch."""
    for start_s, pipeline in zip(clock.pipeline_starts, clock.ledger.pipelines):
        for interval in pipeline.upper:
            for row in rows:
                if interval.sends or any(row.coordinates[name] != at for name, at in interval.mesh.fixed):
                    continue
                start, length = _microseconds(start_s + interval.start_s), interval.end_s - interval.start_s
                yield _event("X", interval.name, row.device, cat="pipeline", ts=start, dur=_microseconds(length))


def _microseconds(seconds: float) -> float:
    return seconds * 1e6
