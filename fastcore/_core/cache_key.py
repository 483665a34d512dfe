"""What a compiled kernel depends on in Python: its bytecode, the values it freezes, and the sources around it."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastcore._core import cache

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), np.generic)


class NotCacheable(Exception):
    """The kernel freezes something that cannot be put into a key."""


def source_key(func: types.FunctionType) -> bytes:
    """Digest of the sources that `func` may be compiled from.

    All of the top-level package for a kernel of fastcore: an edit anywhere in it, of an intrinsic for instance, makes
    new entries. For a kernel of somebody else's package its own folder, and for a script the script alone; what these
    call from elsewhere is covered as far as it is a kernel or a plain function, see :func:`function_key`.
    """
    file = Path(func.__code__.co_filename)
    package = Path(__file__).parents[1]
    if package in file.parents:
        digest = _folder_digest(package, True)
    elif (file.parent / "__init__.py").is_file():
        digest = _folder_digest(file.parent, False)
    else:
        try:
            digest = file.read_bytes()
        except OSError:
            digest = None
    if digest is None:  # a REPL, exec, a zip archive
        raise NotCacheable(f"no source file {file}")
    return digest


@functools.cache
def _folder_digest(folder: Path, recursive: bool) -> bytes | None:
    return cache.source_digest(folder, recursive)


def function_key(func: types.FunctionType) -> str:
    """Text that differs whenever the bytecode of `func`, of a function it calls, or a constant they freeze differs."""
    return repr(list(_describe_function(func, set())))


def _describe_function(func: types.FunctionType, seen: set[int]) -> Iterator[object]:
    yield func.__module__, func.__qualname__
    if id(func) in seen:  # recursion
        return
    seen.add(id(func))
    yield _describe_code(func.__code__)
    yield repr(func.__defaults__)
    for name in sorted(_global_names(func.__code__)):
        if name in func.__globals__:
            yield name, _describe(func.__globals__[name], seen, strict=False)
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        yield name, _describe(cell.cell_contents, seen, strict=True)


def _describe_code(code: types.CodeType) -> object:
    return code.co_code, code.co_names, code.co_varnames, list(map(_describe_constant, code.co_consts))


def _describe_constant(value: object) -> object:
    if isinstance(value, types.CodeType):
        return _describe_code(value)
    # The order of a set of strings differs between processes.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _global_names(code: types.CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_global_names, nested))


def _describe(value: Any, seen: set[int], strict: bool) -> object:
    """Text for a frozen value. Of an unknown kind: its type; `strict` (a closure, which no source fixes) refuses it."""
    function = getattr(value, "py_func", value)  # of a kernel
    if isinstance(function, types.FunctionType):
        # Functions that are not kernels are seldom compiled, and following them would walk through whole libraries.
        return list(_describe_function(function, seen)) if function is not value else _describe_code(function.__code__)
    if isinstance(value, _CONSTANTS):
        return repr(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return [_describe(item, seen, strict) for item in value]
    if isinstance(value, types.ModuleType | types.BuiltinFunctionType | type):
        return value.__name__
    if strict:
        raise NotCacheable(f"a closure over {value!r}")
    return type(value).__qualname__
