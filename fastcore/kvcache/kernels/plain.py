"""Checks of plain calls of `KVCache`, and the lengths that follow, in compiled code: 0.5 us a call, in NumPy 4 to 8.

Each answers whether everything is in order. What is not goes the thorough way, which checks again and has the messages.
Arrays of tokens are float32 of four axes, those of lengths (B,) int64, C-contiguous; nothing else is relied on.
"""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct
from fastcore.attention.kernels.forward import is_plain
from fastcore.kvcache.kernels.write import COUNT, FIRST, START

# The cache's sizes G, D, Dv, and what follows from its capacity and window: most tokens of a sequence; most tokens of a
# call, so that it overwrites nothing that a window shows. A query at position p sees positions below SINKS and above
# p - WINDOW, the last ROWS of which are kept. A cache without window is a ring that ends before it turns: ROWS is its
# capacity, `kept_from` stays 0, which is never too late.
GROUPS, SIZE, VALUE_SIZE, LONGEST, MOST_TOKENS, WINDOW, SINKS, ROWS = range(8)


@kernel
def extent(x):
    """Addresses from the first number to behind the last one; no axis is empty."""
    low = np.int64(x.ctypes.data)
    high = low + x.itemsize
    for axis in range(4):
        reach = (x.shape[axis] - 1) * x.strides[axis]
        low += min(reach, 0)
        high += max(reach, 0)
    return low, high


@kernel
def overlap(x, y):
    """Whether two arrays may share memory: cautious, by their first and last addresses."""
    (x_low, x_high), (y_low, y_high) = extent(x), extent(y)
    return x_low < y_high and y_low < x_high


def touches(out, query, key, value):
    """Whether `out` may share memory with an input."""
    return overlap(out, query) or overlap(out, key) or overlap(out, value)


def lengthen(key, value, records, lengths, kept_from, bounds):
    """All T tokens of each sequence are new: their places into the records, then `lengths` and `kept_from` after."""
    batch, groups, tokens = lengths.size, bounds[GROUPS], key.shape[2]
    if key.shape != (batch, groups, tokens, bounds[SIZE]) or value.shape != (batch, groups, tokens, bounds[VALUE_SIZE]):
        return False
    if not 0 < tokens <= bounds[MOST_TOKENS] or not (is_plain(key) and is_plain(value)):
        return False
    for b in range(batch):
        if lengths[b] + tokens > bounds[LONGEST]:
            return False
    for b in range(batch):
        record = records[b]
        record[START], record[COUNT], record[FIRST] = lengths[b], tokens, 0
        lengths[b] += tokens
        kept_from[b] = max(kept_from[b], lengths[b] - bounds[ROWS])
    return True


def may_attend(query, out, lengths, kept_from, bounds):
    """The T newest tokens of each sequence, with all they look at, are in the cache."""
    batch, heads, tokens, size = query.shape
    if batch != lengths.size or heads % bounds[GROUPS] != 0 or size != bounds[SIZE] or query.size == 0:
        return False
    if out.shape != (batch, heads, tokens, bounds[VALUE_SIZE]) or not (is_plain(query) and is_plain(out)):
        return False
    for b in range(batch):
        start = lengths[b] - tokens
        if start < 0 or kept_from[b] > max(bounds[SINKS], start - bounds[WINDOW] + 1):
            return False
    return True


def shorten(length, lengths, kept_from, bounds):
    """`lengths` and `kept_from` once each sequence has its first `length` tokens, some of them changed if not."""
    for b in range(lengths.size):
        if not 0 <= length <= lengths[b]:
            return False
        lengths[b] = length
        if length <= bounds[SINKS]:
            kept_from[b] = bounds[SINKS]
        if kept_from[b] > max(bounds[SINKS], length - bounds[WINDOW]):
            return False
    return True


_TOKENS, _RECORDS = types.Array(types.float32, 4, "A", readonly=True), types.Array(types.int64, 2, "C")
_LENGTHS, _BOUNDS = types.Array(types.int64, 1, "C"), types.Array(types.int64, 1, "C", readonly=True)
TOUCHES = Direct(touches, types.boolean(_TOKENS, _TOKENS, _TOKENS, _TOKENS))
LENGTHEN = Direct(lengthen, types.boolean(_TOKENS, _TOKENS, _RECORDS, _LENGTHS, _LENGTHS, _BOUNDS))
MAY_ATTEND = Direct(may_attend, types.boolean(_TOKENS, _TOKENS, _LENGTHS, _LENGTHS, _BOUNDS))
SHORTEN = Direct(shorten, types.boolean(types.int64, _LENGTHS, _LENGTHS, _BOUNDS))
