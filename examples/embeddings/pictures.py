"""What tokens attend to, and how near sentences are, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def _heat(figure: Figure, axes: Axes, values: np.ndarray, title: str) -> None:
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.7)
    axes.set_title(title, fontsize="medium")


def draw_attention(pieces: Sequence[str], heads: Mapping[str, np.ndarray], cosines: np.ndarray, path: Path) -> None:
    """Side by side the weights of each head, by title, and the cosines of all sentences.

    Parameters
    ----------
    pieces : the sentence's L tokens
    heads : (L, L) each, a row what that token takes from the others
    cosines : (N, N)
    """
    figure = Figure(figsize=(4.2 * (len(heads) + 1), 4.3), layout="constrained")
    *maps, last = figure.subplots(1, len(heads) + 1)
    places = range(len(pieces))
    for axes, (title, weights) in zip(maps, heads.items()):
        _heat(figure, axes, weights, title)
        axes.set_xticks(places, pieces, rotation=90, fontsize=8)
        axes.set_yticks(places, pieces, fontsize=8)
    maps[0].set_ylabel("each of these takes …")
    maps[0].set_xlabel("… that share of the value of these")
    _heat(figure, last, cosines, "cosines of all sentences")
    last.set_xlabel("sentence")
    figure.savefig(path, dpi=80)
