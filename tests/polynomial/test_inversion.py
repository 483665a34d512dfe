"""inverse: every answer is right, and as near as rounding lets it be, or carries a status."""

import copy
import pickle
import threading

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import polynomial as numpy_polynomial

import fastcore
from fastcore.polynomial import Inverse, Status, inverse, real_roots, solve
from fastcore.reference import inverse as reference

UNIT = 2.0**-53
GENTLE = [0.3, 1.0, 0.2, 0.3, -0.1, 0.05, 0.02, -0.03, 0.01, 0.02, 0.01]
WAVY = [0.1, -1, 0.3, 2, -0.5, 0.2, 0.1, 0.05, -0.02, 0.01, 0.004]
# name: coefficients, domain; rising and falling, steep and flat, large and small, degree 1 to 20
CASES = {
    "gentle": (GENTLE, (-1.0, 1.5)),
    "falling": ([-each for each in GENTLE], (-1.0, 1.5)),
    "line": ([5.0, -3.0], (-2.0, 7.0)),
    "turn at an end": ([1.0, 0.0, 2.0], (0.0, 3.0)),
    "turns at both ends": ([0.0, -3.0, 0.0, 1.0], (-1.0, 1.0)),
    "flat inside": ([0.0, 0.0, 0.0, 1.0], (-1.0, 2.0)),
    "nearly flat inside": ([0.2, 1e-7, 0.0, 1.0], (-1.0, 2.0)),
    "several pieces": (WAVY, (-3.0, 3.0)),
    "sensor": ([-5.0e3, 3.2e4, 1.1e3, -45.0, 0.7], (0.0, 10.0)),
    "far from zero": ([1e3, -2.0, 1e-3], (2000.0, 2001.0)),
    "tiny": ([1e-180, 3e-180, 2e-180], (0.0, 1.0)),
    "large x": ([1.0, 1e-20, 1e-50, 1e-75], (0.0, 1e25)),
    "small beside its constant": ([7.1e6, 0.3, 0.2, 0.1], (0.1, 1.3)),
    "degree 20": (list(numpy_polynomial.polypow([0.5, 0.5], 20)), (-0.5, 1.0)),
}


def exact(c, x):
    """P(x) in 200 bits."""
    with mpmath.workprec(400):
        value = mpmath.mpf(0)  # not mpmath.polyval, whose order of coefficients turned round in 1.4
        for each in reversed(c):
            value = value * mpmath.mpf(float(x)) + mpmath.mpf(float(each))
        return value


def exact_residual(c, x, y):
    with mpmath.workprec(400):
        return float(abs(exact(c, x) - mpmath.mpf(float(y))))


def values_of(c, domain, count, rng):
    """Values that P takes on the domain: of random points, so that they crowd near turns."""
    x = rng.uniform(*domain, count)
    y = numpy_polynomial.polyval(x, c)
    ends = numpy_polynomial.polyval(np.array(domain), c)
    return np.clip(y, ends.min(), ends.max()) if len(inverse(c, domain).pieces) == 2 else y


def assert_converged(c, domain, y, solution, unit=UNIT):
    assert solution.converged.all()
    assert ((domain[0] <= solution.x) & (solution.x <= domain[1])).all()
    for k in range(0, y.size, max(1, y.size // 150)):
        residual = exact_residual(c, solution.x[k], y[k])
        slope = float(abs(exact(numpy_polynomial.polyder(c), solution.x[k])))
        size = float(exact(np.abs(c), abs(solution.x[k])))
        assert residual <= max(solution.error_bound[k] * (1 + 1e-6), 1e-300)
        assert abs(residual - solution.residual[k]) <= 0.5 * solution.error_bound[k] + 1e-300
        # x is exact to two units, beside what values as large as the terms or as a bin leave
        rounding = 2 * unit * abs(solution.x[k]) * slope + 4 * (unit * solution.x[k]) ** 2 * size
        assert residual <= rounding + 4 * UNIT * size + 0.1 * UNIT * (y.max() - y.min())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("order", ["scattered", "sorted"])
def test_inverse_values_of_the_range_converge(name, order, rng):
    c, domain = CASES[name]
    y = values_of(c, domain, 5003, rng)
    if order == "sorted":
        y.sort()
    solution = inverse(c, domain)(y)
    assert set(solution.status) <= {Status.CONVERGED, Status.TOUCHING}
    assert_converged(c, domain, y, solution)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("tiny", "large x")])
