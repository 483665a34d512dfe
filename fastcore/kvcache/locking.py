"""What both caches have for threads and processes: a lock that a fork of the process waits for, and no copies."""

import os
import threading
import time
from itertools import count
from typing import Any, NoReturn
from weakref import WeakValueDictionary

from fastcore._core import validate_cache

# Seconds that a fork waits in all for calls of other threads. Prefill of a long text takes some; calls of which one
# waits for the forking thread would take for ever.
PATIENCE = 60.0

# Caches are locked in the order they were made, so that two transfers in opposite directions, or a transfer and a fork,
# never wait for each other.
_RANKS = count()
_CACHES: "WeakValueDictionary[int, Locked]" = WeakValueDictionary()
_ENTRY = threading.RLock()  # held to enter a cache into _CACHES, and while the process forks


class Locked:
    """A call holds `_lock`, and `_busy` while it relies on what it read.

    `_lock` lets a thread in again, so that a finalizer or signal handler in the middle of a call does not hang; it
    finds `_busy` taken and is refused.

    When the process forks, the forking thread first takes the locks of all caches: a child sees whole caches, never
    one that a thread which does not exist there was changing. Where it does not get one (it is inside a call itself
    and others must not be waited for, or its patience ended), that cache refuses all calls in the child.
    """

    _instead_of_copies = ""

    def __init__(self) -> None:
        self._make_locks()
        with _ENTRY:
            self._rank = next(_RANKS)
            _CACHES[self._rank] = self

    def _make_locks(self) -> None:
        self._lock, self._busy = threading.RLock(), threading.Lock()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """What copy, deepcopy and pickle call. A copy of the attributes would share rows but not lengths."""
        validate_cache.no_copy(type(self).__name__, self._instead_of_copies)


class _Fork(threading.local):
    """The locks that a forking thread holds for the fork."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.caches: list[Locked] = []
        self.inside: list[Locked] = []  # of these, those that it is in a call of
        self.has_entry = False


_FORK = _Fork()


def _caches() -> list[Locked]:
    """All there are, oldest first. `valuerefs` copies at once, whatever other threads make or drop."""
    alive = [cache for reference in _CACHES.valuerefs() if (cache := reference()) is not None]
    return sorted(alive, key=lambda cache: cache._rank)


def _before_fork() -> None:
    caches, taken = _caches(), _FORK.caches
    # As threading.Condition asks its RLock.
    _FORK.inside = [cache for cache in caches if cache._lock._is_owned()]  # type: ignore[attr-defined]
    end = time.monotonic() + (0.0 if _FORK.inside else PATIENCE)
    newest = -1
    while True:
        for cache in caches:
            if cache._lock.acquire(timeout=max(0.0, end - time.monotonic())):
                taken.append(cache)
        _FORK.has_entry = _ENTRY.acquire(timeout=max(0.0, end - time.monotonic()))
        newest = caches[-1]._rank if caches else newest
        caches = [cache for cache in _caches() if cache._rank > newest]  # made while others were waited for
        if not caches:
            return
        if _FORK.has_entry:
            _ENTRY.release()


def _after_fork_in_parent() -> None:
    if _FORK.has_entry:
        _ENTRY.release()
    for cache in reversed(_FORK.caches):
        cache._lock.release()
    _FORK.clear()


def _after_fork_in_child() -> None:
    global _ENTRY
    _ENTRY = threading.RLock()
    taken, inside = set(map(id, _FORK.caches)), set(map(id, _FORK.inside))
    for cache in _caches():
        if id(cache) in inside:
            cache._lock.release()  # as often as it was taken for the fork; the call goes on and releases the rest
        else:
            cache._make_locks()
            if id(cache) not in taken:
                cache._busy.acquire()
    _FORK.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
