"""Traced values: what a function computes, recorded as a graph in which equal expressions are one node."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from fastcore._core import validate_autodiff as check

__all__ = ["BOOLEAN", "Node", "Tape", "apply", "reachable"]

COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}
LOGICAL = {"logical_and", "logical_or", "logical_xor", "logical_not"}
BOOLEAN = COMPARISONS | LOGICAL
# A product's or sum's operands come in any order: x * y and y * x are one node, and round alike.
_COMMUTATIVE = {"add", "multiply", "equal", "not_equal", "logical_and", "logical_or", "logical_xor"}
# Powers up to this are products, which are off by at most a rounding each.
MOST_FACTORS = 16
# What arrays have and elements have not.
_OF_ARRAYS = {name for name in dir(np.ndarray) if not name.startswith("_")}
_ELEMENTWISE = {"clip", "conj", "conjugate"}


class Tape:
    """The nodes of one trace, each operation on the same operands once."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[tuple[Any, ...], Node] = {}

    def input(self, name: str) -> Node:
        """A new argument."""
        return self._add("input", (), name)

    def constant(self, value: float) -> Node:
        """A number; 0.0 and -0.0 are two."""
        key = ("constant", struct.pack("d", value))
        if key not in self._known:
            self._known[key] = self._add("constant", (), value)
        return self._known[key]

    def node(self, operation: str, operands: tuple[Node, ...]) -> Node:
        """An operation on nodes of this tape, or what it is known to be."""
        simpler = _simplified(self, operation, operands)
        if simpler is not None:
            return simpler
        order = sorted(each.index for each in operands) if operation in _COMMUTATIVE else [x.index for x in operands]
        key = (operation, *order)
        if key not in self._known:
            self._known[key] = self._add(operation, operands, None)
        return self._known[key]

    def substituted(self, nodes: Sequence[Node], inputs: Sequence[Node], values: Sequence[Any]) -> list[Node]:
        """Nodes with values, nodes or numbers, in the place of inputs."""
        new = {node.index: _as_node(self, value) for node, value in zip(inputs, values)}
        for node in reachable(nodes):
            if any(each.index in new for each in node.operands):
                new[node.index] = self.node(node.operation, tuple(new.get(x.index, x) for x in node.operands))
        return [new.get(node.index, node) for node in nodes]

    def _add(self, operation: str, operands: tuple[Node, ...], value: Any) -> Node:
        node = Node(self, len(self.nodes), operation, operands, value)
        self.nodes.append(node)
        return node


def reachable(outputs: Sequence[Node]) -> list[Node]:
    """The nodes that outputs of one tape are computed from, operands first."""
    tape = outputs[0].tape
    used = {node.index for node in outputs}
    for index in range(max(used), -1, -1):
        if index in used:
            used.update(each.index for each in tape.nodes[index].operands)
    return [tape.nodes[index] for index in sorted(used)]


def _simplified(tape: Tape, operation: str, operands: tuple[Node, ...]) -> Node | None:
    """An older node with the same value for any operands, NaN, infinities and the sign of zero included, or None."""
    if operation not in BOOLEAN and operation != "where" and all(each.is_constant for each in operands):
        return _folded(tape, operation, operands)
    first, second = operands[0], operands[1] if len(operands) > 1 else None
    if operation == "negative" and first.operation == "negative":
        return first.operands[0]
    if operation == "multiply" and second is not None:
        for one, other in ((first, second), (second, first)):
            if one.value == 1.0 and one.is_constant:
                return other
            if one.value == -1.0 and one.is_constant:
                return -other
            if one.operation == "negative":
                return -(one.operands[0] * other)
    if operation in ("divide", "power") and second is not None and second.is_constant and second.value == 1.0:
        return first
    if operation == "add" and second is not None:
        for one, other in ((first, second), (second, first)):
            if one.is_zero and np.signbit(one.value):  # x + 0.0 is 0.0 for x = -0.0, so that is kept
                return other
            if one.operation == "negative":
                return other - one.operands[0]
    if operation == "subtract" and second is not None:
        if second.is_zero and not np.signbit(second.value):
            return first
        if second.operation == "negative":
            return first + second.operands[0]
    if operation == "where" and operands[1] is operands[2]:
        return operands[1]
    return None


def _folded(tape: Tape, operation: str, operands: tuple[Node, ...]) -> Node | None:
    function = getattr(np, operation, None)
    if function is None:
        return None
    with np.errstate(all="ignore"):
        return tape.constant(float(function(*(each.value for each in operands))))


