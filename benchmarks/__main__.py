"""`python -m benchmarks`: what `python -m fastcore bench` runs, without typer."""

import argparse
import sys

from benchmarks import runner


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a selection that takes two and a half minutes")
    parser.add_argument(
        "--full", action="store_true", help="every case, with more rounds (the default runs them too, more briefly)"
    )
    parser.add_argument("--filter", metavar="REGEX", help="only cases whose name contains a match")
    parser.add_argument("--peers", metavar="NAMES", help="all, none, or a comma-separated list")
    parser.add_argument("--results", metavar="FOLDER", help="where JSON, Markdown and plots go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(runner.main(**vars(parse(sys.argv[1:]))))
