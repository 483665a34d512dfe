"""Git in a folder of its own: the user's settings, hooks and repositories are neither read nor changed."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class GitError(Exception):
    """A command failed; the message is what it printed."""


class GitMissing(Exception):
    """There is no git on this machine."""


class Commit(NamedTuple):
    """parents : hashes; branches : that end here"""

    hash: str
    parents: tuple[str, ...]
    subject: str
    branches: tuple[str, ...]


# A commit's hash depends on its dates: the same steps give the same hashes, and none shows who ran them and when.
DATE = "2024-01-01T12:00:00+00:00"


class Git:
    """A repository in `folder`, which is made; HOME is beside it.

    Raises
    ------
    GitMissing : there is no git
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("git")
        if program is None:
            raise GitMissing("This example drives git, which is not installed or not on PATH. See https://git-scm.com.")
        self._program = program
        self.folder = folder
        home = folder.with_name(f"{folder.name}-home")
        for each in (folder, home):
            each.mkdir(parents=True)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CEILING_DIRECTORIES": str(folder.parent),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_EDITOR": "true",  # messages stay as they are
            "GIT_AUTHOR_DATE": DATE,
            "GIT_COMMITTER_DATE": DATE,
            "LC_ALL": "C",
        }
        self("init", "--quiet", "--template=")  # a template could bring hooks
        self("symbolic-ref", "HEAD", "refs/heads/main")  # init.defaultBranch came with 2.28
        for name, value in (
            ("user.name", "Zoe Keeper"),
            ("user.email", "zoe@example.com"),
            ("core.hooksPath", os.devnull),
            ("core.autocrlf", "false"),
            ("commit.gpgSign", "false"),
        ):
            self("config", name, value)

    def attempt(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        return subprocess.run(
            [self._program, *arguments],
            cwd=self.folder,
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )

    def __call__(self, *arguments: str, **environment: str) -> str:
        """Run a command; what it printed, without the last end of line. Raises GitError."""
        done = self.attempt(*arguments, **environment)
        if done.returncode:
            raise GitError(f"git {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout.removesuffix("\n")

    def commit(self, message: str, files: dict[str, str]) -> str:
        """Write files and commit them; the commit's hash."""
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8", newline="\n")
        self("add", "--", *files)
        self("commit", "--quiet", "--message", message)
        return self("rev-parse", "HEAD")

    def graph(self) -> str:
        return self("log", "--graph", "--oneline", "--decorate", "--all", "--topo-order")

    def commits(self) -> list[Commit]:
        """Of all branches, parents behind their children."""
        lines = self("log", "--all", "--topo-order", "--format=%H%x00%P%x00%s").splitlines()
        ends = [line.split() for line in self("for-each-ref", "--format=%(objectname) %(refname:short)").splitlines()]
        return [
            Commit(name, tuple(parents.split()), subject, tuple(branch for end, branch in ends if end == name))
            for name, parents, subject in (line.split("\0") for line in lines)
        ]

    def unmerged(self) -> Sequence[str]:
        """The files in conflict."""
        return [name for name in self("diff", "--name-only", "--diff-filter=U", "-z").split("\0") if name]
