"""PagedKVCache: attention over scattered pages against the contiguous cache, and the fork of a long sequence.

The pages of every sequence lie in random order, as they do in an engine that has run for a while.
"""

from dataclasses import replace
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks import streaming
from benchmarks.cases.kvcache_problem import PEER_TOLERANCE, TOLERANCE, Input, Problem, attend, check, make, naive
from benchmarks.peers import kvcache_onnxruntime, kvcache_torch
from benchmarks.registry import Case, Side
from fastcore.kvcache.paged import PagedKVCache

PAGE = 16
PEERS = {
    "fastcore contiguous": attend,
    "torch": kvcache_torch.prepare,
    "onnxruntime": kvcache_onnxruntime.prepare,
}


def paged(data: Input) -> tuple[PagedKVCache, list[int]]:
    """The sequences of a case in pages of random order: all pages are taken, and given back in that order."""
    p = data.problem
    num_pages = p.B * -(-p.S // p.page)
    cache = PagedKVCache(num_pages, p.page, p.G, p.D, dtype=p.dtype)
    token = np.zeros((p.G, 1, p.D), np.float32)
    single = [cache.allocate() for _ in range(num_pages)]
    cache.append(single, [token] * num_pages, [token] * num_pages)
    for sequence in np.random.default_rng(crc32(p.name.encode())).permutation(single):
        cache.free(int(sequence))
    sequences = [cache.allocate() for _ in range(p.B)]
    cache.append(sequences, list(data.key), list(data.value))
    return cache, sequences


def attend_paged(data: Input) -> Side:
    cache, sequences = paged(data)
    return Side(partial(cache.attend, sequences, list(data.query)), np.stack)


def bound(data: Input) -> list[Side]:
    """The same bytes in one piece: what scattering costs belongs to ours."""
    return streaming.bound(list(data.cache()._storage.arrays.values()))


def case(problem: Problem) -> Case:
    p = problem
    return Case(
        name=p.name,
        group=p.group,
        sizes=p.sizes,
        dtype=p.dtype,
        make=partial(make, p),
        ours=attend_paged,
        naive=naive,
        check=check,
        flops=p.flops,
        bytes_moved=p.bytes_moved,
        tolerance=TOLERANCE[p.dtype],
        peer_tolerance=PEER_TOLERANCE.get(p.dtype),
        ceiling="bytes",
        bound=bound,
        peers=PEERS,
    )


def fork(data: Input) -> Side:
    """PagedKVCache.fork, and `free` of the fork before it, which would otherwise fill the memory with tables."""
    cache, (parent,) = paged(data)
    child = cache.fork(parent)

    def call() -> Any:
        nonlocal child
        cache.free(child)
        child = cache.fork(parent)
        return child

    return Side(call, lambda sequence: np.stack(cache.attend([sequence], list(data.query))))


def copy(data: Input) -> Side:
    """Without shared pages a fork is a copy of the keys and values."""

    def collect(copied: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        side = naive(replace(data, key=copied[0], value=copied[1]))
        return side.collect(side.call())

    return Side(lambda: (data.key.copy(), data.value.copy()), collect)


def fork_case(problem: Problem) -> Case:
    """No ceiling: a fork reads a table and reference counts."""
    return replace(case(problem), ours=fork, naive=copy, ceiling=None, bound=None, peers={})


def cases() -> list[Case]:
    llama = partial(Problem, H=32, G=8, D=128, kind="paged", page=PAGE)
    attention = [llama(B=1, S=4096), llama(B=1, S=32768), llama(B=8, S=4096), llama(B=1, S=32768, dtype="int8")]
    return [*map(case, attention), fork_case(Problem(1, 9, 3, 32768, 64, kind="fork", page=PAGE))]
