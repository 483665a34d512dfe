"""Stored bytes: the kernels write what the twin writes, bit for bit, into the right rows and no others."""

from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore.kvcache.formats import bytes_per_token
from fastcore.kvcache.storage import COUNT, FIRST, FORMATS, START, TABLE, Storage, new_records

SIZES = [(1, 7), (7, 1), (16, 16), (17, 80), (80, 17), (64, 64), (100, 33), (128, 128)]


def new_tokens(rng, heads, count, size, value_size, scale=1.0):
    return (
        (rng.standard_normal((heads, count, size)) * scale).astype(np.float32),
        (rng.standard_normal((heads, count, value_size)) * scale).astype(np.float32),
    )


def everything(storage):
    """Copies of all bytes."""
    return {name: array.copy() for name, array in storage.arrays.items()}


def assert_same(storage, other):
    for name, array in storage.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])


@pytest.mark.parametrize("size, value_size", SIZES)
@pytest.mark.parametrize("page_size", [1, 3, 16])
def test_storage_write_is_the_twin_bit_for_bit(dtype, size, value_size, page_size, rng, assert_stored):
    storage = Storage(40, page_size, 3, size, value_size, dtype)
    table = rng.permutation(40)
    for start, count in ((0, 20), (20, 1), (21, 12)):
        key, value = new_tokens(rng, 3, count, size, value_size)
        storage.write([table], [start], [key], [value])
        assert_stored(storage, table, np.arange(start, start + count), key, value)


SPECIAL = {
    "zeros": [0.0],
    "signed zeros": [-0.0, 0.0],
    "negative zeros": [-0.0],
    "constant": [3.7],
    "nan": [1.0, np.nan, 2.0],
    "inf": [1.0, np.inf, 2.0],
    "minus inf": [-np.inf, 0.5],
    "denormals": [1e-40, -3e-45, 1.4e-45],
    "below int8's scale": [1e-44, -1e-43, 5e-44],
    "small": [1e-30, -2e-31],
    "below float16": [1e-9, 3e-8, -6e-8],
    "beyond float16": [65519.0, 65520.0, -1e5],
    "largest": [3.4028235e38, -3.4028235e38],
    "narrow and far": [60000.0, 60000.004],
    "ties": [0.5, 1.5, 2.5, -0.5, -1.5, 127.0, -127.0, 15.0],
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("size", [1, 20, 48, 65])
def test_storage_write_special_numbers_are_the_twin_bit_for_bit(dtype, name, size, rng, assert_stored):
    key = np.resize(np.array(SPECIAL[name], np.float32), (2, 3, size))
    value = key.copy()
    value[:, 1] = rng.standard_normal(size)  # a plain row between special ones
    value[0, :, -1] = key[0, 0, 0]  # and the special number at the end of a row
    storage, table = Storage(2, 2, 2, size, size, dtype), np.array([1, 0])
    storage.write([table], [0], [key], [value])
    assert_stored(storage, table, [0, 1, 2], key, value)
    for got, x in zip(storage.read(table, np.arange(3)), (key, value), strict=True):
        np.testing.assert_array_equal(got, reference.dequantize(reference.quantize(x, dtype), dtype, size))


def test_storage_write_rounds_ties_of_a_whole_row_to_even(rng, assert_stored):
    key = (np.arange(-254, 255, dtype=np.float32) / 2).reshape(1, 1, -1)  # scale 1
    storage = Storage(1, 1, 1, key.size, key.size, "int8")
    storage.write([np.array([0])], [0], [key], [key])
    np.testing.assert_array_equal(storage.keys[0, 0, 0, : key.size], np.rint(key[0, 0]))
    assert_stored(storage, np.array([0]), [0], key, key)


def in_wide_rows(x):
    memory = np.full((*x.shape[:-1], x.shape[-1] + 5), np.nan, np.float32)
    memory[..., 2:-3] = x
    return memory[..., 2:-3]


MEMORY = {
    "heads inside": lambda x: np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2),
    "wide rows": in_wide_rows,
    "tokens backwards": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "heads backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every second token": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "one head for all": lambda x: np.broadcast_to(x[:1], x.shape),
    "one token for all": lambda x: np.broadcast_to(x[:, :1], x.shape),
}


@pytest.mark.parametrize("memory", MEMORY)
def test_storage_write_takes_any_strides(dtype, memory, rng, assert_stored):
    storage, table = Storage(4, 3, 2, 20, 35, dtype), np.array([2, 0, 3])
    key, value = (MEMORY[memory](x) for x in new_tokens(rng, 2, 8, 20, 35))
    key.flags.writeable = value.flags.writeable = False
    storage.write([table], [1], [key], [value])
    assert_stored(storage, table, np.arange(1, 9), key, value)


