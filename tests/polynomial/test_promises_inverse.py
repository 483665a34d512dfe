"""What `inverse` promises: each value answered rightly or with the right status, judged with proof."""

import pickle

import numpy as np
import pytest
from flint import ctx

from fastcore.polynomial import Status, inverse, polyval
from tests.polynomial.hard_cases import (
    CONSTANT,
    HARD,
    NOT_FINITE,
    UNIT,
    WORK_BITS,
    ZERO,
    absolute_value,
    certified_real_roots,
    condition,
    distance_to,
    value_and_terms,
)
from tests.polynomial.judges import SMALLEST, consistent, one_of, report

RISING = np.array([0.5, 1.0, 0.25, 0.125])
CASES = {
    "rising cubic": (RISING, (0.0, 4.0)),
    "rising, all numbers": (np.array([0.5, 1.0, 0.25, 0.125, 0.0, 1.0]), (-np.inf, np.inf)),
    "falling line": (np.array([3.0, -7.0]), (-1.0, 2.0)),
    "parabola": (np.array([1.0, -3.0, 0.5]), (-2.0, 9.0)),
    "flat at a triple point": (HARD["(x - 1)^3"], (0.0, 3.0)),
    "flat at 1, degree 9": (HARD["(x - 1)^9"], (-1.0, 2.0)),
    "x^8 - 1": (HARD["x^8 - 1"], (0.0, 2.0)),
    "source, degree 10": (HARD["source, degree 10"], (-2.0, 1.0)),
    "source, degree 9": (HARD["source, degree 9"], (-np.inf, np.inf)),
    "Chebyshev T20": (HARD["Chebyshev T20"], (-1.0, 1.0)),
    "Wilkinson 10": (HARD["Wilkinson 10"], (0.5, 10.5)),
    "random 10": (HARD["random 10, 0"], (-1.5, 1.5)),
    "random 20": (HARD["random 20, 1"], (-np.inf, np.inf)),
    "double roots": (HARD["double roots 1 2 3 4 5"], (0.0, 6.0)),
    "times 1e150": (HARD["random 10, times 1e150"], (-1.0, 2.0)),
    "times 1e-150": (HARD["random 10, times 1e-150"], (-1.0, 2.0)),
    "far domain": (RISING, (1e6, 1e6 + 1)),
    "leading zeros": (np.array([0.5, 1.0, 0.25, 0.0, 0.0]), (0.0, 2.0)),
}


def value(c, x) -> float:
    with ctx.workprec(WORK_BITS):
        return float(value_and_terms(c, x)[0].real)


def turns_of(c, low, high) -> list[float]:
    return [float(root.ball) for root in certified_real_roots(c, low, high, derivative=1)]


def values_of(c, low, high, rng) -> np.ndarray:
    """Of points all over the domain and close to the turns, beside the values at turns and ends, and beyond."""
    middle = [low, high] if np.isfinite([low, high]).all() else [-3.0, 3.0]
    special = [*turns_of(c, low, high), *(end for end in (low, high) if np.isfinite(end))]
    points = [*rng.uniform(*middle, 25), *(x * (1 + s) for x in special[:6] for s in (1e-3, -1e-6, 1e-9, -1e-12))]
    at = [value(c, x) for x in special[:6]]
    beside = [v * (1 + s) for v in at for s in (0, 1e-15, -1e-15, 1e-8, -1e-8, 0.5, -0.5)]
    return np.array([*(value(c, min(max(x, low), high)) for x in points), *at, *beside, 0.0, max(at, default=1.0) * 3])


def condition_with(c, y, root) -> float:
    """Of the root of P - y, for relative changes of c and of y: an inverse near x = 0 is as exact as y - c[0]."""
    shifted = np.array(c, float)
    shifted[0] = abs(shifted[0]) + abs(y)
    return condition(c, root, terms_of=shifted)


def judge(c, y, got, low, high, ytol=0.0, precision=UNIT) -> list[str]:
    """One answer of branch 'lowest'."""
    complaints = consistent(got)
    roots = certified_real_roots(c, low, high, y=y)
    good = [root for root in roots if root.multiplicity % 2 and condition_with(c, y, root) < 1e-4 / precision]
    x, bound = float(got.x), float(got.error_bound)
    if not low <= x <= high:
        complaints.append(f"{x} is outside the domain")
    if got.converged and not absolute_value(c, x, y) <= max(ytol, bound) * (1 + 1e-9) + len(c) * 5e-324:
        complaints.append(f"|P(x) - y| = {absolute_value(c, x, y)} at {x}, error_bound {bound}, {roots}")
    if good and not got.converged:
        complaints.append(f"{Status(got.status)!r} at {x}, where {float(good[0].ball)} has the value")
    if got.status not in (Status.CONVERGED, Status.TOUCHING, Status.NO_REAL_SOLUTION):
        complaints.append(f"{Status(got.status)!r}, residual {got.residual}, bound {bound}, x {x}")
    # At an end of the domain: the lowest x may be just beyond it, by less than rounding.
    if got.status == Status.CONVERGED and len(good) == len(roots) > 0 and x not in (low, high):
        kappa = condition_with(c, y, roots[0])
        away, size = distance_to(roots[0], x), abs(float(roots[0].ball))
        if not away <= (8 + 8 * len(c) * kappa) * precision * size + SMALLEST:
            complaints.append(f"{x} is {away} away from {float(roots[0].ball)}, condition {kappa:.2g}")
    if got.status == Status.NO_REAL_SOLUTION:
        ends = [x for x in (*turns_of(c, low, high), low, high) if np.isfinite(x)]
        least = absolute_value(c, ends, y).min()
        here = float(absolute_value(c, x, y))
        if not here <= least * (1 + 16 * len(c) * precision) + 8 * bound + 1e-300:
            complaints.append(f"|P - y| is {here} at {x}, {least} elsewhere")
    with ctx.workprec(WORK_BITS):
        terms = float(value_and_terms(c, x)[1]) + abs(y)
    if bound > 64 * len(c) * precision * terms:
        complaints.append(f"error_bound {bound} at {x} is useless, terms {terms}")
    return complaints


