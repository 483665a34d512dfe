"""The matrix microkernels of `_core/tile.py` on operands that stay in the L2 cache: how near they come to the FMA peak.

One call multiplies a batch of matrices (N, M, K) with one panel (K, W), PASSES times, on every thread with operands of
its own; W is the panel width of the host.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from zlib import crc32

import numpy as np

from benchmarks.environment import thread_count
from benchmarks.registry import Case, Check, Side
from fastcore._core import tile
from fastcore._core.jit import kernel
from fastcore._core.simd import advance, pointer

BATCH, ROWS, PASSES = 4, 64, 100
TILE_ROWS, TILE_VECTORS = tile.TILE_ROWS, tile.TILE_VECTORS


@kernel
def multiply_batch(out, matrices, panel, passes):
    """out[n] = matrices[n] @ panel, `passes` times over; ROWS is a multiple of TILE_ROWS."""
    count, rows, depth = matrices.shape
    for _ in range(passes):
        for first in range(0, count * rows, TILE_ROWS):
            result = advance(pointer(out), first * panel.shape[1])
            matrix = advance(pointer(matrices), first * depth)
            width = panel.shape[1]
            # The second argument holds maxima for `multiply_peak`; `multiply` does not look at it.
            tile.multiply(
                result, result, matrix, pointer(panel), width, depth, 1, TILE_ROWS, depth, TILE_ROWS, TILE_VECTORS
            )


@dataclass(frozen=True)
class Input:
    """(T, N, M, K) matrices and (T, K, W) panels, one for each of T threads."""

    matrices: np.ndarray
    panels: np.ndarray


@cache
def workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_count())


def make(depth: int, dtype: str) -> Input:
    random = np.random.default_rng(crc32(f"tile{depth}{dtype}".encode()))
    threads, width = thread_count(), TILE_VECTORS * tile.native_lanes(np.dtype(dtype))
    shapes = ((threads, BATCH, ROWS, depth), (threads, depth, width))
    return Input(*(random.standard_normal(shape).astype(dtype) for shape in shapes))


def on_all_threads(data: Input, work: Callable[[np.ndarray, np.ndarray, np.ndarray], None]) -> Side:
    """`work(out, matrices, panel)` for each thread's operands at the same time."""
    out = np.empty((*data.matrices.shape[:3], data.panels.shape[-1]), data.panels.dtype)

    def call() -> np.ndarray:
        list(workers().map(work, out, data.matrices, data.panels))
        return out

    return Side(call, np.asarray)


def ours(data: Input) -> Side:
    return on_all_threads(data, lambda out, matrices, panel: multiply_batch(out, matrices, panel, PASSES))


def naive(data: Input) -> Side:
    """np.matmul, which calls OpenBLAS; on as many threads, each with a product too small to be split further."""

    def work(out: np.ndarray, matrices: np.ndarray, panel: np.ndarray) -> None:
        for _ in range(PASSES):
            np.matmul(matrices, panel, out=out)

    return on_all_threads(data, work)


def check(data: Input) -> Check:
    return Check(np.asarray, data.matrices.astype(np.float64) @ data.panels.astype(np.float64)[:, None])


def case(depth: int, dtype: str) -> Case:
    size = np.dtype(dtype).itemsize
    width = TILE_VECTORS * tile.native_lanes(np.dtype(dtype))
    threads = thread_count()
    return Case(
        name=f"tile/f{8 * size}/M{ROWS}-K{depth}-W{width}",
        group=f"tile {dtype}",
        sizes={"M": ROWS, "K": depth, "W": width},
        dtype=dtype,
        make=partial(make, depth, dtype),
        ours=ours,
        naive=naive,
        check=check,
        flops=2.0 * threads * PASSES * BATCH * ROWS * depth * width,
        bytes_moved=float(size * threads * (BATCH * ROWS * (depth + width) + depth * width)),
        tolerance=1e-5 if dtype == "float32" else 1e-14,
        quick=depth == 64,
    )


def cases() -> list[Case]:
    return [case(depth, dtype) for dtype in ("float32", "float64") for depth in (32, 64, 128)]