def test_inverse_float32_is_exact_to_its_rounding(name, rng):
    c, domain = CASES[name]
    y = values_of(c, domain, 2001, rng).astype(np.float32)
    low, high = (numpy_polynomial.polyval(np.array(domain), c)[index] for index in (0, 1))
    if len(inverse(c, domain).pieces) == 2:
        y = y[(min(low, high) <= y) & (y <= max(low, high))]
    solution = inverse(c, domain)(y)
    assert solution.x.dtype == solution.residual.dtype == solution.error_bound.dtype == np.float32
    assert (solution.residual <= np.maximum(1e-10, solution.error_bound)).all()
    for k in range(0, y.size, 20):
        double = inverse(c, domain)(float(y[k]))
        if double.status == Status.CONVERGED:
            assert abs(float(solution.x[k]) - double.x) <= 2.0**-23 * abs(double.x) + 1e-300


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("tiny", "large x", "nearly flat inside")])
def test_inverse_agrees_with_bisection(name, rng):
    c, domain = CASES[name]
    y = values_of(c, domain, 60, rng)
    x, _, converged = reference(c, domain)(y)
    solution = inverse(c, domain)(y)
    size = numpy_polynomial.polyval(np.abs(x), np.abs(c))
    slope = np.abs(numpy_polynomial.polyval(x, numpy_polynomial.polyder(c)))
    clear = converged & (slope * 1e-4 * (domain[1] - domain[0]) > 1e-12 * size)
    assert clear.sum() > 20
    np.testing.assert_allclose(
        solution.x[clear], x[clear], rtol=1e-14, atol=float((40 * UNIT * size[clear] / slope[clear]).max())
    )


@pytest.mark.parametrize("branch", ["lowest", "highest", 0, 1, 2, -1])
def test_inverse_branch_says_which_piece(branch, rng):
    domain = (-2.0, 2.5)
    c = [0.0, -3.0, 0.0, 1.0]  # turns at -1 (2) and 1 (-2)
    y = rng.uniform(-2.0, 2.0, 501)
    f = inverse(c, domain, branch=branch)
    np.testing.assert_allclose(f.pieces, [-2.0, -1.0, 1.0, 2.5], rtol=1e-15)
    x = f(y).x
    expected, _, _ = reference(c, domain, branch=branch)(y)
    np.testing.assert_allclose(x, expected, rtol=1e-7)
    low, high = {"lowest": (-2, -1), "highest": (1, 2.5), 0: (-2, -1), 1: (-1, 1), 2: (1, 2.5), -1: (1, 2.5)}[branch]
    assert ((low <= x) & (x <= high)).all()


def test_inverse_lowest_branch_goes_on_with_the_piece_that_has_the_value():
    f = inverse([0.0, -3.0, 0.0, 1.0], (-2.0, 2.5))
    solution = f([-2.0, 2.0, 3.0, 8.125, 9.0])
    np.testing.assert_allclose(solution.x, [-2.0, -1.0, 2.1038034027355366, 2.5, 2.5], rtol=1e-7)
    assert list(solution.status) == [0, Status.TOUCHING, 0, 0, Status.NO_REAL_SOLUTION]


@pytest.mark.parametrize("name", ["gentle", "falling", "turns at both ends", "sensor", "line"])
def test_inverse_out_of_range_is_the_nearest_end(name):
    c, domain = CASES[name]
    f = inverse(c, domain)
    ends = numpy_polynomial.polyval(np.array(domain), c)
    width = abs(ends[1] - ends[0])
    solution = f([ends.min() - width, ends.max() + width, ends.max() + 1e-6 * width])
    at_low, at_high = (domain[0], domain[1]) if ends[0] < ends[1] else (domain[1], domain[0])
    np.testing.assert_array_equal(solution.x, [at_low, at_high, at_high])
    np.testing.assert_allclose(solution.residual, [width, width, 1e-6 * width], rtol=1e-8)
    assert (solution.status == Status.NO_REAL_SOLUTION).all()
    assert not solution.converged.any()


