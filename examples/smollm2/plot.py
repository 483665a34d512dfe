"""What a cache saves, as a picture."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#999999")


def plot_times(seconds: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the time of each generated token, and of all so far.

    Parameters
    ----------
    seconds : by what was done, the time of each token; the first one includes the prompt
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    each, total = figure.subplots(1, 2)
    for colour, (name, times) in zip(COLOURS, seconds.items()):
        tokens = range(1, len(times) + 1)
        each.plot(tokens, [1000 * time for time in times], color=colour, label=name)
        total.plot(tokens, list(accumulate(times)), color=colour, label=name)
    each.set_ylabel("time of a token, ms")
    total.set_ylabel("time of all tokens so far, s")
    for axes in (each, total):
        axes.set_xlabel("generated tokens")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    each.legend(frameon=False)
    figure.savefig(path)
