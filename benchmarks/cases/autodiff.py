"""The cases of `fastcore.autodiff`: value and both partial derivatives of the source's F at many points.

Axes: N points.
"""

from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.cases.autodiff_task import judged, source
from benchmarks.peers import autodiff_jax
from benchmarks.registry import Case, Check, Side
from fastcore.autodiff import value_and_grad


def make(name: str, size: int, dtype: str) -> list[np.ndarray]:
    random = np.random.default_rng(crc32(name.encode()))
    return [random.uniform(0.5, 3.0, size).astype(dtype) for _ in range(2)]


def f(x: Any, y: Any) -> Any:
    return source(np, x, y)


def ours(data: list[np.ndarray]) -> Side:
    function = value_and_grad(f)
    return Side(lambda: function(*data), judged)


def closed_form(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """What NumPy is given: the derivatives worked out by hand, what they share computed once."""
    s, p = x * y, x + y
    h, cosine = 1 / p, np.cos(s)
    slope, rest = -h * np.sin(s), cosine * h * h
    return cosine * h, (slope * y - rest, slope * x - rest)


def naive(data: list[np.ndarray]) -> Side:
    return Side(lambda: closed_form(*data), judged)


def check(data: list[np.ndarray]) -> Check:
    return Check(lambda result: result, judged(closed_form(*(x.astype(np.float64) for x in data))))


def case(size: int, dtype: str, *, quick: bool = False) -> Case:
    itemsize = np.dtype(dtype).itemsize
    name = f"autodiff/value_and_grad/f{8 * itemsize}/N{size}"
    return Case(
        name=name,
        group=f"autodiff value_and_grad {dtype}",
        sizes={"N": size},
        dtype=dtype,
        make=partial(make, name, size, dtype),
        ours=ours,
        naive=naive,
        check=check,
        flops=60.0 * size,
        bytes_moved=5.0 * itemsize * size,
        tolerance=3e-6 if dtype == "float32" else 1e-14,
        ceiling="bytes",
        peers={"jax": autodiff_jax.prepare},
        quick=quick,
    )


def cases() -> list[Case]:
    return [
        case(1_000_000, "float32", quick=True),
        case(1_000_000, "float64"),
        case(1000, "float32"),
    ]
