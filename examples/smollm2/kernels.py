"""Kernels of products with weights of 4 and 8 bits.

A *panel* is LANES output features side by side, so that a vector of weights belongs to one input feature, and LANES
sums grow without being added up across lanes. It is a list of blocks of 32 input features, each of bytes in this order:

| | Q4_1 | Q8_0 |
|---|---|---|
| scales | LANES float16 | LANES float16 |
| minima | LANES float16 | |
| weights | 16 times LANES bytes: nibbles of features i (low) and 16 + i (high) | 32 times LANES signed bytes |

weight = scale * number + minimum. Scales come in once a block: sum(weight * x) = scale * sum(number * x) + minimum *
sum(x), and the sum of x in each block is computed before, once for all panels.
"""

from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item

LANES = int(simd.F32_LANES)
BLOCK, HALF = 32, 16
Q4_1, Q8_0 = 20, 34  # bytes of a block of one output feature
# Panels of an item: 128 features, 3 us of work for one row of 576.
ITEM_PANELS = 8
# Serial nanoseconds a product of a weight and a number, of a row alone and in a tile of four.
NS_ALONE, NS_IN_TILE = 0.04, 0.02


@kernel
def at(x, i):
    return simd.load_scalar(simd.advance(x, i))


@kernel
def halves(ptr):
    """LANES float16 numbers as float32."""
    return simd.half_to_float(simd.load(simd.cast_pointer(ptr, simd.u16), simd.F32_LANES))


@kernel
def signed_bytes(ptr):
    """LANES signed bytes as float32."""
    numbers = simd.load(simd.cast_pointer(ptr, simd.i8), simd.F32_LANES)
    return simd.convert(simd.convert(numbers, simd.i32), simd.f32)


@kernel
def pair_q4(block, i):
    """Numbers of input features i and 16 + i of a block."""
    both = simd.convert(simd.load(simd.advance(block, (4 + i) * LANES), simd.F32_LANES), simd.i32)
    return simd.convert(both & 15, simd.f32), simd.convert(both >> 4, simd.f32)


@kernel
def pair_q8(block, i):
    """Numbers of input features i and 16 + i of a block."""
    first = simd.advance(block, (2 + i) * LANES)
    return signed_bytes(first), signed_bytes(simd.advance(first, HALF * LANES))


@kernel
def add_products(numbers, rows, k, sums):
    """sums + numbers * x[k] for each of four rows."""
    (p, q, r, s), (a, b, c, d) = rows, sums
    return (
        simd.fma(numbers, at(p, k), a),
        simd.fma(numbers, at(q, k), b),
        simd.fma(numbers, at(r, k), c),
        simd.fma(numbers, at(s, k), d),
    )


@kernel
def scaled_sums(scale, low, high, totals):
    """totals + scale * (low + high) for each of four rows."""
    (a, b, c, d), (e, f, g, h), (p, q, r, s) = low, high, totals
    return simd.fma(scale, a + e, p), simd.fma(scale, b + f, q), simd.fma(scale, c + g, r), simd.fma(scale, d + h, s)


@kernel
def four_rows_from(ptr, size):
    return ptr, simd.advance(ptr, size), simd.advance(ptr, 2 * size), simd.advance(ptr, 3 * size)


