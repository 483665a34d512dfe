"""The pictures of a run: speed-up in each case, roofline, scaling with L."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.registry import METRICS, NUMPY, OURS
from benchmarks.report import compared, is_ours, is_timed, sides_of, title

# Okabe and Ito's colours: told apart by colour-blind readers too.
COLOURS = {
    OURS: "#000000",
    NUMPY: "#999999",
    "torch": "#D55E00",
    "torch sdpa": "#E69F00",
    "onnxruntime": "#0072B2",
    "openvino": "#56B4E9",
    "jax": "#009E73",
}
OTHERS = ("#CC79A7", "#F0E442", "#7F3C8D", "#8C564B", "#A5AA99", "#117733", "#882255", "#44AA99")


def colour(run: dict, side: str) -> str:
    unnamed = [name for name in sides_of(run) if name not in COLOURS]
    return COLOURS.get(side) or OTHERS[unnamed.index(side) % len(OTHERS)]


def speedup(run: dict, names: list[str] | None = None) -> Figure:
    """Bars: how many times longer each side takes than ours; whiskers: quartiles of the rounds.

    Other ways of ours, such as the same cache in float32, are left out.
    """
    cases = [case for case in run["cases"] if peers_of(case) and (names is None or case["name"] in names)]
    others = [side for side in sides_of(run) if any(side in peers_of(case) for case in cases)]
    # A bar a side that a case has, and the room of one between cases.
    starts = [0]
    for case in cases:
        starts.append(starts[-1] + len(peers_of(case)) + 1)
    figure = Figure(figsize=(9, 1.4 + 0.085 * starts[-1]), layout="constrained")
    axes = figure.subplots()
    for side in others:
        own = [(start, case) for start, case in zip(starts, cases) if side in peers_of(case)]
        ratios = [case["sides"][side]["ratio"] for _, case in own]
        whiskers = [[max(0.0, r[0] - r[1]) for r in ratios], [max(0.0, r[2] - r[0]) for r in ratios]]
        places = [start + [each for each in others if each in peers_of(case)].index(side) for start, case in own]
        axes.barh(
            places, [r[0] for r in ratios], 1.0, xerr=whiskers, color=colour(run, side), label=title(side),
            error_kw={"elinewidth": 0.8},
        )  # fmt: skip
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    middles = [start + (len(peers_of(case)) - 1) / 2 for start, case in zip(starts, cases)]
    axes.set_yticks(middles, [case["name"] for case in cases], fontsize=8)
    axes.set_ylim(max(1, starts[-1]) - 0.5, -1)  # the first case on top
    axes.set_xlabel("time relative to fastcore, log scale; right of the line fastcore is faster")
    if others:
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def peers_of(case: dict) -> list[str]:
    return [side for side in compared(case) if not is_ours(side)]


def roofline(run: dict) -> Figure:
    """FLOP/s of ours over operations per byte, under the ceilings measured in the same run."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    values = run["ceilings"]
    bandwidth = max((int(key[5:-3]), value) for key, value in values.items() if key.startswith("read"))[1]
    intensities = [2.0**power for power in range(-3, 13)]
    for dtype, style in (("float32", "-"), ("float64", "--")):
        peak = values.get(f"fma_{dtype}")
        if peak:
            ceiling = [min(peak, x * bandwidth) / 1e9 for x in intensities]
            axes.plot(intensities, ceiling, style, color="black", label=f"{dtype} ceiling")
    markers: dict[str, Any] = {"float32": "o", "float64": "s"}
    domains = sorted({domain_of(case) for case in run["cases"]})
    palette = mpl.colormaps["tab10"]
    shown = set()
    for case in run["cases"]:
        if not is_timed(case, OURS) or not case["ceiling"]:
            continue
        domain = domain_of(case)
        seconds = case["sides"][OURS]["seconds"]
        axes.plot(
            case["flops"] / case["bytes"], case["flops"] / seconds / 1e9, markers.get(case["dtype"], "^"),
            color=palette(domains.index(domain) % 10), label=None if domain in shown else domain,
        )  # fmt: skip
        shown.add(domain)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte of input and output")
    axes.set_ylabel("GFLOP/s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def domain_of(case: dict) -> str:
    """What has one colour: a kind of task, or all metrics of a kind."""
    parts = case["name"].split("/")
    return "/".join(parts[: 1 if parts[0] in METRICS else 2])


def scaling(run: dict) -> Figure | None:
    """GFLOP/s of every side over L, one panel for each group of cases with two lengths or more."""
    groups: dict[str, list[dict]] = {}
    for case in run["cases"]:
        if "L" in case["sizes"] and is_timed(case, OURS):
            groups.setdefault(case["group"], []).append(case)
    groups = {name: cases for name, cases in groups.items() if len({case["sizes"]["L"] for case in cases}) > 1}
    if not groups:
        return None
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    handles: dict[str, Any] = {}
    for panel, (name, cases) in zip(panels, groups.items()):
        for side in sides_of(run):
            points = sorted(
                (case["sizes"]["L"], case["flops"] / case["sides"][side]["seconds"] / 1e9)
                for case in cases
                if is_timed(case, side)
            )
            if points:
                (line,) = panel.plot(*zip(*points), "o-", color=colour(run, side), linewidth=2 if side == OURS else 1)
                handles.setdefault(title(side), line)
        panel.set_title(name, fontsize=8)
        panel.set_xscale("log", base=2)
        panel.set_xlabel("L")
        panel.set_ylabel("GFLOP/s")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
    return figure


def write(run: dict, folder: Path) -> list[Path]:
    """Write every picture that the run has data for."""
    written = []
    for name, figure in (("speedup", speedup(run)), ("roofline", roofline(run)), ("scaling", scaling(run))):
        if figure is not None:
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=110)
            written.append(path)
    return written
