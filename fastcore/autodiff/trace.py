"""From a Python function and the form of a call to the nodes it computes."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcore._core import validate_autodiff as check
from fastcore.autodiff.node import Node, Tape

__all__ = ["Form", "Trace", "name_of", "record"]


class Form:
    """How a function is called: so many arguments by position, and these by keyword.

    Attributes
    ----------
    names : one for each argument, in the order of the function's parameters
    """

    def __init__(self, fn: Callable[..., Any], count: int, keywords: Sequence[str]) -> None:
        parameters = _parameters(fn)
        places = {name: place for place, name in enumerate(each.name for each in parameters)}
        self.positional = _positional_names(parameters, count, {*places, *keywords})
        self.keywords = tuple(sorted(keywords, key=lambda name: places.get(name, len(places))))
        self.names = (*self.positional, *self.keywords)

    def values(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments of a call in the order of `names`."""
        return [*args, *(kwargs[name] for name in self.keywords)]

    def call(self, fn: Callable[..., Any], values: Sequence[Any]) -> Any:
        """The function of values in the order of `names`."""
        count = len(self.positional)
        return fn(*values[:count], **dict(zip(self.keywords, values[count:])))


class Trace:
    """What a function computes from its arguments.

    Attributes
    ----------
    form, tape, inputs : how it was called, the nodes, and those of the arguments
    results : nodes
    kind : makes what the function returned out of such results; None for one that is no tuple
    """

    def __init__(self, fn: Callable[..., Any], form: Form, tape: Tape | None = None) -> None:
        self.form, self.tape = form, tape or Tape()
        self.inputs = [self.tape.input(name) for name in form.names]
        returned = form.call(fn, self.inputs)
        self.kind: Callable[[Sequence[Any]], Any] | None = None
        if isinstance(returned, tuple):
            self.kind = getattr(type(returned), "_make", tuple)
        if isinstance(returned, tuple) and not returned:
            check.refuse_result(returned)
        results = returned if isinstance(returned, tuple) else (returned,)
        self.results = [self._result(each) for each in results]

    def _result(self, x: Any) -> Node:
        if isinstance(x, Node):
            if x.tape is not self.tape:
                check.refuse_other_trace()
            if x.is_boolean:
                check.refuse_condition("the function's result")
            return x
        if isinstance(x, bool | np.bool_) or not isinstance(x, int | float | np.integer | np.floating):
            check.refuse_result(x)
        return self.tape.constant(check.number(x, "the function's result"))

    @property
    def result(self) -> Node:
        """The one result of a function that does not return a tuple."""
        if self.kind is not None:
            check.refuse_result(())
        return self.results[0]


def name_of(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some built-in functions have none
        return []


def _positional_names(parameters: Sequence[inspect.Parameter], count: int, taken: set[str]) -> tuple[str, ...]:
    """Names of the first arguments: of their parameters, then those of ``*args`` numbered, without what is taken."""
    simple = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [each.name for each in parameters if each.kind in simple][:count]
    rest = next((each.name for each in parameters if each.kind is inspect.Parameter.VAR_POSITIONAL), "x")
    numbered = (name for name in (f"{rest}{i}" for i in itertools.count()) if name not in taken)
    return (*names, *itertools.islice(numbered, count - len(names)))


@functools.lru_cache(1024)
def record(names: tuple[str, ...]) -> Any:
    """The named tuple of one value for each argument."""
    plain: Any = namedtuple("Partials", names, rename=True)  # type: ignore[misc]

    def reduced(values: tuple[Any, ...]) -> Any:  # pickle finds no class that was made at run time
        return _unpickled, (names, tuple(values))

    return type("Partials", (plain,), {"__slots__": (), "__reduce__": reduced})


def _unpickled(names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return record(names)._make(values)
