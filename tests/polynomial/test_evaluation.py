"""polyval, polyder, polyval_and_derivative: against the twin, against exact fractions, and every kind of argument."""

from fractions import Fraction
from math import perm
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore.polynomial import polyder, polyval, polyval_and_derivative
from fastcore.polynomial.kernels import horner

UNIT = Fraction(1, 2**53)
SHAPES = [  # of x, of c
    ((5,), (4,)),
    ((), (4,)),
    ((2, 3), (4,)),
    ((70,), (1,)),
    ((3,), (3, 4)),
    ((21,), (21, 4)),
    ((), (21, 4)),
    ((7,), (3, 1, 4)),
    ((5, 1), (3, 4)),
    ((4, 2, 3), (2, 1, 4)),
    ((4, 1, 1), (2, 3, 5)),
    ((2, 3), (2, 1, 4)),
    ((3, 1, 2), (1, 2, 1, 2)),
    ((0,), (3,)),
    ((3,), (0, 1, 4)),
    ((2, 0, 3), (2, 1, 1, 4)),
]
WILKINSON = np.poly(np.arange(1.0, 21.0))[::-1].copy()


def random_numbers(rng, shape, dtype):
    numbers = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        numbers = numbers + 1j * rng.standard_normal(shape)
    return np.asarray(numbers, dtype)


def exact(c, x, derivative=0):
    """The value at one point, (real, imaginary), as fractions."""
    x_real, x_imag = Fraction(float(np.real(x))), Fraction(float(np.imag(x)))
    real, imag = Fraction(0), Fraction(0)
    for k in range(len(c) - 1, derivative - 1, -1):
        real, imag = real * x_real - imag * x_imag, real * x_imag + imag * x_real
        real += perm(k, derivative) * Fraction(float(np.real(c[k])))
        imag += perm(k, derivative) * Fraction(float(np.imag(c[k])))
    return real, imag


def squared_error(value, truth):
    return (Fraction(float(np.real(value))) - truth[0]) ** 2 + (Fraction(float(np.imag(value))) - truth[1]) ** 2


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_polyval_every_shape_and_derivative_is_the_reference(rng, shapes, dtype):
    x, c = (random_numbers(rng, shape, dtype) for shape in shapes)
    tolerance = 1e-3 if dtype in ("f4", "c8") else 1e-11
    for derivative in (0, 1, 3, 9):
        expected = reference.polyval(x, c, derivative=derivative)
        result = polyval(x, c, derivative=derivative)
        assert result.dtype == dtype
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_polyval_options_in_pairs_agree(rng, shapes, dtype):
    x, c = (random_numbers(rng, shape, dtype) for shape in shapes)
    for derivative in (0, 2):
        plain, bound = polyval(x, c, derivative=derivative, error_bound=True)
        np.testing.assert_array_equal(plain, polyval(x, c, derivative=derivative))
        better, smaller = polyval(x, c, derivative=derivative, compensated=True, error_bound=True)
        np.testing.assert_array_equal(better, polyval(x, c, derivative=derivative, compensated=True))
        assert bound.dtype == smaller.dtype == plain.real.dtype
        assert bound.shape == smaller.shape == plain.shape == better.shape
        wide = np.abs(plain.astype(complex) - better)
        assert (wide <= bound.astype(float) + smaller).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_polyval_and_derivative_are_the_values_and_the_first_derivative(rng, dtype):
    tolerance = 1e-3 if dtype in ("f4", "c8") else 1e-11
    for shapes in SHAPES:
        x, c = (random_numbers(rng, shape, dtype) for shape in shapes)
        values, slopes = polyval_and_derivative(x, c)
        np.testing.assert_array_equal(values, polyval(x, c))
        assert slopes.shape == values.shape
        np.testing.assert_allclose(slopes, reference.polyval(x, c, derivative=1), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 127, 200, 8191, 8192, 8193, 20_000])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_polyval_every_point_is_computed_alike_whatever_its_place(rng, size, dtype):
    x, c = rng.uniform(-1, 1, size).astype(dtype), rng.standard_normal(12).astype(dtype)
    values, slopes = polyval_and_derivative(x, c)
    np.testing.assert_array_equal(polyval(x, c), values)
    some = rng.integers(0, size, 20)
    np.testing.assert_array_equal(polyval(x[some], c), values[some])
    np.testing.assert_array_equal(polyval(x[some], np.tile(c, (20, 1))), values[some])
    np.testing.assert_array_equal([polyval(each, c) for each in x[some]], values[some])
    np.testing.assert_array_equal(polyval_and_derivative(x[some], np.tile(c, (20, 1)))[1], slopes[some])


