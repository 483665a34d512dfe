"""Functions of lanes: broadcast, select, fma, sqrt, minimum and maximum, reductions, conversions."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastcore._core.simd.host import HAS_AVX512, HAS_FMA
from fastcore._core.simd.operators import EXACT, arithmetic, compare
from fastcore._core.simd.types import (
    MAX_LANES,
    Vector,
    as_vector,
    call,
    common_vector,
    dtype_of,
    is_scalar,
    lane_count,
    suffix,
    vector_type,
)


@intrinsic(prefer_literal=True)
def broadcast(typingctx, scalar, lanes, dtype=None):
    """Return the vector with `scalar` in each lane, of the scalar's type or converted to `dtype`."""
    count = lane_count(lanes)
    scalar = types.unliteral(scalar)
    element = scalar if dtype is None else dtype_of(dtype)
    if count is None or not is_scalar(scalar) or element is None:
        return None
    vector = Vector(element, count)
    sig = vector(scalar, lanes, types.Omitted(None) if dtype is None else dtype)

    def codegen(context, builder, sig, args):
        return as_vector(context, builder, args[0], sig.args[0], sig.return_type)

    return sig, codegen


def _iota(lanes, dtype):
    count = lane_count(lanes)
    if count is None:
        return None

    def codegen(context, builder, sig, args):
        return ir.Constant(vector_type(sig.return_type), list(range(sig.return_type.lanes)))

    return Vector(dtype, count)(lanes), codegen


@intrinsic(prefer_literal=True)
def iota_i32(typingctx, lanes):
    """Return the lane numbers 0, 1, ... as i32."""
    return _iota(lanes, types.int32)


@intrinsic(prefer_literal=True)
def iota_i64(typingctx, lanes):
    """Return the lane numbers 0, 1, ... as i64."""
    return _iota(lanes, types.int64)


def emit_fma(builder, a, b, c):
    """Emit a * b + c, rounded once where the CPU has FMA. llvm.fma would call libm lane by lane where it has not."""
    if HAS_FMA:
        return call(builder, f"llvm.fma.{suffix(a.type)}", a.type, [a, b, c])
    return arithmetic(builder, "fadd", arithmetic(builder, "fmul", a, b), c)


@intrinsic
def fma(typingctx, a, b, c):
    """Return a * b + c, rounded once (twice on x86-64 without FMA); up to two of them may be scalars."""
    vector = common_vector(a, b, c)
    if vector is None or not vector.is_float:
        return None
    sig = vector(a, b, c)

    def codegen(context, builder, sig, args):
        vectors = (as_vector(context, builder, *pair, sig.return_type) for pair in zip(args, sig.args, strict=True))
        return emit_fma(builder, *vectors)

    return sig, codegen


@intrinsic
def sqrt(typingctx, vector):
    """Return the square root of each lane, correctly rounded; NaN of what is below 0."""
    if not isinstance(vector, Vector) or not vector.is_float:
        return None

    def codegen(context, builder, sig, args):
        return call(builder, f"llvm.sqrt.{suffix(args[0].type)}", args[0].type, [args[0]])

    return vector(vector), codegen


def _emit_refined_root(builder, x):
    """sqrt of 8 x f64 from the CPU's estimate of 1 / sqrt (14 bits) by Goldschmidt's iteration and Heron's step."""
    byte = ir.IntType(8)
    half, zero = (ir.Constant(x.type, [ir.Constant(x.type.element, value)] * x.type.count) for value in (0.5, 0.0))
    arguments = [x, zero, ir.Constant(byte, 0xFF)]
    inverse = call(builder, "llvm.x86.avx512.rsqrt14.pd.512", x.type, arguments)
    root, slope = arithmetic(builder, "fmul", x, inverse), arithmetic(builder, "fmul", inverse, half)
    rest = emit_fma(builder, builder.fneg(root), slope, half)
    root, slope = emit_fma(builder, root, rest, root), emit_fma(builder, slope, rest, slope)
    rest = emit_fma(builder, builder.fneg(root), root, x)
    root = emit_fma(builder, rest, slope, root)
    return builder.select(builder.fcmp_ordered(">", x, zero, flags=EXACT), root, x)


