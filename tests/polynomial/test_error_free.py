"""Error-free transformations, double-doubles and Horner's rule with bounds: on every kind of CPU, against fractions."""

from pathlib import Path

import numpy as np
import pytest

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels import error_free
from fastcore.polynomial.kernels.either import fma


def test_error_free_arithmetic_is_exact_on_every_cpu(run_guarded):
    assert run_guarded(Path(__file__).with_name("exact_script.py")) == "ok"


@kernel
def _evaluate(c, x):
    return error_free.horner_with_bound(c, x), error_free.compensated_horner(c, x)


@kernel
def _fused(a, b, c):
    return fma(a, b, c)


@pytest.mark.parametrize("x", [np.inf, -np.inf, np.nan, 1e200])
def test_compensated_horner_what_overflows_is_the_plain_value_with_an_infinite_bound(x):
    (plain, bound), (value, of_compensated) = _evaluate(np.array([1.0, 2.0, 3.0, -4.0]), x)
    np.testing.assert_array_equal(value, plain)
    assert bound == of_compensated == np.inf


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_compensated_horner_of_coefficients_that_are_not_finite_is_the_plain_value(bad):
    (plain, bound), (value, of_compensated) = _evaluate(np.array([1.0, bad, 3.0]), 2.0)
    np.testing.assert_array_equal(value, plain)
    assert bound == of_compensated == np.inf


def test_compensated_horner_of_a_constant_is_exact():
    for pair in _evaluate(np.array([0.1]), 1e300):
        assert pair == (0.1, error_free.SMALLEST_BOUND) or pair[1] < 1e-280


def test_fma_rounds_once():
    a, b = 1 + 2.0**-30, 1 - 2.0**-30
    assert _fused(a, b, -1.0) == -(2.0**-60)
