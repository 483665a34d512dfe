"""A wrong mean, and a branch on which it was looked for and found."""

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from examples.bugfix_branch.git import Git

WRONG = '''\
"""Averages."""


def mean(values):
    """The arithmetic mean."""
    total = 0.0
    for value in values:
        total += value
    return total / (len(values) - 1)
'''
README = "mean.py: averages.\n"


class Prints(StrEnum):
    """Where the print commit puts its lines.

    APART : a line of main lies between them and the fix, which git merges by itself
    NEIGHBOURING : right above the line of the fix: a conflict, though no line is changed twice
    SAME_LINE : into the very line of the fix, which only a human can take apart
    """

    APART = "apart"
    NEIGHBOURING = "neighbouring"
    SAME_LINE = "same-line"


class Situation(NamedTuple):
    """start : where main is; fix : the commit that main is to get"""

    git: Git
    start: str
    fix: str


def edit(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(f"{old!r} must occur once in the text; it does {text.count(old)} times.")
        text = text.replace(old, new)
    return text


def make(folder: Path, prints: Prints) -> Situation:
    """main: the wrong mean, and later a README. bugfix, from the wrong mean: two debug commits, prints, and the fix."""
    git = Git(folder)
    git.commit("Add the mean of numbers", {"mean.py": WRONG})
    git("switch", "--quiet", "--create", "bugfix")
    debug = edit(WRONG, ('"""Averages."""\n', '"""Averages."""\n\nDEBUG = True\n'))
    git.commit("debug: a switch", {"mean.py": debug})
    debug = edit(debug, ("    total = 0.0\n", "    if DEBUG:\n        breakpoint()\n    total = 0.0\n"))
    git.commit("debug: stop at the start", {"mean.py": debug})
    if prints == Prints.APART:
        printing = edit(debug, ("        total +=", "        print('value', value)\n        total +="))
    elif prints == Prints.NEIGHBOURING:
        printing = edit(debug, ("    return", "    print('total', total, 'of', len(values))\n    return"))
    else:
        printing = edit(
            debug, ("return total / (len(values) - 1)", "print(r := total / (len(values) - 1))\n    return r")
        )
    git.commit("print: what comes out", {"mean.py": printing})
    fixed = edit(printing, ("(len(values) - 1)", "len(values)"))
    fix = git.commit("Fix the mean: divide by the number of values", {"mean.py": fixed})
    git("switch", "--quiet", "main")
    start = git.commit("Add a README", {"README.md": README})
    return Situation(git, start, fix)
