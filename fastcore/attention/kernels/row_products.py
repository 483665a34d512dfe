"""Products of a few queries with stored rows of keys or values, which are found through a table of row numbers.

Few queries mean that memory is the limit: rows are read once, in order, and the queries of a tile stay in registers.
How rows are stored and found: `emit_rows`.
"""

from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastcore._core.simd.lanes import emit_fma
from fastcore._core.simd.types import splat
from fastcore.attention.kernels.emit_rows import (
    F32_VECTOR,
    I64,
    LANES,
    LINE,
    StoredRows,
    ahead_of,
    integers,
    literal,
    loop,
    sum_each,
)

__all__ = ["add_rows", "dot_rows", "scale_weights"]

# Rows whose products are summed side by side: more need more addresses than there are registers.
ROWS_AT_ONCE = 4


def _emit_dots(context, builder, signature, arguments):
    """Body of `dot_rows`."""
    out, queries = arguments[:2]
    stride, units = integers(context, builder, signature, arguments, 2, 8)
    ahead = ahead_of(context, builder, signature, arguments, 9)
    count = literal(signature.args[12])
    rows = StoredRows(context, builder, signature, arguments, (3, 4, 5, 6, 7))
    keys = [rows.row(I64(key)) for key in range(LANES // count)]
    heads = [builder.gep(queries, [builder.mul(stride, I64(q))]) for q in range(count)]

    def body_of(first, chosen):
        def body(unit, sums):
            loaded = [rows.unit(key, unit) for key in chosen]
            for index in range(len(chosen)):
                rows.fetch(ahead, I64(first + index), unit)
            start = builder.mul(unit, I64(LANES * rows.vectors_of_unit))
            for v in range(rows.vectors_of_unit):
                for q, head in enumerate(heads):
                    at = builder.gep(head, [builder.add(start, I64(v * LANES))])
                    query = builder.load(builder.bitcast(at, F32_VECTOR.as_pointer()), align=4)
                    for index, vectors in enumerate(loaded):
                        place = index * count + q
                        sums[place] = emit_fma(builder, vectors[v], query, sums[place])
            return sums

        return body

    sums = []
    for first in range(0, len(keys), ROWS_AT_ONCE):
        chosen = keys[first : first + ROWS_AT_ONCE]
        zeros = [ir.Constant(F32_VECTOR, None)] * (len(chosen) * count)
        sums += loop(builder, units, zeros, body_of(first, chosen))
    scores = sum_each(builder, sums)
    if rows.dtype == types.int8:
        scores = builder.fmul(scores, rows.row_scales(count))
    builder.store(scores, builder.bitcast(out, F32_VECTOR.as_pointer()), align=4)
    return context.get_dummy_value()


def _emit_additions(context, builder, signature, arguments):
    """Body of `add_rows`."""
    out, _, weights = arguments[:3]
    stride, count, first_unit = integers(context, builder, signature, arguments, 1, 8, 9)
    ahead = ahead_of(context, builder, signature, arguments, 10)
    queries, units = (literal(kind) for kind in signature.args[13:])
    rows = StoredRows(context, builder, signature, arguments, (3, 4, 5, 6, 7))
    vectors = units * rows.vectors_of_unit
    first_lane = builder.mul(first_unit, I64(LANES * rows.vectors_of_unit))
    places = [
        builder.bitcast(
            builder.gep(out, [builder.add(builder.add(builder.mul(stride, I64(q)), first_lane), I64(v * LANES))]),
            F32_VECTOR.as_pointer(),
        )
        for q in range(queries)
        for v in range(vectors)
    ]

    def body(index, sums):
        row = rows.row(index)
        loaded = [part for u in range(units) for part in rows.unit(row, builder.add(first_unit, I64(u)))]
        for part in range(0, units, max(LINE // rows.unit_bytes, 1)):
            rows.fetch(ahead, index, builder.add(first_unit, I64(part)))
        at = builder.gep(weights, [builder.mul(index, I64(queries))])
        for q in range(queries):
            weight = splat(builder, builder.load(builder.gep(at, [I64(q)])), LANES)
            for v, part in enumerate(loaded):
                sums[q * vectors + v] = emit_fma(builder, weight, part, sums[q * vectors + v])
        return sums

    sums = loop(builder, count, [builder.load(place, align=4) for place in places], body)
    for place, total in zip(places, sums, strict=True):
        builder.store(total, place, align=4)
    return context.get_dummy_value()


if config.DISABLE_JIT:
    from fastcore.attention.kernels.row_products_fallback import add_rows, dot_rows, scale_weights
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
        if literal(count) is None or LANES % literal(count):
            return None
        kinds = (
            out, queries, stride, base, row_bytes, scales, scale_bytes, rows, units, ahead, ahead_bytes, ahead_rows,
            count,
        )  # fmt: skip
        return types.void(*kinds), _emit_dots

    @intrinsic(prefer_literal=True)
    def add_rows(
        typingctx, out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, first_unit, ahead,
        ahead_bytes, ahead_rows, queries, units,
    ):  # fmt: skip
        """out[q, :] += sum over ``count`` rows of weights[row, q] * row, for ``units`` units from ``first_unit`` on.

        Literals ``queries`` and ``units``; int8 rows are taken without their scale, see `scale_weights`.
        """
        if literal(queries) is None or literal(units) is None:
            return None
        kinds = (
            out, stride, weights, base, row_bytes, scales, scale_bytes, rows, count, first_unit, ahead, ahead_bytes,
            ahead_rows, queries, units,
        )  # fmt: skip
        return types.void(*kinds), _emit_additions

    @intrinsic(prefer_literal=True)
    def scale_weights(typingctx, weights, base, row_bytes, scales, scale_bytes, rows, queries):
        """weights[key, q] *= scale of row(rows[key]), for the next ``LANES / queries`` keys of an int8 table."""
        if literal(queries) is None:
            return None

        def lower(context, builder, signature, arguments):
            found = StoredRows(context, builder, signature, arguments, (1, 2, 3, 4, 5))
            place = builder.bitcast(arguments[0], F32_VECTOR.as_pointer())
            scaled = builder.fmul(builder.load(place, align=4), found.row_scales(literal(signature.args[6])))
            builder.store(scaled, place, align=4)
            return context.get_dummy_value()

        return types.void(weights, base, row_bytes, scales, scale_bytes, rows, queries), lower
