"""Random expressions: tracing, sharing, simplification and both directions of derivatives against the twin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore import reference
from fastcore.autodiff import value_and_grad
from fastcore.autodiff.kernels.evaluate import parsed, run

UNARY = [np.negative, np.exp, np.sin, np.cos, np.tanh, np.sqrt, np.log, np.absolute, np.square, np.reciprocal]
BINARY = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum]
POINTS = np.random.default_rng(3).uniform(-2.0, 2.0, (2, 40))

leaves = st.sampled_from(["x", "y", 0.0, -0.0, 1.0, -1.0, 0.5, 3.0])


def branches(inner):
    return st.one_of(
        st.tuples(st.sampled_from(UNARY), inner),
        st.tuples(st.sampled_from(BINARY), inner, inner),
        st.tuples(st.just("power"), inner, st.sampled_from([-2, 0, 1, 2, 3])),
        st.tuples(st.just("where"), inner, inner, inner),
    )


expressions = st.recursive(leaves, branches, max_leaves=12)


def compute(expression, x, y):
    """The expression of numbers, traced values or duals."""
    if isinstance(expression, str):
        return x if expression == "x" else y
    if isinstance(expression, float):
        return expression
    function, *operands = expression
    values = [compute(each, x, y) for each in operands[: 1 if function == "power" else None]]
    if function == "power":
        return values[0] ** operands[1] if not isinstance(values[0], float) else values[0]
    if function == "where":
        condition = values[0] > 0.25
        return np.where(condition, *values[1:]) if not isinstance(condition, bool | np.bool_) else values[1]
    with np.errstate(all="ignore"):
        return float(function(*values)) if all(isinstance(each, float) for each in values) else function(*values)


def in_numpy(program, constants, arrays):
    """A program without the compiler: each operation by the NumPy function of its name."""

    def apply(name, operands):
        if name == "sincos":
            return np.sin(operands[0]), np.cos(operands[0])
        return getattr(np, name)(*operands)

    with np.errstate(all="ignore"):
        results = run(parsed(program), [*arrays, *constants], float, apply)
    return [np.broadcast_to(each, arrays[0].shape) for each in results]


def assert_close(got, want):
    # Sums of a derivative come in another order; where they cancel, or are infinite, only their size is comparable.
    finite = np.isfinite(want) & (np.abs(want) < 1e12)
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-8, atol=1e-8)


@settings(max_examples=300)
@given(expressions)
def test_programs_of_random_expressions_match_the_twin(expression):
    def fn(x, y):
        return compute(expression, x, y)

    derivative = value_and_grad(fn)
    compiled = derivative._compiled(derivative._plan((0.0, 0.0), {}))
    value, *partials = in_numpy(compiled.text, compiled.constants, POINTS)
    want, slopes = reference.value_and_grad(fn)(*POINTS)
    np.testing.assert_array_equal(np.isnan(value), np.isnan(want))
    assert_close(value, want)
    for got, slope in zip(partials, slopes):
        assert_close(got, slope)


@settings(max_examples=6)
@given(expressions)
def test_kernels_of_random_expressions_match_the_twin(expression):
    def fn(x, y):
        return compute(expression, x, y)

    value, partials = value_and_grad(fn)(*POINTS)
    want, slopes = reference.value_and_grad(fn)(*POINTS)
    for got, expected in zip((value, *partials), (want, *slopes)):
        assert_close(got, expected)
