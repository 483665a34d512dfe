"""The bound of a case that memory limits: reading exactly the bytes the case has to read, in the same rounds; of a case
that also writes much, a copy that moves as many bytes.

`machine.read_bandwidth` reads an array of its own, of a power of two of bytes, before the rounds. That decides nothing
about 85 or 90 %: this machine's bandwidth moves by more than that within a run, and differs between pages of memory.
Here the arrays themselves are read, by as many threads, and the reading takes its turn among the sides.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import prange, types

from benchmarks.registry import Side
from fastcore._core.jit import kernel
from fastcore._core.simd import (
    F64_LANES,
    advance,
    broadcast,
    i64,
    load,
    pointer_at,
    reduce_add,
    stream,
    stream_fence,
)
from fastcore._core.threads import pool_size
from fastcore._core.work import SharedWork, call_by_address, next_item

VECTOR_BYTES = 8 * int(F64_LANES)
BLOCK_BYTES = 8 * VECTOR_BYTES  # a turn of the loop; what an array has beyond a multiple of it is not read
CHUNK_BYTES = 1 << 18
NS_PER_BYTE = 0.05  # one thread, from memory; decides when threads pay


@kernel
def sum_words(address, blocks):
    """Sum of 64-bit words: integers, since bytes taken for floats may be NaN or slow denormals."""
    s0 = s1 = s2 = s3 = broadcast(0, F64_LANES, i64)
    block = pointer_at(address, i64)
    for _ in range(blocks):
        s0 += load(block, F64_LANES) + load(advance(block, 4 * F64_LANES), F64_LANES)
        s1 += load(advance(block, F64_LANES), F64_LANES) + load(advance(block, 5 * F64_LANES), F64_LANES)
        s2 += load(advance(block, 2 * F64_LANES), F64_LANES) + load(advance(block, 6 * F64_LANES), F64_LANES)
        s3 += load(advance(block, 3 * F64_LANES), F64_LANES) + load(advance(block, 7 * F64_LANES), F64_LANES)
        block = advance(block, 8 * F64_LANES)
    return reduce_add((s0 + s1) + (s2 + s3))


def sum_chunks(addresses, blocks, sums, counter):
    item = -1
    while True:
        item = next_item(counter, item)
        if item >= addresses.size:
            break
        sums[item] = sum_words(addresses[item], blocks[item])


def sum_chunks_parallel(body, workers, addresses, blocks, sums, counter):
    for _ in prange(workers):
        call_by_address(body, (addresses, blocks, sums, counter))


_INTEGERS = types.Array(types.int64, 1, "C")
_read = SharedWork(sum_chunks, sum_chunks_parallel, (_INTEGERS, _INTEGERS, _INTEGERS))


def chunks(arrays: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of the chunks of `size` bytes, a multiple of BLOCK_BYTES, and how many blocks each has."""
    addresses, blocks = [], []
    for array in arrays:
        for first in range(0, array.nbytes // BLOCK_BYTES * BLOCK_BYTES, size):
            addresses.append(array.ctypes.data + first)
            blocks.append(min(size, array.nbytes - first) // BLOCK_BYTES)
    return np.array(addresses, np.int64), np.array(blocks, np.int64)


def read_side(arrays: Sequence[np.ndarray], size: int) -> Side:
    """All threads take chunks of `size` bytes until none is left, in one launch."""
    addresses, blocks = chunks(arrays, size)
    sums = np.zeros(len(addresses), np.int64)
    work_ns = NS_PER_BYTE * sum(array.nbytes for array in arrays)

    def call() -> Any:
        _read(work_ns, addresses, blocks, sums)
        return sums, arrays  # arrays: addresses do not keep them alive

    return Side(call, lambda done: done[0].sum())


def bound(arrays: Sequence[np.ndarray]) -> list[Side]:
    """Two ways to read contiguous arrays once: in chunks, and each array in one part for every thread."""
    part = max(array.nbytes for array in arrays) // pool_size()
    whole = max(1, -(-part // BLOCK_BYTES)) * BLOCK_BYTES
    return [read_side(arrays, whole), read_side(arrays, CHUNK_BYTES)]


@kernel
def copy_words(source, target, blocks):
    """Copy blocks past the caches; target is a multiple of VECTOR_BYTES."""
    here, there = pointer_at(source, i64), pointer_at(target, i64)
    for _ in range(8 * blocks):
        stream(there, load(here, F64_LANES))
        here, there = advance(here, F64_LANES), advance(there, F64_LANES)


def copy_chunks(sources, targets, blocks, counter):
    item = -1
    while True:
        item = next_item(counter, item)
        if item >= sources.size:
            break
        copy_words(sources[item], targets[item], blocks[item])
    stream_fence()


def copy_chunks_parallel(body, workers, sources, targets, blocks, counter):
    for _ in prange(workers):
        call_by_address(body, (sources, targets, blocks, counter))


_copy = SharedWork(copy_chunks, copy_chunks_parallel, (_INTEGERS, _INTEGERS, _INTEGERS))


def copy_side(arrays: Sequence[np.ndarray], target: np.ndarray, size: int) -> Side:
    """All threads take chunks of `size` bytes of the arrays and write them behind each other to `target`."""
    sources, blocks = chunks(arrays, size)
    first = target.ctypes.data + -target.ctypes.data % VECTOR_BYTES
    targets = first + BLOCK_BYTES * np.concatenate([[0], np.cumsum(blocks)[:-1]])
    work_ns = NS_PER_BYTE * BLOCK_BYTES * float(blocks.sum())

    def call() -> Any:
        _copy(work_ns, sources, targets, blocks)
        return target, arrays  # arrays: addresses do not keep them alive

    return Side(call, lambda done: target[first - target.ctypes.data :])


def copy_bound(arrays: Sequence[np.ndarray], moved: int) -> list[Side]:
    """Two ways to copy `moved` / 2 bytes of the arrays, so that as many are read and written in all."""
    left, taken = moved // 2, []
    for array in arrays:
        taken.append(array.reshape(-1).view(np.uint8)[: max(left, 0)])
        left -= array.nbytes
    target = np.zeros(moved // 2 + VECTOR_BYTES, np.uint8)
    part = max(array.nbytes for array in taken) // pool_size()
    whole = max(1, -(-part // BLOCK_BYTES)) * BLOCK_BYTES
    return [copy_side(taken, target, whole), copy_side(taken, target, CHUNK_BYTES)]
