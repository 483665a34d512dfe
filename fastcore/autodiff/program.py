"""Nodes as the program of a kernel: only what the outputs need, whole powers as products, sine and cosine together."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from fastcore.autodiff.kernels.evaluate import Evaluation
from fastcore.autodiff.node import Node, is_whole_exponent, reachable

__all__ = ["Compiled", "assemble"]

# Numbers that a program spells out; others come with the call, so that another number is not another kernel.
_LITERALS = {0.0, 0.5, 1.0, 2.0, -1.0}
# Nanoseconds an element, float32; float64 takes three times as long. What is not here is an instruction or two.
_NS = {"sqrt": 0.1, "divide": 0.1, "exp": 0.2, "exp2": 0.15, "log": 0.4, "tanh": 0.3, "sigmoid": 0.3, "power": 2.4}
_NS_OTHER_FUNCTIONS, _NS_INSTRUCTION, _NS_OPERAND = 0.6, 0.02, 0.1
_INSTRUCTIONS = {
    "add", "subtract", "multiply", "negative", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "where", "maximum", "minimum", "absolute", "sign",
}  # fmt: skip


class Compiled:
    """A program with its numbers.

    Attributes
    ----------
    text : what `kernels.evaluate` takes
    constants : float64, the numbers it does not spell out
    outputs : how many results it has
    """

    def __init__(self, text: str, constants: Sequence[float], outputs: int, nanoseconds: float) -> None:
        self.text, self.outputs, self._nanoseconds = text, outputs, nanoseconds
        self.constants = np.array(constants, np.float64)
        self._kernels: dict[np.dtype, Evaluation] = {}

    def cost(self, dtype: np.dtype) -> float:
        """Estimate of an element, in nanoseconds of one thread."""
        return self._nanoseconds * (1.0 if dtype.itemsize == 4 else 3.0)

    def kernel(self, dtype: np.dtype) -> Evaluation:
        """What applies it to arrays of float32 or float64."""
        found = self._kernels.get(dtype)
        if found is None:
            found = self._kernels[dtype] = _evaluation(self.text, dtype)
        return found


@functools.lru_cache(512)
def _evaluation(text: str, dtype: np.dtype) -> Evaluation:
    """One for all functions that compute the same."""
    return Evaluation(text, dtype)


class _Assembler:
    """Lines of a program, each expression once; values are numbered from ``first`` on."""

    def __init__(self, first: int) -> None:
        self.lines: list[str] = []
        self.nanoseconds = 0.0
        self._next = first
        self._known: dict[tuple[str, ...], str] = {}

    def value(self, *words: str) -> str:
        """The word for an operation's result."""
        if words not in self._known:
            self._known[words] = self._line(words, 1)
        return self._known[words]

    def sine_and_cosine(self, operand: str) -> None:
        """Compute both at once, to be found when either is asked for."""
        if ("sin", operand) not in self._known:
            first = self._line(("sincos", operand), 2)
            self._known["sin", operand], self._known["cos", operand] = first, str(int(first) + 1)

    def power(self, base: str, exponent: int) -> str:
        """A whole power by squaring; shares squares with other powers of the base."""
        if exponent < 0:
            return self.value("divide", "1.0", self.power(base, -exponent))
        if exponent == 0:
            return "1.0"
        if exponent == 1:
            return base
        half = self.power(base, exponent // 2)
        square = self.value("multiply", half, half)
        return square if exponent % 2 == 0 else self.value("multiply", square, base)

    def _line(self, words: tuple[str, ...], results: int) -> str:
        self.lines.append(" ".join(words))
        name = words[0]
        self.nanoseconds += _NS_INSTRUCTION if name in _INSTRUCTIONS else _NS.get(name, _NS_OTHER_FUNCTIONS)
        result = str(self._next)
        self._next += results
        return result


def _is_literal(value: float) -> bool:
    return value in _LITERALS and not (value == 0.0 and math.copysign(1.0, value) < 0.0)


def assemble(inputs: Sequence[Node], outputs: Sequence[Node]) -> Compiled:
    """The program that computes ``outputs`` from ``inputs``, which are all inputs of the tape."""
    nodes = reachable(outputs)
    numbers = _used_as_numbers(nodes, outputs)
    constants = [x for x in nodes if x.is_constant and not _is_literal(x.value) and x.index in numbers]
    words = {node.index: str(number) for number, node in enumerate([*inputs, *constants])}
    words |= {x.index: repr(x.value) for x in nodes if x.is_constant and _is_literal(x.value)}
    sines, cosines = ({x.operands[0].index for x in nodes if x.operation == name} for name in ("sin", "cos"))
    with_both = sines & cosines
    assembler = _Assembler(len(inputs) + len(constants))
    for node in nodes:
        if node.index in words or node.operation == "constant":
            continue
        exponent = _whole_exponent(node)
        if exponent is not None:
            words[node.index] = assembler.power(words[node.operands[0].index], exponent)
            continue
        operands = [words[each.index] for each in node.operands]
        if node.operation in ("sin", "cos") and node.operands[0].index in with_both:
            assembler.sine_and_cosine(operands[0])
        words[node.index] = assembler.value(node.operation, *operands)
    results = [words[node.index] for node in outputs]
    text = f"{len(inputs)} {len(constants)}|{';'.join(assembler.lines)}|{' '.join(results)}"
    cost = assembler.nanoseconds + _NS_OPERAND * (len(inputs) + len(outputs))
    return Compiled(text, [node.value for node in constants], len(outputs), cost)


def _whole_exponent(node: Node) -> int | None:
    """The exponent of a power that is computed by products, or None."""
    if node.operation != "power" or not node.operands[1].is_constant:
        return None
    return int(node.operands[1].value) if is_whole_exponent(node.operands[1]) else None


def _used_as_numbers(nodes: Sequence[Node], outputs: Sequence[Node]) -> set[int]:
    """What is a result, or an operand other than the exponent of a power that is computed by products."""
    used = {node.index for node in outputs}
    for node in nodes:
        operands = node.operands if _whole_exponent(node) is None else node.operands[:1]
        used.update(each.index for each in operands)
    return used
