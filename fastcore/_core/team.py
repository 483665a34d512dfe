"""Launches on the threads of a framework that calls us, in the place of Numba's.

PyTorch's threads wait for its next product by spinning. A pool of our own has to share the cores with them: attention
of 9 heads and 1,024 tokens took 12.1 ms right after a product, and 8.2 ms alone. On PyTorch's own team, which is GNU's
(or LLVM's) OpenMP, the spinning threads are those that take the work.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

__all__ = ["Team", "current_team", "drive_team", "find_team"]


class _Current(threading.local):
    team: Team | None = None


_current = _Current()


class Team:
    """Threads of an OpenMP library. In a ``with`` block, this Python thread launches on them.

    Parameters
    ----------
    launch : address of the library's `GOMP_parallel`
    size : how many threads the framework uses for a call from this Python thread
    """

    def __init__(self, launch: int, size: Callable[[], int]) -> None:
        self.launch = launch
        self.size = size

    def __enter__(self) -> None:
        _current.team = self

    def __exit__(self, *error: object) -> None:
        _current.team = None


def current_team() -> Team | None:
    """The team whose ``with`` block this Python thread is in."""
    return _current.team


def find_team(library: Path, size: Callable[[], int]) -> Team | None:
    """The team that a framework's shared library is linked to; None where it has none that we know how to launch."""
    if config.DISABLE_JIT:
        return None
    try:
        # Symbols are looked for in what the library was linked to, too: a process may hold several OpenMPs.
        launch = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    return Team(ctypes.cast(launch, ctypes.c_void_p).value or 0, size)


def _member(context: Any, module: ir.Module, packed: ir.Type, kinds: Any) -> ir.Function:
    """What a thread of the team runs: the body, with what is packed behind the one pointer it gets."""
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t]), module.get_unique_name("member")
    )
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    values = builder.load(builder.bitcast(function.args[0], packed.as_pointer()))
    address, *arguments = (builder.extract_value(values, i) for i in range(len(kinds) + 1))
    body = builder.inttoptr(address, context.call_conv.get_function_type(types.none, kinds).as_pointer())
    context.call_conv.call_function(builder, body, types.none, kinds, arguments)
    builder.ret_void()
    return function


@intrinsic
def call_in_team(typingctx, launch, size, body, arguments):
    """Call a kernel by its address in each of ``size`` threads of the team."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        kinds = signature.args[3].types
        packed = cgutils.pack_struct(builder, [args[2], *cgutils.unpack_tuple(builder, args[3])])
        member = _member(context, builder.module, packed.type, kinds)
        word = ir.IntType(32)
        parameters = [member.type, cgutils.voidptr_t, word, word]
        function = builder.inttoptr(args[0], ir.FunctionType(ir.VoidType(), parameters).as_pointer())
        slot = builder.bitcast(cgutils.alloca_once_value(builder, packed), cgutils.voidptr_t)
        builder.call(function, [member, slot, builder.trunc(args[1], word), word(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, arguments), codegen


def drive_team(launch, size, body, arguments):
    """The driver of every list of items."""
    call_in_team(launch, size, body, arguments)
