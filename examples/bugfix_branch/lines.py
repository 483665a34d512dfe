"""Three-way merge by single lines: what git leaves as a conflict where changed lines are neighbours."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple


class Overlap(Exception):
    """Both sides changed the same lines: a human has to decide."""


class Change(NamedTuple):
    """Lines [start, stop) of the base become `lines`."""

    start: int
    stop: int
    lines: Sequence[str]


def changes(base: Sequence[str], other: Sequence[str]) -> list[Change]:
    matcher = SequenceMatcher(None, base, other, autojunk=False)
    return [Change(i, j, other[k:m]) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def touch(one: Change, other: Change) -> bool:
    """Whether they change a line of the base both, or insert at one place."""
    if one.start == one.stop and other.start == other.stop:
        return one.start == other.start
    return max(one.start, other.start) < min(one.stop, other.stop) or any(
        a.start == a.stop and b.start < a.start < b.stop for a, b in ((one, other), (other, one))
    )


def merge_lines(base: str, ours: str, theirs: str) -> str:
    """The base with the changes of both sides.

    Raises
    ------
    Overlap : a line was changed by both, differently
    """
    lines = base.splitlines(keepends=True)
    mine, others = (changes(lines, text.splitlines(keepends=True)) for text in (ours, theirs))
    for one in mine:
        for other in others:
            if one != other and touch(one, other):
                raise Overlap(
                    f"Both sides change line {max(one.start, other.start) + 1} of the common base; "
                    "which of the changes shall stay, a human has to say."
                )
    for change in sorted({(c.start, c.stop, tuple(c.lines)) for c in (*mine, *others)}, reverse=True):
        lines[change[0] : change[1]] = change[2]
    return "".join(lines)