@pytest.mark.parametrize("options", [{}, {"error_bound": True}, {"compensated": True}], ids=str)
@pytest.mark.parametrize("is_complex", [False, True])
def test_polyval_one_thread_equals_many(rng, monkeypatch, options, is_complex):
    monkeypatch.setattr(horner, "SERIAL_BELOW_NS", 0.0)
    x = rng.uniform(-1, 1, 50_000) * (1 + 1j * is_complex)
    c = rng.standard_normal((50, 40))
    for arguments in ((x, c[0]), (x[:1000], c[:, None]), (x, np.tile(c[0], (50_000, 1)))):
        with fastcore.num_threads(1):
            serial = polyval(*arguments, **options)
        np.testing.assert_array_equal(polyval(*arguments, **options), serial)


# --- error bounds and compensated values ------------------------------------------------------------------------------


def hard_case(name, rng):
    """(x, c)"""
    if name == "Wilkinson":
        return np.concatenate([np.arange(1.0, 21.0, 2.0), rng.uniform(1, 20, 3)]), WILKINSON
    if name == "(x - 1)**15":
        return 1 + rng.uniform(-0.05, 0.05, 12), np.poly(np.ones(15))[::-1].copy()
    if name == "small":  # products below the normal range
        return rng.uniform(-1, 1, 12) * 10.0 ** rng.integers(-12, 3, 12), rng.standard_normal(9) * 1e-300
    if name == "large":
        return rng.uniform(-1, 1, 12) * 1e30, rng.standard_normal(9) * 1e60
    degree = int(name.split()[-1])
    return rng.uniform(-2, 2, 12), rng.standard_normal(degree + 1)


@pytest.mark.parametrize("name", ["Wilkinson", "(x - 1)**15", "small", "large", "random 1", "random 8", "random 40"])
@pytest.mark.parametrize("derivative", [0, 1, 4])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_polyval_bounds_hold(rng, name, derivative, dtype):
    x, c = hard_case(name, rng)
    if np.dtype(dtype).kind == "c":
        x, c = x * np.exp(1e-3j * rng.standard_normal(x.size)), c * (1 + 0.5j)
    with np.errstate(all="ignore"):
        x, c = x.astype(dtype), c.astype(dtype)
    for compensated in (False, True):
        values, bounds = polyval(x, c, derivative=derivative, compensated=compensated, error_bound=True)
        for point, value, bound in zip(x, values, bounds, strict=True):
            if np.isfinite(bound):
                assert squared_error(value, exact(c, point, derivative)) <= Fraction(float(bound)) ** 2


@pytest.mark.parametrize("name", ["Wilkinson", "(x - 1)**15", "random 8", "random 40"])
@pytest.mark.parametrize("derivative", [0, 1, 4])
@pytest.mark.parametrize("is_complex", [False, True])
def test_polyval_compensated_is_as_if_in_twice_the_precision(rng, name, derivative, is_complex):
    x, c = hard_case(name, rng)
    if is_complex:
        x, c = x * np.exp(1e-3j * rng.standard_normal(x.size)), c * (1 + 0.5j)
    values, bounds = polyval(x, c, derivative=derivative, compensated=True, error_bound=True)
    for point, value, bound in zip(x, values, bounds, strict=True):
        truth = exact(c, point, derivative)
        size = exact(np.abs(c), np.abs(point), derivative)[0]
        allowed = UNIT * Fraction(abs(value)) + (6 * len(c) * UNIT) ** 2 * size
        assert squared_error(value, truth) <= allowed**2
        assert Fraction(bound) <= 2 * allowed


def test_polyval_plain_bound_is_not_far_above_the_error(rng):
    x, c = rng.uniform(0, 1, 1000), rng.standard_normal(21)
    values, bounds = polyval(x, c, error_bound=True)
    errors = np.abs(values - polyval(x, c, compensated=True))
    assert np.quantile(bounds, 0.9) <= 10 * np.quantile(errors, 0.9)
    assert (bounds <= 42 * 2.0**-53 * polyval(x, np.abs(c))).all()


@pytest.mark.parametrize("options", [{"error_bound": True}, {"error_bound": True, "compensated": True}], ids=str)
def test_polyval_what_is_not_finite_has_an_infinite_bound(options):
    for x, c in (([np.inf, -np.inf, np.nan, 1e200], [1.0, -2.0, 3.0]), ([1.0, 2.0], [1.0, np.nan, 1.0])):
        values, bounds = polyval(x, c, **options)
        np.testing.assert_array_equal(values, polyval(x, c))
        assert np.isposinf(bounds).all()
        values, bounds = polyval(np.array(x) + 0j, c, **options)
        assert np.isposinf(bounds).all()


