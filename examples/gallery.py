"""The pictures of examples/README.md, each made by the command that stands above it there.

python -m examples.gallery
python -m examples.gallery zoo bugfix    (only those whose picture has such a name)

The commands run in a temporary folder, minutes in all; each picture is made small, and replaces the one in pictures/.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "examples" / "README.md"
LARGEST_BYTES = 60_000
WIDTH = 1000  # pixels, what a page shows
# From many colours to few, until a picture is small enough; heat maps need some, lines hardly any.
COLOURS = (128, 64, 32, 16)


class Entry(NamedTuple):
    """A section: command is what stands in its block, picture the file's path seen from the README."""

    title: str
    command: str
    picture: str


def entries(readme: Path = README) -> list[Entry]:
    """The sections that have a command and a picture."""
    found = []
    for section in re.split(r"^## ", readme.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        block = re.search(r"^```\n(.*)\n```$", section, re.MULTILINE)
        picture = re.search(r"^!\[[^]]+\]\((\S+)\)$", section, re.MULTILINE)
        if block and picture:
            found.append(Entry(section.partition("\n")[0], block[1], picture[1]))
    return found


def shrink(source: Path, target: Path) -> int:
    """Write a PNG with fewer pixels and colours; its size in bytes."""
    from PIL import Image

    with Image.open(source) as image:
        small = image.convert("RGB")
    if small.width > WIDTH:
        small = small.resize((WIDTH, round(small.height * WIDTH / small.width)), Image.Resampling.LANCZOS)
    for colours in COLOURS:
        # The mean of many pixels, which is the other methods' choice, turns thin coloured lines grey.
        few = small.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(target, optimize=True)
        size = target.stat().st_size
        if size <= LARGEST_BYTES:
            return size
    raise ValueError(f"{source.name} does not fit into {LARGEST_BYTES} bytes; draw less.")


def make(entry: Entry) -> int:
    """Run the command, and put its picture in its place; the size in bytes.

    Raises
    ------
    RuntimeError : the command failed, or wrote no such file; the message has what it printed
    """
    arguments = shlex.split(entry.command)[1:]  # behind "python"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        files = list(Path(folder).rglob(Path(entry.picture).name))
        if done.returncode or len(files) != 1:
            raise RuntimeError(f"{entry.command}\n{done.stdout}{done.stderr}\nstatus {done.returncode}, {files}")
        return shrink(files[0], README.parent / entry.picture)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 if a command failed."""
    parser = argparse.ArgumentParser(prog="python -m examples.gallery", description="Make the gallery's pictures.")
    parser.add_argument("names", nargs="*", help="parts of names of pictures (default: all)")
    options = parser.parse_args(arguments)
    chosen = [entry for entry in entries() if not options.names or any(name in entry.picture for name in options.names)]
    if not chosen:
        parser.error(f"no picture has a name with {' or '.join(options.names)} in it")
    failed = False
    for entry in chosen:
        print(f"{entry.title}: {entry.command}", flush=True)
        try:
            print(f"  {entry.picture}, {make(entry):,} bytes", flush=True)
        except (RuntimeError, ValueError, OSError) as error:
            print(error, file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
