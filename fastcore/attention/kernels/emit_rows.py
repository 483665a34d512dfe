"""LLVM IR for rows of stored keys and values: their addresses, loads in float32, prefetches, and sums across lanes.

A row is found by its number: ``base + number * row_bytes``. The type of ``base`` says how elements are stored:

| pointer to | stored as | scales |
|---|---|---|
| float32 | float32 | none |
| uint16 | float16 bits | none |
| int16 | bfloat16 bits | none |
| int8 | int8 | one float32 a row |
| uint8 | 4 bits: byte i of 16 holds elements i (low) and 16 + i (high) of 32 | float16 scale and minimum for 32 |

A *unit* is what is loaded at once: a vector, or the 32 elements of a group of 4 bits. Rows are padded to whole units.
"""

from llvmlite import ir
from numba import types

from fastcore._core import simd
from fastcore._core.simd.emit import Value
from fastcore._core.simd.half import emit_bfloat_to_float, emit_half_to_float
from fastcore._core.simd.lanes import emit_fma
from fastcore._core.simd.types import Vector, call, vector_type
from fastcore.attention.kernels.storage_formats import GROUP

LANES = int(simd.F32_LANES)
# Queries whose products with a row are computed together, at most; 4 lanes (NEON) have no room for 8.
WIDEST = min(8, LANES)

I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
F32_VECTOR = vector_type(Vector(types.float32, LANES))

LINE = 64
# Float32 rows that are asked for again ahead of those that are read; narrower ones four times as many.
NEAR_ROWS = 8


