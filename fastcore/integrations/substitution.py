"""Functions put in the place of a package's own, wherever its modules hold them, and taken back."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

_LOCK = threading.RLock()


@dataclass
class _Place:
    """An attribute that held a function of the package: of a module, or of a scorer."""

    holder: Any
    attribute: str
    original: Any


@dataclass
class _Active:
    """A function that is in place now, and how many contexts want it there."""

    ours: Callable
    theirs: Callable
    places: list[_Place] = field(default_factory=list)
    contexts: int = 0


_ACTIVE: dict[tuple[str, str], _Active] = {}


def _modules(package: str) -> Iterator[ModuleType]:
    """The package and its modules that are loaded."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and (name == package or name.startswith(package + ".")):
            yield module


def _held(package: str, attribute: str) -> Iterator[tuple[Any, str, Any]]:
    """(holder, attribute, value) of all that modules hold, and of ``attribute`` of the objects they hold.

    Objects are looked into one level deep, those in a module's dictionaries too: scikit-learn keeps scorers there.
    """
    for module in _modules(package):
        for name, value in list(vars(module).items()):
            yield module, name, value
            for item in value.values() if type(value) is dict else (value,):
                if attribute in getattr(item, "__dict__", ()):
                    yield item, attribute, item.__dict__[attribute]


def _named(package: str, names: Iterable[str]) -> dict[int, str]:
    """id -> name of everything that the package holds under a name: another library may have replaced one of two."""
    found = {}
    for module in _modules(package):
        for name in names:
            value = vars(module).get(name)
            if callable(value):
                found[id(value)] = name
    return found


def enter(package: str, functions: Mapping[str, tuple[Callable, Callable]], attribute: str) -> None:
    """Put ours in place: ``functions`` maps the name to (theirs, ours); ``attribute`` of an object may hold one, too.

    What is in place stays, and counts one context more.
    """
    with _LOCK:
        fresh = {}
        for name, (theirs, ours) in functions.items():
            active = _ACTIVE.get((package, name))
            if active is None:
                active = _ACTIVE[package, name] = fresh[name] = _Active(ours, theirs)
            active.contexts += 1
        names = _named(package, fresh)
        for holder, key, value in _held(package, attribute):
            name = names.get(id(value))
            if name is not None:
                fresh[name].places.append(_Place(holder, key, value))
        for active in fresh.values():
            for place in active.places:
                setattr(place.holder, place.attribute, active.ours)


def leave(package: str, names: Iterable[str], attribute: str) -> None:
    """One context less for each; the last one puts back what stood in every place.

    Modules that were loaded meanwhile took ours from the others, and get theirs. A place that somebody else has changed
    since stays as it is.
    """
    with _LOCK:
        ended = {}
        for name in names:
            active = _ACTIVE[package, name]
            active.contexts -= 1
            if active.contexts == 0:
                ended[id(active.ours)] = _ACTIVE.pop((package, name))
        for active in ended.values():
            for place in active.places:
                if getattr(place.holder, place.attribute, None) is active.ours:
                    setattr(place.holder, place.attribute, place.original)
        if ended:
            for holder, key, value in _held(package, attribute):
                if id(value) in ended:
                    setattr(holder, key, ended[id(value)].theirs)


def in_place(package: str, name: str) -> Callable | None:
    """The function of ours that stands for ``name`` now."""
    active = _ACTIVE.get((package, name))
    return None if active is None else active.ours
