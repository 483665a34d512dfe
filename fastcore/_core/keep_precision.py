"""Compiling scalar functions whose arithmetic stays in one type: float32 in, float32 throughout.

Numba makes a float64 of a float32 and an int64 or a Python constant: half the lanes of a vector, with conversions to
and fro, in which ALiBi by hand, ``score - 0.25 * abs(i - j)``, takes 1.7 times as long. Here + - * / ** of numbers, one
of which is a float, are computed in the type of the first argument.

It hooks into Numba's pipeline of passes: :mod:`fastcore._core.jit` imports this in a ``try`` and does without.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir_utils import build_definitions, mk_unique_var
from numba.core.untyped_passes import IRProcessing
from numba.extending import overload

_NUMBERS = (types.Integer, types.Boolean, types.Float)
_OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}, "forceinline": True}


def _in_type(operation: Callable[[Any, Any], Any], kind: Any) -> Callable[[Any, Any], Any]:
    """A function for compiled code: ``operation``, in ``kind`` where it gives a float."""

    def function(x: Any, y: Any) -> Any:
        return operation(x, y)

    def typed(x, y):  # Numba compares names with those of the lambdas
        real = isinstance(x, _NUMBERS) and isinstance(y, _NUMBERS)
        if real and (operation is operator.truediv or isinstance(x, types.Float) or isinstance(y, types.Float)):
            return lambda x, y: operation(kind(x), kind(y))
        return lambda x, y: operation(x, y)

    overload(function, jit_options=_OPTIONS)(typed)
    return function


_OPERATIONS = (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow)
_FUNCTIONS = {
    kind: {operation: _in_type(operation, kind) for operation in _OPERATIONS} for kind in (types.float32, types.float64)
}


def _operation_of(statement: Any, func_ir: ir.FunctionIR) -> Any:
    """The arithmetic operation that a statement assigns, or None. x ** 2 stays: Numba multiplies."""
    expression = getattr(statement, "value", None)
    if not isinstance(statement, ir.Assign) or not isinstance(expression, ir.Expr):
        return None
    if expression.op not in ("binop", "inplace_binop"):
        return None
    operation = expression.fn if expression.op == "binop" else expression.immutable_fn
    if operation is operator.pow and isinstance(func_ir._definitions[expression.rhs.name][0], ir.Const):
        return None
    return operation


@register_pass(mutates_CFG=False, analysis_only=False)
class KeepPrecision(FunctionPass):
    """Arithmetic becomes calls of the functions above."""

    _name = "fastcore_keep_precision"

    def __init__(self) -> None:  # abstract in Numba
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        functions = _FUNCTIONS[state.args[0]]
        for block in state.func_ir.blocks.values():
            body = []
            for statement in block.body:
                operation = _operation_of(statement, state.func_ir)
                if operation in functions:
                    expression, loc = statement.value, statement.loc
                    function = ir.Var(block.scope, mk_unique_var("$keep_precision"), loc)
                    body.append(ir.Assign(ir.Global(operation.__name__, functions[operation], loc), function, loc))
                    call = ir.Expr.call(function, [expression.lhs, expression.rhs], (), loc)
                    statement = ir.Assign(call, statement.target, loc)
                body.append(statement)
            block.body = body
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


class KeepPrecisionCompiler(CompilerBase):
    """Numba's pipeline with that pass."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(KeepPrecision, IRProcessing)
        passes.finalize()
        return [passes]
