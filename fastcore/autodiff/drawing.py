"""A picture of an expression graph: arguments on the left, each node one column right of its last operand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastcore._core import validate_autodiff as check

if TYPE_CHECKING:
    from fastcore.autodiff.expression_graph import Graph

__all__ = ["draw"]

_ARGUMENT, _NODE, _OUTPUT, _SLOPE = "#dfe8d5", "#e4ecf7", "#fbe3c6", "#a8432f"
_COLUMN, _ROW = 2.7, 1.2  # inches


def draw(
    file: Path,
    graph: Graph,
    values: Mapping[str, Any],
    adjoints: Mapping[str, Any],
    partials: Mapping[tuple[str, str], Any],
) -> None:
    """Draw the nodes with their values and adjoints, and on the edges their own derivatives, where these are given."""
    try:
        from matplotlib.figure import Figure  # draws without a screen, and changes no state of pyplot
    except ImportError:
        check.plot_is_missing()
    places = _places(graph)
    width = 1 + max(column for column, _ in places.values())
    height = 1 + max(abs(row) for _, row in places.values()) * 2
    figure = Figure(figsize=(width * _COLUMN, height * _ROW + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(-height / 2, height / 2)
    for operand, name in graph.edges:
        axes.annotate(
            "", places[name], places[operand],
            arrowprops={"arrowstyle": "-|>", "color": "#777777", "shrinkA": 30, "shrinkB": 40, "linewidth": 1},
        )  # fmt: skip
        if (operand, name) in partials:
            (x, y), (to_x, to_y) = places[operand], places[name]
            # Nearer to the operand than half way, where edges cross.
            column, row = x + 0.36 * (to_x - x), y + 0.36 * (to_y - y)
            label = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            slope = f"∂{name}/∂{operand} = {partials[operand, name]:.4g}"
            axes.text(column, row, slope, ha="center", va="center", fontsize=8, color="#555555", bbox=label)
    for node in graph.nodes:
        colour = _OUTPUT if node.name == graph.output else _ARGUMENT if node.operation == "input" else _NODE
        text = f"{node.name} = {node.expression}" if node.expression else node.name
        if node.name in values:
            text += f"\n{values[node.name]:.6g}"
        column, row = places[node.name]
        box = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": "#888888", "linewidth": 0.7}
        axes.text(column, row, text, ha="center", va="center", fontsize=10, bbox=box)
        if node.name in adjoints:
            slope = f"∂{graph.output}/∂{node.name} = {adjoints[node.name]:.6g}"
            axes.text(column, row - 0.27, slope, ha="center", va="top", fontsize=8, color=_SLOPE)
    figure.savefig(file)


def _places(graph: Graph) -> dict[str, tuple[float, float]]:
    """(column, row) of each node, the rows of a column around 0."""
    columns: dict[str, int] = {}
    for node in graph.nodes:
        columns[node.name] = 1 + max((columns[each] for each in node.operands if isinstance(each, str)), default=-1)
    places = {}
    for column in set(columns.values()):
        names = [name for name in columns if columns[name] == column]
        for row, name in enumerate(names):
            places[name] = (float(column), (len(names) - 1) / 2 - row)
    return places
