"""JAX's derivatives in float64, and SymPy's formulas."""

import numpy as np
import pytest

from fastcore.autodiff import hessian, jvp, value_and_grad

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def jax():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


def functions(np):
    """The same functions of NumPy and of jax.numpy; smooth ones, and ones with ties and edges.

    But for abs at 0, where PyTorch and we say 0, and JAX 1.
    """
    smooth = [
        lambda x, y: np.cos(x * y) / (x + y),
        lambda x, y: np.exp(-(x**2) / (y * y + 1)) * np.tanh(x - y),
        lambda x, y: np.log1p(np.exp(x)) * np.sqrt(y) + np.arctan2(y, x) - np.hypot(x, y),
        lambda x, y: y**x + x**3 + np.cbrt(y) + np.expm1(x) * np.log2(y) - np.sinh(x) * np.arcsinh(y),
    ]
    edges = [
        lambda x, y: np.maximum(x, y) * np.minimum(x, 1.0) + abs(x - 0.3),
        lambda x, y: np.where(x > y, x * y, np.sin(x)) + np.clip(x, 0.0, 1.0),
        lambda x, y: np.where((x < y) & ~(y == 1.0), x, y) ** 2,
        lambda x, y: y**x,
    ]
    return smooth, edges


def both(jax):
    for ours, theirs in zip(functions(np), functions(jax.numpy)):
        yield from zip(ours, theirs)


def test_value_and_grad_matches_jax(jax, rng):
    x, y = rng.uniform(-2.0, 2.0, 400), rng.uniform(0.1, 3.0, 400)
    x[:40], y[20:60] = y[:40], 1.0
    x[60:70] = 0.0
    for fn, peer in both(jax):
        value, partials = value_and_grad(fn)(x, y)
        want, slopes = jax.vmap(jax.value_and_grad(peer, argnums=(0, 1)))(x, y)
        np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-14)
        for got, slope in zip(partials, slopes):
            np.testing.assert_allclose(got, slope, rtol=1e-12, atol=1e-13)


def test_hessian_and_jvp_match_jax(jax, rng):
    x, y, dx, dy = rng.uniform(0.2, 2.0, (4, 100))
    for fn, peer in zip(functions(np)[0], functions(jax.numpy)[0]):
        got, want = hessian(fn)(x, y), jax.vmap(jax.hessian(peer, argnums=(0, 1)))(x, y)
        for i in range(2):
            for j in range(2):
                np.testing.assert_allclose(got[i][j], want[i][j], rtol=1e-11, atol=1e-12)
        for ours, theirs in zip(jvp(fn, (x, y), (dx, dy)), jax.jvp(peer, (x, y), (dx, dy))):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_the_sources_derivatives_are_sympys():
    sympy = pytest.importorskip("sympy")
    x, y = sympy.symbols("x y")
    formula = sympy.cos(x * y) / (x + y)
    point = {x: sympy.Rational(13, 10), y: sympy.Rational(7, 10)}
    value, partials = value_and_grad(lambda a, b: np.cos(a * b) / (a + b))(1.3, 0.7)
    second = hessian(lambda a, b: np.cos(a * b) / (a + b))(1.3, 0.7)
    wanted = [formula, formula.diff(x), formula.diff(y), formula.diff(x, x), formula.diff(x, y), formula.diff(y, y)]
    got = [value, *partials, second[0][0], second[0][1], second[1][1]]
    np.testing.assert_allclose(got, [float(each.evalf(30, subs=point)) for each in wanted], rtol=4e-16 * 4)
