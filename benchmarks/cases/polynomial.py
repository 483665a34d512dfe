"""The cases of `fastcore.polynomial`: values, solutions, roots, fits."""

from benchmarks.cases import polynomial_fit, polynomial_roots, polynomial_solving, polynomial_values
from benchmarks.registry import Case
from fastcore import polynomial

PARTS = (polynomial_values, polynomial_solving, polynomial_roots, polynomial_fit)


def cases() -> list[Case]:
    """Of the functions that this fastcore has."""
    return [part.case(each) for part in PARTS for each in part.problems() if each.function in polynomial.__all__]
