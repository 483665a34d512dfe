"""Warnings about data, which a thread can do without: `warnings.catch_warnings` would silence all of the process."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_silent: ContextVar[bool] = ContextVar("fastcore_is_silent", default=False)


def warn(message: str, category: type[Warning] = UserWarning, stacklevel: int = 2) -> None:
    """`warnings.warn`, unless the caller's thread is inside `silenced`."""
    if not _is_silent.get():
        warnings.warn(message, category, stacklevel=stacklevel + 1)


@contextmanager
def silenced() -> Iterator[None]:
    """Keep the warnings of `warn` back in this thread."""
    token = _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.reset(token)
