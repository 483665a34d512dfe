"""MultiHeadAttention, the layer: projections by BLAS around the attention kernel; batch first, self-attention."""

from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

import fastcore
from benchmarks.cases.attention import naive_attention
from benchmarks.peers import multi_head_onnxruntime, multi_head_torch
from benchmarks.registry import Case, Check, Side

PEERS = {"torch": multi_head_torch.prepare, "onnxruntime": multi_head_onnxruntime.prepare}


@dataclass(frozen=True)
class Layer:
    """Sizes: B batch, L tokens, E features, H heads of E / H."""

    B: int
    L: int
    E: int
    H: int
    quick: bool = False

    @property
    def name(self) -> str:
        return f"multi_head/f32/B{self.B}-L{self.L}-E{self.E}-H{self.H}"


@dataclass(frozen=True)
class Input:
    layer: Layer
    x: np.ndarray
    in_weight: np.ndarray
    in_bias: np.ndarray
    out_weight: np.ndarray
    out_bias: np.ndarray

    def projections(self) -> dict[str, Any]:
        """The weights one by one, float64, by the names of the reference."""
        weights = np.split(self.in_weight.astype(np.float64), 3)
        biases = np.split(self.in_bias.astype(np.float64), 3)
        named: dict[str, Any] = {f"{letter}_proj_weight": weight for letter, weight in zip("qkv", weights)}
        named |= {f"{letter}_proj_bias": bias for letter, bias in zip("qkv", biases)}
        return named | {"out_proj_weight": self.out_weight, "out_proj_bias": self.out_bias}


def make(layer: Layer) -> Input:
    random = np.random.default_rng(crc32(layer.name.encode()))

    def normal(*shape: int, deviation: float = 1.0) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    e = layer.E
    return Input(
        layer,
        normal(layer.B, layer.L, e),
        normal(3 * e, e, deviation=e**-0.5),
        normal(3 * e),
        normal(e, e, deviation=e**-0.5),
        normal(e),
    )


def ours(data: Input) -> Side:
    module = fastcore.MultiHeadAttention(
        data.layer.E,
        data.layer.H,
        in_proj_weight=data.in_weight,
        in_proj_bias=data.in_bias,
        out_proj_weight=data.out_weight,
        out_proj_bias=data.out_bias,
    )
    return Side(partial(module, data.x), np.asarray)


def naive(data: Input) -> Side:
    """Two GEMMs around `naive_attention`."""
    b, length, e, h = data.layer.B, data.layer.L, data.layer.E, data.layer.H
    in_weight, out_weight = data.in_weight.T, data.out_weight.T

    def call() -> np.ndarray:
        projected = (data.x.reshape(-1, e) @ in_weight + data.in_bias).reshape(b, length, 3, h, e // h)
        query, key, value = projected.transpose(2, 0, 3, 1, 4)
        attended = naive_attention(query, key, value, None, (e // h) ** -0.5)
        joined = attended.transpose(0, 2, 1, 3).reshape(-1, e)
        return (joined @ out_weight + data.out_bias).reshape(b, length, e)

    return Side(call, np.asarray)


def check(data: Input) -> Check:
    """The first and the last sequence."""
    ends = [0, data.layer.B - 1]
    expected = fastcore.reference.multi_head_attention(
        data.x[ends].astype(np.float64), num_heads=data.layer.H, **data.projections()
    )
    return Check(lambda result: result[ends], expected)


def case(layer: Layer) -> Case:
    tokens, e = layer.B * layer.L, layer.E
    return Case(
        name=layer.name,
        group=f"multi_head float32 B={layer.B} E={e} H={layer.H}",
        sizes={"B": layer.B, "L": layer.L, "E": e, "H": layer.H},
        dtype="float32",
        make=partial(make, layer),
        ours=ours,
        naive=naive,
        check=check,
        flops=8.0 * tokens * e * e + 4.0 * tokens * layer.L * e,
        bytes_moved=4.0 * (2 * tokens * e + 4 * e * e + 4 * e),
        tolerance=5e-5,
        peers=PEERS,
        quick=layer.quick,
    )


def cases() -> list[Case]:
    layers = [Layer(8, 256, 384, 12, quick=True), Layer(8, 512, 768, 12), Layer(1, 2048, 1024, 16)]
    return [case(layer) for layer in layers]
