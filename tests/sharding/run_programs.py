"""All programs on the ranks of MPI, or some: `mpiexec -n 4 python -m mpi4py <this file> answers.json [family ...]`.

Writes family → case → digest; a case whose digests differ between ranks answers so.
"""

import json
import sys
from pathlib import Path

from mpi4py import MPI

from tests.sharding import mpi


def main() -> None:
    path, *wanted = sys.argv[1:]
    world = MPI.COMM_WORLD
    answers = {}
    for family in wanted or mpi.families():
        each = world.allgather(mpi.answers(family, "mpi", world.size))
        names = sorted(set().union(*each))
        answers[family] = {name: joined([one.get(name, "skipped") for one in each]) for name in names}
    if world.rank == 0:
        Path(path).write_text(json.dumps(answers))


def joined(found: list[str]) -> str:
    return found[0] if len(set(found)) == 1 else f"not the same on all ranks: {found}"


if __name__ == "__main__":
    main()