class Node:
    """A value that a traced function computes: an argument, a constant, or an operation on other nodes.

    Python's operators and NumPy's elementwise functions make new nodes. Whatever would need the elements themselves
    raises TypeError.
    """

    __slots__ = ("index", "operands", "operation", "tape", "value")

    def __init__(self, tape: Tape, index: int, operation: str, operands: tuple[Node, ...], value: Any) -> None:
        self.tape, self.index = tape, index
        self.operation, self.operands, self.value = operation, operands, value

    @property
    def is_constant(self) -> bool:
        return self.operation == "constant"

    @property
    def is_zero(self) -> bool:
        return self.operation == "constant" and bool(self.value == 0.0)

    @property
    def is_boolean(self) -> bool:
        return self.operation in BOOLEAN

    def __repr__(self) -> str:
        if self.operation in ("input", "constant"):
            return f"<traced {self.operation} {self.value}>"
        return f"<traced {self.operation}>"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        from fastcore.autodiff.functions import call_ufunc

        return call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from fastcore.autodiff.functions import call_function

        return call_function(function, args, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        check.refuse_number("an array")

    def __bool__(self) -> NoReturn:
        check.refuse_truth()

    def __float__(self) -> NoReturn:
        check.refuse_number("a float")

    def __int__(self) -> NoReturn:
        check.refuse_number("an int")

    def __index__(self) -> NoReturn:
        check.refuse_number("an index")

    def __complex__(self) -> NoReturn:
        check.refuse_number("complex")

    def __len__(self) -> NoReturn:
        check.refuse_array("len()")

    def __iter__(self) -> NoReturn:
        check.refuse_array("iteration")

    def __contains__(self, item: Any) -> NoReturn:
        check.refuse_array("'in'")

    def __getitem__(self, key: Any) -> NoReturn:
        check.refuse_array("indexing")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        check.refuse_array("assignment to elements")

    def __matmul__(self, other: Any) -> NoReturn:
        check.refuse_array("a matrix product")

    __rmatmul__ = __matmul__

    def __mod__(self, other: Any) -> Node:
        return np.remainder(self, other)

    def __rmod__(self, other: Any) -> Node:
        return np.remainder(other, self)

    def __floordiv__(self, other: Any) -> Node:
        return np.floor_divide(self, other)

    def __round__(self, digits: Any = None) -> NoReturn:
        check.refuse_array("round()", "Use np.rint, whose derivative is 0.")

    def __divmod__(self, other: Any) -> NoReturn:
        check.refuse_array("divmod()", "Use np.floor(x / y), whose derivative is 0.")

    __rdivmod__ = __divmod__

    def __format__(self, form: str) -> str:
        return format(repr(self), form if not form or form[-1] == "s" else "")

    def __rfloordiv__(self, other: Any) -> Node:
        return np.floor_divide(other, self)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_ARRAYS:
            if name in _ELEMENTWISE:
                check.refuse_array(f".{name}", f"Use np.{name}.")
            check.refuse_array(f".{name}")
        raise AttributeError(f"a traced value has no attribute {name!r}")

    def __add__(self, other: Any) -> Node:
        return apply("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return apply("add", other, self)

    def __sub__(self, other: Any) -> Node:
        return apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Node:
        return apply("subtract", other, self)

    def __mul__(self, other: Any) -> Node:
        return apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Node:
        return apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Node:
        return apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return apply("divide", other, self)

    def __pow__(self, other: Any) -> Node:
        # As NumPy's operator, which differs from np.power here for -0.0 and -inf.
        if not isinstance(other, Node) and np.ndim(other) == 0 and other == 0.5:
            return apply("sqrt", self)
        return apply("power", self, other)

    def __rpow__(self, other: Any) -> Node:
        return apply("power", other, self)

    def __neg__(self) -> Node:
        return apply("negative", self)

    def __pos__(self) -> Node:
        return self

    def __abs__(self) -> Node:
        return apply("absolute", self)

    def __lt__(self, other: Any) -> Node:
        return apply("less", self, other)

    def __le__(self, other: Any) -> Node:
        return apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Node:
        return apply("greater", self, other)

    def __ge__(self, other: Any) -> Node:
        return apply("greater_equal", self, other)

    def __eq__(self, other: Any) -> Node:  # type: ignore[override]
        return apply("equal", self, other)

    def __ne__(self, other: Any) -> Node:  # type: ignore[override]
        return apply("not_equal", self, other)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Node:
        return apply("logical_and", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Node:
        return apply("logical_or", self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Node:
        return apply("logical_xor", self, other)

    __rxor__ = __xor__

    def __invert__(self) -> Node:
        return apply("logical_not", self)


def is_whole_exponent(x: Any) -> bool:
    """Whether a power is computed by products: a constant integer that is not large."""
    value = x.value if isinstance(x, Node) and x.is_constant else x
    if not isinstance(value, int | float | np.integer | np.floating):
        return False
    return abs(float(value)) <= MOST_FACTORS and float(value).is_integer()


def apply(operation: str, *operands: Any) -> Node:
    """An operation on nodes of one tape and on numbers, which become constants."""
    tape = next(each.tape for each in operands if isinstance(each, Node))
    nodes = tuple(_as_node(tape, each) for each in operands)
    if operation in LOGICAL:
        expects = [True] * len(nodes)
    else:
        expects = [operation == "where", False, False]
    for node, boolean in zip(nodes, expects, strict=False):
        if node.is_boolean != boolean:
            kinds = ("numbers", "conditions")
            check.refuse_kind_of_operand(operation, kinds[boolean], kinds[not boolean])
    return tape.node(operation, nodes)


def _as_node(tape: Tape, x: Any) -> Node:
    if isinstance(x, Node):
        if x.tape is not tape:
            check.refuse_other_trace()
        return x
    if isinstance(x, np.ndarray) and x.ndim == 0:
        x = x[()]
    if isinstance(x, bool | np.bool_) or not isinstance(x, int | float | np.integer | np.floating):
        check.refuse_constant(x)
    return tape.constant(check.number(x, "a number in the function"))
