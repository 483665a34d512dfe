"""float16 and bfloat16 held as uint16, to and from float32."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastcore._core.simd import host
from fastcore._core.simd.emit import Value
from fastcore._core.simd.lanes import emit_fma
from fastcore._core.simd.types import MAX_LANES, Vector, call, vector_type


class BfloatType(ir.Type):
    """LLVM's bfloat, which llvmlite has no class for."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, type(self))

    def __hash__(self):
        return hash(type(self))


def _half_type(x):
    return ir.VectorType(ir.HalfType(), x.vector.lanes)


def emit_half_to_float(x):
    if host.HAS_HALF:
        vector = x.vector.replace(types.float32)
        half = x.builder.bitcast(x.llvm, _half_type(x))
        return Value(x.builder, x.builder.fpext(half, ir.VectorType(ir.FloatType(), vector.lanes)), vector)
    wide = x.converted(types.uint32)
    # Exponent and mantissa in place, 2**112 corrects the bias and normalises denormals; 0x7c00 (inf, NaN) goes to 255.
    size = wide & 0x7FFF
    value = (size << 13).as_float() * 2.0**112
    special = ((size << 13) | 0x7F800000).as_float()
    return ((size > 0x7BFF).choose(special, value).bits() | ((wide & 0x8000) << 16)).as_float()


def emit_float_to_half(x):
    if host.HAS_HALF:
        half = x.builder.fptrunc(x.llvm, _half_type(x))
        vector = x.vector.replace(types.uint16)
        return Value(x.builder, x.builder.bitcast(half, ir.VectorType(ir.IntType(16), vector.lanes)), vector)
    size = x.absolute()
    bits = size.bits()
    # Normal: subtract the bias difference (112 << 23), round the lowest 13 bits to even; the carry may make it inf.
    odd = (bits >> 13) & 1
    normal = (bits + (0x0FFF - (112 << 23)) + odd) >> 13
    # Below 2**-14: adding 0.5 leaves the multiple of 2**-24 in the low bits, rounded by the addition.
    denormal = (size + 0.5).bits() - 0x3F000000
    nan = ((bits >> 13) & 0x3FF) | 0x7E00
    finite = (size < 2.0**-14).choose(denormal, normal)
    bounded = (bits > 0x477FEFFF).choose(0x7C00, finite)
    result = (bits > 0x7F800000).choose(nan, bounded) | ((x.bits() >> 16) & 0x8000)
    return result.converted(types.uint16)


def emit_bfloat_to_float(x):
    return (x.converted(types.uint32) << 16).as_float()


def emit_float_to_bfloat(x):
    bits = x.bits()
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40
    return x.differs(x).choose(quiet, rounded).converted(types.uint16)


def _conversion(emit, x, source, target):
    if not isinstance(x, Vector) or x.dtype != source:
        return None

    def codegen(context, builder, sig, args):
        return emit(Value(builder, args[0], sig.args[0])).llvm

    return x.replace(target)(x), codegen


@intrinsic
def half_to_float(typingctx, x):
    """Convert the bits of float16 (u16 lanes) to f32, exactly."""
    return _conversion(emit_half_to_float, x, types.uint16, types.float32)


@intrinsic
def float_to_half(typingctx, x):
    """Convert f32 to the bits of float16, rounded to nearest even; NaN stays NaN."""
    return _conversion(emit_float_to_half, x, types.float32, types.uint16)


@intrinsic
def bfloat_to_float(typingctx, x):
    """Convert the bits of bfloat16 (u16 lanes) to f32, exactly."""
    return _conversion(emit_bfloat_to_float, x, types.uint16, types.float32)


@intrinsic
def float_to_bfloat(typingctx, x):
    """Convert f32 to the bits of bfloat16, rounded to nearest even; NaN stays NaN."""
    return _conversion(emit_float_to_bfloat, x, types.float32, types.uint16)


def _emit_bfloats(builder, low, high):
    """The bits of two f32 vectors rounded to bfloat16, one behind the other in a vector of u16."""
    lanes = low.type.count
    bits = ir.VectorType(ir.IntType(16), 2 * lanes)
    if host.HAS_BFLOAT and lanes == 16:
        bfloats = ir.VectorType(BfloatType(), 2 * lanes)
        return builder.bitcast(call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", bfloats, [high, low]), bits)
    vector = Vector(types.float32, lanes)
    halves = [emit_float_to_bfloat(Value(builder, part, vector)).llvm for part in (low, high)]
    in_turn = ir.Constant(ir.VectorType(ir.IntType(32), 2 * lanes), list(range(2 * lanes)))
    return builder.shuffle_vector(*halves, in_turn)


def emit_pair_product(builder, a, b, total):
    """total + a[even] * b[even] + a[odd] * b[odd], where vectors of u32 hold pairs of bfloat16, the even one low.

    One instruction with AVX512-BF16, which takes numbers below 2**-126 for 0 and rounds after each product.
    """
    lanes = total.type.count
    if host.HAS_BFLOAT and lanes == 16:
        bfloats = ir.VectorType(BfloatType(), 2 * lanes)
        factors = [builder.bitcast(each, bfloats) for each in (a, b)]
        return call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", total.type, [total, *factors])
    sixteen, odd = (ir.Constant(a.type, [number] * lanes) for number in (16, 0xFFFF0000))
    for part in (lambda pairs: builder.and_(pairs, odd), lambda pairs: builder.shl(pairs, sixteen)):
        left, right = (builder.bitcast(part(each), total.type) for each in (a, b))
        total = emit_fma(builder, left, right, total)
    return total


def _rounding_of_two(low, high, *, paired):
    """What an intrinsic returns that rounds two vectors of f32 to bfloat16."""
    if not isinstance(low, Vector) or low != high or low.dtype != types.float32 or 2 * low.lanes > MAX_LANES:
        return None
    lanes = low.lanes

    def codegen(context, builder, sig, args):
        bits = _emit_bfloats(builder, *args)
        if paired:
            order = [lane // 2 + lane % 2 * lanes for lane in range(2 * lanes)]
            bits = builder.shuffle_vector(bits, bits, ir.Constant(ir.VectorType(ir.IntType(32), 2 * lanes), order))
        return builder.bitcast(bits, vector_type(sig.return_type))

    result = Vector(types.uint32, lanes) if paired else Vector(types.uint16, 2 * lanes)
    return result(low, high), codegen


@intrinsic
def floats_to_bfloats(typingctx, low, high):
    """Round two vectors of f32 to bfloat16, as bits (u16), those of ``high`` behind those of ``low``.

    To nearest even; NaN stays NaN. AVX512-BF16 makes numbers below 2**-126 zero.
    """
    return _rounding_of_two(low, high, paired=False)


@intrinsic
def floats_to_pairs(typingctx, low, high):
    """The same with the two bfloat16 of a lane together, as u32: that of ``low`` in the lower half."""
    return _rounding_of_two(low, high, paired=True)
