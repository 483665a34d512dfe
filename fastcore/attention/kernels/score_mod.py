"""The user's function of a score, compiled into a loop over a panel of scores.

The kernels of attention call that loop by its address, once a block of keys: they are compiled once for all functions,
and a function takes 0.4 s. LLVM puts it into the loop and vectorises it like any other.
"""

import weakref

from numba import types
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

from fastcore._core import simd
from fastcore._core.jit import user_kernel
from fastcore._core.work import address_of_code

# Of a function, its loops by element type: they live as long as the function. A lock of ours would be taken in another
# order than Numba's by a thread that compiles a function of its own.
_LOOPS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def panel_loop(function, dtype):
    """A kernel that applies the scalar ``function`` to the scores of a panel, one key a row and one query a lane."""
    one = user_kernel(function, scalar=True)

    def apply(address, keys, queries, width, first_position, first_key, batch, head):
        panel = simd.pointer_at(address, dtype)
        for j in range(keys):
            for i in range(queries):
                at = simd.advance(panel, j * width + i)
                simd.store_scalar(at, one(simd.load_scalar(at), batch, head, first_position + i, first_key + j))

    return user_kernel(apply)


def address_of_loop(function, dtype):
    """The address that `Changes.score_mod` takes, good as long as ``function`` lives.

    Parameters
    ----------
    function : Numba dispatcher (score, b, h, i, j) -> score; without JIT a Python function
    dtype : float32 or float64

    Raises
    ------
    numba.core.errors.NumbaError : the function does not compile for these arguments
    """
    kind = types.float32 if dtype.itemsize == 4 else types.float64
    with global_compiler_lock:
        loops = _LOOPS.setdefault(function, {})
        if kind not in loops:
            loop = panel_loop(function if config.DISABLE_JIT else function.py_func, kind)
            if not config.DISABLE_JIT:
                loop.compile(types.void(*[types.int64] * 8))
            loops[kind] = loop, address_of_code(loop)
        return loops[kind][1]
