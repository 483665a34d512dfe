"""Distinct items of a column by hashing their bytes: integers, floats, fixed-width strings, pointers.

An item of up to 16 bytes is its own key, two words; of a longer one the words are mixed, and its bytes are compared
with those of the row that the key came from. Chunks of a column are coded each for itself, in order of appearance;
`encode_items` then makes one of their codes.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item

# Multipliers of the hash: 2**64 over the golden ratio, and xxHash64's second prime.
GOLDEN, PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
# Bytes that are a key themselves.
KEY_BYTES = 16
# Keys and hashes are made a block at a time: 24 kB, which the L1 cache holds.
BLOCK = 1024
# A table starts with 2**FIRST_BITS slots, and is at most an eighth full, from 2**SPARSE_BITS slots on half. A slot is
# two words of the key and a code, -1 if empty, padded to 32 bytes so that it lies within a cache line.
FIRST_BITS, SPARSE_BITS = 8, 14
SLOT = 4
# A chunk is an item of the parallel loop: at least so many labels, at most so many chunks.
SMALLEST_CHUNK, MOST_CHUNKS = 1 << 14, 16
NS_PER_ITEM, NS_PER_BYTE, NS_PER_CODE = 2.0, 0.1, 0.5
# Labels that Python sorts sooner than NumPy.
FEW = 12
_ONE_CHUNK = np.zeros(1, np.int64)


@kernel
def word_at(item, offset):
    """8 bytes of an item."""
    return simd.load_scalar(simd.cast_pointer(simd.advance(item, offset), simd.u64))


@kernel
def half_word_at(item, offset):
    """4 bytes of an item."""
    return np.uint64(simd.load_scalar(simd.cast_pointer(simd.advance(item, offset), simd.u32)))


@kernel
def long_key(item, width):
    """Two words mixed from all of an item; width > 16."""
    first, second = GOLDEN, PRIME
    for offset in range(0, width - 8, 16):
        first = first * GOLDEN + word_at(item, offset)
        second = second * PRIME + word_at(item, min(offset + 8, width - 8))  # the last may overlap
    return first, second * PRIME + word_at(item, width - 8)


@kernel
def short_key(item, width):
    """All bytes of an item in one word; width < 8."""
    key = np.uint64(0)
    for offset in range(width):
        key |= np.uint64(simd.load_scalar(simd.advance(item, offset))) << np.uint64(8 * offset)
    return key


@kernel
def make_keys(items, stride, width, count, keys):
    """keys[:, 0], keys[:, 1]: two words that tell items of up to 16 bytes apart, nearly always longer ones; hashes."""
    first, second, hashes = simd.pointer(keys[0]), simd.pointer(keys[1]), simd.pointer(keys[2])
    if width > KEY_BYTES:
        for i in range(count):
            word, other = long_key(simd.advance(items, i * stride), width)
            simd.store_scalar(simd.advance(first, i), word)
            simd.store_scalar(simd.advance(second, i), other)
    elif width > 8:
        for i in range(count):
            simd.store_scalar(simd.advance(first, i), word_at(items, i * stride))
            simd.store_scalar(simd.advance(second, i), word_at(items, i * stride + width - 8))
    else:
        keys[1, :count] = 0
        if width == 8:
            for i in range(count):
                simd.store_scalar(simd.advance(first, i), word_at(items, i * stride))
        elif width == 4:
            for i in range(count):
                simd.store_scalar(simd.advance(first, i), half_word_at(items, i * stride))
        else:
            for i in range(count):
                simd.store_scalar(simd.advance(first, i), short_key(simd.advance(items, i * stride), width))
    for i in range(count):
        word, other = simd.load_scalar(simd.advance(first, i)), simd.load_scalar(simd.advance(second, i))
        simd.store_scalar(simd.advance(hashes, i), hash_of(word, other))


@kernel
def hash_of(first, second):
    """Hash of a key; its upper bits are the slot where the search begins."""
    mixed = (first ^ (second * PRIME)) * GOLDEN
    return (mixed ^ (mixed >> np.uint64(32))) * PRIME


@kernel
def slot_of(hashed, bits):
    """Where in a table of 2**bits slots the search for a key begins."""
    return np.int64(hashed >> np.uint64(64 - bits))


@kernel
def are_equal(a, b, width):
    """Whether two items have the same bytes; width > 8."""
    for offset in range(0, width - 8, 8):
        if word_at(a, offset) != word_at(b, offset):
            return False
    return word_at(a, width - 8) == word_at(b, width - 8)


@kernel
def new_table(bits):
    """A table of empty slots."""
    table = np.empty((np.int64(1) << bits, SLOT), np.int64)
    table[:, 2] = -1
    return table


@kernel
def grown(table, bits):
    """The entries of a table in a new one of 2**bits slots."""
    larger = new_table(bits)
    mask = larger.shape[0] - 1
    for entry in range(table.shape[0]):
        code = table[entry, 2]
        if code >= 0:
            slot = slot_of(hash_of(np.uint64(table[entry, 0]), np.uint64(table[entry, 1])), bits)
            while larger[slot, 2] >= 0:
                slot = (slot + 1) & mask
            larger[slot, 0], larger[slot, 1], larger[slot, 2] = table[entry, 0], table[entry, 1], code
    return larger


@kernel
def room(bits):
    """How many entries a table of 2**bits slots may have: few in the L1 cache, where a collision costs most."""
    return np.int64(1) << (bits - (3 if bits < SPARSE_BITS else 1))


@kernel
def is_at(entry, first, second, width, column, offset, stride, rows):
    """Whether a slot that is taken has this key, of the item ``offset`` bytes behind the start of the column."""
    word, other = simd.load_scalar(entry), simd.load_scalar(simd.advance(entry, 1))
    if ((np.uint64(word) ^ first) | (np.uint64(other) ^ second)) != np.uint64(0):
        return False
    if width <= KEY_BYTES:
        return True
    row = simd.load_scalar(simd.advance(rows, simd.load_scalar(simd.advance(entry, 2))))
    return are_equal(simd.advance(column, offset), simd.advance(column, row * stride), width)


@kernel
def code_block(entries, bits, keys, begin, count, width, column, first_row, stride, rows, found, codes):
    """(items done, labels found): codes from ``begin`` to ``count``, or until the table is full.

    All that are arrays elsewhere are pointers: arrays would be counted as references for each label, which took longer
    than the rest. keys (3, BLOCK), codes of the block, rows and found of the chunk, first_row of the block.
    """
    mask = (np.int64(1) << bits) - 1
    most = room(bits)
    for i in range(begin, count):
        key = simd.advance(keys, i)
        first, second = simd.load_scalar(key), simd.load_scalar(simd.advance(key, BLOCK))
        slot = slot_of(simd.load_scalar(simd.advance(key, 2 * BLOCK)), bits)
        entry = simd.advance(entries, slot * SLOT)
        code = simd.load_scalar(simd.advance(entry, 2))
        offset = (first_row + i) * stride
        while code >= 0 and not is_at(entry, first, second, width, column, offset, stride, rows):
            slot = (slot + 1) & mask
            entry = simd.advance(entries, slot * SLOT)
            code = simd.load_scalar(simd.advance(entry, 2))
        if code < 0:
            if found == most:
                return i, found
            code = found
            simd.store_scalar(entry, np.int64(first))
            simd.store_scalar(simd.advance(entry, 1), np.int64(second))
            simd.store_scalar(simd.advance(entry, 2), code)
            simd.store_scalar(simd.advance(rows, found), first_row + i)
            found += 1
        simd.store_scalar(simd.advance(codes, i), code)
    return count, found


@kernel
def code_chunk(column, stride, width, start, stop, most, codes, rows):
    """Codes of the items of a chunk, in order of appearance; their number, or -1 where there are more than ``most``."""
    bits = FIRST_BITS
    table = new_table(bits)
    keys = np.empty((3, BLOCK), np.uint64)
    found = 0
    for begin in range(start, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        make_keys(simd.advance(column, begin * stride), stride, width, count, keys)
        block, seen = simd.advance(simd.pointer(codes), begin), simd.pointer(rows)
        done = 0
        while done < count:
            entries = simd.pointer(table)
            done, found = code_block(
                entries, bits, simd.pointer(keys), done, count, width, column, begin, stride, seen, found, block
            )
            if done < count:
                bits += 2
                table = grown(table, bits)
        if found > most:
            return -1
    return found


def code_chunks(address, stride, width, chunk, most, codes, rows, founds, counter):
    """`code_chunk` of chunks of ``chunk`` items, their rows and codes (N,) each from its start, founds (chunks,)."""
    length = codes.size
    column = simd.pointer_at(address, simd.u8)
    item = next_item(counter, -1)
    while item * chunk < length:
        start, stop = item * chunk, min((item + 1) * chunk, length)
        founds[item] = code_chunk(column, stride, width, start, stop, most, codes, rows[start:stop])
        if founds[item] < 0:
            break
        item = next_item(counter, item)


def code_chunks_parallel(body, workers, address, stride, width, chunk, most, codes, rows, founds, counter):
    """`code_chunks` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (address, stride, width, chunk, most, codes, rows, founds, counter))