def test_storage_write_touches_only_its_rows(dtype, rng, assert_stored):
    storage, table = Storage(6, 4, 3, 17, 40, dtype), np.array([4, 1, 2])
    for array in storage.arrays.values():
        array.view(np.uint8)[...] = 0xA5
    before = everything(storage)
    key, value = new_tokens(rng, 3, 6, 17, 40)
    storage.write([table], [3], [key], [value])
    slots = np.arange(3, 9)
    assert_stored(storage, table, slots, key, value)
    pages, places = table[slots // 4], slots % 4
    for name, array in storage.arrays.items():
        array[pages, :, places] = before[name][pages, :, places]
        np.testing.assert_array_equal(array.view(np.uint8), before[name].view(np.uint8))


@pytest.mark.parametrize("sinks, ring_rows", [(0, 5), (3, 5), (4, 1), (2, 11)])
@pytest.mark.parametrize("page_size", [3, 20])
def test_storage_write_into_a_ring_wraps_behind_the_sinks(dtype, sinks, ring_rows, page_size, rng, assert_stored):
    storage, table = Storage(8, page_size, 2, 16, 33, dtype), rng.permutation(8)
    key, value = new_tokens(rng, 2, 60, 16, 33)
    position = 0
    while position < 50:
        count = int(rng.integers(1, ring_rows + 1))
        new = slice(position, position + count)
        storage.write([table], [position], [key[:, new]], [value[:, new]], ring=(sinks, ring_rows))
        position += count
    kept = np.arange(position - ring_rows, position)
    assert_stored(storage, table, sinks + (kept - sinks) % ring_rows, key[:, kept], value[:, kept])
    assert_stored(storage, table, np.arange(sinks), key[:, :sinks], value[:, :sinks])


def ragged(rng, counts, page_size, size=24, value_size=40, heads=2):
    """Sequences of these numbers of new tokens: tables, starts, keys, values, and the pages that they need."""
    starts = [int(rng.integers(0, 40)) for _ in counts]
    needed = [-(-(start + count) // page_size) for start, count in zip(starts, counts, strict=True)]
    tables = np.split(rng.permutation(sum(needed)), np.cumsum(needed)[:-1])
    tokens = [new_tokens(rng, heads, count, size, value_size) for count in counts]
    return tables, starts, [key for key, _ in tokens], [value for _, value in tokens], sum(needed)


def test_storage_write_many_sequences_at_once_is_each_alone(dtype, rng):
    tables, starts, keys, values, pages = ragged(rng, [0, 1, 300, 0, 7, 1, 513, 0], 16)
    together, alone = (Storage(pages, 16, 2, 24, 40, dtype) for _ in range(2))
    together.write(tables, starts, keys, values)
    for arguments in zip(tables, starts, keys, values, strict=True):
        alone.write(*([x] for x in arguments))
    assert_same(together, alone)


def test_storage_write_one_thread_equals_many(dtype, rng):
    tables, starts, keys, values, pages = ragged(rng, [900, 1, 4000, 77], 7)
    parallel, serial = (Storage(pages, 7, 2, 24, 40, dtype) for _ in range(2))
    parallel.write(tables, starts, keys, values)
    with fastcore.num_threads(1):
        serial.write(tables, starts, keys, values)
    assert_same(parallel, serial)


def test_storage_write_of_nothing_changes_nothing(dtype):
    storage = Storage(3, 4, 2, 8, 8, dtype)
    nothing = np.zeros((2, 0, 8), np.float32)
    storage.write([], [], [], [])
    storage.write([np.arange(3)], [5], [nothing], [nothing])
    storage.write([np.zeros(0, np.int64)], [0], [nothing], [nothing])
    storage.write_arrays(new_records(0), nothing[None], nothing[None])
    assert not any(array.any() for array in storage.arrays.values())


@pytest.mark.parametrize("count", [1, 600])
def test_storage_write_arrays_of_a_batch_is_write(dtype, count, rng):
    batch, size, value_size = 3, 20, 48
    key = rng.standard_normal((batch, count, 2, size)).astype(np.float32).transpose(0, 2, 1, 3)
    value = rng.standard_normal((batch, 2, count, value_size)).astype(np.float32)
    slots, starts, counts = np.array([2, 0, 1]), [5, 0, 9], [count, count // 2, count]
    direct, lists = (Storage(batch, 700, 2, size, value_size, dtype) for _ in range(2))
    records = new_records(batch)
    records[:, TABLE] = slots.ctypes.data + 8 * np.arange(batch)
    records[:, START], records[:, COUNT] = starts, counts
    direct.write_arrays(records, key, value)
    parts = [(key[i, :, :n], value[i, :, :n]) for i, n in enumerate(counts)]
    lists.write([slots[i : i + 1] for i in range(batch)], starts, [k for k, _ in parts], [v for _, v in parts])
    assert_same(direct, lists)


@pytest.mark.parametrize("counts", [[1, 1, 1], [3, 0, 5], [200, 1, 900]])
def test_storage_write_arrays_of_packed_tokens_is_write(dtype, counts, rng):
    tables, starts, keys, values, pages = ragged(rng, counts, 16)
    packed = [np.concatenate([x.transpose(1, 0, 2) for x in xs]).transpose(1, 0, 2)[None] for xs in (keys, values)]
    direct, lists = (Storage(pages, 16, 2, 24, 40, dtype) for _ in range(2))
    records = new_records(len(counts))
    records[:, TABLE] = [table.ctypes.data for table in tables]
    records[:, START], records[:, COUNT], records[:, FIRST] = starts, counts, np.cumsum([0, *counts[:-1]])
    direct.write_arrays(records, *packed)
    lists.write(tables, starts, keys, values)
    assert_same(direct, lists)


def test_storage_read_takes_slots_in_any_order(dtype, rng):
    storage, table = Storage(5, 3, 2, 20, 33, dtype), np.array([4, 0, 2])
    key, value = new_tokens(rng, 2, 9, 20, 33)
    storage.write([table], [0], [key], [value])
    slots = np.array([8, 0, 3, 3, 7])
    for got, x in zip(storage.read(table, slots), (key, value), strict=True):
        want = reference.dequantize(reference.quantize(x[:, slots], dtype), dtype, x.shape[-1])
        np.testing.assert_array_equal(got, want)
        assert got.dtype == np.float32
    assert [x.shape for x in storage.read(table, slots[:0])] == [(2, 0, 20), (2, 0, 33)]


@hypothesis.given(st.data())
def test_storage_keeps_what_was_written_last(data):
    draw = data.draw
    dtype, page_size, pages = draw(st.sampled_from(FORMATS)), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    heads, size, value_size = draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    storage, table, rows = Storage(pages, page_size, heads, size, value_size, dtype), rng.permutation(pages), {}
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, pages * page_size))
        count = draw(st.integers(0, pages * page_size - start))
        key, value = new_tokens(rng, heads, count, size, value_size)
        storage.write([table], [start], [key], [value])
        rows |= {start + t: (key[:, t], value[:, t]) for t in range(count)}
    got = storage.read(table, np.arange(pages * page_size))
    for side in range(2):
        want = np.zeros_like(got[side])
        for slot, row in rows.items():
            want[:, slot] = reference.dequantize(reference.quantize(row[side], dtype), dtype, row[side].shape[-1])
        np.testing.assert_array_equal(got[side], want)


def test_storage_copy_page_copies_all_arrays_of_the_page(dtype, rng):
    storage = Storage(4, 3, 2, 20, 8, dtype)
    storage.write([np.array([1])], [0], *([x] for x in new_tokens(rng, 2, 3, 20, 8)))
    storage.copy_page(1, 3)
    for array in storage.arrays.values():
        np.testing.assert_array_equal(array[3], array[1])
        assert array[1].any()
        assert not array[[0, 2]].any()


@pytest.mark.parametrize("page_size, other_page_size", [(4, 4), (3, 5), (16, 1), (1, 7), (64, 16)])
@pytest.mark.parametrize("count", [0, 1, 4, 23])
def test_storage_copy_slots_keeps_the_bytes(dtype, page_size, other_page_size, count, rng, assert_stored):
    storage, other = Storage(23, page_size, 2, 20, 35, dtype), Storage(23, other_page_size, 2, 20, 35, dtype)
    table, other_table = rng.permutation(23), rng.permutation(23)
    key, value = new_tokens(rng, 2, 23, 20, 35)
    storage.write([table], [0], [key], [value])
    storage.copy_slots(table, other, other_table, count)
    assert_stored(other, other_table, np.arange(count), key[:, :count], value[:, :count])
    rest = np.arange(count, 23)
    for array in other.arrays.values():
        assert not array[other_table[rest // other_page_size], :, rest % other_page_size].any()


def test_storage_arrays_begin_at_a_cache_line_and_are_counted(dtype):
    storage = Storage(3, 5, 2, 20, 33, dtype)
    for array in storage.arrays.values():
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous
        assert not array.any()
    assert storage.nbytes == 3 * 5 * 2 * bytes_per_token(dtype, 20, 33)
    assert storage.keys is storage.arrays["keys"]


def test_storage_is_right_and_touches_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_storage.py")) == "80"
