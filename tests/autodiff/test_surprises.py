"""What users met: names that clash, values with two uses, derivatives at the ends of the range, long programs."""

import pickle

import numpy as np
import pytest

from fastcore.autodiff import grad, graph, hessian, jvp, value_and_grad


def cube(x):
    return x**3


def test_a_constant_may_be_an_exponent_and_a_result():
    assert grad(lambda x, y: x**4 + 3 * y)(2.0, 5.0) == (32.0, 3.0)


def test_numbered_arguments_keep_clear_of_parameters():
    def product(x0, *x):
        return x0 * x[0] * x[1]

    value, partials = value_and_grad(product)(np.full((2, 1), 2.0), np.arange(3.0), 5.0)
    assert partials._fields == ("x0", "x1", "x2")
    np.testing.assert_array_equal(value, np.broadcast_to([0.0, 10.0, 20.0], (2, 3)))
    keywords = grad(lambda *x, **others: x[0] * x[1] * others["x1"])(2.0, 3.0, x1=5.0)
    assert keywords._asdict() == {"x0": 15.0, "x2": 10.0, "x1": 6.0}


def test_any_parameter_may_be_passed_by_its_name(tmp_path):
    pytest.importorskip("matplotlib")
    assert grad(lambda self, y: self * y)(self=2.0, y=3.0) == (3.0, 2.0)
    found = graph(lambda self, file: self * file)
    assert found.adjoints(self=2.0, file=3.0)["self"] == 3.0
    found.plot(tmp_path / "graph.svg", self=2.0, file=3.0)


def test_an_argument_that_is_bound_anew_keeps_its_name_in_the_graph():
    def F(x):
        x = x * 2
        return np.sin(x)

    found = graph(F)
    assert [node.name for node in found.nodes] == ["x", "v1", "F"]
    assert found.evaluate(x=1.5)["x"] == 1.5
    assert found.adjoints(x=1.5)["x"] == pytest.approx(2 * np.cos(3.0), rel=1e-15)


def test_a_graph_needs_an_argument():
    with pytest.raises(ValueError, match="needs an argument"):
        graph(lambda x=1.0: x)


def test_jvp_inside_a_traced_function():
    slope = grad(lambda x: jvp(lambda y: y * y * x, (x,), (2.0,))[1])
    assert slope(3.0) == 24.0
    assert jvp(lambda x: jvp(np.sin, (x,), (1.0,))[1], (0.5,), (1.0,))[1] == -np.sin(0.5)


@pytest.mark.parametrize("make", [grad, value_and_grad, hessian])
def test_derivatives_are_pickled_also_when_called(make):
    derivative = make(cube, argnums=0)
    want = derivative(2.0)
    assert pickle.loads(pickle.dumps(derivative))(2.0) == want


def test_out_is_refused_inside_a_traced_function():
    inner = grad(cube)
    with pytest.raises(TypeError, match="grad of traced values takes no out"):
        grad(lambda x: inner(x, out=np.empty(3)))(np.ones(3))


def test_powers_at_an_exponent_of_zero():
    base = np.array([0.0, -2.0, 3.0, np.inf])
    np.testing.assert_array_equal(grad(lambda x, y: x**y, 0)(base, 0.0), np.zeros(4))
    # d2 / dx dy of x**y at y = 0 is 1 / x: a derivative by x that is 0 by decree there would lose it.
    assert hessian(lambda x, y: x**y)(3.0, 0.0).x.y == pytest.approx(1 / 3, rel=1e-15)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_of_derivatives_stay_in_range(size):
    size = np.float32(size)
    down, right = grad(np.arctan2)(size, size)
    np.testing.assert_allclose([down, -right], 0.5 / float(size), rtol=1e-6)
    np.testing.assert_allclose(grad(np.arcsinh)(size), 1 / np.hypot(1.0, float(size)), rtol=1e-6)


def test_numbers_on_either_side():
    x = np.array([-1.0, 0.5, np.nan])
    for function in (np.logaddexp, np.fmax, np.fmin, np.hypot, np.arctan2):
        for number in (2.0, np.nan):
            value = value_and_grad(lambda v: 2 * function(number, v) + function(v, number))(x)[0]  # noqa: B023
            with np.errstate(invalid="ignore"):
                want = 2 * function(number, x) + function(x, number)
            np.testing.assert_allclose(value, want, rtol=1e-14)


def test_sign_of_a_negative_zero_is_as_in_numpy():
    assert not np.signbit(value_and_grad(np.sign)(-0.0)[0])
    assert np.isnan(value_and_grad(np.sign)(np.nan)[0])


def test_the_two_half_types_together_are_float32():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    value, (x, _) = value_and_grad(lambda x, y: x * y)(np.full(2, 1.5, np.float16), np.full(2, 3.0, bfloat16))
    assert value.dtype == x.dtype == np.float32
    np.testing.assert_array_equal(value, 4.5)


def test_jvp_of_a_function_without_results():
    with pytest.raises(TypeError, match="must return one real value"):
        jvp(lambda x: (), (1.0,), (1.0,))


def test_nothing_passes_a_step():
    x = np.array([0.0, -1.0, 4.0])
    np.testing.assert_array_equal(grad(lambda x: np.floor(np.sqrt(x)) + x)(x), 1.0)
    slopes = grad(lambda y, z: np.where(y < 0, np.sign(z**y), y * y))(1.5, -1.8)
    assert slopes == (3.0, 0.0)
    assert graph(lambda x: np.floor(x) * x).partials(x=1.5)["x", "v1"] == 0.0


def test_a_flag_chooses_a_branch():
    np.testing.assert_array_equal(grad(lambda x: np.where(True, x * 2, x))(np.ones(3)), 2.0)


@pytest.mark.parametrize(
    "fn, message",
    [
        (lambda x: np.where(x, x, 0.0), r"Got numbers. Compare, for example x != 0.0"),
        (lambda x: np.where((x > 0) + 1.0, x, 0.0), r"Got conditions. Use np.where"),
        (lambda x: round(x), "Use np.rint"),
        (lambda x: divmod(x, 2.0), "Use np.floor"),
        (lambda x: x.clip(0, 1), r"Use np\.clip"),
        (lambda x: x.conjugate(), r"Use np\.conjugate"),
    ],
)
def test_refusals_name_what_works(fn, message):
    with pytest.raises(TypeError, match=message):
        grad(fn)(1.0)


def test_programs_of_many_elementary_functions():
    def chain(x, y):
        for _ in range(100):
            x = np.sin(x) + np.exp(-x) * y
        return x

    x, y = np.random.default_rng(0).uniform(0.1, 1.0, (2, 21))
    value, (to_x, _) = value_and_grad(chain)(x, y)
    np.testing.assert_allclose(value, chain(x, y), rtol=1e-12)
    step = 1e-100
    np.testing.assert_allclose(to_x, chain(x + 1j * step, y).imag / step, rtol=1e-10)
    alone = value_and_grad(chain)(x[3:4], y[3:4])
    assert alone[0] == value[3]
    assert alone[1].x == to_x[3]
