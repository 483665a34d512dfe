"""The graph of a function: its nodes by name, their values and their adjoints."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastcore._core import validate_autodiff as check
from fastcore.autodiff.arrays import evaluate
from fastcore.autodiff.derivatives import adjoints, own_derivatives
from fastcore.autodiff.node import Node, apply, reachable
from fastcore.autodiff.program import Compiled, assemble
from fastcore.autodiff.trace import Form, Trace, name_of

__all__ = ["Graph", "GraphNode", "graph"]

_SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "less": "<", "less_equal": "<=",
    "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=", "logical_and": "&", "logical_or": "|",
    "logical_xor": "^",
}  # fmt: skip
_PREFIXES = {"negative": "-", "logical_not": "~"}


class GraphNode(NamedTuple):
    """A node of a graph: its name, its operation by NumPy's name ("input" for an argument), and operands.

    An operand is the name of a node, or a number.
    """

    name: str
    operation: str
    operands: tuple[str | float, ...]

    @property
    def expression(self) -> str:
        """What it computes, as Python writes it; empty for an argument."""
        words = [each if isinstance(each, str) else f"{each:g}" for each in self.operands]
        if self.operation in _SIGNS:
            return f" {_SIGNS[self.operation]} ".join(words)
        if self.operation in _PREFIXES:
            return _PREFIXES[self.operation] + words[0]
        return "" if self.operation == "input" else f"{self.operation}({', '.join(words)})"


class Graph:
    """What `graph` returns: the operations of a function, each expression once, operands first.

    Attributes
    ----------
    nodes : tuple of GraphNode, arguments first; constants are no nodes
    output : name of the node that is the function's value
    """

    def __init__(self, traced: Trace, names: Mapping[int, str]) -> None:
        self._inputs, self._result = traced.inputs, traced.result
        used = {node.index for node in reachable([self._result])} | {node.index for node in self._inputs}
        self._nodes = [node for node in traced.tape.nodes if node.index in used and not node.is_constant]
        self._names = dict(names)
        self.nodes = tuple(
            GraphNode(self._names[node.index], node.operation, tuple(map(self._word, node.operands)))
            for node in self._nodes
        )
        self.output = str(self._word(self._result))

    def _word(self, node: Node) -> str | float:
        return float(node.value) if node.is_constant else self._names[node.index]

    @functools.cached_property
    def _values(self) -> Compiled:
        return assemble(self._inputs, [_as_number(node) for node in self._nodes])

    @functools.cached_property
    def _adjoints(self) -> Compiled:
        zero = self._result.tape.constant(0.0)
        slopes = adjoints(self._result, self._numbers)
        return assemble(self._inputs, [zero if each is None else each for each in slopes])

    @property
    def _numbers(self) -> list[Node]:
        return [node for node in self._nodes if not node.is_boolean]

    def _evaluate(self, compiled: Compiled, inputs: Mapping[str, Any]) -> list[Any]:
        names = [str(node.value) for node in self._inputs]
        check.named_arguments(inputs, names)
        results = evaluate(compiled, names, [inputs[name] for name in names])
        return results if results[0].ndim else [each[()] for each in results]

    def evaluate(self, /, **inputs: Any) -> dict[str, Any]:
        """The value of each node by its name, arguments included; conditions as booleans.

        Parameters
        ----------
        **inputs : an array or number for each argument, as in `value_and_grad`

        Raises
        ------
        TypeError : an argument is missing or unknown, or holds no real numbers
        ValueError : shapes do not broadcast
        """
        values = self._evaluate(self._values, inputs)
        return {
            self._names[node.index]: value.astype(bool) if node.is_boolean else value
            for node, value in zip(self._nodes, values)
        }

    def adjoints(self, /, **inputs: Any) -> dict[str, Any]:
        """d output / d node for each node by its name, arguments included; conditions have none.

        Parameters and errors as those of `evaluate`.
        """
        slopes = self._evaluate(self._adjoints, inputs)
        return {self._names[node.index]: slope for node, slope in zip(self._numbers, slopes)}

    def partials(self, /, **inputs: Any) -> dict[tuple[str, str], Any]:
        """d node / d operand for each edge, (operand, node), the node's other operands fixed.

        The product along a path is the path's share of a derivative. Parameters and errors as those of `evaluate`.
        """
        edges, slopes = self._partials
        found: dict[tuple[str, str], Any] = {}
        for edge, slope in zip(edges, self._evaluate(slopes, inputs) if edges else []):
            found[edge] = found[edge] + slope if edge in found else slope  # x * x has two edges from x
        return found

    @functools.cached_property
    def _partials(self) -> tuple[list[tuple[str, str]], Compiled]:
        edges, slopes = [], []
        for node in self._numbers:
            if node.operands:
                for operand, slope in zip(node.operands, own_derivatives(node)):
                    if slope is not None and not operand.is_constant:
                        edges.append((self._names[operand.index], self._names[node.index]))
                        slopes.append(slope)
        return edges, assemble(self._inputs, slopes or self._inputs)

    def to_dot(self) -> str:
        """The graph in Graphviz' language: ``dot -Tsvg`` draws it."""
        lines = ["digraph {", "    rankdir=LR;"]
        for node in self.nodes:
            label = f"{node.name} = {node.expression}" if node.expression else node.name
            shape = "box" if node.operation == "input" else "ellipse"
            lines.append(f'    "{node.name}" [label="{label}", shape={shape}];')
        lines += [f'    "{operand}" -> "{name}";' for operand, name in self.edges]
        return "\n".join([*lines, "}"])

    @property
    def edges(self) -> list[tuple[str, str]]:
        """(operand, node) for each use of a node."""
        return [(each, node.name) for node in self.nodes for each in node.operands if isinstance(each, str)]

    def plot(self, file: str | Path, /, **inputs: Any) -> None:
        """Draw it into a file, whose suffix says the format; given all arguments, with values and derivatives.

        Raises
        ------
        ImportError : matplotlib is not installed
        """
        from fastcore.autodiff.drawing import draw

        values = self.evaluate(**inputs) if inputs else {}
        check.numbers_to_draw(values)
        adjoints, partials = (self.adjoints(**inputs), self.partials(**inputs)) if inputs else ({}, {})
        draw(Path(file), self, values, adjoints, partials)

    def __str__(self) -> str:
        rows = [(node.name, node.expression or "argument", node.operation) for node in self.nodes]
        rows = [("node", "is", "operation"), *rows]
        first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(f"{name:{first}}  {what:{second}}  {operation}" for name, what, operation in rows)

    def __repr__(self) -> str:
        return f"<Graph of {self.output}: {len(self.nodes)} nodes>"


