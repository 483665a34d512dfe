"""The one place with Numba options: the `kernel` decorator, and how compiled kernels are kept between processes.

Why an own cache. Numba's leaves the options out of its key, does not see an edited callee in another file, can mix up
entries when two processes race for its index, and raises at import where the home is unwritable. A cached first call
also costs it 0.35 s, since it loads all of its typing and lowering registries before it looks at the disk; a hit here
needs none of them.

It hooks into Numba's private dispatcher. Where a hook is not as expected, kernels are plain ``njit`` functions without
cache: slower to start, the same numbers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numba
from numba.core import config, sigutils

from fastcore._core import cache

# Not nnan or ninf: they break NaN propagation and -inf masks. Kernels of compensated sums and of error-free
# transformations say fastmath=False.
SAFE_FASTMATH = frozenset({"contract", "reassoc", "nsz", "arcp"})


@dataclass(frozen=True)
class RegisteredKernel:
    """A kernel whose signature is declared, for ``python -m fastcore warmup``."""

    dispatcher: Any
    signature: Any

    @property
    def name(self) -> str:
        """Module, function and the element type of its first array: one body may serve several."""
        function = self.dispatcher.py_func
        args, _ = sigutils.normalize_signature(_resolve(self.signature))
        element = next((f"[{each.dtype}]" for each in args if hasattr(each, "dtype")), "")
        return f"{function.__module__}.{function.__qualname__}{element}"

    def compile(self) -> None:
        """Load it from the cache, or compile and keep it."""
        self.dispatcher.compile(_resolve(self.signature))

    def is_cached(self) -> bool:
        """Whether `compile` would only load."""
        entry_key = getattr(self.dispatcher._cache, "entry_key", None)
        key = None if entry_key is None else entry_key(_resolve(self.signature), self.dispatcher.targetctx.codegen())
        return key is not None and cache.contains(key)


warm_registry: list[RegisteredKernel] = []


def registered_kernels() -> list[RegisteredKernel]:
    """Kernels with a declared signature, of the modules imported so far."""
    return list(warm_registry)


def kernel(
    func: Any = None,
    *,
    signature: Any = None,
    parallel: bool = False,
    fastmath: Any = SAFE_FASTMATH,
    inline: bool = False,
) -> Any:
    """Compile a function with the package's options: no GIL, NumPy's error model, own cache.

    Parameters
    ----------
    func : module-level function; a closure is cached too if it closes over constants and kernels only
    signature : numba signature or a callable without arguments returning it, optional
        Compiled at the first call and never for any other types: arrays convert to a declared readonly layout 'A'.
        Otherwise one instance is compiled for every combination of argument types, as ``njit`` does.
    parallel : whether ``prange`` runs on threads
    fastmath : set of LLVM flags, or False
    inline : whether LLVM must put it into its callers, however large it is: results of several vectors go through
        memory otherwise, which takes longer than what a small tile computes

    Returns
    -------
    Numba dispatcher; with NUMBA_DISABLE_JIT=1 the function itself
    """
    if func is None:
        return functools.partial(kernel, signature=signature, parallel=parallel, fastmath=fastmath, inline=inline)
    if config.DISABLE_JIT:
        return func
    options = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": set(fastmath) if fastmath else False,
        "parallel": parallel,
    }
    if inline:
        options["forceinline"] = True
    dispatcher = _make_dispatcher(func, options, signature)
    if signature is not None:
        warm_registry.append(RegisteredKernel(dispatcher, signature))
    return dispatcher


def user_kernel(func: Any, *, scalar: bool = False) -> Any:
    """Compile a function of the user's, or one that holds it, with the package's options.

    Never kept on disk: what it freezes may come from anywhere. A ``scalar`` function, whose first argument is a float,
    is put into its callers, and its arithmetic stays in the type of that argument.
    """
    if config.DISABLE_JIT:
        return func
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    if scalar:
        options["forceinline"] = True
        try:
            from fastcore._core.keep_precision import KeepPrecisionCompiler

            options["pipeline_class"] = KeepPrecisionCompiler
        except Exception:  # Numba's internals have changed: slower by the float64 that it makes of constants
            pass
    return numba.njit(**options)(func)


def _resolve(signature: Any) -> Any:
    """The signature that was given to `kernel`: itself, or what the callable returns."""
    return signature if sigutils.is_signature(signature) else signature()


def _make_dispatcher(func: Any, options: dict[str, Any], signature: Any) -> Any:
    try:
        from fastcore._core.dispatcher import Kernel

        declared = None if signature is None else functools.partial(_resolve, signature)
        return Kernel(func, targetoptions={"nopython": True, "boundscheck": None, **options}, declared=declared)
    except Exception:  # Numba's internals have changed; whatever that raises, its public decorator still works
        return numba.njit(**options)(func)
