"""P(x) = y: one problem, many problems, many y of one P, and the inverse function prepared beforehand.

The polynomial of one P is the source's, its inverse that of the piece above its minimum at -1.1377; or it is that of a
type N thermocouple above 0 °C, as in `examples/polynomial_inverse.py`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases.polynomial_task import (
    CHECKED,
    LEVEL,
    SOURCE,
    Kind,
    Problem,
    ascending,
    exact_values,
    one_thread,
    polished,
)
from benchmarks.peers import polynomial_numpy, polynomial_scipy
from benchmarks.registry import Case, Check, Factory, Side
from examples.polynomial.thermocouple import ABOVE, HIGHEST
from fastcore import polynomial

DOMAIN = (-1.1, 1.0)
MINIMUM = -1.1377177299171792  # of the source's polynomial of degree 10
TABLE = 4096  # points of NumPy's inverse
FEW_POINTS = 64


@dataclass(frozen=True)
class Input:
    """c : (D + 1,) or (N, D + 1); y : () or (N,); x : the answers, where they were first; domain : of an inverse"""

    problem: Problem
    c: np.ndarray
    y: Any
    x: np.ndarray | None = None
    domain: tuple[float, float] = DOMAIN

    def interpolated(self, points: int) -> np.ndarray:
        """x for each y, from a table."""
        grid = np.linspace(*self.domain, points).astype(self.y.dtype)
        return np.interp(self.y, np.polyval(self.c[::-1], grid), grid).astype(self.y.dtype)

    def newton_start(self) -> tuple[np.ndarray, str]:
        """Where Newton's iteration arrives from, and what that is called: P of the thermocouple is nearly a line."""
        if self.problem.kind.startswith("thermocouple"):
            return np.full(self.y.shape, np.mean(self.domain)), "from the middle of the domain"
        return self.interpolated(FEW_POINTS), f"from a table of {FEW_POINTS} points"


def make(problem: Problem) -> Input:
    """y is a value of P for each problem, so that there is an answer."""
    random = problem.random()
    if problem.N == 1:
        return Input(problem, ascending(SOURCE, problem.D), LEVEL)
    if problem.function == "solve" and problem.kind == "many_c":
        c, x = random.standard_normal((problem.N, problem.D + 1)), random.uniform(-1, 1, problem.N)
        return Input(problem, c, np.array([np.polyval(row[::-1], at) for row, at in zip(c, x)]))
    c, domain = ascending(SOURCE, problem.D), DOMAIN
    if problem.kind.startswith("thermocouple"):
        c, domain = ABOVE, (0.0, HIGHEST)
    x = random.uniform(*domain, problem.N)
    if problem.kind == "near_minimum":
        # Distances from 1e-6 up: nearer, y has no digits that tell them apart.
        x, domain = MINIMUM + 10 ** random.uniform(-6, 0, problem.N), (MINIMUM, 1.0)
    if problem.kind.endswith("sorted"):
        x.sort()
    y = exact_values(c, x).astype(problem.dtype)
    return Input(problem, c.astype(problem.dtype), y, x, domain)


def ours(data: Input) -> Side:
    if data.problem.function == "inverse":
        call = polynomial.inverse(data.c, data.domain)
        return Side(one_thread(lambda: call(data.y)), lambda found: found.x)
    if data.problem.N == 1:
        return Side(lambda: polynomial.solve(data.c, data.y), lambda found: np.atleast_1d(found.x))
    return Side(one_thread(lambda: polynomial.solve(data.c, data.y)), lambda found: found.x)


def real_nearest_zero(roots: np.ndarray) -> np.ndarray:
    """(N,) of (N, D) complex."""
    real = np.where(roots.imag == 0, roots.real, np.inf)
    return np.take_along_axis(real, np.abs(real).argmin(axis=-1, keepdims=True), axis=-1)[..., 0]


def less_level(data: Input) -> np.ndarray:
    """(N, D + 1): coefficients of P - y."""
    c = np.broadcast_to(data.c, (*np.shape(data.y), data.c.shape[-1])).copy()
    c[..., 0] -= data.y
    return c


