"""Python's operators on vectors, with scalars broadcast.

Typing templates and lowerings instead of @overload: an overload compiles a function for each pair of types, these
emit one instruction.
"""

import operator

from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from fastcore._core.simd.types import Vector, as_vector, common_vector

# Numba's fastmath pass adds the function's flags to each float instruction that has none. `arcp` means nothing to
# fadd, fsub, fmul and fcmp, nor `nsz` alone to fdiv: they keep `reassoc` away, which folds (x + 2**23) - 2**23 to x.
EXACT = ("arcp",)
EXACT_DIV = ("nsz",)

_ARITHMETIC = {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
    operator.truediv: ("fdiv", None),
    operator.and_: (None, "and_"),
    operator.or_: (None, "or_"),
    operator.xor: (None, "xor"),
    operator.lshift: (None, "shl"),
    operator.rshift: (None, "ashr"),
}
_IN_PLACE = {
    operator.add: operator.iadd,
    operator.sub: operator.isub,
    operator.mul: operator.imul,
    operator.truediv: operator.itruediv,
    operator.and_: operator.iand,
    operator.or_: operator.ior,
    operator.xor: operator.ixor,
    operator.lshift: operator.ilshift,
    operator.rshift: operator.irshift,
}
_MASK_OPERATORS = (operator.and_, operator.or_, operator.xor)
_COMPARISONS = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}


def compare(builder, relation, vector, left, right):
    """Emit a comparison: false for NaN, except that `!=` is true."""
    if vector.is_float:
        emit = builder.fcmp_unordered if relation == "!=" else builder.fcmp_ordered
        return emit(relation, left, right, flags=EXACT)
    emit = builder.icmp_signed if vector.is_signed else builder.icmp_unsigned
    return emit(relation, left, right)


def arithmetic(builder, name, left, right):
    """Emit one arithmetic instruction that the fastmath pass leaves alone."""
    if name[0] != "f":
        return getattr(builder, name)(left, right)
    return getattr(builder, name)(left, right, flags=EXACT_DIV if name == "fdiv" else EXACT)


def _binary_signature(args, result):
    vector = common_vector(*args)
    if vector is None:
        return None
    return signature(result(vector), *(types.unliteral(arg) for arg in args))


def _register(function, template, implementation):
    infer_global(function)(template)
    for left, right in (
        (Vector, Vector),
        (Vector, types.Number),
        (types.Number, Vector),
        (Vector, types.Boolean),
        (types.Boolean, Vector),
    ):
        lower_builtin(function, left, right)(implementation)


def _register_arithmetic(function, float_name, int_name):
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) != 2 or kws:
                return None
            vector = common_vector(*args)
            if vector is None or (vector.is_mask and function not in _MASK_OPERATORS):
                return None
            if (float_name if vector.is_float else int_name) is None:
                return None
            return _binary_signature(args, lambda vector: vector)

    def implementation(context, builder, sig, args):
        vector = sig.return_type
        left, right = (as_vector(context, builder, arg, kind, vector) for arg, kind in zip(args, sig.args, strict=True))
        name = float_name if vector.is_float else int_name
        if name == "ashr" and not vector.is_signed:
            name = "lshr"
        return arithmetic(builder, name, left, right)

    _register(function, Template, implementation)
    _register(_IN_PLACE[function], type("InPlaceTemplate", (Template,), {}), implementation)


def _register_comparison(function, relation):
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) != 2 or kws:
                return None
            return _binary_signature(args, lambda vector: vector.replace(types.boolean))

    def implementation(context, builder, sig, args):
        vector = common_vector(*sig.args)
        left, right = (as_vector(context, builder, arg, kind, vector) for arg, kind in zip(args, sig.args, strict=True))
        return compare(builder, relation, vector, left, right)

    _register(function, Template, implementation)


class _Unary(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 1 and not kws and isinstance(args[0], Vector) and self.accepts(args[0]):
            return signature(args[0], args[0])
        return None


@infer_global(operator.neg)
class _Negative(_Unary):
    def accepts(self, vector):
        return not vector.is_mask


@infer_global(operator.invert)
class _Invert(_Unary):
    def accepts(self, vector):
        return not vector.is_float


@lower_builtin(operator.neg, Vector)
def _negative(context, builder, sig, args):
    return builder.fneg(args[0]) if sig.return_type.is_float else builder.neg(args[0])


@lower_builtin(operator.invert, Vector)
def _invert(context, builder, sig, args):
    return builder.not_(args[0])


for _function, _names in _ARITHMETIC.items():
    _register_arithmetic(_function, *_names)
for _function, _relation in _COMPARISONS.items():
    _register_comparison(_function, _relation)
