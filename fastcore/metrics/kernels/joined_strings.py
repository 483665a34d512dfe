"""Strings in one piece of memory, ended by zeros, as items of one width: what `distinct_items` codes."""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item

ITEM = 1 << 14
NS_PER_STRING = 4.0


def find_ends(text, ends):
    """(number of zeros in ``text``, bytes of the longest string): their places in ``ends``; text[-1] is 0."""
    found, room = 0, ends.size
    target = simd.pointer(ends)
    for i in range(text.size):
        # Written whether it is one or not: a branch would be mispredicted once a string.
        simd.store_scalar(simd.advance(target, min(found, room - 1)), i)
        found += int(text[i] == 0)
    longest = ends[0]
    for i in range(1, room):
        longest = max(longest, ends[i] - ends[i - 1] - 1)
    return found, longest


@kernel
def pack_string(text, start, stop, target, width):
    """Bytes [start, stop) of ``text``, followed by zeros up to ``width``, a multiple of 8."""
    for offset in range(0, width, 8):
        word = np.uint64(0)
        left = min(stop - start - offset, 8)
        if left > 0:
            # 8 bytes are there: the text is padded.
            word = simd.load_scalar(simd.cast_pointer(simd.advance(text, start + offset), simd.u64))
            word &= np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 8 * left)
        simd.store_scalar(simd.cast_pointer(simd.advance(target, offset), simd.u64), word)


def pack_strings(text, ends, packed, counter):
    """packed (N, W): string i of ``text``, which ends at ends[i] and is padded by 8 bytes."""
    length, width = packed.shape
    item = next_item(counter, -1)
    while item * ITEM < length:
        for i in range(item * ITEM, min((item + 1) * ITEM, length)):
            start = ends[i - 1] + 1 if i > 0 else 0
            target = simd.advance(simd.pointer(packed), i * width)
            pack_string(simd.pointer(text), start, ends[i], target, width)
        item = next_item(counter, item)


def pack_strings_parallel(body, workers, text, ends, packed, counter):
    """`pack_strings` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (text, ends, packed, counter))


_TEXT, _ENDS = types.Array(types.uint8, 1, "C", readonly=True), types.Array(types.int64, 1, "C")
_FIND = Direct(find_ends, types.UniTuple(types.int64, 2)(_TEXT, _ENDS))
_PACK = SharedWork(pack_strings, pack_strings_parallel, [_TEXT, _ENDS, types.Array(types.uint8, 2, "C")])
# Strings are made as wide as the longest only if that takes no more bytes in all, or for each byte there is.
MOST_BYTES, MOST_GROWTH = 1 << 16, 16


def as_items(text, length):
    """(length,) items 'V8', 'V16', ... of ``length`` strings; None where one is much longer than the others.

    text : bytes, the strings in UTF-8 with a zero behind each, and nothing else that is 0; then 8 zeros more
    """
    memory = np.frombuffer(text, np.uint8)
    ends = np.empty(length, np.int64)
    found, longest = _FIND.call(memory[:-8], ends)
    if found != length:
        return None
    width = max(8, (longest + 7) // 8 * 8)
    if width * length > max(MOST_BYTES, MOST_GROWTH * len(text)):
        return None
    packed = np.empty((length, width), np.uint8)
    _PACK(length * NS_PER_STRING, memory, ends, packed)
    return packed.view(f"V{width}")[:, 0]