def test_inverse_not_finite_values_are_told():
    solution = inverse(GENTLE, (-1.0, 1.5))([np.nan, 0.5, np.inf, -np.inf])
    assert list(solution.status) == [Status.NOT_FINITE, Status.CONVERGED, Status.NOT_FINITE, Status.NOT_FINITE]
    np.testing.assert_array_equal(np.isnan(solution.x), [True, False, True, True])
    np.testing.assert_array_equal(solution.converged, [False, True, False, False])


@pytest.mark.parametrize("turn, value, side", [(-1.0, 2.0, -1), (1.0, -2.0, 1)])
def test_inverse_near_a_turn_is_exact(turn, value, side):
    c, domain = [0.0, -3.0, 0.0, 1.0], (-1.0, 1.0)
    distances = np.concatenate([np.arange(0, 20) * np.spacing(2.0) / 2, 2.0 ** np.arange(-52, 0)])
    y = value + side * distances
    solution = inverse(c, domain)(y)
    assert solution.converged.all()
    for x, each, status in zip(solution.x, y, solution.status, strict=True):
        with mpmath.workprec(300):
            # x**3 - 3 x = y between -1 and 1
            expected = float(2 * mpmath.sin(-mpmath.asin(mpmath.mpf(float(each)) / 2) / 3))
        assert abs(x - expected) <= 4 * UNIT * abs(expected) or status == Status.TOUCHING
        assert exact_residual(c, x, each) <= 4e-15
    beyond = inverse(c, domain)(value - side * np.array([np.spacing(2.0), 1e-11, 1e-9]))
    np.testing.assert_allclose(beyond.x, turn, rtol=1e-15)
    # 1e-11 is below ytol, but no solution
    assert list(beyond.status) == [Status.TOUCHING, Status.NO_REAL_SOLUTION, Status.NO_REAL_SOLUTION]


