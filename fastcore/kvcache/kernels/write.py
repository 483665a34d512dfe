"""New tokens of many sequences into their pages, in one launch.

What a kernel has to know of a sequence is a record of int64, one row of an array, so that one compiled instance serves
any number of sequences and every format.
"""

from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.work import ALONE, COUNTER, Direct, SharedWork, call_by_address, next_item
from fastcore.kvcache.kernels.quantize import store_rows, stored_row_bytes

# Fields of a record. The caller fills in TABLE (address of the sequence's int64 page numbers), START (position of its
# first new token), COUNT (of new tokens, >= 0) and FIRST (which token of the arrays is its first one); the rest too,
# or `write_arrays` does: addresses of the first token of head 0, and strides in elements.
TABLE, START, COUNT, FIRST = range(4)
KEY, KEY_HEAD_STRIDE, KEY_TOKEN_STRIDE, VALUE, VALUE_HEAD_STRIDE, VALUE_TOKEN_STRIDE = range(4, 10)
RECORD_FIELDS = 10

# The storage, as an array of int64: addresses of the stored rows and of their scales, and sizes.
KEY_ROWS, KEY_SCALES, VALUE_ROWS, VALUE_SCALES, PAGE_SIZE, HEADS, KEY_SIZE, VALUE_SIZE, FORMAT = range(9)

# Numbers an item should have, so that taking it (30 ns) is nothing.
ITEM_NUMBERS = 8192
# Serial nanoseconds per number, for the choice between serial and parallel: 0.2 to 0.6 by format, from cache.
NS_PER_NUMBER = 0.4


@kernel
def slot_and_run(position, sinks, ring_rows):
    """Slot of a position, and how many positions from it on have slots that follow each other."""
    if ring_rows == 0:
        return position, 1 << 62
    if position < sinks:
        return position, sinks - position
    turned = (position - sinks) % ring_rows
    return sinks + turned, ring_rows - turned


@kernel
def write_block(record, first, end, first_head, end_head, storage, sinks, ring_rows):
    """Tokens of some heads, run by run: rows that follow each other in one page."""
    table = simd.pointer_at(record[TABLE], simd.i64)
    page_size, storage_format = storage[PAGE_SIZE], storage[FORMAT]
    key_size, value_size = storage[KEY_SIZE], storage[VALUE_SIZE]
    key_bytes, key_scale_bytes = stored_row_bytes(key_size, storage_format)
    value_bytes, value_scale_bytes = stored_row_bytes(value_size, storage_format)
    keys, values = simd.pointer_at(record[KEY], simd.f32), simd.pointer_at(record[VALUE], simd.f32)
    token = first
    while token < end:
        slot, run = slot_and_run(record[START] + token, sinks, ring_rows)
        page = slot // page_size
        place = slot - page * page_size
        run = min(min(run, page_size - place), end - token)
        row = (simd.load_scalar(simd.advance(table, page)) * storage[HEADS] + first_head) * page_size + place
        for head in range(first_head, end_head):
            store_rows(
                simd.advance(keys, head * record[KEY_HEAD_STRIDE] + token * record[KEY_TOKEN_STRIDE]),
                record[KEY_TOKEN_STRIDE], run, key_size,
                storage[KEY_ROWS] + row * key_bytes, storage[KEY_SCALES] + row * key_scale_bytes, storage_format,
            )  # fmt: skip
            store_rows(
                simd.advance(values, head * record[VALUE_HEAD_STRIDE] + token * record[VALUE_TOKEN_STRIDE]),
                record[VALUE_TOKEN_STRIDE], run, value_size,
                storage[VALUE_ROWS] + row * value_bytes, storage[VALUE_SCALES] + row * value_scale_bytes,
                storage_format,
            )  # fmt: skip
            row += page_size
        token += run


