"""What a program cost: `mesh.report()`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fastcore.sharding.clock import Clock, bubble
from fastcore.sharding.cost import collective_messages, entry_seconds
from fastcore.sharding.ledger import Entry, Ledger, PerDevice
from fastcore.sharding.link import Link

__all__ = ["CollectiveRow", "KernelRow", "Report"]


class CollectiveRow(NamedTuple):
    """One collective along one axis. A device is the one that sent most, total is of all devices together.

    calls, messages, bytes_device, seconds: of a device; where its group shares the bytes unevenly, their mean.
    """

    kind: str
    axis: str
    calls: int
    messages: int
    bytes_device: int
    bytes_total: int
    seconds: float


class KernelRow(NamedTuple):
    """One kernel. calls, flops_device, seconds: of the device that computed most with it. flops_device, flops_total:
    None of a kernel that does not say its operations (``device_kernel(flops=…)``); its seconds are 0, and not known."""

    name: str
    calls: int
    flops_device: float | None
    flops_total: float | None
    seconds: float


class Report(NamedTuple):
    """What all devices of a mesh did since it was made, or since `Mesh.reset_report`.

    axes : dict, name → size
    engine : str
    link : Link, whose numbers the seconds come from
    collectives : tuple of CollectiveRow, most bytes first
    kernels : tuple of KernelRow, most operations first
    bytes_device, bytes_total : int, sent; by the device that sent most, where a group shares the bytes of a collective
        unevenly (ppermute of some) its mean, and by all
    messages : int, of the device that sent most
    peak_bytes : int, of the blocks of `ShardedArray`s on the device that held most at once, without buffers of messages
    flops_device, flops_total : float, of the device that computed most, and of all; see `uncounted`
    compute_s, communication_s : float, modelled seconds of the devices that computed and that communicated most
    bubble : float, idle seconds of the stages of pipelines over busy ones, without overlap; 0 without pipelines
    time_s : (lower, upper) float, modelled seconds; computing and communicating at once, and one after the other
    """

    axes: dict[str, int]
    engine: str
    link: Link
    collectives: tuple[CollectiveRow, ...]
    kernels: tuple[KernelRow, ...]
    bytes_device: int
    bytes_total: int
    messages: int
    peak_bytes: int
    flops_device: float
    flops_total: float
    compute_s: float
    communication_s: float
    bubble: float
    time_s: tuple[float, float]

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Kernels that do not say their operations: flops and seconds leave them out."""
        return tuple(row.name for row in self.kernels if row.flops_total is None)

    def __str__(self) -> str:
        devices, link = math.prod(self.axes.values()), self.link
        lower, upper = self.time_s
        lines = [
            f"{devices:,} devices {self.axes}, {self.engine}; latency {seconds(link.latency_s)},"
            f" {quantity(link.bytes_per_s, 'B')}/s, {quantity(link.flops_per_s, 'FLOP')}/s a device",
            *_table(
                ("collective", "axis", "calls", "messages", "bytes a device", "bytes in total", "time"),
                [
                    (row.kind, row.axis, f"{row.calls:,}", f"{row.messages:,}", quantity(row.bytes_device, "B"),
                     quantity(row.bytes_total, "B"), seconds(row.seconds))
                    for row in self.collectives
                    if row.messages  # a group of one sends nothing
                ],
            ),
            *_table(
                ("kernel", "calls", "FLOP a device", "FLOP in total", "time"),
                [
                    (row.name, f"{row.calls:,}", *(
                        ("unknown",) * 3 if row.flops_device is None or row.flops_total is None
                        else (quantity(row.flops_device, ""), quantity(row.flops_total, ""), seconds(row.seconds))
                    ))
                    for row in self.kernels
                ],
            ),
            f"peak memory {quantity(self.peak_bytes, 'B')} a device; sent {quantity(self.bytes_device, 'B')} a device,"
            f" {quantity(self.bytes_total, 'B')} in total; {quantity(self.flops_device, 'FLOP')} a device",
            f"bubble {self.bubble:.3f}; time [{seconds(lower)}, {seconds(upper)}], computing {seconds(self.compute_s)},"
            f" communicating {seconds(self.communication_s)}",
        ]  # fmt: skip
        if self.uncounted:
            lines.append(
                f"computing and time leave out {', '.join(self.uncounted)}: say their operations by"
                " device_kernel(flops=…)"
            )
        return "\n".join(lines)


Made = list[tuple[Entry, int]]  # entries, and how often each was made


