"""Products of a few queries with stored rows of keys or values, which are found through a table of row numbers.

A row is found by its number: ``base + number * row_bytes``. The type of ``base`` says how elements are stored:

| pointer to | stored as | scales |
|---|---|---|
| float32 | float32 | none |
| uint16 | float16 bits | none |
| int16 | bfloat16 bits | none |
| int8 | int8 | one float32 a row |
| uint8 | 4 bits: byte i of 16 holds elements i (low) and 16 + i (high) of 32 | float16 scale and minimum for 32 |

A *unit* is what is loaded at once: a vector, or the 32 elements of a group of 4 bits. Rows are padded to whole units.
Few queries mean that memory is the limit: rows are read once, in order, and the queries of a tile stay in registers.
"""

from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastcore._core import simd
from fastcore._core.simd import host
from fastcore._core.simd.emit import Value
from fastcore._core.simd.half import emit_bfloat_to_float, emit_half_to_float
from fastcore._core.simd.lanes import emit_fma
from fastcore._core.simd.memory import first_lanes
from fastcore._core.simd.types import Vector, call, splat, vector_type
from fastcore.attention.kernels.storage_formats import GROUP

LANES = int(simd.F32_LANES)

_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = vector_type(Vector(types.float32, LANES))

# Whether int8 rows meet 16-bit queries by `dot_fixed`. Sums of products of bytes stay in 32 bits up to so many columns.
FIXED_POINT = host.HAS_VNNI and not config.DISABLE_JIT
FIXED_COLUMNS = 512
BYTES = 4 * LANES
LINE = 64
# Rows whose products are summed side by side: more need more addresses than there are registers.
ROWS_AT_ONCE = 4
# Float32 rows that are asked for again ahead of those that are read; narrower ones twice as many.
NEAR_ROWS = 8


