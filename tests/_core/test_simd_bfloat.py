"""Pairs of vectors rounded to bfloat16 against the rounding of one, which test_simd_math.py holds against NumPy.

test_simd_targets.py runs this file again for AVX2, for plain x86-64 and with the JIT disabled.
"""

import numpy as np
import pytest

from fastcore._core import simd
from fastcore._core.jit import kernel

LANES = 16  # one register where there is an instruction for it


@kernel
def round_two(x, behind, pairs, single):
    low, high = simd.load(simd.pointer(x), LANES), simd.load(simd.advance(simd.pointer(x), LANES), LANES)
    simd.store(simd.pointer(behind), simd.floats_to_bfloats(low, high))
    simd.store(simd.pointer(pairs), simd.floats_to_pairs(low, high))
    simd.store(simd.pointer(single), simd.float_to_bfloat(low))
    simd.store(simd.advance(simd.pointer(single), LANES), simd.float_to_bfloat(high))


def rounded(x):
    behind, single, pairs = (np.zeros(2 * LANES, np.uint16) for _ in range(3))
    round_two(x, behind, pairs.view(np.uint32), single)
    return behind, pairs.reshape(LANES, 2), single


def test_floats_to_bfloats_and_pairs_round_as_one_vector_does(rng):
    for _ in range(200):
        x = (rng.standard_normal(2 * LANES) * np.exp2(rng.integers(-100, 100, 2 * LANES))).astype(np.float32)
        behind, pairs, single = rounded(x)
        np.testing.assert_array_equal(behind, single)
        np.testing.assert_array_equal(pairs, single.reshape(2, LANES).T)


@pytest.mark.parametrize("special", [np.inf, -np.inf, 0.0, -0.0, 3.4e38, 1.00390625, 1.01171875])
def test_floats_to_bfloats_keeps_infinities_and_rounds_ties_to_even(special):
    behind, _, single = rounded(np.full(2 * LANES, special, np.float32))
    np.testing.assert_array_equal(behind, single)


def test_floats_to_bfloats_keeps_nan():
    behind, _, _ = rounded(np.full(2 * LANES, np.nan, np.float32))
    assert np.isnan((behind.astype(np.uint32) << 16).view(np.float32)).all()


def test_floats_to_bfloats_of_denormals_is_within_the_smallest_normal_number():
    behind, _, _ = rounded(np.full(2 * LANES, 1e-39, np.float32))
    assert (behind <= 0x0080).all()
