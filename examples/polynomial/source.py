"""P(x) = y as its source states it: two readings of one list of coefficients, and three ways to search.

The source lists the coefficients with the highest power first and reads them twice. Its text has no constant, so that
the last one belongs to x; its sample code evaluates the list by Horner's rule, so that the last one is the constant.
"""

from collections.abc import Callable, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np

from fastcore import polynomial

LISTED = (0.32, -1.233, 9.11, -2.32, 17.0, 44.121, -12.322, 0.3423, 1.283, 10.238723)
LEVEL = 3.14159265358979323846
TOLERANCE = 1e-12
# Of x, relative: solutions of condition 1 are exact to the last digit or two.
X_TOLERANCE = 4 * np.finfo(np.float64).eps


class Reading(NamedTuple):
    """coefficients : ascending, as fastcore has them; solutions : all real ones of P(x) = LEVEL, to 30 digits"""

    name: str
    coefficients: np.ndarray
    solutions: tuple[str, ...]


READINGS = (
    Reading(
        "degree 10, no constant",
        np.array([0.0, *LISTED[::-1]]),
        ("-1.36450115993526106316665422371", "0.293652303658128346168855888601"),
    ),
    Reading(
        "degree 9, constant 10.238723",
        np.array(LISTED[::-1]),
        ("-1.34930826568641163139703396081",),
    ),
)


class Attempt(NamedTuple):
    """A search: where each step was, the last one being the answer."""

    method: str
    iterates: np.ndarray

    @property
    def x(self) -> float:
        return float(self.iterates[-1])


class Local(NamedTuple):
    """What one of the local methods of `fastcore.polynomial.solve` gives, which says where it got stuck."""

    method: str
    x: float
    iterations: int
    status: str


class Answer(NamedTuple):
    """One solution by `fastcore.polynomial.solve`, and its distance from the one to 30 digits."""

    x: float
    residual: float
    error: float


def horner(c: Sequence[Any], x: Any) -> Any:
    """P(x), coefficients ascending; of floats or of decimals."""
    total = 0 * x
    for coefficient in reversed(c):
        total = total * x + coefficient
    return total


def derivative(c: np.ndarray) -> np.ndarray:
    return c[1:] * np.arange(1, len(c))


def descend_value(c: np.ndarray, x: float = 0.0, rate: float = 0.001, steps: int = 2000) -> np.ndarray:
    """The source's sample: x -= rate * P'(x). It does not know of y, and ends in a minimum of P."""
    slope, found = derivative(c), [x]
    for _ in range(steps):
        found.append(found[-1] - rate * horner(slope, found[-1]))
    return np.array(found)


def descend_loss(c: np.ndarray, y: float, x: float = 0.0, steps: int = 200) -> np.ndarray:
    """Gradient descent on (P(x) - y)**2 / 2, steps halved until the loss falls (Armijo)."""
    slope, found, rate = derivative(c), [x], 1.0
    for _ in range(steps):
        miss = horner(c, found[-1]) - y
        gradient = miss * horner(slope, found[-1])
        while rate > 1e-18:
            new = found[-1] - rate * gradient
            if (horner(c, new) - y) ** 2 <= miss**2 - 1e-4 * rate * gradient**2:
                break
            rate /= 2
        if rate <= 1e-18 or new == found[-1]:
            break
        found.append(new)
        rate *= 4
    return np.array(found)


def newton(c: np.ndarray, y: float, x: float = 0.0, steps: int = 50) -> np.ndarray:
    """x -= (P(x) - y) / P'(x), undamped."""
    slope, found = derivative(c), [x]
    for _ in range(steps):
        new = found[-1] - (horner(c, found[-1]) - y) / horner(slope, found[-1])
        if abs(new - found[-1]) <= X_TOLERANCE * abs(new):
            break
        found.append(new)
    return np.array(found)


SEARCHES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "descent on P, the sample": descend_value,
    "descent on (P - y)²/2": lambda c: descend_loss(c, LEVEL),
    "Newton": lambda c: newton(c, LEVEL),
}


def attempts(reading: Reading) -> list[Attempt]:
    """Each way from x = 0."""
    return [Attempt(method, search(reading.coefficients)) for method, search in SEARCHES.items()]


def local_answers(reading: Reading) -> list[Local]:
    """The same searches from x = 0 by `solve`."""
    found = []
    for method in ("descent", "newton"):
        solution = polynomial.solve(reading.coefficients, LEVEL, x0=0.0, method=method)  # type: ignore[arg-type]
        status = polynomial.Status(int(solution.status)).name
        found.append(Local(f'solve, method="{method}"', float(solution.x), int(solution.iterations), status))
    return found


def answers(reading: Reading) -> list[Answer]:
    """All real solutions; `solve` isolates them by the critical points, so it needs no start."""
    found = polynomial.solve(reading.coefficients, LEVEL, which="all")
    # A slot of padding has no place here: a missing answer is an answer too few.
    return [exact(reading, float(x)) for x in np.asarray(found.x)[np.asarray(found.converged)]]


def exact(reading: Reading, x: float) -> Answer:
    """Residual and error of x in decimals of 50 digits, free of rounding errors of ours."""
    with localcontext(Context(prec=50)):
        residual = horner([Decimal(float(value)) for value in reading.coefficients], Decimal(x)) - Decimal(LEVEL)
        error = min(abs(Decimal(x) - Decimal(solution)) for solution in reading.solutions)
        return Answer(x, float(abs(residual)), float(error))


def is_right(reading: Reading, found: Sequence[Answer]) -> bool:
    """Every solution, in order, with the residual and to the digits that are asked."""
    return len(found) == len(reading.solutions) and all(
        answer.residual <= TOLERANCE and abs(answer.x - float(solution)) <= X_TOLERANCE * abs(float(solution))
        for answer, solution in zip(found, reading.solutions)
    )