def _shuffle(builder, left, right, lanes):
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _load(builder, address, kind):
    """The value of an LLVM type at an integer address, which need not be aligned."""
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _loop(builder, count, state, body):
    """Emit ``for index < count: state = body(index, state)`` on lists of LLVM values; return the last state."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(f"rows.{name}") for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(_I64)
    phis = [builder.phi(value.type) for value in state]
    builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
    builder.position_at_end(inside)
    following = body(index, list(phis))
    for phi, first, last in zip([index, *phis], [_I64(0), *state], [builder.add(index, _I64(1)), *following]):
        phi.add_incoming(first, before)
        phi.add_incoming(last, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return phis


class _Rows:
    """Emits the addresses and loads of rows in one storage format."""

    def __init__(self, context, builder, signature, arguments, places):
        """``places``: where base, row_bytes, scales, scale_bytes and rows stand among the arguments."""
        self.builder = builder
        self.dtype = signature.args[places[0]].dtype
        self.base = builder.ptrtoint(arguments[places[0]], _I64)
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
        at = builder.add(data, builder.mul(unit, _I64(self.unit_bytes)))
        if self.dtype == types.float32:
            return [_load(builder, at, _VECTOR)]
        if self.dtype == types.uint8:
            return self._four_bits(at, builder.add(scales, builder.mul(unit, _I64(4))))
        stored = types.uint16 if self.dtype == types.int16 else self.dtype
        kind = Vector(stored, LANES)
        value = _load(builder, at, vector_type(kind))
        if self.dtype == types.int8:
            return [builder.sitofp(builder.sext(value, ir.VectorType(_I32, LANES)), _VECTOR)]
        emit = emit_bfloat_to_float if self.dtype == types.int16 else emit_half_to_float
        return [emit(Value(builder, value, kind)).llvm]

    def _four_bits(self, at, scale_at):
        """32 elements: nibble * scale + minimum."""
        builder = self.builder
        pair = Value(builder, _load(builder, scale_at, ir.VectorType(ir.IntType(16), 2)), Vector(types.uint16, 2))
        both = emit_half_to_float(pair).llvm
        scale, minimum = (_shuffle(builder, both, both, [side] * LANES) for side in (0, 1))
        low, high = [], []
        for first in range(0, GROUP // 2, LANES):
            packed = _load(builder, builder.add(at, _I64(first)), ir.VectorType(_I8, LANES))
            wide = builder.zext(packed, ir.VectorType(_I32, LANES))
            low.append(builder.and_(wide, ir.Constant(wide.type, [15] * LANES)))
            high.append(builder.lshr(wide, ir.Constant(wide.type, [4] * LANES)))
        return [emit_fma(builder, builder.sitofp(part, _VECTOR), scale, minimum) for part in (*low, *high)]

    def fetch(self, ahead, index, unit):
        """Ask for the line of ``unit`` in entry ``index`` of the table read next, and again of this one a few rows on.

        Processors drop prefetches while their queues are full, as they are when memory is the limit. The second ones
        are held up by the loads they precede and get through: 88 % of the bandwidth, 80 % without them, 65 % with
        nothing else and 45 % without any.
        """
        builder = self.builder
        offset = builder.mul(unit, _I64(self.unit_bytes))
        distance = NEAR_ROWS if self.dtype == types.float32 else 2 * NEAR_ROWS
        self._prefetch(ahead, index, offset)
        self._prefetch((self.base, self.row_bytes, self.table), builder.add(index, _I64(distance)), offset)

    def _prefetch(self, rows, index, offset):
        builder, (base, row_bytes, table) = self.builder, rows
        number = builder.load(builder.gep(table, [index]))
        at = builder.add(builder.add(base, builder.mul(number, row_bytes)), offset)
        place = builder.inttoptr(at, _I8.as_pointer())
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [place, _I32(0), _I32(2), _I32(1)])

    def row_scales(self, queries):
        """The float32 scales of the next ``LANES / queries`` rows, each ``queries`` times."""
        builder = self.builder
        keys = LANES // queries
        kind = ir.VectorType(_F32, keys)
        values = ir.Constant(kind, ir.Undefined)
        for key in range(keys):
            _, address = self.row(_I64(key))
            values = builder.insert_element(values, _load(builder, address, _F32), _I32(key))
        return _shuffle(builder, values, values, [lane // queries for lane in range(LANES)])


def _sum_each(builder, vectors):
    """The vector whose lane i is the sum of the lanes of ``vectors[i]``: LANES - 1 additions, 2 shuffles each."""
    add = builder.fadd if vectors[0].type == _VECTOR else builder.add

    def combine(pair, first, second):
        left, right = pair
        return add(_shuffle(builder, left, right, first), _shuffle(builder, left, right, second))

    lanes = range(LANES)
    level = vectors
    # Two rounds within blocks of 4 lanes (unpack instructions), then blocks are halved (128-bit shuffles).
    for pattern in ((0, LANES, 1, LANES + 1), (0, 1, LANES, LANES + 1)):
        pairs = [(level[i], level[i + 1]) for i in range(0, len(level), 2)]
        first = [pattern[lane % 4] + lane // 4 * 4 for lane in lanes]
        second = [place + 2 for place in first]
        level = [combine(pair, first, second) for pair in pairs]
    while len(level) > 1:
        blocks = LANES // 4
        whole = [[block * 4 + i for i in range(4)] for block in range(2 * blocks)]
        pairs = [(level[i], level[i + 1]) for i in range(0, len(level), 2)]
        even = [lane for block in range(0, 2 * blocks, 2) for lane in whole[block]]
        odd = [lane for block in range(1, 2 * blocks, 2) for lane in whole[block]]
        level = [combine(pair, even, odd) for pair in pairs]
    return level[0]


def _literal(kind):
    return getattr(kind, "literal_value", None)


def _integers(context, builder, signature, arguments, *places):
    """Some of the arguments, as i64."""
    return [context.cast(builder, arguments[place], signature.args[place], types.int64) for place in places]


def _ahead(context, builder, signature, arguments, first):
    """(address of row 0, bytes of a row, table) of the rows to prefetch, three arguments from ``first`` on."""
    return *_integers(context, builder, signature, arguments, first, first + 1), arguments[first + 2]


def _emit_dots(context, builder, signature, arguments):
    """Body of `dot_rows`."""
    out, queries = arguments[:2]
    stride, units = _integers(context, builder, signature, arguments, 2, 8)
    ahead = _ahead(context, builder, signature, arguments, 9)
    count = _literal(signature.args[12])
    rows = _Rows(context, builder, signature, arguments, (3, 4, 5, 6, 7))
    keys = [rows.row(_I64(key)) for key in range(LANES // count)]
    heads = [builder.gep(queries, [builder.mul(stride, _I64(q))]) for q in range(count)]

    def body_of(first, chosen):
        def body(unit, sums):
            loaded = [rows.unit(key, unit) for key in chosen]
            for index in range(len(chosen)):
                rows.fetch(ahead, _I64(first + index), unit)
            start = builder.mul(unit, _I64(LANES * rows.vectors_of_unit))
            for v in range(rows.vectors_of_unit):
                for q, head in enumerate(heads):
                    at = builder.gep(head, [builder.add(start, _I64(v * LANES))])
                    query = builder.load(builder.bitcast(at, _VECTOR.as_pointer()), align=4)
                    for index, vectors in enumerate(loaded):
                        place = index * count + q
                        sums[place] = emit_fma(builder, vectors[v], query, sums[place])
            return sums

        return body

    sums = []
    for first in range(0, len(keys), ROWS_AT_ONCE):
        chosen = keys[first : first + ROWS_AT_ONCE]
        zeros = [ir.Constant(_VECTOR, None)] * (len(chosen) * count)
        sums += _loop(builder, units, zeros, body_of(first, chosen))
    scores = _sum_each(builder, sums)
    if rows.dtype == types.int8:
        scores = builder.fmul(scores, rows.row_scales(count))
    builder.store(scores, builder.bitcast(out, _VECTOR.as_pointer()), align=4)
    return context.get_dummy_value()


def _emit_fixed_dots(context, builder, signature, arguments):
    """Body of `dot_fixed`."""
    out, planes, _, factors, corrections = arguments[:5]
    stride, columns = _integers(context, builder, signature, arguments, 2, 10)
    ahead = _ahead(context, builder, signature, arguments, 11)
    count = _literal(signature.args[14])
    rows = _Rows(context, builder, signature, arguments, (5, 6, 7, 8, 9))
    keys = [rows.row(_I64(key))[0] for key in range(LANES // count)]
    bytes_kind, sums_kind = ir.VectorType(_I8, BYTES), ir.VectorType(_I32, LANES)
    flip = ir.Constant(bytes_kind, [128] * BYTES)

    def products(plane):
        """The loop body that adds the products with one plane of the queries: 0 high and signed, 1 low bytes."""

        def body(step, sums):
            start = builder.mul(step, _I64(BYTES))
            inside = first_lanes(builder, builder.sub(columns, start), BYTES)
            loaded = []
            for index, key in enumerate(keys):
                if plane == 0:
                    rows.fetch(ahead, _I64(index), builder.mul(step, _I64(BYTES // rows.unit_bytes)))
                at = builder.inttoptr(builder.add(key, start), bytes_kind.as_pointer())
                masked = [at, _I32(1), inside, ir.Constant(bytes_kind, None)]
                loaded.append(call(builder, f"llvm.masked.load.v{BYTES}i8.p0", bytes_kind, masked))
            if plane == 0:
                loaded = [builder.xor(key, flip) for key in loaded]
            for q in range(count):
                at = builder.add(builder.mul(stride, _I64(2 * q + plane)), start)
                at = builder.bitcast(builder.gep(planes, [at]), sums_kind.as_pointer())
                query = builder.load(at, align=1)
                for key, stored in enumerate(loaded):
                    words = builder.bitcast(stored, sums_kind)
                    unsigned, signed = (words, query) if plane == 0 else (query, words)
                    place = key * count + q
                    operands = [sums[place], unsigned, signed]
                    sums[place] = call(builder, "llvm.x86.avx512.vpdpbusd.512", sums_kind, operands)
            return sums

        return body

    steps = builder.sdiv(builder.add(columns, _I64(BYTES - 1)), _I64(BYTES))
    sums = _loop(builder, steps, [ir.Constant(sums_kind, None)] * LANES, products(0))
    eight = ir.Constant(sums_kind, [8] * LANES)
    sums = _loop(builder, steps, [builder.shl(total, eight) for total in sums], products(1))
    corrected = builder.sub(
        _sum_each(builder, sums), builder.load(builder.bitcast(corrections, sums_kind.as_pointer()), align=4)
    )
    factor = builder.load(builder.bitcast(factors, _VECTOR.as_pointer()), align=4)
    scores = builder.fmul(builder.sitofp(corrected, _VECTOR), builder.fmul(factor, rows.row_scales(count)))
    builder.store(scores, builder.bitcast(out, _VECTOR.as_pointer()), align=4)


def _emit_additions(context, builder, signature, arguments):
    """Body of `add_rows`."""
    out, _, weights = arguments[:3]
    stride, count, first_unit = _integers(context, builder, signature, arguments, 1, 8, 9)
    ahead = _ahead(context, builder, signature, arguments, 10)
    queries, units = (_literal(kind) for kind in signature.args[13:])
    rows = _Rows(context, builder, signature, arguments, (3, 4, 5, 6, 7))
    vectors = units * rows.vectors_of_unit
    first_lane = builder.mul(first_unit, _I64(LANES * rows.vectors_of_unit))
    places = [
        builder.bitcast(
            builder.gep(out, [builder.add(builder.add(builder.mul(stride, _I64(q)), first_lane), _I64(v * LANES))]),
            _VECTOR.as_pointer(),
        )
        for q in range(queries)
        for v in range(vectors)
    ]

    def body(index, sums):
        row = rows.row(index)
        loaded = [part for u in range(units) for part in rows.unit(row, builder.add(first_unit, _I64(u)))]
        for part in range(0, units, max(LINE // rows.unit_bytes, 1)):
            rows.fetch(ahead, index, builder.add(first_unit, _I64(part)))
        at = builder.gep(weights, [builder.mul(index, _I64(queries))])
        for q in range(queries):
            weight = splat(builder, builder.load(builder.gep(at, [_I64(q)])), LANES)
            for v, part in enumerate(loaded):
                sums[q * vectors + v] = emit_fma(builder, weight, part, sums[q * vectors + v])
        return sums

    sums = _loop(builder, count, [builder.load(place, align=4) for place in places], body)
    for place, total in zip(places, sums, strict=True):
        builder.store(total, place, align=4)
    return context.get_dummy_value()


if config.DISABLE_JIT:
    from fastcore.attention.kernels.row_products_fallback import add_rows, dot_fixed, dot_rows, scale_weights
else:

    @intrinsic(prefer_literal=True)
    def dot_rows(
        typingctx, out, queries, stride, base, row_bytes, scales, scale_bytes, rows, units, ahead, ahead_bytes,
        ahead_rows, count,
    ):  # fmt: skip
        """out[key, q] = row(rows[key]) . queries[q] for the next ``LANES / count`` keys of the table.

        ``out`` LANES float32, ``queries`` ``stride`` apart, ``rows`` pointer to the table (int64), ``units`` of a row,
        literal ``count`` of queries: 1, 2, 4 or 8, up to LANES. int8 scores are scaled. Meanwhile the same entries of
        the table ``ahead_rows`` are fetched: rows of ``ahead_bytes`` from the address ``ahead`` on.
        """
        if _literal(count) is None or LANES % _literal(count):
            return None
        kinds = (
            out, queries, stride, base, row_bytes, scales, scale_bytes, rows, units, ahead, ahead_bytes, ahead_rows,
            count,
        )  # fmt: skip
        return types.void(*kinds), _emit_dots

    @intrinsic(prefer_literal=True)
    def dot_fixed(
        typingctx, out, planes, stride, factors, corrections, base, row_bytes, scales, scale_bytes, rows, columns,
        ahead, ahead_bytes, ahead_rows, count,
    ):  # fmt: skip
        """`dot_rows` of int8 rows with queries of 16 bits, in integers; returns whether that was done.

        ``planes``: of each query its high bytes (signed) and its low bytes, each padded with zeros to ``stride`` bytes,
        a multiple of `BYTES`; ``factors`` LANES float32, the query's value of one step, ``corrections`` LANES int32,
        2^15 times the sum of its high bytes, for lane % count. Half the instructions of products in float32. Bytes of
        keys are taken as unsigned (plus 128), since vpdpbusd multiplies unsigned by signed; the correction is for that.
        """
        if _literal(count) is None or LANES % _literal(count):
            return None
        kinds = (
            out, planes, stride, factors, corrections, base, row_bytes, scales, scale_bytes, rows, columns, ahead,
            ahead_bytes, ahead_rows, count,
        )  # fmt: skip

        def lower(context, builder, signature, arguments):
            done = FIXED_POINT and signature.args[5].dtype == types.int8
            if done:
                _emit_fixed_dots(context, builder, signature, arguments)
            return context.get_constant(types.boolean, done)

        return types.boolean(*kinds), lower

    @intrinsic(prefer_literal=True)
    def add_rows(
        typingctx, out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, first_unit, ahead,
        ahead_bytes, ahead_rows, queries, units,
    ):  # fmt: skip
        """out[q, :] += sum over ``count`` rows of weights[row, q] * row, for ``units`` units from ``first_unit`` on.

        Literals ``queries`` and ``units``; int8 rows are taken without their scale, see `scale_weights`.
        """
        if _literal(queries) is None or _literal(units) is None:
            return None
        kinds = (
            out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, first_unit, ahead, ahead_bytes,
            ahead_rows, queries, units,
        )  # fmt: skip
        return types.void(*kinds), _emit_additions

    @intrinsic(prefer_literal=True)
    def scale_weights(typingctx, weights, base, row_bytes, scales, scale_bytes, rows, queries):
        """weights[key, q] *= scale of row(rows[key]), for the next ``LANES / queries`` keys of an int8 table."""
        if _literal(queries) is None:
            return None

        def lower(context, builder, signature, arguments):
            found = _Rows(context, builder, signature, arguments, (1, 2, 3, 4, 5))
            place = builder.bitcast(arguments[0], _VECTOR.as_pointer())
            scaled = builder.fmul(builder.load(place, align=4), found.row_scales(_literal(signature.args[6])))
            builder.store(scaled, place, align=4)
            return context.get_dummy_value()

        return types.void(weights, base, row_bytes, scales, scale_bytes, rows, queries), lower
