"""Register-blocked matrix microkernels, emitted as LLVM IR for the host's vector width.

Operands. A *panel* is a row-major block whose lanes carry independent columns (attention: the queries of a tile); rows
are ``width`` elements apart, of which a product takes the first ``vectors * lanes``. The other factor is read one
element at a time and broadcast, straight from the caller's memory, with any row and depth stride: nothing is packed.

    panel_out[r, :] (+)= sum_k  matrix[r, k] * panel_in[k, :]        r < ROWS, k < depth

Where matrix and panel are u32, each element is a pair of bfloat16 along k and the accumulators are float32:
`simd.half.emit_pair_product`, twice the rate of float32 where the CPU has AVX512-BF16.

``ROWS * vectors`` accumulators live in registers. 4 rows x 4 vectors took 98-100 % of the FMA peak from L1 and L2 here
(AVX-512, one 512-bit FMA a cycle, depth 64 and 128), 8 x 3 and 6 x 4 took 96-98 %; and 4 divides every head size, where
8 and 6 leave ragged rows.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastcore._core import simd
from fastcore._core.simd.half import emit_pair_product
from fastcore._core.simd.lanes import emit_fma
from fastcore._core.simd.memory import first_lanes
from fastcore._core.simd.types import Vector, as_vector, call, splat, suffix, vector_type

# Wide panels keep 16 accumulators, 4 panel vectors and a broadcast in registers; hosts with 16 registers take 4 x 2.
TILE_ROWS = 4
TILE_VECTORS = 4 if simd.NUM_REGISTERS >= 32 else 2
HALF_VECTORS = TILE_VECTORS // 2
# Narrow panels (few queries): 8 rows x 1 vector still hide the latency of the FMA.
NARROW_ROWS = 8

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def native_lanes(dtype):
    """Elements of ``dtype`` (uint32, float32 or float64, NumPy or Numba) in one vector of the host."""
    small = (np.float32, np.dtype("f4"), types.float32, np.uint32, np.dtype("u4"), types.uint32)
    return int(simd.F32_LANES if dtype in small else simd.F64_LANES)


class _Emitter:
    """Emits vector code for one element type; a thin layer over the llvmlite builder."""

    def __init__(self, builder, pointer_type):
        dtype = pointer_type.dtype
        self.builder = builder
        self.bytes = dtype.bitwidth // 8
        self.lanes = native_lanes(dtype)
        self.vector = vector_type(Vector(dtype, self.lanes))
        self.emit_product = emit_pair_product if dtype == types.uint32 else emit_fma

    def int64(self, value):
        return ir.Constant(_I64, value)

    def _at(self, pointer, offset):
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.vector.as_pointer())

    def load(self, pointer, offset):
        return self.builder.load(self._at(pointer, offset), align=self.bytes)

    def store(self, value, pointer, offset):
        self.builder.store(value, self._at(pointer, offset), align=self.bytes)

    def masked_load(self, pointer, offset, mask):
        arguments = [self._at(pointer, offset), ir.Constant(_I32, self.bytes), mask, ir.Constant(self.vector, None)]
        return call(self.builder, f"llvm.masked.load.{suffix(self.vector)}.p0", self.vector, arguments)

    def masked_store(self, value, pointer, offset, mask):
        arguments = [value, self._at(pointer, offset), ir.Constant(_I32, self.bytes), mask]
        call(self.builder, f"llvm.masked.store.{suffix(self.vector)}.p0", ir.VoidType(), arguments)

    def shuffle(self, left, right, lanes):
        return self.builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))

    def maximum(self, a, b):
        """``a > b ? a : b``: one vmaxps, a NaN in ``a`` is passed over."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def clamped_row_offsets(self, rows, valid, stride):
        """Offsets of ``rows`` rows; rows at or past ``valid`` repeat the last one, so that nothing beyond is read."""
        last = self.builder.sub(valid, self.int64(1))
        offsets = []
        for row in range(rows):
            inside = self.builder.icmp_signed("<", self.int64(row), valid)
            offsets.append(self.builder.mul(self.builder.select(inside, self.int64(row), last), stride))
        return offsets


