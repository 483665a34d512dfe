"""Tables on the terminal."""

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from examples.regularized.digits import HIDDEN, TRAIN, Course, effect
from examples.regularized.linear import Agreement, Score

# Where the output is no terminal.
WIDTH = 118


def console() -> Console:
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation over seeds."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def show_agreements(found: Sequence[Agreement], to: Console) -> None:
    table = _table(
        "Diabetes, 442 patients, 64 columns: weights by proximal gradient beside scikit-learn's",
        *("penalty", "alpha", "largest difference", "loss over theirs", "weights that are 0", "theirs"),
    )
    for each in found:
        counts = map(str, each.zeros)
        table.add_row(each.name, f"{each.alpha:g}", f"{each.difference:.0e}", f"{each.excess:+.0e}", *counts)
    to.print(table, highlight=False)


def show_scores(scores: dict[str, list[Score]], to: Console) -> None:
    seeds = len(next(iter(scores.values())))
    table = _table(
        f"The same, trained on half of the patients, the strength chosen on a quarter: {seeds} splits",
        *("model", "alpha, median", "weights in use", "length of weights", "R², trained on", "R², held out"),
    )
    for name, found in scores.items():
        columns = Score(*zip(*found))
        table.add_row(
            name,
            f"{np.median(columns.alpha):.2g}",
            spread(columns.used, 0),
            spread(columns.length, 0),
            spread(columns.r2_train, 3),
            spread(columns.r2_test, 3),
        )
    to.print(table, highlight=False)


def verdict(mean: float, half: float, digits: int) -> str:
    """A difference with its 95 % interval, and whether there is one."""
    seen = "unclear" if abs(mean) <= half else "lower" if mean < 0 else "higher"
    return f"{mean:+.{digits}f} ± {half:.{digits}f} {seen:7}"


def show_courses(courses: dict[str, list[Course]], to: Console) -> None:
    seeds = len(courses["none"])
    table = _table(
        f"Digits, a network of {HIDDEN} + {HIDDEN} hidden values that sees {TRAIN} images: {seeds} seeds",
        *(
            "held back by",
            "loss,\nseen",
            "loss, new",
            "against none",
            "% right, new",
            "against none",
            "layer 1:\n0, length",
        ),
    )

    def percent(found: list[Course]) -> list[float]:
        return [100 * each.accuracies[-1] for each in found]

    def final(found: list[Course]) -> list[float]:
        return [each.losses[-1] for each in found]

    for name, found in courses.items():
        is_none = name == "none"
        table.add_row(
            name,
            f"{np.mean([each.loss_train for each in found]):.3f}",
            spread(final(found), 3),
            "" if is_none else verdict(*effect(final(found), final(courses["none"])), 3),
            spread(percent(found), 1),
            "" if is_none else verdict(*effect(percent(found), percent(courses["none"])), 1),
            f"{np.mean([each.zeros for each in found]):.0%}, {np.mean([each.length for each in found]):.1f}",
        )
    to.print(table, highlight=False)
    notes = (
        "Mean ± deviation over seeds. Against none: mean of the differences seed by seed ± half of its 95 % interval,",
        "unclear where that has 0 in it. Of twenty things that change nothing, one would be called lower or higher.",
    )
    for note in notes:
        to.print(note, style="dim", highlight=False)
