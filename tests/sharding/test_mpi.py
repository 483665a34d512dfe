"""The same program, simulated and on the ranks of MPI: the same bits."""

import json
import subprocess
import sys

import pytest

from fastcore import num_threads
from fastcore._core.threads import pool_size
from tests.sharding import four_hosts, mpi

FAMILIES = mpi.families()


@pytest.fixture(scope="module")
def simulated():
    """answers(family), compiled by the way for the ranks."""
    return {family: mpi.answers(family, "simulated") for family in FAMILIES}


@pytest.fixture(scope="module", params=[1, 2, 3, 4, 8], ids="{} ranks".format)
def on_ranks(request, simulated, run_mpi, tmp_path_factory):
    """Answers of all families on so many ranks: started once."""
    path = tmp_path_factory.mktemp("ranks") / "answers.json"
    run_mpi(mpi.RUNNER, request.param, str(path))
    return json.loads(path.read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_ranks_answer_the_bits_of_simulated(family, on_ranks, simulated):
    found = on_ranks[family]
    if not found:
        pytest.skip("every case of this program needs other numbers of ranks")
    assert found == {name: simulated[family][name] for name in found}


@pytest.mark.parametrize("family", FAMILIES)
def test_simulated_runs_all_cases(family, simulated):
    assert all(len(answer) == 64 for answer in simulated[family].values()), simulated[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_one_thread_answers_the_bits_of_all(family, simulated):
    if pool_size() < 2:
        pytest.skip("one core")
    with num_threads(1):
        assert mpi.answers(family, "simulated") == simulated[family]


def test_four_hosts_answer_the_bits_of_simulated():
    mpi.mpiexec()
    command = [sys.executable, four_hosts.__file__, "engine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode == four_hosts.NOT_ALLOWED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cases as simulated" in done.stdout
