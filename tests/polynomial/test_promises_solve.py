"""What `solve` promises, over all hard cases, judged with proof."""

import numpy as np
import pytest
from flint import ctx
from hypothesis import assume, given
from hypothesis import strategies as st

from fastcore.polynomial import Status, solve, solving_wide
from tests.polynomial.hard_cases import (
    CONSTANT,
    FAMILIES,
    HARD,
    NOT_FINITE,
    UNIT,
    WORK_BITS,
    ZERO,
    absolute_value,
    certified_real_roots,
    certified_roots,
    condition,
    distance_to,
    value_and_terms,
)
from tests.polynomial.judges import degrees, groups_of, judge_solutions, one_of, report


def targets(c) -> list[float]:
    """Values that P takes near its roots, near its turning points, between them, and perhaps nowhere."""
    turns = [float(root.ball) for root in certified_real_roots(c, derivative=1)][:2]
    roots = [float(root.ball) for root in certified_real_roots(c)][:2]
    with ctx.workprec(WORK_BITS):
        values = [float(value_and_terms(c, x)[0].real) for x in (*turns, *(1.5 * root for root in roots))]
    # A hair beside a turning point too: two solutions, or none.
    some = [0.0, *values, *(value * (1 + sign * 1e-9) for value in values[:2] for sign in (-1, 1))]
    return [value for value in dict.fromkeys(some) if abs(value) < 1e300]


def shifted(c, y):
    less = np.array(c, float)
    less[0] -= y
    return less


def least(c, y, low, high) -> float:
    """The smallest |P(x) - y| in the domain, from certified turning points."""
    points = [float(root.ball) for root in certified_real_roots(c, low, high, derivative=1)]
    points += [end for end in (low, high) if np.isfinite(end)]
    return float(absolute_value(c, points, y).min()) if points else np.inf


def judge_all(c, y, got, low=-np.inf, high=np.inf) -> list[str]:
    """Every real solution is there, and there are no others."""
    complaints = judge_solutions(c, y, got, low, high, ytol=0.0)
    count = int(got.count)
    x, status = np.asarray(got.x)[:count], np.asarray(got.status)[:count]
    roots = certified_real_roots(c, low, high, y=y)
    if not np.isin(status, [Status.CONVERGED, Status.TOUCHING]).all():
        complaints.append(f"not converged: {x}, {status}")
    if (np.diff(x) < 0).any():
        complaints.append(f"not ascending: {x}")
    if (status == Status.CONVERGED).sum() > len(roots):
        complaints.append(f"{x} with {status} for the {len(roots)} solutions {[float(r.ball) for r in roots]}")
    for group in groups_of(roots):
        kappa = condition(shifted(c, y), group[0]) if len(group) == 1 else np.inf
        near = min((distance_to(root, z) for root in group for z in x), default=np.inf)
        size = abs(float(group[0].ball))
        if near > (8 + 8 * len(c) * kappa) * UNIT * size + 1e-307 and kappa < 1e12:
            complaints.append(f"solution {float(group[0].ball)}, condition {kappa:.2g}, is not among {x}")
        if np.isinf(kappa) and near > 1e-3 * max(size, 1e-307):
            complaints.append(f"multiple solution {float(group[0].ball)} is not among {x}")
    return complaints


def judge_nearest(c, y, got, x0=0.0, low=-np.inf, high=np.inf) -> list[str]:
    complaints = judge_solutions(c, y, got, low, high, ytol=0.0)
    roots = certified_real_roots(c, low, high, y=y)
    crossing = [root for root in roots if root.multiplicity % 2 and condition(shifted(c, y), root) < 1e12]
    if crossing and not got.converged:
        complaints.append(f"{Status(got.status)!r} where {float(crossing[0].ball)} is a solution")
    if got.status == Status.NO_REAL_SOLUTION:
        smallest = least(c, y, low, high)
        here = float(absolute_value(c, got.x, y))
        if not here <= smallest * (1 + 1e-9) + float(got.error_bound) + 5e-324:
            complaints.append(f"|P - y| is {here} at {got.x}, and {smallest} elsewhere")
    if got.converged and crossing:
        nearest = min(distance_to(root, x0) for root in crossing)
        if abs(got.x - x0) > nearest * (1 + 1e-6):
            complaints.append(f"{got.x} is not the nearest to {x0} of {[float(root.ball) for root in roots]}")
    if got.status == Status.CONVERGED and not roots:
        complaints.append(f"{got.x} solves what has no real solution; residual {got.residual}, {got.error_bound}")
    return complaints


@pytest.mark.parametrize("family", FAMILIES)
def test_solve_all_of_hard_cases_keeps_every_promise(family):
    complaints = {}
    for name, c in FAMILIES[family].items():
        for y in targets(c):
            complaints[f"{name}, y = {y!r}"] = judge_all(c, y, solve(c, y, which="all", ytol=0.0))
    assert not report(complaints)