def graph(fn: Callable[..., Any]) -> Graph:
    """The expression graph of a function.

    Parameters
    ----------
    fn : as in `value_and_grad`. Its parameters without a default are the arguments.

    Returns
    -------
    Graph. Nodes are named after the function's local variables at its return, the output after the function, and what
    has no name v1, v2 and so on.

    Raises
    ------
    TypeError : as `value_and_grad`, or fn takes a variable number of arguments
    ValueError : fn has no parameter without a default

    Examples
    --------
    >>> import numpy as np
    >>> from fastcore.autodiff import graph
    >>> def F(x, y):
    ...     S = x * y
    ...     return np.cos(S) / (x + y)
    >>> print(graph(F))
    node  is        operation
    x     argument  input
    y     argument  input
    S     x * y     multiply
    v1    cos(S)    cos
    v2    x + y     add
    F     v1 / v2   divide
    """
    check.is_callable(fn)
    form = Form(fn, len(_arguments(fn)), ())
    check.places_of_arguments(None, len(form.names))
    variables: dict[str, Any] = {}
    traced = Trace(lambda *nodes: _watched(fn, nodes, variables), form)
    return Graph(traced, _names(traced, variables, name_of(fn)))


def _arguments(fn: Callable[..., Any]) -> list[str]:
    kinds = inspect.Parameter
    parameters = inspect.signature(fn).parameters.values()
    if any(each.kind is kinds.VAR_POSITIONAL for each in parameters):
        check.refuse_variable_arguments()
    by_place = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in by_place and each.default is kinds.empty]


def _watched(fn: Callable[..., Any], nodes: Sequence[Node], variables: dict[str, Any]) -> Any:
    """Call it, and keep its local variables as they are when it returns."""
    called = inspect.unwrap(fn)
    code = getattr(called, "__code__", None) or getattr(type(called).__call__, "__code__", None)

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            variables.update(frame.f_locals)

    previous = sys.getprofile()
    sys.setprofile(watch)
    try:
        return fn(*nodes)
    finally:
        sys.setprofile(previous)


def _names(traced: Trace, variables: Mapping[str, Any], function: str) -> dict[int, str]:
    names = {node.index: str(node.value) for node in traced.inputs}
    taken = set(names.values())
    for name, value in variables.items():
        # An argument that the function binds anew keeps its name, and the new value gets another.
        if isinstance(value, Node) and value.tape is traced.tape and value.index not in names and name not in taken:
            names[value.index] = name
            taken.add(name)
    if function.isidentifier() and function not in taken:
        names.setdefault(traced.result.index, function)
    taken, number = set(names.values()), 0
    used = {node.index for node in reachable([traced.result])}
    for node in traced.tape.nodes:
        if node.index in names or node.index not in used or node.is_constant:
            continue
        number += 1
        while f"v{number}" in taken:
            number += 1
        names[node.index] = f"v{number}"
    return names


def _as_number(node: Node) -> Node:
    return apply("where", node, 1.0, 0.0) if node.is_boolean else node
