"""NumPy beyond its plain functions: Horner's rule in place, companion matrices in one batch, Chebyshev series."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.peers import require
from benchmarks.registry import Side


@cache
def _libraries() -> Any:
    return require("threadpoolctl").ThreadpoolController()


def one_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call with one thread of BLAS and LAPACK; costs 12 µs."""
    libraries = _libraries()

    def limited() -> Any:
        with libraries.limit(limits=1, user_api="blas"):
            return call()

    return limited


def horner(data: Any) -> Side:
    """Two passes over the points for each coefficient, no new arrays."""
    x, c = data.x, data.c.tolist()
    out = np.empty_like(x)

    def call() -> np.ndarray:
        out.fill(c[-1])
        for coefficient in c[-2::-1]:
            np.multiply(out, x, out=out)
            np.add(out, coefficient, out=out)
        return out

    return Side(call, np.asarray, "in place")


def polynomial_polyval(data: Any) -> Side:
    return Side(lambda: np.polynomial.polynomial.polyval(data.x, data.c), np.asarray)


def roots_one_by_one(c: np.ndarray) -> list[np.ndarray]:
    """np.roots of each row, coefficients ascending."""
    return [np.roots(row) for row in c[:, ::-1]]


def companion_eigenvalues(c: np.ndarray) -> np.ndarray:
    """(N, D) complex: all roots of (N, D + 1) ascending coefficients."""
    degree = c.shape[1] - 1
    matrices = np.zeros((len(c), degree, degree))
    steps = np.arange(degree - 1)
    matrices[:, steps + 1, steps] = 1.0
    matrices[:, 0] = -c[:, -2::-1] / c[:, -1:]
    return np.linalg.eigvals(matrices)


def chebyshev_fit(data: Any) -> Side:
    arguments = (data.x, data.y, data.problem.D)

    def call() -> Any:
        return np.polynomial.Chebyshev.fit(*arguments, w=data.weights)

    return Side(one_thread(call), data.values_of)
