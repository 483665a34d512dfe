"""The two ways to land the fix alone."""

import shlex
import sys
from pathlib import Path
from typing import NamedTuple

from examples.bugfix_branch.git import Git, GitError
from examples.bugfix_branch.lines import Overlap, merge_lines
from examples.bugfix_branch.situation import Situation

EDITOR = Path(__file__).with_name("keep_only.py")


class Landed(NamedTuple):
    """conflicts : files that git could not merge, and `merge_lines` did; commands : what to type, as it was run"""

    commands: list[str]
    conflicts: list[str]


def by_rebase(situation: Situation) -> Landed:
    """Rewrite the branch: of its commits keep the fix, on top of main; then move main forward to it.

    The debug commits are gone from the branch; for weeks `git reflog bugfix` knows them.

    Raises
    ------
    Overlap : the fix changes lines that a debug commit changed. The rebase is undone.
    """
    git = situation.git
    editor = " ".join(map(shlex.quote, (Path(sys.executable).as_posix(), EDITOR.as_posix(), situation.fix)))
    command = ("rebase", "--interactive", "main", "bugfix")
    conflicts = _run(git, command, GIT_SEQUENCE_EDITOR=editor)
    git("switch", "--quiet", "main")
    git("merge", "--quiet", "--ff-only", "bugfix")
    typed = f'GIT_SEQUENCE_EDITOR="python keep_only.py {situation.fix[:7]}" git {" ".join(command)}'
    return Landed([typed, *_resolved("rebase", conflicts), "git switch main", "git merge --ff-only bugfix"], conflicts)


def by_cherry_pick(situation: Situation) -> Landed:
    """Copy the fix onto main; the branch stays as it is, debug commits and all.

    Raises
    ------
    Overlap : the fix changes lines that a debug commit changed. The cherry-pick is undone.
    """
    git = situation.git
    git("switch", "--quiet", "main")
    conflicts = _run(git, ("cherry-pick", situation.fix))
    typed = ["git switch main", f"git cherry-pick {situation.fix[:7]}", *_resolved("cherry-pick", conflicts)]
    return Landed(typed, conflicts)


def _resolved(command: str, conflicts: list[str]) -> list[str]:
    """What to type once files in conflict were edited."""
    return [f"git add {' '.join(conflicts)}", f"git {command} --continue"] if conflicts else []


def _run(git: Git, command: tuple[str, ...], **environment: str) -> list[str]:
    """Run a command that may stop at conflicts; the files in which lines had to be merged one by one."""
    where = git("rev-parse", "--abbrev-ref", "HEAD")
    conflicts: list[str] = []
    done = git.attempt(*command, **environment)
    while done.returncode:
        files = git.unmerged()
        if not files:
            raise GitError(f"git {' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
        try:
            for name in files:
                _merge(git, name)
        except Overlap as overlap:
            git(command[0], "--abort")
            git("switch", "--quiet", where)
            raise Overlap(f"{name}: {overlap}") from None
        conflicts += files
        done = git.attempt(command[0], "--continue")
    return conflicts


def _merge(git: Git, name: str) -> None:
    """Resolve a file in conflict from its three versions: the fix's parent, main, and the fix."""
    base, ours, theirs = (git.attempt("show", f":{stage}:{name}").stdout for stage in (1, 2, 3))
    (git.folder / name).write_text(merge_lines(base, ours, theirs), encoding="utf-8", newline="\n")
    git("add", "--", name)
