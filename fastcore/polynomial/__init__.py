"""Polynomials by Horner's rule: values, solutions of P(x) = y, roots, inverses and fits, one or millions at a time.

Coefficients ascend along the last axis, as in `numpy.polynomial`: c[..., k] belongs to x**k. For the other order
pass c[..., ::-1].

Public names load on first use (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The one table of public names: the module each is found in.
_MODULE_OF = {
    name: f"fastcore.polynomial.{module}"
    for module, names in {
        "evaluation": ("polyder", "polyval", "polyval_and_derivative"),
        "complex_roots": ("roots",),
        "fitting": ("Fit", "fit"),
        "inversion": ("Inverse", "inverse"),
        "real": ("real_roots",),
        "record": ("Solution", "Status"),
        "solving": ("solve",),
    }.items()
    for name in names
}

# Repeated for type checkers, which read only literals; a test holds this list, the table and the imports together.
__all__ = [
    "Fit",
    "Inverse",
    "Solution",
    "Status",
    "fit",
    "inverse",
    "polyder",
    "polyval",
    "polyval_and_derivative",
    "real_roots",
    "roots",
    "solve",
]

if TYPE_CHECKING:
    from fastcore.polynomial.complex_roots import roots
    from fastcore.polynomial.evaluation import polyder, polyval, polyval_and_derivative
    from fastcore.polynomial.fitting import Fit, fit
    from fastcore.polynomial.inversion import Inverse, inverse
    from fastcore.polynomial.real import real_roots
    from fastcore.polynomial.record import Solution, Status
    from fastcore.polynomial.solving import solve
else:  # hidden from type checkers, which would otherwise take any misspelt name for a lazy one

    def __getattr__(name):
        module_name = _MODULE_OF.get(name)
        if module_name is None:
            raise AttributeError(f"module 'fastcore.polynomial' has no attribute {name!r}")
        value = getattr(import_module(module_name), name)
        globals()[name] = value  # the next look-up does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