def _body(pair, block_bytes, has_minimum):
    """The body of a product, for `SharedWork`."""

    @kernel
    def one_row(panel, blocks, x, sums, out):
        """LANES output features of one row."""
        zero = simd.broadcast(0.0, simd.F32_LANES, simd.f32)
        total = zero
        for g in range(blocks):
            block, row = simd.advance(panel, g * block_bytes * LANES), simd.advance(x, g * BLOCK)
            a, b, c, d = zero, zero, zero, zero  # four chains: one would wait for each sum, 4 cycles
            for i in range(0, HALF, 2):
                low, high = pair(block, i)
                a, b = simd.fma(low, at(row, i), a), simd.fma(high, at(row, HALF + i), b)
                low, high = pair(block, i + 1)
                c, d = simd.fma(low, at(row, i + 1), c), simd.fma(high, at(row, HALF + i + 1), d)
            total = simd.fma(halves(block), (a + b) + (c + d), total)
            if has_minimum:
                total = simd.fma(halves(simd.advance(block, 2 * LANES)), at(sums, g), total)
        simd.store(out, total)

    @kernel
    def four_rows(panel, blocks, x, sums, out, out_size):
        """LANES output features of four rows."""
        zero = simd.broadcast(0.0, simd.F32_LANES, simd.f32)
        zeros = (zero, zero, zero, zero)
        totals = zeros
        rows, row_sums = four_rows_from(x, blocks * BLOCK), four_rows_from(sums, blocks)
        for g in range(blocks):
            block = simd.advance(panel, g * block_bytes * LANES)
            lows, highs = zeros, zeros
            for i in range(HALF):
                low, high = pair(block, i)
                lows = add_products(low, rows, g * BLOCK + i, lows)
                highs = add_products(high, rows, g * BLOCK + HALF + i, highs)
            totals = scaled_sums(halves(block), lows, highs, totals)
            if has_minimum:
                totals = add_products(halves(simd.advance(block, 2 * LANES)), row_sums, g, totals)
        for target, total in zip(four_rows_from(out, out_size), totals):
            simd.store(target, total)

    def multiply(panels, x, sums, out, counter):
        count, blocks, panel_bytes = panels.shape
        rows, size, out_size = x.shape[0], x.shape[1], out.shape[1]
        item = next_item(counter, -1)
        while item * ITEM_PANELS < count:
            for p in range(item * ITEM_PANELS, min((item + 1) * ITEM_PANELS, count)):
                panel = simd.advance(simd.pointer(panels), p * blocks * panel_bytes)
                for n in range(rows):
                    row, total = simd.advance(simd.pointer(x), n * size), simd.advance(simd.pointer(sums), n * blocks)
                    target = simd.advance(simd.pointer(out), n * out_size + p * LANES)
                    if n >= rows // 4 * 4:
                        one_row(panel, blocks, row, total, target)
                    elif n % 4 == 0:
                        four_rows(panel, blocks, row, total, target, out_size)
            item = next_item(counter, item)

    return multiply


def multiply_parallel(body, workers, panels, x, sums, out, counter):
    """A body in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (panels, x, sums, out, counter))


def sum_blocks(x, sums):
    """sums[n, g] = sum of the g-th block of row n."""
    rows, blocks = sums.shape
    source, target = simd.pointer(x), simd.pointer(sums)
    for i in range(rows * blocks):
        total = simd.load(simd.advance(source, i * BLOCK), simd.F32_LANES)
        for first in range(LANES, BLOCK, LANES):
            total = total + simd.load(simd.advance(source, i * BLOCK + first), simd.F32_LANES)
        simd.store_scalar(simd.advance(target, i), simd.reduce_add(total))


_PANELS, _ROWS = types.Array(types.uint8, 3, "C", readonly=True), types.Array(types.float32, 2, "C", readonly=True)
_OUT = types.Array(types.float32, 2, "C")
_ARGUMENTS = [_PANELS, _ROWS, _ROWS, _OUT]
_SUM_BLOCKS = Direct(sum_blocks, types.void(_ROWS, _OUT))
_MULTIPLY = {
    Q4_1: SharedWork(_body(pair_q4, Q4_1, True), multiply_parallel, _ARGUMENTS),
    Q8_0: SharedWork(_body(pair_q8, Q8_0, False), multiply_parallel, _ARGUMENTS),
}


def multiply(panels, block_bytes, x, sums, out):
    """out = x @ weights.

    panels (M, K / 32, LANES * block_bytes) uint8; x (N, K), sums (N, K / 32) and out (N, M * LANES) float32; all
    C-contiguous, N and K > 0. ``sums`` is scratch.
    """
    rows, size = x.shape
    work_ns = size * out.shape[1] * (NS_ALONE * (rows % 4) + NS_IN_TILE * (rows - rows % 4))
    _SUM_BLOCKS.call(x, sums)
    _MULTIPLY[block_bytes](work_ns, panels, x, sums, out)
