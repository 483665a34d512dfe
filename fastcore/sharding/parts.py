"""Blocks divided further: what several devices hold alike, each keeps a part of."""

from __future__ import annotations

import math
from typing import Any

from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import all_gather, psum_scatter
from fastcore.sharding.kernels import parts as kernels
from fastcore.sharding.spec import P, entry_of

__all__ = ["Parts"]


class Parts:
    """How a parameter is divided over an axis: its block as one row, filled up with zeros to n equal parts.

    Parameters
    ----------
    like : ShardedArray, the parameter
    axis : mesh axes to divide over. Those that split the parameter already, as expert parallelism splits experts, do
        not divide it again, and nothing is added up along them.

    Attributes
    ----------
    n : parts of a block
    length : elements of a part
    """

    def __init__(self, like: ShardedArray, axis: tuple[str, ...]) -> None:
        self.mesh, self.spec, self.dtype = like.mesh, like.spec, like.dtype
        self.shape, self.block_shape = like.shape, like.block_shape
        used = self.spec.used()
        self.axis = tuple(name for name in axis if name not in used)
        self.n = self.mesh.axis_size(self.axis)
        self.length = -(-math.prod(like.block_shape) // self.n)
        blocks = math.prod(self.mesh.axes[name] for name in used)
        self._row_shape = (blocks * self.n * self.length,)
        self._row_spec = P(entry_of(used))
        self._part_spec = P(entry_of((*used, *self.axis)))

    def zeros(self, dtype: Any) -> ShardedArray:
        """A part on each device."""
        return self.mesh.zeros(self._row_shape, dtype, self._part_spec)

    def scatter(self, gradient: ShardedArray) -> ShardedArray:
        """The gradients of all devices along the axis added up; each keeps its part."""
        row = self.mesh.empty(self._row_shape, gradient.dtype, self._row_spec)
        kernels.block_to_row(gradient, row)
        return row if self.n == 1 else psum_scatter(row, self.axis, scatter_dimension=0, tiled=True)

    def take(self, whole: ShardedArray, dtype: Any) -> ShardedArray:
        """Each device's part of what all of them hold."""
        part = self.mesh.empty(self._row_shape, dtype, self._part_spec)
        kernels.block_to_part(whole, self.mesh.axis_index(self.axis), part)
        return part

    def gather(self, part: ShardedArray) -> ShardedArray:
        """The parameter, from the parts of all devices along the axis."""
        return self.put(part, self.mesh.empty(self.shape, self.dtype, self.spec, pad=True))

    def put(self, part: ShardedArray, whole: ShardedArray) -> ShardedArray:
        """The same into blocks that are there."""
        row = part
        if part.dtype != whole.dtype:  # cast first: fewer bytes travel
            row = self.mesh.empty(self._row_shape, whole.dtype, self._part_spec)
            kernels.cast(part, row)
        if self.n > 1:
            row = all_gather(row, self.axis, axis=0, tiled=True)
        kernels.row_to_block(row, whole)
        return whole
