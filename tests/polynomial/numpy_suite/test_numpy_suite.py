"""NumPy's own tests of its polynomials, with fastcore's functions in their place.

NumPy's installed test modules are loaded once more under another name, and the name `poly` in them is ours; nothing of
NumPy itself changes. What has no counterpart here (`polyint`, `polyfromroots`, ...) stays NumPy's.
"""

import inspect

import numpy as np
import pytest

from tests.polynomial.numpy_suite import substitutes

suite = substitutes.load("test_polynomial")
suite.poly = substitutes.namespace()
TESTS = {
    f"{name}.{test}": (group, test)
    for name, group in vars(suite).items()
    if inspect.isclass(group) and name.startswith("Test")
    for test in vars(group)
    if test.startswith("test_")
}
NAMED_BY_THE_ISSUE = {
    "TestEvaluation.test_polyval",
    "TestMisc.test_polyroots",
    "TestDerivative.test_polyder",
    "TestDerivative.test_polyder_axis",
    "TestMisc.test_polyfit",
}

classes = substitutes.load("test_classes")
# Not test_integ and test_conversion, which evaluate at a Polynomial: arrays of objects are refused here.
OF_CLASSES = ["test_fit", "test_roots", "test_deriv", "test_call", "test_call_with_list", "test_degree"]


@pytest.mark.parametrize("name", TESTS)
def test_numpy_suite_passes(name):
    np.random.seed(0)  # noqa: NPY002  # what NumPy's tests draw from
    group, test = TESTS[name]
    getattr(group(), test)()


@pytest.mark.parametrize("test", OF_CLASSES)
def test_numpy_suite_of_classes_passes(test):
    """numpy.polynomial.Polynomial with our functions behind its methods."""
    np.random.seed(0)  # noqa: NPY002
    getattr(classes, test)(substitutes.polynomial_class())


def test_numpy_suite_has_the_tests_of_the_issue():
    assert set(TESTS) >= NAMED_BY_THE_ISSUE
    assert len(TESTS) >= 30


def test_numpy_suite_calls_every_function(request):
    mine = [item for item in request.session.items if item.path == request.path]
    if len(mine) < len(TESTS) + len(OF_CLASSES):
        pytest.skip("only some of the tests were selected")
    assert [name for name in substitutes.PRESENT if substitutes.calls[name] < 5] == []