def test_polyval_of_infinities_is_the_limit_where_there_is_one():
    np.testing.assert_array_equal(polyval([np.inf, -np.inf, np.nan], [1.0, 2.0, 3.0, 4.0]), [np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(polyval([np.inf, np.nan], [3.0]), [3.0, 3.0])
    np.testing.assert_array_equal(polyval_and_derivative([np.inf], [1.0, 2.0]), [[np.inf], [2.0]])


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=9), st.floats(-1e8, 1e8))
def test_polyval_bounds_hold_for_any_numbers(c, x):
    truth = exact(c, x)
    for compensated in (False, True):
        value, bound = polyval(x, c, compensated=compensated, error_bound=True)
        assert squared_error(value, truth) <= Fraction(float(bound)) ** 2


def test_polyval_is_right_on_every_cpu(run_guarded):
    assert run_guarded(Path(__file__).with_name("evaluation_script.py")) == "ok"


# --- kinds of arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x_dtype, c_dtype, expected",
    [
        ("i4", "i8", "f8"),
        ("?", "u1", "f8"),
        ("f4", "f4", "f4"),
        ("f2", "f2", "f4"),
        ("f4", "f8", "f8"),
        ("f4", "i2", "f8"),
        (">f8", ">f4", "f8"),
        ("g", "f4", "f8"),
        ("c8", "f4", "c8"),
        ("f4", "c16", "c16"),
        ("G", "f8", "c16"),
        ("i1", "c8", "c16"),
    ],
)
def test_polyval_dtype_of_the_result(x_dtype, c_dtype, expected):
    x, c = np.arange(3).astype(x_dtype), np.array([1, 0, 1]).astype(c_dtype)
    for result in (polyval(x, c), polyval(x, c, compensated=True), *polyval_and_derivative(x, c)):
        assert result.dtype == np.dtype(expected)
        assert result.dtype.isnative
    np.testing.assert_array_equal(polyval(x, c), 1 + np.minimum(x.astype(complex), 1 if x_dtype == "?" else 9) ** 2)


@pytest.mark.parametrize("x, c, expected", [(2, "f4", "f4"), (0.5, "f4", "f4"), (0.5j, "f4", "c8"), (2, "f8", "f8")])
def test_polyval_python_numbers_take_the_precision_of_the_coefficients(x, c, expected):
    result = polyval(x, np.array([1, 2, 3], c))
    assert isinstance(result, np.generic)
    assert result.dtype == expected
    assert result == 1 + 2 * x + 3 * x * x


@pytest.mark.parametrize("x", [2.0, 2, np.float64(2), np.float32(2), np.array(2.0), np.array(2), True + 1])
def test_polyval_of_one_point_is_a_scalar(x):
    for result in (polyval(x, [1, 2, 3]), polyval(x, np.array([1.0, 2.0, 3.0])), *polyval_and_derivative(x, [1, 2, 3])):
        assert type(result) is np.float64
    assert polyval(x, [1, 2, 3]) == 17
    assert polyval(x, np.array([3.0, 2.0, 1.0])[::-1]) == 17


def test_polyval_strided_readonly_and_swapped_arguments_are_as_contiguous_ones(rng):
    x, c = rng.standard_normal((6, 10)), rng.standard_normal((6, 10))
    expected = polyval(x[:, 0].copy(), c[:, ::-2].copy())
    np.testing.assert_array_equal(polyval(x[:, 0], c[:, ::-2]), expected)
    x.flags.writeable = c.flags.writeable = False
    np.testing.assert_array_equal(polyval(x.astype(">f8")[:, 0], np.asfortranarray(c)[:, ::-2]), expected)
    np.testing.assert_array_equal(polyval(x.T, c[0]), polyval(x, c[0]).T)
    np.testing.assert_array_equal(polyval(x[0, ::3], c[0, ::-1]), polyval(x[0, ::3].copy(), c[0, ::-1].copy()))


def test_polyval_inputs_are_not_changed(rng):
    x, c = rng.standard_normal(9), rng.standard_normal((3, 1, 5))
    before = x.copy(), c.copy()
    polyval(x, c, derivative=1, compensated=True, error_bound=True)
    result = polyder(c, 0)
    result[:] = 0
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(c, before[1])


class Points(np.ndarray):
    pass


def test_polyval_subclasses_come_back_as_they_came():
    x = np.array([1.0, 2.0, 3.0]).view(Points)
    for result in (polyval(x, [2, 3, 4]), *polyval(x, [2, 3, 4], error_bound=True), *polyval_and_derivative(x, [1, 2])):
        assert type(result) is Points
    assert type(polyval(x.reshape(3, 1), np.ones((4, 3)))) is Points


