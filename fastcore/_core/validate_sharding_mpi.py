"""Checks of what ranks of MPI must agree on, and the messages they raise."""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from fastcore._core.validate import kind_of

INSTALL = "pip install 'fastcore-kernels[mpi]'"
MOST_RANKS_SHOWN = 8
PATIENCE_S = 600.0
MEETING_S = 60.0  # before the first mesh there is little to compute: who does not come, never will


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


def waited(seconds: float, what: str, variable: str) -> NoReturn:
    raise TimeoutError(
        f"Every rank must come to {what}. Waited {seconds:g} s for the others: one runs another program, or is still"
        f" computing. {variable} sets how many seconds to wait."
    )


def did_not_come(rank: int, seconds: float, missing: Sequence[int], variable: str) -> NoReturn:
    more = ", ..." if len(missing) > MOST_RANKS_SHOWN else ""
    raise TimeoutError(
        f"Every rank must come to the first Mesh(engine='mpi'): each makes the mesh, none alone. Rank {rank} waited"
        f" {seconds:g} s for ranks {', '.join(map(str, missing[:MOST_RANKS_SHOWN]))}{more}. {variable} sets how many"
        " seconds to wait."
    )


def patience_s(text: str | None, unset: float = PATIENCE_S) -> float:
    """Seconds a rank waits for the others."""
    if text is None:
        return unset
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ValueError(f"FASTCORE_MPI_TIMEOUT_S must be a positive number of seconds. Got {text!r}.")
    return seconds


def message_sizes(sizes: Any) -> tuple[int, ...]:
    try:
        lengths = tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise TypeError(f"sizes must be integers, bytes of messages. Got {kind_of(sizes)}.") from None
    if len(set(lengths)) < 2 or min(lengths) < 1:
        raise ValueError(f"sizes must be at least two different positive numbers of bytes. Got {lengths}.")
    return lengths


def two_ranks(num_ranks: int) -> None:
    if num_ranks < 2:
        raise ValueError(
            f"fit_link measures messages between ranks and needs at least 2. Got {num_ranks}. Start the program with"
            " mpiexec -n 2 python -m mpi4py ..., on the machines to be measured."
        )
