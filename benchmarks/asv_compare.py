"""`python -m benchmarks.asv_compare BASE [HEAD]`: run the asv suite on two commits and print the comparison.

Each commit is checked out into a temporary work tree that comes first on the path; interpreter and packages are those
that run this. Works offline; needs git and a clone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environment import ROOT

ASV = [sys.executable, "-m", "asv"]
WARM = "import sys; sys.path.insert(0, sys.argv[1]); from suite import quick_cases; quick_cases.warm()"


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout.strip()


def resolve(name: str) -> str:
    try:
        git("rev-parse", "--git-dir")
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit("Comparing two commits needs git and a clone of the repository.") from None
    try:
        return git("rev-parse", "--verify", f"{name}^{{commit}}")
    except subprocess.CalledProcessError:
        raise SystemExit(f"BASE and HEAD must be commits; git knows none named {name!r}.") from None


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary work tree of the commit."""
    with tempfile.TemporaryDirectory(prefix="fastcore-asv-") as folder:
        tree = Path(folder) / commit[:10]
        git("worktree", "add", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def environment_of(tree: Path) -> dict[str, str]:
    """Environment in which `import fastcore` takes the tree's; checked, since an installed one might come first."""
    env = {**os.environ, "PYTHONPATH": str(tree), "FASTCORE_TREE": str(tree)}
    command = [sys.executable, "-c", "import fastcore; print(fastcore.__file__)"]
    found = subprocess.run(command, env=env, cwd=tree, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(found).resolve().is_relative_to(tree.resolve()):
        raise SystemExit(f"fastcore must come from {tree}, but Python finds {found}. Uninstall that one first.")
    return env


def run(commit: str, bench: str | None) -> None:
    """Run the suite on a commit; asv keeps the results under its hash."""
    chosen = [f"--bench={bench}"] if bench else []
    with checked_out(commit) as tree:
        print(f"\n== {git('log', '-1', '--format=%h %s', commit)}", flush=True)
        env = environment_of(tree)
        print("compiling its kernels", flush=True)
        subprocess.run([sys.executable, "-c", WARM, str(ROOT / "benchmarks")], cwd=tree, env=env, check=True)
        command = [*ASV, "run", "--python=same", f"--set-commit-hash={commit}", "--show-stderr", *chosen]
        if (status := subprocess.run(command, cwd=ROOT, env=env, check=False).returncode) not in (0, 2):
            raise SystemExit(f"asv ended with status {status}.")  # 2: some benchmark failed; the others count


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asv_compare", description=__doc__)
    parser.add_argument("base", nargs="?", default="HEAD~1", help="commit to compare with, default HEAD~1")
    parser.add_argument("head", nargs="?", default="HEAD", help="commit to judge, default HEAD")
    parser.add_argument("--bench", metavar="REGEX", help="only benchmarks that match, e.g. 'Time.*L512'")
    options = parser.parse_args(arguments)
    base, head = resolve(options.base), resolve(options.head)
    subprocess.run([*ASV, "machine", "--yes"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    for commit in dict.fromkeys((base, head)):
        run(commit, options.bench)
    print(f"\n== {base[:10]} → {head[:10]}: time, peak memory, part of NumPy's time; less is better")
    done = subprocess.run([*ASV, "compare", base, head], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    print(measured_rows(done.stdout), flush=True)
    return done.returncode


def measured_rows(table: str) -> str:
    """The comparison without the rows of benchmarks that neither commit was measured on."""
    rows = ([word.strip() for word in line.split("|")] for line in table.splitlines())
    return "\n".join(line for line, words in zip(table.splitlines(), rows) if words[2:5] != ["n/a"] * 3)


if __name__ == "__main__":
    sys.exit(main())
