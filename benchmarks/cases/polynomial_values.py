"""Values of one polynomial at many points.

Up to degree 5 the bound is a copy of the points: it reads and writes what an evaluation does.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.cases.polynomial_task import Kind, Problem, one_thread
from benchmarks.peers import polynomial_numpy
from benchmarks.registry import Case, Check, Side
from fastcore import polynomial

CHECKED_POINTS = 2000
COPY_DEGREE = 5
FEW = 1000


@dataclass(frozen=True)
class Input:
    problem: Problem
    x: np.ndarray
    c: np.ndarray


def make(problem: Problem) -> Input:
    random = problem.random()
    x, c = random.uniform(-1, 1, problem.N), random.standard_normal(problem.D + 1)
    return Input(problem, x.astype(problem.dtype), c.astype(problem.dtype))


def ours(data: Input) -> Side:
    kind = data.problem.kind
    if kind == "with_derivative":
        return Side(one_thread(lambda: polynomial.polyval_and_derivative(data.x, data.c)), np.asarray)
    if kind == "compensated":
        return Side(one_thread(lambda: polynomial.polyval(data.x, data.c, compensated=True)), np.asarray)
    if data.problem.N <= FEW:
        return Side(lambda: polynomial.polyval(data.x, data.c), np.asarray)
    return Side(one_thread(lambda: polynomial.polyval(data.x, data.c)), np.asarray)


def naive(data: Input) -> Side:
    """np.polyval; for the digits of compensated summation in extended precision."""
    c = data.c[::-1].copy()
    if data.problem.kind == "with_derivative":
        slope = np.polyder(c)
        return Side(lambda: (np.polyval(c, data.x), np.polyval(slope, data.x)), np.asarray)
    if data.problem.kind == "compensated":
        return Side(lambda: np.polyval(c.astype(np.longdouble), data.x.astype(np.longdouble)), np.asarray)
    return Side(lambda: np.polyval(c, data.x), np.asarray)


def check(data: Input) -> Check:
    x, c = data.x[:CHECKED_POINTS].astype(np.longdouble), data.c[::-1].astype(np.longdouble)
    expected = np.polyval(c, x)
    if data.problem.kind == "with_derivative":
        expected = np.stack([expected, np.polyval(np.polyder(c), x)])
    return Check(lambda values: values[..., :CHECKED_POINTS], expected.astype(np.float64))


def copies(data: Input) -> list[Side]:
    out = np.empty_like(data.x)

    def call() -> np.ndarray:
        np.copyto(out, data.x)
        return out

    return [Side(call, np.asarray)]


def case(problem: Problem) -> Case:
    plain = problem.kind == ""
    evaluations = 2 if problem.kind == "with_derivative" else 1
    return Kind(
        make=make,
        ours=ours,
        naive=naive,
        check=check,
        flops=lambda p: 2.0 * evaluations * p.D * p.N,
        bytes_moved=lambda p: (1.0 + evaluations) * np.dtype(p.dtype).itemsize * p.N,
        tolerance=lambda p: 1e-5 if p.dtype == "float32" else 1e-13,
        ceiling=lambda p: None if p.N <= FEW or p.kind == "compensated" else "bytes" if p.D <= COPY_DEGREE else "flops",
        bound=copies,
        peers={"numpy in place": polynomial_numpy.horner, "numpy polynomial": polynomial_numpy.polynomial_polyval}
        if plain
        else {},
    ).case(problem)


def problems() -> list[Problem]:
    return [
        Problem("polyval", 1_000_000, 20, quick=True),
        Problem("polyval", 1_000_000, 50),
        Problem("polyval", 1_000_000, 10),
        Problem("polyval", 1_000_000, 5),
        Problem("polyval", 1_000_000, 3),
        Problem("polyval", 1_000_000, 20, dtype="float32"),
        Problem("polyval", 1_000_000, 5, dtype="float32"),
        Problem("polyval", 10, 10),
        Problem("polyval", 1000, 10),
        Problem("polyval", 1_000_000, 20, "with_derivative"),
        Problem("polyval", 1_000_000, 20, "compensated"),
    ]
