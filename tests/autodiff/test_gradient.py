"""value_and_grad, grad, hessian and jvp against the twin, complex steps and closed forms."""

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore.autodiff import grad, hessian, jvp, value_and_grad


def product_of_two_paths(x, y):
    """The source's F: G * H with G = cos(S), S = x * y, H = 1 / P, P = x + y."""
    S = x * y
    P = x + y
    return np.cos(S) * (1 / P)


def closed_form(x, y):
    S, P = x * y, x + y
    G, H = np.cos(S), 1 / P
    return G * H, -H * np.sin(S) * y - G / P**2, -H * np.sin(S) * x - G / P**2


DERIVATIVE = value_and_grad(product_of_two_paths)


@pytest.fixture
def points(rng):
    def make(shape, dtype=np.float64):
        return rng.uniform(0.5, 3.0, shape).astype(dtype), rng.uniform(0.5, 3.0, shape).astype(dtype)

    return make


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 2e-15)])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (16,), (3, 41), (20_000,)])
def test_value_and_grad_of_the_source_is_the_closed_form(points, dtype, tolerance, shape):
    x, y = points(shape, dtype)
    value, partials = DERIVATIVE(x, y)
    for got, want in zip((value, partials.x, partials.y), closed_form(x.astype(float), y.astype(float))):
        assert got.dtype == dtype
        assert got.shape == shape
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


def test_value_and_grad_of_the_source_is_the_complex_step(points):
    x, y = points(50)
    partials = DERIVATIVE(x, y)[1]
    np.testing.assert_allclose(partials.x, product_of_two_paths(x + 1e-200j, y).imag / 1e-200, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(partials.y, product_of_two_paths(x, y + 1e-200j).imag / 1e-200, rtol=1e-14, atol=1e-15)


def test_value_and_grad_kernel_shares_what_value_and_partials_have_in_common(points):
    value_and_grad(product_of_two_paths)(*points(3))
    program = DERIVATIVE._plan((0, 0), {}).compiled.text
    assert program.count("sincos") == 1
    assert program.count("divide") == 1


@pytest.mark.parametrize(
    "shapes", [((3, 1), (4,)), ((2, 1, 5), (3, 1)), ((), (6,)), ((1, 1), (1,)), ((0, 3), (1,)), ((4, 1), (1, 9000))]
)
def test_value_and_grad_broadcasts(rng, shapes):
    x, y = (rng.uniform(0.5, 3.0, shape) for shape in shapes)
    value, partials = DERIVATIVE(x, y)
    for got, want in zip((value, *partials), closed_form(*np.broadcast_arrays(x, y))):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-15)


def test_value_and_grad_any_strides_give_the_same_bits(points):
    x, y = points((12, 14))
    expected = DERIVATIVE(x, y)
    layouts = [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
        lambda a: a.astype(">f8"),
        lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, a.size, 1).reshape(a.shape),
        lambda a: np.pad(a, 3)[3:-3, 3:-3],
    ]
    for layout in layouts:
        for got, want in zip(DERIVATIVE(layout(x), y)[1], expected[1]):
            np.testing.assert_array_equal(got, want)


def test_value_and_grad_one_thread_equals_many(points):
    x, y = points(400_000)
    many = DERIVATIVE(x, y)
    with fastcore.num_threads(1):
        one = DERIVATIVE(x, y)
    for got, want in zip((many[0], *many[1]), (one[0], *one[1])):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_value_and_grad_halves_are_the_rounded_float32(points, dtype):
    x, y = points(40, dtype)
    got, want = DERIVATIVE(x, y), DERIVATIVE(x.astype(np.float32), y.astype(np.float32))
    np.testing.assert_array_equal(got[0], want[0].astype(dtype))
    np.testing.assert_array_equal(got[1].y, want[1].y.astype(dtype))


def test_value_and_grad_dtypes_are_promoted_as_in_numpy():
    x32 = np.ones(3, np.float32)
    assert DERIVATIVE(x32, 2.0)[0].dtype == np.float32
    assert DERIVATIVE(x32, np.ones(3))[0].dtype == np.float64
    assert DERIVATIVE(np.ones(3, np.int64), x32)[0].dtype == np.float64
    assert DERIVATIVE(x32, np.ones(3, np.float16))[0].dtype == np.float32
    assert DERIVATIVE(1, 2)[0].dtype == np.float64


