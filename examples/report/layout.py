"""Tables on the terminal."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from examples.report.measures import SCIKIT_LEARN, Row, Table

# Where the output is no terminal.
WIDTH = 118


def number(value: float | None) -> str:
    """Fewer decimals for large ones; nothing for what is not there."""
    if value is None or math.isnan(value):
        return ""
    decimals = 4 if abs(value) < 10 else 2 if abs(value) < 1000 else 1
    return f"{value:,.{decimals}f}"


def interval(row: Row) -> str:
    return "" if math.isnan(row.low) else f"{number(row.low)} – {number(row.high)}"


def _cells(row: Row, before: Row | None, with_truth: bool) -> list[str]:
    name = "" if before and before.metric == row.metric else row.metric
    cells = [name, row.what, number(row.value), interval(row)]
    if with_truth:
        cells.append(number(row.truth))
    return [*cells, (f"{row.difference:.0e}" if row.difference else "0") + (" " if row.peer == SCIKIT_LEARN else "*")]


def console() -> Console:
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def show(table: Table, to: Console) -> None:
    with_truth = any(row.truth is not None for row in table.rows)
    grid = RichTable(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("metric", no_wrap=True)
    grid.add_column("", no_wrap=True)
    for title in ("value", "95 % interval", *["known"] * with_truth, "difference"):
        grid.add_column(title, justify="right", no_wrap=True)
    for before, row in zip([None, *table.rows], table.rows):
        grid.add_row(*_cells(row, before, with_truth))
    to.print(grid, highlight=False)
    for note in table.notes:
        to.print(note, style="dim", highlight=False)
    to.print()


def show_check(worst: Sequence[Row], to: Console) -> None:
    for row in worst:
        what = f"{row.metric}, {row.what}" if row.what else row.metric
        to.print(f"Largest difference from {row.peer}: {row.difference:.1e} ({what})", highlight=False)
