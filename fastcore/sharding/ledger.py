"""What a program has done: bytes sent, operations computed, memory held. The cost model reads it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

if TYPE_CHECKING:
    from fastcore.sharding.mesh import Mesh


class Entry(NamedTuple):
    """One superstep.

    kind: "compute", or the collective's name; "transfer" from mesh to mesh. axis: of the mesh; "" for compute.
    devices: that take part in one group. entering_bytes: S, bytes a device enters with. sent_bytes: by all devices of
    the mesh together, counted where they are moved. flops: a device, None if the kernel does not say. name: of the
    kernel. scope: where it stands, e.g. ("stage 0", "forward 3"). target: the mesh that a transfer goes to.
    """

    kind: str
    axis: str
    devices: int
    entering_bytes: int
    sent_bytes: int
    flops: float | None
    name: str
    mesh: Mesh
    scope: tuple[str, ...]
    target: Mesh | None


class Span:
    """The entries [first, last) made inside a scope; `last` is set when it ends."""

    __slots__ = ("first", "last")

    def __init__(self, first: int) -> None:
        self.first = first
        self.last = first


class Interval(NamedTuple):
    """When the devices of a mesh did the entries of a span, in seconds since the pipeline began.

    name: "forward 3", or "send forward 3" for its message to the next stage, which the devices need not wait for.
    """

    name: str
    span: Span
    mesh: Mesh
    start_s: float
    end_s: float

    @property
    def sends(self) -> bool:
        """Whether this is a message, and not work of a stage."""
        return self.name.startswith("send")


class Pipeline(NamedTuple):
    """Entries [first, last) and their times, with computation and communication at once, and one after the other."""

    first: int
    last: int
    lower: tuple[Interval, ...]
    upper: tuple[Interval, ...]


class PerDevice:
    """Some numbers for every device, stored once for devices that no `Mesh.at` has told apart.

    `values` is (numbers, ...) with an axis more for each mesh axis that some sub-mesh has fixed, in the order in which
    they were: of 65,536 devices in 16 stages it holds 16 columns.
    """

    def __init__(self, axes: Mapping[str, int], numbers: int, dtype: type) -> None:
        self.axes = axes
        self.split: tuple[str, ...] = ()
        self.values: np.ndarray = np.zeros(numbers, dtype)
        self._views: dict[tuple[tuple[str, int], ...], tuple[np.ndarray, ...]] = {}

    def of(self, mesh: Mesh) -> tuple[np.ndarray, ...]:
        """A view of each number of a mesh's devices, with all further axes of `values`: those fixed have length 1."""
        views = self._views.get(mesh.fixed)
        if views is None:
            self._tell_apart(mesh)
            fixed = dict(mesh.fixed)
            index = [slice(fixed[name], fixed[name] + 1) if name in fixed else slice(None) for name in self.split]
            views = self._views[mesh.fixed] = tuple(self.values[(row, *index, ...)] for row in range(len(self.values)))
        return views

    def _tell_apart(self, mesh: Mesh) -> None:
        for name, _ in mesh.fixed:
            if name not in self.split:
                self.split = (*self.split, name)
                self.values = np.repeat(self.values[..., None], self.axes[name], axis=-1)
                self._views.clear()


class Recording:
    """What was entered inside of `Ledger.recording`.

    scope: it was made in. used: the distinct entries, codes: theirs in the ledger; places: (entries,) the index of each
    in them. meshes: of the entries, owners: (entries,) the index of each in them. rises: (entries,) bytes held then,
    above those before. changes: of memory, by the axes that their mesh fixes.
    """

    def __init__(self, scope: tuple[str, ...]) -> None:
        self.scope = scope
        self.used: list[Entry] = []
        self.meshes: list[Mesh] = []
        self.codes = self.places = self.owners = self.rises = np.zeros(0, np.int64)
        self.changes: dict[tuple[tuple[str, int], ...], Change] = {}

    def net(self, mesh: Mesh) -> int:
        """Bytes a device of the mesh holds more in the end, by arrays of the mesh itself."""
        return self.changes[mesh.fixed].net if mesh.fixed in self.changes else 0


class Change:
    """Bytes on the devices of a mesh, against those at first: in the end, and at most."""

    __slots__ = ("mesh", "most", "net")

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.net = self.most = 0

    def add(self, size: int) -> None:
        self.net += size
        self.most = max(self.most, self.net)


class Entries(Sequence[Entry]):
    """What was entered, in order. Equal entries are stored once: a step of a training loop, done again, takes 12 bytes
    an entry, not 400.

    held_bytes: for each entry, bytes on the device of its mesh that held most then.
    """

    def __init__(self) -> None:
        self.distinct: list[Entry] = []
        self.codes = array("i")
        self.held_bytes = array("q")
        self._code_of: dict[Entry, int] = {}

    def code(self, entry: Entry) -> int:
        """Where the entry is in `distinct`."""
        code = self._code_of.setdefault(entry, len(self.distinct))
        if code == len(self.distinct):
            self.distinct.append(entry)
        return code

    def append(self, entry: Entry, held_bytes: int) -> None:
        self.codes.append(self.code(entry))
        self.held_bytes.append(held_bytes)

    def extend(self, codes: np.ndarray, held_bytes: np.ndarray) -> None:
        self.codes.frombytes(codes.astype(np.intc).tobytes())
        self.held_bytes.frombytes(held_bytes.astype(np.int64).tobytes())

    def counts(self) -> np.ndarray:
        """How often each entry of `distinct` was made."""
        return np.bincount(np.asarray(self.codes), minlength=len(self.distinct))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.distinct[code] for code in self.codes[index]]
        return self.distinct[self.codes[index]]