def naive(data: Input) -> Side:
    """np.roots, and the real root nearest to 0; of an inverse: a table, its interpolation, and steps of Newton."""
    if data.problem.function == "inverse":
        return Side(lambda: interpolated(data), np.asarray, f"a table of {TABLE} points and Newton steps")

    if data.problem.N == 1:
        descending = less_level(data)[::-1].copy()
        return Side(lambda: np.roots(descending), lambda roots: real_nearest_zero(roots[None]), "np.roots alone")
    return Side(
        polynomial_numpy.one_thread(
            lambda: real_nearest_zero(np.array(polynomial_numpy.roots_one_by_one(less_level(data))))
        ),
        np.asarray,
    )


def interpolated(data: Input) -> np.ndarray:
    """By a table that is made anew each time, as it costs little, and steps until they make no difference."""
    c = data.c[::-1]
    slope = np.polyder(c)
    x = data.interpolated(TABLE)
    for _ in range(20):
        step = (np.polyval(c, x) - data.y) / np.polyval(slope, x)
        x = np.clip(x - step, *data.domain)
        # Away from the minimum the next step would be of the size of its square.
        enough = 1e-12 if data.problem.kind == "near_minimum" else 1e-7
        if np.abs(step).max() <= enough * max(map(abs, data.domain)):
            break
    return x


def eigenvalues(data: Input) -> Side:
    return Side(
        polynomial_numpy.one_thread(
            lambda: real_nearest_zero(polynomial_numpy.companion_eigenvalues(less_level(data)))
        ),
        np.asarray,
    )


def check(data: Input) -> Check:
    if data.x is not None and data.problem.function == "inverse":
        return Check(np.asarray, data.x)
    c = np.atleast_2d(less_level(data))[:CHECKED]
    start = real_nearest_zero(np.array(polynomial_numpy.roots_one_by_one(c)))
    return Check(lambda x: x[:CHECKED], polished(c, start[:, None])[:, 0])


def tolerance(problem: Problem) -> float:
    if problem.dtype == "float32":
        return 1e-5
    # 1e-6 above the minimum y tells x apart to 42 u / (956 * 1e-6).
    return {"near_minimum": 1e-9, "many_c": 1e-7}.get(problem.kind, 1e-12)


def peers_of(problem: Problem) -> dict[str, Factory]:
    peers: dict[str, Factory] = {}
    if problem.function == "inverse":
        # Newton's iteration by itself leaves the domain where P is flat.
        if problem.kind != "near_minimum":
            peers["scipy newton"] = polynomial_scipy.newton
        peers["scipy find_root"] = polynomial_scipy.find_root
    elif problem.N == 1:
        peers["scipy newton"] = polynomial_scipy.newton_of_one
    else:
        peers["numpy eigvals"] = eigenvalues
    return peers


def case(problem: Problem) -> Case:
    return Kind(
        make=make,
        ours=ours,
        naive=naive,
        check=check,
        # Value and slope once for each answer.
        flops=lambda p: 4.0 * p.D * p.N,
        bytes_moved=lambda p: 2.0 * np.dtype(p.dtype).itemsize * p.N,
        tolerance=tolerance,
        peers=peers_of(problem),
    ).case(problem)


def problems() -> list[Problem]:
    return [
        Problem("solve", 1, 10, "source"),
        Problem("solve", 1, 9, "source"),
        Problem("solve", 10_000, 10, "many_c"),
        Problem("solve", 10_000, 10, "many_y"),
        Problem("inverse", 1_000_000, 10, "thermocouple"),
        Problem("inverse", 100_000, 10, "thermocouple", quick=True),
        Problem("inverse", 1_000_000, 10, "thermocouple_sorted"),
        Problem("inverse", 1_000_000, 10, "scattered"),
        Problem("inverse", 1_000_000, 10, "near_minimum"),
        Problem("inverse", 1_000_000, 10, "scattered", dtype="float32"),
    ]
