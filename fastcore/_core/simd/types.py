"""The Numba type of a SIMD value and what turns arguments into it."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import register_model

__all__ = ["Vector", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]

f32, f64 = types.float32, types.float64
i8, i16, i32, i64 = types.int8, types.int16, types.int32, types.int64
u8, u16, u32, u64 = types.uint8, types.uint16, types.uint32, types.uint64

MAX_LANES = 128


class Vector(types.Type):
    """`lanes` values of one Numba number type in an LLVM vector; a mask has dtype boolean."""

    def __init__(self, dtype, lanes):
        self.dtype = dtype
        self.lanes = int(lanes)
        super().__init__(name=f"Vector({dtype} x {lanes})")

    @property
    def key(self):
        return self.dtype, self.lanes

    @property
    def is_float(self):
        return isinstance(self.dtype, types.Float)

    @property
    def is_mask(self):
        return isinstance(self.dtype, types.Boolean)

    @property
    def is_signed(self):
        return isinstance(self.dtype, types.Integer) and self.dtype.signed

    def replace(self, dtype):
        return Vector(dtype, self.lanes)


@register_model(Vector)
class VectorModel(PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(element_type(fe_type.dtype), fe_type.lanes))


def element_type(dtype):
    """Return the LLVM type of one lane."""
    if isinstance(dtype, types.Boolean):
        return ir.IntType(1)
    if isinstance(dtype, types.Integer):
        return ir.IntType(dtype.bitwidth)
    return {32: ir.FloatType(), 64: ir.DoubleType()}[dtype.bitwidth]


def vector_type(vector):
    """Return the LLVM type of a Vector."""
    return ir.VectorType(element_type(vector.dtype), vector.lanes)


def lane_count(lanes):
    """Return the int in a literal type; None, Numba's "not mine", for a count only known at run time."""
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    count = lanes.literal_value
    return count if 1 <= count <= MAX_LANES and count & (count - 1) == 0 else None


def dtype_of(argument):
    """Return the number type behind `f32`, `np.float32` and the like as typed by Numba, or None."""
    if isinstance(argument, types.NumberClass):
        return argument.instance_type
    if isinstance(argument, types.DType):
        return argument.dtype
    return None


def is_scalar(argument):
    return isinstance(argument, types.Number | types.Boolean)


def splat(builder, value, lanes):
    """Return the LLVM vector with `value` in each lane."""
    kind = ir.VectorType(value.type, lanes)
    if isinstance(value, ir.Constant):
        return ir.Constant(kind, [value] * lanes)
    index = ir.IntType(32)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), value, index(0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(index, lanes), [0] * lanes))


def as_vector(context, builder, value, source, target):
    """Cast a vector or scalar argument to `target`: a scalar is converted to its dtype and broadcast."""
    if isinstance(source, Vector):
        return value
    if target.is_mask:
        scalar = builder.trunc(context.cast(builder, value, source, types.boolean), ir.IntType(1))
    else:
        scalar = context.cast(builder, value, source, target.dtype)
    return splat(builder, scalar, target.lanes)


def common_vector(*arguments):
    """Return the one Vector type among vectors and scalars, or None where they do not go together."""
    vectors = {arg for arg in arguments if isinstance(arg, Vector)}
    if len(vectors) != 1 or not all(isinstance(arg, Vector) or is_scalar(arg) for arg in arguments):
        return None
    vector = vectors.pop()
    scalars = [arg for arg in arguments if not isinstance(arg, Vector)]
    if not vector.is_float and any(isinstance(arg, types.Float) for arg in scalars):
        return None
    return vector


def call(builder, name, result, arguments):
    """Call the LLVM intrinsic `name`, declared from the types of its arguments."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [arg.type for arg in arguments]), name
    )
    return builder.call(function, arguments)


def suffix(kind):
    """Return LLVM's spelling of a type in the name of an overloaded intrinsic: v16f32."""
    if isinstance(kind.element, ir.IntType):
        return f"v{kind.count}i{kind.element.width}"
    return f"v{kind.count}{'f32' if kind.element == ir.FloatType() else 'f64'}"
