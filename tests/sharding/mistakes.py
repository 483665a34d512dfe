"""Mistakes on the ranks of MPI: `mpiexec -n 4 python -m mpi4py mistakes.py <name>`; see test_mistakes.py.

"all": those that leave the program alive, one after another; prints name → errors of all ranks. Others end it.
"""

import atexit
import contextlib
import json
import sys
import time

import numpy as np
from mpi4py import MPI

from fastcore.sharding import Mesh, P, all_gather, fit_link, pmax, ppermute, psum, psum_scatter, transfer
from fastcore.sharding.engines import mpi_world

WORLD = MPI.COMM_WORLD
RANK = WORLD.rank


def mesh():
    return Mesh({"dp": 2, "tp": 4}, engine="mpi")


def array(on, columns=4, dtype=float):
    return on.put(np.ones((8, columns), dtype), P(("dp", "tp")))


# --- the same on all ranks: the program goes on ---


def unknown_axis():
    psum(array(mesh()), "pp")


def indivisible():
    mesh().put(np.ones((8, 7)), P("dp", "tp"))


def number_of_ranks():
    Mesh({"dp": 3, "tp": 3}, engine="mpi")


def stages_of_other_axes():
    grid = mesh()
    transfer(grid.at(dp=0).zeros((4, 4), float, P("tp")), grid.at(tp=0))


def copies_differ():
    grid = mesh()
    grid.axis_index("tp").gather()


def pair_twice():
    ppermute(array(mesh()), "tp", [(0, 1), (0, 2)])


def sizes():
    fit_link([4, 4])


# --- other things on other ranks: found, and raised on all ---


def axes_differ():
    Mesh({"dp": 2, "tp": 4} if RANK else {"dp": 4, "tp": 2}, engine="mpi")


def number_of_devices_differs():
    Mesh({"dp": 9 if RANK == 1 else 8}, engine="mpi")


def shapes_differ():
    psum(array(mesh(), 5 if RANK == 2 else 4), "tp").gather()


def sizes_of_large_messages_differ():
    all_gather(array(mesh(), 300_000 if RANK == 2 else 200_000), "dp").gather(check=False)


def dtypes_differ():
    psum(array(mesh(), 4, np.float32 if RANK == 2 else np.int32), "tp").gather()


def collectives_differ():
    x = array(mesh())
    (psum if RANK % 2 else all_gather)(x, "tp").gather(check=False)


def reductions_differ():
    (psum if RANK else pmax)(array(mesh()), "tp").gather(check=False)


def options_of_collectives_differ():
    x = mesh().put(np.ones((8, 8)), P(None, "dp"))
    psum_scatter(x, "tp", scatter_dimension=1 if RANK else 0, tiled=True).gather(check=False)


def axes_of_collectives_differ():
    psum(array(mesh()), "tp" if RANK else "dp").gather(check=False)


def order_differs():
    grid = mesh()
    for _ in range(2):
        x = array(grid)
        if RANK == 0:
            all_gather(x, "dp")
            psum(x, "tp")
        else:
            psum(x, "tp")
            all_gather(x, "dp")
    x.gather()


def meshes_differ():
    one, other = mesh(), Mesh({"x": 8}, engine="mpi")
    for each in (one, other) if RANK else (other, one):
        each.put(np.ones(8), P(tuple(each.axes))).gather()


def permutations_differ():
    ppermute(array(mesh()), "tp", [(0, 1 if RANK else 2)]).gather(check=False)


def stages_differ():
    grid = mesh()
    x = grid.at(dp=0).zeros((4, 4), float, P("tp"))
    transfer(x, grid.at(dp=1 if RANK else 0)).gather()


def one_gathers():
    x = array(mesh())
    if RANK == 3:
        x.gather()
    psum(x, "tp").gather()


def calls_after_a_failure():
    with contextlib.suppress(ValueError):
        axes_differ()
    mesh()


# --- which end the program ---


def one_raises():
    x = array(mesh())
    if RANK == 1:
        raise RuntimeError("out of paper")
    psum(x, "tp").gather(check=False)


def one_is_interrupted_while_others_compute():
    mesh()
    if RANK == 1:
        raise RuntimeError("out of paper")
    time.sleep(30)


def one_ends():
    x = array(mesh())
    if RANK != 1:
        psum(x, "tp").gather(check=False)


def one_never_comes():
    if RANK == 1:
        time.sleep(30)
    mesh()


def one_alone_makes_the_mesh():
    if RANK == 0:
        mesh()
    time.sleep(10)


def one_is_slow():
    x = array(mesh())
    if RANK == 1:
        time.sleep(30)
    psum(x, "dp").gather(check=False)


def all_raise():
    psum(array(mesh()), "pp")


SAME = [unknown_axis, indivisible, number_of_ranks, stages_of_other_axes, copies_differ, pair_twice, sizes]
DIFFERENT = [
    axes_differ,
    number_of_devices_differs,
    shapes_differ,
    sizes_of_large_messages_differ,
    dtypes_differ,
    collectives_differ,
    reductions_differ,
    options_of_collectives_differ,
    axes_of_collectives_differ,
    order_differs,
    meshes_differ,
    permutations_differ,
    stages_differ,
    one_gathers,
    calls_after_a_failure,
]


def run_all():
    said = {}
    for mistake in [*SAME, *DIFFERENT]:
        try:
            mistake()
            text = "no error"
        except (ValueError, TypeError) as error:
            text = f"{type(error).__name__}: {error}"
        said[mistake.__name__] = WORLD.gather(text)
        if mistake in DIFFERENT:  # the next one needs ranks that trust each other again
            atexit.unregister(mpi_world.world()._finish)
            mpi_world.world.cache_clear()
    array(mesh()).gather()
    if RANK == 0:
        print(json.dumps(said))


if __name__ == "__main__":
    run_all() if sys.argv[1] == "all" else globals()[sys.argv[1]]()
