"""The cases of `fastcore.polynomial` on few problems: what they time, and what judges it, is right."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import registry, session
from benchmarks.cases import polynomial_roots, polynomial_values
from benchmarks.cases.polynomial import PARTS, cases
from benchmarks.cases.polynomial_task import CHECKED, Problem, polished
from fastcore import polynomial

FEW = 40
# Cases that differ in N alone are one here.
SMALL = {
    problem.name: (part.case, problem)
    for part in PARTS
    for problem in (replace(each, N=min(each.N, FEW)) for each in part.problems())
    if problem.function in polynomial.__all__
}


@pytest.mark.parametrize("name", SMALL)
def test_all_sides_agree_with_the_definition(name):
    make, problem = SMALL[name]
    case = make(problem)
    sides, entries = session.prepare(case, case.make(), list(case.peers))
    assert set(sides) == set(case.factories()), entries


def test_names_tell_the_one_thread():
    assert all(case.name.endswith("/1thread") and case.threads == 1 for case in registry.unique(cases()))


def test_quick_selection_has_two_polynomials():
    """More would take the time of others."""
    assert len([case for case in cases() if case.quick]) <= 2


def test_values_of_low_degree_are_bound_by_a_copy():
    bounds = {case.name: case.ceiling for case in map(polynomial_values.case, polynomial_values.problems())}
    assert bounds["polynomial/polyval/f64/N1000000-D3/1thread"] == "bytes"
    assert bounds["polynomial/polyval/f64/N1000000-D20/1thread"] == "flops"
    data = polynomial_values.make(Problem("polyval", 10, 3))
    (copy,) = polynomial_values.copies(data)
    np.testing.assert_array_equal(copy.call(), data.x)


@pytest.mark.parametrize("change", ["missing", "doubled", "moved"])
def test_wrong_roots_are_told(change):
    problem = Problem("roots", FEW, 4, "random")
    case = polynomial_roots.case(problem)
    data = case.make()
    found = np.array(case.naive(data).call())
    right = found.copy()
    if change == "missing":
        found[3, 0] = np.nan
    else:
        found[3, 0] = found[3, 1] if change == "doubled" else found[3, 0] + 1e-3
    side = registry.Side(lambda: found, np.asarray)
    assert session.error_of(case.check(data), registry.Side(lambda: right, np.asarray)) <= case.tolerance
    assert not session.error_of(case.check(data), side) <= case.tolerance


def test_a_real_root_too_few_is_told():
    case = polynomial_roots.case(Problem("real_roots", FEW, 3, "random"))
    data = case.make()
    found = case.naive(data).collect(case.naive(data).call())
    found[0, np.isfinite(found[0]).sum() - 1] = np.nan
    assert session.error_of(case.check(data), registry.Side(lambda: found, np.asarray)) > 0.1


def test_polished_roots_are_exact_to_the_last_digit():
    x = np.array([[-0.75, 0.5]])
    c = np.array([[-0.375, 0.25, 1.0]])
    np.testing.assert_array_equal(polished(c, x + 1e-5), x)
    np.testing.assert_array_equal(polished(np.array([[1.0, 0.0, 1.0]]), np.array([[1e-6 + 1j]])), [[1j]])


@pytest.mark.parametrize("part", PARTS)
def test_input_is_seeded(part):
    problem = replace(part.problems()[0], N=FEW)
    first, second = (part.make(problem) for _ in range(2))
    np.testing.assert_array_equal(first.c, second.c)


def test_only_the_first_problems_are_judged():
    case = polynomial_roots.case(Problem("real_roots", CHECKED + 7, 3, "random"))
    assert case.check(case.make()).expected.shape == (CHECKED, 3)
