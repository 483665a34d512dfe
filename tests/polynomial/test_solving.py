"""Solutions of P(x) = y: the problem it all began with, random ones, hard ones, every option and every status."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcore
from fastcore.polynomial import Status, solve
from fastcore.reference import polynomial_solve
from tests.polynomial import hard_cases

UNIT = 2.0**-53
NINE = np.array(hard_cases.SOURCE[::-1])
TEN = np.array([0.0, *NINE])


@pytest.mark.parametrize(
    "c, expected",
    [
        (NINE, [-1.34930826568641163139703396081]),
        (TEN, [-1.36450115993526106316665422371, 0.293652303658128346168855888601]),
    ],
)
def test_solve_the_source_problem_both_ways(c, expected):
    solution = solve(c, np.pi, which="all")
    np.testing.assert_allclose(solution.x, expected, rtol=2 * UNIT)
    assert solution.count == len(expected)
    assert (solution.residual <= 1e-12).all()
    assert (hard_cases.absolute_value(c, solution.x, np.pi) <= 1e-12).all()
    for x in expected:
        one = solve(c, np.pi, x0=x + 0.1)
        np.testing.assert_allclose(one.x, x, rtol=2 * UNIT)
        assert one.status is Status.CONVERGED
        assert one.converged is True
        assert one.residual <= 1e-12


def test_solve_one_problem_gives_scalars():
    solution = solve(TEN, np.pi)
    assert [type(each) for each in solution] == [np.float64] * 3 + [int, Status, bool, type(None)]
    assert solve(list(TEN), np.float32(np.pi)).x == solve(TEN, float(np.float32(np.pi))).x
    assert solve(TEN, np.pi, x0=0) == solution == solve(TEN[::-1].copy()[::-1], np.array(np.pi))


def test_solve_2560_random_solvable_problems_all_converge(rng):
    # the experiment of the issue: a damped local hybrid stuck at a critical point in 18.6 %
    degree = np.repeat(np.arange(3, 13), 256)
    c = np.where(np.arange(13) <= degree[:, None], rng.standard_normal((2560, 13)), 0.0)
    y = np.array([np.polynomial.polynomial.polyval(x, row) for x, row in zip(rng.uniform(-2, 2, 2560), c, strict=True)])
    solution = solve(c, y)
    assert solution.converged.all()
    assert (solution.residual <= np.maximum(1e-10, solution.error_bound)).all()
    local = solve(c, y, method="newton")
    assert 0.02 < 1 - local.converged.mean() < 0.4
    assert not local.converged[local.residual > np.maximum(1e-10, local.error_bound)].any()


@pytest.mark.parametrize("name", sorted(hard_cases.HARD))
def test_solve_hard_polynomials_finds_the_certified_solutions(name):
    c = hard_cases.HARD[name]
    solution = solve(c, which="all")
    certified = hard_cases.certified_real_roots(c)
    if (solution.status == Status.TOUCHING).sum() != sum(root.multiplicity % 2 == 0 for root in certified):
        # no real root, but within the rounding of the coefficients
        assert name.startswith(("Mignotte 20, 100", "touches", "(x - 1/3)^4", "(x - 0.1)^2"))
    elif not certified:
        assert solution.count == 0
        assert solution.status[0] == Status.NO_REAL_SOLUTION
        assert not solution.converged[0]
    else:
        assert solution.count == len(certified)
        assert solution.converged.all()
        for x, root in zip(solution.x, certified, strict=True):
            if root.multiplicity == 1:
                assert hard_cases.relative_distance_to(root, x) <= 8 * UNIT
    x, residuals, bounds = (each[: solution.count] for each in solution[:3])
    residual = hard_cases.absolute_value(c, x)
    difference = np.subtract(residuals, residual, where=np.isfinite(residual), out=np.zeros(len(residual)))
    rounding = 1e-3 * np.nan_to_num(bounds) + 1e-15 * np.nan_to_num(residual) + 1e-323  # subnormal
    assert (np.abs(difference) <= rounding).all()
    assert (np.isinf(bounds) == np.isinf(residual)).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_solve_finds_what_polyval_began_with_on_a_monotone_piece(seed, degree):
    rng = np.random.default_rng(seed)
    slope = rng.standard_normal(degree)
    c = np.polynomial.polynomial.polyint(np.convolve(slope, slope), k=rng.standard_normal())  # a square: P rises
    x = rng.uniform(-2, 2, 20)
    y = np.polynomial.polynomial.polyval(x, c)
    solution = solve(c, y, domain=(-2.5, 2.5))
    assert solution.converged.all()
    certain = np.polynomial.polynomial.polyval(x, np.convolve(slope, slope))
    scale = np.polynomial.polynomial.polyval(np.abs(x), np.abs(c)) + np.abs(y)
    close = np.abs(solution.x - x) * certain <= 100 * degree * UNIT * scale + 8 * UNIT
    flat = np.abs(np.polynomial.polynomial.polyval(solution.x, c) - y) <= 100 * degree * UNIT * scale
    assert (close | flat).all()


def test_solve_agrees_with_the_reference(rng):
    for degree in (1, 2, 3, 5, 8):
        for c in rng.standard_normal((20, degree + 1)):
            expected = polynomial_solve.solve(c, 0.3)
            solution = solve(c, 0.3, which="all")
            assert solution.count == len(expected)
            np.testing.assert_allclose(solution.x[: solution.count], expected, rtol=1e-9, atol=1e-12)


def test_solve_nearest_is_the_nearest_of_all(rng):
    c = rng.standard_normal((300, 9))
    x0 = rng.uniform(-2, 2, 300)
    every, one = solve(c, which="all"), solve(c, x0=x0)
    found = every.count > 0
    with np.errstate(invalid="ignore"):
        distance = np.abs(every.x - x0[:, None])
    nearest = np.take_along_axis(every.x[found], np.nanargmin(distance[found], axis=1)[:, None], 1)[:, 0]
    np.testing.assert_allclose(one.x[found], nearest, rtol=8 * UNIT)
    np.testing.assert_array_equal(one.status[~found], Status.NO_REAL_SOLUTION)


def test_solve_ties_go_to_the_lower_and_infinite_x0_to_the_outermost():
    assert solve([-1.0, 0, 1]).x == -1
    assert solve([-6.0, 11, -6, 1], x0=1.5).x == 1
    assert solve([-6.0, 11, -6, 1], x0=np.inf).x == 3
    assert solve([-6.0, 11, -6, 1], x0=-np.inf).x == 1


def test_solve_domain_with_and_without_solutions():
    c = [-6.0, 11, -6, 1]
    np.testing.assert_array_equal(solve(c, domain=(1.5, np.inf), which="all").x, [2, 3])
    end = solve(c, domain=(2, 2.5))
    assert (end.x, end.status) == (2, Status.CONVERGED)
    beyond = solve(c, domain=(4, 9))
    assert (beyond.x, beyond.residual, beyond.status, beyond.converged) == (4, 6, Status.NO_REAL_SOLUTION, False)
    assert solve(c, domain=(-9, 0.5)).x == 0.5
    assert solve(c, domain=(-np.inf, -1e200)).x == -1e200
    assert solve(c, domain=(1.4, 1.45)).x == 1.45 or solve(c, domain=(1.4, 1.45)).x == 1.4


def test_solve_without_real_solution_gives_the_point_of_least_residual():
    for c, y, x, residual in [
        ([2.0, 0, 1], 0, 0, 2),
        ([2.0, -2, 1], 0.5, 1, 0.5),
        ([0.0, 0, 0, 0, 1], -1, 0, 1),
        ([1.0, 0, 1e-150], 0.0, 0, 1),
        (np.array([1.0, 0, 1]) * 1e-150, 0.0, 0, 1e-150),
    ]:
        solution = solve(c, y)
        assert (solution.x, solution.residual) == (x, residual)
        assert solution.status is Status.NO_REAL_SOLUTION
        assert not solution.converged


@pytest.mark.parametrize("scale", [1.0, 1e150, 1e-150, 1e300])
def test_solve_scaled_problems_have_the_same_solutions(scale):
    for c in (TEN, NINE, hard_cases.HARD["Wilkinson 10"], np.array([-6.0, 11, -6, 1])):
        expected = solve(c, 0.125, which="all")
        power = 2.0 ** np.floor(np.log2(scale))
        actual = solve(c * power, 0.125 * power, which="all", ytol=0)
        np.testing.assert_array_equal(actual.x, expected.x)
        np.testing.assert_array_equal(actual.residual, expected.residual * power)
        assert actual.converged.all()


def test_solve_touching_and_multiple_solutions():
    double = solve([1.0, -2, 1])
    assert (double.x, double.status, double.converged) == (1, Status.TOUCHING, True)
    triple = solve([-1.0, 3, -3, 1])
    assert (triple.x, triple.status) == (1, Status.CONVERGED)
    both = solve(hard_cases.HARD["double roots 1 2 3 4 5"], which="all")
    np.testing.assert_allclose(both.x, [1, 2, 3, 4, 5], rtol=1e-9)
    assert (both.status == Status.TOUCHING).all()
    # y as P's rounded value at its minimum: rounding y may have put it below
    c = np.array([1e10, -2.2, 1.0])
    assert solve(c, np.polynomial.polynomial.polyval(1.1, c)).converged


def test_solve_end_of_the_domain_that_hits_or_just_misses():
    below = np.nextafter(1, 0)
    for c, high, status in [
        ([-1.0, 0, 1], below, Status.TOUCHING),
        ([1.0, -2, 1], below, Status.TOUCHING),
        ([1.0, -2, 1], 1, Status.CONVERGED),
        ([-1.0, 0, 1], 1, Status.CONVERGED),
        ([-1.0, 0, 1], 1 - 1e-15, Status.NO_REAL_SOLUTION),
    ]:
        for sign in (1.0, -1.0):
            mirrored = np.array(c) * sign ** np.arange(3)
            domain = (0.5, high) if sign > 0 else (-high, -0.5)
            one, every = solve(mirrored, domain=domain), solve(mirrored, domain=domain, which="all")
            assert one.status is status
            assert (one.x, every.status[0]) == (sign * high, status)
            assert every.count == (status != Status.NO_REAL_SOLUTION)
            if one.converged:
                assert one.residual <= one.error_bound


@pytest.mark.parametrize(
    "c, y, status",
    [
        ([1.0, 0, 1], 0, Status.NO_REAL_SOLUTION),
        ([1.0, 0, 1e-150], 0, Status.NO_REAL_SOLUTION),
        ([5.0, 0], 4, Status.NO_REAL_SOLUTION),
        ([5.0, 0], 5, Status.ZERO_POLYNOMIAL),
        ([np.nan, 1], 0, Status.NOT_FINITE),
    ],
)
def test_solve_all_without_a_solution_is_nan_with_the_status(c, y, status):
    none = solve(c, y, which="all")
    assert none.count == 0
    assert np.isnan([none.x, none.residual, none.error_bound]).all()
    assert (none.status.tolist(), none.converged.tolist(), none.iterations.tolist()) == ([status], [False], [0])
    both = solve([c, [0.0, 1, 0][: len(c)]], y, which="all")
    assert both.count.tolist() == [0, 1]
    assert np.isnan(both.x[0]).all()
    assert both.status[:, 0].tolist() == [status, Status.CONVERGED]


@pytest.mark.parametrize("method", ["hybrid", "newton", "descent"])
def test_solve_never_counts_more_than_max_iterations(method):
    for c in np.random.default_rng(0).standard_normal((20, 10)):
        for limit in (1, 2, 3, 5, 10, 30):
            solution = solve(c, 0.3, method=method, max_iterations=limit)
            assert solution.iterations <= limit
            assert not solution.converged or solution.residual <= max(1e-10, solution.error_bound)


def test_solve_degenerate_problems_have_their_status():
    assert solve([2.0], 2.0, x0=3.0)[:3] == (3, 0, 0)
    assert solve([2.0, 0, 0], 2).status is Status.ZERO_POLYNOMIAL
    assert solve([2.0], 3).status is Status.NO_REAL_SOLUTION
    assert solve([2.0], 3).residual == 1
    for c in (*hard_cases.NOT_FINITE.values(),):
        assert solve(c).status is Status.NOT_FINITE
        assert np.isnan(solve(c).x)
    assert solve([1.0, 1], np.nan).status is Status.NOT_FINITE
    assert solve([1.0, 1], -np.inf).status is Status.NOT_FINITE
    assert solve([1.0, 1], x0=np.nan).status is Status.NOT_FINITE
    assert solve([0.0, 0], which="all").count == 0
    assert solve([0.0, 0], domain=(2, 3)).x == 2
    assert solve([-6.0, 2, 0, 0]).x == 3


def test_solve_broadcasts_and_batches_equal_single_calls(rng):
    c, y, x0 = rng.standard_normal((4, 1, 6)), rng.standard_normal(5), rng.standard_normal((3, 1, 1))
    solution = solve(c, y, x0=x0)
    assert solution.x.shape == (3, 4, 5)
    for index in np.ndindex(3, 4, 5):
        one = solve(c[index[1], 0], y[index[2]], x0=x0[index[0], 0, 0])
        assert [each[index] for each in solution[:6]] == list(one[:6])
    many = solve(c, y, which="all")
    assert many.x.shape == (4, 5, many.count.max())
    assert np.isnan(many.x).sum() == (many.x.shape[-1] - many.count).sum()


def test_solve_one_thread_equals_many(rng):
    c, y = rng.standard_normal(8), rng.standard_normal(30_000)
    every = rng.standard_normal((3000, 8))
    with fastcore.num_threads(1):
        serial = solve(c, y), solve(every, which="all")
    for one, many in zip(serial, (solve(c, y), solve(every, which="all")), strict=True):
        for a, b in zip(one, many, strict=True):
            np.testing.assert_array_equal(a, b)


def test_solve_empty_gives_empty():
    assert solve(np.zeros((0, 3))).x.shape == (0,)
    assert solve([1.0, 2], np.zeros((2, 0))).x.shape == (2, 0)
    assert solve(np.zeros((0, 3)), which="all").x.shape == (0, 1)


def test_solve_options_steer_the_iteration():
    loose = solve(TEN, np.pi, xtol=1e-3)
    assert loose.iterations <= solve(TEN, np.pi).iterations
    assert solve(TEN, np.pi, max_iterations=1).status is Status.MAX_ITERATIONS
    assert solve(TEN, np.pi, max_iterations=1, ytol=1e3).converged


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"which": "both"}, ValueError, "which must be"),
        ({"method": "secant"}, ValueError, "method must be one of 'hybrid', 'newton', 'descent'"),
        ({"method": "newton", "which": "all"}, ValueError, 'needs method="hybrid"'),
        ({"xtol": -1.0}, ValueError, "xtol must not be negative"),
        ({"ytol": "no"}, TypeError, "ytol must be a number"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be at least 1"),
        ({"max_iterations": 1.5}, TypeError, "max_iterations must be an integer"),
        ({"domain": (2, 1)}, ValueError, "domain must be two numbers"),
        ({"y": [1, 2, 3]}, ValueError, "must broadcast"),
        ({"y": 1j}, TypeError, "y must be real"),
        ({"x0": 1j}, TypeError, "x0 must be real"),
    ],
)
def test_solve_wrong_arguments_raise(options, error, message):
    with pytest.raises(error, match=message):
        solve(np.ones((2, 3)), **options)


@pytest.mark.parametrize(
    "options", [{}, {"x0": 0.5}, {"domain": (-1, 1.5)}, {"x0": np.inf}, {"domain": (0, np.inf), "x0": 1.0}]
)
def test_solve_many_y_in_lanes_equal_problems_alone(rng, options):
    for degree in range(1, 13):
        c = rng.standard_normal(degree + 1)
        y = np.polynomial.polynomial.polyval(rng.uniform(-2, 2, 300), c)
        y[:8] = np.nan, np.inf, 1e300, 1e-300, 0, c[0], 1e6, -1e6
        lanes, alone = solve(c, y, **options), solve(np.tile(c, (300, 1)), y, **options)
        np.testing.assert_array_equal(lanes.status, alone.status)
        np.testing.assert_array_equal(lanes.converged, alone.converged)
        np.testing.assert_allclose(lanes.x, alone.x, rtol=16 * UNIT)
        assert (lanes.residual <= np.maximum(1e-10, lanes.error_bound))[lanes.converged].all()


@pytest.mark.parametrize("name", ["Wilkinson 10", "Chebyshev T20", "(x - 1)^7 (x + 1)^3 x^2", "roots near 1e50", "x^5"])
def test_solve_many_y_near_critical_values_converge(name, rng):
    c = hard_cases.HARD[name]
    critical = np.polynomial.polynomial.polyroots(np.polynomial.polynomial.polyder(c))
    values = np.polynomial.polynomial.polyval(np.sort(critical.real), c)
    y = np.concatenate([values * (1 + delta) for delta in (0, 1e-15, -1e-15, 1e-12, -1e-9, 1e-6, -1e-3)])
    lanes, alone = solve(c, y), solve(np.tile(c, (len(y), 1)), y)
    np.testing.assert_array_equal(lanes.status, alone.status)
    good = lanes.converged
    assert (lanes.residual[good] <= np.maximum(1e-10, lanes.error_bound[good])).all()


# The vectors of AVX2 are tested by polyval and roots: a cold compile less.
@pytest.mark.parametrize("run_guarded", ["host", "plain x86-64", "no compiler"], indirect=True)
def test_solve_is_right_on_every_cpu(run_guarded):
    assert run_guarded(Path(__file__).with_name("solving_script.py")) == "ok"