def test_inverse_turn_of_value_zero_keeps_relative_precision():
    y = 2.0 ** -np.arange(0.0, 1000.0, 7)
    x = inverse([0.0, 0.0, 1.0], (0.0, 1.0), ytol=0.0)(y).x
    np.testing.assert_allclose(x, np.sqrt(y), rtol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_inverse_of_the_value_at_an_end_is_the_end(name):
    c, domain = CASES[name]
    f = inverse(c, domain)
    for end in (0, -1):
        solution = inverse(c, domain, branch=end)(np.float64(float(exact(c, domain[end]))))
        assert solution.converged
        slope = abs(float(exact(numpy_polynomial.polyder(c), domain[end])))
        blur = np.spacing(abs(float(exact(c, domain[end])))) / slope if slope > 1e-3 else 0.0  # of y rounded
        assert abs(solution.x - domain[end]) <= 2.0**-50 * max(np.abs(domain)) + blur
        assert solution.residual <= max(1e-10, solution.error_bound)
        single = inverse(c, domain, branch=end)(np.array([exact(c, domain[end])], np.float32))
        assert (single.residual <= np.maximum(1e-10, single.error_bound)).all() or not single.converged
    assert inverse([0.0, 0.0, 1.0], (0.0, 1.0))(0.0).x == 0.0
    assert (f.pieces[0], f.pieces[-1]) == domain


@pytest.mark.parametrize("domain", [None, (0.0, np.inf), (-np.inf, 5.0)])
def test_inverse_infinite_domain(domain, rng):
    c = [1.0, 2.0, 0.0, 0.5]
    y = np.concatenate([rng.standard_normal(500) * 10.0 ** rng.integers(-3, 12, 500), [1e200, -1e200, 1e300]])
    low, high = domain or (-np.inf, np.inf)
    solution = inverse(c, domain)(y)
    x = np.array([_cubic(each) for each in y])
    inside = (low <= x) & (x <= high)
    np.testing.assert_array_equal(solution.converged, inside)
    np.testing.assert_allclose(solution.x[inside], x[inside], rtol=1e-13, atol=1e-15)


def _cubic(y):
    """The real solution of 1 + 2 x + x**3 / 2 = y."""
    with mpmath.workprec(2500):
        q = mpmath.mpf(2) * (mpmath.mpf(1) - mpmath.mpf(float(y)))
        root = mpmath.sqrt(q * q / 4 + mpmath.mpf(64) / 27)
        u = -q / 2 + root if q < 0 else -q / 2 - root
        u = mpmath.sign(u) * mpmath.cbrt(abs(u))
        return float(u - mpmath.mpf(4) / (3 * u))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("c", [[0.0, 1.0], [0.0, 2.0], [1.0, 1.0, 0.0], [-0.3880413384562329, 0.33677463521050116]])
@pytest.mark.parametrize("domain", [None, (0.0, np.inf), (-np.inf, 1e3), (-1e3, 1e3)])
def test_inverse_line_is_exact_at_all_sizes(c, domain, dtype):
    """Of y near 0, too: x is (y - c_0) / c_1 to a unit of itself."""
    sizes = 10.0 ** np.arange(-30, 31, 3)
    y = np.concatenate([-sizes, [0.0, 0.1, 2.3], sizes]).astype(dtype)
    solution = inverse(c, domain, ytol=0.0)(y)
    x = np.array([float((mpmath.mpf(float(each)) - mpmath.mpf(c[0])) / mpmath.mpf(c[1])) for each in y])
    low, high = domain or (-np.inf, np.inf)
    inside = (low <= x) & (x <= high)
    np.testing.assert_array_equal(solution.converged, inside)
    np.testing.assert_allclose(solution.x[inside], x[inside].astype(dtype), rtol=2.0 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(solution.x[~inside], np.clip(x[~inside], low, high))
    for k in range(y.size):
        residual = exact_residual(c, solution.x[k], y[k])
        assert abs(residual - solution.residual[k]) <= 1e-3 * residual + 1e-3 * solution.error_bound[k]
        assert solution.error_bound[k] <= 8 * np.finfo(dtype).eps * (abs(c[1] * solution.x[k]) + residual) + 1e-44


def test_inverse_line_reaches_the_largest_numbers():
    solution = inverse([0.0, 2.0])([1e20, 1e-300, 1e308, -1.7e308, np.inf, np.nan, 0.0])
    np.testing.assert_array_equal(solution.x, [5e19, 5e-301, 5e307, -8.5e307, np.nan, np.nan, 0.0])
    assert list(solution.status) == [0, 0, 0, 0, Status.NOT_FINITE, Status.NOT_FINITE, 0]
    solution = inverse([-1.6e308, 1.0])([1.7e308, 1e307, -1.7e308])
    np.testing.assert_array_equal(solution.x, [np.finfo(float).max, 1.6e308 + 1e307, -1.7e308 + 1.6e308])
    assert list(solution.status) == [Status.NO_REAL_SOLUTION, Status.CONVERGED, Status.CONVERGED]


OPEN_CURVES = [
    [1.0, 1.0, 0.0, 1e-30],
    [1.0, 1.0, 0.0, 1e-300],
    [0.0, 1.0, 0.0, 5e-324],
    [-206.17535272033274, 3.5675569404463976e16, -0.41406766582628557, 6.494234177628189e-16],
    [0.0, 0.0, 0.0, 1.0],
    [0.0, 0.0, 1.0, 1.0],
    [1e-200, 1.0, 1e-200, 1e200],
    [3.0, 1e-12, 0.0, 1e-3, 0.0, 1e20],
]


@pytest.mark.parametrize("c", OPEN_CURVES)
def test_inverse_open_domain_of_mixed_scales(c):
    """Converged answers are as exact as y and the terms are: not as the width of the domain is."""
    sizes = 10.0 ** np.array([-20, -5, -1, 0, 0.3, 1, 5, 16.6, 20, 60, 150, 200, 300, 307])
    y = np.concatenate([-sizes, sizes])
    solution = inverse(c)(y)
    assert solution.converged.all()
    for x, value, bound in zip(solution.x, y, solution.error_bound, strict=True):
        terms = float(exact(np.abs(c), abs(x)))
        residual = exact_residual(c, x, value)
        assert residual <= max(1e-10, bound)
        assert bound <= max(1e-10, 1e4 * UNIT * abs(value) + 1e4 * UNIT * terms)


@pytest.mark.parametrize("c, y, x", [([0, 0, 1], 4.0, -2.0), ([0, 0, 0, 1], 8.0, 2.0), ([0, 0, 1, 0], 4.0, -2.0)])
def test_inverse_monomial_without_domain(c, y, x):
    solution = inverse(c)(y)
    assert (solution.x, solution.status) == (x, Status.CONVERGED)


@pytest.mark.parametrize(
    "c, domain, y",
    [
        ([-1.27e-301, -1.41e-300, 1.5e-301, 6.4e-301], (-1.0, 1.0), 1.18e-300),
        ([1.767e-09, 1.03e-17], (-1.0, 1.0), 1.7689e-09),
        ([1.767e-09, 1.03e-17, 1e-18], (-1.0, 1.0), 1.7689e-09),
    ],
)
def test_inverse_beyond_the_range_ytol_makes_no_solution(c, domain, y):
    assert inverse(c, domain)(y).status == Status.NO_REAL_SOLUTION


@pytest.mark.parametrize(
    "c, domain, y, branch",
    [
        ([37882138411.81978, 1.2381918875296824e-07], (0.8834889297509426, 4.198169331185476), 37882138411.81978, 0),
        ([3.7e10, 1.2e-07, 1e-12], (0.8, 4.1), 3.7e10, 0),
        (
            [2.3295493724816904e16, -12211.131958449703, 4.305551214119326e-06],
            (-0.02915504384033476, -0.029149697685507635),
            2.329549372481726e16,
            "highest",
        ),
    ],
)
def test_inverse_beyond_an_end_by_rounding_of_y(c, domain, y, branch):
    solution = inverse(c, domain, branch=branch, ytol=0.0)(y)
    assert solution.status in (Status.CONVERGED, Status.TOUCHING)
    assert exact_residual(c, solution.x, y) <= solution.error_bound <= 8 * UNIT * y


def test_inverse_constant_is_degenerate():
    solution = inverse([2.0, 0.0], (0.0, 1.0))([2.0, 3.0, np.nan])
    assert list(solution.status) == [Status.DEGENERATE, Status.DEGENERATE, Status.NOT_FINITE]
    assert np.isnan(solution.x).all()
    np.testing.assert_array_equal(solution.residual[:2], [0.0, 1.0])
    assert not solution.converged.any()


def test_inverse_coefficients_not_finite():
    solution = inverse([0.0, np.inf], (0.0, 1.0))([2.0, np.nan])
    assert (solution.status == Status.NOT_FINITE).all()


def test_inverse_domain_of_one_point():
    solution = inverse([1.0, 1.0], (2.0, 2.0))([3.0, 3.5])
    np.testing.assert_array_equal(solution.x, [2.0, 2.0])
    assert list(solution.status) == [Status.CONVERGED, Status.NO_REAL_SOLUTION]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_answers_do_not_depend_on_neighbours_or_threads(dtype, rng):
    f = inverse(WAVY, (-3.0, 3.0))
    y = rng.uniform(-40.0, 120.0, 300_001).astype(dtype)
    y[::1000] = np.nan
    together = f(y)
    with fastcore.num_threads(1):
        serial = f(y)
    reversed_ = f(y[::-1])
    for one, other, mirrored in zip(together[:6], serial[:6], reversed_[:6], strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, mirrored[::-1])
    for k in rng.integers(0, y.size, 50):
        alone = f(y[k])
        np.testing.assert_array_equal(alone.x, together.x[k])
        assert alone.status == together.status[k]


def test_inverse_is_shared_by_threads(rng):
    f = inverse(GENTLE, (-1.0, 1.5))
    y = rng.uniform(-0.3, 3.0, (8, 20_000))
    expected = f(y).x
    found = [None] * 8

    def work(index):
        found[index] = f(y[index]).x

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    np.testing.assert_array_equal(np.array(found), expected)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_inverse_copies_and_pickles(again):
    f = inverse(WAVY, (-3.0, 3.0), branch="highest", ytol=1e-8)
    other = again(f)
    assert isinstance(other, Inverse)
    assert (other.branch, other.ytol, other.domain) == ("highest", 1e-8, (-3.0, 3.0))
    y = np.linspace(-2, 3, 101)
    np.testing.assert_array_equal(other(y).x, f(y).x)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0), (2, 3, 5), (17,)])
