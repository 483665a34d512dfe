"""Devices in a grid with named axes, simulated in this process, spread over MPI ranks, or only counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_sharding as check
from fastcore._core import validate_sharding_cost as check_cost
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.engines import make_engine
from fastcore.sharding.ledger import Ledger
from fastcore.sharding.link import Link
from fastcore.sharding.spec import P, as_spec

if TYPE_CHECKING:
    from fastcore.sharding.report import Report

__all__ = ["Mesh"]


class Mesh:
    """Devices 0 … size − 1 in a grid, the last axis fastest.

    Parameters
    ----------
    axes : mapping, name → number of devices, e.g. ``{"dp": 2, "tp": 4}``
    engine : "simulated": all devices in this process, exact numbers. "mpi": devices spread over the ranks in order,
        size / ranks each. "dry": shapes only, nothing is computed or stored.
    link : Link, for the cost model

    Attributes
    ----------
    axes : dict, name → size
    size : number of devices
    n_local : devices of this process: the first axis of the blocks it holds
    positions : (n_local,) their numbers in this mesh, ascending
    devices : (size,) numbers in the mesh all of it was made of, see `at`

    Notes
    -----
    Simulated devices are iterations of one parallel loop over the cores of this machine: exact numbers and an exact
    count of bytes, operations and memory. The seconds that this takes say nothing of as many real devices; `report`
    has modelled ones.
    """

    def __init__(self, axes: Mapping[str, int], *, engine: str = "simulated", link: Link | None = None) -> None:
        self.axes = check.mesh_axes(axes)
        self.link = Link() if link is None else check_cost.link(link, Link)
        self.ledger = Ledger(self.axes)
        self.fixed: tuple[tuple[str, int], ...] = ()
        self.size = math.prod(self.axes.values())
        self.engine = make_engine(engine, self.axes)
        self.devices = np.arange(self.size)
        self._set_local()

    def _set_local(self) -> None:
        self.positions = np.flatnonzero(self.engine.is_local(self.devices))
        self.n_local = len(self.positions)

    @property
    def is_dry(self) -> bool:
        return self.engine.is_dry

    def __repr__(self) -> str:
        fixed = "".join(f", {name}={index}" for name, index in self.fixed)
        return f"Mesh({self.axes}{fixed}, engine={self.engine.name!r})"

    def __reduce__(self) -> NoReturn:
        check.not_pickled("Mesh", "Make it anew from its axes, link and engine.")

    def __copy__(self) -> Mesh:
        return self  # copies of arrays lie on the same mesh

    def __deepcopy__(self, memo: Any) -> Mesh:
        return self

    def at(self, **indices: int) -> Mesh:
        """The devices with these indices along some axes, as a mesh of the other axes: ``mesh.at(pp=0)`` is a stage.

        A process that has none of them holds arrays of no blocks there (``n_local`` is 0), and runs the same program.
        """
        check.mesh_indices(indices, self.axes)
        part = object.__new__(Mesh)
        part.axes = {name: size for name, size in self.axes.items() if name not in indices}
        part.link, part.ledger, part.engine = self.link, self.ledger, self.engine
        part.fixed = (*self.fixed, *sorted(indices.items()))
        part.size = math.prod(part.axes.values())
        grid = self.devices.reshape(tuple(self.axes.values()))
        part.devices = grid[tuple(indices.get(name, slice(None)) for name in self.axes)].ravel()
        part._set_local()
        return part

    def groups(self, axes: tuple[str, ...]) -> np.ndarray:
        """(groups, n) positions in this mesh of the devices that differ only along `axes`, in order of these axes."""
        names = list(self.axes)
        grid = np.arange(self.size).reshape(tuple(self.axes.values()))
        rest = [name for name in names if name not in axes]
        moved = grid.transpose([names.index(name) for name in (*rest, *axes)])
        return moved.reshape(-1, math.prod(self.axes[name] for name in axes))

    def axis_size(self, axis: str | tuple[str, ...]) -> int:
        """Number of devices along an axis, or several."""
        return math.prod(self.axes[name] for name in check.axis_names(axis, self.axes))

    def axis_index(self, axis: str | tuple[str, ...]) -> ShardedArray:
        """Each device's index along an axis: blocks of shape (), int64."""
        names = check.axis_names(axis, self.axes)
        result = self.empty((), np.int64, P())
        if result.local is not None:
            index = np.empty(self.size, np.int64)
            groups = self.groups(names)
            index[groups] = np.arange(groups.shape[1])
            result.local[...] = index[self.positions]
        return result

    # --- arrays -----------------------------------------------------------------------------------------------------

    def put(self, array: Any, spec: Any = None, *, pad: bool = False) -> ShardedArray:
        """Cut an array, the same in every process, into blocks.

        Parameters
        ----------
        array : array_like of any dtype but object
        spec : P, or a name; None: a copy on every device
        pad : whether an axis that does not divide is padded with zeros at its end; `gather` drops them again

        Raises
        ------
        ValueError : unknown axis, an axis named twice, a size that does not divide
        TypeError : dtype object
        """
        values = validate.as_native_array(array, "array")
        result = self.empty(values.shape, values.dtype, spec, pad=pad)
        if result.local is None:
            return result
        result.local[...] = 0
        for row, position in enumerate(self.positions):
            part = values[self.block_index(result, int(position))]
            place: Any = (row, *map(slice, part.shape))
            result.local[place] = part
        return result

    def empty(self, shape: Any, dtype: Any, spec: Any = None, *, pad: bool = False) -> ShardedArray:
        """An array of this whole shape whose values are arbitrary; see `put`."""
        lengths = check.array_shape(shape)
        spec = check.partition(as_spec(spec), lengths, self.axes, validate.flag(pad, "pad"))
        result = ShardedArray(self, spec, lengths, check.array_dtype(dtype), None)
        if not self.is_dry:
            result.local = np.empty((self.n_local, *result.block_shape), result.dtype)
        return result

    def zeros(self, shape: Any, dtype: Any, spec: Any = None, *, pad: bool = False) -> ShardedArray:
        """An array of zeros of this whole shape; see `put`."""
        result = self.empty(shape, dtype, spec, pad=pad)
        if result.local is not None:
            result.local[...] = 0
        return result

    def from_blocks(self, local: np.ndarray | None, spec: Any, shape: Any, dtype: Any) -> ShardedArray:
        """An array from the blocks of this process, (n_local, *block_shape), which are not copied; None if dry."""
        lengths = check.array_shape(shape)
        spec = check.partition(as_spec(spec), lengths, self.axes, True)
        result = ShardedArray(self, spec, lengths, check.array_dtype(dtype), None)
        if not self.is_dry:
            result.local = check.blocks(local, (self.n_local, *result.block_shape), result.dtype)
        return result

    def block_index(self, array: ShardedArray, position: int) -> tuple[slice, ...]:
        """Which part of the whole array lies on a device: slices, shorter than the block where that is padded."""
        coordinates = dict(zip(self.axes, np.unravel_index(position, tuple(self.axes.values())) if self.axes else ()))
        slices = []
        for dimension, (length, block) in enumerate(zip(array.shape, array.block_shape)):
            index = 0
            for name in array.spec.names(dimension):
                index = index * self.axes[name] + int(coordinates[name])
            slices.append(slice(min(index * block, length), min((index + 1) * block, length)))
        return tuple(slices)

    def gather(self, array: ShardedArray, *, check: bool = True) -> np.ndarray:
        """See `ShardedArray.gather`.

        Raises
        ------
        ValueError : copies differ; an array of another mesh. TypeError : no ShardedArray, check is no bool
        """
        return self._joined(array, validate.flag(check, "check"))

    def _joined(self, array: ShardedArray, comparing: bool) -> np.ndarray:
        check.gathered_array(array, ShardedArray, self)
        blocks = self.engine.all_blocks(self, array)
        whole = np.empty(array.shape, array.dtype)
        first: dict[tuple[tuple[int, int], ...], int] = {}
        for position in range(self.size):
            index = self.block_index(array, position)
            key = tuple((part.start, part.stop) for part in index)
            block = blocks[(position, *(slice(part.stop - part.start) for part in index))]
            if key not in first:
                first[key] = position
                whole[index] = block
            elif comparing and block.tobytes() != whole[index].tobytes():
                check.different_copies(array, first[key], position)
        return whole

    # --- costs ------------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """What all devices did since the mesh was made, or since `reset_report`; a sub-mesh answers for all, too.

        Bytes, operations and memory are counted, the same on every engine. Seconds are modelled by `link`: what this
        process took to simulate says nothing of the time of so many devices. Not modelled: memory bandwidth, contention
        on shared links, delays of the network's topology, and load on a device beyond the operations its kernels state.

        Returns
        -------
        Report, whose text is a table
        """
        from fastcore.sharding.report import make_report

        return make_report(self.ledger, self.engine.name, self.link)

    def reset_report(self) -> None:
        """Forget what was done; arrays that exist still count, and are the peak from here on."""
        self.ledger.reset()

    def chrome_trace(self, path: Any, *, devices: Any = None) -> None:
        """Write what each device did, and when by the modelled clock, as JSON for ui.perfetto.dev or chrome://tracing.

        A row a device, with its memory; messages between sub-meshes have a row of their own. Devices do one thing after
        another, as in the upper time of `report`. Under MPI the process of device 0 writes.

        Parameters
        ----------
        path : str or path, ends in .json, in a folder that exists
        devices : iterable of int, the devices shown; default: all up to 32. Of more, one of each kind that a sub-mesh
            (`at`) tells apart, up to 64: the others of its kind did the same.

        Raises
        ------
        ValueError : another suffix, no such folder, unknown devices
        TypeError : path is no path
        """
        from fastcore.sharding.trace import write_trace

        file = check_cost.written_file(path, (".json",))
        chosen = None if devices is None else check_cost.shown_devices(devices, math.prod(self.ledger.axes.values()))
        if self._has_device_0():
            write_trace(file, self.ledger, self.link, chosen)

    def plot(self, path: Any, *, devices: Any = None) -> None:
        """Draw the modelled clock of each device, bytes by collective, and peak memory; needs Matplotlib.

        Parameters
        ----------
        path : str or path, ends in .png, .svg or .pdf, in a folder that exists
        devices : see `chrome_trace`

        Raises
        ------
        ValueError, TypeError : see `chrome_trace`
        ImportError : Matplotlib is missing
        """
        from fastcore.sharding.plot import write_plot

        file = check_cost.written_file(path, check_cost.PICTURES)
        chosen = None if devices is None else check_cost.shown_devices(devices, math.prod(self.ledger.axes.values()))
        if self._has_device_0():
            write_plot(file, self.ledger, self.report(), chosen)

    def _has_device_0(self) -> bool:
        return bool(self.engine.is_local(np.zeros(1, np.int64))[0])
