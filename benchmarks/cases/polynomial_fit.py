"""Least squares: values of a polynomial itself, so that what comes back is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases.polynomial_task import Kind, Problem, exact_values, one_thread
from benchmarks.peers import polynomial_numpy
from benchmarks.registry import Case, Check, Side
from fastcore import polynomial

GRID = np.linspace(-1, 1, 201)


@dataclass(frozen=True)
class Input:
    problem: Problem
    c: np.ndarray
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    @staticmethod
    def values_of(fitted: Any) -> np.ndarray:
        return fitted(GRID)


def make(problem: Problem) -> Input:
    random = problem.random()
    c, x = random.standard_normal(problem.D + 1), random.uniform(-1, 1, problem.N)
    weights = random.uniform(0.5, 2, problem.N) if problem.kind == "weighted" else None
    return Input(problem, c, x, exact_values(c, x), weights)


def ours(data: Input) -> Side:
    def call() -> Any:
        return polynomial.fit(data.x, data.y, data.problem.D, weights=data.weights)

    return Side(one_thread(call), lambda found: data.values_of(found.polynomial))


def naive(data: Input) -> Side:
    def call() -> np.ndarray:
        return np.polyfit(data.x, data.y, data.problem.D, w=data.weights)

    return Side(polynomial_numpy.one_thread(call), lambda c: np.polyval(c, GRID))


def check(data: Input) -> Check:
    return Check(np.asarray, exact_values(data.c, GRID))


def case(problem: Problem) -> Case:
    return Kind(
        make=make,
        ours=ours,
        naive=naive,
        check=check,
        # Chebyshev polynomials up to 2 D by their recurrence, their sums, and those of their products with y up to D.
        flops=lambda p: (4.0 * p.D + 2 * p.D + 2 * p.D) * p.N,
        bytes_moved=lambda p: (24.0 if p.kind == "weighted" else 16.0) * p.N,
        tolerance=lambda p: 1e-12,
        peers={"numpy chebyshev": polynomial_numpy.chebyshev_fit},
    ).case(problem)


def problems() -> list[Problem]:
    return [
        Problem("fit", 1_000_000, 10),
        Problem("fit", 1_000_000, 3),
        Problem("fit", 1_000_000, 10, "weighted"),
        Problem("fit", 1000, 5),
    ]
