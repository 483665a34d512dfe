"""Debug commits, print commits, and then the fix: land the fix alone, by interactive rebase and by cherry-pick.

python -m examples.bugfix_branch
python -m examples.bugfix_branch --prints neighbouring --plot bugfix.png
python -m examples.bugfix_branch --keep bugfix    (leaves the repositories there, to try it by hand)

Works in temporary repositories with real git; your own settings and hooks are neither used nor changed.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a folder, Python looks only beside it

from examples.bugfix_branch.git import Commit, GitError, GitMissing
from examples.bugfix_branch.lines import Overlap
from examples.bugfix_branch.situation import Prints, make
from examples.bugfix_branch.solutions import by_cherry_pick, by_rebase

WAYS = {"rebase": by_rebase, "cherry-pick": by_cherry_pick}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.bugfix_branch", description="Land a fix without the debug commits below it."
    )
    add = parser.add_argument
    add("--way", choices=[*WAYS, "both"], default="both", help="(default: %(default)s)")
    add(
        "--prints", type=Prints, choices=list(Prints), default=Prints.NEIGHBOURING,
        help="where the print commit's lines are, seen from the fix's (default: %(default)s)",
    )  # fmt: skip
    add("--keep", type=Path, metavar="DIR", help="make the repositories here, a new folder, and leave them")
    add("--plot", type=Path, metavar="FILE", help="draw the commits before and after")
    options = parser.parse_args(arguments)
    if options.keep is not None and options.keep.exists():
        parser.error(f"--keep must be a new folder; {options.keep} exists")
    if options.plot is not None and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'fastcore-kernels[plot]'")
    return options


def run(folder: Path, ways: Sequence[str], prints: Prints) -> tuple[bool, dict[str, list[Commit]]]:
    """Each way in a repository of its own: whether all gave main the fix alone and the same, and the histories."""
    histories: dict[str, list[Commit]] = {}
    trees = set()
    for way in ways:
        situation = make(folder / way, prints)
        git = situation.git
        if not histories:
            print(f"before\n{git.graph()}\n")
            histories["before"] = git.commits()
        landed = WAYS[way](situation)
        print(f"{way}\n" + "\n".join(f"$ {command}" for command in landed.commands))
        if landed.conflicts:
            print(f"conflict in {', '.join(landed.conflicts)}: changed lines are neighbours; merged line by line")
        print(f"{git.graph()}\n\n{git('diff', '--unified=1', situation.start, 'main')}\n")
        histories[f"after {way}"] = git.commits()
        trees.add(git("rev-parse", "main^{tree}"))
        if git("rev-list", "--count", f"{situation.start}..main") != "1":
            return False, histories
    return len(trees) == 1, histories


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    options = parse(arguments)
    ways = list(WAYS) if options.way == "both" else [options.way]
    try:
        if options.keep is not None:
            right, histories = run(options.keep.resolve(), ways, options.prints)
        else:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                right, histories = run(Path(folder).resolve(), ways, options.prints)
        if options.plot is not None:
            from examples.bugfix_branch.pictures import draw_histories

            draw_histories(histories, options.plot)
            print(f"Written: {options.plot}")
    except (GitError, GitMissing, Overlap, OSError, ValueError) as error:  # ValueError: a kind of picture that is none
        print(error, file=sys.stderr)
        return 1
    if not right:
        print("main does not have the fix alone.", file=sys.stderr)
        return 1
    print("main has the fix alone" + (", the same both ways." if len(ways) > 1 else "."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
