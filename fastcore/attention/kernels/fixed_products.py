"""Products of int8 rows in integers by vpdpbusd, which sums four products of bytes at the rate of one in float32.

Queries and weights take part with 16 bits, as a high and a low byte (`fixed_point`). vpdpbusd multiplies unsigned by
signed bytes; where it meets two signed ones, 128 is added to one and a correction taken off the sum.
"""

from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastcore._core.simd import host
from fastcore._core.simd.lanes import emit_fma
from fastcore._core.simd.memory import first_lanes
from fastcore._core.simd.types import call, splat
from fastcore.attention.kernels.emit_rows import (
    F32_VECTOR,
    I8,
    I32,
    I64,
    LANES,
    StoredRows,
    ahead_of,
    integers,
    literal,
    loop,
    shuffle,
    sum_each,
)

# Whether int8 rows meet 16-bit queries and weights. Sums of products of bytes stay in 32 bits up to so many columns.
FIXED_POINT = host.HAS_VNNI and not config.DISABLE_JIT
FIXED_COLUMNS = 512
BYTES = 4 * LANES
# Keys of a block at most, whose weights are split together: 256 * 65535 * 127 still fits 32 bits. Keys whose bytes one
# instruction sums.
PLANE = 256
QUAD = 4

_BYTES, _SUMS = ir.VectorType(I8, BYTES), ir.VectorType(I32, LANES)


def _vector_at(builder, pointer, kind):
    return builder.bitcast(pointer, kind.as_pointer())


def _byte_loader(builder, columns, start):
    """A function that loads a row's bytes from ``start`` on, zeros behind its ``columns``, given its address."""
    inside = first_lanes(builder, builder.sub(columns, start), BYTES)

    def load(row):
        at = builder.inttoptr(builder.add(row, start), _BYTES.as_pointer())
        arguments = [at, I32(1), inside, ir.Constant(_BYTES, None)]
        return call(builder, f"llvm.masked.load.v{BYTES}i8.p0", _BYTES, arguments)

    return load


def _sum_products(builder, total, unsigned, signed):
    return call(builder, "llvm.x86.avx512.vpdpbusd.512", _SUMS, [total, unsigned, signed])


