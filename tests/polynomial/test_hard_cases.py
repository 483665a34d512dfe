"""The oracle: what it certifies agrees with roots that are known."""

import inspect

import numpy as np
import pytest
from flint import arb, ctx
from mpmath import mp, polyroots

from tests.polynomial import hard_cases
from tests.polynomial.hard_cases import HARD, certified_real_roots, certified_roots


def test_certified_roots_are_as_many_as_the_degree():
    for name, c in HARD.items():
        degree = np.flatnonzero(c)[-1]
        assert sum(root.multiplicity for root in certified_roots(c)) == degree, name


def test_certified_roots_known_by_construction():
    np.testing.assert_array_equal([float(r.ball) for r in certified_real_roots(HARD["Wilkinson 10"])], range(1, 11))
    (one,) = certified_real_roots(HARD["(x - 1)^10"])
    assert one.ball == 1
    assert one.multiplicity == 10
    both = certified_real_roots(HARD["(x^2 - 2)^3 (x - 1)"], low=-1)
    assert [root.multiplicity for root in both] == [1, 3]
    assert certified_real_roots(HARD["x^15 - 1"])[0].ball == 1
    assert certified_real_roots(HARD["touches 0 from above by 1e-15"]) == ()
    assert len(certified_real_roots(HARD["crosses 0 twice by 1e-15"])) == 2


@pytest.mark.parametrize(
    "reading, known",
    [
        ("source, degree 10", ["-1.36450115993526106316665422371", "0.293652303658128346168855888601"]),
        ("source, degree 9", ["-1.34930826568641163139703396081"]),
    ],
)
def test_certified_real_roots_of_the_source_problem(reading, known):
    """Thirty digits of the solutions for its decimal coefficients; the float64 ones move them by less than 1e-15."""
    c = HARD[reading] - np.eye(len(HARD[reading]))[0] * np.pi
    with ctx.workprec(200):
        for root, digits in zip(certified_real_roots(c), known, strict=True):
            assert abs(root.ball - arb(digits)) < 1e-15


# From 1.4 on mpmath takes ascending coefficients, where told to, and warns where not.
ASCENDING = {"asc": True} if "asc" in inspect.signature(polyroots).parameters else {}
ORDER = 1 if ASCENDING else -1


def test_certified_roots_agree_with_mpmath():
    for name in ("Chebyshev T20", "random 10, 0", "roots 1e-24 to 1e24"):
        with mp.workdps(120):
            theirs = polyroots(
                [mp.mpf(float(x)) for x in HARD[name][::ORDER]], maxsteps=500, extraprec=800, **ASCENDING
            )
        worst = max(hard_cases.nearest_root(HARD[name], complex(z))[1] / abs(complex(z)) for z in theirs)
        assert worst < 2e-16, name


def test_componentwise_backward_error_of_known_points():
    c = np.array([2.0, -3.0, 1.0])
    got = hard_cases.componentwise_backward_error(c, [1.0, 2.0, 3.0, 0.0, np.inf, np.nan, 1j])
    np.testing.assert_allclose(got, [0, 0, 2 / 20, 1, 1, np.nan, np.sqrt(10) / 6], rtol=1e-14)
    assert hard_cases.componentwise_backward_error([0.0, 1.0, 0.0], [0.0, np.inf]).tolist() == [0.0, 0.0]
    assert hard_cases.absolute_value(c, 1 + 2.0**-52) == 2.0**-52 - 2.0**-104


def test_condition_of_known_roots():
    by_root = {float(r.ball): hard_cases.condition([2.0, -3.0, 1.0], r) for r in certified_real_roots([2.0, -3.0, 1.0])}
    np.testing.assert_allclose([by_root[1.0], by_root[2.0]], [6, 6])
    assert hard_cases.condition(HARD["(x - 1)^2"], certified_roots(HARD["(x - 1)^2"])[0]) == np.inf
