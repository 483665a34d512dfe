"""NumPy's test module with fastcore's functions in the place of numpy.polynomial.polynomial's."""

import collections
import functools
import importlib.util
import types

import numpy as np
from numpy.polynomial import Chebyshev, polynomial

import fastcore.polynomial as ours

calls: collections.Counter[str] = collections.Counter()


def polyval(x, c, tensor=True):
    """Coefficients run along the first axis there, along the last one here."""
    assert tensor, "no test of NumPy's asks for this of polyval"
    return ours.polyval(x, c if np.ndim(c) < 2 else np.moveaxis(np.asarray(c), 0, -1))


def polyder(c, m=1, scl=1, axis=0):
    return ours.polyder(c, m, scl, axis)


def polyroots(c):
    return ours.roots(c).x


def polyfit(x, y, deg, rcond=None, full=False, w=None):
    assert (rcond, full) == (None, False), "no test of NumPy's asks for more of polyfit"
    fitted = ours.fit(x, y, deg, weights=w).polynomial
    # One polynomial for each column of y. Leading zeros that convert() trims are coefficients there.
    size = np.max(deg) + 1
    columns = [fitted] if isinstance(fitted, Chebyshev) else fitted
    coefficients = [column.convert(kind=np.polynomial.Polynomial).coef for column in columns]
    padded = np.array([np.pad(each, (0, size - len(each))) for each in coefficients]).T
    return padded[:, 0] if isinstance(fitted, Chebyshev) else padded


# NumPy's name -> what stands for it, and the name of ours that it calls.
SUBSTITUTES = {"polyval": polyval, "polyder": polyder, "polyroots": polyroots, "polyfit": polyfit}
OURS = {"polyval": "polyval", "polyder": "polyder", "polyroots": "roots", "polyfit": "fit"}
PRESENT = [name for name in SUBSTITUTES if OURS[name] in ours.__all__]


def counted(name):
    function = SUBSTITUTES[name]

    @functools.wraps(function)
    def call(*args, **kwargs):
        calls[name] += 1
        return function(*args, **kwargs)

    return call


def load(name: str) -> types.ModuleType:
    """A copy of numpy.polynomial.tests.<name> of its own: what is put into it is seen by no one else."""
    spec = importlib.util.find_spec(f"numpy.polynomial.tests.{name}")
    copy = importlib.util.spec_from_file_location(f"numpy_suite_{name}", spec.origin)
    module = importlib.util.module_from_spec(copy)
    copy.loader.exec_module(module)
    return module


def namespace() -> types.SimpleNamespace:
    """numpy.polynomial.polynomial, with ours."""
    return types.SimpleNamespace(**{**vars(polynomial), **{name: counted(name) for name in PRESENT}})


def polynomial_class() -> type:
    """numpy.polynomial.Polynomial that evaluates, derives, solves and fits by ours."""
    methods = {"_" + name.removeprefix("poly"): staticmethod(counted(name)) for name in PRESENT}
    return type("Polynomial", (np.polynomial.Polynomial,), methods)
