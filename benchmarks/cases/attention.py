"""scaled_dot_product_attention: prefill, encoder batches, grouped queries, decoding, tiny calls.

Axes as in STYLE.md: B batch, H query heads, G key/value heads, L queries, S keys, D head size.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

import fastcore
from benchmarks.peers import attention_jax, attention_onnxruntime, attention_openvino, attention_torch, require
from benchmarks.registry import Case, Check, Side

PEERS = {
    "torch": attention_torch.prepare,
    "onnxruntime": attention_onnxruntime.prepare,
    "openvino": attention_openvino.prepare,
    "jax": attention_jax.prepare,
}
SHORT = {"float32": "f32", "float64": "f64", "bfloat16": "bf16"}
ITEMSIZE = {"float32": 4, "float64": 8, "bfloat16": 2}
# Of bfloat16: results of magnitude 0.5 are rounded by up to 1e-3, the weights by 2e-3 each.
TOLERANCE = {"float32": 2e-5, "float64": 1e-13, "bfloat16": 1e-2}
CHECKED_ROWS = 8  # queries judged at the start, in the middle and at the end
CHECKED_PAIRS = 1 << 22  # query-key pairs up to which the whole result is judged


@dataclass(frozen=True)
class Problem:
    """The sizes and options of one case."""

    B: int
    H: int
    L: int
    D: int
    G: int = 0
    S: int = 0
    causal: bool = False
    ragged: bool = False
    dtype: str = "float32"
    kind: str = "prefill"
    quick: bool = False

    @property
    def groups(self) -> int:
        return self.G or self.H

    @property
    def keys(self) -> int:
        return self.S or self.L

    @property
    def key_lengths(self) -> np.ndarray | None:
        """Keys of each sequence, evenly from a quarter of S to all of it; None where all are full."""
        if not self.ragged:
            return None
        return np.linspace(self.keys / 4, self.keys, self.B).round().astype(np.int64)

    @property
    def pairs(self) -> int:
        """Query-key pairs that take part, over all batches and heads."""
        lengths = np.full(self.B, self.keys) if self.key_lengths is None else self.key_lengths
        rows = np.arange(self.L) + 1 if self.causal else np.full(self.L, self.keys)
        return self.H * int(np.minimum(rows[None, :], lengths[:, None]).sum())

    @property
    def name(self) -> str:
        options = [f"G{self.G}"] * bool(self.G) + ["causal"] * self.causal + ["key_lengths"] * self.ragged
        lengths = f"L{self.L}" + (f"-S{self.S}" if self.S else "")
        return "/".join(
            ("attention", self.kind, SHORT[self.dtype], f"B{self.B}-H{self.H}-{lengths}-D{self.D}", *options)
        )

    @property
    def group(self) -> str:
        options = ", causal" * self.causal + ", key_lengths" * self.ragged + f", {self.G} kv heads" * bool(self.G)
        return f"attention {self.kind} {self.dtype} B={self.B} H={self.H} D={self.D}{options}"


@dataclass(frozen=True)
class Input:
    """Arrays of one case, all C-contiguous, in the layout (B, H, L, D)."""

    problem: Problem
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    key_lengths: np.ndarray | None

    def padding(self) -> np.ndarray | None:
        """(B, S) bool, True where a key takes part; None where all do."""
        if self.key_lengths is None:
            return None
        return np.arange(self.problem.keys)[None, :] < self.key_lengths[:, None]

    def padding_bias(self) -> np.ndarray | None:
        """The same to be added to scores: (B, 1, 1, S), 0 or -inf."""
        padding = self.padding()
        return None if padding is None else additive(padding, self.problem.dtype)[:, None, None, :]


def additive(mask: np.ndarray, dtype: Any) -> np.ndarray:
    """0 where True, -inf where False."""
    return np.where(mask, 0, -np.inf).astype(dtype)


def make(problem: Problem) -> Input:
    """Standard normal numbers, seeded by the name of the case."""
    random = np.random.default_rng(crc32(problem.name.encode()))
    p = problem
    if p.dtype == "bfloat16":
        require("ml_dtypes")  # makes its name known to NumPy
    shapes = ((p.B, p.H, p.L, p.D), (p.B, p.groups, p.keys, p.D), (p.B, p.groups, p.keys, p.D))
    query, key, value = (
        random.standard_normal(shape, dtype=np.float32).astype(p.dtype, copy=False) for shape in shapes
    )
    return Input(problem, query, key, value, p.key_lengths)


def ours(data: Input) -> Side:
    call = partial(
        fastcore.scaled_dot_product_attention,
        data.query,
        data.key,
        data.value,
        is_causal=data.problem.causal,
        key_lengths=data.key_lengths,
    )
    return Side(call, np.asarray)


def naive(data: Input) -> Side:
    """softmax(Q Kᵀ / √D + mask) V as one writes it in NumPy: sgemm, in-place passes, masks made beforehand."""
    p = data.problem
    bias = None
    if p.causal:
        bias = additive(np.tri(p.L, p.keys, dtype=bool), "float32" if p.dtype == "bfloat16" else p.dtype)
    padding_bias = data.padding_bias()
    if padding_bias is not None:
        bias = padding_bias if bias is None else bias + padding_bias
    query, key, value, bias = grouped(data, bias)
    attend = naive_in_float32 if p.dtype == "bfloat16" else naive_attention
    return Side(partial(attend, query, key, value, bias, p.D**-0.5), lambda out: out.reshape(data.query.shape))


def grouped(data: Input, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Query heads of one key head on an axis of their own, so that `np.matmul` broadcasts keys and values."""
    p = data.problem
    if p.groups == p.H:
        return data.query, data.key, data.value, bias
    query = data.query.reshape(p.B, p.groups, p.H // p.groups, p.L, p.D)
    if bias is not None and bias.ndim == 4:
        bias = bias[:, :, None]
    return query, data.key[:, :, None], data.value[:, :, None], bias


def naive_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, bias: np.ndarray | None, scale: float
) -> np.ndarray:
    scores = np.matmul(query * query.dtype.type(scale), key.swapaxes(-1, -2))
    if bias is not None:
        scores += bias
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.matmul(scores, value)