def make_report(ledger: Ledger, engine: str, link: Link) -> Report:
    """The report of a ledger, for devices joined by `link`."""
    distinct, counts = ledger.entries.distinct, ledger.entries.counts().tolist()
    made = list(zip(distinct, counts))
    moved = [(entry, count) for entry, count in made if entry.kind != "compute"]
    computed = [(entry, count) for entry, count in made if entry.kind == "compute"]
    collectives = [_collective_row(group, ledger) for group in _grouped(moved, lambda entry: (entry.kind, entry.axis))]
    kernels = [_kernel_row(group, ledger) for group in _grouped(computed, _kernel)]
    clock = Clock(ledger)
    clock.finish()
    return Report(
        axes=dict(ledger.axes),
        engine=engine,
        link=link,
        collectives=tuple(sorted(collectives, key=lambda row: -row.bytes_total)),
        kernels=tuple(sorted(kernels, key=lambda row: -(row.flops_total or 0.0))),
        bytes_device=round(_most(moved, _bytes_of_device, ledger)),
        bytes_total=sum(entry.sent_bytes * count for entry, count in moved),
        messages=round(_most(moved, _messages, ledger)),
        peak_bytes=ledger.peak_bytes(),
        flops_device=_most(computed, _flops, ledger),
        flops_total=_total_flops(computed),
        compute_s=_most(computed, entry_seconds, ledger),
        communication_s=_most(moved, entry_seconds, ledger),
        bubble=bubble(ledger.pipelines),
        time_s=clock.time_s(),
    )


def _collective_row(made: Made, ledger: Ledger) -> CollectiveRow:
    entry = made[0][0]
    return CollectiveRow(
        kind=entry.kind,
        axis=entry.axis,
        calls=round(_most(made, lambda entry: 1, ledger)),
        messages=round(_most(made, _messages, ledger)),
        bytes_device=round(_most(made, _bytes_of_device, ledger)),
        bytes_total=sum(entry.sent_bytes * count for entry, count in made),
        seconds=_most(made, entry_seconds, ledger),
    )


def _kernel_row(made: Made, ledger: Ledger) -> KernelRow:
    is_known = made[0][0].flops is not None
    return KernelRow(
        name=made[0][0].name,
        calls=round(_most(made, lambda entry: 1, ledger)),
        flops_device=_most(made, _flops, ledger) if is_known else None,
        flops_total=_total_flops(made) if is_known else None,
        seconds=_most(made, entry_seconds, ledger),
    )


def _kernel(entry: Entry) -> tuple[str, bool]:
    return entry.name, entry.flops is None


def _flops(entry: Entry) -> float:
    return entry.flops or 0.0


def _total_flops(made: Made) -> float:
    return sum(_flops(entry) * entry.mesh.size * count for entry, count in made)


def _grouped(made: Made, key: Callable[[Entry], Hashable]) -> Iterable[Made]:
    groups: dict[Hashable, Made] = defaultdict(list)
    for entry, count in made:
        groups[key(entry)].append((entry, count))
    return groups.values()


def _bytes_of_device(entry: Entry) -> float:
    return entry.sent_bytes / entry.mesh.size


def _messages(entry: Entry) -> int:
    return collective_messages(entry.kind, entry.devices) if entry.sent_bytes else 0


def _most(made: Made, value: Callable[[Entry], float], ledger: Ledger) -> float:
    """The sum over entries on the device where it is greatest."""
    sums = PerDevice(ledger.axes, 1, np.float64)
    for entry, count in made:
        total = sums.of(entry.mesh)[0]
        total += value(entry) * count
    return float(sums.values.max())


def quantity(value: float, unit: str) -> str:
    """1234567 B as '1.23 MB': three digits, decimal prefixes."""
    step = 0
    while abs(value) >= 999.5 and step < 6:
        value, step = value / 1000, step + 1
    prefix = ("", "k", "M", "G", "T", "P", "E")[step]
    return f"{value:.3g} {prefix}{unit}".rstrip()


def seconds(value: float) -> str:
    """0.00123 as '1.23 ms'."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= 0.9995 * scale:
            return f"{value / scale:.3g} {unit}" if value < 999.5 * scale else f"{value / scale:.0f} {unit}"
    return f"{value / 1e-9:.3g} ns" if value else "0 s"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as needed: names to the left, numbers to the right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    names = sum(name in ("collective", "axis", "kernel") for name in header)
    return [
        "  ".join(
            cell.ljust(width) if i < names else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
        )
        for row in (header, *rows)
    ]