def shuffle(builder, left, right, lanes):
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def load_at(builder, address, kind):
    """The value of an LLVM type at an integer address, which need not be aligned."""
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def loop(builder, count, state, body):
    """Emit ``for index < count: state = body(index, state)`` on lists of LLVM values; return the last state."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(f"rows.{name}") for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(I64)
    phis = [builder.phi(value.type) for value in state]
    builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
    builder.position_at_end(inside)
    following = body(index, list(phis))
    for phi, first, last in zip([index, *phis], [I64(0), *state], [builder.add(index, I64(1)), *following]):
        phi.add_incoming(first, before)
        phi.add_incoming(last, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return phis


class StoredRows:
    """Emits the addresses and loads of rows in one storage format."""

    def __init__(self, context, builder, signature, arguments, places):
        """``places``: where base, row_bytes, scales, scale_bytes and rows stand among the arguments."""
        self.builder = builder
        self.dtype = signature.args[places[0]].dtype
        self.base = builder.ptrtoint(arguments[places[0]], I64)
        self.row_bytes, self.scales, self.scale_bytes = (
            context.cast(builder, arguments[place], signature.args[place], types.int64) for place in places[1:4]
        )
        self.table = arguments[places[4]]
        self.vectors_of_unit = GROUP // LANES if self.dtype == types.uint8 else 1

    @property
    def unit_bytes(self):
        return GROUP // 2 if self.dtype == types.uint8 else LANES * self.dtype.bitwidth // 8

    def row(self, index):
        """(address of the row, address of its scales) of entry ``index`` of the table."""
        builder = self.builder
        number = builder.load(builder.gep(self.table, [index]))
        data = builder.add(self.base, builder.mul(number, self.row_bytes))
        scales = builder.add(self.scales, builder.mul(number, self.scale_bytes))
        return data, scales

    def unit(self, row, unit):
        """The vectors of unit ``unit`` (an i64) as float32; int8 without its scale."""
        builder, (data, scales) = self.builder, row
        at = builder.add(data, builder.mul(unit, I64(self.unit_bytes)))
        if self.dtype == types.float32:
            return [load_at(builder, at, F32_VECTOR)]
        if self.dtype == types.uint8:
            return self._four_bits(at, builder.add(scales, builder.mul(unit, I64(4))))
        stored = types.uint16 if self.dtype == types.int16 else self.dtype
        kind = Vector(stored, LANES)
        value = load_at(builder, at, vector_type(kind))
        if self.dtype == types.int8:
            return [builder.sitofp(builder.sext(value, ir.VectorType(I32, LANES)), F32_VECTOR)]
        emit = emit_bfloat_to_float if self.dtype == types.int16 else emit_half_to_float
        return [emit(Value(builder, value, kind)).llvm]

    def _four_bits(self, at, scale_at):
        """32 elements: nibble * scale + minimum."""
        builder = self.builder
        pair = Value(builder, load_at(builder, scale_at, ir.VectorType(ir.IntType(16), 2)), Vector(types.uint16, 2))
        both = emit_half_to_float(pair).llvm
        scale, minimum = (shuffle(builder, both, both, [side] * LANES) for side in (0, 1))
        low, high = [], []
        for first in range(0, GROUP // 2, LANES):
            packed = load_at(builder, builder.add(at, I64(first)), ir.VectorType(I8, LANES))
            wide = builder.zext(packed, ir.VectorType(I32, LANES))
            low.append(builder.and_(wide, ir.Constant(wide.type, [15] * LANES)))
            high.append(builder.lshr(wide, ir.Constant(wide.type, [4] * LANES)))
        return [emit_fma(builder, builder.sitofp(part, F32_VECTOR), scale, minimum) for part in (*low, *high)]

    def fetch(self, ahead, index, unit):
        """Ask for the line of ``unit`` in entry ``index`` of the table read next, and again of this one a few rows on.

        Processors drop prefetches while their queues are full, as they are when memory is the limit. The second ones
        are held up by the loads they precede and get through: 88 % of the bandwidth, 80 % without them, 65 % with
        nothing else and 45 % without any.
        """
        builder = self.builder
        offset = builder.mul(unit, I64(self.unit_bytes))
        distance = NEAR_ROWS if self.dtype == types.float32 else 4 * NEAR_ROWS
        self._prefetch(ahead, index, offset)
        self._prefetch((self.base, self.row_bytes, self.table), builder.add(index, I64(distance)), offset)

    def _prefetch(self, rows, index, offset):
        builder, (base, row_bytes, table) = self.builder, rows
        number = builder.load(builder.gep(table, [index]))
        at = builder.add(builder.add(base, builder.mul(number, row_bytes)), offset)
        place = builder.inttoptr(at, I8.as_pointer())
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [place, I32(0), I32(2), I32(1)])

    def row_scales(self, queries):
        """The float32 scales of the next ``LANES / queries`` rows, each ``queries`` times."""
        builder = self.builder
        keys = LANES // queries
        kind = ir.VectorType(F32, keys)
        values = ir.Constant(kind, ir.Undefined)
        for key in range(keys):
            _, address = self.row(I64(key))
            values = builder.insert_element(values, load_at(builder, address, F32), I32(key))
        return shuffle(builder, values, values, [lane // queries for lane in range(LANES)])


def sum_each(builder, vectors):
    """The vector whose lane i is the sum of the lanes of ``vectors[i]``, as many as lanes: 2 shuffles an addition."""
    lanes = vectors[0].type.count
    add = builder.fadd if vectors[0].type.element == F32 else builder.add

    def combine(pair, first, second):
        left, right = pair
        return add(shuffle(builder, left, right, first), shuffle(builder, left, right, second))

    level = vectors
    # Two rounds within blocks of 4 lanes (unpack instructions), then blocks are halved (128-bit shuffles).
    for pattern in ((0, lanes, 1, lanes + 1), (0, 1, lanes, lanes + 1)):
        pairs = list(zip(level[::2], level[1::2]))
        first = [pattern[lane % 4] + lane // 4 * 4 for lane in range(lanes)]
        second = [place + 2 for place in first]
        level = [combine(pair, first, second) for pair in pairs]
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2]))
        even, odd = ([4 * block + i for block in range(side, lanes // 2, 2) for i in range(4)] for side in (0, 1))
        level = [combine(pair, even, odd) for pair in pairs]
    return level[0]


def literal(kind):
    return getattr(kind, "literal_value", None)


def integers(context, builder, signature, arguments, *places):
    """Some of the arguments, as i64."""
    return [context.cast(builder, arguments[place], signature.args[place], types.int64) for place in places]


def ahead_of(context, builder, signature, arguments, first):
    """(address of row 0, bytes of a row, table) of the rows to prefetch, three arguments from ``first`` on."""
    return *integers(context, builder, signature, arguments, first, first + 1), arguments[first + 2]
