"""Attention over packed sequences, with a block mask, with ALiBi, and with ALiBi as a score_mod written by hand.

Two of them are held against our own kernel: a block mask that leaves a tenth against the dense call, ALiBi by hand
against the built-in one. Their share is the time of that over ours.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from zlib import crc32

import numpy as np

import fastcore
from benchmarks.cases.attention import CHECKED_ROWS, additive, naive_attention
from benchmarks.peers import attention_scores_torch
from benchmarks.registry import Case, Check, Factory, Side

if not hasattr(fastcore, "scaled_dot_product_attention_varlen"):
    raise AttributeError("fastcore has no scaled_dot_product_attention_varlen")

BLOCK = 64
KEPT = 0.1
SHORTEST, LONGEST = 16, 2048


@dataclass(frozen=True)
class Problem:
    """kind : varlen, block_sparse, alibi or score_mod; N : sequences of varlen"""

    kind: str
    L: int
    N: int = 1
    H: int = 8
    D: int = 64
    causal: bool = False
    quick: bool = False

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence: evenly on a logarithmic scale, shuffled."""
        if self.kind != "varlen":
            return np.full(1, self.L)
        lengths = np.geomspace(SHORTEST, self.L, self.N).round().astype(np.int64)
        return np.random.default_rng(self.N).permutation(lengths)

    @property
    def starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def pairs(self) -> float:
        """Query-key pairs of all heads that take part."""
        lengths = self.lengths
        pairs = (lengths * (lengths + 1) / 2 if self.causal else lengths * lengths).sum()
        return self.H * float(pairs) * (KEPT if self.kind == "block_sparse" else 1.0)

    @property
    def name(self) -> str:
        sizes = f"N{self.N}-" * (self.kind == "varlen") + f"H{self.H}-L{self.L}-D{self.D}"
        empty = [f"{round(100 * (1 - KEPT))}empty"] if self.kind == "block_sparse" else []
        return "/".join(["attention", self.kind, "f32", sizes, *empty, *["causal"] * self.causal])


@dataclass(frozen=True)
class Input:
    """Tokens (total, H, D) for varlen, else (1, H, L, D); a block map and slopes where the kind has them."""

    problem: Problem
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    block_mask: np.ndarray | None = None
    slopes: np.ndarray | None = None


def alibi_slopes(heads: int) -> np.ndarray:
    """Of Press et al. 2022, for a number of heads that is a power of two."""
    return 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)


def make(problem: Problem) -> Input:
    p = problem
    random = np.random.default_rng(crc32(p.name.encode()))
    shape = (int(p.lengths.sum()), p.H, p.D) if p.kind == "varlen" else (1, p.H, p.L, p.D)
    query, key, value = (random.standard_normal(shape, dtype=np.float32) for _ in range(3))
    if p.kind == "block_sparse":
        return Input(p, query, key, value, block_mask=block_mask(p, random))
    return Input(p, query, key, value, slopes=alibi_slopes(p.H) if p.kind in ("alibi", "score_mod") else None)


def block_mask(problem: Problem, random: np.random.Generator) -> np.ndarray:
    """A tenth of each row of blocks, the diagonal among them."""
    blocks = problem.L // BLOCK
    kept = np.eye(blocks, dtype=bool)
    for i, row in enumerate(kept):
        others = np.delete(np.arange(blocks), i)
        row[random.choice(others, round(KEPT * blocks) - 1, replace=False)] = True
    return kept


# --- ours -----------------------------------------------------------------------------------------------------------


@cache
def alibi_by_hand(heads: int) -> Callable[..., Any]:
    from numba import njit

    step = 8.0 / heads

    @njit
    def alibi(score, b, h, i, j):
        return score - 2.0 ** (-step * (h + 1)) * abs(i - j)

    return alibi


def built_in(data: Input) -> Callable[[], Any]:
    attend = fastcore.scaled_dot_product_attention
    return partial(attend, data.query, data.key, data.value, is_causal=data.problem.causal, alibi_slopes=data.slopes)


def dense(data: Input) -> list[Side]:
    """The same tokens without the block mask, or with the built-in ALiBi."""
    if data.problem.kind == "score_mod":
        return [Side(built_in(data), np.asarray)]
    return [Side(partial(fastcore.scaled_dot_product_attention, data.query, data.key, data.value), np.asarray)]


def ours(data: Input) -> Side:
    p = data.problem
    attend = fastcore.scaled_dot_product_attention
    arrays = data.query, data.key, data.value
    if p.kind == "varlen":
        return Side(
            partial(fastcore.scaled_dot_product_attention_varlen, *arrays, p.starts, is_causal=p.causal), np.asarray
        )
    if p.kind == "block_sparse":
        return Side(partial(attend, *arrays, block_mask=data.block_mask), np.asarray)
    if p.kind == "alibi":
        return Side(built_in(data), np.asarray)
    more: dict[str, Any] = {"score_mod": alibi_by_hand(p.H)}
    return Side(partial(attend, *arrays, is_causal=p.causal, **more), np.asarray)


# --- NumPy and the reference ----------------------------------------------------------------------------------------


