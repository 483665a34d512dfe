"""Derivatives as nodes: one rule for each operation, and the reverse sweep over a graph.

An adjoint is a value and the condition under which the node counts at all: `where` and its like pass the derivative on
to the branch that is taken and nothing to the other, so that 0 times an infinite or undefined derivative of the branch
that is not taken cannot spoil the sum (as it does where a 0 is sent down instead).

Source: Griewank and Walther 2008, "Evaluating Derivatives", section 3.2, adjoints of an evaluation trace.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastcore.autodiff.node import Node, apply

__all__ = ["adjoints", "own_derivatives"]

_Rule = Callable[..., Sequence[Node]]


class _Share(NamedTuple):
    """What an operand gets of an adjoint; where ``condition`` is a node, only where that is true."""

    value: Node
    condition: Node | None = None


def _both(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None or a is b:
        return a if b is None else b
    return a & b


def _either(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return None
    if a is b:
        return a
    complementary = (a.operation == "logical_not" and a.operands[0] is b) or (
        b.operation == "logical_not" and b.operands[0] is a
    )
    return None if complementary else a | b


def _value(share: _Share) -> Node:
    return share.value if share.condition is None else apply("where", share.condition, share.value, 0.0)


def _sum(a: _Share, b: _Share) -> _Share:
    if a.condition is b.condition:
        return _Share(a.value + b.value, a.condition)
    return _Share(_value(a) + _value(b), _either(a.condition, b.condition))


_f = apply


def _divide(g: Node, out: Node, a: Node, b: Node) -> Sequence[Node]:
    if a.is_constant and a.value == 1.0:  # 1 / b: its own square, without another division
        return g, -(g * out * out)
    quotient = g / b
    return quotient, -(quotient * out)


def _power(g: Node, out: Node, base: Node, exponent: Node) -> Sequence[Node | None]:
    """At a base of 0 the derivative by the exponent is 0, and by the base 0 where the exponent is 0, too."""
    if exponent.is_constant:
        n = exponent.value
        to_base = None if n == 0.0 else g * (n * _f("power", base, n - 1.0))
        return to_base, None
    to_base = None
    if not base.is_constant:
        slope = exponent * _f("power", base, exponent - 1.0)
        to_base = g * _f("where", exponent.__eq__(0.0) & base.__eq__(0.0), 0.0, slope)
    if base.is_constant:
        logarithm = _f("log", base.tape.constant(1.0) if base.is_zero else base)
    else:
        logarithm = _f("log", _f("where", base.__eq__(0.0), 1.0, base))
    return to_base, g * (out * logarithm)


def _arctan2(g: Node, out: Node, y: Node, x: Node) -> Sequence[Node]:
    r = _f("hypot", x, y)  # squares would leave float32's range at 1e-20 and 1e20
    return g * (x / r / r), -(g * (y / r / r))


def _extremum(g: Node, a: Node, b: Node, wins: str) -> Sequence[_Share]:
    """Half each where they are equal, as JAX has it."""
    half = _f("where", a.__eq__(b), 0.5, 1.0)
    return _Share(g * half, _f(wins, a, b)), _Share(g * half, _f(wins, b, a))


def _where(g: Node, condition: Node) -> Sequence[_Share | None]:
    return None, _Share(g, condition), _Share(g, ~condition)


_LN2, _LN10 = math.log(2.0), math.log(10.0)
_RULES: dict[str, Callable[..., Sequence[Node | _Share | None]]] = {
    "add": lambda g, out, a, b: (g, g),
    "subtract": lambda g, out, a, b: (g, -g),
    "multiply": lambda g, out, a, b: (g * b, g * a),
    "divide": _divide,
    "negative": lambda g, out, a: (-g,),
    "power": _power,
    "sqrt": lambda g, out, a: (g * 0.5 / out,),
    "cbrt": lambda g, out, a: (g / (3.0 * (out * out)),),
    "exp": lambda g, out, a: (g * out,),
    "exp2": lambda g, out, a: (g * (out * _LN2),),
    "expm1": lambda g, out, a: (g * (out + 1.0),),
    "log": lambda g, out, a: (g / a,),
    "log2": lambda g, out, a: (g / (a * _LN2),),
    "log10": lambda g, out, a: (g / (a * _LN10),),
    "log1p": lambda g, out, a: (g / (a + 1.0),),
    "sin": lambda g, out, a: (g * _f("cos", a),),
    "cos": lambda g, out, a: (-(g * _f("sin", a)),),
    "tan": lambda g, out, a: (g * (out * out + 1.0),),
    "arcsin": lambda g, out, a: (g / _f("sqrt", (1.0 - a) * (1.0 + a)),),
    "arccos": lambda g, out, a: (-(g / _f("sqrt", (1.0 - a) * (1.0 + a))),),
    "arctan": lambda g, out, a: (g / (a * a + 1.0),),
    "sinh": lambda g, out, a: (g * _f("cosh", a),),
    "cosh": lambda g, out, a: (g * _f("sinh", a),),
    "tanh": lambda g, out, a: (g * ((1.0 - out) * (1.0 + out)),),
    "arcsinh": lambda g, out, a: (g / _f("hypot", a, 1.0),),
    "arccosh": lambda g, out, a: (g / _f("sqrt", (a - 1.0) * (a + 1.0)),),
    "arctanh": lambda g, out, a: (g / ((1.0 - a) * (1.0 + a)),),
    "sigmoid": lambda g, out, a: (g * (out * (1.0 - out)),),
    "erf": lambda g, out, a: (g * (_f("exp", -(a * a)) * (2.0 / math.sqrt(math.pi))),),
    "absolute": lambda g, out, a: (g * _f("sign", a),),
    "hypot": lambda g, out, a, b: (g * (a / out), g * (b / out)),
    "arctan2": _arctan2,
    "maximum": lambda g, out, a, b: _extremum(g, a, b, "greater_equal"),
    "minimum": lambda g, out, a, b: _extremum(g, a, b, "less_equal"),
    "where": lambda g, out, condition, a, b: _where(g, condition),
}
# Steps: their derivative is 0 wherever there is one.
_FLAT = {"sign", "floor", "ceil", "trunc", "rint"}


def adjoints(output: Node, wanted: Sequence[Node]) -> list[Node | None]:
    """d output / d each wanted node, as nodes of the same tape; None where output does not depend on it."""
    needed = _dependent(output, wanted)
    shares: dict[int, _Share] = {output.index: _Share(output.tape.constant(1.0))}
    # Operands are older than their node, so going back through the tape meets each node after all that use it.
    for index in range(output.index, -1, -1):
        node = output.tape.nodes[index]
        if index not in shares or not any(each.index in needed for each in node.operands):
            continue
        for operand, share in zip(node.operands, _shares(node, shares[index])):
            if share is not None and operand.index in needed:
                known = shares.get(operand.index)
                shares[operand.index] = share if known is None else _sum(known, share)
    return [_value(shares[node.index]) if node.index in shares else None for node in wanted]


def own_derivatives(node: Node) -> list[Node | None]:
    """d node / d operand for each operand, the others fixed; None for a condition."""
    if node.operation in _FLAT:
        return [node.tape.constant(0.0)]
    return [None if each is None else _value(each) for each in _shares(node, _Share(node.tape.constant(1.0)))]


def _shares(node: Node, adjoint: _Share) -> list[_Share | None]:
    if node.is_boolean or node.operation in _FLAT:  # a 0 sent down would meet the infinite slopes of what is below
        return [None] * len(node.operands)
    shares: list[_Share | None] = []
    for each in _RULES[node.operation](adjoint.value, node, *node.operands):
        if isinstance(each, Node):
            each = _Share(each)
        shares.append(None if each is None else _Share(each.value, _both(adjoint.condition, each.condition)))
    return shares


def _dependent(output: Node, wanted: Sequence[Node]) -> set[int]:
    """Numbers of the nodes up to ``output`` that depend on a wanted node, themselves included."""
    found = {node.index for node in wanted}
    for node in output.tape.nodes[: output.index + 1]:
        if any(each.index in found for each in node.operands):
            found.add(node.index)
    return found
