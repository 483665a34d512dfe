"""Arrays in blocks, one for each device."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastcore._core import validate_sharding as validate
from fastcore.sharding.spec import P, parts_of

if TYPE_CHECKING:
    from fastcore.sharding.mesh import Mesh

__all__ = ["ShardedArray"]


def _refused(symbol: str) -> Callable[..., NoReturn]:
    def operator(self: ShardedArray, *others: Any) -> NoReturn:
        validate.no_operator(symbol)

    return operator


class ShardedArray:
    """An array cut into equal blocks over the devices of a mesh; made by `Mesh.put`, `Mesh.zeros`, collectives.

    Attributes
    ----------
    mesh : Mesh
    spec : P, which axes of the mesh split which axes of the array
    shape : tuple of int, of the whole array, without padding
    block_shape : tuple of int, of the block of one device; where an axis does not divide, rounded up, and the blocks
        beyond the end of the array are padded with zeros
    dtype : numpy.dtype
    local : (n_local, *block_shape) numpy array, C-contiguous: the blocks of this process; None on a dry mesh. Writing
        to it writes to the array.
    """

    __slots__ = ("__weakref__", "_bytes", "block_shape", "dtype", "local", "mesh", "shape", "spec")

    def __init__(self, mesh: Mesh, spec: P, shape: tuple[int, ...], dtype: Any, local: np.ndarray | None) -> None:
        self.mesh = mesh
        self.spec = spec
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.block_shape = tuple(
            -(-length // parts_of(spec, dimension, mesh.axes)) for dimension, length in enumerate(self.shape)
        )
        self.local = local
        self._bytes = self.nbytes_block
        mesh.ledger.allocate(mesh, self._bytes)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if hasattr(self, "_bytes") and not is_finalizing():  # then NumPy is gone
            self.mesh.ledger.free(self.mesh, self._bytes)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes_block(self) -> int:
        """Bytes of the block of one device."""
        return math.prod(self.block_shape) * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"ShardedArray(shape={self.shape}, dtype={self.dtype}, spec={self.spec!r}, block={self.block_shape})"

    def astype(self, dtype: Any) -> ShardedArray:
        """A copy in another dtype, values converted as NumPy converts them.

        Raises
        ------
        TypeError : no dtype, or one of Python objects
        """
        found = validate.array_dtype(dtype)
        local = None if self.local is None else self.local.astype(found)
        return ShardedArray(self.mesh, self.spec, self.shape, found, local)

    def empty_like(self, dtype: Any = None) -> ShardedArray:
        """An array of this shape and partition, whose values are arbitrary; by default of this dtype, too."""
        return self.mesh.empty(self.shape, self.dtype if dtype is None else dtype, self.spec, pad=True)

    def zeros_like(self, dtype: Any = None) -> ShardedArray:
        """An array of zeros of this shape and partition; by default of this dtype, too."""
        return self.mesh.zeros(self.shape, self.dtype if dtype is None else dtype, self.spec, pad=True)

    def copy(self) -> ShardedArray:
        """An array of the same values that shares no memory."""
        local = None if self.local is None else self.local.copy()
        return ShardedArray(self.mesh, self.spec, self.shape, self.dtype, local)

    def __copy__(self) -> ShardedArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ShardedArray:
        return self.copy()

    def __reduce__(self) -> NoReturn:
        validate.not_pickled("ShardedArray", "Pickle what gather() returns.")

    # Refused with a hint: x + 1 and x / y would fill what pads blocks with other values than zeros.
    __add__ = __radd__ = _refused("+")
    __sub__ = __rsub__ = _refused("-")
    __mul__ = __rmul__ = _refused("*")
    __truediv__ = __rtruediv__ = _refused("/")
    __matmul__ = __rmatmul__ = _refused("@")
    __pow__ = _refused("**")
    __neg__ = _refused("-")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        # Without, NumPy takes it for an object of no axes, and computes nonsense.
        validate.not_an_array(self)

    def gather(self, *, check: bool = True) -> np.ndarray:
        """The whole array, in every process.

        Parameters
        ----------
        check : whether copies of a block on several devices must be equal bit for bit

        Raises
        ------
        ValueError : copies differ, as they do where a `psum` is missing; the mesh is dry
        """
        return self.mesh.gather(self, check=check)
