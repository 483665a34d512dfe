"""How many animals there are while they are given away, as a picture."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.zoo.stress import Outcome, Settings

RED = "#D55E00"


def check(path: Path) -> None:
    """Raise ValueError if a picture cannot be written there, as far as one can know before."""
    kinds = Figure().canvas.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in kinds:
        raise ValueError(f"{path} must end in one of {', '.join(sorted(kinds))}.")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"{path} must be a file in a folder that exists.")


def _populations(axes: Axes, outcome: Outcome, animals: int, title: str) -> None:
    audits = np.linspace(0, len(outcome.populations) - 1, 100).astype(int)
    counts = np.array(outcome.populations)[audits].T
    time = np.linspace(0, outcome.seconds, len(audits))
    axes.stackplot(time, counts, alpha=0.8, linewidth=0)
    axes.plot(time, counts.sum(axis=0), color="black", linewidth=1, label="all animals counted")
    axes.axhline(animals, color=RED, linestyle="--", label="animals there are")
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("seconds")
    axes.set_xlim(0, outcome.seconds)


def draw_populations(outcome: Outcome, careless: Outcome, settings: Settings, path: Path) -> None:
    """Animals of each zoo, one above the other; a transfer moves one from a colour to another."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, found, name in ((left, outcome, "transactions"), (right, careless, "no locks, no rollback")):
        lines = f"{name}: {found.completed:,} transfers, {settings.threads} threads"
        wrong = f"{len(found.lost)} lost, {len(found.doubled)} there twice"
        _populations(axes, found, settings.animals, f"{lines}\n{wrong}")
    left.set_ylabel(f"animals in {settings.zoos} zoos")
    left.set_ylim(0, 1.5 * settings.animals)
    left.legend(frameon=False, loc="upper left", ncols=2)
    figure.savefig(path, dpi=80)
