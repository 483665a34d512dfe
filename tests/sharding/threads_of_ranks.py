"""How many threads a rank has: `mpiexec -n 2 python -m mpi4py threads_of_ranks.py [chosen before]`."""

import os
import sys

from mpi4py import MPI

from fastcore import get_num_threads, set_num_threads
from fastcore.sharding import Mesh

if len(sys.argv) > 1:
    set_num_threads(int(sys.argv[1]))
Mesh({"x": MPI.COMM_WORLD.size}, engine="mpi")
counts = MPI.COMM_WORLD.gather(get_num_threads())
if MPI.COMM_WORLD.rank == 0:
    print(counts, os.environ.get("OMP_WAIT_POLICY"))
