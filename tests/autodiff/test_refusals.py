"""What a traced function may not do, and wrong arguments: each refused by a message that says what to do instead."""

import functools
import math

import numpy as np
import pytest

from fastcore.autodiff import grad, graph, hessian, jvp, value_and_grad

KEPT = []


def branches(x):
    return x if x > 0 else -x


def loops(x):
    while x < 1:
        x = x * 2
    return x


def assigns(x):
    x[0] = 1.0
    return x


@pytest.mark.parametrize(
    "fn, message",
    [
        (branches, r"truth.*np\.where"),
        (loops, r"truth.*np\.where"),
        (lambda x: x * (x > 0 and x < 1), "& and |"),
        (lambda x: -1 < x < 1, "truth"),
        (lambda x: max(x, 0.0), r"truth.*np\.maximum"),
        (lambda x: math.sin(x), r"np\.sin instead of math\.sin"),
        (lambda x: float(x), "cannot become a float"),
        (lambda x: int(x), "cannot become an int"),
        (lambda x: complex(x), "cannot become complex"),
        (lambda x: range(x), "cannot become an index"),
        (lambda x: np.asarray(x), "cannot become an array"),
        (lambda x: x.sum(), r"\.sum is not possible.*each alone"),
        (lambda x: x.shape, r"\.shape is not possible"),
        (lambda x: np.sum(x), r"numpy\.sum is not possible"),
        (lambda x: np.add.reduce(x), r"numpy\.add\.reduce is not possible"),
        (lambda x: np.concatenate([x, x]), r"numpy\.concatenate is not possible"),
        (lambda x: np.where(x > 0), "condition alone"),
        (lambda x: x[0], "indexing is not possible"),
        (assigns, "assignment to elements is not possible"),
        (lambda x: list(x), "iteration is not possible"),
        (lambda x: len(x), r"len\(\) is not possible"),
        (lambda x: 1.0 in x, "'in' is not possible"),
        (lambda x: x @ x, "a matrix product is not possible"),
        (lambda x: np.add(x, 1.0, where=False), "takes no where"),
        (lambda x: np.exp(x, dtype=np.float32), "takes no dtype"),
        (lambda x: np.heaviside(x, 0.5), "numpy.heaviside of a traced value is not supported.*exp"),
        (lambda x: x % 2, "numpy.remainder of a traced value is not supported"),
        (lambda x: x // 2, "numpy.floor_divide of a traced value is not supported"),
        (lambda x: x + np.ones(3), "Pass arrays as arguments"),
        (lambda x: np.ones(3) * x, "Pass arrays as arguments"),
        (lambda x: x + 1j, "real numbers.*Got 1j"),
        (lambda x: x + "a", "real numbers.*Got 'a'"),
        (lambda x: x + True, "real numbers.*Got True"),
        (lambda x: x + (x > 0), "add takes numbers. Got conditions. Use np.where"),
        (lambda x: (x > 0) + x, "add takes numbers. Got conditions"),
        (lambda x: np.exp(x > 0), "exp takes numbers. Got conditions"),
        (lambda x: x & (x > 0), "logical_and takes conditions. Got numbers"),
        (lambda x: ~x, "logical_not takes conditions. Got numbers"),
        (lambda x: np.where(x, 1.0, 0.0), "where takes conditions. Got numbers"),
        (lambda x: x > 0, "result must be a number, not a condition"),
        (lambda x: None, "must return one real value.*Got NoneType"),
        (lambda x: (x, x), "must return one real value.*jvp"),
        (lambda x: [x], "must return one real value.*Got list"),
        (lambda x: True, "must return one real value.*Got bool"),
        (lambda x: KEPT.append(x) or KEPT[0] * x, "another trace"),
    ],
)
def test_what_is_not_elementwise_is_refused(fn, message):
    KEPT[:] = []
    if "another" in message:
        grad(fn)(1.0)
        fn = functools.partial(fn)
    with pytest.raises(TypeError, match=message):
        value_and_grad(fn)(np.ones(3))


def test_integers_beyond_float64_are_refused():
    with pytest.raises(ValueError, match=r"a number in the function must fit into float64. Got int beyond"):
        grad(lambda x: x * 10**400)(1.0)
    with pytest.raises(ValueError, match="x must fit into float64"):
        grad(lambda x: x * x)(10**400)


@pytest.mark.parametrize("make", [value_and_grad, grad, hessian, graph, lambda fn: jvp(fn, (1.0,), (1.0,))])
def test_what_is_no_function_is_refused(make):
    with pytest.raises(TypeError, match=r"fn must be a function of arrays. Got 3"):
        make(3)


def product(x, y):
    return x * y


@pytest.mark.parametrize(
    "args, error, message",
    [
        ((np.ones(3), np.ones(4)), ValueError, r"broadcast.*x \(3,\), y \(4,\)"),
        ((np.ones(3), 1j), TypeError, "y must hold real numbers.*complex128"),
        ((np.ones(3), "a"), TypeError, "y must hold real numbers"),
        ((np.ones(3), None), TypeError, "y must be an array. Got None"),
        ((np.ones(3, object), 1.0), TypeError, "x must hold numbers. Got dtype object"),
        ((np.ma.ones(3), 1.0), TypeError, "x must be a plain array.*masked"),
        ((np.ones(3, np.longdouble), 1.0), TypeError, "x must hold real numbers"),
        ((np.array(["2026"], "M8[Y]"), 1.0), TypeError, "x must hold real numbers"),
        ((), ValueError, "needs an argument"),
        ((1.0,), TypeError, "missing 1 required positional argument: 'y'"),
    ],
)
def test_wrong_arguments_are_refused(args, error, message):
    with pytest.raises(error, match=message):
        value_and_grad(product)(*args)


@pytest.mark.parametrize(
    "argnums, error, message",
    [
        (2, ValueError, "argnums must number one of the 2 arguments, from 0 on. Got 2"),
        (-3, ValueError, "Got -3"),
        ((), ValueError, "argnums must name an argument"),
        (1.5, TypeError, "argnums must be an integer"),
        ((0, "y"), TypeError, "argnums must be an integer"),
        (True, TypeError, "argnums must be an integer"),
    ],
)
def test_wrong_argnums_are_refused(argnums, error, message):
    with pytest.raises(error, match=message):
        value_and_grad(product, argnums)(1.0, 2.0)


X = np.ones(4)


@pytest.mark.parametrize(
    "out, error, message",
    [
        (np.ones(4), TypeError, "out must be a tuple of 2"),
        ((None, np.ones(4)), TypeError, r"out\[1\] must be a tuple of 2"),
        ((np.ones(3), None), ValueError, "must have the shape of the result"),
        ((np.ones(4, np.float32), None), TypeError, "must have the dtype of the result"),
        ((None, ([1.0] * 4, None)), TypeError, "must be a numpy.ndarray"),
        ((np.broadcast_to(1.0, 4), None), ValueError, "must be writable"),
        ((X, (X, None)), ValueError, "must not overlap"),
    ],
)
def test_wrong_out_is_refused_and_nothing_is_written(out, error, message):
    with pytest.raises(error, match=message):
        value_and_grad(product)(np.full(4, 2.0), np.full(4, 3.0), out=out)
    assert (X == 1.0).all()


def test_hessian_takes_no_out():
    with pytest.raises(TypeError, match="hessian takes no out"):
        hessian(product)(1.0, 2.0, out=np.ones(2))


@pytest.mark.parametrize(
    "primals, tangents, error, message",
    [
        (1.0, (1.0,), TypeError, "primals must be a tuple of arrays"),
        ((1.0, 2.0), np.ones(2), TypeError, "tangents must be a tuple of arrays"),
        ((1.0, 2.0), (1.0,), ValueError, "tangents must be 2 arrays, one for each argument. Got 1"),
    ],
)
def test_jvp_wrong_arguments_are_refused(primals, tangents, error, message):
    with pytest.raises(error, match=message):
        jvp(product, primals, tangents)


def test_graph_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="not \\*args"):
        graph(lambda *args: args[0])
    for wrong in ({"x": 1.0}, {"x": 1.0, "y": 2.0, "z": 3.0}):
        with pytest.raises(TypeError, match=r"the arguments must be x, y, each by its name. Got x"):
            graph(product).evaluate(**wrong)


def test_an_error_of_the_function_is_the_callers():
    def fails(x):
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            value_and_grad(fails)(1.0)
