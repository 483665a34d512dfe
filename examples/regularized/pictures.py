"""Weights by strength of a penalty, and the courses of networks, as a PNG file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.regularized.digits import Course, effect
from examples.regularized.linear import PENALTIES, STRENGTHS, Data, path

COLOURS = ("#000000", "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7")


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)


def draw(data: Data, courses: dict[str, list[Course]], file: Path) -> None:
    """Above the linear models, below the networks."""
    figure = Figure(figsize=(13.5, 9), layout="constrained")
    above, below = figure.subfigures(2, 1)
    _draw_paths(data, above.subplots(1, len(PENALTIES), sharey=True))
    _draw_courses(courses, below.subplots(1, 3, width_ratios=(2, 1, 1)))
    figure.savefig(file)


def _draw_paths(data: Data, panels: Sequence[Axes]) -> None:
    """A line for each of the 64 weights, a panel for each penalty; ridge's largest ones by name."""
    paths = [path(data.x, data.y, penalty, STRENGTHS) for penalty in PENALTIES]
    main = np.argsort(-np.abs(paths[0][len(STRENGTHS) // 2]))[: len(COLOURS) - 1]
    for axes, penalty, found in zip(panels, PENALTIES, paths):
        for column in range(found.shape[1]):
            if column not in main:
                axes.semilogx(STRENGTHS, found[:, column], color="#999999", linewidth=0.6)
        for colour, column in zip(COLOURS[1:], main):
            axes.semilogx(STRENGTHS, found[:, column], color=colour, label=data.names[column])
        used = np.count_nonzero(found, axis=1)
        _label(axes, f"{penalty.name}: {used[-1]} to {used[0]} of {found.shape[1]} in use", "alpha", "")
    panels[0].set_ylabel("weight")
    panels[0].legend(frameon=False, fontsize="small")


def _draw_courses(courses: dict[str, list[Course]], panels: Sequence[Axes]) -> None:
    """Loss on new images by epoch, and what each plan changes, with 95 % intervals."""
    left, *right = panels
    for colour, (name, found) in zip(COLOURS, courses.items()):
        losses = np.array([each.losses for each in found])
        epochs, mean, deviation = np.arange(1, losses.shape[1] + 1), losses.mean(axis=0), losses.std(axis=0, ddof=1)
        left.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.08, linewidth=0)
        left.plot(epochs, mean, color=colour, label=name)
    lowest = min(each.losses.min() for found in courses.values() for each in found)
    left.set_ylim(0.9 * lowest, 4.0 * lowest)
    left.legend(frameon=False, fontsize="small")
    _label(left, "a network for digits, mean ± deviation over seeds", "epoch", "loss on new images")
    plans = [name for name in courses if name != "none"]
    for axes, title, scale, values in (
        (right[0], "change of the loss", 1.0, "losses"),
        (right[1], "change of the share that is right, %", 100.0, "accuracies"),
    ):
        for place, (colour, name) in enumerate(zip(COLOURS[1:], plans)):
            mean, half = effect(*([scale * getattr(each, values)[-1] for each in courses[of]] for of in (name, "none")))
            axes.errorbar(mean, -place, xerr=half, fmt="o", color=colour, capsize=3)
        axes.axvline(0.0, color=COLOURS[0], linewidth=0.8)
        axes.set_yticks(-np.arange(len(plans)), plans if values == "losses" else [""] * len(plans))
        _label(axes, title, "against none, 95 %", "")
