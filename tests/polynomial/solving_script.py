"""Run in a process of its own, for each CPU: solve next to unmapped pages, and the source problem to the last digit."""

import numpy as np
from guard_pages import guarded

from fastcore.polynomial import Status, solve

SOURCE = [10.238723, 1.283, 0.3423, -12.322, 44.121, 17.0, -2.32, 9.11, -1.233, 0.32]
NINE, TEN = np.array(SOURCE), np.array([0.0, *SOURCE])


def edge(x):
    return guarded(x, True, range(x.ndim))


def main():
    rng = np.random.default_rng(5)
    np.testing.assert_allclose(solve(edge(NINE), np.pi).x, -1.34930826568641163139703396081, rtol=2.3e-16)
    solution = solve(edge(TEN), np.pi, which="all")
    np.testing.assert_allclose(
        solution.x, [-1.36450115993526106316665422371, 0.293652303658128346168855888601], 2.3e-16
    )
    assert (solution.residual <= 1e-12).all()
    wilkinson = np.poly(np.arange(1, 11))[::-1].copy()
    np.testing.assert_array_equal(solve(edge(wilkinson), which="all").x, np.arange(1, 11))
    for size in (1, 4, 7, 17, 33):
        y = rng.uniform(0, 5, size)
        lanes, alone = solve(edge(TEN), edge(y)), solve(edge(np.tile(TEN, (size, 1))), edge(y))
        np.testing.assert_allclose(lanes.x, alone.x, rtol=1e-15)
        np.testing.assert_array_equal(lanes.status, alone.status)
        assert lanes.converged.all()
    y = np.array([0.0, 1e-9, -1.0, 0.3, np.nan, 2.0])  # touches, near, no solution
    expected = [Status.TOUCHING, Status.CONVERGED, Status.NO_REAL_SOLUTION, Status.CONVERGED, Status.NOT_FINITE, 0]
    np.testing.assert_array_equal(solve([1.0, -2, 1], y).status, expected)
    np.testing.assert_array_equal(solve([1.0, -2, 1], edge(y), which="all").count, [1, 2, 0, 2, 0, 2])
    for method in ("newton", "descent"):
        np.testing.assert_allclose(solve(TEN, np.pi, method=method).x, 0.293652303658128346, rtol=2.3e-16)
    print("ok")


with np.errstate(all="ignore"):  # without the compiler bodies are NumPy's, which warns of what overflows
    main()
