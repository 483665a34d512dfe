"""Section 2 of the issue: what `real_roots` promises, over all hard cases, judged with proof."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.polynomial import Status, real_roots
from tests.polynomial.hard_cases import (
    CONSTANT,
    FAMILIES,
    HARD,
    NOT_FINITE,
    ROOT_BEYOND_RANGE,
    ZERO,
    certified_real_roots,
    from_roots,
)
from tests.polynomial.judges import judge_real_roots, one_of, report

PADDED = np.array([np.pad(c, (0, 40 - len(c) + 1)) for c in HARD.values()])


@pytest.mark.parametrize("family", FAMILIES)
def test_real_roots_of_hard_cases_keep_every_promise(family):
    assert not report({name: judge_real_roots(c, real_roots(c)) for name, c in FAMILIES[family].items()})


def test_real_roots_of_all_hard_cases_at_once_keep_every_promise():
    batch = real_roots(PADDED)
    assert batch.x.shape == (len(HARD), batch.count.max())
    complaints = {name: judge_real_roots(PADDED[i], one_of(batch, i)) for i, name in enumerate(HARD)}
    assert not report(complaints)


# (seed, degree, E): coefficients over 1e±E. Terms of P at the root overflowed, or underflowed and hid its last bits.
WIDE = [(11, 2, 150), (155, 2, 150), (211, 2, 100), (538, 2, 100), (30, 2, 60), (442, 7, 100)]


@pytest.mark.parametrize("seed, degree, spread", WIDE)
def test_real_roots_of_coefficients_of_all_sizes(seed, degree, spread):
    rng = np.random.default_rng(seed)
    assert rng.integers(1, 13) == degree
    c = rng.standard_normal(degree + 1) * 10.0 ** rng.uniform(-spread, spread, degree + 1)
    assert not judge_real_roots(c, real_roots(c))


DOMAINS = {
    "dyadic roots 0 ±1 1/2": [(0, 1), (-1, 0), (0.5, 0.5), (0.25, 0.75), (-0.5, -0.25), (1, np.inf), (-np.inf, -1)],
    "dyadic roots -2 to 2 by 1/4": [(-2, 2), (-1.75, 1.75), (0, np.inf), (-0.25, 0.25), (2.5, 3)],
    "Wilkinson 20": [(0, 5.5), (9.5, 12.5), (-np.inf, 0)],
    "Chebyshev T20": [(-1, 1), (0, 1), (-0.5, 0.5), (2, 1e300)],
    "(x - 1)^5": [(0, 2), (1, 1), (2, 3)],
    "roots 1e-50 to 1e50": [(0, 1e-20), (1e5, np.inf), (-1, 1e-45)],
    "random 10, 0": [(-1, 1), (0, 0), (-1e300, 1e300)],
}


@pytest.mark.parametrize("name", DOMAINS)
def test_real_roots_in_a_domain_are_those_and_no_others(name):
    c = HARD[name]
    complaints = {
        f"{name} in {domain}": judge_real_roots(c, real_roots(c, domain), *domain) for domain in DOMAINS[name]
    }
    assert not report(complaints)


def test_real_roots_of_not_finite_coefficients_say_so():
    for name, c in NOT_FINITE.items():
        got = real_roots(c)
        assert (np.asarray(got.status) == Status.NOT_FINITE).all(), name
        assert np.isnan(np.asarray(got.x)).all(), name
        assert not np.any(got.converged), name


def test_real_roots_of_zero_and_constants_say_so():
    for name, c in ZERO.items():
        got = real_roots(c)
        assert got.count == 0, name
        assert np.ravel(got.status).tolist() == [Status.ZERO_POLYNOMIAL], name
        assert np.isnan(np.ravel(got.x)).all(), name
    for name, c in CONSTANT.items():
        got = real_roots(c)
        assert got.count == 0, name
        assert np.ravel(got.status).tolist() == [Status.NO_REAL_SOLUTION], name


def test_real_roots_beyond_the_range_of_float64_leave_the_others_right():
    for c in ROOT_BEYOND_RANGE.values():
        got = real_roots(c)
        np.testing.assert_allclose(got.x[got.converged], [1, 2, 3], rtol=1e-15)


def test_real_roots_bad_neighbours_of_a_batch_change_nothing(rng):
    """NaN, inf, zero and constant polynomials among good ones: the good ones come out as they do alone, bit by bit."""
    good = rng.standard_normal((40, 8))
    bad = [np.full(8, np.nan), np.full(8, np.inf), np.zeros(8), np.eye(8)[0], np.eye(8)[7], np.full(8, -np.inf)]
    mixed = np.concatenate([good, bad, good])[rng.permutation(86)]
    together = real_roots(mixed)
    for number in rng.permutation(86)[:30]:
        alone, there = real_roots(mixed[number]), one_of(together, number)
        assert alone.count == there.count
        for name in ("x", "status", "error_bound", "residual"):
            mine = np.ravel(getattr(alone, name))
            np.testing.assert_array_equal(getattr(there, name)[: len(mine)], mine, err_msg=f"{name} of {number}")


SCALES = [1 / 8, 1.0, 7.0, 2.0**-60, 2.0**40]


@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=9, unique=True),
    st.sampled_from(SCALES),
    st.sampled_from([1.0, -3.0, 2.0**-200]),
)
def test_real_roots_to_coefficients_to_real_roots(numbers, scale, leading):
    known = np.sort(np.array(numbers)) * scale
    c = from_roots(known) * leading
    got = real_roots(c)
    assert not judge_real_roots(c, got)
    assert int(got.count) == len(certified_real_roots(c)) == len(known)
    np.testing.assert_allclose(got.x, known, rtol=1e-9)