@pytest.mark.parametrize("hard", [False, True])
def test_polyval_masks_stay(hard):
    x = np.ma.array([1, 2, 3], mask=[False, True, False], hard_mask=hard)
    for result in (polyval(x, [7, 5, 3]), *polyval(x, [7, 5, 3], error_bound=True), *polyval_and_derivative(x, [1, 2])):
        assert isinstance(result, np.ma.MaskedArray)
        np.testing.assert_array_equal(result.mask, x.mask)
    np.testing.assert_array_equal(polyval(x, [7, 5, 3]).filled(0), [15, 0, 49])
    assert polyval(x, np.ones((4, 1, 2))).mask.shape == (4, 3)
    assert polyval(np.ma.array([1.0, 2.0]), [1, 2]).mask is np.ma.nomask
    x = np.ma.array([1.0, 2.0], mask=[False, True])
    polyval(x, [1, 2])[0] = np.ma.masked
    np.testing.assert_array_equal(x.mask, [False, True])


def test_polyval_masked_coefficients_are_refused():
    with pytest.raises(TypeError, match="c must be a plain array"):
        polyval([1.0], np.ma.array([1.0, 2.0]))


@pytest.mark.parametrize("c", [[], 3.0, np.zeros((4, 0))])
@pytest.mark.parametrize("function", [lambda c: polyval([1.0], c), lambda c: polyval_and_derivative([1.0], c)])
def test_polyval_without_coefficients_raises(function, c):
    with pytest.raises(ValueError, match="c must have shape"):
        function(c)


def test_polyval_shapes_that_do_not_broadcast_raise():
    for function in (polyval, polyval_and_derivative):
        with pytest.raises(ValueError, match=r"x must broadcast with the polynomials, c.shape\[:-1\]"):
            function(np.zeros(3), np.zeros((2, 4)))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"x": ["a"]}, TypeError, "x must be an array of numbers"),
        ({"x": None}, TypeError, "x must be an array"),
        ({"c": [None]}, TypeError, "c must hold numbers"),
        ({"derivative": -1}, ValueError, "derivative must be 0 or more"),
        ({"derivative": 0.5}, TypeError, "derivative must be an integer"),
        ({"derivative": True}, TypeError, "derivative must be an integer"),
        ({"derivative": False}, TypeError, "derivative must be an integer"),
        ({"compensated": 1}, TypeError, "compensated must be True or False"),
        ({"error_bound": None}, TypeError, "error_bound must be True or False"),
    ],
)
@pytest.mark.parametrize("x", [np.ones(3), 2.0])
def test_polyval_wrong_arguments_raise(x, arguments, error, message):
    with pytest.raises(error, match=message):
        polyval(**({"x": x, "c": np.array([1.0, 2.0])} | arguments))


def test_polyval_derivatives_of_high_order_are_infinite_or_right():
    c = np.zeros(202)
    c[3] = 1.0
    assert polyval(2.0, c, derivative=200) == 0.0  # 200! is infinite
    assert polyval(2.0, c, derivative=200, error_bound=True)[0] == 0.0
    c[[200, 201]] = 1e-300
    assert polyval(1.0, c, derivative=200) == np.inf
    value, bound = polyval(1.0, c, derivative=140, error_bound=True)
    assert squared_error(value, exact(c, 1.0, 140)) <= Fraction(float(bound)) ** 2


# --- polyder ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("m", [0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("scl", [1, -2.0])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_polyder_is_the_reference(rng, dtype, m, scl, axis):
    c = random_numbers(rng, (5, 4), dtype)
    result = polyder(c, m, scl, axis)
    assert result.dtype == dtype
    np.testing.assert_allclose(
        result, reference.polyder(c, m, scl, axis), rtol=1e-6 if dtype in ("f4", "c8") else 1e-14
    )


def test_polyder_takes_the_last_axis_where_numpy_takes_the_first(rng):
    c = rng.standard_normal((3, 4))
    np.testing.assert_array_equal(polyder(c), [np.polynomial.polynomial.polyder(row) for row in c])
    np.testing.assert_array_equal(polyder(c, axis=0), np.polynomial.polynomial.polyder(c))


def test_polyder_of_integers_and_numbers_are_floats():
    np.testing.assert_array_equal(polyder([1, 2, 3]), [2.0, 6.0])
    assert polyder([1, 2, 3]).dtype == float
    np.testing.assert_array_equal(polyder(3), [0.0])
    np.testing.assert_array_equal(polyder([1.0, 2.0], 5), [0.0])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"m": 0.5}, TypeError, "m must be an integer"),
        ({"m": -1}, ValueError, "m must be 0 or more"),
        ({"axis": 1}, ValueError, "axis must be one of the 1 axes of c"),
        ({"axis": 0.0}, TypeError, "axis must be an integer"),
        ({"scl": [1, 2]}, ValueError, "scl must be one number"),
        ({"c": []}, ValueError, "c must have at least one coefficient"),
        ({"c": ["a"]}, TypeError, "c must be an array of numbers"),
    ],
)
def test_polyder_wrong_arguments_raise(arguments, error, message):
    with pytest.raises(error, match=message):
        polyder(**({"c": [1.0, 2.0]} | arguments))
