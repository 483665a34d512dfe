"""What the tests of metrics share: calls that must end as scikit-learn's do."""

import warnings

import numpy as np
import pytest


def outcome(function, *arguments, **options):
    """(value, warnings), or (kinds of error, None)."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            value = function(*arguments, **options)
        except Exception as error:
            return error, None
    return value, [(each.category.__name__, str(each.message)) for each in caught]


@pytest.fixture(scope="session")
def assert_same_outcome():
    """compare(ours, theirs, *arguments, **options): values to 1e-12, warnings to the letter, errors of one kind.

    With ``words=True`` the first words of errors agree too. Returns the value, None where it raised.
    """

    def compare(ours, theirs, *arguments, words=False, tolerance=1e-12, **options):
        want, their_warnings = outcome(theirs, *arguments, **options)
        got, our_warnings = outcome(ours, *arguments, **options)
        if isinstance(want, Exception):
            assert isinstance(got, (ValueError, TypeError)), f"{got!r} where scikit-learn raises {want!r}"
            if words:
                assert str(got)[:20] == str(want)[:20]
            return None
        if isinstance(got, Exception):
            raise got
        assert type(got) is type(want)
        for mine, other in zip(*((x if isinstance(x, tuple) else (x,)) for x in (got, want)), strict=True):
            assert (mine is None) == (other is None)
            if other is not None:
                np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
        assert our_warnings == their_warnings
        return got

    return compare