def recode(codes, chunk, offsets, ranks, counter):
    """codes = ranks[offsets[chunk] + codes], chunk by chunk."""
    length = codes.size
    item = next_item(counter, -1)
    while item * chunk < length:
        of_chunk = ranks[offsets[item] :]
        for i in range(item * chunk, min((item + 1) * chunk, length)):
            codes[i] = of_chunk[np.int64(codes[i])]
        item = next_item(counter, item)


def recode_parallel(body, workers, codes, chunk, offsets, ranks, counter):
    """`recode` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (codes, chunk, offsets, ranks, counter))


_INTEGERS, _CODES = types.Array(types.int64, 1, "C"), types.Array(types.int32, 1, "C")
_CODE = SharedWork(code_chunks, code_chunks_parallel, [*[types.int64] * 5, _CODES, _INTEGERS, _INTEGERS])
_RECODE = SharedWork(recode, recode_parallel, [_CODES, types.int64, _INTEGERS, _CODES])


def chunk_of(length):
    """Items of a chunk, by the length of the column alone."""
    return max(SMALLEST_CHUNK, -(-length // MOST_CHUNKS))


def distinct(labels, most=None, chunk=None):
    """(rows, codes, offsets, chunk): where each distinct item of each chunk is first seen, and codes chunk by chunk.

    labels (N,), any dtype and stride, N > 0. Codes of chunk i refer to rows[offsets[i] : offsets[i + 1]]; offsets is
    [0] where there is one chunk. None where a chunk holds more than ``most`` distinct items.
    """
    length, width = len(labels), labels.itemsize
    chunk = chunk or chunk_of(length)
    chunks = -(-length // chunk)
    codes, rows, founds = np.empty(length, np.int32), np.empty(length, np.int64), np.zeros(chunks, np.int64)
    work_ns = length * (NS_PER_ITEM + width * NS_PER_BYTE)
    address, limit = labels.ctypes.data, length if most is None else most
    _CODE(work_ns, address, labels.strides[0], width, chunk, limit, codes, rows, founds)
    if founds.min() < 0:
        return None
    if chunks == 1:
        return rows[: founds[0]], codes, _ONE_CHUNK, chunk
    offsets = np.concatenate([_ONE_CHUNK, np.cumsum(founds)])
    rows = np.concatenate([rows[i * chunk : i * chunk + found] for i, found in enumerate(founds)])
    return rows, codes, offsets, chunk


def recoded(codes, ranks, offsets, chunk):
    """codes of `distinct`, in place: those of chunk i become ranks[offsets[i] :] of them."""
    _RECODE(len(codes) * NS_PER_CODE, codes, chunk, offsets, np.ascontiguousarray(ranks, np.int32))
    return codes


def encode_items(labels, sort, most=None):
    """(classes, codes (N,) int32) of (N,) labels; None where a chunk holds more than ``most``.

    sort : function of labels that differ in their bytes, which returns them sorted and the place of each; it may find
        that some are equal
    """
    found = distinct(labels, most)
    if found is None:
        return None
    rows, codes, offsets, chunk = found
    values = labels[rows]
    if len(offsets) == 1:
        classes, ranks = sort(values)
    else:
        firsts, merged, *_ = distinct(values, chunk=len(values))
        classes, places = sort(values[firsts])
        ranks = places[merged]
    return classes, recoded(codes, ranks, offsets, chunk)


def sort_labels(values):
    """(sorted, places) of (K,) labels, what `numpy.unique` returns with return_inverse."""
    if len(values) > FEW or values.dtype.kind == "f":
        return np.unique(values, return_inverse=True)
    items = values.tolist()  # sorting a few in Python takes 2 us instead of 8
    order = sorted(range(len(items)), key=items.__getitem__)
    places = [0] * len(items)
    for place, item in enumerate(order):
        places[item] = place
    return values[order], np.array(places, np.int32)
