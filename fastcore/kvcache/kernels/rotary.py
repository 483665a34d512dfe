"""Rotation of pairs by the angles of their positions, whose cos and sin come from the rows of a table.

A row for pairs (i, i + size / 2) is [cos | sin], ``size`` numbers. For interleaved pairs (2 i, 2 i + 1) it is
``2 * size`` numbers, [cos | sin] with each cos twice and -sin in front of each sin: vectors of a row then need no more
than an exchange of neighbours. Products and sums are rounded one by one, as in NumPy: the same bits on every host.
"""

from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.tile import lanes_of
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.attention.kernels.forward import is_plain
from fastcore.attention.kernels.options import row_pointer

# Elements an item should have, 1 us, so that taking it (30 ns) is nothing.
ITEM_ELEMENTS = 8192
# Serial nanoseconds per byte of a row, for the choice between serial and parallel: 0.1 ns a float32 from cache, three
# times that from memory.
NS_PER_BYTE = 0.05


@kernel
def turn_halves(source, row, target, size):
    """Rotate the pairs (i, i + size / 2); ``target`` may be ``source``."""
    lanes = lanes_of(source)
    half = size // 2
    for first in range(0, half, lanes):
        count = min(half - first, lanes)
        a = simd.load_first(simd.advance(source, first), lanes, count)
        b = simd.load_first(simd.advance(source, half + first), lanes, count)
        cos = simd.load_first(simd.advance(row, first), lanes, count)
        sin = simd.load_first(simd.advance(row, half + first), lanes, count)
        simd.store_first(simd.advance(target, first), a * cos - b * sin, count)
        simd.store_first(simd.advance(target, half + first), b * cos + a * sin, count)


@kernel
def turn_neighbours(source, row, target, size, dtype):
    """Rotate the pairs (2 i, 2 i + 1); ``target`` may be ``source``."""
    lanes = lanes_of(source)
    for first in range(0, size, lanes):
        count = min(size - first, lanes)
        at = simd.advance(source, first)
        pairs = simd.load_first(at, lanes, count)
        if lanes == simd.F32_LANES:
            bits = simd.bitcast(pairs, simd.u64)
            exchanged = simd.bitcast((bits << 32) | (bits >> 32), dtype)
        else:
            exchanged = simd.gather(at, simd.minimum(simd.iota_i32(lanes) ^ 1, count - 1))
        cos = simd.load_first(simd.advance(row, first), lanes, count)
        sin = simd.load_first(simd.advance(row, size + first), lanes, count)
        simd.store_first(simd.advance(target, first), pairs * cos + exchanged * sin, count)


@kernel
def copy_span(source, target, first, size):
    """Copy the elements [first, size)."""
    lanes = lanes_of(source)
    for i in range(first, size, lanes):
        simd.store_first(simd.advance(target, i), simd.load_first(simd.advance(source, i), lanes, size - i), size - i)


@kernel
def rotate_rows(x, table, index, size, interleaved, out, first, last):
    """Rows [first, last) of the B * H * T rows; ``index`` has one row for all sequences, or one for each."""
    _, heads, tokens, width = x.shape
    token, head, batch = first % tokens, first // tokens % heads, first // (tokens * heads)
    for _ in range(first, last):
        source, target = row_pointer(x, batch, head, token), row_pointer(out, batch, head, token)
        row = simd.advance(simd.pointer(table), index[min(batch, index.shape[0] - 1), token] * table.shape[1])
        if interleaved:
            turn_neighbours(source, row, target, size, x.dtype)
        else:
            turn_halves(source, row, target, size)
        copy_span(source, target, size, width)
        token += 1
        if token == tokens:
            token = 0
            head += 1
            if head == heads:
                head = 0
                batch += 1


def rotate_items(x, table, index, size, interleaved, out, counter):
    """Take blocks of rows until none is left."""
    batches, heads, tokens, width = x.shape
    rows = batches * heads * tokens
    per_item = 1 + ITEM_ELEMENTS // width
    item = next_item(counter, -1)
    while item * per_item < rows:
        rotate_rows(x, table, index, size, interleaved, out, item * per_item, min((item + 1) * per_item, rows))
        item = next_item(counter, item)


def rotate_parallel(body, workers, x, table, index, size, interleaved, out, counter):
    """`rotate_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, table, index, size, interleaved, out, counter))


def rotate_small(x, table, index, size, interleaved, out):
    """Rotate if everything is in order and there is not enough work for threads; whether that was so."""
    batches, heads, tokens, width = x.shape
    if x.size == 0 or size > width or x.size * x.itemsize * NS_PER_BYTE >= threads.SMALLEST_WORK_NS:
        return False
    sequences = index.shape[0]
    if (sequences != 1 and sequences != batches) or index.shape[1] != tokens or not is_plain(x):
        return False
    if (index.ctypes.data % 8 + index.strides[0] % 8 + index.strides[1] % 8) != 0:
        return False
    for i in range(sequences):
        for t in range(tokens):
            if index[i, t] < 0 or index[i, t] >= table.shape[0]:
                return False
    rotate_rows(x, table, index, size, interleaved, out, 0, batches * heads * tokens)
    return True


def _argument_types(dtype):
    x, index = types.Array(dtype, 4, "A", readonly=True), types.Array(types.int64, 2, "A", readonly=True)
    table = types.Array(dtype, 2, "C", readonly=True)
    return [x, table, index, types.int64, types.boolean, types.Array(dtype, 4, "A")]


_ROTATE_F32 = SharedWork(rotate_items, rotate_parallel, _argument_types(types.float32))
_ROTATE_F64 = SharedWork(rotate_items, rotate_parallel, _argument_types(types.float64))
_SMALL = Direct(rotate_small, types.boolean(*_argument_types(types.float32)))


def rotate_if_small(x, table, index, size, interleaved, out):
    """Whether these arrays were small and in order; then ``out`` is x rotated.

    x (B, H, T, D), table (N, ...) float32, index (1 or B, T) int64, ``out`` like x: nothing else is relied on. All
    checks in compiled code: in Python they take longer than the rotation of one token.
    """
    return _SMALL.call(x, table, index, size, interleaved, out)


def rotate(x, table, index, size, interleaved, out):
    """out = x with the first ``size`` elements of each row rotated.

    x, out (B, H, T, D), last axis contiguous, no axis empty, table (N, ...) C-contiguous, as above: one of float32 and
    float64; index (1 or B, T) int64, in [0, N). ``out`` may be x, and no other array that overlaps it.
    """
    work = _ROTATE_F32 if x.itemsize == 4 else _ROTATE_F64
    work(x.nbytes * NS_PER_BYTE, x, table, index, size, interleaved, out)
