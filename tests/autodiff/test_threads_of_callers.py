"""Several Python threads at once: the constants of one call are no other's."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastcore.autodiff import value_and_grad


def of_constants(number):
    return value_and_grad(lambda x: sum((number + k / 7) * x**k for k in range(12)))


def test_many_callers():
    """Numba would free the constants of a call behind the last statement that names them."""
    x = np.random.default_rng(0).uniform(-1, 1, 5000)
    functions = [of_constants(number) for number in range(3, 11)]
    expected = [np.stack(function(x)) for function in functions]

    def is_same(i):
        return all(np.array_equal(np.stack(functions[i](x)), expected[i]) for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_same, range(8)))
