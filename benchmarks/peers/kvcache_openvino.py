"""OpenVINO: one ScaledDotProductAttention, float32, with a group's query heads as rows or keys repeated for them."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmarks.peers import attention_openvino, fastest
from benchmarks.registry import Side, Unavailable

REPEATED_BYTES = 1 << 30


def prepare(data: Any) -> Side:
    p = data.problem
    if p.dtype != "float32":
        raise Unavailable(f"its CPU plugin computes {p.dtype} in float32")
    ways = {}
    if p.L == 1 and p.H > p.G:
        ways["query heads of one key head as rows"] = partial(rows, data)
    if 2 * data.key.nbytes * (p.H // p.G) <= REPEATED_BYTES:
        ways["SDPA"] = partial(attention_openvino.prepare, data)
    if not ways:
        raise Unavailable("it repeats keys for each query head, gigabytes here")
    return fastest(ways)


def rows(data: Any) -> Side:
    """The heads of a group are (H / G) queries of one head."""
    p = data.problem
    problem = replace(p, H=p.G, L=p.H // p.G)
    grouped = SimpleNamespace(problem=problem, query=data.rows(), key=data.key, value=data.value)
    grouped.padding_bias = lambda: None  # all rows are the newest token's
    side = attention_openvino.prepare(grouped)
    return replace(side, collect=lambda done: side.collect(done).reshape(data.query.shape))
