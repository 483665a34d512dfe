"""What a compiled kernel depends on in Python: its bytecode, the values it freezes, and the sources around it."""

from __future__ import annotations

import functools
import hashlib
import itertools
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numba.core import types as numba_types

_STARTED = time.time()
_MOST_FILES = 500  # 20 ms to read

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), np.generic)


class NotCacheable(Exception):
    """The kernel freezes something that cannot be put into a key."""


def source_key(func: types.FunctionType) -> bytes:
    """Digest of the sources that `func` may be compiled from.

    They are those of its top-level package, so that an edit anywhere in it, of an intrinsic for instance, makes new
    entries; for a script or a very large package, those of its folder. What these call from elsewhere is covered as far
    as it is a kernel, see :func:`function_key`.
    """
    return _digest(_sources(Path(func.__code__.co_filename)))


def edited_since_start(func: types.FunctionType) -> bool:
    """Whether a source of `func` is newer than this process, which may then be compiling what is no longer there."""
    now = time.time()
    try:
        times = [file.stat().st_mtime for file in _sources(Path(func.__code__.co_filename))]
    except OSError:  # deleted
        return True
    return any(_STARTED < each <= now for each in times)  # a time to come is a wrong clock's


@functools.cache
def _sources(file: Path) -> tuple[Path, ...]:
    if not file.is_file():  # a REPL, exec, a zip archive
        raise NotCacheable(f"no source file {file}")
    packages = list(itertools.takewhile(lambda folder: (folder / "__init__.py").is_file(), file.parents))
    searches = [packages[-1].rglob] if packages else []
    for search in (*searches, file.parent.glob):
        files = tuple(sorted(itertools.islice(search("*.py"), _MOST_FILES + 1)))
        if len(files) <= _MOST_FILES:
            return files
    return (file,)


@functools.cache
def _digest(files: tuple[Path, ...]) -> bytes:
    """Of names and contents, not of times: a wheel, a checkout and a container layer find the same entries."""
    digest = hashlib.sha256()
    try:
        # Read one by one: 50 files of 5 KB take 2 ms.
        for file in files:
            content = file.read_bytes()
            digest.update(f"{file.parent.name}/{file.name}\0{len(content)}\0".encode())
            digest.update(content)
    except OSError as error:
        raise NotCacheable(f"cannot read {file}") from error
    return digest.digest()


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
    if isinstance(value, numba_types.Number | numba_types.Boolean):  # of SIMD lanes; not all types' names say all
        return type(value).__qualname__, value.name
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return [_describe(item, seen, strict) for item in value]
    if isinstance(value, types.ModuleType | types.BuiltinFunctionType | type):
        return value.__name__
    if strict:
        raise NotCacheable(f"a closure over {value!r}")
    return type(value).__qualname__
