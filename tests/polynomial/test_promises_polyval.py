"""What `polyval` promises of its values and error bounds, over all hard cases, judged in ball arithmetic."""

import numpy as np
import pytest
from flint import ctx

from fastcore.polynomial import polyder, polyval, polyval_and_derivative
from tests.polynomial.hard_cases import FAMILIES, HARD, UNIT, WORK_BITS, certified_roots, value_and_terms

CALM = 1e300  # terms beyond may overflow on the way


def points(c) -> np.ndarray:
    """Around the roots, where digits cancel, at the rounded roots themselves, and elsewhere."""
    roots = np.array([complex(root.ball).real for root in certified_roots(c)][:6])
    return np.concatenate([roots, roots * (1 + 1e-9), [0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 1e-5]])


def exact(c, x) -> tuple[list, np.ndarray]:
    with ctx.workprec(WORK_BITS):
        both = [value_and_terms(c, point) for point in x]
        return [value for value, _ in both], np.array([float(terms) for _, terms in both])


def errors(got, values) -> np.ndarray:
    """Lower bounds: what is certain of them."""
    with ctx.workprec(WORK_BITS):
        pairs = zip(np.ravel(got), values, strict=True)
        return np.array(
            [float(abs(value - float(mine)).lower()) if np.isfinite(mine) else np.inf for mine, value in pairs]
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_polyval_of_hard_cases_is_within_horners_bound(family):
    for name, c in FAMILIES[family].items():
        x = points(c)
        values, terms = exact(c, x)
        with np.errstate(all="ignore"):
            error = errors(polyval(x, c), values)
        calm = (terms < CALM) & (terms > 1e-250)
        assert (error <= 2 * len(c) * UNIT * terms)[calm].all(), name


@pytest.mark.parametrize("family", FAMILIES)
def test_polyval_compensated_is_as_exact_as_twice_the_precision_and_its_bound_holds(family):
    for name, c in FAMILIES[family].items():
        x = points(c)
        values, terms = exact(c, x)
        calm = (terms < CALM) & (terms > 1e-250)
        value, bound = polyval(x, c, compensated=True, error_bound=True)
        np.testing.assert_array_equal(value[calm], polyval(x, c, compensated=True)[calm], err_msg=name)
        error, size = errors(value, values), np.abs(value)
        # Splitting 1e±150 products loses their last bits to underflow, which the bound must know.
        sharp = 2 * UNIT * size + 16 * len(c) ** 2 * UNIT**2 * terms
        inside = error <= bound + UNIT * bound
        assert inside[calm].all(), f"{name}: {error[calm & ~inside]} over the bound {bound[calm & ~inside]}"
        normal = calm & (np.abs(x) > 1e-12) & (np.abs(x) < 1e12) & (np.ptp(np.log2(np.abs(c[c != 0]))) < 200)
        assert (error[normal] <= sharp[normal]).all(), f"{name}: {error[normal] / sharp[normal]}"
        useful = 8 * UNIT * size + 64 * len(c) ** 2 * UNIT**2 * terms
        assert (bound[normal] <= useful[normal]).all(), f"{name}: {bound[normal] / useful[normal]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_polyval_bound_without_compensation_holds(family):
    for name, c in FAMILIES[family].items():
        x = points(c)
        values, terms = exact(c, x)
        calm = (terms < CALM) & (terms > 1e-250)
        value, bound = polyval(x, c, error_bound=True)
        error = errors(value, values)
        assert (error <= bound * (1 + 4 * UNIT))[calm].all(), name
        assert (bound <= 8 * len(c) * UNIT * terms)[calm].all(), name


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polyval_derivative_is_that_of_polyder(order):
    for name, c in HARD.items():
        x = points(c)
        with np.errstate(all="ignore"):
            derived = polyder(c, order)
            got = polyval(x, c, derivative=order)
            values, terms = exact(derived, x) if np.isfinite(derived).all() else (None, None)
        if values is None:
            continue
        calm = (terms < CALM) & (terms > 1e-250)
        error = errors(got, values)
        assert (error <= (2 * len(c) + 8) * UNIT * terms)[calm].all(), name


def test_polyval_and_derivative_are_those_of_one_at_a_time():
    for name, c in HARD.items():
        x = points(c)
        with np.errstate(all="ignore"):
            value, slope = polyval_and_derivative(x, c)
        for got, (values, terms) in ((value, exact(c, x)), (slope, exact(polyder(c), x))):
            calm = (terms < CALM) & (terms > 1e-250)
            assert (errors(got, values) <= (2 * len(c) + 8) * UNIT * terms)[calm].all(), name


@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 1001])
@pytest.mark.parametrize("degree", [0, 1, 2, 4, 5, 6, 20, 50])
def test_polyval_float32_and_complex_are_within_horners_bound(rng, size, degree):
    x, c = rng.uniform(-1.1, 1.1, size), rng.standard_normal(degree + 1)
    single = polyval(x.astype("f4"), c.astype("f4"))
    assert single.dtype == np.float32
    wide = np.polyval(c.astype("f4").astype(float)[::-1], x.astype("f4").astype(float))
    terms = np.polyval(np.abs(c[::-1]), np.abs(x))
    assert (np.abs(single - wide) <= 2.2 * (degree + 1) * 2.0**-24 * terms).all()
    z, d = x + 1j * x[::-1], c + 1j * c[::-1]
    terms = np.polyval(np.abs(d[::-1]), np.abs(z))
    assert (np.abs(polyval(z, d) - np.polyval(d[::-1], z)) <= 12 * (degree + 1) * UNIT * terms).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{"compensated": True}, {"error_bound": True}])
def test_polyval_beyond_float32_is_infinite_without_a_warning(options):
    for kind in (np.float32, np.complex64):
        values = polyval(np.array([1e30, 1.0], kind), np.ones(3, kind), **options)
        values = values[0] if "error_bound" in options else values
        assert not np.isfinite(values[0])
        assert values[1] == 3