@kernel
def block_shape(count, storage):
    """Tokens and heads of an item: about `ITEM_NUMBERS` numbers, rather tokens of one head than heads of one token."""
    rows = max(1, ITEM_NUMBERS // (storage[KEY_SIZE] + storage[VALUE_SIZE]))
    tokens = max(1, min(count, rows))
    return tokens, min(storage[HEADS], rows // tokens)


def write_items(records, storage, sinks, ring_rows, counter):
    """Take (sequence, tokens, heads) items until none is left; the heads of some tokens follow each other."""
    heads = storage[HEADS]
    sequence, before, behind = -1, 0, 0  # items before the sequence, and up to its end
    block_tokens, block_heads, head_blocks = 1, 1, 1
    item = next_item(counter, -1)
    while True:
        while item >= behind:
            sequence += 1
            if sequence == records.shape[0]:
                return
            count = records[sequence, COUNT]
            block_tokens, block_heads = block_shape(count, storage)
            head_blocks = (heads + block_heads - 1) // block_heads
            before, behind = behind, behind + (count + block_tokens - 1) // block_tokens * head_blocks
        block = (item - before) // head_blocks
        first, first_head = block * block_tokens, (item - before - block * head_blocks) * block_heads
        record = records[sequence]
        end, end_head = min(first + block_tokens, record[COUNT]), min(first_head + block_heads, heads)
        write_block(record, first, end, first_head, end_head, storage, sinks, ring_rows)
        item = next_item(counter, item)


def write_parallel(body, workers, records, storage, sinks, ring_rows, counter):
    """`write_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (records, storage, sinks, ring_rows, counter))


@kernel
def place_arrays(record, keys, values):
    """Enter addresses and strides of (G, T, D) and (G, T, Dv)."""
    size = keys.itemsize
    record[KEY_HEAD_STRIDE], record[KEY_TOKEN_STRIDE] = keys.strides[0] // size, keys.strides[1] // size
    record[VALUE_HEAD_STRIDE], record[VALUE_TOKEN_STRIDE] = values.strides[0] // size, values.strides[1] // size
    record[KEY] = keys.ctypes.data + record[FIRST] * keys.strides[1]
    record[VALUE] = values.ctypes.data + record[FIRST] * values.strides[1]


def fill_record(records, sequence, table, start, keys, values):
    """The whole record of a sequence, all tokens of whose arrays are new."""
    record = records[sequence]
    record[TABLE], record[START], record[COUNT], record[FIRST] = table.ctypes.data, start, keys.shape[1], 0
    place_arrays(record, keys, values)


def write_small(body, records, storage, keys, values, sinks, ring_rows, alone):
    """Fill in the records; write them if that is not worth threads and return 0, else the nanoseconds it would take."""
    tokens = 0
    for i in range(records.shape[0]):
        row = i if keys.shape[0] > 1 else 0
        place_arrays(records[i], keys[row], values[row])
        tokens += records[i, COUNT]
    work_ns = tokens * storage[HEADS] * (storage[KEY_SIZE] + storage[VALUE_SIZE]) * NS_PER_NUMBER
    if work_ns < threads.SMALLEST_WORK_NS and call_by_address(body, (records, storage, sinks, ring_rows, alone)):
        return 0.0
    return work_ns


_RECORDS, _STORAGE = types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C", readonly=True)
_TABLE, _FLOATS = types.Array(types.int64, 1, "C", readonly=True), types.Array(types.float32, 4, "A", readonly=True)
_FLOATS_OF_ONE = types.Array(types.float32, 3, "A", readonly=True)
_WRITE = SharedWork(write_items, write_parallel, [_RECORDS, _STORAGE, types.int64, types.int64])
_SMALL = Direct(
    write_small,
    types.float64(types.int64, _RECORDS, _STORAGE, _FLOATS, _FLOATS, types.int64, types.int64, COUNTER),
)
_FILL = Direct(fill_record, types.void(_RECORDS, types.int64, _TABLE, types.int64, _FLOATS_OF_ONE, _FLOATS_OF_ONE))


def complete_record(records, sequence, table, start, keys, values):
    """Fill in records[sequence]; in compiled code, since asking an array for its address takes Python up to 2 us.

    table int64, C-contiguous; start an int; keys (G, T, D) and values (G, T, Dv) float32, last axis contiguous.
    """
    _FILL.call(records, sequence, table, start, keys, values)


def write_records(records, numbers, storage, sinks, ring_rows):
    """Write the ``numbers`` numbers that complete records speak of; ``ring_rows`` 0 for no ring.

    records (n, RECORD_FIELDS), storage (9,): C-contiguous int64. The caller keeps alive what they have addresses of.
    """
    _WRITE(numbers * NS_PER_NUMBER, records, storage, sinks, ring_rows)


def write_arrays(records, storage, keys, values, sinks, ring_rows):
    """The same of records whose arrays are (B, G, T, D) and (B, G, T, Dv) float32, last axis contiguous.

    Sequence i is row i of the first axis, from token FIRST on; of arrays with B = 1 all sequences share the one row
    (tokens of many sequences, packed one after the other).
    """
    work_ns = _SMALL.call(_WRITE.body.address, records, storage, keys, values, sinks, ring_rows, ALONE)
    if work_ns > 0.0:
        _WRITE(work_ns, records, storage, sinks, ring_rows)
