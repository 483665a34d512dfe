"""What kernels need so that one body serves a number and a SIMD vector of numbers.

`simd.select`, `simd.fma` and bit casts take vectors, Python's conditional and abs() take numbers; these take both.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd.types import Vector, as_vector, call, common_vector, suffix, vector_type

__all__ = ["absolute", "choose", "float_bits", "float_of_bits", "fma", "like"]


def _llvm_type(context, kind):
    return vector_type(kind) if isinstance(kind, Vector) else context.get_value_type(kind)


def _suffix(llvm):
    return suffix(llvm) if isinstance(llvm, ir.VectorType) else {"float": "f32", "double": "f64"}[str(llvm)]


def _common(*arguments):
    """The one type of float arguments: the vector among them, or the number's."""
    if any(isinstance(each, Vector) for each in arguments):
        return common_vector(*arguments)
    kinds = {types.unliteral(each) for each in arguments}
    floats = {each for each in kinds if isinstance(each, types.Float)}
    is_one = len(floats) == 1 and all(isinstance(each, types.Integer | types.Float) for each in kinds)
    return floats.pop() if is_one else None


def _cast(context, builder, value, source, target):
    if isinstance(target, Vector):
        return as_vector(context, builder, value, source, target)
    return context.cast(builder, value, source, target)


def _fma(typingctx, a, b, c):
    """Return llvm.fma."""
    kind = _common(a, b, c)
    if kind is None or (isinstance(kind, Vector) and not kind.is_float):
        return None
    sig = kind(*(each if isinstance(each, Vector) else types.unliteral(each) for each in (a, b, c)))

    def codegen(context, builder, sig, args):
        values = [_cast(context, builder, *pair, sig.return_type) for pair in zip(args, sig.args, strict=True)]
        llvm = values[0].type
        return call(builder, f"llvm.fma.{_suffix(llvm)}", llvm, values)

    return sig, codegen


def _absolute(typingctx, x):
    """Return |x|."""
    kind = _common(x)
    if kind is None or (isinstance(kind, Vector) and not kind.is_float):
        return None

    def codegen(context, builder, sig, args):
        return call(builder, f"llvm.fabs.{_suffix(args[0].type)}", args[0].type, [args[0]])

    return kind(kind), codegen


def _choose(typingctx, condition, yes, no):
    """Return yes where the condition holds, else no; both are computed."""
    if isinstance(condition, Vector):
        kind = common_vector(yes, no)
        if kind is None or condition != kind.replace(types.boolean):
            return None
    else:
        kind = typingctx.unify_types(types.unliteral(yes), types.unliteral(no))
        if kind is None or condition != types.boolean:
            return None
    sig = kind(condition, *(each if isinstance(each, Vector) else types.unliteral(each) for each in (yes, no)))

    def codegen(context, builder, sig, args):
        pairs = zip(args[1:], sig.args[1:], strict=True)
        return builder.select(args[0], *(_cast(context, builder, *pair, sig.return_type) for pair in pairs))

    return sig, codegen


def _like(typingctx, x, number):
    """Return a number as what x is: converted to its type, and in each lane where x is a vector."""
    kind = _common(x)
    if kind is None or isinstance(number, Vector):
        return None

    def codegen(context, builder, sig, args):
        return _cast(context, builder, args[1], sig.args[1], sig.return_type)

    return kind(kind, types.unliteral(number)), codegen


def _recast(source, element, result_element):
    """(signature, code generator) that reads the bits of 64-bit numbers as those of the other kind."""
    plain = source.dtype if isinstance(source, Vector) else types.unliteral(source)
    if plain != element:
        return None
    source, result = (source, source.replace(result_element)) if isinstance(source, Vector) else (plain, result_element)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], _llvm_type(context, sig.return_type))

    return result(source), codegen


def _float_bits(typingctx, x):
    """Return the bits of a float64 as an int64."""
    return _recast(x, types.float64, types.int64)


def _float_of_bits(typingctx, bits):
    """Return the float64 that has the bits of an int64."""
    return _recast(bits, types.int64, types.float64)


def _python_fma(a, b, c):
    numbers = [np.asarray(each, np.float64) for each in (a, b, c)]
    result = np.vectorize(_exact_fma, otypes=[np.float64])(*numbers)
    lanes = next((each for each in (a, b, c) if isinstance(each, np.ndarray)), None)
    return float(result) if lanes is None else result.astype(lanes.dtype).view(type(lanes))


def _exact_fma(a, b, c):
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    try:
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        return float(exact) if exact else a * b + c  # the sign of zero
    except OverflowError:
        return math.copysign(math.inf, exact)


def _python_choose(condition, yes, no):
    return simd.select(condition, yes, no) if isinstance(condition, np.ndarray) else (yes if condition else no)


def _python_like(x, number):
    return simd.broadcast(number, len(x), x.dtype) if isinstance(x, np.ndarray) else type(x)(number)


def _python_float_bits(x):
    return np.asanyarray(x, np.float64).view(np.int64)[()]


def _python_float_of_bits(bits):
    return np.asanyarray(bits, np.int64).view(np.float64)[()]


absolute: Any
choose: Any
_llvm_fma: Any
like: Any
float_bits: Any
float_of_bits: Any
if config.DISABLE_JIT:
    absolute, choose, _llvm_fma, like = abs, _python_choose, _python_fma, _python_like
    float_bits, float_of_bits = _python_float_bits, _python_float_of_bits
else:
    absolute, choose, _llvm_fma, like = (intrinsic(each) for each in (_absolute, _choose, _fma, _like))
    float_bits, float_of_bits = intrinsic(_float_bits), intrinsic(_float_of_bits)


# A kernel of its own, since the flags of a kernel go to calls that return numbers, and with `contract` LLVM makes two
# roundings of llvm.fma where the CPU has no FMA (tests/polynomial/exact_script.py).
@kernel(inline=True, fastmath=False)
def fma(a, b, c):
    """Return a * b + c rounded once, on every CPU: without FMA instructions libm computes it, many times slower."""
    return _llvm_fma(a, b, c)
