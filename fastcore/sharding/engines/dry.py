"""No data at all: shapes and costs."""

from typing import Any, NoReturn

import numpy as np


class DryEngine:
    """Every device is local, and none holds anything."""

    name = "dry"
    is_dry = True

    def is_local(self, devices: np.ndarray) -> np.ndarray:
        """Which devices are this process's."""
        return np.ones(devices.shape, bool)

    def holds_whole(self, mesh: Any, groups: np.ndarray) -> bool:
        """Whether each group lies in one process."""
        return True

    def all_blocks(self, mesh: Any, array: Any) -> NoReturn:
        """(size, *block_shape): the blocks of all devices."""
        raise ValueError("A dry mesh holds no values to gather. Use engine='simulated' or 'mpi'.")
