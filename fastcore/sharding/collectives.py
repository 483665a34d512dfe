"""What devices exchange between supersteps, with the names and arguments of `jax.lax`.

Every function takes and returns a `ShardedArray`, and works on the blocks: along a mesh axis (or several, the first
slowest) the devices that differ only in it form a group, whose member i is the one with index i.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastcore._core import validate_sharding as check
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.spec import P, parts_of

__all__ = ["all_gather", "all_to_all", "pmean", "ppermute", "psum", "psum_scatter", "transfer"]


def accumulator_dtype(dtype: np.dtype) -> np.dtype:
    """What blocks of `dtype` are added up in: at least float32."""
    return np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype


def psum(x: ShardedArray, axis: str | tuple[str, ...]) -> ShardedArray:
    """Sum of the blocks of a group, on each of its devices."""
    names = check.axis_names(axis, x.mesh.axes)
    total = _reduced(x, names)
    n = x.mesh.axis_size(names)
    _enter(x, "psum", names, 2 * (n - 1) * x.nbytes_block * (x.mesh.size // n))
    return total


def pmean(x: ShardedArray, axis: str | tuple[str, ...]) -> ShardedArray:
    """Mean of the blocks of a group, on each of its devices."""
    total = psum(x, axis)
    if total.local is not None:
        total.local /= x.mesh.axis_size(axis)
    return total


def _reduced(x: ShardedArray, names: tuple[str, ...]) -> ShardedArray:
    mesh, n = x.mesh, x.mesh.axis_size(names)
    spec = x.spec.without(names)
    local = None
    if x.local is not None:
        size = math.prod(x.block_shape)
        chunk = -(-size // n)
        padded = np.zeros((mesh.n_local, n * chunk), x.dtype)
        padded[:, :size] = x.local.reshape(mesh.n_local, size)
        groups = mesh.groups(names)
        received = mesh.engine.all_to_all(mesh, groups, padded.reshape(mesh.n_local, n, chunk))
        total = received[:, 0].astype(accumulator_dtype(x.dtype))
        for member in range(1, n):
            total += received[:, member]
        gathered = mesh.engine.all_gather(mesh, groups, total.astype(x.dtype))
        local = np.ascontiguousarray(gathered.reshape(mesh.n_local, n * chunk)[:, :size])
        local = local.reshape(mesh.n_local, *x.block_shape)
    return _made(mesh, spec, x.block_shape, x.dtype, local)


def all_gather(
    x: ShardedArray, axis_name: str | tuple[str, ...], *, axis: int = 0, tiled: bool = False
) -> ShardedArray:
    """The blocks of a group, stacked along a new axis, or with `tiled` joined along an old one."""
    names = check.axis_names(axis_name, x.mesh.axes)
    n, block, spec = x.mesh.axis_size(names), x.block_shape, x.spec.without(names)
    local = None
    if x.local is not None:
        pieces = x.mesh.engine.all_gather(x.mesh, x.mesh.groups(names), x.local)
        local = np.ascontiguousarray(np.moveaxis(pieces, 1, axis + 1))
        if tiled:
            local = local.reshape(x.mesh.n_local, *_scaled(block, axis, n))
    _enter(x, "all_gather", names, (n - 1) * x.nbytes_block * x.mesh.size)
    if tiled:
        return _made(x.mesh, spec, _scaled(block, axis, n), x.dtype, local)
    entries = [spec[d] if d < len(spec) else None for d in range(x.ndim)]
    entries.insert(axis, None)
    return _made(x.mesh, P(*entries), (*block[:axis], n, *block[axis:]), x.dtype, local)


def psum_scatter(
    x: ShardedArray, axis_name: str | tuple[str, ...], *, scatter_dimension: int = 0, tiled: bool = False
) -> ShardedArray:
    """Sum of the blocks of a group, of which each device keeps its part along `scatter_dimension`."""
    names = check.axis_names(axis_name, x.mesh.axes)
    mesh, n, axis = x.mesh, x.mesh.axis_size(names), scatter_dimension
    check.divides(x.block_shape[axis], n, "scatter_dimension", names)
    block = (*x.block_shape[:axis], n, x.block_shape[axis] // n, *x.block_shape[axis + 1 :])
    local = None
    if x.local is not None:
        pieces = np.ascontiguousarray(np.moveaxis(x.local.reshape(mesh.n_local, *block), axis + 1, 1))
        received = mesh.engine.all_to_all(mesh, mesh.groups(names), pieces)
        total = received[:, 0].astype(accumulator_dtype(x.dtype))
        for member in range(1, n):
            total += received[:, member]
        local = total.astype(x.dtype, copy=False)
    _enter(x, "psum_scatter", names, (n - 1) * x.nbytes_block // n * mesh.size)
    spec = x.spec.without(names)
    kept = (*block[:axis], *block[axis + 1 :])
    if tiled:
        return _made(mesh, spec.replaced(axis, (*spec.names(axis), *names), x.ndim), kept, x.dtype, local)
    if block[axis + 1] != 1:
        raise ValueError(f"Without tiled=True scatter_dimension must have {n} elements. Got {x.block_shape[axis]}.")
    entries = [spec[d] if d < len(spec) else None for d in range(x.ndim) if d != axis]
    if local is not None:
        local = local.reshape(mesh.n_local, *kept[:axis], *kept[axis + 1 :])
    return _made(mesh, P(*entries), (*kept[:axis], *kept[axis + 1 :]), x.dtype, local)


def all_to_all(
    x: ShardedArray, axis_name: str | tuple[str, ...], split_axis: int, concat_axis: int, *, tiled: bool = True
) -> ShardedArray:
    """Cut the block along `split_axis`, send part j to member j, and join what comes along `concat_axis`."""
    names = check.axis_names(axis_name, x.mesh.axes)
    mesh, n = x.mesh, x.mesh.axis_size(names)
    check.divides(x.block_shape[split_axis], n, "split_axis", names)
    block = (*x.block_shape[:split_axis], n, x.block_shape[split_axis] // n, *x.block_shape[split_axis + 1 :])
    kept = (*block[:split_axis], *block[split_axis + 1 :])
    local = None
    if x.local is not None:
        pieces = np.ascontiguousarray(np.moveaxis(x.local.reshape(mesh.n_local, *block), split_axis + 1, 1))
        received = mesh.engine.all_to_all(mesh, mesh.groups(names), pieces)
        joined = np.ascontiguousarray(np.moveaxis(received, 1, concat_axis + 1))
        local = joined.reshape(mesh.n_local, *_scaled(kept, concat_axis, n))
    _enter(x, "all_to_all", names, (n - 1) * x.nbytes_block // n * mesh.size)
    spec = x.spec.without(names)
    spec = spec.replaced(split_axis, (*spec.names(split_axis), *names), x.ndim)
    return _made(mesh, spec, _scaled(kept, concat_axis, n), x.dtype, local)


def ppermute(x: ShardedArray, axis_name: str | tuple[str, ...], perm: Any) -> ShardedArray:
    """Send blocks along an axis: `perm` has (source, destination) indices; who gets none has zeros."""
    names = check.axis_names(axis_name, x.mesh.axes)
    mesh, groups = x.mesh, x.mesh.groups(names)
    pairs = check.permutation(perm, groups.shape[1])
    local = None
    if x.local is not None:
        source = np.full(mesh.size, -1)
        for start, end in pairs:
            source[groups[:, end]] = groups[:, start]
        local = mesh.engine.send(mesh, mesh, x.local, source)
    moved = sum(start != end for start, end in pairs)
    _enter(x, "ppermute", names, moved * x.nbytes_block * (mesh.size // groups.shape[1]))
    return _made(mesh, x.spec, x.block_shape, x.dtype, local)


def transfer(x: ShardedArray, target: Mesh) -> ShardedArray:
    """The array on another mesh of the same axes, such as the next stage of a pipeline: device by device."""
    check.same_axes(x.mesh.axes, target.axes)
    local = None
    if x.local is not None:
        local = x.mesh.engine.send(x.mesh, target, x.local, np.arange(target.size))
    _enter(x, "ppermute", (), x.nbytes_block * x.mesh.size)
    return ShardedArray(target, x.spec, x.shape, x.dtype, local)


def _scaled(block: tuple[int, ...], axis: int, factor: int) -> tuple[int, ...]:
    return (*block[:axis], block[axis] * factor, *block[axis + 1 :])


def _made(mesh: Mesh, spec: P, block: tuple[int, ...], dtype: Any, local: np.ndarray | None) -> ShardedArray:
    """The array whose blocks have this shape."""
    shape = tuple(length * parts_of(spec, dimension, mesh.axes) for dimension, length in enumerate(block))
    return ShardedArray(mesh, spec, shape, dtype, local)


def _enter(x: ShardedArray, kind: str, names: tuple[str, ...], sent_bytes: int) -> None:
    n = x.mesh.axis_size(names) if names else 2
    x.mesh.ledger.add(
        x.mesh, kind, axis=",".join(names), devices=n, entering_bytes=x.nbytes_block, sent_bytes=sent_bytes
    )
