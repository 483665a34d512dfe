"""The cases of `fastcore.polynomial`: values, solutions, roots, fits."""

from benchmarks.cases import polynomial_fit, polynomial_roots, polynomial_solving, polynomial_values
from benchmarks.registry import Case


def cases() -> list[Case]:
    return [
        case
        for part in (polynomial_values, polynomial_solving, polynomial_roots, polynomial_fit)
        for case in part.cases()
    ]
