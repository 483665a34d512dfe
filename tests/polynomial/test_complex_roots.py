"""All complex roots, judged by FLINT's proofs."""

import numpy as np
import pytest
from flint import acb, acb_poly, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcore
from fastcore.polynomial import Status, roots
from fastcore.reference.polynomial_roots import roots as reference
from tests.polynomial.hard_cases import CONSTANT, HARD, NOT_FINITE, ROOT_BEYOND_RANGE, UNIT, ZERO, from_roots
from tests.polynomial.judges import judge_roots


@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize("name", HARD)
def test_roots_of_hard_cases_are_proven(name, polish):
    assert judge_roots(HARD[name], roots(HARD[name], polish=polish), polish=polish) == []


@pytest.mark.parametrize("seed", [11, 122, 245, 407, 734])
def test_roots_of_coefficients_over_1e150_are_proven(seed):
    rng = np.random.default_rng(seed)
    degree = int(rng.integers(1, 13))
    c = rng.standard_normal(degree + 1) * 10.0 ** rng.uniform(-150, 150, degree + 1)
    assert judge_roots(c, roots(c)) == []


def test_roots_of_clusters_lie_in_small_discs():
    solution = roots(HARD["(x - 1)^10"])
    assert (np.abs(solution.x - 1) <= solution.error_bound).all()
    assert solution.error_bound.max() < 0.1
    assert solution.converged.all()


def _certified_complex(c):
    """Roots of complex float64 coefficients, simple ones."""
    with ctx.workprec(300):
        return [complex(z.mid()) for z in acb_poly([acb(float(a.real), float(a.imag)) for a in c]).roots(tol=1e-40)]


def test_roots_of_complex_coefficients_are_within_two_units(rng):
    for degree in (1, 2, 3, 8, 17):
        c = rng.standard_normal((5, degree + 1)) + 1j * rng.standard_normal((5, degree + 1))
        solution = roots(c)
        assert solution.converged.all()
        for row, x, bound in zip(c, solution.x, solution.error_bound, strict=True):
            exact = np.array(_certified_complex(row))
            distance = np.abs(x[:, None] - exact)
            assert (np.sort(distance.argmin(1)) == np.arange(degree)).all()
            # `exact` was rounded itself
            assert (distance.min(1) <= np.minimum(bound, 2 * UNIT * np.abs(x)) + UNIT * np.abs(x)).all()


def test_roots_of_complex_coefficients_with_no_imaginary_part_are_the_real_ones(rng):
    c = rng.standard_normal((20, 8))
    np.testing.assert_allclose(roots(c + 0j).x, roots(c).x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("c", NOT_FINITE.values(), ids=NOT_FINITE)
def test_roots_of_what_is_not_finite_are_nan(c):
    solution = roots(c)
    assert solution.x.shape == (len(c) - 1,)
    assert np.isnan(solution.x).all()
    assert (solution.status == Status.NOT_FINITE).all()
    assert not solution.converged.any()


@pytest.mark.parametrize("c", ZERO.values(), ids=ZERO)
def test_roots_of_zero_are_nan(c):
    solution = roots(c)
    assert solution.x.shape == (len(c) - 1,)
    assert np.isnan(solution.x).all()
    assert (solution.status == Status.ZERO_POLYNOMIAL).all()


@pytest.mark.parametrize("c", CONSTANT.values(), ids=CONSTANT)
def test_roots_of_a_constant_are_infinite(c):
    solution = roots(c)
    assert (solution.x == np.full(len(c) - 1, np.inf)).all()
    assert (solution.status == Status.DEGENERATE).all()
    assert not solution.converged.any()


def test_roots_beyond_the_range_say_so():
    (c,) = ROOT_BEYOND_RANGE.values()
    solution = roots(c)
    np.testing.assert_array_equal(solution.x[:3], [1, 2, 3])
    assert solution.converged.tolist() == [True, True, True, False]
    assert (solution.x[3], solution.status[3]) == (np.inf, Status.DEGENERATE)


def test_roots_of_rows_do_not_depend_on_their_neighbours(rng):
    c = rng.standard_normal((19, 7))
    c[3] = np.nan
    c[4] = 0
    c[5, -2:] = 0
    c[6, :2] = 0
    c[7] *= 10.0 ** np.linspace(-100, 100, 7)
    together = roots(c)
    for i, row in enumerate(c):
        for ours, alone in zip(together[:6], roots(row)[:6], strict=True):
            np.testing.assert_array_equal(ours[i], alone)


def test_roots_agree_with_the_reference(rng):
    for degree in (1, 2, 3, 5, 10):
        c = rng.standard_normal((6, degree + 1))
        np.testing.assert_allclose(roots(c).x, reference(c), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(roots([1.0, 2, 0]).x, reference([1.0, 2, 0]))


@settings(max_examples=30)
@given(st.lists(st.floats(-8, 8, width=16).filter(lambda r: abs(r) > 0.01), min_size=1, max_size=7, unique=True))
def test_roots_of_the_product_of_factors_are_the_factors(factors):
    c = from_roots(factors)
    solution = roots(c)
    assert judge_roots(c, solution) == []


@settings(max_examples=40)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=10).filter(lambda c: any(c[1:])))
def test_roots_of_integer_coefficients_are_proven(coefficients):
    c = np.array(coefficients, float)
    assert judge_roots(c, roots(c)) == []


def test_roots_of_high_degree_are_found():
    c = np.random.default_rng(5).standard_normal(301)
    solution = roots(c)
    assert solution.converged.all()
    assert (solution.error_bound < 1e-14).all()
    # Every disc is apart from the others, so that each root has one.
    gaps = np.abs(solution.x[:, None] - solution.x) + 10 * np.eye(300)
    assert (gaps > solution.error_bound[:, None] + solution.error_bound).all()


def test_roots_take_any_array(rng):
    c = rng.standard_normal((2, 3, 5))
    expected = roots(c)
    assert expected.x.shape == (2, 3, 4)
    reordered = np.asfortranarray(c)
    reordered.flags.writeable = False
    for other in (reordered, c.astype(">f8"), c[..., ::-1].copy()[..., ::-1], c.tolist()):
        np.testing.assert_array_equal(roots(other).x, expected.x)
    assert roots(np.zeros((0, 4))).x.shape == (0, 3)
    assert roots(np.zeros((3, 1))).x.shape == (3, 0)
    np.testing.assert_array_equal(roots(np.array([2, -3, 1])).x, [1, 2])


def test_roots_refuse_what_is_no_array_of_coefficients():
    with pytest.raises(ValueError, match="ascending coefficients"):
        roots(3.0)
    with pytest.raises(ValueError, match="ascending coefficients"):
        roots(np.zeros((2, 0)))
    with pytest.raises(TypeError, match="numbers"):
        roots(np.array(["a", "b"]))


def test_roots_do_not_depend_on_threads(rng):
    c = rng.standard_normal((400, 9))
    threads = fastcore.get_num_threads()
    try:
        fastcore.set_num_threads(1)
        one = roots(c)
    finally:
        fastcore.set_num_threads(threads)
    for a, b in zip(one[:6], roots(c)[:6], strict=True):
        np.testing.assert_array_equal(a, b)
