"""What devices exchange between supersteps, with the names, arguments and defaults of `jax.lax`.

Along a mesh axis (or several: the first slowest) the devices that differ only in it form a group, whose member i is the
one with index i. Every function here takes and returns a `ShardedArray` and does with the blocks of each group what
JAX's function of that name does inside `jax.shard_map`.

The specification of the result follows the blocks: a mesh axis over which all members end up equal leaves it, one over
which they end up with parts joins the axis that was cut. Its shape is that of the blocks put together. So where an axis
is padded and blocks along it are summed, permuted or joined among others, the zeros of the padding become part of the
array; only where the blocks of an axis are joined to the whole of it (`all_gather`, `all_to_all`, ``tiled=True``) they
are dropped. Axes whose blocks stay where they are keep their padding.

Bytes sent are those of pieces that go to another device, for the algorithms of `fastcore.sharding.cost`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcore._core import validate_sharding as check_mesh
from fastcore._core import validate_sharding_collectives as check
from fastcore._core.validate import flag
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.mesh import Mesh
from fastcore.sharding.reduction import (
    LARGEST,
    SMALLEST,
    SUM,
    Reduction,
    accumulator_dtype,
    blocks_of,
    reduced,
    reduced_part,
)
from fastcore.sharding.spec import P, entry_of, parts_of

__all__ = [
    "accumulator_dtype",
    "all_gather",
    "all_to_all",
    "pmax",
    "pmean",
    "pmin",
    "ppermute",
    "psum",
    "psum_scatter",
    "transfer",
]

AxisName = str | tuple[str, ...]


# --- reductions -----------------------------------------------------------------------------------------------------


def psum(x: ShardedArray, axis_name: AxisName) -> ShardedArray:
    """Sum of the blocks of a group, on each of its devices.

    Parameters
    ----------
    x : ShardedArray of booleans (added as int32, as JAX does), integers, floats, bfloat16 or complex
    axis_name : a mesh axis, or a tuple of several

    Returns
    -------
    ShardedArray with blocks of the same shape and dtype

    Raises
    ------
    ValueError : unknown axis. TypeError : x is no ShardedArray, or of another dtype

    Notes
    -----
    Adds in the order of the members, ((x0 + x1) + x2) ..., 16-bit floats in float32, integers modulo 2**bits: the same
    bits for every engine and number of ranks and threads. Every NaN is the positive quiet one.
    """
    names = _names(x, axis_name, "psum")
    check.numeric(x.dtype, "psum")
    return _all_reduced(x if x.dtype != bool else _as(x, np.dtype(np.int32)), names, Reduction(SUM), "psum")


def pmean(x: ShardedArray, axis_name: AxisName) -> ShardedArray:
    """Mean of the blocks of a group, on each of its devices; see `psum`.

    Booleans and integers give float64, the wrapped sum divided; 16-bit floats are divided in float32, then rounded.

    Raises
    ------
    ValueError : as `psum`; an axis of x is split over axis_name and padded
    """
    names = _names(x, axis_name, "pmean")
    _refuse_filling(x, names, "pmean")
    check.numeric(x.dtype, "pmean")
    n = x.mesh.axis_size(names)
    if x.dtype.kind not in "biu":
        return _all_reduced(x, names, Reduction(SUM, n), "pmean")
    total = psum(x, names)
    return _as(total, np.dtype(np.float64), n)


def pmax(x: ShardedArray, axis_name: AxisName) -> ShardedArray:
    """Largest of the blocks of a group, element by element, on each of its devices. NaN is the largest of all.

    Raises
    ------
    ValueError : as `pmean`. TypeError : as `psum`; complex numbers
    """
    return _extreme(x, axis_name, LARGEST, "pmax")


def pmin(x: ShardedArray, axis_name: AxisName) -> ShardedArray:
    """Smallest of the blocks of a group, element by element, on each of its devices; otherwise as `pmax`."""
    return _extreme(x, axis_name, SMALLEST, "pmin")


def psum_scatter(
    x: ShardedArray, axis_name: AxisName, *, scatter_dimension: int = 0, tiled: bool = False
) -> ShardedArray:
    """Sum of the blocks of a group, of which each device keeps its part along `scatter_dimension`.

    Parameters
    ----------
    x, axis_name : as for `psum`
    scatter_dimension : axis of the block, cut among the members in order
    tiled : False: the axis has one element for each member and is dropped. True: it divides by their number

    Raises
    ------
    ValueError : as `psum`; no such axis, or a length that does not fit
    """
    names, tiled = _names(x, axis_name, "psum_scatter"), flag(tiled, "tiled")
    check.numeric(x.dtype, "psum_scatter")
    if x.dtype == bool:
        x = _as(x, np.dtype(np.int32))
    axis, n = check.dimension(scatter_dimension, x.ndim, "scatter_dimension"), x.mesh.axis_size(names)
    _check_part(x, axis, n, "scatter_dimension", names, tiled)
    purpose = f"psum_scatter, scatter_dimension={axis}, tiled={tiled}"
    local = None if x.mesh.is_dry else reduced_part(x, names, axis, Reduction(SUM), purpose)
    _enter(x, "psum_scatter", names, (n - 1) * (x.nbytes_block // n) * x.mesh.size)
    entries, lengths = _released(x, names)
    entries[axis] += names
    return _result(x, entries, lengths, local, dropped=None if tiled else axis)


# --- moves ----------------------------------------------------------------------------------------------------------


def all_gather(x: ShardedArray, axis_name: AxisName, *, axis: int = 0, tiled: bool = False) -> ShardedArray:
    """The blocks of a group, stacked along a new axis or joined along an old one, on each of its devices.

    Parameters
    ----------
    x : ShardedArray of any dtype
    axis_name : a mesh axis, or a tuple of several
    axis : where the new axis stands in the result; with tiled, the axis of the block to join along
    tiled : whether to join

    Raises
    ------
    ValueError : unknown mesh axis, no such axis of the block. TypeError : x is no ShardedArray
    """
    names, tiled = _names(x, axis_name, "all_gather"), flag(tiled, "tiled")
    axis, n = check.dimension(axis, x.ndim + (not tiled), "axis"), x.mesh.axis_size(names)
    entries, lengths = _released(x, names)
    whole = tiled and _is_cut_by(x, axis, names)
    if tiled:
        lengths[axis] = x.shape[axis] if whole else _joined_length(x, axis, names)
    else:
        entries.insert(axis, ())
        lengths.insert(axis, n)
    local = None
    if not x.mesh.is_dry:
        purpose = f"all_gather, axis={axis}, tiled={tiled}"
        pieces = x.mesh.engine.all_gather(x.mesh, x.mesh.groups(names), blocks_of(x), purpose)
        local = _join(pieces, axis, x.block_shape, lengths[axis] if whole else None, tiled)
    _enter(x, "all_gather", names, (n - 1) * x.nbytes_block * x.mesh.size)
    return _result(x, entries, lengths, local)


def all_to_all(
    x: ShardedArray, axis_name: AxisName, split_axis: int, concat_axis: int, *, tiled: bool = False
) -> ShardedArray:
    """Cut the block along `split_axis`, send part j to member j, and join what comes along `concat_axis`.

    Parameters
    ----------
    x : ShardedArray of any dtype
    axis_name : a mesh axis, or a tuple of several
    split_axis : axis of the block
    concat_axis : axis of the result along which parts lie in order of the members they come from
    tiled : False: split_axis has one element for each member and is dropped, concat_axis is new, numbered in the
        result. True: split_axis divides by the number of members, and parts are joined along the old axis concat_axis

    Raises
    ------
    ValueError : unknown mesh axis, no such axis of the block, a length that does not fit.
    TypeError : x is no ShardedArray

    Notes
    -----
    ``all_to_all(x, "sp", 1, 2, tiled=True)`` takes an array from ``P(None, None, "sp")`` to ``P(None, "sp")``.
    """
    names, tiled = _names(x, axis_name, "all_to_all"), flag(tiled, "tiled")
    mesh, n = x.mesh, x.mesh.axis_size(names)
    split = check.dimension(split_axis, x.ndim, "split_axis")
    concat = check.dimension(concat_axis, x.ndim, "concat_axis")
    _check_part(x, split, n, "split_axis", names, tiled)
    block = (*x.block_shape[:split], n, x.block_shape[split] // n, *x.block_shape[split + 1 :])
    part = (*block[:split], *block[split + 1 :]) if tiled else (*block[:split], *block[split + 2 :])
    entries, lengths = _released(x, names)
    whole = tiled and split != concat and _is_cut_by(x, concat, names)
    if tiled:
        lengths[concat] = x.shape[concat] if whole else _joined_length(x, concat, names)
        entries[split] += names
    else:
        del entries[split], lengths[split]
        entries.insert(concat, ())
        lengths.insert(concat, n)
    local = None
    if not mesh.is_dry:
        pieces = np.ascontiguousarray(np.moveaxis(blocks_of(x).reshape(mesh.n_local, *block), split + 1, 1))
        purpose = f"all_to_all, split_axis={split}, concat_axis={concat}, tiled={tiled}"
        received = mesh.engine.all_to_all(mesh, mesh.groups(names), pieces.reshape(mesh.n_local, n, *part), purpose)
        local = _join(received, concat, part, lengths[concat] if whole else None, tiled)
    _enter(x, "all_to_all", names, (n - 1) * (x.nbytes_block // n) * mesh.size)
    return _result(x, entries, lengths, local)


def ppermute(x: ShardedArray, axis_name: AxisName, perm: Any) -> ShardedArray:
    """Send blocks along a mesh axis.

    Parameters
    ----------
    x : ShardedArray of any dtype
    axis_name : a mesh axis, or a tuple of several
    perm : (source, destination) pairs of member indices, each source and each destination at most once. A member that
        is no destination has zeros. Of several axes the first is the slowest, as for `Mesh.axis_index` and all other
        collectives; JAX's ppermute alone takes them in the order of the mesh

    Raises
    ------
    ValueError : unknown axis, an index twice or out of range. TypeError : x is no ShardedArray, perm holds no pairs
    """
    names = _names(x, axis_name, "ppermute")
    mesh, n = x.mesh, x.mesh.axis_size(names)
    pairs = check_mesh.permutation(perm, n)
    local = None
    if not mesh.is_dry:
        groups = mesh.groups(names)
        source = np.full(mesh.size, -1)
        for start, end in pairs:
            source[groups[:, end]] = groups[:, start]
        local = mesh.engine.send(mesh, mesh, x.local, source)
    moved = sum(start != end for start, end in pairs)
    _enter(x, "ppermute", names, moved * x.nbytes_block * (mesh.size // n))
    shape = [
        block * parts_of(x.spec, d, mesh.axes) if set(x.spec.names(d)) & set(names) else length
        for d, (block, length) in enumerate(zip(x.block_shape, x.shape))
    ]
    return ShardedArray(mesh, x.spec, tuple(shape), x.dtype, local)


def transfer(x: ShardedArray, target: Mesh) -> ShardedArray:
    """The array on another part of its mesh, with the same axes, such as the next stage of a pipeline.

    Each device sends its block to the device of `target` with the same indices.

    Raises
    ------
    ValueError : target has other axes, or is no part of the mesh that the mesh of x was made of by `Mesh.at`
    TypeError : x is no ShardedArray, target no Mesh
    """
    check.sharded(x, ShardedArray, "transfer")
    check_mesh.mesh(target, Mesh, "target")
    check_mesh.same_axes(x.mesh.axes, target.axes)
    check.one_origin(x.mesh.ledger is target.ledger)
    local = None
    if not x.mesh.is_dry:
        local = x.mesh.engine.send(x.mesh, target, x.local, np.arange(target.size))
    moved = int(np.count_nonzero(x.mesh.devices != target.devices))
    x.mesh.ledger.add(
        x.mesh,
        "transfer",
        axis=",".join(name for name, index in x.mesh.fixed if dict(target.fixed)[name] != index),
        devices=2,
        entering_bytes=x.nbytes_block,
        sent_bytes=moved * x.nbytes_block,
        name="transfer",
        target=target,
    )
    return ShardedArray(target, x.spec, x.shape, x.dtype, local)


# --- parts of the above ---------------------------------------------------------------------------------------------


def _names(x: Any, axis_name: Any, function: str) -> tuple[str, ...]:
    check.sharded(x, ShardedArray, function)
    return check.group_axes(axis_name, x.mesh.axes)


def _all_reduced(x: ShardedArray, names: tuple[str, ...], reduction: Reduction, name: str) -> ShardedArray:
    local = None if x.mesh.is_dry else reduced(x, names, reduction, name)
    n = x.mesh.axis_size(names)
    # All but its own part of a block leave each member, and the sum of its part goes to all others.
    kind = "psum" if name == "pmean" else name
    _enter(x, kind, names, 2 * (n - 1) * x.nbytes_block * (x.mesh.size // n), name)
    return _result(x, *_released(x, names), local)


def _extreme(x: ShardedArray, axis_name: AxisName, operation: int, name: str) -> ShardedArray:
    names = _names(x, axis_name, name)
    _refuse_filling(x, names, name)
    check.ordered(x.dtype, name)
    return _all_reduced(x, names, Reduction(operation), name)


def _refuse_filling(x: ShardedArray, names: tuple[str, ...], name: str) -> None:
    split = [d for d in range(x.ndim) if set(x.spec.names(d)) & set(names)]
    check.no_filling([d for d in split if x.shape[d] % parts_of(x.spec, d, x.mesh.axes)], name, names)


def _check_part(x: ShardedArray, axis: int, n: int, name: str, names: tuple[str, ...], tiled: bool) -> None:
    (check.divides if tiled else check.one_each)(x.block_shape, axis, n, name, names)


def _as(x: ShardedArray, dtype: np.dtype, divisor: int = 1) -> ShardedArray:
    """The same array in another dtype, divided."""
    local = None if x.mesh.is_dry else blocks_of(x).astype(dtype)
    if local is not None and divisor != 1:
        local /= divisor
    return ShardedArray(x.mesh, x.spec, x.shape, dtype, local)


def _released(x: ShardedArray, names: tuple[str, ...]) -> tuple[list[tuple[str, ...]], list[int]]:
    """Mesh axes and length of each axis of the array, once the blocks along `names` are no longer parts of it."""
    entries, lengths = [], []
    spec = x.spec.without(names)
    for d in range(x.ndim):
        entries.append(spec.names(d))
        is_split = len(spec.names(d)) < len(x.spec.names(d))
        lengths.append(x.block_shape[d] * parts_of(spec, d, x.mesh.axes) if is_split else x.shape[d])
    return entries, lengths


def _is_cut_by(x: ShardedArray, axis: int, names: tuple[str, ...]) -> bool:
    """Whether the blocks of a group, joined along an axis, are the whole of it and the padding."""
    return x.spec.names(axis) == names


def _joined_length(x: ShardedArray, axis: int, names: tuple[str, ...]) -> int:
    """Length of an axis along which the blocks of a group are joined among others."""
    return x.block_shape[axis] * x.mesh.axis_size(names) * parts_of(x.spec.without(names), axis, x.mesh.axes)


def _join(pieces: np.ndarray, axis: int, piece: tuple[int, ...], length: int | None, tiled: bool) -> np.ndarray:
    """pieces (n_local, n, *piece), stacked along `axis`, or joined along it and cut to `length`."""
    local = np.ascontiguousarray(np.moveaxis(pieces, 1, axis + 1))
    if not tiled:
        return local
    n_local, n = pieces.shape[:2]
    local = local.reshape(n_local, *piece[:axis], n * piece[axis], *piece[axis + 1 :])
    if length is None or length == n * piece[axis]:
        return local
    return np.ascontiguousarray(local[(slice(None),) * (axis + 1) + (slice(length),)])


def _result(
    x: ShardedArray,
    entries: list[tuple[str, ...]],
    lengths: list[int],
    local: np.ndarray | None,
    dropped: int | None = None,
) -> ShardedArray:
    """The array with these mesh axes and lengths; without the axis `dropped`, of which each device has one element."""
    if dropped is not None:
        del entries[dropped], lengths[dropped]
        if local is not None:
            local = local.reshape(*local.shape[: dropped + 1], *local.shape[dropped + 2 :])
    return ShardedArray(x.mesh, P(*map(entry_of, entries)), tuple(lengths), x.dtype, local)


def _enter(x: ShardedArray, kind: str, names: tuple[str, ...], sent_bytes: int, name: str = "") -> None:
    x.mesh.ledger.add(
        x.mesh,
        kind,
        axis=",".join(names),
        devices=x.mesh.axis_size(names),
        entering_bytes=x.nbytes_block,
        sent_bytes=sent_bytes,
        name=name or kind,
    )
