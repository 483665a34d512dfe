"""A vector that is being computed with while LLVM IR is built, so that the maths below reads as formulas."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastcore._core.simd import host
from fastcore._core.simd.lanes import emit_convert, emit_extremum, emit_fma, halve
from fastcore._core.simd.operators import arithmetic, compare
from fastcore._core.simd.types import Vector, as_vector, call, common_vector, suffix, vector_type

_UNSIGNED = {16: types.uint16, 32: types.uint32, 64: types.uint64}
_FLOAT = {32: types.float32, 64: types.float64}


class Value:
    """An LLVM vector with its builder. Numbers on the other side of an operator become constants."""

    def __init__(self, builder, llvm, vector):
        self.builder, self.llvm, self.vector = builder, llvm, vector

    def _of(self, llvm, vector=None):
        return Value(self.builder, llvm, vector or self.vector)

    def constant(self, number):
        if isinstance(number, Value):
            return number
        kind = vector_type(self.vector)
        return self._of(ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count))

    def _operate(self, float_name, int_name, other, reverse=False):
        sides = (self.llvm, self.constant(other).llvm)
        left, right = reversed(sides) if reverse else sides
        return self._of(arithmetic(self.builder, float_name if self.vector.is_float else int_name, left, right))

    def __add__(self, other):
        return self._operate("fadd", "add", other)

    def __radd__(self, other):
        return self._operate("fadd", "add", other, reverse=True)

    def __sub__(self, other):
        return self._operate("fsub", "sub", other)

    def __rsub__(self, other):
        return self._operate("fsub", "sub", other, reverse=True)

    def __mul__(self, other):
        return self._operate("fmul", "mul", other)

    def __truediv__(self, other):
        return self._operate("fdiv", None, other)

    def __rtruediv__(self, other):
        return self._operate("fdiv", None, other, reverse=True)

    def __and__(self, other):
        return self._operate(None, "and_", other)

    def __or__(self, other):
        return self._operate(None, "or_", other)

    def __xor__(self, other):
        return self._operate(None, "xor", other)

    def __lshift__(self, other):
        return self._operate(None, "shl", other)

    def __rshift__(self, other):
        return self._operate(None, "lshr", other)

    def __neg__(self):
        return self._of(self.builder.fneg(self.llvm))

    def _compare(self, relation, other):
        llvm = compare(self.builder, relation, self.vector, self.llvm, self.constant(other).llvm)
        return self._of(llvm, self.vector.replace(types.boolean))

    def __lt__(self, other):
        return self._compare("<", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def equals(self, other):
        return self._compare("==", other)

    def differs(self, other):
        return self._compare("!=", other)

    def choose(self, yes, no):
        """Return `yes` where this mask is set, else `no`; one of them may be a number."""
        like = yes if isinstance(yes, Value) else no
        return like._of(self.builder.select(self.llvm, like.constant(yes).llvm, like.constant(no).llvm))

    def at_least(self, low):
        """Return max(self, low), NaN kept."""
        return self._of(emit_extremum(self.builder, ">", self.vector, self.constant(low).llvm, self.llvm))

    def at_most(self, high):
        """Return min(self, high), NaN kept."""
        return self._of(emit_extremum(self.builder, "<", self.vector, self.constant(high).llvm, self.llvm))

    def by_llvm(self, name, *others):
        """Return the result of LLVM's own function of vectors: fabs, sqrt, floor, pow."""
        kind = self.llvm.type
        operands = [self.llvm, *(other.llvm for other in others)]
        return self._of(call(self.builder, f"llvm.{name}.{suffix(kind)}", kind, operands))

    def absolute(self):
        return self.by_llvm("fabs")

    def bits(self):
        """Return the float's bits as unsigned integers."""
        vector = self.vector.replace(_UNSIGNED[self.vector.dtype.bitwidth])
        return self._of(self.builder.bitcast(self.llvm, vector_type(vector)), vector)

    def as_float(self):
        """Return the float that has these bits."""
        vector = self.vector.replace(_FLOAT[self.vector.dtype.bitwidth])
        return self._of(self.builder.bitcast(self.llvm, vector_type(vector)), vector)

    def converted(self, dtype):
        vector = self.vector.replace(dtype)
        return self._of(emit_convert(self.builder, self.llvm, self.vector, vector), vector)