class Ledger:
    """Entries in order, and memory by device; one for a mesh and all meshes made of it by `Mesh.at`."""

    def __init__(self, axes: Mapping[str, int]) -> None:
        self.axes = dict(axes)
        self.entries = Entries()
        self.pipelines: list[Pipeline] = []
        self._scope: tuple[str, ...] = ()
        self._memory = PerDevice(axes, 2, np.int64)  # held now, and at most
        self._recording: Recording | None = None

    def add(
        self,
        mesh: Mesh,
        kind: str,
        *,
        axis: str = "",
        devices: int = 1,
        entering_bytes: int = 0,
        sent_bytes: int = 0,
        flops: float | None = 0.0,
        name: str = "",
        target: Mesh | None = None,
    ) -> None:
        """Enter a superstep."""
        entry = Entry(kind, axis, devices, entering_bytes, sent_bytes, flops, name, mesh, self._scope, target)
        self.entries.append(entry, self.held_bytes(mesh))

    @contextmanager
    def scope(self, *names: str) -> Iterator[Span]:
        """Entries made inside carry these names; answers which they are."""
        before = self._scope
        self._scope = (*before, *names)
        span = Span(len(self.entries))
        try:
            yield span
        finally:
            span.last = len(self.entries)
            self._scope = before

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """What happens inside can be entered again by `replay`, without doing it. Recordings do not nest."""
        recording = self._recording = Recording(self._scope)
        first = len(self.entries)
        try:
            yield recording
        finally:
            self._recording = None
            made = np.asarray(self.entries.codes[first:])
            recording.codes, recording.places = np.unique(made, return_inverse=True)
            recording.used = [self.entries.distinct[code] for code in recording.codes]
            meshes = {entry.mesh.fixed: entry.mesh for entry in recording.used}
            recording.meshes, order = list(meshes.values()), list(meshes)
            owners = np.array([order.index(entry.mesh.fixed) for entry in recording.used], np.int64)
            recording.owners = owners[recording.places]
            before = np.array([self.held_bytes(mesh) - recording.net(mesh) for mesh in recording.meshes], np.int64)
            recording.rises = np.asarray(self.entries.held_bytes[first:]) - before[recording.owners]

    def replay(self, recording: Recording) -> None:
        """Enter again what was recorded, in the scope of now: on dry meshes micro-batches of one shape cost the same.

        Memory rises as it did and ends as it did, which gives the same peaks where the meshes of the recording have
        the same devices, or none in common.
        """
        scope, codes = self._scope, recording.codes
        if scope != recording.scope:
            moved = (entry._replace(scope=scope + entry.scope[len(recording.scope) :]) for entry in recording.used)
            codes = np.array([self.entries.code(entry) for entry in moved], np.int64)
        held = np.array([self.held_bytes(mesh) for mesh in recording.meshes], np.int64)
        self.entries.extend(codes[recording.places], held[recording.owners] + recording.rises)
        for change in recording.changes.values():
            self.allocate(change.mesh, change.most)
            self.allocate(change.mesh, change.net - change.most)

    def add_pipeline(self, first: int, lower: Sequence[Interval], upper: Sequence[Interval]) -> None:
        """All entries since `first` ran as stages of a pipeline, at these times."""
        self.pipelines.append(Pipeline(first, len(self.entries), tuple(lower), tuple(upper)))

    def allocate(self, mesh: Mesh, size: int) -> None:
        """A block of `size` bytes on each device of `mesh`; below 0, one that is gone."""
        held, peak = self._memory.of(mesh)
        if held.size == 1:  # 0.5 us instead of 2.5 us, for every array that is made and dropped
            now = held.item() + size
            held.fill(now)
            if now > peak.item():
                peak.fill(now)
        else:
            held += size
            np.maximum(peak, held, out=peak)
        if self._recording is not None:
            self._recording.changes.setdefault(mesh.fixed, Change(mesh)).add(size)

    def free(self, mesh: Mesh, size: int) -> None:
        """The block is gone."""
        self.allocate(mesh, -size)

    def held_bytes(self, mesh: Mesh) -> int:
        """Bytes of the blocks that exist now, on the device of `mesh` that holds most."""
        held = self._memory.of(mesh)[0]
        return held.item() if held.size == 1 else int(held.max())

    def peak_bytes(self, mesh: Mesh | None = None) -> int:
        """The most that a device of `mesh`, or any device, has held at once."""
        return int((self._memory.values if mesh is None else self._memory.of(mesh))[1].max())

    def peak_bytes_of(self, coordinates: Mapping[str, int]) -> int:
        """The most that one device has held at once, by its index along each axis."""
        return int(self._memory.values[(1, *(coordinates[name] for name in self._memory.split))])

    def reset(self) -> None:
        """Forget what was done; what is held stays, and is the peak from here on."""
        self.entries = Entries()
        self.pipelines = []
        self._memory.values[1] = self._memory.values[0]
