"""linear_attention, the alternative to softmax attention whose cost grows with L, and what softmax attention takes.

Its results are others than those of softmax attention, so that one is no contestant: it is what the share is of.
"""

from functools import partial

import numpy as np

import fastcore
from benchmarks.cases import attention
from benchmarks.cases.attention import CHECKED_ROWS, Input, Problem
from benchmarks.peers import attention_linear_torch
from benchmarks.registry import Case, Check, Side

if not hasattr(fastcore, "linear_attention"):
    raise AttributeError("fastcore has no linear_attention")

CHUNK = 64
SOFTMAX = "softmax attention"


def ours(data: Input) -> Side:
    return Side(partial(fastcore.linear_attention, data.query, data.key, data.value, data.problem.causal), np.asarray)


def mapped(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def naive(data: Input) -> Side:
    """In chunks: written out, the weights of 16384 tokens would be a gigabyte a head."""
    p = data.problem

    def whole() -> np.ndarray:
        query, key = mapped(data.query), mapped(data.key)
        return query @ (key.swapaxes(-1, -2) @ data.value) / (query @ key.sum(axis=2)[..., None])

    def causal() -> np.ndarray:
        query, key, value = (
            x.reshape(*x.shape[:2], -1, CHUNK, p.D) for x in (mapped(data.query), mapped(data.key), data.value)
        )
        states, sums = key.swapaxes(-1, -2) @ value, key.sum(axis=3)
        states, sums = np.cumsum(states, axis=2) - states, np.cumsum(sums, axis=2) - sums
        weights = np.tril(query @ key.swapaxes(-1, -2))
        total = weights.sum(axis=-1, keepdims=True) + query @ sums[..., None]
        return ((weights @ value + query @ states) / total).reshape(data.query.shape)

    return Side(causal if p.causal else whole, np.asarray)


def check(data: Input) -> Check:
    """A few rows of the last head, in float64."""
    p = data.problem
    query, key, value = (x[:, -1:].astype(np.float64) for x in (data.query, data.key, data.value))
    parts = []
    for start in (starts := (0, p.L // 2, p.L - CHECKED_ROWS)):
        weights = mapped(query[:, :, start : start + CHECKED_ROWS]) @ mapped(key).swapaxes(-1, -2)
        if p.causal:
            weights *= np.tri(CHECKED_ROWS, p.L, start)
        parts.append(weights @ value / weights.sum(axis=-1, keepdims=True))

    def select(result: np.ndarray) -> np.ndarray:
        return np.concatenate([result[:, -1:, start : start + CHECKED_ROWS] for start in starts], axis=2)

    return Check(select, np.concatenate(parts, axis=2))


def softmax(data: Input) -> list[Side]:
    return [attention.ours(data)]


def case(problem: Problem) -> Case:
    """Operations of the chunked form: the state is read and written, the chunk multiplied with itself when causal."""
    p = problem
    tokens = p.B * p.H * p.L
    return Case(
        name=p.name,
        group=p.group,
        sizes={"B": p.B, "H": p.H, "L": p.L, "D": p.D},
        dtype=p.dtype,
        make=partial(attention.make, p),
        ours=ours,
        naive=naive,
        check=check,
        flops=tokens * (4.0 * p.D * p.D + (2.0 * CHUNK * p.D if p.causal else 0.0)),
        bytes_moved=16.0 * tokens * p.D,
        tolerance=2e-5,
        bound=softmax if p.L <= 2048 else None,
        bound_name=SOFTMAX,
        peers={"torch": attention_linear_torch.prepare},
        quick=p.quick,
    )


def cases() -> list[Case]:
    problems = [
        Problem(1, 8, L, D, causal=causal, kind="linear", quick=(L, D) == (16384, 64) and causal)
        for L, D in ((2048, 64), (16384, 64), (16384, 128))
        for causal in (False, True)
    ]
    return [case(problem) for problem in problems]