@pytest.mark.parametrize("name", CASES)
def test_inverse_of_hard_cases_keeps_every_promise(rng, name):
    c, (low, high) = CASES[name]
    y = values_of(c, low, high, rng)
    got = inverse(c, (low, high), ytol=0.0)(y)
    assert not report({f"y = {v!r}": judge(c, v, one_of(got, i), low, high) for i, v in enumerate(y)})


@pytest.mark.parametrize("name", ["rising cubic", "parabola", "source, degree 10", "random 10", "far domain"])
def test_inverse_float32_keeps_every_promise(rng, name):
    c, (low, high) = CASES[name]
    # Both ends are float32 themselves, so that x rounded to float32 stays between them.
    y = values_of(c, low, high, rng).astype(np.float32)
    got = inverse(c, (low, high), ytol=0.0)(y)
    assert got.x.dtype == np.float32
    single = 2.0**-24
    complaints = {
        f"y = {v!r}": judge(c, float(v), one_of(got, i), low, high, precision=single) for i, v in enumerate(y)
    }
    assert not report(complaints)


@pytest.mark.parametrize("name", CASES)
def test_inverse_of_many_values_has_a_status_for_each(rng, name):
    """Sorted and scattered: the same bits; residuals by compensated Horner."""
    c, (low, high) = CASES[name]
    middle = (low, high) if np.isfinite([low, high]).all() else (-2.0, 2.0)
    x = np.sort(rng.uniform(*middle, 20_000))
    y = polyval(x, c, compensated=True)
    f = inverse(c, (low, high))
    got = f(y)
    assert got.converged.all(), np.unique(got.status, return_counts=True)
    back, bound = polyval(got.x, c, compensated=True, error_bound=True)
    off = np.abs(back - y)
    assert (off <= np.maximum(1e-10, got.error_bound) * (1 + 1e-6) + 2 * bound).all()
    order = rng.permutation(len(y))
    scattered = f(y[order])
    for sorted_part, part in zip(got[:6], scattered[:6], strict=True):
        np.testing.assert_array_equal(sorted_part[order], part)


@pytest.mark.parametrize("name", ["parabola", "source, degree 10", "Chebyshev T20", "Wilkinson 10", "random 10"])
def test_inverse_pieces_are_those_between_certified_turns(rng, name):
    c, (low, high) = CASES[name]
    f = inverse(c, (low, high))
    expected = [low, *turns_of(c, low, high), high]
    np.testing.assert_allclose(f.pieces, expected, rtol=1e-10)
    for piece in range(len(expected) - 1):
        x = rng.uniform(expected[piece] + 1e-9, expected[piece + 1] - 1e-9, 500)
        y = polyval(x, c, compensated=True)
        for number in (piece, piece - len(expected) + 1):
            got = inverse(c, (low, high), branch=number)(y)
            assert got.converged.all()
            _, terms = value_and_terms(c, max(abs(low), abs(high)))
            slope = np.abs(polyval(x, c, derivative=1))
            assert (np.abs(got.x - x) <= 64 * UNIT * (np.abs(x) + float(terms) / slope)).all()


def test_inverse_what_is_not_finite_says_so():
    f = inverse(RISING, (0.0, 4.0))
    got = f([np.nan, np.inf, -np.inf, 1.0])
    assert got.status.tolist() == [Status.NOT_FINITE] * 3 + [Status.CONVERGED]
    assert np.isnan(got.x[:3]).all()
    for c in NOT_FINITE.values():
        got = inverse(c, (0.0, 1.0))([1.0, 2.0])
        assert (got.status == Status.NOT_FINITE).all()
        assert np.isnan(got.x).all()


def test_inverse_of_constants_is_degenerate():
    for c in (*CONSTANT.values(), *ZERO.values()):
        got = inverse(c, (0.0, 1.0))([c[0], 2.5])
        assert (got.status == Status.DEGENERATE).all()
        assert not got.converged.any()


def test_inverse_survives_pickling(rng):
    f = inverse(RISING, (0.0, 4.0))
    y = rng.uniform(0.5, 12, 100)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(y).x, f(y).x)
