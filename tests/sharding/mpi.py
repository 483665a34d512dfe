"""Starting programs under mpiexec, and what the programs of `tests/sharding/programs` answer there."""

import importlib
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from fastcore.sharding import Mesh

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
RUNNER = Path(__file__).parent / "run_programs.py"
TIMEOUT_S = 120


class OtherRanksNeeded(Exception):
    """The ranks do not divide the devices that a case asks for."""


def families() -> list[str]:
    """Names of the programs."""
    return sorted(path.stem for path in PROGRAMS.glob("[a-z]*.py"))


def answers(family: str, engine: str, num_ranks: int = 1) -> dict[str, str]:
    """Case → digest of the arrays it answers, or the error; without the cases that need other ranks."""

    def make_mesh(axes: dict[str, int]) -> Mesh:
        if int(np.prod(list(axes.values()))) % num_ranks:
            raise OtherRanksNeeded
        return Mesh(axes, engine=engine)

    found = {}
    for name, case in importlib.import_module(f"tests.sharding.programs.{family}").cases().items():
        try:
            found[name] = digest(case(make_mesh))
        except OtherRanksNeeded:
            continue
        except Exception as error:  # an answer like another: the next cases run
            found[name] = f"{type(error).__name__}: {error}"
    return found


def digest(arrays: list[np.ndarray]) -> str:
    """Of shapes, dtypes and bits."""
    state = sha256()
    for array in map(np.asarray, arrays):
        state.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
    return state.hexdigest()


def mpiexec() -> str:
    """The mpiexec beside this Python, or on the path; skips the test where there is none, or no mpi4py."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install 'fastcore-kernels[mpi]'")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("mpiexec is not installed: pip install 'fastcore-kernels[mpi]' brings it")
    return found


def start(script: Path, ranks: int, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    """Run a script on so many ranks of this machine, as users are told to. mpiexec ends all ranks at the timeout."""
    settings = {"PYTHONPATH": str(ROOT), "MPIEXEC_TIMEOUT": str(TIMEOUT_S)} | env
    return subprocess.run(
        [mpiexec(), "-n", str(ranks), sys.executable, "-m", "mpi4py", str(script), *arguments],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S + 10,
    )