def test_value_and_grad_forms_of_the_partials():
    def product(a, b, c):
        return a * b * c

    assert value_and_grad(product)(2.0, 3.0, 5.0)[1]._asdict() == {"a": 15.0, "b": 10.0, "c": 6.0}
    assert value_and_grad(product, 1)(2.0, 3.0, 5.0)[1] == 10.0
    assert value_and_grad(product, (2, 0))(2.0, 3.0, 5.0)[1] == (6.0, 15.0)
    assert value_and_grad(product, argnums=-1)(2.0, 3.0, 5.0)[1] == 6.0
    assert value_and_grad(lambda x: x * x)(3.0) == (9.0, 6.0)
    assert value_and_grad(lambda *args: args[0] * args[1])(3.0, 4.0)[1]._asdict() == {"args0": 4.0, "args1": 3.0}
    assert grad(product)(c=5.0, a=2.0, b=3.0)._asdict() == {"a": 15.0, "b": 10.0, "c": 6.0}


def test_value_and_grad_default_is_a_constant():
    def power(x, n=3):
        return x**n

    assert value_and_grad(power)(2.0) == (8.0, 12.0)


def test_value_and_grad_of_what_does_not_depend_on_an_argument_is_zero():
    value, partials = value_and_grad(lambda x, y: x * 0 + 1.5)(np.ones(5), np.ones(5))
    np.testing.assert_array_equal(value, np.full(5, 1.5))
    np.testing.assert_array_equal(partials.y, np.zeros(5))
    assert value_and_grad(lambda x: 7)(np.ones(2))[0].tolist() == [7.0, 7.0]


def test_out_is_written_in_place(points):
    x, y = points((5, 6))
    fresh = DERIVATIVE(x, y)
    value, by_x = np.empty((5, 6)), np.empty((6, 5)).T
    got = DERIVATIVE(x, y, out=(value, (by_x, None)))
    assert got[0] is value
    assert got[1].x is by_x
    for a, b in zip((got[0], *got[1]), (fresh[0], *fresh[1])):
        np.testing.assert_array_equal(a, b)


def test_out_may_be_an_input(points):
    x, y = points((5, 6))
    fresh = DERIVATIVE(x, y)
    got = DERIVATIVE(x, y, out=(x, (y, None)))
    assert got[1].x is y
    for a, b in zip((got[0], *got[1]), (fresh[0], *fresh[1])):
        np.testing.assert_array_equal(a, b)
    shifted = np.linspace(1.0, 2.0, 7)
    want = DERIVATIVE(shifted[:-1].copy(), 1.0)
    got = DERIVATIVE(shifted[:-1], 1.0, out=(shifted[1:], None))
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1].x, want[1].x)


def test_hessian_of_the_source_matches_the_twin(points):
    x, y = points(30)
    got, want = hessian(product_of_two_paths)(x, y), reference.hessian(product_of_two_paths)(x, y)
    assert got.x.y is got.y.x
    for i in "xy":
        for j in "xy":
            np.testing.assert_allclose(
                getattr(getattr(got, i), j), getattr(getattr(want, i), j), rtol=1e-13, atol=1e-14
            )
    assert hessian(lambda x: x**3)(2.0) == 12.0


def test_jvp_is_the_derivative_in_a_direction(points):
    (x, y), (dx, dy) = points(20), points(20)
    value, tangent = jvp(product_of_two_paths, (x, y), (dx, dy))
    want = reference.jvp(product_of_two_paths, (x, y), (dx, dy))
    np.testing.assert_allclose(value, want[0], rtol=1e-15)
    np.testing.assert_allclose(tangent, want[1], rtol=1e-13, atol=1e-14)


def test_jvp_of_a_tuple_is_a_tuple():
    values, tangents = jvp(lambda x, y: (x * y, x + y), (2.0, 3.0), (1.0, 10.0))
    assert values == (6.0, 5.0)
    assert tangents == (23.0, 11.0)


def test_derivative_of_a_derivative():
    third = grad(grad(grad(lambda x: x**5)))
    assert third(2.0) == 240.0

    def outer(x, y):
        value, slope = value_and_grad(lambda t: t * t * y)(x)
        return value + slope

    value, partials = value_and_grad(outer)(3.0, 5.0)
    assert value == 9 * 5 + 6 * 5
    assert partials._asdict() == {"x": 6 * 5 + 2 * 5, "y": 9 + 6}
