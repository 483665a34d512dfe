"""The searches on the source's polynomial, and what inverting a thermocouple's gives, as PNG files."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.polynomial.source import LEVEL, Reading, answers, attempts, descend_loss, horner
from examples.polynomial.thermocouple import (
    APPROXIMATE,
    HIGHEST,
    LOWEST,
    TABLE,
    TypeN,
    against_table,
    approximate_temperature,
    voltage_of,
)

BLUE, RED, GREEN, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#999999"
STYLES = ((RED, "v"), (ORANGE, "s"), (GREEN, "o"))
# Beyond, the curves leave the picture.
X_RANGE, Y_RANGE = (-1.75, 0.75), (-60.0, 60.0)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)


def _searches(axes: Axes, reading: Reading) -> None:
    """P, the level y, the solutions, and where the steps of the searches were."""
    c = reading.coefficients
    x = np.linspace(*X_RANGE, 801)
    axes.plot(x, horner(c, x), color=BLUE, label="P")
    axes.axhline(LEVEL, color=GREY, linestyle="--", label="y = 3.14159…")
    for attempt, (color, marker) in zip(attempts(reading), STYLES):
        inside = attempt.iterates[(attempt.iterates >= X_RANGE[0]) & (attempt.iterates <= X_RANGE[1])]
        axes.plot(inside, horner(c, inside), marker, color=color, markersize=5, alpha=0.6, label=attempt.method)
    found = [answer.x for answer in answers(reading)]
    axes.plot(found, [LEVEL] * len(found), "*", color="black", markersize=13, label="solutions", zorder=3)
    for solution in found:
        axes.annotate(f"{solution:.6f}", (solution, LEVEL), (0, 12), textcoords="offset points", ha="center")
    end = descend_loss(c, LEVEL)[-1]
    if abs(horner(c, end) - LEVEL) > 1:
        axes.annotate(
            f"minimum of P at {end:.4f}:\nno solution", (end, horner(c, end)), (-20, 45), textcoords="offset points",
            ha="center", arrowprops={"arrowstyle": "->"},
        )  # fmt: skip
    axes.set_xlim(*X_RANGE)
    axes.set_ylim(*Y_RANGE)
    _label(axes, reading.name, "x", "P(x)")


def _progress(axes: Axes, reading: Reading) -> None:
    """How far from y each step was."""
    for attempt, (color, marker) in zip(attempts(reading), STYLES):
        miss = np.abs(horner(reading.coefficients, attempt.iterates) - LEVEL)
        axes.loglog(np.arange(1, len(miss) + 1), np.maximum(miss, 1e-16), f"-{marker}", color=color, markersize=3)
    _label(axes, "", "step from x = 0", "|P(x) - y|")


def draw_source(readings: tuple[Reading, ...], path: Path) -> None:
    """Above where the searches go, below how near they come; a column for each reading."""
    figure = Figure(figsize=(6 * len(readings), 7), layout="constrained")
    above, below = figure.subplots(2, len(readings), height_ratios=(3, 2))
    for number, reading in enumerate(readings):
        _searches(above[number], reading)
        _progress(below[number], reading)
    above[0].legend(frameon=False, loc="upper center", fontsize="small")
    figure.savefig(path, dpi=100)


def draw_thermocouple(convert: TypeN, path: Path) -> None:
    """E(t) with the table's values; errors of both inverses."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    curve, published, ours = figure.subplots(1, 3)
    t = np.linspace(LOWEST, HIGHEST, 2001)
    voltage = np.asarray(voltage_of(t), np.float64)
    curve.plot(t, voltage, color=BLUE, label="E(t), two polynomials")
    curve.plot(list(TABLE), list(TABLE.values()), ".", color="black", label="table")
    curve.legend(frameon=False)
    _label(curve, "type N thermocouple", "°C", "mV")
    within = t >= APPROXIMATE[0].low
    published.plot(t[within], approximate_temperature(voltage[within]) - t[within], color=RED)
    _label(published, "error of the published inverse polynomials", "°C", "°C")
    error = np.abs(convert(voltage).temperature - t)
    ours.semilogy(t, np.maximum(error, 1e-15), ".", color=BLUE, markersize=3, label="of inverse, round trip")
    table = against_table(convert)
    ours.semilogy(table.temperature, table.precision, color=GREY, label="half of the table's last digit")
    ours.semilogy(table.temperature, np.maximum(np.abs(table.error), 1e-15), ".", color="black", label="of the table")
    ours.legend(frameon=False, fontsize="small")
    _label(ours, "errors of inverse", "°C", "°C")
    figure.savefig(path, dpi=100)
