"""layer_norm, add_layer_norm and gelu, from memory and from cache.

Axes: N rows, E elements in each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from scipy.special import erf

from benchmarks.peers import nn_torch
from benchmarks.registry import Case, Check, Side
from fastcore import nn, reference

CHECKED_ROWS = 16


@dataclass(frozen=True)
class Problem:
    """A function of `fastcore.nn` and the size of its input."""

    function: str
    N: int
    E: int
    approximate: str = "none"
    quick: bool = False

    @property
    def name(self) -> str:
        option = ["tanh"] * (self.approximate == "tanh")
        return "/".join(["nn", self.function, "f32", f"N{self.N}-E{self.E}", *option])


@dataclass(frozen=True)
class Input:
    problem: Problem
    x: np.ndarray
    residual: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def make(problem: Problem) -> Input:
    random = np.random.default_rng(crc32(problem.name.encode()))
    rows, row = (problem.N, problem.E), (problem.E,)
    return Input(problem, *(random.standard_normal(shape, dtype=np.float32) for shape in (rows, rows, row, row)))


def call_of(library: Any, data: Input) -> Callable[..., np.ndarray]:
    """The call as a function of `out`, in `fastcore.nn` or in the reference."""
    p = data.problem
    if p.function == "gelu":
        return partial(library.gelu, data.x, p.approximate)
    if p.function == "layer_norm":
        return partial(library.layer_norm, data.x, p.E, data.weight, data.bias)
    return partial(library.add_layer_norm, data.x, data.residual, p.E, data.weight, data.bias)


def ours(data: Input) -> Side:
    return Side(call_of(nn, data), np.asarray)


def naive(data: Input) -> Side:
    """The formulas in NumPy, array by array; erf is SciPy's."""
    p = data.problem

    def gelu() -> np.ndarray:
        if p.approximate == "tanh":
            return 0.5 * data.x * (1 + np.tanh((2 / np.pi) ** 0.5 * (data.x + 0.044715 * data.x**3)))
        return 0.5 * data.x * (1 + erf(data.x * 0.5**0.5))

    def norm() -> np.ndarray:
        x = data.x + data.residual if p.function == "add_layer_norm" else data.x
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5) * data.weight + data.bias

    return Side(gelu if p.function == "gelu" else norm, np.asarray)


def check(data: Input) -> Check:
    """Rows at the start and at the end."""
    rows = np.r_[: min(CHECKED_ROWS, data.problem.N), max(0, data.problem.N - CHECKED_ROWS) : data.problem.N]
    arrays = (data.x[rows], data.residual[rows], data.weight, data.bias)
    part = Input(data.problem, *(x.astype(np.float64) for x in arrays))
    return Check(lambda result: result[rows], call_of(reference, part)())


def case(problem: Problem) -> Case:
    p = problem
    elements = float(p.N * p.E)
    arrays = 3 if p.function == "add_layer_norm" else 2
    return Case(
        name=p.name,
        group=f"nn {p.function} float32 E={p.E}" + (" tanh" if p.approximate == "tanh" else ""),
        sizes={"N": p.N, "E": p.E},
        dtype="float32",
        make=partial(make, p),
        ours=ours,
        naive=naive,
        check=check,
        flops={"gelu": 30.0, "layer_norm": 8.0, "add_layer_norm": 9.0}[p.function] * elements,
        bytes_moved=4.0 * (arrays * elements + (0 if p.function == "gelu" else 2 * p.E)),
        tolerance=1e-6,
        ceiling="bytes",
        peers={"torch": nn_torch.prepare},
        quick=p.quick,
    )


def cases() -> list[Case]:
    problems = [
        Problem("layer_norm", 8192, 1024, quick=True),
        Problem("layer_norm", 64, 768),
        Problem("add_layer_norm", 5632, 384),
        Problem("gelu", 5632, 1536),
        Problem("gelu", 5632, 1536, "tanh"),
    ]
    return [case(problem) for problem in problems]
