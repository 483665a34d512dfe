"""Numba's dispatcher with the package's cache and declared signatures. All use of Numba's private hooks is here.

:mod:`fastcore._core.jit` imports this in a ``try``: if a Numba release changes what is used here, kernels fall back to
plain ``njit``.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import pickle
import platform
import re
import secrets
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config, entrypoints, sigutils
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, compile_result
from numba.core.compiler_lock import global_compiler_lock
from numba.core.environment import Environment, lookup_environment
from numba.core.registry import CPUDispatcher
from numba.core.runtime import _nrt_python
from numba.core.serialize import dumps

from fastcore._core import cache, cache_key, threads
from fastcore._core.callee import CalleeDispatcher

# Settings from the environment that change the machine code Numba makes and are neither options nor the CPU.
_CODE_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LLVM_REFPRUNE_FLAGS")
_VERSIONS = (numba.__version__, llvmlite.__version__, platform.python_implementation(), platform.python_version())


# Of all kernels, which live as long as the process.
_ADDRESSES: set[int] = set()
_ADDRESS_IN_CODE = re.compile(r"numba\.dynamic\.globals\.([0-9a-f]+)")


class Kernel(CPUDispatcher):
    """A dispatcher that keeps its code in :mod:`fastcore._core.cache` and may have one declared signature.

    Compilation is serialised by Numba's own compiler lock (reentrant, process-wide). A lock of ours in front of it
    would be taken in the other order by a thread that compiles a user's function calling a kernel, and deadlock.
    """

    def __init__(
        self,
        py_func: FunctionType,
        locals: dict[str, Any] | None = None,
        targetoptions: dict[str, Any] | None = None,
        pipeline_class: type = Compiler,
        declared: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(py_func, locals, targetoptions, pipeline_class)
        _ADDRESSES.add(id(self))
        self._declared = declared
        self._cache = EntryCache(py_func, self.targetoptions)
        self._callee: CalleeDispatcher | None = None
        if declared is None and not self.targetoptions.get("parallel"):
            self._callee = CalleeDispatcher(py_func, self.targetoptions)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a caller in compiled code links to: an instance without wrappers and machine code of its own."""
        if self._callee is None:
            return super().get_call_template(args, kws)
        return self._callee.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """Key of that instance."""
        return super().get_overload(sig) if self._callee is None else self._callee.get_overload(sig)

    def compile(self, sig: Any) -> Any:
        """Make the declared instance, whatever `sig` is asked for; without a declaration, the one for `sig`."""
        if self.targetoptions.get("parallel"):
            # Numba would start a threading layer of its own choice, without the TBB that pip installed.
            threads.get_num_threads()
        if self._declared is None:
            return super().compile(sig)
        with global_compiler_lock:
            if self._can_compile:
                super().compile(self._declared())
                self.disable_compile()
            return next(iter(self.overloads.values())).entry_point

    def _compile_for_args(self, *args: Any, **kwargs: Any) -> Any:
        """What the C dispatcher calls if no instance matches; it calls what this returns."""
        if self._declared is None:
            return super()._compile_for_args(*args, **kwargs)
        self.compile(None)
        # Not the compiled function: that takes its arguments unchecked. Dispatching again converts or refuses them.
        return self

    def _compilation_chain_init_hook(self) -> None:
        """Put off the scan for Numba extensions (10 ms) until there is something to compile, in `EntryCache`."""


class EntryCache(NullCache):
    """The cache hook of one kernel: finds, rebuilds and keeps its compiled instances."""

    def __init__(self, py_func: FunctionType, options: dict[str, Any]) -> None:
        self._py_func = py_func
        self._options = repr(sorted((name, _ordered(value)) for name, value in options.items()))

    @property
    def cache_path(self) -> str:
        """Folder of the entries, for ``dispatcher.stats``."""
        return str(cache.cache_folder() or "")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The instance for `sig`, or None, upon which the dispatcher compiles it."""
        key = self.entry_key(sig, target_context.codegen())
        payload = None if key is None else cache.load(key)
        if payload is not None:
            try:
                return _rebuild(target_context, payload)
            except (
                Exception
            ):  # whatever unpickling of a foreign or stale entry raises; compiling it anew is always right
                pass
        _prepare_compilation()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled instance `data`; silently not, where that is impossible."""
        key = self.entry_key(sig, data.codegen)
        if key is None or cache_key.edited_since_start(self._py_func):
            return
        if _holds_objects(data.library) or data.objectmode or data.lifted:
            return
        try:
            payload = _reduce(data)
        except Exception:  # a type that does not pickle; the kernel works in this process all the same
            return
        cache.store(key, payload)

    def entry_key(self, sig: Any, codegen: Any) -> str | None:
        """Key of the entry, a file name without suffix; None if the instance cannot be kept."""
        args, return_type = sigutils.normalize_signature(sig)
        types = repr([str(each) for each in (*args, return_type)])
        if " at 0x" in types:  # a type made from an object of this process, such as a function
            return None
        try:
            function, source = cache_key.function_key(self._py_func), cache_key.source_key(self._py_func)
        except cache_key.NotCacheable:
            return None
        settings = [repr(getattr(config, name, None)) for name in _CODE_SETTINGS]
        parts = (source, function, self._options, types, codegen.magic_tuple(), _VERSIONS, settings)
        name = re.sub("[^A-Za-z0-9_]", "", self._py_func.__name__)[:60]
        return f"{name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:40]}"


