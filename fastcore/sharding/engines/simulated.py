"""All devices in this process."""

from typing import Any

import numpy as np


class SimulatedEngine:
    """What moves between devices is copied between blocks of one array."""

    name = "simulated"
    is_dry = False

    def is_local(self, devices: np.ndarray) -> np.ndarray:
        """Which devices are this process's."""
        return np.ones(devices.shape, bool)

    def holds_whole(self, mesh: Any, groups: np.ndarray) -> bool:
        """Whether each group lies in one process."""
        return True

    def all_blocks(self, mesh: Any, array: Any) -> np.ndarray:
        """(size, *block_shape): the blocks of all devices."""
        return array.local

    def all_to_all(self, mesh: Any, groups: np.ndarray, pieces: np.ndarray, purpose: str) -> np.ndarray:
        """pieces (n_local, n, …): [d, j] to member j of d's group. Returns the same shape, [d, i] from member i.

        purpose : what the pieces are for, on which ranks of MPI agree
        """
        received = np.empty_like(pieces)
        received[groups] = pieces[groups].swapaxes(1, 2)
        return received

    def all_gather(self, mesh: Any, groups: np.ndarray, pieces: np.ndarray, purpose: str) -> np.ndarray:
        """pieces (n_local, m), each to all of its group. Returns (n_local, n, m): [d, i] from member i."""
        received = np.empty((pieces.shape[0], groups.shape[1], *pieces.shape[1:]), pieces.dtype)
        received[groups] = pieces[groups][:, None]
        return received

    def send(self, mesh: Any, target: Any, pieces: np.ndarray, source: np.ndarray) -> np.ndarray:
        """pieces (mesh.n_local, m). Returns (target.n_local, m): device d of `target` gets the pieces of position
        source[d] of `mesh`, zeros where that is −1; source is (target.size,)."""
        if (source >= 0).all():
            return pieces[source]  # one pass over memory instead of three
        received = np.zeros((target.n_local, *pieces.shape[1:]), pieces.dtype)
        received[source >= 0] = pieces[source[source >= 0]]
        return received
