"""What a cache costs and saves: appending tokens, and a step with the cache against attention of the whole sequence."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

import fastcore
from benchmarks.cases import kvcache_problem as common
from benchmarks.cases.attention import naive_attention
from benchmarks.cases.kvcache_problem import Input, Problem, case_of, make
from benchmarks.peers import fastest, kvcache_torch, kvcache_transformers, require_torch
from benchmarks.registry import Case, Side
from fastcore.reference.quantization import dequantize, quantize


@dataclass(frozen=True)
class Appended(Input):
    """A cache whose newest tokens are appended in the timed call."""

    def attend_stored(self, stored: Any) -> np.ndarray:
        """Attention, in NumPy, over buffers of keys and values that a side has written: how they are judged."""
        key, value = (np.asarray(array.float().numpy() if hasattr(array, "float") else array) for array in stored)
        side = common.naive(replace(self, key=key, value=value, problem=replace(self.problem, dtype="float32")))
        return side.collect(side.call())


def make_appended(problem: Problem) -> Appended:
    data = make(problem)
    return Appended(problem, data.query, data.key, data.value)


def append(data: Appended) -> Side:
    """KVCache.append of the newest tokens, and the `truncate` before it that takes them back."""
    cache = data.cache()
    key, value = (np.ascontiguousarray(array) for array in data.newest())
    before = data.problem.S - data.problem.L

    def call() -> Any:
        cache.truncate(before)
        cache.append(key, value)
        return cache

    return Side(call, lambda full: full.attend(data.query))


def append_naive(data: Appended) -> Side:
    """Slices of preallocated arrays; formats that NumPy lacks by their definition in NumPy."""
    p = data.problem
    new = [np.ascontiguousarray(array) for array in data.newest()]
    whole = [quantize(array, p.dtype) for array in (data.key, data.value)]

    def call() -> Any:
        for stored, array in zip(whole, new):
            for name, rows in quantize(array, p.dtype).items():
                stored[name][:, :, p.S - p.L :] = rows
        return whole

    def collect(stored: Any) -> np.ndarray:
        return data.attend_stored([dequantize(each, p.dtype, p.D) for each in stored])

    return Side(call, collect)


def append_case(problem: Problem) -> Case:
    p = problem
    return case_of(
        p,
        make=partial(make_appended, p),
        ours=append,
        naive=append_naive,
        flops=2.0 * p.B * p.G * p.L * p.D,  # one operation an element: the roofline needs a number
        bytes_moved=p.stored_bytes(p.L) + 8.0 * p.B * p.G * p.L * p.D,
        ceiling=None,
        peers={"torch": kvcache_torch.prepare_append, "transformers": kvcache_transformers.prepare_append},
    )


@dataclass(frozen=True)
class Sequence(Input):
    """Also the queries (B, H, S, D) of all tokens, which a model without a cache takes again; `query` is the last."""

    queries: np.ndarray = field(kw_only=True)


def make_sequence(problem: Problem) -> Sequence:
    p = problem
    data = make(p)
    random = np.random.default_rng(crc32(f"{p.name}/queries".encode()))
    queries = random.standard_normal((p.B, p.H, p.S, p.D), dtype=np.float32)
    return Sequence(p, np.ascontiguousarray(queries[:, :, -1:]), data.key, data.value, queries=queries)


def last(out: Any) -> np.ndarray:
    return np.asarray(out)[..., -1:, :]


def recompute(data: Sequence) -> Side:
    """Attention of every token, by our own kernel for it."""
    call = partial(fastcore.scaled_dot_product_attention, data.queries, data.key, data.value, is_causal=True)
    return Side(call, last)


def recompute_naive(data: Sequence) -> Side:
    p = data.problem
    bias = np.where(np.tri(p.S, dtype=bool), 0, -np.inf).astype(np.float32)
    query = data.queries.reshape(p.B, p.G, p.H // p.G, p.S, p.D)
    call = partial(naive_attention, query, data.key[:, :, None], data.value[:, :, None], bias, p.D**-0.5)
    return Side(call, lambda out: last(out).reshape(data.query.shape))


def recompute_torch(data: Sequence) -> Side:
    torch = require_torch()
    arrays = [torch.from_numpy(array) for array in (data.queries, data.key, data.value)]
    attention = torch.nn.functional.scaled_dot_product_attention
    call = partial(attention, *arrays, is_causal=True, enable_gqa=data.problem.H > data.problem.G)
    return fastest({"SDPA of all tokens": lambda: Side(call, lambda out: last(out.numpy()))})


def growth_case(problem: Problem) -> Case:
    """One step of a layer with its cache; the other sides do without and compute the whole sequence again."""
    return case_of(
        problem,
        make=partial(make_sequence, problem),
        ours=common.step,
        naive=recompute_naive,
        ceiling=None,
        peers={"fastcore recompute": recompute, "torch": recompute_torch},
    )


def cases() -> list[Case]:
    llama = partial(Problem, B=1, H=32, G=8, D=128, kind="append")
    appends = [llama(S=4096, dtype=dtype) for dtype in ("float32", "int8")]
    appends += [llama(S=4608, L=512, dtype=dtype) for dtype in ("float32", "float16", "bfloat16", "int8", "int4")]
    lengths = (256, 512, 1024, 2048, 4096)
    growing = [Problem(1, 9, 3, length, 64, kind="against_recompute") for length in lengths]  # a layer of SmolLM2
    return [*map(append_case, appends), *map(growth_case, growing)]
