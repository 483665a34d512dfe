"""A sequence editor for `git rebase --interactive`: keep one commit, drop the others.

GIT_SEQUENCE_EDITOR="python keep_only.py HASH" git rebase --interactive main bugfix

Git appends the name of its list, whose lines are "pick <abbreviated hash> <subject>", oldest first.
"""

import sys
from pathlib import Path


def keep_only(todo: str, commit: str) -> str:
    """The list with `drop` for all but this commit; its hash may be abbreviated, too."""
    kept = []
    for line in todo.splitlines():
        command, _, rest = line.partition(" ")
        if command in ("pick", "p"):
            listed = rest.split()[0]
            line = f"{'pick' if commit.startswith(listed) or listed.startswith(commit) else 'drop'} {rest}"
        kept.append(line)
    if not any(line.startswith("pick ") for line in kept):
        raise ValueError(f"The list has no commit {commit}:\n{todo}")
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    commit, name = sys.argv[1:]
    file = Path(name)
    file.write_text(keep_only(file.read_text(encoding="utf-8"), commit), encoding="utf-8", newline="\n")
