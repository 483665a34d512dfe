"""The cases of `fastcore.autodiff` at few points."""

import numpy as np
import pytest

from benchmarks import registry, session
from benchmarks.cases import autodiff
from benchmarks.cases.autodiff_task import source


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ours_and_naive_sides_are_right(dtype):
    case = autodiff.case(300, dtype)
    sides, entries = session.prepare(case, case.make(), [])
    assert set(sides) == {registry.OURS, registry.NUMPY}, entries


@pytest.mark.peer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jax_is_right(dtype):
    case = autodiff.case(300, dtype)
    _, entries = session.prepare(case, case.make(), ["jax"])
    assert "failed" not in entries["jax"]


def test_closed_form_is_the_derivative():
    """By complex steps, which lose no digits."""
    x, y = np.random.default_rng(5).uniform(0.5, 3, (2, 50))
    value, (by_x, by_y) = autodiff.closed_form(x, y)
    step = 1e-30
    np.testing.assert_allclose(value, source(np, x, y), rtol=1e-15)
    np.testing.assert_allclose(by_x, source(np, x + step * 1j, y).imag / step, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(by_y, source(np, x, y + step * 1j).imag / step, rtol=1e-12, atol=1e-14)
