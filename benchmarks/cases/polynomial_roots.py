"""Roots of many polynomials: random ones (normal coefficients), and such that have real roots only.

np.roots in a loop is what a user of NumPy alone writes; "numpy eigvals" hands all companion matrices over in one call.
A real root is one whose imaginary part is 0, as LAPACK gives it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases.polynomial_task import CHECKED, Kind, Problem, one_thread, polished
from benchmarks.peers import polynomial_numpy
from benchmarks.registry import Case, Check, Side
from fastcore import polynomial

NOWHERE = 2.0  # where `bounded` puts no number, so that one root too few or too many is an error of 1


@dataclass(frozen=True)
class Input:
    """c : (N, D + 1) ascending; start : (N, D), the roots before c was rounded, where these are known"""

    problem: Problem
    c: np.ndarray
    start: np.ndarray | None = None


def make(problem: Problem) -> Input:
    random = problem.random()
    if problem.kind == "random":
        return Input(problem, random.standard_normal((problem.N, problem.D + 1)))
    roots = random.uniform(-1, 1, (problem.N, problem.D))
    c = np.ones((problem.N, 1))
    for root in roots.T:  # times (x - root)
        longer = np.zeros((problem.N, c.shape[1] + 1))
        longer[:, 1:] = c
        longer[:, :-1] -= root[:, None] * c
        c = longer
    return Input(problem, c, np.sort(roots, axis=1))


def bounded(x: np.ndarray) -> np.ndarray:
    """x / (1 + |x|): one far root does not hide the errors of the others."""
    with np.errstate(invalid="ignore"):
        found = x / (1 + np.abs(x))
    return np.where(np.isnan(x), NOWHERE, found)


def padded(roots: Any, degree: int) -> np.ndarray:
    """(N, D), ascending, NaN behind: from a row of real roots each."""
    found = np.full((len(roots), degree), np.nan)
    for row, values in zip(found, roots):
        row[: len(values)] = np.sort(values)
    return found


def real_of(roots: np.ndarray) -> np.ndarray:
    """(N, D), ascending, NaN behind: the real ones of (N, D) complex roots."""
    return np.sort(np.where(roots.imag == 0, roots.real, np.nan), axis=1)


def widened(x: np.ndarray, degree: int) -> np.ndarray:
    """(N, D) from (N, K), K <= D, NaN behind."""
    found = np.full((len(x), degree), np.nan)
    found[:, : x.shape[1]] = x
    return found


def ours(data: Input) -> Side:
    if data.problem.function == "roots":
        return Side(one_thread(lambda: polynomial.roots(data.c)), lambda found: found.x)
    return Side(one_thread(lambda: polynomial.real_roots(data.c)), lambda found: widened(found.x, data.problem.D))


def naive(data: Input) -> Side:
    if data.problem.function == "roots":
        return Side(polynomial_numpy.one_thread(lambda: polynomial_numpy.roots_one_by_one(data.c)), np.array)

    def call() -> list[np.ndarray]:
        return [roots[roots.imag == 0].real for roots in polynomial_numpy.roots_one_by_one(data.c)]

    return Side(polynomial_numpy.one_thread(call), partial(padded, degree=data.problem.D))


def eigenvalues(data: Input) -> Side:
    def call() -> np.ndarray:
        found = polynomial_numpy.companion_eigenvalues(data.c)
        return found if data.problem.function == "roots" else real_of(found)

    return Side(polynomial_numpy.one_thread(call), np.asarray)


def nearest(expected: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """For each expected root (N, D) the nearest of those that came; NOWHERE if one of them is nearest to two."""

    def select(came: np.ndarray) -> np.ndarray:
        came = came[: len(expected)]
        places = np.abs(came[:, None, :] - expected[:, :, None]).argmin(axis=2)
        found = bounded(np.take_along_axis(came, places, axis=1))
        doubled = (np.diff(np.sort(places, axis=1), axis=1) == 0).any(axis=1)
        found[doubled] = NOWHERE
        return np.stack([found.real, found.imag])

    return select


def check(data: Input) -> Check:
    """The first polynomials, their roots in extended precision."""
    c = data.c[:CHECKED]
    if data.problem.function == "roots":
        expected = polished(c, np.array(polynomial_numpy.roots_one_by_one(c), np.complex128))
        found = bounded(expected)
        return Check(nearest(expected), np.stack([found.real, found.imag]))
    if data.start is None:
        start = padded([roots[roots.imag == 0].real for roots in polynomial_numpy.roots_one_by_one(c)], data.problem.D)
    else:
        start = data.start[:CHECKED]
    return Check(lambda x: bounded(x[:CHECKED]), bounded(np.sort(polished(c, start), axis=1)))


def tolerance(problem: Problem) -> float:
    """Of roots as exact as their coefficients; NumPy's, the eigenvalues, lose more where roots are close."""
    return 1e-6 if problem.kind == "real" else 1e-9


def case(problem: Problem) -> Case:
    return Kind(
        make=make,
        ours=ours,
        naive=naive,
        check=check,
        # One Newton step for each root.
        flops=lambda p: 4.0 * p.D * p.D * p.N,
        bytes_moved=lambda p: 8.0 * (2 * p.D + 1) * p.N,
        tolerance=tolerance,
        peers={"numpy eigvals": eigenvalues},
    ).case(problem)


def problems() -> list[Problem]:
    return [
        Problem("real_roots", 100_000, 10, "random"),
        Problem("real_roots", 10_000, 10, "random"),
        Problem("real_roots", 100_000, 10, "real"),
        Problem("real_roots", 100_000, 3, "random"),
        Problem("real_roots", 100, 10, "random"),
        Problem("roots", 100_000, 10, "random"),
        Problem("roots", 10_000, 10, "random"),
        Problem("roots", 100_000, 4, "random"),
        Problem("roots", 100, 10, "random"),
    ]
