"""The commits before, and after each of the ways, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.bugfix_branch.git import Commit

GREEN, RED, GREY = "#009E73", "#D55E00", "#999999"


def colour(subject: str) -> str:
    return GREEN if subject.startswith("Fix") else RED if subject.startswith(("debug", "print")) else GREY


def _draw(axes: Axes, commits: Sequence[Commit], title: str) -> None:
    """A row for each commit, the newest on top, as `git log --graph` has them; main on the left."""
    by_hash = {commit.hash: commit for commit in commits}
    row = {commit.hash: index for index, commit in enumerate(reversed(commits))}
    on_main, here = set(), next(commit.hash for commit in commits if "main" in commit.branches)
    while here:
        on_main.add(here)
        here = next(iter(by_hash[here].parents), "")
    column = {name: 0 if name in on_main else 1 for name in by_hash}
    for commit in commits:
        for parent in commit.parents:
            axes.plot(
                (column[commit.hash], column[parent]), (row[commit.hash], row[parent]), color="black", lw=1, zorder=1
            )
        axes.plot(column[commit.hash], row[commit.hash], "o", color=colour(commit.subject), markersize=10)
        names = "".join(f"[{branch}] " for branch in commit.branches)
        axes.text(1.4, row[commit.hash], f"{names}{commit.subject}", va="center", fontsize=9)
    axes.set_xlim(-0.5, 8)
    axes.set_ylim(-0.6, 6.6)
    axes.set_title(title, fontsize="medium", loc="left")
    axes.axis("off")


def draw_histories(histories: Mapping[str, Sequence[Commit]], path: Path) -> None:
    """Side by side, by title; the fix is green, debug and print commits are red."""
    figure = Figure(figsize=(4.6 * len(histories), 2.5), layout="constrained")
    for axes, (title, commits) in zip(figure.subplots(1, len(histories)), histories.items()):
        _draw(axes, commits, title)
    figure.savefig(path, dpi=80)