@pytest.mark.parametrize("family", FAMILIES)
def test_solve_nearest_of_hard_cases_keeps_every_promise(family):
    complaints = {}
    for name, c in FAMILIES[family].items():
        for y in targets(c):
            for x0 in (0.0, 1.25):
                got = solve(c, y, x0=x0, ytol=0.0)
                complaints[f"{name}, y = {y!r}, x0 = {x0}"] = judge_nearest(c, y, got, x0)
    assert not report(complaints)


def test_solve_in_a_domain_finds_those_and_no_others():
    complaints = {}
    for name in ("Wilkinson 10", "Chebyshev T20", "source, degree 10", "random 20, 2", "dyadic roots -2 to 2 by 1/4"):
        c = HARD[name]
        for low, high in [(-1.0, 1.0), (0.0, 0.5), (0.25, np.inf), (-np.inf, -0.125), (1.0, 1.0)]:
            for y in targets(c)[:4]:
                got = solve(c, y, which="all", domain=(low, high), ytol=0.0)
                complaints[f"{name}, y = {y!r}, {low} to {high}, all"] = judge_all(c, y, got, low, high)
                got = solve(c, y, x0=0.3, domain=(low, high), ytol=0.0)
                complaints[f"{name}, y = {y!r}, {low} to {high}"] = judge_nearest(c, y, got, 0.3, low, high)
    assert not report(complaints)


@pytest.mark.parametrize("reading", ["source, degree 10", "source, degree 9"])
def test_solve_source_problem_to_1e_12(reading):
    c, y = HARD[reading], np.pi
    got = solve(c, y, which="all")
    assert not judge_all(c, y, got)
    assert int(got.count) == len(certified_real_roots(c, y=y))
    assert (absolute_value(c, got.x, y) <= 1e-12).all()
    assert absolute_value(c, solve(c, y).x, y) <= 1e-12


def test_solve_batch_gives_what_single_problems_give():
    cases = [(c, y) for name, c in FAMILIES["random"].items() if len(c) == 11 for y in targets(c)]
    batch = solve(np.array([c for c, _ in cases]), np.array([y for _, y in cases]))
    for number, (c, y) in enumerate(cases):
        one, alone = one_of(batch, number), solve(c, y)
        assert one.x == alone.x or np.isnan([one.x, alone.x]).all()
        assert one.status == alone.status


def test_solve_many_values_of_one_polynomial_keeps_every_promise(rng):
    """Critical points are found once, then shared by all y."""
    c = HARD["random 10, 0"]
    y = rng.normal(0, 3, 300)
    got = solve(c, y, ytol=0.0)
    assert not report({f"y = {value!r}": judge_nearest(c, value, one_of(got, i)) for i, value in enumerate(y)})


@pytest.mark.parametrize("which", ["nearest", "all"])
def test_solve_what_is_not_finite_says_so(which):
    cases = [(c, 0.5) for c in NOT_FINITE.values()] + [([1.0, 2.0, 3.0], y) for y in (np.nan, np.inf, -np.inf)]
    for c, y in cases:
        got = solve(c, y, which=which)
        assert np.ravel(got.status).tolist() == [Status.NOT_FINITE]
        assert not np.any(got.converged)
        assert np.isnan(got.x).all()


def test_solve_constants_say_so():
    for c in CONSTANT.values():
        got = solve(c, c[0], x0=0.25)
        assert (got.status, got.x) == (Status.ZERO_POLYNOMIAL, 0.25)
        assert solve(c, 17.5).status == Status.NO_REAL_SOLUTION
        assert not solve(c, 17.5).converged
    for c in ZERO.values():
        assert solve(c, 0.0).status == Status.ZERO_POLYNOMIAL
        assert solve(c, 1.0).status == Status.NO_REAL_SOLUTION


@pytest.mark.parametrize("method", ["newton", "descent"])
def test_solve_local_methods_never_give_a_wrong_solution(method):
    """They may get stuck, and say so; the answers they do give are solutions."""
    complaints = {}
    converged = 0
    for seed in range(60):
        c = np.random.default_rng(seed).standard_normal(6)
        got = solve(c, 0.5, x0=0.1, method=method)
        converged += bool(got.converged)
        complaints[f"seed {seed}"] = judge_solutions(c, 0.5, got)
    assert not report(complaints)
    assert converged > 30


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.02, 0.98))
def test_solve_of_values_gives_the_points_back_on_monotone_pieces(seed, degree, share):
    c = np.random.default_rng(seed).standard_normal(degree + 1)
    turns = [-3.0, *(float(root.ball) for root in certified_real_roots(c, -3, 3, derivative=1)), 3.0]
    piece = seed % (len(turns) - 1)
    low, high = turns[piece], turns[piece + 1]
    x = low + share * (high - low)
    with ctx.workprec(WORK_BITS):
        value, terms = value_and_terms(c, x)
        slope = abs(value_and_terms(c[1:] * np.arange(1, degree + 1), x)[0])
        y, moved = float(value.real), float((2 * terms / slope).upper()) * UNIT
    # Nearer to the turning point than rounding can tell: there are two such points, and TOUCHING.
    assume(moved < 1e-9)
    got = solve(c, y, domain=(low, high))
    assert got.status == Status.CONVERGED
    assert abs(got.x - x) <= 4 * degree * moved + 4 * UNIT * abs(x)
    assert not judge_solutions(c, y, got, low, high)


