"""Reductions over the devices of a group, one after the other in their order, whatever engine holds the blocks."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numpy as np

from fastcore.sharding.array import ShardedArray
from fastcore.sharding.kernels.collectives import LARGEST, SMALLEST, SUM, reduce_floats
from fastcore.sharding.mesh import Mesh

__all__ = ["LARGEST", "SMALLEST", "SUM", "Reduction", "accumulator_dtype", "blocks_of", "reduced", "reduced_part"]

_UFUNCS = {SUM: np.add, LARGEST: np.maximum, SMALLEST: np.minimum}


class Reduction(NamedTuple):
    """What to do with the numbers of a group: SUM, LARGEST or SMALLEST, then divide."""

    operation: int
    divisor: int = 1


def blocks_of(x: ShardedArray) -> np.ndarray:
    """(n_local, *block_shape) of an array that is not dry."""
    return cast(np.ndarray, x.local)


def reduced(x: ShardedArray, names: tuple[str, ...], reduction: Reduction, purpose: str) -> np.ndarray:
    """(n_local, *block_shape): the reduction of each device's group. purpose: says what is reduced how, on which ranks
    of MPI must agree.

    Where groups are spread over processes: each member reduces one part of the block and sends it to all, Rabenseifner
    2004, "Optimization of collective reduction operations", section 4.
    """
    mesh, groups = x.mesh, x.mesh.groups(names)
    size = math.prod(x.block_shape)
    flat = blocks_of(x).reshape(mesh.n_local, size)
    if mesh.engine.holds_whole(mesh, groups):
        rows = _rows_of(mesh, groups)
        out = np.empty_like(flat)
        reduce_rows(flat, rows, reduction, rows, out)
        return out.reshape(blocks_of(x).shape)
    parts = groups.shape[1]
    received = mesh.engine.all_to_all(mesh, groups, _cut(flat, parts), purpose)
    gathered = mesh.engine.all_gather(mesh, groups, _reduced_pieces(received, reduction), purpose)
    return _joined(gathered, size).reshape(blocks_of(x).shape)


def reduced_part(x: ShardedArray, names: tuple[str, ...], axis: int, reduction: Reduction, purpose: str) -> np.ndarray:
    """(n_local, *block_shape with `axis` divided): each member has its part of the reduction along `axis`."""
    mesh, groups = x.mesh, x.mesh.groups(names)
    parts, size = groups.shape[1], math.prod(x.block_shape)
    split = (*x.block_shape[:axis], parts, x.block_shape[axis] // parts, *x.block_shape[axis + 1 :])
    kept = (*split[:axis], *split[axis + 1 :])
    if mesh.engine.holds_whole(mesh, groups):
        rows = _rows_of(mesh, groups)
        total = np.empty((len(rows), size), x.dtype)
        numbers = np.arange(len(rows))[:, None]
        reduce_rows(blocks_of(x).reshape(mesh.n_local, size), rows, reduction, numbers, total)
        out = np.empty((mesh.n_local, *kept), x.dtype)
        out[rows] = np.moveaxis(total.reshape(len(rows), *split), axis + 1, 1)
        return out
    pieces = np.ascontiguousarray(np.moveaxis(blocks_of(x).reshape(mesh.n_local, *split), axis + 1, 1))
    received = mesh.engine.all_to_all(mesh, groups, pieces.reshape(mesh.n_local, parts, size // parts), purpose)
    return _reduced_pieces(received, reduction).reshape(mesh.n_local, *kept)


def accumulator_dtype(dtype: np.dtype) -> np.dtype:
    """What blocks of `dtype` are added up in: at least float32."""
    return np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype


def reduce_rows(
    rows: np.ndarray, members: np.ndarray, reduction: Reduction, targets: np.ndarray, out: np.ndarray
) -> None:
    """``out[targets[g, :]]`` = the reduction of ``rows[members[g, :]]``; both are (rows, columns) of one dtype.

    16-bit floats accumulate in float32 and are rounded once, at the end. Sums of integers wrap around.
    """
    operation, divisor = reduction
    dtype = rows.dtype
    if dtype.kind == "c" and dtype.itemsize <= 16:
        part = np.dtype(f"f{dtype.itemsize // 2}")
        rows, out, dtype = rows.view(part), out.view(part), part
    if dtype in (np.float32, np.float64):
        reduce_floats(rows, members, operation, divisor, targets, out)
    elif accumulator_dtype(dtype) != dtype:
        wide = rows.astype(accumulator_dtype(dtype))
        total = np.empty((len(members), rows.shape[1]), wide.dtype)
        reduce_floats(wide, members, operation, divisor, np.arange(len(members))[:, None], total)
        out[targets] = total.astype(dtype)[:, None]
    else:
        total = rows[members[:, 0]]
        for member in range(1, members.shape[1]):
            _UFUNCS[operation](total, rows[members[:, member]], out=total)
        out[targets] = (total if divisor == 1 else total / divisor)[:, None]


def _reduced_pieces(received: np.ndarray, reduction: Reduction) -> np.ndarray:
    """(n_local, m): the reduction of the pieces (n_local, n, m) that each device got."""
    devices, n, columns = received.shape
    out = np.empty((devices, columns), received.dtype)
    members = np.arange(devices * n).reshape(devices, n)
    reduce_rows(received.reshape(devices * n, columns), members, reduction, np.arange(devices)[:, None], out)
    return out


def _rows_of(mesh: Mesh, groups: np.ndarray) -> np.ndarray:
    """The groups of this process, as rows of its blocks; each group lies in one process."""
    if mesh.n_local == mesh.size:
        return np.ascontiguousarray(groups)
    here = np.isin(groups[:, 0], mesh.positions)
    return np.searchsorted(mesh.positions, groups[here])


def _cut(flat: np.ndarray, parts: int) -> np.ndarray:
    """(n_local, parts, m): rows cut into parts that differ by at most one element, the longer ones first.

    Shorter ones are filled up by a zero, which no one reads.
    """
    devices, size = flat.shape
    short, longer = divmod(size, parts)
    if longer == 0:
        return flat.reshape(devices, parts, short)
    pieces = np.zeros((devices, parts, short + 1), flat.dtype)
    border = longer * (short + 1)
    pieces[:, :longer] = flat[:, :border].reshape(devices, longer, short + 1)
    pieces[:, longer:, :short] = flat[:, border:].reshape(devices, parts - longer, short)
    return pieces


def _joined(pieces: np.ndarray, size: int) -> np.ndarray:
    """The rows that `_cut` has cut."""
    devices, parts = pieces.shape[:2]
    short, longer = divmod(size, parts)
    flat = np.empty((devices, size), pieces.dtype)
    border = longer * (short + 1)
    flat[:, :border] = pieces[:, :longer].reshape(devices, border)
    flat[:, border:] = pieces[:, longer:, :short].reshape(devices, size - border)
    return flat
