"""Gradients of scaled_dot_product_attention: alone, and with the forward pass they need (a step of training).

Alone, a side has done its forward pass beforehand. All sides are given the gradient by the result.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import fastcore
from benchmarks.cases import attention
from benchmarks.cases.attention import Problem
from benchmarks.peers import attention_backward_jax, attention_backward_torch
from benchmarks.registry import Case, Check, Factory, Side

if not hasattr(fastcore, "scaled_dot_product_attention_backward"):
    raise AttributeError("fastcore has no scaled_dot_product_attention_backward")

PEERS: dict[str, Factory] = {"torch": attention_backward_torch.prepare, "jax": attention_backward_jax.prepare}
# Five products of tiles; two more in the forward pass.
BACKWARD_FLOPS, TRAINING_FLOPS = 10.0, 14.0


@dataclass(frozen=True)
class Input:
    """The arrays of attention, the gradient by its result, and whether the forward pass is timed too."""

    problem: Problem
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    grad_out: np.ndarray

    @property
    def with_forward(self) -> bool:
        return self.problem.kind == "training"


def make(problem: Problem) -> Input:
    data = attention.make(problem)
    random = np.random.default_rng(problem.L + problem.D)
    grad_out = random.standard_normal(data.query.shape, dtype=np.float32).astype(problem.dtype, copy=False)
    return Input(problem, data.query, data.key, data.value, grad_out)


def stacked(gradients: Any) -> np.ndarray:
    """(3, B, H, L, D): L = S and H = G here."""
    return np.stack([np.asarray(each) for each in gradients])


def ours(data: Input) -> Side:
    arrays, causal = (data.query, data.key, data.value), data.problem.causal

    def forward() -> Any:
        return fastcore.scaled_dot_product_attention(*arrays, is_causal=causal, return_lse=True)

    def backward(out: np.ndarray, lse: np.ndarray) -> Any:
        return fastcore.scaled_dot_product_attention_backward(data.grad_out, *arrays, out, lse, is_causal=causal)

    if data.with_forward:
        return Side(lambda: backward(*forward()), stacked)
    return Side(partial(backward, *forward()), stacked)


def weights_of(data: Input) -> np.ndarray:
    p = data.problem
    scores = np.matmul(data.query * data.query.dtype.type(p.D**-0.5), data.key.swapaxes(-1, -2))
    if p.causal:
        scores += attention.additive(np.tri(p.L, dtype=bool), scores.dtype)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def naive(data: Input) -> Side:
    """With the L x S weights kept, as one writes it in NumPy."""

    def backward(weights: np.ndarray, out: np.ndarray) -> Any:
        slopes = np.matmul(data.grad_out, data.value.swapaxes(-1, -2))
        slopes -= (data.grad_out * out).sum(axis=-1, keepdims=True)
        slopes *= weights
        slopes *= slopes.dtype.type(data.problem.D**-0.5)
        transposed = slopes.swapaxes(-1, -2), weights.swapaxes(-1, -2)
        return (
            np.matmul(slopes, data.key),
            np.matmul(transposed[0], data.query),
            np.matmul(transposed[1], data.grad_out),
        )

    def training() -> Any:
        weights = weights_of(data)
        return backward(weights, np.matmul(weights, data.value))

    if data.with_forward:
        return Side(training, stacked)
    weights = weights_of(data)
    return Side(partial(backward, weights, np.matmul(weights, data.value)), stacked)


def check(data: Input) -> Check:
    """The last head in float64: a head's gradients depend on no other."""
    grad_out, query, key, value = (
        x[:, -1:].astype(np.float64) for x in (data.grad_out, data.query, data.key, data.value)
    )
    causal, twin = data.problem.causal, fastcore.reference
    out, lse = twin.scaled_dot_product_attention(query, key, value, is_causal=causal, return_lse=True)
    gradients = twin.scaled_dot_product_attention_backward(grad_out, query, key, value, out, lse, is_causal=causal)
    return Check(lambda result: result[:, :, -1:], stacked(gradients))


def case(problem: Problem) -> Case:
    p = problem
    elements = p.B * p.H * p.L * p.D
    return Case(
        name=p.name,
        group=p.group,
        sizes={"B": p.B, "H": p.H, "L": p.L, "S": p.keys, "D": p.D},
        dtype=p.dtype,
        make=partial(make, p),
        ours=ours,
        naive=naive,
        check=check,
        flops=(TRAINING_FLOPS if p.kind == "training" else BACKWARD_FLOPS) * p.pairs * p.D,
        bytes_moved=float((8 if p.kind == "backward" else 7) * elements * attention.ITEMSIZE[p.dtype]),
        tolerance=2e-5 if p.dtype == "float32" else 1e-13,
        peers=PEERS,
        quick=p.quick,
    )


def problems() -> list[Problem]:
    return [
        Problem(1, 8, 2048, D, causal=causal, kind=kind, quick=(kind, D, causal) == ("training", 64, True))
        for kind in ("training", "backward")
        for D in (64, 128)
        for causal in (False, True)
    ]


def cases() -> list[Case]:
    return [case(problem) for problem in problems()]
