"""The local methods: where they converge they agree with the hybrid, where they get stuck they say so."""

import numpy as np
import pytest

from fastcore.polynomial import Status, solve
from fastcore.reference.polynomial_solve import descent_path, newton_path
from tests.polynomial import hard_cases

TEN = np.array([0.0, *hard_cases.SOURCE[::-1]])
PATHS = {"newton": newton_path, "descent": descent_path}


@pytest.mark.parametrize("method", PATHS)
@pytest.mark.parametrize("x0", [-2.0, -1.3, 0.0, 0.2, 0.5, 1.0])
def test_local_methods_solve_the_source_problem_and_follow_the_reference(method, x0):
    solution = solve(TEN, np.pi, x0=x0, method=method)
    assert solution.status is Status.CONVERGED
    assert solution.residual <= 1e-12
    path = PATHS[method](TEN, np.pi, x0)
    assert path[0] == x0
    np.testing.assert_allclose(path[-1], solution.x, rtol=1e-12)


@pytest.mark.parametrize("method", PATHS)
def test_local_methods_get_stuck_where_the_hybrid_converges_and_say_so(method, rng):
    c, y = rng.standard_normal((500, 11)), rng.standard_normal(500)
    local, hybrid = solve(c, y, method=method), solve(c, y)
    stuck = hybrid.converged & ~local.converged
    assert 0.05 < stuck[hybrid.converged].mean() < 0.5
    assert (local.status[stuck] == Status.MAX_ITERATIONS).all()
    assert (local.residual[stuck] > 1e-10).all()
    assert not (local.converged & ~hybrid.converged).any()
    np.testing.assert_array_equal(local.iterations <= 200, True)


def test_descent_from_the_samples_start_ends_at_no_local_minimum_of_p():
    # the sample of the issue descends P instead of the loss and prints -0.1406, where P has a minimum
    solution = solve(TEN, np.pi, x0=0.0, method="descent")
    assert abs(solution.x + 0.1406) > 0.1
    np.testing.assert_allclose(solution.x, 0.293652303658128346168855888601, rtol=1e-15)


@pytest.mark.parametrize("method", PATHS)
def test_local_methods_lower_the_residual_step_by_step_and_stay_in_the_domain(method, rng):
    for c in rng.standard_normal((30, 8)):
        path = PATHS[method](c, 0.5, 0.7, (-1.0, 1.0))
        residuals = np.abs(np.polynomial.polynomial.polyval(path, c) - 0.5)
        assert (np.diff(residuals) <= 4e-16).all()  # the last ones are all rounding
        assert (np.abs(path) <= 1).all()
        assert abs(solve(c, 0.5, x0=0.7, domain=(-1, 1), method=method).x) <= 1


@pytest.mark.parametrize("method", PATHS)
@pytest.mark.parametrize("scale", [1.0, 2.0**500, 2.0**-500])
def test_local_methods_are_free_of_scale(method, scale):
    expected = solve(TEN, np.pi, x0=0.5, method=method)
    solution = solve(TEN * scale, np.pi * scale, x0=0.5, method=method, ytol=0.0)
    assert solution.x == expected.x
    assert solution.converged


@pytest.mark.parametrize("method", PATHS)
def test_local_methods_of_special_problems(method):
    assert solve([2.0], 2.0, method=method).status is Status.ZERO_POLYNOMIAL
    assert solve([np.nan, 1.0], method=method).status is Status.NOT_FINITE
    assert solve([-6.0, 2.0], method=method).x == 3
    at_minimum = solve([1.0, 0, 1], method=method)  # starts at the critical point
    assert (at_minimum.x, at_minimum.residual, at_minimum.status) == (0, 1, Status.MAX_ITERATIONS)
