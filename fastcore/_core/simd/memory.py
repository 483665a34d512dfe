"""Pointers, loads and stores."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastcore._core.simd.types import (
    Vector,
    call,
    dtype_of,
    element_type,
    is_scalar,
    lane_count,
    splat,
    suffix,
    vector_type,
)


@intrinsic
def pointer(typingctx, array):
    """Return a pointer to the first element of an array of any layout."""
    if not isinstance(array, types.Array):
        return None
    sig = types.CPointer(array.dtype)(array)

    def codegen(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return sig, codegen


@intrinsic
def pointer_at(typingctx, address, dtype):
    """Return a pointer to elements of `dtype` at an integer address."""
    element = dtype_of(dtype)
    if element is None or not isinstance(address, types.Integer):
        return None
    sig = types.CPointer(element)(types.uintp, dtype)

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return sig, codegen


@intrinsic
def address_of(typingctx, ptr):
    """Return the integer address of a pointer, the inverse of `pointer_at`."""
    if not isinstance(ptr, types.CPointer):
        return None
    sig = types.intp(ptr)

    def codegen(context, builder, sig, args):
        return builder.ptrtoint(args[0], context.get_value_type(types.intp))

    return sig, codegen


@intrinsic
def cast_pointer(typingctx, ptr, dtype):
    """Return the same place as a pointer to elements of `dtype`."""
    element = dtype_of(dtype)
    if element is None or not isinstance(ptr, types.CPointer):
        return None
    sig = types.CPointer(element)(ptr, dtype)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    return sig, codegen


@intrinsic
def advance(typingctx, ptr, count):
    """Return the pointer `count` elements further on; count may be negative."""
    if not isinstance(ptr, types.CPointer) or not isinstance(count, types.Integer):
        return None
    sig = ptr(ptr, types.intp)

    def codegen(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return sig, codegen


def _memory_vector(dtype, lanes):
    """Return the LLVM type of `lanes` elements in memory, where a boolean is a byte."""
    if isinstance(dtype, types.Boolean):
        return ir.VectorType(ir.IntType(8), lanes)
    return vector_type(Vector(dtype, lanes))


def _from_memory(builder, dtype, value):
    if not isinstance(dtype, types.Boolean):
        return value
    return builder.icmp_unsigned("!=", value, ir.Constant(value.type, None))


def _to_memory(builder, dtype, value):
    if not isinstance(dtype, types.Boolean):
        return value
    return builder.zext(value, ir.VectorType(ir.IntType(8), value.type.count))


def _itemsize(kind):
    return {ir.FloatType(): 4, ir.DoubleType(): 8}.get(kind.element) or kind.element.width // 8


def _vector_pointer(builder, ptr, kind):
    return builder.bitcast(ptr, kind.as_pointer())


@intrinsic(prefer_literal=True)
def load(typingctx, ptr, lanes):
    """Return `lanes` consecutive elements at ptr, which need not be aligned. Booleans give a mask."""
    count = lane_count(lanes)
    if count is None or not isinstance(ptr, types.CPointer):
        return None
    sig = Vector(ptr.dtype, count)(ptr, lanes)

    def codegen(context, builder, sig, args):
        dtype = sig.return_type.dtype
        kind = _memory_vector(dtype, sig.return_type.lanes)
        value = builder.load(_vector_pointer(builder, args[0], kind), align=_itemsize(kind))
        return _from_memory(builder, dtype, value)

    return sig, codegen


@intrinsic
def store(typingctx, ptr, vector):
    """Write all lanes to ptr, which need not be aligned."""
    if not isinstance(ptr, types.CPointer) or not isinstance(vector, Vector) or ptr.dtype != vector.dtype:
        return None
    sig = types.void(ptr, vector)

    def codegen(context, builder, sig, args):
        value = _to_memory(builder, sig.args[1].dtype, args[1])
        builder.store(value, _vector_pointer(builder, args[0], value.type), align=_itemsize(value.type))
        return context.get_dummy_value()

    return sig, codegen


@intrinsic
def stream(typingctx, ptr, vector):
    """Write all lanes past the caches to ptr, a multiple of the vector's bytes; end with `stream_fence`.

    A common store reads the line it is about to overwrite. For arrays beyond the last cache this saves a third of the
    traffic of a copy; below, what is read again soon is better kept in the cache.
    """
    if not isinstance(ptr, types.CPointer) or not isinstance(vector, Vector) or ptr.dtype != vector.dtype:
        return None
    sig = types.void(ptr, vector)

    def codegen(context, builder, sig, args):
        value = _to_memory(builder, sig.args[1].dtype, args[1])
        size = _itemsize(value.type) * value.type.count
        written = builder.store(value, _vector_pointer(builder, args[0], value.type), align=size)
        once = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        written.set_metadata("nontemporal", once)
        return context.get_dummy_value()

    return sig, codegen


@intrinsic
def stream_fence(typingctx):
    """Make what this thread wrote by `stream` visible to others before anything it writes after."""
    sig = types.void()

    def codegen(context, builder, sig, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return sig, codegen


def first_lanes(builder, count, lanes):
    """Return the mask of the lanes below `count`, an i64."""
    limit = ir.Constant(count.type, lanes)
    clipped = builder.select(builder.icmp_signed("<", count, limit), count, limit)
    # Lane numbers as bytes: one vpcmpb on AVX-512, and the counts (<= 128 lanes) fit in i16 everywhere.
    narrow = ir.IntType(16) if lanes > 64 else ir.IntType(8)
    index = ir.Constant(ir.VectorType(narrow, lanes), list(range(lanes)))
    return builder.icmp_signed("<", index, splat(builder, builder.trunc(clipped, narrow), lanes))


@intrinsic(prefer_literal=True)
def load_first(typingctx, ptr, lanes, count):
    """Return the first `count` (0 <= count) of `lanes` elements and 0 in the others, which are not read."""
    static = lane_count(lanes)
    if static is None or not isinstance(ptr, types.CPointer) or not isinstance(count, types.Integer):
        return None
    sig = Vector(ptr.dtype, static)(ptr, lanes, types.int64)

    def codegen(context, builder, sig, args):
        dtype, width = sig.return_type.key
        kind = _memory_vector(dtype, width)
        arguments = [
            _vector_pointer(builder, args[0], kind),
            ir.IntType(32)(_itemsize(kind)),
            first_lanes(builder, args[2], width),
            ir.Constant(kind, None),
        ]
        return _from_memory(builder, dtype, call(builder, f"llvm.masked.load.{suffix(kind)}.p0", kind, arguments))

    return sig, codegen


@intrinsic
def store_first(typingctx, ptr, vector, count):
    """Write the first `count` (0 <= count) lanes; memory behind them is not touched."""
    if not isinstance(ptr, types.CPointer) or not isinstance(vector, Vector) or ptr.dtype != vector.dtype:
        return None
    if not isinstance(count, types.Integer):
        return None
    sig = types.void(ptr, vector, types.int64)

    def codegen(context, builder, sig, args):
        value = _to_memory(builder, sig.args[1].dtype, args[1])
        arguments = [
            value,
            _vector_pointer(builder, args[0], value.type),
            ir.IntType(32)(_itemsize(value.type)),
            first_lanes(builder, args[2], sig.args[1].lanes),
        ]
        call(builder, f"llvm.masked.store.{suffix(value.type)}.p0", ir.VoidType(), arguments)
        return context.get_dummy_value()

    return sig, codegen


@intrinsic
def store_selected(typingctx, ptr, vector, mask):
    """Write the lanes whose mask is set, side by side, and return how many they are.

    Elements of 4 or 8 bytes. As many as the vector has lanes are written: those behind the selected ones hold anything.
    """
    if not isinstance(ptr, types.CPointer) or not isinstance(vector, Vector) or ptr.dtype != vector.dtype:
        return None
    # LLVM 22 ends the process on half a register of bytes.
    if vector.is_mask or vector.dtype.bitwidth < 32 or mask != vector.replace(types.boolean):
        return None
    sig = types.int64(ptr, vector, mask)

    def codegen(context, builder, sig, args):
        _, value, chosen = args
        # In a register and stored whole: vcompresspd to memory is microcode on Zen 4, 100 cycles and more.
        name = f"llvm.experimental.vector.compress.{suffix(value.type)}"
        packed = call(builder, name, value.type, [value, chosen, ir.Constant(value.type, ir.Undefined)])
        builder.store(packed, _vector_pointer(builder, args[0], value.type), align=_itemsize(value.type))
        bits = ir.IntType(value.type.count)
        return builder.zext(builder.ctpop(builder.bitcast(chosen, bits)), ir.IntType(64))

    return sig, codegen


@intrinsic
def load_scalar(typingctx, ptr):
    """Return the element at ptr."""
    if not isinstance(ptr, types.CPointer):
        return None
    sig = ptr.dtype(ptr)

    def codegen(context, builder, sig, args):
        return context.unpack_value(builder, sig.return_type, args[0])

    return sig, codegen


@intrinsic
def store_scalar(typingctx, ptr, value):
    """Write one element, converted to the type ptr points to."""
    if not isinstance(ptr, types.CPointer) or not is_scalar(value):
        return None
    sig = types.void(ptr, ptr.dtype)

    def codegen(context, builder, sig, args):
        context.pack_value(builder, sig.args[1], args[1], args[0])
        return context.get_dummy_value()

    return sig, codegen


@intrinsic
def gather(typingctx, ptr, index):
    """Return ptr[index[lane]] for each lane; index is a vector of i32 or i64."""
    if not isinstance(ptr, types.CPointer) or not isinstance(index, Vector) or index.is_float or index.is_mask:
        return None
    if isinstance(ptr.dtype, types.Boolean):
        return None
    sig = Vector(ptr.dtype, index.lanes)(ptr, index)

    def codegen(context, builder, sig, args):
        kind = vector_type(sig.return_type)
        lanes = kind.count
        offsets = args[1]
        if not sig.args[1].is_signed:
            offsets = builder.zext(offsets, ir.VectorType(ir.IntType(64), lanes))
        # llvmlite types a getelementptr as its base pointer; with vector indices it is a vector of pointers.
        addresses = builder.gep(args[0], [offsets], source_etype=element_type(sig.return_type.dtype))
        addresses.type = ir.VectorType(ir.PointerType(), lanes)
        mask = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
        arguments = [addresses, ir.IntType(32)(_itemsize(kind)), mask, ir.Constant(kind, None)]
        return call(builder, f"llvm.masked.gather.{suffix(kind)}.v{lanes}p0", kind, arguments)

    return sig, codegen
