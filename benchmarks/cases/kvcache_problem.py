"""What the cases of `kvcache` have in common: sizes, input, caches, the NumPy side and the judge.

All sides of a case hold the same numbers: keys and values are rounded to the case's format beforehand, and caches then
store them without loss. So one reference in float64 judges all sides, and ours as strictly as in float32. What a format
loses on real keys and values is stated by the examples, not here.

Axes as in STYLE.md: B sequences, H query heads, G key/value heads, L new tokens, S keys with the new ones, D head size.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.cases.attention import additive, naive_attention
from benchmarks.registry import Case, Check, Side
from fastcore.kvcache import KVCache
from fastcore.kvcache.formats import FORMAT
from fastcore.reference import scaled_dot_product_attention
from fastcore.reference.quantization import dequantize, quantize

SHORT = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8": "int8", "int4": "int4"}
# Of the largest expected magnitude. Ours computes in float32 from any format, but int8 keys meet queries of 16 bits of
# fixed point where tokens are few: 4e-5 was measured.
TOLERANCE = {"float32": 2e-5, "float16": 2e-5, "bfloat16": 2e-5, "int8": 2e-4, "int4": 2e-5}
# Peers return float16 or bfloat16, and round the weights of the values to it; ONNX Runtime's int8 has a scale for each
# channel instead of each token, so its numbers are other ones.
PEER_TOLERANCE = {"float16": 5e-3, "bfloat16": 3e-2, "int8": 3e-2}
CHECKED_PAIRS = 1 << 21  # query-key pairs up to which the whole result is judged


@dataclass(frozen=True)
class Problem:
    """Sizes and format of one case."""

    B: int
    H: int
    G: int
    S: int
    D: int
    L: int = 1
    dtype: str = "float32"
    kind: str = "decode"
    page: int = 0
    quick: bool = False

    # As in cases/attention.py, whose peers are used here.
    @property
    def groups(self) -> int:
        return self.G

    @property
    def keys(self) -> int:
        return self.S

    @property
    def causal(self) -> bool:
        """No: the newest tokens see everything up to themselves, which `Input.padding_bias` says."""
        return False

    @property
    def name(self) -> str:
        sizes = f"B{self.B}-H{self.H}-G{self.G}-S{self.S}-D{self.D}" + f"-L{self.L}" * (self.L > 1)
        return "/".join(["kvcache", self.kind, SHORT[self.dtype], sizes, *([f"page{self.page}"] if self.page else [])])

    @property
    def group(self) -> str:
        page = f", pages of {self.page}" if self.page else ""
        return f"kvcache {self.kind} {self.dtype} B={self.B} H={self.H} G={self.G} D={self.D} L={self.L}{page}"

    @property
    def sizes(self) -> dict[str, int]:
        return {letter: getattr(self, letter) for letter in "BHGLSD"} | ({"P": self.page} if self.page else {})

    @property
    def flops(self) -> float:
        """Of the pairs that take part: the newest token sees S keys, the one before S - 1."""
        pairs = self.L * self.S - self.L * (self.L - 1) // 2
        return 4.0 * self.B * self.H * self.D * pairs

    def stored_bytes(self, tokens: int) -> float:
        """Of the keys and values of so many tokens of each sequence, padding and scales included."""
        layout = FORMAT[self.dtype]
        row = layout.row(self.D) * layout.dtype.itemsize
        scales = layout.scales(self.D)
        if scales is not None:
            row += int(np.prod(scales[0])) * scales[1].itemsize
        return 2.0 * self.B * self.G * tokens * row

    @property
    def bytes_moved(self) -> float:
        return self.stored_bytes(self.S) + 8.0 * self.B * self.H * self.L * self.D


@dataclass(frozen=True)
class Input:
    """float32 arrays (B, H, L, D), (B, G, S, D), (B, G, S, D), and the caches made from them so far."""

    problem: Problem
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    caches: dict[str, KVCache] = field(default_factory=dict)

    def cache(self, dtype: str | None = None) -> KVCache:
        """A full cache of the format, the case's own by default: made once, so that all who ask share its memory."""
        p = self.problem
        dtype = dtype or p.dtype
        if dtype not in self.caches:
            cache = KVCache(p.B, p.G, p.S, p.D, dtype=dtype)
            cache.append(self.key, self.value)
            self.caches[dtype] = cache
        return self.caches[dtype]

    def padding_bias(self) -> np.ndarray | None:
        """(L, S), 0 where a query sees a key and -inf where not; None for a single query, which sees all."""
        p = self.problem
        return None if p.L == 1 else additive(np.tri(p.L, p.S, p.S - p.L, dtype=bool), np.float32)

    def rows(self) -> np.ndarray:
        """The query heads of one key head as rows (B, G, H / G, D): of a single token each sees the same keys."""
        p = self.problem
        return self.query.reshape(p.B, p.G, p.H // p.G, p.D)

    def newest(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values (B, G, L, D) of the newest tokens."""
        return self.key[:, :, -self.problem.L :], self.value[:, :, -self.problem.L :]


def case_of(problem: Problem, **parts: Any) -> Case:
    """A case whose names, amounts and tolerances are the problem's, where `parts` do not say otherwise."""
    p = problem
    of_problem: dict[str, Any] = {
        "name": p.name,
        "group": p.group,
        "sizes": p.sizes,
        "dtype": p.dtype,
        "make": partial(make, p),
        "naive": naive,
        "check": check,
        "flops": p.flops,
        "bytes_moved": p.bytes_moved,
        "tolerance": TOLERANCE[p.dtype],
        "peer_tolerance": PEER_TOLERANCE.get(p.dtype),
        "quick": p.quick,
    }
    return Case(**of_problem | parts)


def make(problem: Problem) -> Input:
    """Standard normal numbers, rounded to the format (the query to 16 bits at most), seeded by the name of the case."""
    p = problem
    random = np.random.default_rng(crc32(p.name.encode()))
    query, key, value = (
        random.standard_normal(shape, dtype=np.float32)
        for shape in ((p.B, p.H, p.L, p.D), (p.B, p.G, p.S, p.D), (p.B, p.G, p.S, p.D))
    )
    if p.dtype in ("float16", "bfloat16"):
        query = as_stored(query, p.dtype)
    return Input(p, query, as_stored(key, p.dtype), as_stored(value, p.dtype))


def as_stored(x: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers that a cache of this format reads back."""
    return x if dtype == "float32" else dequantize(quantize(x, dtype), dtype, x.shape[-1])


def attend(data: Input, dtype: str | None = None) -> Side:
    """KVCache.attend, the newest tokens being in the cache."""
    return Side(partial(data.cache(dtype).attend, data.query), np.asarray)


def step(data: Input) -> Side:
    """KVCache.step: the newest tokens are taken back and appended again, and attend."""
    cache = data.cache()
    key, value = data.newest()
    before = data.problem.S - data.problem.L

    def call() -> Any:
        cache.truncate(before)
        return cache.step(data.query, key, value)

    return Side(call, np.asarray)


def naive(data: Input) -> Side:
    """softmax(Q Kᵀ / √D) V in NumPy, by sgemm; what is stored in fewer bytes is expanded first, at every call."""
    p = data.problem
    stored: list[Any] = [data.key, data.value]
    if p.dtype != "float32":
        stored = [quantize(array, p.dtype) for array in stored]

    def read(array: Any) -> np.ndarray:
        return array if p.dtype == "float32" else dequantize(array, p.dtype, p.D)

    bias, scale = data.padding_bias(), p.D**-0.5
    single = p.L == 1
    query = data.rows() if single else data.query.reshape(p.B, p.G, p.H // p.G, p.L, p.D)

    def call() -> np.ndarray:
        key, value = (read(array) if single else read(array)[:, :, None] for array in stored)
        return naive_attention(query, key, value, bias, scale)

    return Side(call, lambda out: out.reshape(data.query.shape))


def check(data: Input) -> Check:
    """The reference in float64: of everything if that is cheap, else of a few queries and heads of two sequences."""
    p = data.problem
    whole = p.B * p.H * p.L * p.S <= CHECKED_PAIRS
    sequences, heads, groups = (ends(size, whole) for size in (p.B, p.H, p.G))
    rows = ends(p.L, whole, middle=True)
    query = data.query[sequences][:, heads].astype(np.float64)
    key, value = (array[sequences][:, groups].astype(np.float64) for array in (data.key, data.value))
    expected = [
        scaled_dot_product_attention(query[:, :, row : row + 1], key[:, :, :seen], value[:, :, :seen])
        for row, seen in ((row, p.S - p.L + row + 1) for row in rows)
    ]
    return Check(lambda out: out[sequences][:, heads][:, :, rows], np.concatenate(expected, axis=2))


def ends(size: int, whole: bool, middle: bool = False) -> list[int]:
    """All indices, or the first and the last (and the one between)."""
    return list(range(size)) if whole else sorted({0, size - 1} | ({size // 2} if middle else set()))