def _emit_dots(context, builder, signature, arguments):
    """Body of `dot_fixed`."""
    out, planes, _, factors, corrections = arguments[:5]
    stride, columns = integers(context, builder, signature, arguments, 2, 10)
    ahead = ahead_of(context, builder, signature, arguments, 11)
    count = literal(signature.args[14])
    rows = StoredRows(context, builder, signature, arguments, (5, 6, 7, 8, 9))
    keys = [rows.row(I64(key))[0] for key in range(LANES // count)]
    flip = ir.Constant(_BYTES, [128] * BYTES)

    def products(plane):
        """The loop body that adds the products with one plane of the queries: 0 high and signed, 1 low bytes."""

        def body(step, sums):
            start = builder.mul(step, I64(BYTES))
            load = _byte_loader(builder, columns, start)
            loaded = [load(key) for key in keys]
            if plane == 0:
                for index in range(len(keys)):
                    rows.fetch(ahead, I64(index), builder.mul(step, I64(BYTES // rows.unit_bytes)))
                loaded = [builder.xor(key, flip) for key in loaded]
            for q in range(count):
                at = builder.add(builder.mul(stride, I64(2 * q + plane)), start)
                query = builder.load(_vector_at(builder, builder.gep(planes, [at]), _SUMS), align=1)
                for key, stored in enumerate(loaded):
                    words = builder.bitcast(stored, _SUMS)
                    unsigned, signed = (words, query) if plane == 0 else (query, words)
                    place = key * count + q
                    sums[place] = _sum_products(builder, sums[place], unsigned, signed)
            return sums

        return body

    steps = builder.sdiv(builder.add(columns, I64(BYTES - 1)), I64(BYTES))
    sums = loop(builder, steps, [ir.Constant(_SUMS, None)] * LANES, products(0))
    eight = ir.Constant(_SUMS, [8] * LANES)
    sums = loop(builder, steps, [builder.shl(total, eight) for total in sums], products(1))
    corrected = builder.sub(sum_each(builder, sums), builder.load(_vector_at(builder, corrections, _SUMS), align=4))
    factor = builder.load(_vector_at(builder, factors, F32_VECTOR), align=4)
    scores = builder.fmul(builder.sitofp(corrected, F32_VECTOR), builder.fmul(factor, rows.row_scales(count)))
    builder.store(scores, _vector_at(builder, out, F32_VECTOR), align=4)


def _emit_split(context, builder, signature, arguments):
    """Body of `split_weights`."""
    planes, panel, inverse = arguments[:3]
    (first_key,) = integers(context, builder, signature, arguments, 3)
    count = literal(signature.args[4])
    per_step = builder.load(_vector_at(builder, inverse, F32_VECTOR), align=4)
    half = ir.Constant(F32_VECTOR, [0.5] * LANES)
    steps = []
    for vector in range(count):
        at = builder.gep(panel, [builder.add(builder.mul(first_key, I64(count)), I64(vector * LANES))])
        weight = builder.load(_vector_at(builder, at, F32_VECTOR), align=4)
        steps.append(builder.fptosi(builder.fadd(builder.fmul(weight, per_step), half), _SUMS))
    while len(steps) > 1:  # one long vector [key, query] of LANES keys
        steps = [
            shuffle(builder, low, high, list(range(2 * low.type.count))) for low, high in zip(steps[::2], steps[1::2])
        ]
    for q in range(count):
        own = shuffle(builder, steps[0], steps[0], list(range(q, count * LANES, count)))
        high = builder.lshr(own, ir.Constant(_SUMS, [8] * LANES))
        for plane, part in enumerate((high, own)):
            at = builder.gep(planes, [builder.add(I64((2 * q + plane) * PLANE), first_key)])
            narrow = builder.trunc(part, ir.VectorType(I8, LANES))
            builder.store(narrow, _vector_at(builder, at, narrow.type), align=1)
    return context.get_dummy_value()


def _interleave(builder, rows):
    """Bytes of four rows as dwords of a column each; vector i has columns 16 * block + 4 * i + 0 .. 3."""

    def unpack(left, right, high):
        """Elements of both by turns, of the lower or upper half of each 128 bits."""
        count, per_block = left.type.count, left.type.count // 4
        start = per_block // 2 if high else 0
        places = [
            block * per_block + start + i + side * count
            for block in range(4)
            for i in range(per_block // 2)
            for side in (0, 1)
        ]
        return shuffle(builder, left, right, places)

    words = ir.VectorType(ir.IntType(16), BYTES // 2)
    first, second = (
        [builder.bitcast(unpack(left, right, high), words) for high in (0, 1)] for left, right in (rows[:2], rows[2:])
    )
    return [builder.bitcast(unpack(first[i // 2], second[i // 2], i % 2), _SUMS) for i in range(4)]


def _uninterleave(builder, sums):
    """Vectors of 16 successive columns, of four as `_interleave` has them: their 128-bit blocks are transposed."""

    def blocks(left, right, chosen):
        return shuffle(builder, left, right, [4 * block + i for block in chosen for i in range(4)])

    even, odd = (
        [blocks(sums[0], sums[1], pair), blocks(sums[2], sums[3], pair)] for pair in ((0, 4, 2, 6), (1, 5, 3, 7))
    )
    result = []
    for half in ((0, 1, 4, 5), (2, 3, 6, 7)):
        result += [blocks(side[0], side[1], half) for side in (even, odd)]
    return result


def _emit_additions(context, builder, signature, arguments):
    """Body of `add_fixed`."""
    out, _, planes, factors = arguments[:4]
    stride, count, first, columns = integers(context, builder, signature, arguments, 1, 9, 10, 11)
    ahead = ahead_of(context, builder, signature, arguments, 12)
    queries = literal(signature.args[15])
    rows = StoredRows(context, builder, signature, arguments, (4, 5, 6, 7, 8))
    load = _byte_loader(builder, columns, first)

    def body(quad, sums):
        key = builder.mul(quad, I64(QUAD))
        entries = [builder.add(key, I64(i)) for i in range(QUAD)]
        for entry in entries:
            rows.fetch(ahead, entry, builder.sdiv(first, I64(rows.unit_bytes)))
        values = _interleave(builder, [load(rows.row(entry)[0]) for entry in entries])
        for place in range(2 * queries):  # query 0 high and low bytes, query 1 ...
            at = builder.gep(planes, [builder.add(I64(place * PLANE), key)])
            four = builder.load(_vector_at(builder, at, I32), align=1)
            weights = splat(builder, four, LANES)
            for i, value in enumerate(values):
                sums[place * 4 + i] = _sum_products(builder, sums[place * 4 + i], weights, value)
        return sums

    quads = builder.sdiv(builder.add(count, I64(QUAD - 1)), I64(QUAD))
    sums = loop(builder, quads, [ir.Constant(_SUMS, None)] * (8 * queries), body)
    eight = ir.Constant(_SUMS, [8] * LANES)
    for q in range(queries):
        high, low = (sums[8 * q + 4 * plane : 8 * q + 4 * plane + 4] for plane in (0, 1))
        whole = _uninterleave(builder, [builder.add(builder.shl(h, eight), part) for h, part in zip(high, low)])
        factor = splat(builder, builder.load(builder.gep(factors, [I64(q)])), LANES)
        for v, part in enumerate(whole):
            column = builder.add(first, I64(v * LANES))
            with builder.if_then(builder.icmp_signed("<", column, columns)):
                place = builder.gep(out, [builder.add(builder.mul(stride, I64(q)), column)])
                place = _vector_at(builder, place, F32_VECTOR)
                before = builder.load(place, align=4)
                builder.store(emit_fma(builder, builder.sitofp(part, F32_VECTOR), factor, before), place, align=4)


if config.DISABLE_JIT:
    from fastcore.attention.kernels.row_products_fallback import add_fixed, dot_fixed, split_weights
else:

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
        if literal(count) is None or LANES % literal(count):
            return None
        kinds = (
            out, planes, stride, factors, corrections, base, row_bytes, scales, scale_bytes, rows, columns, ahead,
            ahead_bytes, ahead_rows, count,
        )  # fmt: skip

        def lower(context, builder, signature, arguments):
            done = FIXED_POINT and signature.args[5].dtype == types.int8
            if done:
                _emit_dots(context, builder, signature, arguments)
            return context.get_constant(types.boolean, done)

        return types.boolean(*kinds), lower

    @intrinsic(prefer_literal=True)
    def split_weights(typingctx, planes, panel, inverse, first_key, queries):
        """Write the high and low bytes of weights[key, query] * inverse[query], 0 .. 65535, of LANES keys.

        ``planes``: of each query `PLANE` high and as many low bytes, one a key; ``inverse`` LANES float32, of lane %
        queries. Nothing where there is no `FIXED_POINT`.
        """
        if literal(queries) is None or LANES % literal(queries):
            return None

        def lower(context, builder, signature, arguments):
            if FIXED_POINT:
                _emit_split(context, builder, signature, arguments)
            return context.get_dummy_value()

        return types.void(planes, panel, inverse, first_key, queries), lower

    @intrinsic(prefer_literal=True)
    def add_fixed(
        typingctx, out, stride, planes, factors, base, row_bytes, scales, scale_bytes, rows, count, first, columns,
        ahead, ahead_bytes, ahead_rows, queries,
    ):  # fmt: skip
        """out[q, first : first + 64] += factors[q] * sum over ``count`` int8 rows of weight * row.

        Returns whether that was done. ``planes`` from `split_weights`, zeros from ``count`` up to a multiple of 4;
        ``columns`` of a row, ``first`` a multiple of 64; literal ``queries`` 1 or 2, whose sums of high and low bytes
        fill 16 registers.
        """
        if literal(queries) is None:
            return None
        kinds = (
            out, stride, planes, factors, base, row_bytes, scales, scale_bytes, rows, count, first, columns, ahead,
            ahead_bytes, ahead_rows, queries,
        )  # fmt: skip

        def lower(context, builder, signature, arguments):
            done = FIXED_POINT and signature.args[4].dtype == types.int8
            if done:
                _emit_additions(context, builder, signature, arguments)
            return context.get_constant(types.boolean, done)

        return types.boolean(*kinds), lower