@intrinsic
def quick_sqrt(typingctx, vector):
    """Return the square root of each lane, 0 <= x < infinity, within 1 ulp for 2**-900 < x (2**-25 below).

    float64 with AVX-512: 0.31 ns an element, where `sqrt` takes 0.55 (Zen 4). Others: `sqrt`.
    """
    if not isinstance(vector, Vector) or not vector.is_float:
        return None

    def codegen(context, builder, sig, args):
        if HAS_AVX512 and sig.args[0].key == (types.float64, 8):
            return _emit_refined_root(builder, args[0])
        return call(builder, f"llvm.sqrt.{suffix(args[0].type)}", args[0].type, [args[0]])

    return vector(vector), codegen


@intrinsic
def select(typingctx, mask, a, b):
    """Return a where the mask is set, else b; one of them may be a scalar."""
    vector = common_vector(a, b)
    if vector is None or mask != vector.replace(types.boolean):
        return None
    sig = vector(mask, a, b)

    def codegen(context, builder, sig, args):
        first, second = (
            as_vector(context, builder, arg, kind, sig.return_type)
            for arg, kind in zip(args[1:], sig.args[1:], strict=True)
        )
        return builder.select(args[0], first, second)

    return sig, codegen


def emit_extremum(builder, relation, vector, a, b):
    return builder.select(compare(builder, relation, vector, a, b), a, b)


def _extremum(relation, a, b):
    vector = common_vector(a, b)
    if vector is None or vector.is_mask:
        return None
    sig = vector(a, b)

    def codegen(context, builder, sig, args):
        first, second = (
            as_vector(context, builder, arg, kind, sig.return_type) for arg, kind in zip(args, sig.args, strict=True)
        )
        return emit_extremum(builder, relation, sig.return_type, first, second)

    return sig, codegen


@intrinsic
def minimum(typingctx, a, b):
    """Return a < b ? a : b, one vminps: b where either is NaN."""
    return _extremum("<", a, b)


@intrinsic
def maximum(typingctx, a, b):
    """Return a > b ? a : b, one vmaxps: b where either is NaN."""
    return _extremum(">", a, b)


def halve(builder, value):
    """Return the lower and the upper half of a vector."""
    half = value.type.count // 2
    index = ir.VectorType(ir.IntType(32), half)
    return tuple(
        builder.shuffle_vector(value, value, ir.Constant(index, list(range(start, start + half))))
        for start in (0, half)
    )


def _reduce(vector, combine):
    """Fold halves onto each other: a fixed tree, so every width of register gives the same sum."""
    if not isinstance(vector, Vector) or vector.is_mask:
        return None

    def codegen(context, builder, sig, args):
        value, kind = args[0], sig.args[0]
        while value.type.count > 1:
            lower, upper = halve(builder, value)
            kind = Vector(kind.dtype, kind.lanes // 2)
            value = combine(builder, kind, lower, upper)
        return builder.extract_element(value, ir.IntType(32)(0))

    return vector.dtype(vector), codegen


@intrinsic
def reduce_add(typingctx, vector):
    """Return the sum of the lanes, added as a tree of halves."""
    return _reduce(vector, lambda builder, kind, a, b: arithmetic(builder, "fadd" if kind.is_float else "add", a, b))


@intrinsic
def reduce_max(typingctx, vector):
    """Return the largest lane; NaN lanes may be passed over."""
    return _reduce(vector, lambda builder, kind, a, b: emit_extremum(builder, ">", kind, a, b))


@intrinsic
def reduce_min(typingctx, vector):
    """Return the smallest lane; NaN lanes may be passed over."""
    return _reduce(vector, lambda builder, kind, a, b: emit_extremum(builder, "<", kind, a, b))


@intrinsic(prefer_literal=True)
def rotate(typingctx, vector, count):
    """Return the lanes moved down by a literal `count`: lane i is lane i + count, the first ones follow the last."""
    steps = count.literal_value if isinstance(count, types.IntegerLiteral) else None
    if steps is None or not isinstance(vector, Vector):
        return None

    def codegen(context, builder, sig, args):
        lanes = sig.args[0].lanes
        index = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [(i + steps) % lanes for i in range(lanes)])
        return builder.shuffle_vector(args[0], args[0], index)

    return vector(vector, count), codegen