def test_inverse_shape_of_y_is_kept(shape, rng):
    y = rng.uniform(0.0, 1.0, shape)
    solution = inverse(GENTLE, (-1.0, 1.5))(y)
    assert all(each.shape == shape for each in solution[:6])
    np.testing.assert_allclose(numpy_polynomial.polyval(solution.x, GENTLE), y, rtol=1e-14)


def test_inverse_of_a_scalar_is_scalars():
    solution = inverse(GENTLE, (-1.0, 1.5))(0.5)
    kinds = (np.float64, np.float64, np.float64, int, Status, bool)
    assert tuple(type(each) for each in solution[:6]) == kinds
    assert solution.count is None


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.tolist(),
        lambda y: y.astype(">f8"),
        lambda y: np.repeat(y, 2)[::2],
        lambda y: np.asfortranarray(np.stack([y, y]))[0],
        lambda y: np.frombuffer(y.tobytes()),
    ],
)
def test_inverse_any_layout_gives_the_same(change, rng):
    f = inverse(GENTLE, (-1.0, 1.5))
    y = rng.uniform(0.0, 1.0, 100)
    np.testing.assert_array_equal(f(change(y)).x, f(y).x)


def test_inverse_float16_and_integers():
    f = inverse([0.0, 2.0], (0.0, 10.0))
    assert f(np.array([1, 4], np.float16)).x.dtype == np.float32
    np.testing.assert_array_equal(f(np.array([1, 4])).x, [0.5, 2.0])


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        (([[1.0, 2.0]],), {}, ValueError, "c must be one polynomial"),
        (([],), {}, ValueError, "c must have shape"),
        (([1j, 2],), {}, TypeError, "c must be real"),
        (([1, 2], (1, 0)), {}, ValueError, r"domain must be two numbers, low <= high. Got \(1.0, 0.0\)"),
        (([1, 2], (np.nan, 1)), {}, ValueError, r"domain must be two numbers, low <= high. Got \(nan, 1.0\)"),
        (([1, 2], (1, 2, 3)), {}, ValueError, r"domain must be two numbers, low <= high. Got \(1.0, 2.0, 3.0\)"),
        (([1, 2], (np.inf, np.inf)), {}, ValueError, r"domain must contain finite numbers. Got \(inf, inf\)"),
        (([1, 2], (0, 1)), {"branch": "middle"}, ValueError, "branch must be 'lowest'"),
        (([1, 2], (0, 1)), {"branch": 1}, ValueError, "branch must be the number of one of the 1 monotone pieces"),
        (([1, 2], (0, 1)), {"branch": 0.5}, TypeError, "branch must be a str or an integer"),
        (([1, 2], (0, 1)), {"ytol": -1}, ValueError, "ytol must be a finite number"),
        (([1, 2], (0, 1)), {"ytol": "1"}, TypeError, "ytol must be a number"),
    ],
)
def test_inverse_wrong_argument_raises(arguments, options, error, message):
    with pytest.raises(error, match=message):
        inverse(*arguments, **options)


