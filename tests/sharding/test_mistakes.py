"""Mistakes raise a clear error on every rank, and nothing hangs."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from fastcore._core import validate_sharding_mpi as check
from fastcore.sharding import Mesh, P, psum
from tests.sharding import mpi

SCRIPT = Path(__file__).with_name("mistakes.py")
RANKS = 4

SAME = {
    "unknown_axis": "ValueError: 'pp' is not an axis of the mesh, which has 'dp' (2), 'tp' (4).",
    "indivisible": "ValueError: Axis 1 of shape (8, 7) must divide into 4 blocks",
    "number_of_ranks": "ValueError: The number of devices must be a multiple of the number of ranks. Got 9 devices",
    "stages_of_other_axes": "ValueError: Both meshes must have the same axes.",
    "copies_differ": "ValueError: Copies of a block must be equal.",
    "pair_twice": "ValueError: perm must name each source once.",
    "sizes": "ValueError: sizes must be at least two different positive numbers of bytes.",
}
# What rank 0 did and what another did, in the error of both.
DIFFERENT = {
    "axes_differ": ("Mesh({'dp': 4, 'tp': 2})", "Mesh({'dp': 2, 'tp': 4})"),
    "number_of_devices_differs": ("rank 0, 2, 3: Mesh({'dp': 8})", "rank 1: Mesh({'dp': 9})"),
    "shapes_differ": ("rank 0, 1, 3: ", "rank 2: "),
    "sizes_of_large_messages_differ": ("(1, 200000)", "(1, 300000)"),
    "dtypes_differ": ("int32", "float32"),
    "collectives_differ": ("rank 0, 2: ", "rank 1, 3: "),
    "reductions_differ": ("rank 0: all_to_all of float64", "for pmax", "for psum"),
    "options_of_collectives_differ": ("scatter_dimension=0, tiled=True", "scatter_dimension=1, tiled=True"),
    "axes_of_collectives_differ": ("rank 0: ", "rank 1, 2, 3: "),
    "order_differs": ("rank 0: ", "rank 1, 2, 3: "),
    "meshes_differ": ("Mesh({'x': 8}", "Mesh({'dp': 2, 'tp': 4}"),
    "permutations_differ": ("rank 0: send", "rank 1, 2, 3: send"),
    "stages_differ": ("dp=0, engine='mpi'), from", "dp=1, engine='mpi'), from"),
    "one_gathers": ("rank 0, 1, 2: ", "rank 3: gather"),
    "calls_after_a_failure": ("Mesh({'dp': 4, 'tp': 2})", "Mesh({'dp': 2, 'tp': 4})"),
}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The kernels that the ranks load, so that they need not wait for each other's compilers."""
    mesh = Mesh({"dp": 2, "tp": 4})
    for dtype in (np.float64, np.float32, np.int32):
        psum(mesh.zeros((8, 4), dtype, P("dp", "tp")), "tp")


@pytest.fixture(scope="module")
def said(run_mpi):
    """Mistake → what each rank said; all in one program, which goes on after each."""
    return json.loads(run_mpi(SCRIPT, RANKS, "all", FASTCORE_MPI_TIMEOUT_S="60"))


@pytest.mark.parametrize("name", SAME)
def test_mistake_on_all_ranks_raises_on_all(said, name):
    assert len(said[name]) == RANKS
    assert all(text.startswith(SAME[name]) for text in said[name])


@pytest.mark.parametrize("name", DIFFERENT)
def test_ranks_that_differ_raise_on_all_what_each_did(said, name):
    assert len(said[name]) == RANKS
    for text in said[name]:
        assert text.startswith("ValueError: All ranks must run the same program on the same shapes. Step ")
        assert all(part in text for part in DIFFERENT[name])


def test_every_mistake_is_tested(said):
    assert set(said) == {*SAME, *DIFFERENT}


def ended(name, ranks=2, **env):
    """What a program prints that a mistake ends, within a time that a hang does not keep."""
    start = time.monotonic()
    done = mpi.start(SCRIPT, ranks, name, **env)
    assert done.returncode != 0
    assert time.monotonic() - start < 25
    return done.stderr


def test_error_of_one_rank_is_told_by_the_others():
    shown = ended("one_raises", ranks=4)
    assert "RuntimeError: out of paper" in shown
    assert shown.count("ValueError: All ranks must run") >= 3
    assert "rank 1: RuntimeError: out of paper" in shown


def test_error_of_one_rank_ends_ranks_that_compute():
    assert "RuntimeError: out of paper" in ended("one_is_interrupted_while_others_compute")


def test_rank_that_ends_early_is_told_by_the_others():
    assert "rank 1: the end of the program" in ended("one_ends")


def test_error_on_all_ranks_is_shown_by_all():
    assert ended("all_raise", ranks=4).count("ValueError: 'pp' is not an axis of the mesh") == 4


@pytest.mark.parametrize(
    "name, what", [("one_never_comes", "the first Mesh(engine='mpi')"), ("one_is_slow", "step 2, all_to_all")]
)
def test_rank_that_does_not_come_is_waited_for_in_vain(name, what):
    shown = ended(name, FASTCORE_MPI_TIMEOUT_S="2")
    assert f"TimeoutError: Every rank must come to {what}" in shown
    assert "FASTCORE_MPI_TIMEOUT_S sets how many seconds" in shown


def test_mesh_made_by_one_rank_alone_names_the_others():
    shown = ended("one_alone_makes_the_mesh", ranks=4, FASTCORE_MPI_TIMEOUT_S="2")
    assert "come to the first Mesh(engine='mpi'): each makes the mesh, none alone." in shown
    assert "Rank 0 waited 2 s for ranks 1, 2, 3." in shown


def test_patience_for_the_first_mesh_is_shorter_where_none_is_set():
    assert check.patience_s(None, check.MEETING_S) == 60.0
    assert check.patience_s(None) == 600.0
    assert check.patience_s("5", check.MEETING_S) == 5.0


def test_timeout_that_is_no_number_is_refused():
    assert "FASTCORE_MPI_TIMEOUT_S must be a positive number of seconds. Got 'soon'." in ended(
        "one_is_slow", FASTCORE_MPI_TIMEOUT_S="soon"
    )
