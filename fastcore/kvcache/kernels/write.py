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
def write_tokens(record, first, count, head, storage, sinks, ring_rows):
    """``count`` tokens of one head, run by run: rows that follow each other in one page."""
    table = simd.pointer_at(record[TABLE], simd.i64)
    page_size, storage_format = storage[PAGE_SIZE], storage[FORMAT]
    key_size, value_size = storage[KEY_SIZE], storage[VALUE_SIZE]
    key_bytes, key_scale_bytes = stored_row_bytes(key_size, storage_format)
    value_bytes, value_scale_bytes = stored_row_bytes(value_size, storage_format)
    keys = simd.advance(simd.pointer_at(record[KEY], simd.f32), head * record[KEY_HEAD_STRIDE])
    values = simd.advance(simd.pointer_at(record[VALUE], simd.f32), head * record[VALUE_HEAD_STRIDE])
    done = 0
    while done < count:
        token = first + done
        slot, run = slot_and_run(record[START] + token, sinks, ring_rows)
        page, place = slot // page_size, slot % page_size
        run = min(min(run, page_size - place), count - done)
        row = (simd.load_scalar(simd.advance(table, page)) * storage[HEADS] + head) * page_size + place
        store_rows(
            simd.advance(keys, token * record[KEY_TOKEN_STRIDE]), record[KEY_TOKEN_STRIDE], run, key_size,
            storage[KEY_ROWS] + row * key_bytes, storage[KEY_SCALES] + row * key_scale_bytes, storage_format,
        )  # fmt: skip
        store_rows(
            simd.advance(values, token * record[VALUE_TOKEN_STRIDE]), record[VALUE_TOKEN_STRIDE], run, value_size,
            storage[VALUE_ROWS] + row * value_bytes, storage[VALUE_SCALES] + row * value_scale_bytes, storage_format,
        )  # fmt: skip
        done += run


def write_items(records, storage, sinks, ring_rows, counter):
    """Take (sequence, tokens, head) items until none is left; the heads of some tokens follow each other."""
    heads = storage[HEADS]
    tokens = max(1, ITEM_NUMBERS // (storage[KEY_SIZE] + storage[VALUE_SIZE]))
    sequence, before, behind = -1, 0, 0  # items before the sequence, and up to its end
    item = next_item(counter, -1)
    while True:
        while item >= behind:
            sequence += 1
            if sequence == records.shape[0]:
                return
            before, behind = behind, behind + (records[sequence, COUNT] + tokens - 1) // tokens * heads
        first, head = (item - before) // heads * tokens, (item - before) % heads
        record = records[sequence]
        write_tokens(record, first, min(tokens, record[COUNT] - first), head, storage, sinks, ring_rows)
        item = next_item(counter, item)


def write_parallel(body, workers, records, storage, sinks, ring_rows, counter):
    """`write_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (records, storage, sinks, ring_rows, counter))


@kernel
def place_arrays(record, sequence, keys, values):
    """Enter the sequence's addresses and strides in (B, G, T, D) and (B, G, T, Dv); B = 1: all share one row."""
    index = sequence if keys.shape[0] > 1 else 0
    size = keys.itemsize
    record[KEY_HEAD_STRIDE], record[KEY_TOKEN_STRIDE] = keys.strides[1] // size, keys.strides[2] // size
    record[VALUE_HEAD_STRIDE], record[VALUE_TOKEN_STRIDE] = values.strides[1] // size, values.strides[2] // size
    record[KEY] = keys.ctypes.data + index * keys.strides[0] + record[FIRST] * keys.strides[2]
    record[VALUE] = values.ctypes.data + index * values.strides[0] + record[FIRST] * values.strides[2]


def write_small(body, records, storage, keys, values, sinks, ring_rows, alone):
    """Fill in the records; write them if that is not worth threads and return 0, else the nanoseconds it would take."""
    tokens = 0
    for i in range(records.shape[0]):
        place_arrays(records[i], i, keys, values)
        tokens += records[i, COUNT]
    work_ns = tokens * storage[HEADS] * (storage[KEY_SIZE] + storage[VALUE_SIZE]) * NS_PER_NUMBER
    if work_ns < threads.SMALLEST_WORK_NS and call_by_address(body, (records, storage, sinks, ring_rows, alone)):
        return 0.0
    return work_ns


_RECORDS, _STORAGE = types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C", readonly=True)
_FLOATS = types.Array(types.float32, 4, "A", readonly=True)
_WRITE = SharedWork(write_items, write_parallel, [_RECORDS, _STORAGE, types.int64, types.int64])
_SMALL = Direct(
    write_small,
    types.float64(types.int64, _RECORDS, _STORAGE, _FLOATS, _FLOATS, types.int64, types.int64, COUNTER),
)


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
