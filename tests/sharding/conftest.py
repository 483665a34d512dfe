"""What the tests of sharding share."""

import pytest

from tests.sharding import mpi


@pytest.fixture(scope="session")
def run_mpi():
    """run(script, ranks, *arguments, **env): what a script prints under mpiexec, which must end well."""

    def run(script, ranks, *arguments, **env):
        done = mpi.start(script, ranks, *arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