def _emit_depth_loop(emit, accumulators, matrix, offsets, depth_stride, panel, width, vectors, depth, unroll):
    """Emit ``for k < depth: accumulators += matrix[:, k] * panel[k]``; return the accumulators after it."""
    builder = emit.builder
    state = [emit.int64(0), matrix, panel, *accumulators]
    for step in sorted({unroll, 1}, reverse=True):
        before = builder.block
        head = builder.append_basic_block("depth.head")
        body = builder.append_basic_block("depth.body")
        after = builder.append_basic_block("depth.after")
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(value.type) for value in state]
        reached = builder.add(phis[0], emit.int64(step))
        builder.cbranch(builder.icmp_signed("<=", reached, depth), body, after)
        builder.position_at_end(body)
        matrix_at, panel_at, sums = phis[1], phis[2], phis[3:]
        for _ in range(step):
            columns = [emit.load(panel_at, emit.int64(v * emit.lanes)) for v in range(vectors)]
            for row, offset in enumerate(offsets):
                factor = splat(builder, builder.load(builder.gep(matrix_at, [offset])), emit.lanes)
                for v in range(vectors):
                    place = row * vectors + v
                    sums[place] = emit.emit_product(builder, factor, columns[v], sums[place])
            matrix_at = builder.gep(matrix_at, [depth_stride])
            panel_at = builder.gep(panel_at, [width])
        for phi, first, following in zip(phis, state, [reached, matrix_at, panel_at, *sums], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(following, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        state = list(phis)
    return state[3:]


def _literal(value):
    """Compile-time int of a Numba literal type, or None."""
    return getattr(value, "literal_value", None)


def _int64s(context, builder, signature, arguments, first, end=None):
    """Arguments ``first`` up to ``end``, cast to i64."""
    pairs = zip(arguments[first:end], signature.args[first:end], strict=True)
    return [context.cast(builder, argument, kind, types.int64) for argument, kind in pairs]


def _emit_product(context, builder, signature, arguments, *, accumulate, with_peak):
    """Body of `multiply`, `multiply_add` and `multiply_peak`."""
    out, peak, matrix, panel = arguments[:4]
    width, row_stride, depth_stride, valid_rows, depth = _int64s(context, builder, signature, arguments, 4, 9)
    rows, vectors = (_literal(kind) for kind in signature.args[9:])
    emit = _Emitter(builder, signature.args[0])
    starts = [builder.mul(emit.int64(row), width) for row in range(rows)]
    places = [builder.add(start, emit.int64(v * emit.lanes)) for start in starts for v in range(vectors)]
    if accumulate:
        accumulators = [emit.load(out, place) for place in places]
    else:
        accumulators = [ir.Constant(emit.vector, None)] * len(places)
    offsets = emit.clamped_row_offsets(rows, valid_rows, row_stride)
    terms = _Emitter(builder, signature.args[3])
    # Pairs have half the depth: for 32 of them 4 steps a round took 405-432 GFLOP/s, 2 steps 370-402.
    unroll = 4 if signature.args[3].dtype == types.uint32 else 2
    sums = _emit_depth_loop(terms, accumulators, matrix, offsets, depth_stride, panel, width, vectors, depth, unroll)
    for place, total in zip(places, sums, strict=True):
        emit.store(total, out, place)
    if with_peak:
        for v in range(vectors):
            highest = emit.load(peak, emit.int64(v * emit.lanes))
            for row in range(rows):
                highest = emit.maximum(sums[row * vectors + v], highest)
            emit.store(highest, peak, emit.int64(v * emit.lanes))
    return context.get_dummy_value()


def _product_intrinsic(name, summary, *, accumulate, with_peak):
    def typed(typingctx, out, peak, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors):
        if _literal(rows) is None or _literal(vectors) is None or matrix != panel:
            return None

        def lower(context, builder, signature, arguments):
            return _emit_product(context, builder, signature, arguments, accumulate=accumulate, with_peak=with_peak)

        kinds = (out, peak, matrix, panel, width, row_stride, depth_stride, valid_rows, depth, rows, vectors)
        return types.void(*kinds), lower

    typed.__name__ = typed.__qualname__ = name
    typed.__doc__ = summary
    return typed


def _transposing_network(emit, vectors):
    """Transpose a lanes x lanes block held in vectors by log2(lanes) rounds of two-input shuffles."""
    lanes = emit.lanes
    distance = 1
    while distance < lanes:
        mixed = list(vectors)
        for low in range(lanes):
            if low & distance:
                continue
            high = low + distance
            keep_low = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
            keep_high = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
            mixed[low] = emit.shuffle(vectors[low], vectors[high], keep_low)
            mixed[high] = emit.shuffle(vectors[low], vectors[high], keep_high)
        vectors = mixed
        distance *= 2
    return vectors


def _emit_transpose(context, builder, signature, arguments, *, whole):
    """Body of `transpose` (``whole``) and `transpose_part`."""
    source, target = arguments[:2]
    source_stride, target_stride, *limits = _int64s(context, builder, signature, arguments, 2)
    emit = _Emitter(builder, signature.args[0])
    lanes = range(emit.lanes)
    if whole:
        rows = [emit.load(source, builder.mul(emit.int64(i), source_stride)) for i in lanes]
        for i, column in enumerate(_transposing_network(emit, rows)):
            emit.store(column, target, builder.mul(emit.int64(i), target_stride))
        return context.get_dummy_value()
    row_count, stored_count, column_count = limits
    in_columns, stored = (first_lanes(builder, count, emit.lanes) for count in (column_count, stored_count))
    offsets = emit.clamped_row_offsets(emit.lanes, row_count, source_stride)
    rows = [emit.masked_load(source, offset, in_columns) for offset in offsets]
    for i, column in enumerate(_transposing_network(emit, rows)):
        with builder.if_then(builder.icmp_signed("<", emit.int64(i), column_count)):
            emit.masked_store(column, target, builder.mul(emit.int64(i), target_stride), stored)
    return context.get_dummy_value()


if config.DISABLE_JIT:
    from fastcore._core.tile_fallback import (
        filled,
        lane_numbers,
        lanes_of,
        multiply,
        multiply_add,
        multiply_peak,
        transpose,
        transpose_part,
    )
else:

    @intrinsic
    def lanes_of(typingctx, pointer):
        """Lanes of a vector of the pointer's element type, as a literal that `simd.load` and the like accept."""
        lanes = native_lanes(pointer.dtype)

        def lower(context, builder, signature, arguments):
            return context.get_constant(types.int64, lanes)

        return types.literal(lanes)(pointer), lower

    @intrinsic
    def filled(typingctx, pointer, scalar):
        """The vector of the pointer's element type with ``scalar`` in each lane."""
        vector = Vector(pointer.dtype, native_lanes(pointer.dtype))

        def lower(context, builder, signature, arguments):
            return as_vector(context, builder, arguments[1], signature.args[1], vector)

        return vector(pointer, types.unliteral(scalar)), lower

    @intrinsic
    def lane_numbers(typingctx, pointer):
        """The vector 0, 1, 2 ... of the pointer's element type."""
        vector = Vector(pointer.dtype, native_lanes(pointer.dtype))

        def lower(context, builder, signature, arguments):
            return ir.Constant(vector_type(vector), [float(lane) for lane in range(vector.lanes)])

        return vector(pointer), lower

    _summary = """Product of a matrix and a panel into a panel of ``rows`` rows; see the module's docstring.

        (out, peak, matrix, panel: pointers; width, row_stride, depth_stride, valid_rows, depth; literals rows, vectors)
        Rows at or past ``valid_rows`` repeat the last valid row of the matrix. {}
        """
    _literal_intrinsic = intrinsic(prefer_literal=True)
    multiply = _literal_intrinsic(
        _product_intrinsic("multiply", _summary.format("``peak`` is not used."), accumulate=False, with_peak=False)
    )
    multiply_add = _literal_intrinsic(
        _product_intrinsic("multiply_add", _summary.format("Adds to ``out``."), accumulate=True, with_peak=False)
    )
    multiply_peak = _literal_intrinsic(
        _product_intrinsic(
            "multiply_peak",
            _summary.format("Raises ``peak`` to the columns' maxima."),
            accumulate=False,
            with_peak=True,
        )
    )

    @intrinsic
    def transpose(typingctx, source, target, source_stride, target_stride):
        """target[j, i] = source[i, j] for a whole lanes x lanes block."""

        def lower(context, builder, signature, arguments):
            return _emit_transpose(context, builder, signature, arguments, whole=True)

        return types.void(source, target, source_stride, target_stride), lower

    @intrinsic
    def transpose_part(typingctx, source, target, source_stride, target_stride, rows, stored, columns):
        """The same for the first ``rows`` x ``columns`` of a block; nothing beyond them is read.

        ``columns`` rows of ``stored`` elements are written; past ``rows`` they repeat the last row of the source.
        """

        def lower(context, builder, signature, arguments):
            return _emit_transpose(context, builder, signature, arguments, whole=False)

        return types.void(source, target, source_stride, target_stride, rows, stored, columns), lower
