"""PagedKVCache: attention over scattered pages against the contiguous cache, of sequences of one length and of a long
one among short ones, and the fork of a long sequence.

The pages of every sequence lie in random order, as they do in an engine that has run for a while.
"""

from dataclasses import replace
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks import streaming
from benchmarks.cases.kvcache_problem import SHORT, Input, Problem, attend, case_of, check, make, naive
from benchmarks.peers import kvcache_onnxruntime, kvcache_torch
from benchmarks.registry import Case, Check, Side
from fastcore.kvcache.paged import PagedKVCache

PAGE = 16
PEERS = {
    "fastcore contiguous": attend,
    "torch": kvcache_torch.prepare,
    "onnxruntime": kvcache_onnxruntime.prepare,
}


def paged(data: Input, *more: Input) -> tuple[PagedKVCache, list[int]]:
    """The sequences of a case in pages of random order: all pages are taken, and given back in that order."""
    p, parts = data.problem, (data, *more)
    num_pages = sum(part.problem.B * -(-part.problem.S // p.page) for part in parts)
    cache = PagedKVCache(num_pages, p.page, p.G, p.D, dtype=p.dtype)
    token = np.zeros((p.G, 1, p.D), np.float32)
    single = [cache.allocate() for _ in range(num_pages)]
    cache.append(single, [token] * num_pages, [token] * num_pages)
    for sequence in np.random.default_rng(crc32(p.name.encode())).permutation(single):
        cache.free(int(sequence))
    keys, values = ([x for part in parts for x in getattr(part, name)] for name in ("key", "value"))
    sequences = [cache.allocate() for _ in keys]
    cache.append(sequences, keys, values)
    return cache, sequences


def attend_paged(data: Input) -> Side:
    cache, sequences = paged(data)
    return Side(partial(cache.attend, sequences, list(data.query)), np.stack)


def bound(data: Input) -> list[Side]:
    """The same bytes in one piece: what scattering costs belongs to ours."""
    return streaming.bound(list(data.cache()._storage.arrays.values()))


def case(problem: Problem) -> Case:
    return case_of(problem, ours=attend_paged, ceiling="bytes", bound=bound, peers=PEERS)


# Sequences of one length are one Input; a case of several lengths has several.
Parts = tuple[Input, ...]


def attend_ragged(data: Parts) -> Side:
    """All sequences in one call, with pages of the first part's size."""
    cache, sequences = paged(*data)
    return Side(partial(cache.attend, sequences, [query for part in data for query in part.query]), np.stack)


def attend_apart(data: Parts) -> Side:
    """A contiguous cache and a call for each length."""
    sides = [attend(part) for part in data]
    return Side(lambda: [side.call() for side in sides], np.concatenate)


def naive_ragged(data: Parts) -> Side:
    sides = [naive(part) for part in data]

    def collect(results: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([side.collect(result) for side, result in zip(sides, results)])

    return Side(lambda: [side.call() for side in sides], collect)


def check_ragged(data: Parts) -> Check:
    checks = [check(part) for part in data]
    ends = np.cumsum([part.problem.B for part in data])[:-1]

    def select(out: np.ndarray) -> np.ndarray:
        return np.concatenate([one.select(part).ravel() for one, part in zip(checks, np.split(out, ends))])

    return Check(select, np.concatenate([one.expected.ravel() for one in checks]))


def bound_ragged(data: Parts) -> list[Side]:
    return streaming.bound([array for part in data for array in part.cache()._storage.arrays.values()])


def ragged_case(*problems: Problem) -> Case:
    """Sequences of several lengths in one call: the long one must not be left to one thread."""
    first = problems[0]
    lengths = "-".join(f"{p.B}x{p.S}" for p in problems)
    return case_of(
        first,
        name=f"kvcache/ragged/{SHORT[first.dtype]}/H{first.H}-G{first.G}-D{first.D}/{lengths}/page{first.page}",
        group=f"kvcache ragged {first.dtype} H={first.H} G={first.G} D={first.D}, pages of {first.page}",
        sizes=first.sizes | {"B": sum(p.B for p in problems), "S": max(p.S for p in problems)},
        make=lambda: tuple(map(make, problems)),
        ours=attend_ragged,
        naive=naive_ragged,
        check=check_ragged,
        flops=sum(p.flops for p in problems),
        bytes_moved=sum(p.bytes_moved for p in problems),
        ceiling="bytes",
        bound=bound_ragged,
        peers={"fastcore contiguous": attend_apart},
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
    return case_of(problem, ours=fork, naive=copy, ceiling=None)


def cases() -> list[Case]:
    llama = partial(Problem, H=32, G=8, D=128, kind="paged", page=PAGE)
    attention = [llama(B=1, S=4096), llama(B=1, S=32768), llama(B=8, S=4096), llama(B=1, S=32768, dtype="int8")]
    ragged = ragged_case(llama(B=1, S=32768), llama(B=7, S=512))
    return [*map(case, attention), ragged, fork_case(Problem(1, 9, 3, 32768, 64, kind="fork", page=PAGE))]
