"""Section 2 of the issue: what `roots` promises, over all hard cases, judged with proof."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.polynomial import Status, roots
from tests.polynomial.hard_cases import (
    CONSTANT,
    FAMILIES,
    HARD,
    NOT_FINITE,
    ROOT_BEYOND_RANGE,
    UNIT,
    ZERO,
)
from tests.polynomial.judges import judge_roots, one_of, report

PADDED = np.array([np.pad(c, (0, 40 - len(c) + 1)) for c in HARD.values()])


def judged(family, polish=True) -> str:
    found = {name: (c, roots(c, polish=polish)) for name, c in FAMILIES[family].items()}
    return report({name: judge_roots(c, got, polish=polish) for name, (c, got) in found.items()})


@pytest.mark.parametrize("family", FAMILIES)
def test_roots_of_hard_cases_keep_every_promise(family):
    assert not judged(family)


@pytest.mark.parametrize("family", ["classical", "random"])
def test_roots_unpolished_keep_every_promise_but_sharpness(family):
    assert not judged(family, polish=False)


def test_roots_of_all_hard_cases_at_once_keep_every_promise():
    """Each padded by leading zeros: one lane has degree 40 beside one of degree 1."""
    batch = roots(PADDED)
    assert not report({name: judge_roots(c, one_of(batch, i)) for i, (name, c) in enumerate(zip(HARD, PADDED))})


def test_roots_of_not_finite_coefficients_say_so():
    for name, c in NOT_FINITE.items():
        got = roots(c)
        assert (np.asarray(got.status) == Status.NOT_FINITE).all(), name
        assert np.isnan(np.asarray(got.x)).all(), name
        assert not np.any(got.converged), name


def test_roots_of_zero_say_so():
    for name, c in ZERO.items():
        got = roots(c)
        assert got.x.shape == (len(c) - 1,), name
        assert (got.status == Status.ZERO_POLYNOMIAL).all(), name
        assert not got.converged.any(), name
    for name, c in CONSTANT.items():
        got = roots(c)
        assert got.x.shape == (len(c) - 1,), name
        assert (got.status == Status.DEGENERATE).all(), name
        assert np.isinf(got.x).all(), name


def test_roots_beyond_the_range_of_float64_leave_the_others_right():
    for c in ROOT_BEYOND_RANGE.values():
        got = roots(c)
        good = got.x[got.converged]
        np.testing.assert_allclose(good, [1, 2, 3], rtol=1e-15)


def test_roots_bad_neighbours_of_a_batch_change_nothing(rng):
    """NaN, inf, zero and constant polynomials among good ones: the good ones come out as they do alone, bit by bit."""
    good = rng.standard_normal((40, 8))
    bad = [np.full(8, np.nan), np.full(8, np.inf), np.zeros(8), np.eye(8)[0], np.eye(8)[7], np.full(8, -np.inf)]
    mixed = np.concatenate([good, bad, good])[rng.permutation(86)]
    together = roots(mixed)
    for number in rng.permutation(86)[:30]:
        alone, there = roots(mixed[number]), one_of(together, number)
        for name in ("x", "status", "error_bound", "residual"):
            np.testing.assert_array_equal(getattr(there, name), getattr(alone, name), err_msg=f"{name} of {number}")


@given(st.integers(0, 2**32 - 1), st.integers(1, 24))
def test_roots_of_random_polynomials_give_their_coefficients_back(seed, degree):
    """Leading coefficient times the product of (x - z): as near to c as the backward error of each root allows."""
    c = np.random.default_rng(seed).standard_normal(degree + 1)
    z = roots(c).x
    back = c[-1] * np.array([complex(v) for v in np.poly(z)[::-1]])
    sizes = abs(c[-1]) * np.poly(-np.abs(z))[::-1]  # coefficients of the product of (x + |z|)
    assert (np.abs(back - c) <= 16 * degree * UNIT * sizes).all()
