"""Rows of the table of an inverse: what a lane must know of its bin, one cache line, and loading them as vectors.

A row expands P about one point x_0 of its bin, whose value y_0 + tail is known in twice the precision:

| field | |
|---|---|
| 0, 1 | x_0, y_0 |
| 2 ... 5 | b_1 ... b_4 of x = x_0 + b_1 t + ... + b_5 t**5, t = y - (y_0 + tail) |
| 6 | b_5, and reach: the largest distance of x_0 from the ends of the bin |
| 7 | tail, and kappa: (x - x_0) kappa bounds the rounding errors of P(x) - P(x_0), |x - x_0| <= reach |

Two numbers in a field are the upper 32 bits of each: 20 bits of mantissa suffice for them.

Row 0 has no bin: all its comparisons fail.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd.types import Vector, vector_type
from fastcore.polynomial.kernels.either import float_bits, float_of_bits

__all__ = ["FIELDS", "LANES", "both", "load_rows", "lower_part", "upper_part"]

FIELDS = 8
LANES = simd.F64_LANES
UPPER = -(1 << 32)


@kernel(inline=True, fastmath=False)
def both(a, b):
    """One float64 of the upper halves of the bits of two."""
    return float_of_bits((float_bits(a) & UPPER) | ((float_bits(b) >> 32) & 0xFFFFFFFF))


@kernel(inline=True, fastmath=False)
def upper_part(field):
    """The first of the numbers that `both` put into a field."""
    return float_of_bits(float_bits(field) & UPPER)


@kernel(inline=True, fastmath=False)
def lower_part(field):
    """The second one."""
    return float_of_bits(float_bits(field) << 32)


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def _transposed(builder, rows):
    """As many vectors as they have lanes, transposed: at each stage rows swap blocks of 1, 2, 4 lanes."""
    size = len(rows)
    distance = 1
    while distance < size:
        low = [lane if lane & distance == 0 else size + (lane ^ distance) for lane in range(size)]
        high = [lane | distance if lane & distance == 0 else size + lane for lane in range(size)]
        after = list(rows)
        for i in (i for i in range(size) if i & distance == 0):
            pair = rows[i], rows[i | distance]
            after[i], after[i | distance] = _shuffle(builder, *pair, low), _shuffle(builder, *pair, high)
        rows = after
        distance *= 2
    return rows


def _load_rows(typingctx, rows, places):
    """Return the FIELDS fields of the rows with the LANES numbers at `places`, as a tuple of vectors.

    Loads of whole rows and shuffles: half the time of eight gathers (Zen 4).
    """
    if rows != types.CPointer(types.float64) or places != types.CPointer(types.int64):
        return None
    lanes = int(LANES)
    vector = Vector(types.float64, lanes)
    sig = types.UniTuple(vector, FIELDS)(rows, places)

    def codegen(context, builder, sig, args):
        index, kind = ir.IntType(64), vector_type(vector)
        starts = []
        for lane in range(lanes):
            place = builder.load(builder.gep(args[1], [index(lane)]), align=8)
            starts.append(builder.gep(args[0], [builder.mul(place, index(FIELDS))]))
        fields = []
        for first in range(0, FIELDS, lanes):
            parts = (builder.gep(start, [index(first)]) for start in starts)
            loaded = [builder.load(builder.bitcast(part, kind.as_pointer()), align=8) for part in parts]
            fields += _transposed(builder, loaded)
        return context.make_tuple(builder, sig.return_type, fields)

    return sig, codegen


def _load_rows_in_python(rows, places):
    numbers = np.asarray(simd.load(places, int(LANES)))
    loaded = np.stack([np.asarray(simd.load(simd.advance(rows, int(i) * FIELDS), FIELDS)) for i in numbers])
    return tuple(np.ascontiguousarray(column).view(simd.python_fallback.Lanes) for column in loaded.T)


def _choose_load_rows():
    if config.DISABLE_JIT:
        return _load_rows_in_python
    _load_rows.__name__ = "load_rows"
    return intrinsic(_load_rows)


load_rows = _choose_load_rows()
