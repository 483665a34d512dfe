"""Derivatives of arrays that lie right at a page nobody may touch. Run by test_processes.py; prints the cases."""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import reference
from fastcore.autodiff import value_and_grad

SHAPES = [((1,), (1,)), ((17,), (17,)), ((3, 131), (3, 131)), ((4, 1), (1, 33)), ((2, 3, 5), ()), ((8300,), (1,))]


def fn(x, y):
    """Constants, a condition, an operation with two results, and one that calls the system's library."""
    return np.where(x > y, np.sin(x * y) * np.cos(x * y), x**3 / (y + 2.5)) + np.maximum(x, 0.25)


def main():
    rng = np.random.default_rng(0)
    derivative, twin = value_and_grad(fn), reference.value_and_grad(fn)
    cases = list(itertools.product((np.float32, np.float64), SHAPES, (True, False)))
    for dtype, (one, other), at_end in cases:
        x, y = (guarded(rng.uniform(0.5, 3, shape).astype(dtype), at_end, range(len(shape))) for shape in (one, other))
        shape = np.broadcast_shapes(one, other)
        outs = [guarded(np.zeros(shape, dtype), at_end, range(len(shape))) for _ in range(3)]
        want, (by_x, by_y) = twin(x.astype(float), y.astype(float))
        derivative(x, y, out=(outs[0], (outs[1], outs[2])))
        value, partials = derivative(x, y)
        for got, again, expected in zip(outs, (value, *partials), (want, by_x, by_y)):
            np.testing.assert_array_equal(got, again)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    print(len(cases))


if __name__ == "__main__":
    main()