def fused(a, b, c):
    """Return a * b + c; at least one of them is a Value."""
    like = next(arg for arg in (a, b, c) if isinstance(arg, Value))
    return like._of(emit_fma(like.builder, *(like.constant(arg).llvm for arg in (a, b, c))))


def horner(x, coefficients):
    """Return the polynomial with `coefficients`, lowest power first."""
    *rest, result = coefficients
    for coefficient in reversed(rest):
        result = fused(x, result, coefficient)
    return result


def copy_sign(magnitude, sign):
    """Return the magnitude, which is not negative, with the sign of another value."""
    top = 1 << (sign.vector.dtype.bitwidth - 1)
    return (magnitude.bits() | (sign.bits() & top)).as_float()


def lane_by_lane(name, *operands):
    """Return the result of the mathematical library's `name` (sin, pow) for each lane, by a loop over memory."""
    first = operands[0]
    builder, kind = first.builder, first.llvm.type
    slots = [cgutils.alloca_once_value(builder, operand.llvm) for operand in operands]
    lanes = [builder.bitcast(slot, ir.PointerType(kind.element)) for slot in slots]
    name = f"llvm.{name}.f{first.vector.dtype.bitwidth}"
    with cgutils.for_range(builder, ir.IntType(64)(kind.count)) as loop:
        here = [builder.gep(lane, [loop.index]) for lane in lanes]
        result = call(builder, name, kind.element, [builder.load(each) for each in here])
        builder.store(result, here[0])
    return first._of(builder.load(slots[0]))


def avx512(name, *operands, immediate=None):
    """Call a masked AVX-512 intrinsic (reduce, scalef) with all lanes on; vectors over 512 bits go in halves."""
    first = operands[0]
    builder, lanes, bits = first.builder, first.vector.lanes, first.vector.dtype.bitwidth
    if lanes * bits > 512:
        narrow = Vector(first.vector.dtype, lanes // 2)
        halves = ([Value(builder, part, narrow) for part in halve(builder, each.llvm)] for each in operands)
        parts = zip(*halves, strict=True)
        low, high = (avx512(name, *part, immediate=immediate) for part in parts)
        index = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes)))
        return first._of(builder.shuffle_vector(low.llvm, high.llvm, index))
    arguments = [operand.llvm for operand in operands]
    if immediate is not None:
        arguments.append(ir.IntType(32)(immediate))
    width = max(8, lanes)
    arguments += [first.llvm, ir.IntType(width)((1 << width) - 1)]
    if lanes * bits == 512:
        arguments.append(ir.IntType(32)(4))  # round as MXCSR says
    kind = "ps" if bits == 32 else "pd"
    return first._of(call(builder, f"llvm.x86.avx512.mask.{name}.{kind}.{lanes * bits}", first.llvm.type, arguments))


def has_avx512_form(value):
    """Return whether `avx512` can take this vector."""
    return host.HAS_AVX512 and value.vector.lanes * value.vector.dtype.bitwidth >= 128


def unary(emit, x):
    """Return what an intrinsic returns for a function of one float vector."""
    if not isinstance(x, Vector) or not x.is_float:
        return None

    def codegen(context, builder, sig, args):
        return emit(Value(builder, args[0], sig.args[0])).llvm

    return x(x), codegen


def binary(emit, x, y):
    """Return what an intrinsic returns for a function of two float vectors, one of which may be a scalar."""
    vector = common_vector(x, y)
    if vector is None or not vector.is_float:
        return None

    def codegen(context, builder, sig, args):
        pairs = zip(args, sig.args, strict=True)
        first, second = (as_vector(context, builder, *pair, sig.return_type) for pair in pairs)
        return emit(Value(builder, first, sig.return_type), Value(builder, second, sig.return_type)).llvm

    return vector(x, y), codegen