def _ordered(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else value


def _holds_objects(library: JITCodeLibrary) -> bool:
    """Whether the code has addresses of objects of this process, other than those of kernels, which it never follows.

    Numba puts those down for a tuple of kernels that is handed on, such as attention's kinds of blocks.
    """
    if not library.has_dynamic_globals:
        return False
    found = [_ADDRESS_IN_CODE.match(each.name) for each in library._final_module.global_variables]
    return not {int(each[1], 16) for each in found if each} <= _ADDRESSES


class LoadedLibrary(JITCodeLibrary):
    """Code from the cache. Its bitcode waits, unparsed, until a new kernel links it: 10 of the 25 ms of a hit."""

    def __init__(self, codegen: Any, name: str, object_code: bytes, bitcode: bytes, defined: list[str]) -> None:
        super().__init__(codegen, name)
        self._bitcode = bitcode
        self._shared_module: Any = None
        self.enable_object_caching()
        self._set_compiled_object(object_code)
        self._finalize_final_module()
        codegen._engine._defined_symbols.update(defined)

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvm.parse_bitcode(self._bitcode)
        return self._shared_module


def _reduce(compiled: Any) -> bytes:
    """The compiled instance as bytes. Inverse of `_rebuild`."""
    library, fndesc, environment, signature, _, _, annotation, reload_init, linked = compiled._reduce()
    name, _, (object_code, bitcode) = library
    defined, required = _symbols(compiled.library)
    # Pickled as they are, environments import the modules of all functions that were linked in: 0.2 s for
    # numba.np.arraymath after a `sum`. Compiled code uses nothing of these modules, only the constants.
    linked = [(each.globals.get("__name__"), each.consts, each.env_name) for each in linked]
    code = (name, object_code, bitcode, defined)
    return dumps((required, code, fndesc, environment, signature, annotation, reload_init, linked))


def _symbols(library: Any) -> tuple[list[str], list[str]]:
    """Names that the library defines, and names outside that its object code has to be linked to."""
    module = library._final_module
    names: tuple[list[str], list[str]] = ([], [])
    for value in itertools.chain(module.functions, module.global_variables):
        if not value.name.startswith("llvm."):
            names[value.is_declaration].append(value.name)
    return names


def _rebuild(target_context: Any, payload: bytes) -> Any:
    """A compiled instance from its payload, without Numba's registries, which only compilation needs."""
    required, code, fndesc, environment, signature, annotation, reload_init, linked = pickle.loads(payload)
    _bind_runtime_symbols()
    for initialise in reload_init:  # launches Numba's threads, if the kernel is parallel
        initialise()
    if not _all_bound(required):
        target_context.refresh()
        if not _all_bound(required):
            # LLVM would end the process on a missing symbol.
            return None
    library = LoadedLibrary(target_context.codegen(), *code)
    entry_point = target_context.get_executable(library, fndesc, environment)
    environments = [_environment(*each) for each in linked]
    for each in environments:
        library.codegen.set_env(each.env_name, each)
    return compile_result(
        typing_context=target_context.typing_context,
        target_context=target_context,
        entry_point=entry_point,
        type_annotation=annotation,
        signature=signature,
        objectmode=False,
        lifted=(),
        fndesc=fndesc,
        library=library,
        environment=environment,
        reload_init=reload_init,
        referenced_envs=environments,
    )


def _environment(module_name: str, constants: list[Any], name: str) -> Environment:
    """The constants of a linked function, one object in a process as Numba has it."""
    environment = lookup_environment(name)
    if environment is None:
        environment = Environment({"__name__": module_name})
        environment.consts[:] = constants
        environment.env_name = name
        Environment._memo[name] = environment
    return environment


def _all_bound(names: Iterable[str]) -> bool:
    return all(llvm.address_of_symbol(name) for name in names)


@functools.cache
def _bind_runtime_symbols() -> None:
    """What ``rtsys.initialize`` does for linked code, less the compilation of the module for new code (20 ms)."""
    for name, address in _nrt_python.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else "NRT_" + name, address)


@functools.cache
def _prepare_compilation() -> None:
    """Once before the first compilation: what a hit does not need, and distinct symbols.

    Numba ends the symbols of a function in a number that counts from 1 in every process. Entries that two processes
    wrote for functions of one name could so define one symbol for different code, and a third process that loads both
    would call the wrong one. From a random start they do not meet.
    """
    entrypoints.init_all()
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(48))


if hasattr(os, "register_at_fork"):
    # A child forked while another thread compiles would inherit a lock that nobody releases and hang at its first call.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
