"""Options of flash attention: one array of numbers and addresses, made for a call and read by the kernels.

Each array argument of a compiled function costs 0.1 us a call, and most calls leave out most of them.
"""

import math

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.attention.kernels.masking import BLOCK_KEYS, BOOL_MASK, FLOAT_MASK
from fastcore.attention.kernels.softmax import LOWEST_F32, LOWEST_F64
from fastcore.attention.kernels.storage_formats import F32
from fastcore.attention.kernels.views import UNCHANGED, Blocks, Mask, Rows, Scores, Stored

# Places in the array of options; addresses are 0 where there is no such array.
LEFT, RIGHT, SEED, MASK_KIND, MASK, QUERY_OFFSET, KEY_LENGTHS, LSE, SCORE_MOD = range(9)
SLOPES, SLOPES_STRIDE, SINKS, BLOCKS = range(9, 13)
MASK_STRIDES, BLOCK_STRIDES = 13, 17
# Of packed sequences (arrays of one batch): where their rows start (B + 1) and the rows of the longest.
QUERY_STARTS, KEY_STARTS, LONGEST = range(21, 24)
# The order in which items are taken, as their numbers; without it all, as they are numbered.
ITEMS, ITEM_COUNT = 24, 25
# How query, key, value and out are stored (`storage_formats`), and of half precision their addresses, each with its
# strides from sequence to sequence, head to head and row to row in elements: the arrays then only have the shapes.
STORAGE, HALVES = 26, 27
OPTIONS = HALVES + 4 * 4
QUERY, KEY, VALUE, OUT = range(HALVES, OPTIONS, 4)


@kernel
def row_pointer(array, batch, head, row):
    """Pointer to the first element of a row of a (B, H, L, ...) array."""
    strides = array.strides
    return simd.advance(
        simd.pointer(array), (batch * strides[0] + head * strides[1] + row * strides[2]) // array.itemsize
    )


@kernel
def rows_of(array, batch, head, first_row, count):
    """``count`` rows of one head."""
    return Rows(row_pointer(array, batch, head, first_row), array.strides[2] // array.itemsize, count)


@kernel
def stored_rows_of(array, place, options, batch, head, first_row, count):
    """The same in the storage format of the call; ``place`` is that of the array in the options."""
    floats = row_pointer(array, batch, head, first_row)
    if options[STORAGE] == F32:
        return Stored(floats, simd.pointer_at(0, simd.u16), array.strides[2] // array.itemsize, count, F32)
    start = batch * options[place + 1] + head * options[place + 2] + first_row * options[place + 3]
    halves = simd.advance(simd.pointer_at(options[place], simd.u16), start)
    return Stored(floats, halves, options[place + 3], count, options[STORAGE])


@kernel
def mask_of(options, dtype, batch, head, first_row):
    """The tile's rows of the mask, if there is one."""
    start = batch * options[MASK_STRIDES] + head * options[MASK_STRIDES + 1] + first_row * options[MASK_STRIDES + 2]
    kept = simd.advance(simd.pointer_at(options[MASK], simd.u8), start)
    added = simd.advance(simd.pointer_at(options[MASK], dtype), start)
    return Mask(options[MASK_KIND], kept, added, (options[MASK_STRIDES + 2], options[MASK_STRIDES + 3]))


@kernel
def integer_at(address, index, default):
    """Element of an int64 array given by its address; the default without an array."""
    if address == 0:
        return default
    return simd.load_scalar(simd.advance(simd.pointer_at(address, simd.i64), index))


@kernel
def float_at(address, index, default):
    """Element of a float64 array given by its address; the default without an array."""
    if address == 0:
        return default
    return simd.load_scalar(simd.advance(simd.pointer_at(address, simd.f64), index))


@kernel
def blocks_of(options, batch, head, first_row):
    """The tile's row of the block mask, if there is one: a tile never crosses the blocks' edges."""
    start = batch * options[BLOCK_STRIDES] + head * options[BLOCK_STRIDES + 1]
    start += first_row // BLOCK_KEYS * options[BLOCK_STRIDES + 2]
    kept = simd.advance(simd.pointer_at(options[BLOCKS], simd.u8), start)
    return Blocks(options[BLOCKS], kept, options[BLOCK_STRIDES + 3])


@kernel
def scores_of(kind, options, scale, softcap, itemsize, batch, head):
    """How the products of one head become scores: natural where something natural is added to them."""
    natural = options[MASK_KIND] == FLOAT_MASK or options[SCORE_MOD] != 0
    slope = float_at(options[SLOPES], batch * options[SLOPES_STRIDE] + head, 0.0)
    sink = float_at(options[SINKS], head, -math.inf)
    lowest = LOWEST_F32 if itemsize == 4 else LOWEST_F64
    unit = kind.unit_of(scale, softcap, natural)
    return Scores(scale, softcap, unit, lowest, options[SCORE_MOD], batch, head, slope, sink)


def options_of(
    left, right, mask_bool=None, mask_float=None, query_offset=None, key_lengths=None, seed=0, lse=None,
    changes=UNCHANGED,
):  # fmt: skip
    """What most calls leave out, as one array: each array argument of a compiled function costs 0.1 us a call."""
    options = np.zeros(OPTIONS, np.int64)
    options[LEFT] = left
    options[RIGHT] = right
    options[SEED] = np.uint64(seed).astype(np.int64)
    mask = mask_bool if mask_float is None else mask_float
    if mask is not None:
        options[MASK_KIND] = BOOL_MASK if mask_float is None else FLOAT_MASK
        options[MASK] = mask.ctypes.data
        options[MASK_STRIDES : MASK_STRIDES + 4] = [stride // mask.itemsize for stride in mask.strides]
    for place, array in ((QUERY_OFFSET, query_offset), (KEY_LENGTHS, key_lengths), (LSE, lse)):
        if array is not None:
            options[place] = array.ctypes.data
    if changes is not UNCHANGED:
        _add_changes(options, changes)
    return options


def _add_changes(options, changes):
    """What changes the scores, as options."""
    options[SCORE_MOD] = changes.score_mod
    for place, array in ((SLOPES, changes.slopes), (SINKS, changes.sinks), (BLOCKS, changes.blocks)):
        if array is not None:
            options[place] = array.ctypes.data
    if changes.slopes is not None and changes.slopes.shape[0] > 1:
        options[SLOPES_STRIDE] = changes.slopes.shape[1]
    if changes.blocks is not None:
        options[BLOCK_STRIDES : BLOCK_STRIDES + 4] = changes.blocks.strides


def enter_halves(array, place, options):
    """Enter half precision into the options; a float32 array of its shape, without memory of its own."""
    options[place] = array.ctypes.data
    options[place + 1 : place + 4] = [stride // 2 for stride in array.strides[:3]]
    return np.ndarray(array.shape, np.float32, bytearray(4), strides=(0, 0, 0, 0))
