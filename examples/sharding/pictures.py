"""Time, memory and bubble of each layout, as a picture."""

from pathlib import Path

from matplotlib.figure import Figure

from examples.sharding.layouts import Outcome

BLUE, RED, GREY, GREEN = "#0072B2", "#D55E00", "#999999", "#009E73"


def draw_layouts(outcomes: list[Outcome], chosen: Outcome | None, memory_bytes: float, path: Path) -> None:
    """Three panels over the layouts, the chosen one marked, those that do not fit in grey."""
    figure = Figure(figsize=(3 + 0.4 * len(outcomes), 8), layout="constrained")
    time, memory, bubble = figure.subplots(3, 1, sharex=True)
    places = range(len(outcomes))
    fits = [outcome.report.peak_bytes <= memory_bytes for outcome in outcomes]
    colours = [GREEN if outcome is chosen else BLUE if fit else GREY for outcome, fit in zip(outcomes, fits)]
    lower = [outcome.report.time_s[0] for outcome in outcomes]
    upper = [outcome.report.time_s[1] for outcome in outcomes]
    time.bar(places, upper, color=colours, alpha=0.45)
    time.bar(places, lower, color=colours)
    time.set_ylabel("seconds a step\ndark: overlapped, light: not")
    bars = memory.bar(places, [outcome.report.peak_bytes / 1e9 for outcome in outcomes], color=colours)
    memory.bar_label(bars, fmt="%.1f", fontsize=7)
    memory.axhline(memory_bytes / 1e9, color=RED, linewidth=1)
    memory.set_ylabel("peak GB a device\nred: what it has")
    bubble.bar(places, [outcome.report.bubble for outcome in outcomes], color=colours)
    bubble.set_ylabel("bubble\nidle / busy seconds")
    if max(outcome.report.bubble for outcome in outcomes) > 10:  # below, it would have a tick or two
        bubble.set_yscale("symlog")
    for axes in (time, memory, bubble):
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(axis="y", alpha=0.3)
    bubble.set_xticks(places, [str(outcome.layout) for outcome in outcomes], rotation=90, fontsize=8)
    bubble.set_xlabel("dp × tp × pp; green: the best that fits, grey: do not fit")
    time.set_title(f"{outcomes[0].layout.devices:,} devices, modelled")
    figure.savefig(path, dpi=110)
