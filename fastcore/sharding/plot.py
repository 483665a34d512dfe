"""A picture of a report: the modelled clock of each device, bytes by collective, and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastcore._core import validate_sharding_cost as check
from fastcore.sharding.clock import Clock
from fastcore.sharding.ledger import Ledger
from fastcore.sharding.report import Report, quantity, seconds
from fastcore.sharding.trace import Row, boxes_of, chosen_rows

__all__ = ["write_plot"]

COLOURS = {"computing": "#3b6fb6", "communicating": "#e0893a"}


def write_plot(file: Path, ledger: Ledger, report: Report, devices: list[int] | None) -> None:
    """Draw some devices; see `Mesh.plot`."""
    try:
        from matplotlib.figure import Figure  # draws without a screen, and changes no state of pyplot
    except ImportError:
        check.plot_is_missing()
    clock = Clock(ledger)
    rows = chosen_rows(clock, devices)
    spans = _merged(clock, rows)
    figure = Figure(figsize=(11, 4 + 0.18 * len(rows)), layout="constrained")
    time, bytes_sent, memory = figure.subplot_mosaic("TT;BM", height_ratios=[1 + 0.06 * len(rows), 1]).values()
    _draw_time(time, rows, spans)
    names = [f"{row.kind} {row.axis}".strip() for row in report.collectives]
    _draw_bars(bytes_sent, names, [row.bytes_device for row in report.collectives], "Bytes sent, a device")
    peaks = [ledger.peak_bytes_of(row.coordinates) for row in rows]
    _draw_bars(memory, [str(row.device) for row in rows], peaks, "Peak bytes of each device shown")
    lower, upper = report.time_s
    figure.suptitle(
        f"{report.axes}, {len(rows)} device{'s' * (len(rows) != 1)} shown: modelled time [{seconds(lower)},"
        f" {seconds(upper)}], bubble {report.bubble:.3f}, peak {quantity(report.peak_bytes, 'B')} a device",
        fontsize=10,
    )
    figure.savefig(file)


def _merged(clock: Clock, rows: list[Row]) -> dict[tuple[int, str], np.ndarray]:
    """(start, length) of what each device does, (n, 2), with gaps below a ten-thousandth of the whole closed."""
    pieces: dict[tuple[int, str], list[list[float]]] = {}
    for box in boxes_of(clock, rows):
        kind = "computing" if clock.ledger.entries[box.which].kind == "compute" else "communicating"
        pieces.setdefault((box.row.device, kind), []).append([box.start_s, box.start_s + box.seconds])
    closing = clock.time_s()[1] / 10_000
    merged = {}
    for key, each in pieces.items():
        joined: list[list[float]] = []
        for start, end in sorted(each):
            if joined and start - joined[-1][1] <= closing:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        merged[key] = np.array([(start, end - start) for start, end in joined])
    return merged


def _draw_time(axes: Any, rows: list[Row], spans: dict[tuple[int, str], np.ndarray]) -> None:
    for line, row in enumerate(rows):
        for kind, colour in COLOURS.items():
            bars = spans.get((row.device, kind))
            if bars is not None:
                axes.broken_barh(bars, (line - 0.4, 0.8), facecolors=colour, linewidth=0)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("modelled seconds, one thing after another")
    axes.set_xlim(left=0)
    for kind, colour in COLOURS.items():
        axes.bar([0], [0], color=colour, label=kind)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8)


def _draw_bars(axes: Any, names: list[str], values: list[int], title: str) -> None:
    axes.barh(range(len(values)), values, color="#6f8f72")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_title(title, fontsize=9)
    axes.xaxis.set_major_formatter(lambda value, _: quantity(value, "B"))
    axes.tick_params(axis="x", labelsize=7)
