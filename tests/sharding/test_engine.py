"""The mpi engine around its messages: what it needs, how many threads a rank has, what a link is fitted to."""

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from fastcore.sharding import Mesh, fit_link
from fastcore.sharding.engines.mpi_world import affinity
from fastcore.sharding.link import fit_alpha_beta, flops_per_s
from tests.sharding import mpi

HERE = Path(__file__).parent
THREADS = HERE / "threads_of_ranks.py"
CORES = int(affinity().sum())


def no_library(name):
    raise RuntimeError("cannot load MPI library")


@pytest.mark.parametrize("module", [None, "broken"])
@pytest.mark.parametrize("call", [lambda: Mesh({"x": 2}, engine="mpi"), fit_link])
def test_mpi_missing_names_the_extra(monkeypatch, module, call):
    if module == "broken":
        module = types.ModuleType("mpi4py")
        module.__getattr__ = no_library
        module.__path__ = []
    monkeypatch.setitem(sys.modules, "mpi4py", module)
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    with pytest.raises(ImportError, match=r"needs mpi4py and an MPI library: pip install 'fastcore-kernels\[mpi\]'"):
        call()


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_cores_of_their_host(run_mpi, ranks):
    assert run_mpi(THREADS, ranks).startswith(str([max(1, CORES // ranks)] * ranks))


def test_threads_that_the_user_chose_stay(run_mpi):
    count = min(2, os.cpu_count())
    said = run_mpi(THREADS, 2, NUMBA_NUM_THREADS=str(count))
    assert said.startswith(str([count] * 2))
    assert "PASSIVE" in said
    if CORES > 1:
        assert run_mpi(THREADS, 1, "1").startswith("[1]")


def test_fit_alpha_beta_finds_the_line():
    sizes = np.array([1.0, 1e3, 1e6, 1e8])
    alpha, beta = fit_alpha_beta(sizes, 3e-6 + sizes * 2e-10)
    np.testing.assert_allclose([alpha, beta], [3e-6, 2e-10], rtol=1e-9)


def test_fit_alpha_beta_of_noise_takes_the_smallest_and_the_largest_message():
    sizes = np.array([1.0, 10.0, 100.0])
    alpha, beta = fit_alpha_beta(sizes, np.array([3e-6, 2e-6, 1e-6]))
    assert alpha > 0
    assert beta == 1e-8
    alpha, beta = fit_alpha_beta(sizes, np.array([1e-9, 2e-8, 3e-7]))
    assert alpha == 1e-9
    assert beta > 0


def test_fit_link_is_plausible_and_the_same_on_all_ranks(run_mpi):
    flops_per_s()  # compiled once, not by each rank
    latency_s, bytes_per_s, speed = map(float, run_mpi(HERE / "fitted_link.py", 2).split())
    assert 1e-8 < latency_s < 0.1
    assert 1e6 < bytes_per_s < 1e12
    assert 1e8 < speed < 1e13


def test_fit_link_of_one_rank_says_how_to_start(tmp_path):
    done = mpi.start(HERE / "fitted_link.py", 1)
    assert done.returncode != 0
    assert "needs at least 2. Got 1. Start the program with mpiexec -n 2 python -m mpi4py" in done.stderr
