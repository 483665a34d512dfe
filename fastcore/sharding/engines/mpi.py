"""Devices on the ranks of MPI."""

from typing import NoReturn


class MpiEngine:
    """Devices in order, the same number on each rank."""

    name = "mpi"
    is_dry = False

    def __init__(self, num_devices: int) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotImplementedError
