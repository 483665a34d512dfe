"""What a program has done: bytes sent, operations computed, memory held. The cost model reads it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fastcore.sharding.mesh import Mesh


class Entry(NamedTuple):
    """One superstep.

    kind: "compute", or the collective's name. axis: of the mesh; "" for compute. devices: that take part in one group.
    entering_bytes: S, bytes a device enters with. sent_bytes: by all devices of the mesh together, counted where they
    are moved. flops: a device. name: of the kernel. scope: where it stands, e.g. ("stage 0", "forward 3").
    """

    kind: str
    axis: str
    devices: int
    entering_bytes: int
    sent_bytes: int
    flops: float
    name: str
    mesh: Mesh
    scope: tuple[str, ...]


class Ledger:
    """Entries in order, and memory by device; one for a mesh and all meshes made of it by `Mesh.at`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._scope: tuple[str, ...] = ()
        self._held: dict[tuple[tuple[str, int], ...], int] = defaultdict(int)
        self._peaks: dict[tuple[tuple[str, int], ...], int] = defaultdict(int)

    def add(
        self,
        mesh: Mesh,
        kind: str,
        *,
        axis: str = "",
        devices: int = 1,
        entering_bytes: int = 0,
        sent_bytes: int = 0,
        flops: float = 0.0,
        name: str = "",
    ) -> None:
        """Enter a superstep."""
        self.entries.append(Entry(kind, axis, devices, entering_bytes, sent_bytes, flops, name, mesh, self._scope))

    @contextmanager
    def scope(self, *names: str) -> Iterator[None]:
        """Entries made inside carry these names."""
        before = self._scope
        self._scope = (*before, *names)
        try:
            yield
        finally:
            self._scope = before

    def allocate(self, mesh: Mesh, size: int) -> None:
        """A block of `size` bytes on each device of `mesh`."""
        self._held[mesh.fixed] += size
        self._peaks[mesh.fixed] = max(self._peaks[mesh.fixed], self._held[mesh.fixed])

    def free(self, mesh: Mesh, size: int) -> None:
        """The block is gone."""
        self._held[mesh.fixed] -= size
