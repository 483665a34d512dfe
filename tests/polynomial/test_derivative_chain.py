"""Roots by the chain of derivatives, as `solve` gives all of them, against certified ones; domains, clusters."""

import numpy as np
import pytest

from fastcore.polynomial import Status, solve
from tests.polynomial import hard_cases

UNIT = 2.0**-53
# No real root, but within the rounding of the coefficients, or nearer to each other than u**2 tells.
TOUCHES = {
    "Mignotte 20, 100": 3,
    "(x - 1/3)^4, rounded": 1,
    "(x - 0.1)^2 (x - 0.7)^2, rounded": 2,
    "touches 0 from above, degree 6": 1,
}


def roots_of(c, low=-np.inf, high=np.inf, y=0.0):
    solution = solve(c, y, domain=(low, high), which="all", xtol=4 * UNIT)
    return solution.x[: solution.count], solution.status[: solution.count] == Status.TOUCHING


@pytest.mark.parametrize("name", sorted(hard_cases.HARD))
def test_chain_roots_of_hard_polynomials_are_the_certified_ones(name):
    c = hard_cases.HARD[name]
    roots, touching = roots_of(c)
    certified = hard_cases.certified_real_roots(c)
    assert len(roots) == TOUCHES.get(name, len(certified))
    backward = hard_cases.componentwise_backward_error(c, roots)
    if name in TOUCHES:
        assert touching.any()
        assert (backward <= 4 * UNIT).all()
        return
    for x, root, touches, error in zip(roots, certified, touching, backward, strict=True):
        assert touches == (root.multiplicity % 2 == 0)
        if root.multiplicity == 1:
            assert hard_cases.relative_distance_to(root, x) <= 8 * UNIT
        assert error <= 4 * (len(c) - 1) * UNIT


def test_chain_roots_in_a_domain_are_those_of_the_line_that_lie_in_it(rng):
    for degree in (1, 2, 3, 6, 11):
        for c in rng.standard_normal((20, degree + 1)):
            every, _ = roots_of(c)
            for low, high in [(-1.0, 1.0), (0.0, np.inf), (-np.inf, 0.0), (0.3, 0.4), (1e3, 1e9), (-5.0, 1e300)]:
                inside, _ = roots_of(c, low, high)
                np.testing.assert_allclose(inside, every[(every >= low) & (every <= high)], rtol=8 * UNIT)


@pytest.mark.parametrize("low, high, expected", [(1, 2, [1, 2]), (1, 1, [1]), (2, 3, [2, 3]), (1.5, 1.75, [])])
def test_chain_roots_at_the_ends_of_the_domain_count(low, high, expected):
    np.testing.assert_array_equal(roots_of([-6.0, 11, -6, 1], low, high)[0], expected)


def test_chain_roots_of_degree_300_are_unity(rng):
    c = np.zeros(301)
    c[[0, 300]] = -1, 1
    np.testing.assert_array_equal(roots_of(c)[0], [-1, 1])


def test_chain_roots_subtract_y_exactly():
    # 1 + 1e-30 - 1: the constant term is two numbers
    roots, _ = roots_of([1.0, 0, -1e-30], y=1e-30)
    np.testing.assert_allclose(roots, [-1e15, 1e15], rtol=4 * UNIT)
    roots, _ = roots_of([1e-30, 1.0, 1.0], y=1.0)
    golden = (np.sqrt(5.0) - 1) / 2
    np.testing.assert_allclose(roots, [-1 - golden, golden], rtol=4 * UNIT)
