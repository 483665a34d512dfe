"""Real roots, judged by FLINT's proofs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcore
from fastcore.polynomial import Solution, Status, real_roots
from fastcore.reference.polynomial_real import real_roots as reference
from tests.polynomial.hard_cases import (
    CONSTANT,
    HARD,
    NOT_FINITE,
    ROOT_BEYOND_RANGE,
    UNIT,
    ZERO,
    certified_real_roots,
    componentwise_backward_error,
    distance_to,
    from_roots,
)
from tests.polynomial.judges import judge_real_roots


@pytest.mark.parametrize("name", HARD)
def test_real_roots_of_hard_cases_are_proven(name):
    c = HARD[name]
    with np.errstate(over="ignore"):
        solution = real_roots(c)
    found, count = solution.x, solution.count
    certified = certified_real_roots(c)
    assert solution.converged[:count].all()
    touching = solution.status[:count] == Status.TOUCHING
    assert (np.diff(found[:count]) > 0).all()
    for root in certified:
        distances = np.array([distance_to(root, x) for x in found[:count]])
        assert (distances <= solution.error_bound[:count]).any(), root
    # Who crosses is told apart from who does not; TOUCHING stands for two roots, one or none.
    assert (~touching).sum() <= len(certified) <= count + touching.sum()
    degree = np.flatnonzero(c).max()
    assert (componentwise_backward_error(c, found[:count]) <= 4 * degree * UNIT).all()


@pytest.mark.parametrize("name", ["Wilkinson 20", "Chebyshev T20", "Chebyshev T40", "roots 1e-50 to 1e50"])
def test_real_roots_of_classical_cases_are_exact_to_a_few_ulp(name):
    solution = real_roots(HARD[name])
    certified = certified_real_roots(HARD[name])
    assert solution.count == len(certified)
    for root, x in zip(certified, solution.x, strict=True):
        assert distance_to(root, x) <= 8 * UNIT * abs(x)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
def test_real_roots_of_integer_coefficients_are_proven(coefficients):
    c = np.array(coefficients, float)
    solution = real_roots(c)
    if not c.any():
        assert solution.status[0] == Status.ZERO_POLYNOMIAL
        return
    certified = certified_real_roots(c)
    assert solution.count == len(certified)
    for root, x, bound in zip(certified, solution.x, solution.error_bound, strict=False):
        assert distance_to(root, x) <= bound


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-100, 100, width=16), min_size=1, max_size=7, unique=True), st.integers(-300, 300))
def test_real_roots_of_the_product_of_factors_are_the_factors(roots, exponent):
    c = from_roots(roots) * 2.0**exponent
    solution = real_roots(c)
    certified = certified_real_roots(c)
    touching = (solution.status == Status.TOUCHING).sum()
    assert solution.count - touching <= len(certified) <= solution.count + touching
    for root in certified:
        distances = np.array([distance_to(root, x) for x in solution.x[: solution.count]])
        assert (distances <= solution.error_bound[: solution.count]).any()


@pytest.mark.parametrize("degree", [3, 7, 10, 16, 33])
def test_real_roots_of_batches_are_proven_and_those_of_rows(rng, degree):
    c = rng.standard_normal((70, degree + 1))
    solution = real_roots(c)
    for i, row in enumerate(c):
        certified = certified_real_roots(row)
        assert solution.count[i] == len(certified)
        for root, x in zip(certified, solution.x[i], strict=False):
            assert distance_to(root, x) <= 2 * UNIT * abs(x) + 1e-300
        single = real_roots(row)
        np.testing.assert_array_equal(single.x[: single.count], solution.x[i, : solution.count[i]])


def test_real_roots_of_real_rooted_batches_are_all_found(rng):
    c = np.array([np.poly(roots)[::-1] for roots in rng.uniform(-1, 1, (300, 10))])
    solution = real_roots(c)
    assert solution.x.shape == (300, 10)
    assert (solution.count == 10).all()
    assert solution.converged.all()
    assert (np.diff(solution.x) > 0).all()


def test_real_roots_agree_with_the_twin(rng):
    c = rng.standard_normal((6, 5, 8))
    x, counts = reference(c)
    solution = real_roots(c)
    np.testing.assert_array_equal(solution.count, counts)
    np.testing.assert_allclose(solution.x, x, rtol=1e-9)


@pytest.mark.parametrize("degree", [150, 1000])
def test_real_roots_of_high_degree_are_sign_changes(rng, degree):
    c = rng.standard_normal(degree + 1)
    solution = real_roots(c)
    assert solution.converged.all()
    assert solution.count % 2 == 0
    assert (solution.x > 0).sum() % 2 == (c[0] * c[-1] < 0)
    assert (componentwise_backward_error(c, solution.x) <= 4 * degree * UNIT).all()


@pytest.mark.parametrize("c", NOT_FINITE.values(), ids=NOT_FINITE)
def test_real_roots_of_coefficients_not_finite_say_so(c):
    solution = real_roots(c)
    assert solution.count == 0
    assert solution.status[0] == Status.NOT_FINITE
    assert np.isnan(solution.x).all()


@pytest.mark.parametrize("c", ZERO.values(), ids=ZERO)
def test_real_roots_of_zero_say_so(c):
    solution = real_roots(c)
    assert solution.count == 0
    assert solution.status[0] == Status.ZERO_POLYNOMIAL


@pytest.mark.parametrize("c", CONSTANT.values(), ids=CONSTANT)
def test_real_roots_of_a_constant_are_none(c):
    solution = real_roots(c)
    assert solution.count == 0
    assert solution.status[0] == Status.NO_REAL_SOLUTION
    assert not solution.converged[0]


@pytest.mark.parametrize("c", ROOT_BEYOND_RANGE.values(), ids=ROOT_BEYOND_RANGE)
def test_real_roots_beyond_the_largest_float_are_degenerate(c):
    solution = real_roots(c)
    np.testing.assert_allclose(solution.x, [-np.inf, 1, 2, 3], rtol=1e-15)
    assert solution.status.tolist() == [Status.DEGENERATE, 0, 0, 0]
    assert solution.converged.tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    "domain, expected",
    [
        ((1, 3), [1, 2, 3]),
        ((1.5, np.inf), [2, 3]),
        ((-np.inf, 1), [-1, 1]),
        ((2, 2), [2]),
        ((1.25, 1.75), []),
        (None, [-1, 1, 2, 3]),
    ],
)
def test_real_roots_in_a_domain_are_those_of_the_closed_interval(domain, expected):
    solution = real_roots([-6.0, 5, 5, -5, 1], domain)
    assert solution.count == len(expected)
    np.testing.assert_array_equal(solution.x[: solution.count], expected)
    batch = real_roots(np.array([[-6.0, 5, 5, -5, 1]] * 9), domain)
    np.testing.assert_array_equal(batch.x, np.tile(solution.x, (9, 1)))


def test_real_roots_of_one_thread_are_those_of_many(rng):
    c = rng.standard_normal((3000, 9))
    c[::7] = from_roots([0.3, 0.3, 0.7, 0.9, -1, -1, 2, 2.5])
    with fastcore.num_threads(1):
        serial = real_roots(c)
    for one, many in zip(serial, real_roots(c), strict=True):
        np.testing.assert_array_equal(one, many)


def test_real_roots_of_each_polynomial_do_not_depend_on_its_neighbours(rng):
    c = np.concatenate([rng.standard_normal((40, 7)), [list(HARD["double roots -2 -1 0 1 2"][4:])], np.eye(7)])
    c[5, 6] = np.nan
    c[6] *= 1e150
    c[7] = 0
    order = rng.permutation(len(c))
    straight, mixed = real_roots(c), real_roots(c[order])
    for one, other in zip(straight, mixed, strict=True):
        np.testing.assert_array_equal(one[order], other)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i4", "?"])
def test_real_roots_read_any_real_dtype(dtype):
    c = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    np.testing.assert_array_equal(real_roots(c).x, real_roots(c.astype(float)).x)


def test_real_roots_read_strides_and_readonly_and_leave_their_input(rng):
    c = rng.standard_normal((8, 20))
    copy = c.copy()
    c.flags.writeable = False
    for view in (c[:, ::-2], c.T, c[::2, 3:9]):
        np.testing.assert_array_equal(real_roots(view).x, real_roots(view.copy()).x)
    np.testing.assert_array_equal(c, copy)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 2), (2, 3, 1)])
def test_real_roots_of_shapes_without_roots_are_padding(shape):
    solution = real_roots(np.ones(shape))
    assert solution.x.shape == (*shape[:-1], 1)
    assert solution.count.shape == shape[:-1]
    assert not solution.converged.any()


def test_real_roots_of_one_polynomial_have_a_count_of_type_int():
    solution = real_roots([-1.0, 0, 1])
    assert isinstance(solution, Solution)
    assert type(solution.count) is int
    np.testing.assert_array_equal(solution.x, [-1, 1])


@pytest.mark.parametrize(
    "arguments, error",
    [
        ((3.0,), ValueError),
        (([],), ValueError),
        (([1j, 2],), TypeError),
        ((["a", "b"],), TypeError),
        (([1, 2], (3, 1)), ValueError),
        (([1, 2], (np.nan, 1)), ValueError),
        (([1, 2], 5), ValueError),
    ],
)
def test_real_roots_of_wrong_arguments_raise(arguments, error):
    with pytest.raises(error):
        real_roots(*arguments)


def test_real_roots_of_more_polynomials_than_memory_is_taken_for_are_all_there(rng):
    c = rng.standard_normal((70_000, 4))
    # Few roots in the sample that is asked, three in all others.
    c[:: 70_000 // 256] = [1, 0, 1, 0.001]
    others = np.ones(len(c), bool)
    others[:: 70_000 // 256] = False
    c[others] = np.poly([1, 2, 3])[::-1] * 2.0 ** rng.integers(-9, 9, (others.sum(), 1))
    solution = real_roots(c)
    np.testing.assert_array_equal(solution.count[others], 3)
    np.testing.assert_array_equal(solution.x[others], np.tile([1.0, 2, 3], (others.sum(), 1)))


# AVX2 differs from the host in its number of lanes only, as does plain x86-64, which has no FMA either.
@pytest.mark.parametrize("run_guarded", ["host", "plain x86-64", "no compiler"], indirect=True)
def test_real_roots_on_guarded_memory_are_right_on_every_cpu(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_real_roots.py")) == "ok"


def test_real_roots_zeros_at_0_touch_where_they_are_even():
    for degree in (1, 2, 5):
        rest = np.arange(1.0, degree + 1)
        for zeros in (1, 2, 3, 4):
            solution = real_roots([0.0] * zeros + rest.tolist())
            here = solution.status[solution.x == 0]
            assert here.tolist() == [Status.CONVERGED if zeros % 2 else Status.TOUCHING]


def test_real_roots_of_wide_quadratics_have_finite_residuals_and_bounds():
    for c in ([1.0, -1e150, 1.0], [7.67e-43, 2.974e51, -1.44e-52], [5.24e136, -1.03e79, -6.985e-69]):
        solution = real_roots(c)
        assert solution.count == 2
        assert np.isfinite(solution.residual).all()
        assert (solution.error_bound <= 32 * 2.0**-53 * np.abs(solution.x)).all()


@pytest.mark.parametrize(
    "c",
    [
        [7.5e-151, -1.3, 9.5e149, -1e-150, -1.4e-150],
        [5.1e149, 0.6, 1.1e150, 1.6e-150, -1.1e-150],
        [0.5, -6.4e149, 2.8e-151, 1.1e-150],
        [-4.4e-61, -1.3e-87, 4.7e128, 4.7e-49],
        [-1.7e-150, 1.1e-150, 1.07e149, -5.4e149, 1.38e149, 9.9e149, 4.4e149],
    ],
)
def test_real_roots_of_extreme_size_between_others_converge(c):
    """Newton's steps towards them halved x 250 times and were given up."""
    assert not judge_real_roots(c, real_roots(c))
