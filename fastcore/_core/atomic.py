"""`atomic_add` for compiled loops: how workers take the next item of a shared list of work."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.errors import NumbaTypeError
from numba.extending import intrinsic

__all__ = ["atomic_add"]


def _fetch_add_python(array: Any, index: int, value: int) -> int:
    """Twin for NUMBA_DISABLE_JIT=1, where every loop is serial."""
    old = int(array[index])
    array[index] = old + value
    return old


def _fetch_add_typing(typingctx: Any, array: Any, index: Any, value: Any) -> tuple[Any, Callable[..., Any]]:
    if not (isinstance(array, types.Array) and array.ndim == 1 and array.dtype == types.int64 and array.mutable):
        raise NumbaTypeError(f"atomic_add needs a writable 1-D int64 array. Got {array}.")
    if not (isinstance(index, types.Integer) and isinstance(value, types.Integer)):
        raise NumbaTypeError(f"atomic_add needs an integer index and value. Got {index} and {value}.")

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        view = context.make_array(array)(context, builder, args[0])
        position = cgutils.get_item_pointer(context, builder, array, view, [args[1]], wraparound=False)
        # Who counts the last of several results sees what the others wrote before they counted theirs.
        return builder.atomic_rmw("add", position, args[2], "acq_rel")

    return types.int64(array, types.intp, types.int64), codegen


def _fetch_add() -> Callable[[Any, int, int], Any]:
    # An intrinsic made under NUMBA_DISABLE_JIT=1 cannot be called from Python.
    if config.DISABLE_JIT:
        return _fetch_add_python
    _fetch_add_typing.__name__ = "atomic_add"
    _fetch_add_typing.__doc__ = "Add to one element of a 1-D int64 array, indivisibly, and return what it was before."
    compiled: Callable[[Any, int, int], Any] = intrinsic(_fetch_add_typing)
    return compiled


atomic_add = _fetch_add()
