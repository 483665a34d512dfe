"""Dropout of rows: each element is kept or dropped by the random word at its position."""

from typing import Any, NamedTuple

from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.philox import COUNTERS, WORDS, successive_words
from fastcore._core.streaming import write_vector
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.nn.kernels.elementwise import first_piece, is_streamed
from fastcore.nn.kernels.layer_norm import row_of

# Elements of an item, 5 us of work; a row longer than that is shared by threads. One that writes past the caches takes
# 256 KiB of float32 at once, so that memory is read in long stretches.
ITEM_ELEMENTS, STREAMED_ITEM_ELEMENTS = 16384, 65536
# Serial nanoseconds an element from cache, for the choice between serial and parallel.
NS_PER_ELEMENT = 0.35


class Dropout(NamedTuple):
    """Words from ``threshold`` on keep their element, which is multiplied by ``scale``."""

    threshold: Any
    scale: Any
    seed: Any


@kernel(inline=True)
def kept_bits(counter, dropout):
    """Whether the elements at positions ``4 * counter`` ff. are kept, `WORDS` bits from the lowest one on."""
    return simd.mask_bits(successive_words(counter, dropout.seed) >= dropout.threshold)


@kernel
def drop_span(x, out, count, position, dropout, past_caches):
    """``count`` elements, the first at ``position`` of the sequence of words; ``out`` may be ``x``.

    Blocks of words begin at multiples of four, elements anywhere: a block's last bits go into the next step.
    """
    lanes = lanes_of(x)
    counter, phase, waiting = position // 4, position % 4, 0
    zero, scale = filled(x, 0.0), filled(x, dropout.scale)
    for first in range(-WORDS, count, WORDS):
        following = kept_bits(counter, dropout)
        counter += COUNTERS
        bits = waiting | following << (WORDS - phase)
        waiting = following >> phase
        if 0 <= first <= count - WORDS:
            for piece in range(0, WORDS, lanes):
                value = simd.load(simd.advance(x, first + piece), lanes) * scale
                value = simd.select(simd.mask_of_bits(bits >> piece, lanes), value, zero)
                write_vector(simd.advance(out, first + piece), value, past_caches)
        elif first >= 0:
            for piece in range(0, count - first, lanes):
                left = count - first - piece
                value = simd.load_first(simd.advance(x, first + piece), lanes, left) * scale
                value = simd.select(simd.mask_of_bits(bits >> piece, lanes), value, zero)
                simd.store_first(simd.advance(out, first + piece), value, left)


def drop_items(x, out, offset, threshold, scale, seed, past_caches, counter):
    """Take blocks of elements, of many short rows or of a part of one, until none is left."""
    rows, size = x.shape
    dropout = Dropout(threshold, scale, seed)
    elements = STREAMED_ITEM_ELEMENTS if past_caches else ITEM_ELEMENTS
    per_item = max(1, elements // size)
    spans = (size + elements - 1) // elements
    item = next_item(counter, -1)
    while item // spans * per_item < rows:
        start = item % spans * elements
        count = min(size - start, elements)
        for i in range(item // spans * per_item, min((item // spans + 1) * per_item, rows)):
            source, target = simd.advance(row_of(x, i), start), simd.advance(row_of(out, i), start)
            position = offset + i * size + start
            done, part = 0, first_piece(target, count, past_caches)
            while done < count:
                at, to = simd.advance(source, done), simd.advance(target, done)
                drop_span(at, to, part, position + done, dropout, past_caches)
                done, part = done + part, count - done - part
        item = next_item(counter, item)
    simd.stream_fence()


def drop_parallel(body, workers, x, out, offset, threshold, scale, seed, past_caches, counter):
    """`drop_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, out, offset, threshold, scale, seed, past_caches, counter))


def _argument_types(dtype):
    read, written = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 2, "A")
    return [read, written, types.int64, types.int64, types.float64, types.uint64, types.boolean]


_DROP_F32 = SharedWork(drop_items, drop_parallel, _argument_types(types.float32))
_DROP_F64 = SharedWork(drop_items, drop_parallel, _argument_types(types.float64))


def drop(x, out, offset, threshold, scale, seed):
    """out = x * scale where the word at offset + i is at least ``threshold``, else 0; i counts in C order.

    x, out (N, D), last axis contiguous, N and D > 0: one of float32 and float64. ``out`` may be x, and no other array
    that overlaps it. 0 <= threshold < 2**32, 0 <= offset, offset + x.size <= 2**63, 0 <= seed < 2**64.
    """
    past_caches = is_streamed(out, [x])
    work = _DROP_F32 if x.itemsize == 4 else _DROP_F64
    work(x.size * NS_PER_ELEMENT, x, out, offset, threshold, scale, seed, past_caches)
