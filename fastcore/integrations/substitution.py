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
    original: Callable


@dataclass
class _Active:
    """A function that is in place now, and how many contexts want it there."""

    ours: Callable
    theirs: Callable
    places: list[_Place] = field(default_factory=list)
    contexts: int = 0


_ACTIVE: dict[tuple[str, str], _Active] = {}


def enter(package: str, functions: Mapping[str, tuple[Callable, Callable]], attribute: str) -> None:
    """Put functions of ours in place, or count one context more for those that are there.

    Parameters
    ----------
    package : name of the package whose loaded modules are searched
    functions : name -> (theirs, ours). Everything callable that the package holds under the name is replaced: where
        another library has put its own into some of the modules, that one too.
    attribute : where objects that modules hold (scikit-learn's scorers) have a function
    """
    with _LOCK:
        fresh: dict[str, _Active] = {}
        for name, (theirs, ours) in functions.items():
            active = _ACTIVE.get((package, name))
            if active is None:
                active = _ACTIVE[package, name] = fresh[name] = _Active(ours, theirs)
            active.contexts += 1
        names = _held_under(package, fresh)
        for holder, key, value in _held(package, attribute):
            found = names.get(id(value))
            if found is not None:
                fresh[found].places.append(_Place(holder, key, value))
        for active in fresh.values():
            for place in active.places:
                setattr(place.holder, place.attribute, active.ours)


def leave(package: str, names: Iterable[str], attribute: str) -> None:
    """One context less for each name; the last one puts back what stood in every place.

    Modules that were loaded meanwhile took ours from the others, and get theirs. A place that somebody else has written
    to since stays as it is.
    """
    with _LOCK:
        ended: dict[int, _Active] = {}
        for name in names:
            active = _ACTIVE[package, name]
            active.contexts -= 1
            if active.contexts == 0:
                ended[id(active.ours)] = _ACTIVE.pop((package, name))
        for active in ended.values():
            for place in active.places:
                if getattr(place.holder, place.attribute, None) is active.ours:
                    setattr(place.holder, place.attribute, place.original)
        for holder, key, value in _held(package, attribute) if ended else ():
            if id(value) in ended:
                setattr(holder, key, ended[id(value)].theirs)


def in_place(package: str, name: str) -> Callable | None:
    """The function of ours that stands for ``name`` now."""
    active = _ACTIVE.get((package, name))
    return None if active is None else active.ours


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
            for item in list(value.values()) if type(value) is dict else (value,):
                members = getattr(item, "__dict__", None)
                if type(members) is dict and attribute in members:
                    yield item, attribute, members[attribute]


def _held_under(package: str, names: Iterable[str]) -> dict[int, str]:
    """id -> name of all that modules of the package have under these names."""
    names = list(names)
    return {
        id(value): name for module in _modules(package) for name in names if callable(value := vars(module).get(name))
    }
