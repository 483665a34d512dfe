"""From nodes to programs: what is shared, folded and simplified, and only where that is exact; and what is kept."""

import pickle
import threading

import numpy as np
import pytest

from fastcore.autodiff import graph, value_and_grad
from fastcore.autodiff.node import Tape
from fastcore.autodiff.program import assemble


def program(fn, names="xy"):
    """The text and the constants of a function's program."""
    tape = Tape()
    inputs = [tape.input(name) for name in names]
    found = assemble(inputs, [fn(*inputs)])
    return found.text, found.constants.tolist()


@pytest.mark.parametrize(
    "fn, text",
    [
        (lambda x, y: x * y + y * x, "2 0|multiply 0 1;add 2 2|3"),
        (lambda x, y: (x + y) / (y + x), "2 0|add 0 1;divide 2 2|3"),
        (lambda x, y: x * 1 / 1 - 0.0 + -0.0, "2 0||0"),
        (lambda x, y: x + 0.0, "2 0|add 0 0.0|2"),
        (lambda x, y: -np.negative(x), "2 0||0"),
        (lambda x, y: x - (-y), "2 0|add 0 1|2"),
        (lambda x, y: x + (-y), "2 0|subtract 0 1|2"),
        (lambda x, y: x * -1, "2 0|negative 0|2"),
        (lambda x, y: (-x) * y, "2 0|multiply 0 1;negative 2|3"),
        (lambda x, y: x * 0, "2 0|multiply 0 0.0|2"),
        (lambda x, y: x - x, "2 0|subtract 0 0|2"),
        (lambda x, y: x**3 * x**2, "2 0|multiply 0 0;multiply 2 0;multiply 3 2|4"),
        (lambda x, y: x**-2, "2 0|multiply 0 0;divide 1.0 2|3"),
        (lambda x, y: x**0 + x**1, "2 0|add 1.0 0|2"),
        (lambda x, y: x**0.5, "2 0|sqrt 0|2"),
        (lambda x, y: np.cos(x) * np.sin(x), "2 0|sincos 0;multiply 3 2|4"),
        (lambda x, y: np.cos(x) * np.sin(y), "2 0|cos 0;sin 1;multiply 2 3|4"),
        (lambda x, y: np.where(x > y, x, x), "2 0||0"),
        (lambda x, y: 2.0, "2 0||2.0"),
    ],
)
def test_program_is_short_and_exact(fn, text):
    tape = Tape()
    inputs = [tape.input(name) for name in "xy"]
    result = fn(*inputs)
    result = tape.constant(result) if isinstance(result, float) else result
    assert assemble(inputs, [result]).text == text


def test_program_folds_constants_and_keeps_the_sign_of_zero():
    assert program(lambda x, y: x * (y * 0 + 3))[1] == [3.0]
    assert graph(lambda x: x + np.exp(np.float64(1.0)) * 2).nodes[1].operands == ("x", 2 * np.e)
    text, constants = program(lambda x, y: np.maximum(x, -0.0) + np.maximum(y, 0.0))
    assert text == "2 1|maximum 0 2;maximum 1 0.0;add 3 4|5"
    assert np.signbit(constants[0])


def test_another_number_is_not_another_kernel():
    kernels = {
        value_and_grad(lambda x, c=c: x * c + 7.5)._compiled(_plan(c)).kernel(np.dtype("f8")) for c in (3.0, 4.0)
    }
    assert len(kernels) == 1
    assert value_and_grad(lambda x: x * 3.0 + 7.5)(2.0) == (13.5, 3.0)
    assert value_and_grad(lambda x: x * 4.0 + 7.5)(2.0) == (15.5, 4.0)


def _plan(c):
    return value_and_grad(lambda x: x * c + 7.5)._plan((0.0,), {})


def test_function_is_traced_once():
    calls = []

    def fn(x, y):
        calls.append(None)
        return x * y

    derivative = value_and_grad(fn)
    for dtype in (np.float32, np.float64):
        for size in (3, 5000):
            derivative(np.ones(size, dtype), np.ones(size, dtype))
    assert len(calls) == 1
    derivative(y=1.0, x=2.0)
    assert len(calls) == 2


def test_partials_can_be_pickled():
    partials = value_and_grad(lambda x, y: x * y)(2.0, 3.0)[1]
    again = pickle.loads(pickle.dumps(partials))
    assert again == partials == (3.0, 2.0)
    assert again._fields == ("x", "y")


def test_threads_that_call_at_once_get_the_same():
    derivative, x = value_and_grad(lambda x: np.exp(np.sin(x)) * 1.25), np.linspace(0.0, 3.0, 30_000)
    found = [None] * 6
    start = threading.Barrier(len(found))

    def call(place):
        start.wait()
        found[place] = derivative(x)

    threads = [threading.Thread(target=call, args=(place,)) for place in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value, slope in found:
        np.testing.assert_array_equal(value, found[0][0])
        np.testing.assert_allclose(slope, value * np.cos(x), rtol=1e-14, atol=1e-15)


def test_results_of_two_calls_are_apart():
    derivative = value_and_grad(lambda x, y: x * y)
    first = derivative(np.ones(9), np.ones(9))
    second = derivative(np.full(9, 2.0), np.full(9, 3.0))
    assert first[0].tolist() == [1.0] * 9
    assert second[1].x.tolist() == [3.0] * 9
    second[1].x[:] = 0.0
    assert second[0].tolist() == [6.0] * 9