def test_hard_values_have_solutions_of_every_kind():
    """What the tests above run over: several solutions, one, and none."""
    numbers = {len(certified_real_roots(c, y=y)) for c in HARD.values() for y in targets(c) if degrees(c)[0] < 12}
    assert {0, 1, 2, 3, 4} <= numbers


def test_solve_coefficients_from_1e_minus_150_to_1e150():
    """Those too far apart for the chain of derivatives: a quarter had a solution missing, or one that was none."""
    complaints = {}
    for seed in range(60):
        random = np.random.default_rng(seed)
        n, size = int(random.integers(2, 14)), [60, 100, 150][seed % 3]
        c = random.standard_normal(n) * 10.0 ** random.uniform(-size, size, n)
        if any(not 1e-300 < abs(complex(root.ball)) < 1e300 for root in certified_roots(c)):
            continue
        y = 0.0 if seed % 2 else c[0] * 3.0
        complaints[f"seed {seed}, all"] = judge_all(c, y, solve(c, y, which="all", ytol=0.0))
        complaints[f"seed {seed}, nearest"] = judge_nearest(c, y, solve(c, y, ytol=0.0))
    assert len(complaints) > 40
    assert not report(complaints)


def test_solve_wide_coefficients_in_batches_and_domains_equal_problems_alone():
    c = np.array([[1e-150, 1e150, -1.0], [1.0, 2.0, -3.0], [1e100, 0.0, 1e-100], [-1e100, 1.0, 1e-100]])
    for options in ({}, {"x0": 1e200}, {"domain": (0.0, np.inf)}, {"domain": (-np.inf, -1e160)}):
        batch = solve(c, 0.5, **options)
        every = solve(c, 0.5, which="all", **{key: each for key, each in options.items() if key != "x0"})
        for i, row in enumerate(c):
            for one, many in zip(solve(row, 0.5, **options)[:6], batch[:6], strict=True):
                np.testing.assert_array_equal(one, many[i])
            alone = solve(row, 0.5, which="all", **{key: each for key, each in options.items() if key != "x0"})
            assert alone.count == every.count[i]
            np.testing.assert_array_equal(alone.x[: alone.count], every.x[i, : alone.count])
    lanes = solve(c[0], np.linspace(-1, 1, 9))
    np.testing.assert_array_equal(lanes.x, solve(np.tile(c[0], (9, 1)), np.linspace(-1, 1, 9)).x)
    assert solve([1e300, 1e-300], -1.7e308).status is Status.NO_REAL_SOLUTION  # the solution overflows
    assert solve([1e308, 1e10], -1.7e308).converged  # and here c[0] - y does


@pytest.mark.parametrize("exponents", [[-150, 0, 150], [-100, 100]])
def test_solve_coefficients_of_few_sizes_have_no_solution_missed_or_wrong(exponents):
    complaints = {}
    for seed in range(60):
        random = np.random.default_rng(seed)
        n = int(random.integers(2, 9))
        c = random.standard_normal(n) * 10.0 ** random.choice(exponents, n)
        if any(not 1e-290 < abs(complex(root.ball)) < 1e290 for root in certified_roots(c)):
            continue
        complaints[f"seed {seed}"] = judge_nearest(c, 0.0, solve(c, ytol=0.0))
    assert len(complaints) > 20
    assert not report(complaints)


def test_solve_infinite_bounds_prove_nothing(monkeypatch):
    """Real roots that did not converge, with |P| and its bound both beyond float64."""
    c = np.array([1e150, 1.0, -1e150, 1e10, 1e-10])

    def stuck(rows, low, high):
        answers = [np.full((1, 1), each) for each in (1e200, np.inf, np.inf, 250, Status.MAX_ITERATIONS, False)]
        return *answers, np.array([1])

    monkeypatch.setattr(solving_wide, "real_roots_of_rows", stuck)
    got = solve(c)
    assert (got.residual, got.error_bound) == (np.inf, np.inf)
    assert (got.status, got.converged) == (Status.MAX_ITERATIONS, False)


def test_solve_high_degrees_miss_no_solution():
    """In the derivatives' chain one of 30 of degree 299 lost six of its seven roots, which all CONVERGED."""
    c = np.random.default_rng(5).standard_normal(300)
    assert not judge_all(c, 0.0, solve(c, which="all", ytol=0.0))
    c = 1.0 / np.cumprod([1.0, *range(1, 171)])
    one = solve(c, np.e)
    assert (one.status, one.x) == (Status.CONVERGED, pytest.approx(1.0, rel=1e-14))


def test_solve_bisects_over_many_powers_of_two():
    c = np.array([-9.062231196247893e-71, -1.2555492951582874e-09, 2.658304486436851e58, 0.052785450996392196])
    assert not judge_all(c, 0.0, solve(c, which="all"))