def naive_in_float32(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, bias: np.ndarray | None, scale: float
) -> np.ndarray:
    single = np.float32
    out = naive_attention(query.astype(single), key.astype(single), value.astype(single), bias, scale)
    return out.astype(query.dtype)


def check(data: Input) -> Check:
    """The reference in float64: of everything if that is cheap, else of a few rows of one head of each sequence."""
    p = data.problem
    whole = p.B * p.H * p.L * p.keys <= CHECKED_PAIRS
    starts, count = ([0], p.L) if whole else ([0, p.L // 2, p.L - CHECKED_ROWS], CHECKED_ROWS)
    heads = slice(None) if whole else slice(p.H - 1, p.H)
    groups = slice(None) if whole else slice(p.groups - 1, p.groups)
    key, value = (array[:, groups].astype(np.float64) for array in (data.key, data.value))
    parts = [
        fastcore.reference.scaled_dot_product_attention(
            data.query[:, heads, start : start + count].astype(np.float64),
            key,
            value,
            is_causal=p.causal,
            query_offset=start,
            key_lengths=data.key_lengths,
        )
        for start in starts
    ]

    def select(result: np.ndarray) -> np.ndarray:
        return np.concatenate([result[:, heads, start : start + count] for start in starts], axis=2)

    return Check(select, np.concatenate(parts, axis=2))


def case(problem: Problem) -> Case:
    p = problem
    itemsize = ITEMSIZE[p.dtype]
    read = int(p.B * p.keys if p.key_lengths is None else p.key_lengths.sum())
    return Case(
        name=p.name,
        group=p.group,
        sizes={"B": p.B, "H": p.H, "G": p.groups, "L": p.L, "S": p.keys, "D": p.D},
        dtype=p.dtype,
        make=partial(make, p),
        ours=ours,
        naive=naive,
        check=check,
        flops=4.0 * p.pairs * p.D,
        bytes_moved=float(itemsize * p.D * (2 * p.B * p.H * p.L + 2 * p.groups * read)),
        tolerance=TOLERANCE[p.dtype],
        peer_tolerance=3e-2 if p.dtype == "bfloat16" else None,  # OpenVINO's is 9e-3 off
        ceiling="bytes" if p.kind == "decode" else "flops",
        peers=PEERS,
        quick=p.quick,
    )


def problems() -> list[Problem]:
    square = [
        Problem(1, 8, L, D, causal=causal, quick=L in (512, 2048) and D == 64)
        for D in (64, 128)
        for L in (512, 1024, 2048, 4096)
        for causal in (False, True)
    ]
    long = [Problem(1, 8, 8192, D, causal=True) for D in (64, 128)]
    encoder = [
        Problem(8, 12, L, D, ragged=True, kind="encoder", quick=(L, D) in ((128, 32), (512, 64)))
        for D in (32, 64)
        for L in (128, 256, 512)
    ]
    others = [
        Problem(1, 8, 512, 64, dtype="float64"),
        Problem(1, 8, 2048, 64, dtype="float64", quick=True),
        Problem(1, 8, 2048, 64, causal=True, dtype="float64"),
        *(
            Problem(1, 8, 2048, D, causal=causal, dtype="bfloat16", quick=D == 64 and causal)
            for D in (64, 128)
            for causal in (False, True)
        ),
        Problem(1, 32, 512, 64, G=8, causal=True, kind="grouped", quick=True),
        Problem(1, 32, 2048, 128, G=8, causal=True, kind="grouped"),
        Problem(4, 32, 1, 64, G=8, S=4096, kind="decode", quick=True),
        Problem(1, 8, 1, 64, S=2048, kind="decode"),
        Problem(1, 1, 8, 16, kind="tiny", quick=True),
        Problem(1, 4, 32, 32, kind="tiny"),
    ]
    return [*square, *long, *encoder, *others]


def cases() -> list[Case]:
    return [case(problem) for problem in problems()]
