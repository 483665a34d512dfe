"""The kernel of areas under uplift and Qini curves, against its NumPy twin."""

import numpy as np
import pytest

import fastcore
from fastcore.metrics.kernels import uplift_area as kernel
from fastcore.metrics.kernels.uplift_area import QINI, UPLIFT, uplift_area
from fastcore.reference import metrics_uplift as reference


def _sample(rng, size, ties=False):
    outcome, treatment = rng.integers(0, 2, size), rng.integers(0, 2, size)
    scores = 0.3 * outcome * treatment + rng.random(size)
    return outcome, scores.round(2) if ties else scores, treatment


@pytest.mark.parametrize("curve", [QINI, UPLIFT])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", [1, 2, 10, 700, 16_384, 16_385, 70_000])
def test_uplift_area_equals_the_twin(rng, size, ties, curve):
    given = _sample(rng, size, ties)
    got, want = uplift_area(*given, curve), reference.uplift_area(*given, curve)
    assert got[0] == kernel.FINE
    assert got[2:] == want[2:]
    assert got[1] == pytest.approx(want[1], rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("size", [10, 40_000])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int32, np.uint64])
def test_uplift_area_takes_any_integers_scores_and_strides(rng, dtype, size):
    outcome, scores, treatment = _sample(rng, 2 * size)
    want = uplift_area(outcome[::2].copy(), scores[::2].copy(), treatment[::2].copy(), QINI)
    assert uplift_area(outcome[::2].astype(dtype), scores[::2], treatment[::2].astype(dtype), QINI) == want
    integers = rng.integers(-50, 50, size)
    want = uplift_area(outcome[:size], integers.astype(float), treatment[:size], UPLIFT)
    assert uplift_area(outcome[:size], integers, treatment[:size], UPLIFT) == want
    assert uplift_area(outcome[:size], integers.astype(np.float32), treatment[:size], UPLIFT) == want


@pytest.mark.parametrize("size", [10, 40_000])
@pytest.mark.parametrize(
    "index, value, status",
    [
        (0, 2, kernel.OTHER_OUTCOME),
        (0, -1, kernel.OTHER_OUTCOME),
        (2, 2, kernel.OTHER_TREATMENT),
        (1, np.nan, kernel.OTHER_SCORE),
        (1, np.inf, kernel.OTHER_SCORE),
    ],
)
def test_uplift_area_says_what_is_wrong(rng, size, index, value, status):
    given = list(_sample(rng, size))
    given[index][size // 2] = value
    assert uplift_area(*given, QINI)[0] == status
    given[index] = given[index][1:]
    assert uplift_area(*given, QINI)[0] == kernel.OTHER_LENGTHS


def test_uplift_area_threads_change_no_bit(rng):
    given = _sample(rng, 200_000)
    many = uplift_area(*given, QINI)
    with fastcore.num_threads(1):
        assert uplift_area(*given, QINI) == many
