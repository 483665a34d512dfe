"""What the cases of `fastcore.polynomial` have in common. Every side has one thread, which the names say.

Axes: N points, polynomials or values of y; D degree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from zlib import crc32

import numpy as np

import fastcore
from benchmarks.registry import Case, Check, Factory, Side

# What the source of the solver states, the highest power first, and the level y.
SOURCE = (0.32, -1.233, 9.11, -2.32, 17.0, 44.121, -12.322, 0.3423, 1.283, 10.238723)
LEVEL = 3.14159265358979323846
# Results that are judged: those of so many problems; the reference takes long.
CHECKED = 300


@dataclass(frozen=True)
class Problem:
    """function : of `fastcore.polynomial`; kind : which input, or how it is asked"""

    function: str
    N: int
    D: int
    kind: str = ""
    dtype: str = "float64"
    quick: bool = False

    @property
    def name(self) -> str:
        letter = f"f{8 * np.dtype(self.dtype).itemsize}"
        return "/".join(
            filter(None, ("polynomial", self.function, letter, f"N{self.N}-D{self.D}", self.kind, "1thread"))
        )

    @property
    def group(self) -> str:
        return " ".join(filter(None, ("polynomial", self.function, self.dtype, f"D={self.D}", self.kind)))

    def random(self) -> np.random.Generator:
        return np.random.default_rng(crc32(self.name.encode()))


@dataclass(frozen=True)
class Kind:
    """How the problems of one function are made, solved and judged.

    Parameters
    ----------
    make : problem -> input
    ours, naive, peers, check, bound : as in `Case`
    flops, bytes_moved : problem -> number
    tolerance : problem -> largest error accepted from ours and from NumPy
    """

    make: Callable[[Problem], Any]
    ours: Factory
    naive: Factory
    check: Callable[[Any], Check]
    flops: Callable[[Problem], float]
    bytes_moved: Callable[[Problem], float]
    tolerance: Callable[[Problem], float]
    peers: Mapping[str, Factory] = field(default_factory=dict)
    ceiling: Callable[[Problem], Literal["flops", "bytes"] | None] = lambda problem: None
    bound: Callable[[Any], list[Side]] | None = None

    def case(self, problem: Problem) -> Case:
        ceiling = self.ceiling(problem)
        return Case(
            name=problem.name,
            group=problem.group,
            sizes={"N": problem.N, "D": problem.D},
            dtype=problem.dtype,
            make=lambda: self.make(problem),
            ours=self.ours,
            naive=self.naive,
            check=self.check,
            flops=self.flops(problem),
            bytes_moved=self.bytes_moved(problem),
            tolerance=self.tolerance(problem),
            ceiling=ceiling,
            bound=self.bound if ceiling == "bytes" else None,
            bound_name=COPY,
            threads=1,
            peers=self.peers,
            quick=problem.quick,
        )


COPY = "streaming copy"


def one_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """Ours with one thread. Costs 1 µs a call: a single small problem is never parallel and goes without."""

    def limited() -> Any:
        with fastcore.num_threads(1):
            return call()

    return limited


def ascending(listed: tuple[float, ...], degree: int) -> np.ndarray:
    """The source's coefficients, with the constant 0 where the degree is 10."""
    return np.array([0.0] * (degree + 1 - len(listed)) + list(listed[::-1]))


def exact_values(c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """P(x) in extended precision, as float64; coefficients ascending."""
    return np.polyval(c[::-1].astype(np.longdouble), x.astype(np.longdouble)).astype(np.float64)


def polished(c: np.ndarray, x: np.ndarray, steps: int = 8) -> np.ndarray:
    """Newton's iteration in extended precision, for roots x (..., K) of polynomials c (..., D + 1), ascending."""
    wide = np.clongdouble if np.iscomplexobj(x) else np.longdouble
    x, c = x.astype(wide), c.astype(np.longdouble)
    with np.errstate(all="ignore"):
        for _ in range(steps):
            value, slope = np.zeros_like(x), np.zeros_like(x)
            for k in range(c.shape[-1] - 1, -1, -1):
                slope = slope * x + value
                value = value * x + c[..., k, None]
            step = value / slope
            x = np.where(np.isfinite(step), x - step, x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
