"""Points and polynomials that broadcast."""

import numpy as np
import pytest

from fastcore.polynomial import polyval, polyval_and_derivative


def test_broadcast_points_are_those_written_out(rng):
    """Of each polynomial, of several, with points that differ along one axis, masked, and of no length."""
    column, several = rng.standard_normal((3, 1)), rng.standard_normal((2, 1, 1, 4))
    cases = [
        (np.broadcast_to(column, (3, 5)), several[0, 0, 0]),
        (np.broadcast_to(column, (3, 5)), several),
        (np.broadcast_to(column, (2, 3, 5)), rng.standard_normal((2, 3, 1, 4))),
        (np.broadcast_to(column[:, 0], (4, 3)), rng.standard_normal((4, 1, 4))),
        (np.broadcast_to(np.float32(0.5), (0, 3)), several[0, 0, 0]),
    ]
    for x, c in cases:
        plain = x.copy()
        np.testing.assert_array_equal(polyval(x, c), polyval(plain, c))
        for kind in ({"error_bound": True}, {"compensated": True, "error_bound": True, "derivative": 1}):
            np.testing.assert_array_equal(polyval(x, c, **kind), polyval(plain, c, **kind))
        got = polyval_and_derivative(x, c)
        np.testing.assert_array_equal(got, polyval_and_derivative(plain, c))
        assert got[0].flags.writeable
    masked = np.ma.MaskedArray(np.broadcast_to(0.5, 3), mask=[0, 1, 0])
    assert polyval(masked, [1.0, 2.0]).mask.tolist() == [False, True, False]
    with pytest.raises(ValueError, match="broadcast"):
        polyval(np.broadcast_to(0.5, 3), np.ones((2, 4)))