@pytest.mark.parametrize("function", [inverse, real_roots, lambda c, domain: solve(c, 0.0, domain=domain)])
@pytest.mark.parametrize("domain", [(np.inf, np.inf), (-np.inf, -np.inf)])
def test_domain_without_numbers_raises_everywhere(function, domain):
    with pytest.raises(ValueError, match=rf"domain must contain finite numbers. Got \({domain[0]}, {domain[1]}\)"):
        function([1, 2], domain)


def test_inverse_complex_y_raises():
    with pytest.raises(TypeError, match="y must be real"):
        inverse([1, 2], (0, 1))([1j])


@given(
    roots=st.lists(st.floats(-5, 5), min_size=0, max_size=7),
    scale=st.floats(-3, 3).filter(lambda each: abs(each) > 1e-3),
    width=st.floats(0.1, 8.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_inverse_of_values_is_on_the_curve(roots, scale, width, seed):
    """P' has the roots, so that pieces end in the domain or nearly: all answers are on the curve, or have a status."""
    c = numpy_polynomial.polyint(scale * numpy_polynomial.polyfromroots(roots))
    domain = (-width, 0.7 * width)
    x = np.random.default_rng(seed).uniform(*domain, 64)
    y = numpy_polynomial.polyval(x, c)
    solution = inverse(c, domain)(y)
    assert solution.converged.all()
    assert (solution.x <= x + 1e-6 * width + 1e-300).all() or solution.status[solution.x > x].max() > 0  # the lowest
    for each, value, bound in zip(solution.x[:8], y[:8], solution.error_bound[:8], strict=True):
        assert exact_residual(c, each, value) <= max(1e-10, bound)
