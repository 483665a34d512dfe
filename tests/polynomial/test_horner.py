"""Blocks of points in polyval: whatever the block a point is in, its value has the same bits."""

import numpy as np
import pytest

from fastcore._core import simd
from fastcore.polynomial import polyval
from fastcore.polynomial.kernels.horner import FEW_COEFFICIENTS

COUNTS = [1, 2, 3, 4, 5, 6, 7, FEW_COEFFICIENTS, FEW_COEFFICIENTS + 1]
SPECIAL = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-310, -1e-45, 1e200, -1e30]


def bits(values):
    """Of NaN only that it is one: its sign and payload are not promised."""
    kind = np.int64 if values.dtype == np.float64 else np.int32
    return np.where(np.isnan(values), kind(-1), values.view(kind))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_polyval_has_the_same_bits_at_every_place_and_length(rng, count, dtype):
    block = 8 * (simd.F64_LANES if dtype == "f8" else simd.F32_LANES)
    size = 2 * block + 3
    with np.errstate(over="ignore"):
        special = np.array(SPECIAL).astype(dtype)
    x = rng.standard_normal(size).astype(dtype)
    x[rng.integers(0, size, size // 3)] = rng.choice(special, size // 3)
    plain = rng.standard_normal(count).astype(dtype)
    polynomials = [plain, plain * 0, plain * -0.0]
    for number in special:  # as the first coefficient, as the last, and between
        for place in {0, count // 2, count - 1}:
            polynomials.append(plain.copy())
            polynomials[-1][place] = number
    for i, c in enumerate(polynomials):
        one_by_one = bits(polyval(x, np.tile(c, (size, 1))))  # a polynomial for each point: without blocks
        for length in range(1, size + 1) if i < 4 else (size,):
            np.testing.assert_array_equal(bits(polyval(x[-length:], c)), one_by_one[-length:])