@intrinsic
def interleave(typingctx, a, b):
    """Return the lanes of two vectors in turn, a[0], b[0], a[1] ...: a vector of twice the lanes."""
    if not isinstance(a, Vector) or a != b or a.is_mask or 2 * a.lanes > MAX_LANES:
        return None
    sig = Vector(a.dtype, 2 * a.lanes)(a, b)

    def codegen(context, builder, sig, args):
        lanes = sig.args[0].lanes
        places = [i // 2 + i % 2 * lanes for i in range(2 * lanes)]
        index = ir.Constant(ir.VectorType(ir.IntType(32), 2 * lanes), places)
        return builder.shuffle_vector(*args, index)

    return sig, codegen


@intrinsic
def mask_bits(typingctx, mask):
    """Return a mask of up to 32 lanes as an i64: bit i is lane i, the bits above are 0."""
    if not isinstance(mask, Vector) or not mask.is_mask or mask.lanes > 32:
        return None

    def codegen(context, builder, sig, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(sig.args[0].lanes)), ir.IntType(64))

    return types.int64(mask), codegen


@intrinsic(prefer_literal=True)
def mask_of_bits(typingctx, bits, lanes):
    """Return the mask whose lane i is bit i of an integer; the bits above are not looked at."""
    count = lane_count(lanes)
    if count is None or count > 32 or not isinstance(bits, types.Integer):
        return None
    sig = Vector(types.boolean, count)(types.int64, lanes)

    def codegen(context, builder, sig, args):
        width = sig.return_type.lanes
        return builder.bitcast(builder.trunc(args[0], ir.IntType(width)), vector_type(sig.return_type))

    return sig, codegen


def _mask_test(mask, relation, value):
    if not isinstance(mask, Vector) or not mask.is_mask:
        return None

    def codegen(context, builder, sig, args):
        bits = ir.IntType(sig.args[0].lanes)
        return builder.icmp_signed(relation, builder.bitcast(args[0], bits), ir.Constant(bits, value))

    return types.boolean(mask), codegen


@intrinsic
def any_lane(typingctx, mask):
    """Return whether a lane is set."""
    return _mask_test(mask, "!=", 0)


@intrinsic
def all_lanes(typingctx, mask):
    """Return whether each lane is set."""
    return _mask_test(mask, "==", -1)


def emit_convert(builder, value, source, target):
    """Emit the numeric conversion between two Vector types of one lane count."""
    kind = vector_type(target)
    if source.is_float and target.is_float:
        emit = builder.fpext if target.dtype.bitwidth > source.dtype.bitwidth else builder.fptrunc
        return emit(value, kind)
    if source.is_float:
        return (builder.fptosi if target.is_signed else builder.fptoui)(value, kind)
    if target.is_float:
        return (builder.sitofp if source.is_signed else builder.uitofp)(value, kind)
    source_bits, target_bits = value.type.element.width, kind.element.width
    if source_bits > target_bits:
        return builder.trunc(value, kind)
    return (builder.sext if source.is_signed else builder.zext)(value, kind)


@intrinsic
def convert(typingctx, vector, dtype):
    """Convert each lane: floats round to nearest even; floats to ints cut off (undefined outside the range); ints wrap.

    A mask gives 0 and 1.
    """
    element = dtype_of(dtype)
    if element is None or not isinstance(vector, Vector) or isinstance(element, types.Boolean):
        return None
    sig = vector.replace(element)(vector, dtype)

    def codegen(context, builder, sig, args):
        if sig.return_type == sig.args[0]:
            return args[0]
        return emit_convert(builder, args[0], sig.args[0], sig.return_type)

    return sig, codegen


@intrinsic
def bitcast(typingctx, vector, dtype):
    """Read the bits as lanes of `dtype`; the lane count follows from its width."""
    element = dtype_of(dtype)
    if element is None or not isinstance(vector, Vector) or vector.is_mask or isinstance(element, types.Boolean):
        return None
    bits = vector.lanes * vector.dtype.bitwidth
    if bits % element.bitwidth:
        return None
    sig = Vector(element, bits // element.bitwidth)(vector, dtype)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], vector_type(sig.return_type))

    return sig, codegen
