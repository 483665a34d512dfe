"""The record of answers, the public names, and the checks that all polynomial functions share."""

import numpy as np
import pytest

from fastcore import polynomial
from fastcore._core.validate_polynomial import coefficients, interval, values
from fastcore.polynomial import Solution, Status
from fastcore.polynomial.kernels import status


def test_statuses_are_the_numbers_of_the_kernels():
    numbers = {name: value for name, value in vars(status).items() if name.isupper()}
    assert {each.name: int(each) for each in Status} == numbers


def test_table_of_names_and_list_agree():
    assert sorted(polynomial._MODULE_OF) == polynomial.__all__
    assert set(polynomial.__all__) <= set(dir(polynomial))


@pytest.mark.parametrize("name", polynomial.__all__)
def test_every_public_name_loads(name):
    assert getattr(polynomial, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"fastcore\.polynomial"):
        _ = polynomial.polyvalue


def test_the_record_counts_only_where_it_is_told_to():
    assert Solution(1.0, 0.0, 0.0, 1, Status.CONVERGED, True).count is None


@pytest.mark.parametrize("c", [[], 3.0, np.zeros((4, 0))])
def test_coefficients_need_an_axis_with_something_on_it(c):
    with pytest.raises(ValueError, match="c must have shape"):
        coefficients(c)


def test_coefficients_are_made_native_contiguous_float64():
    c = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    result = coefficients(c)
    assert result.dtype == np.float64
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, c)


def test_complex_coefficients_are_refused_by_name_where_they_must_be_real():
    with pytest.raises(TypeError, match="c must be real"):
        coefficients([1j])
    assert coefficients([1j], allow_complex=True).dtype == np.complex128


def test_values_must_be_numbers():
    with pytest.raises(TypeError, match="y"):
        values(["a"])


def test_an_interval_is_two_ordered_numbers():
    assert interval(None) == (-np.inf, np.inf)
    assert interval([0, np.inf]) == (0.0, np.inf)
    for wrong in ([1, 0], [0, np.nan], [0, 1, 2], 3.0):
        with pytest.raises(ValueError, match="domain must be two numbers"):
            interval(wrong)
