"""The ceilings of this machine, measured with our own SIMD: FMA peak and streaming read bandwidth, all threads at once.

A ceiling is the fastest of several short trials, since anything else that runs only slows a trial down. `Ceilings` is
measured again between cases and keeps the maximum, so that the percentages of one run share one ceiling.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.environment import thread_count
from fastcore._core.jit import kernel
from fastcore._core.simd import F32_LANES, F64_LANES, NUM_REGISTERS, advance, broadcast, fma, load, pointer, reduce_add
from fastcore._core.simd.host import HAS_BFLOAT
from fastcore._core.tile import TILE_ROWS, TILE_VECTORS, multiply_add

# Independent chains, latency × units: 4 × 2 on x86, and with two operands 10 fit the 16 registers of AVX2; 4 × 4 on ARM
# cores with four units, whose 32 registers hold 20.
CHAINS = 20 if NUM_REGISTERS >= 32 else 10
TRIAL_S = 0.01
MEMORY_BYTES = 1 << 28  # beyond any last-level cache share a virtual machine gets


def _fma_loop(lanes: int) -> Any:
    @kernel
    def twenty_chains(start, count):
        factor, term = broadcast(start, lanes), broadcast(start, lanes)
        c0, c1, c2, c3, c4 = factor, factor + start, factor - start, factor * start, -factor
        c5, c6, c7, c8, c9 = c1 + start, c1 * start, c2 - start, c3 + start, c4 - start
        d0, d1, d2, d3, d4 = -c1, -c2, -c3, c5 + c1, c5 + c2
        d5, d6, d7, d8, d9 = -c5, -c6, -c7, c6 + c1, c6 + c2
        for _ in range(count):
            c0, c1, c2, c3 = fma(c0, factor, term), fma(c1, factor, term), fma(c2, factor, term), fma(c3, factor, term)
            c4, c5, c6, c7 = fma(c4, factor, term), fma(c5, factor, term), fma(c6, factor, term), fma(c7, factor, term)
            c8, c9, d0, d1 = fma(c8, factor, term), fma(c9, factor, term), fma(d0, factor, term), fma(d1, factor, term)
            d2, d3, d4, d5 = fma(d2, factor, term), fma(d3, factor, term), fma(d4, factor, term), fma(d5, factor, term)
            d6, d7, d8, d9 = fma(d6, factor, term), fma(d7, factor, term), fma(d8, factor, term), fma(d9, factor, term)
        first = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7)) + (c8 + c9)
        return reduce_add(first + ((d0 + d1) + (d2 + d3)) + ((d4 + d5) + (d6 + d7)) + (d8 + d9))

    @kernel
    def ten_chains(start, count):
        factor, term = broadcast(start, lanes), broadcast(start, lanes)
        c0, c1, c2, c3, c4 = factor, factor + start, factor - start, factor * start, -factor
        c5, c6, c7, c8, c9 = c1 + start, c1 * start, c2 - start, c3 + start, c4 - start
        for _ in range(count):
            c0, c1 = fma(c0, factor, term), fma(c1, factor, term)
            c2, c3 = fma(c2, factor, term), fma(c3, factor, term)
            c4, c5 = fma(c4, factor, term), fma(c5, factor, term)
            c6, c7 = fma(c6, factor, term), fma(c7, factor, term)
            c8, c9 = fma(c8, factor, term), fma(c9, factor, term)
        return reduce_add(((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7)) + (c8 + c9))

    return twenty_chains if CHAINS == 20 else ten_chains


fma_loop_f32 = _fma_loop(F32_LANES)
fma_loop_f64 = _fma_loop(F64_LANES)


PAIRS = 64  # of bfloat16: rows of the tile's panel, which fit the first-level cache
TILE_WIDTH = TILE_VECTORS * int(F32_LANES)


@kernel
def pair_loop(out, matrix, panel, count):
    """Products of pairs of bfloat16 by dpbf16ps: no intrinsic of ours multiplies them outside of the register tile."""
    to, rows, columns = pointer(out), pointer(matrix), pointer(panel)
    for _ in range(count):
        multiply_add(to, to, rows, columns, TILE_WIDTH, PAIRS, 1, TILE_ROWS, PAIRS, TILE_ROWS, TILE_VECTORS)


@kernel
def read_loop(array, passes):
    """Sum of all elements, `passes` times; the length is a multiple of eight vectors."""
    total = np.float32(0.0)
    for _ in range(passes):
        s0 = s1 = s2 = s3 = broadcast(np.float32(0.0), F32_LANES)
        block = pointer(array)
        for _ in range(array.shape[0] // (8 * F32_LANES)):
            s0 += load(block, F32_LANES) + load(advance(block, 4 * F32_LANES), F32_LANES)
            s1 += load(advance(block, F32_LANES), F32_LANES) + load(advance(block, 5 * F32_LANES), F32_LANES)
            s2 += load(advance(block, 2 * F32_LANES), F32_LANES) + load(advance(block, 6 * F32_LANES), F32_LANES)
            s3 += load(advance(block, 3 * F32_LANES), F32_LANES) + load(advance(block, 7 * F32_LANES), F32_LANES)
            block = advance(block, 8 * F32_LANES)
        total += reduce_add((s0 + s1) + (s2 + s3))
    return total


def run_on_all_threads(work: Callable[[int], object], threads: int) -> float:
    """Seconds from the common start of `work(0), work(1), ...` to the end of the last, each on a thread of its own."""
    gate = threading.Barrier(threads + 1)
    ends = [0.0] * threads

    def body(index: int) -> None:
        gate.wait()
        work(index)
        ends[index] = time.perf_counter()

    workers = [threading.Thread(target=body, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return max(ends) - start


def fma_peak(dtype: str = "float32", threads: int | None = None, trials: int = 5) -> float:
    """Multiply-adds from registers on all threads, in operations per second (an FMA counts two)."""
    threads = threads or thread_count()
    if dtype == "bfloat16" and HAS_BFLOAT:
        return pair_peak(threads, trials)
    dtype = "float32" if dtype == "bfloat16" else dtype  # what it is converted to there
    loop, lanes = (fma_loop_f32, F32_LANES) if dtype == "float32" else (fma_loop_f64, F64_LANES)
    start, operations = np.dtype(dtype).type(0.25), 2 * CHAINS * int(lanes)
    loop(start, 1)  # compiles
    probe = 50_000
    count = max(probe, int(probe * TRIAL_S / run_on_all_threads(lambda _: loop(start, probe), 1)))
    fastest = min(run_on_all_threads(lambda _: loop(start, count), threads) for _ in range(trials))
    return threads * count * operations / fastest


def pair_peak(threads: int, trials: int) -> float:
    """The same of products of bfloat16 summed in float32, from the first-level cache."""
    arrays = [
        (
            np.zeros((TILE_ROWS, TILE_WIDTH), np.float32),
            np.zeros((TILE_ROWS, PAIRS), np.uint32),
            np.zeros((PAIRS, TILE_WIDTH), np.uint32),
        )
        for _ in range(threads)
    ]
    pair_loop(*arrays[0], 1)
    probe = 1000
    count = max(probe, int(probe * TRIAL_S / run_on_all_threads(lambda _: pair_loop(*arrays[0], probe), 1)))
    fastest = min(run_on_all_threads(lambda index: pair_loop(*arrays[index], count), threads) for _ in range(trials))
    return threads * count * 4.0 * TILE_ROWS * TILE_WIDTH * PAIRS / fastest


def read_bandwidth(size: int = MEMORY_BYTES, threads: int | None = None, trials: int = 5) -> float:
    """Bytes read per second when all threads stream through `size` bytes together, over and over."""
    threads = threads or thread_count()
    block = 8 * int(F32_LANES)
    length = max(block, size // 4 // threads // block * block)
    parts = [np.ones(length, np.float32) for _ in range(threads)]
    read_loop(parts[0], 1)
    once = run_on_all_threads(lambda index: read_loop(parts[index], 1), threads)
    passes = max(1, round(TRIAL_S / once))
    fastest = min(run_on_all_threads(lambda index: read_loop(parts[index], passes), threads) for _ in range(trials))
    return threads * length * 4 * passes / fastest


class Ceilings:
    """The ceilings of one run, each the fastest ever measured in it."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def measure(self, kind: str, dtype: str, bytes_moved: float, threads: int | None = None) -> str:
        """Measure what bounds a case once more, "flops" with so many threads; the key under which `values` has it."""
        if kind == "flops" and threads:
            key, value = f"fma_{dtype}_{threads}thread", fma_peak(dtype, threads, trials=3)
        elif kind == "flops":
            key, value = f"fma_{dtype}", fma_peak(dtype, trials=3)
        else:
            size = 1 << max(16, min(MEMORY_BYTES.bit_length() - 1, int(bytes_moved).bit_length()))
            key, value = f"read_{size >> 10}KiB", read_bandwidth(size, trials=3)
        self.values[key] = max(value, self.values.get(key, 0.0))
        return key

    def base(self) -> None:
        """What the roofline is drawn from."""
        for dtype in ("float32", "float64"):
            self.measure("flops", dtype, 0)
        self.measure("bytes", "float32", MEMORY_BYTES)