def bias_of(data: Input) -> np.ndarray | None:
    """What is added to the scores, (H, L, L) or (L, L): 0 or -inf, or ALiBi."""
    p = data.problem
    positions = np.arange(p.L)
    bias: np.ndarray | None = None
    if data.block_mask is not None:
        bias = additive(np.kron(data.block_mask, np.ones((BLOCK, BLOCK), bool)), "float32")
    if data.slopes is not None:
        distance = np.abs(positions[:, None] - positions)
        bias = (-data.slopes[:, None, None] * distance).astype(np.float32)
    if p.causal:
        causal = additive(positions <= positions[:, None], "float32")
        bias = causal if bias is None else bias + causal
    return bias


def naive(data: Input) -> Side:
    """Sequence by sequence; masks and ALiBi as a matrix made beforehand."""
    p = data.problem
    scale = p.D**-0.5
    if p.kind != "varlen":
        bias = bias_of(data)
        return Side(partial(naive_attention, data.query, data.key, data.value, bias, scale), np.asarray)
    masks = {n: additive(np.tri(n, dtype=bool), "float32") if p.causal else None for n in p.lengths.tolist()}

    def call() -> np.ndarray:
        out = np.empty_like(data.query)
        for start, n in zip(p.starts.tolist(), p.lengths.tolist()):
            q, k, v = (x[start : start + n].swapaxes(0, 1) for x in (data.query, data.key, data.value))
            out[start : start + n] = naive_attention(q, k, v, masks[n], scale).swapaxes(0, 1)
        return out

    return Side(call, np.asarray)


def check(data: Input) -> Check:
    """In float64: the ends of the longest and the shortest sequence, or a few rows of the last head."""
    p = data.problem
    expected: list[np.ndarray] = []
    rows: list[int] = []
    if p.kind == "varlen":
        for b in (int(np.argmax(p.lengths)), int(np.argmin(p.lengths))):
            start, n = int(p.starts[b]), int(p.lengths[b])
            query, key, value = (
                x[start : start + n].swapaxes(0, 1).astype(np.float64) for x in (data.query, data.key, data.value)
            )
            for first in (0, n - CHECKED_ROWS):
                part = fastcore.reference.scaled_dot_product_attention(
                    query[None, :, first : first + CHECKED_ROWS], key[None], value[None], is_causal=p.causal,
                    query_offset=first,
                )  # fmt: skip
                expected.append(part[0].swapaxes(0, 1))
                rows += range(start + first, start + first + CHECKED_ROWS)
        return Check(lambda result: result[rows], np.concatenate(expected))
    bias = bias_of(data)
    for first in (0, p.L // 2, p.L - CHECKED_ROWS):
        part_rows = slice(first, first + CHECKED_ROWS)
        mask = None if bias is None else (bias if bias.ndim == 2 else bias[-1])[part_rows].astype(np.float64)
        query, key, value = (x[:, -1:].astype(np.float64) for x in (data.query[:, :, part_rows], data.key, data.value))
        expected.append(fastcore.reference.scaled_dot_product_attention(query, key, value, mask))
        rows += range(first, first + CHECKED_ROWS)
    return Check(lambda result: result[:, -1:, rows], np.concatenate(expected, axis=2))


# --- the cases ------------------------------------------------------------------------------------------------------

PEERS: dict[str, Factory] = {
    "torch": attention_scores_torch.prepare,
    "torch one by one": attention_scores_torch.one_by_one,
}
AGAINST_OURS = {"block_sparse": "dense call", "score_mod": "built-in ALiBi"}


def case(problem: Problem) -> Case:
    p = problem
    sizes = {"N": p.N} if p.kind == "varlen" else {"B": 1}
    return Case(
        name=p.name,
        group=f"attention {p.kind} float32 H={p.H} D={p.D}" + ", causal" * p.causal,
        sizes={**sizes, "H": p.H, "L": p.L, "D": p.D},
        dtype="float32",
        make=partial(make, p),
        ours=ours,
        naive=naive,
        check=check,
        flops=4.0 * p.pairs * p.D,
        bytes_moved=16.0 * p.H * p.D * float(p.lengths.sum()),
        tolerance=2e-5,
        bound=dense if p.kind in AGAINST_OURS else None,
        bound_name=AGAINST_OURS.get(p.kind, ""),
        peers=PEERS if p.kind == "varlen" else {"torch": PEERS["torch"]},
        quick=p.quick,
    )


def problems() -> list[Problem]:
    """Of the options that this fastcore has."""
    options = inspect.signature(fastcore.scaled_dot_product_attention).parameters
    every = [
        *(Problem("varlen", LONGEST, N=64, causal=causal, quick=not causal) for causal in (False, True)),
        *(Problem("block_sparse", L, quick=L == 4096) for L in (4096, 8192)),
        *(Problem("alibi", 2048, causal=causal) for causal in (False, True)),
        *(Problem("score_mod", 2048, causal=causal, quick=causal) for causal in (False, True)),
    ]
    needed = {"block_sparse": "block_mask", "alibi": "alibi_slopes", "score_mod": "score_mod"}
    return [each for each in every if each.kind not in needed or needed[each.kind] in options]


def cases() -> list[Case]:
    return [case(problem) for problem in problems()]
