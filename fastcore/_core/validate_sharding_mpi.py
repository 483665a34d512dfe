"""Checks of what ranks of MPI must agree on, and the messages they raise."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

INSTALL = "pip install 'fastcore-kernels[mpi]'"
MOST_RANKS_SHOWN = 8


def no_mpi(error: Exception) -> NoReturn:
    raise ImportError(f"engine='mpi' needs mpi4py and an MPI library: {INSTALL}. Got: {error}") from error


def ranks_divide(axes: Mapping[str, int], num_devices: int, num_ranks: int) -> None:
    if num_devices % num_ranks:
        raise ValueError(
            f"The number of devices must be a multiple of the number of ranks. Got {num_devices} devices, axes"
            f" {dict(axes)}, on {num_ranks} ranks. Start mpiexec -n with a divisor of {num_devices}."
        )


def steps_differ(number: int, steps: Sequence[str]) -> str:
    """What to say where ranks do different things: `steps` has one for each rank."""
    ranks: dict[str, list[int]] = {}
    for rank, step in enumerate(steps):
        ranks.setdefault(step, []).append(rank)
    parts = []
    for step, those in ranks.items():
        more = ", ..." if len(those) > MOST_RANKS_SHOWN else ""
        parts.append(f"rank {', '.join(map(str, those[:MOST_RANKS_SHOWN]))}{more}: {step}")
    return f"All ranks must run the same program on the same shapes. Step {number} differs. Got {'; '.join(parts)}."


def same_program(message: str) -> NoReturn:
    raise ValueError(message)


def waited(seconds: float, what: str) -> NoReturn:
    raise TimeoutError(
        f"Every rank must come to {what}. Waited {seconds:g} s for the others: one runs another program, or is still"
        " computing. FASTCORE_MPI_TIMEOUT_S sets how long to wait."
    )
