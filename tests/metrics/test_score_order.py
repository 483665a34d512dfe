"""The kernels that put scores in order: against the NumPy twins, on scores that are hard to spread over cells."""

import numpy as np
import pytest

import fastcore
from fastcore.metrics.kernels import roc_area as kernel
from fastcore.metrics.kernels.roc_area import roc_area
from fastcore.metrics.kernels.score_order import ranked_groups
from fastcore.reference import metrics_ranking as reference

# One group of one size each: below and above what is compared pair by pair, in one thread's cache, and in buckets.
SIZES = [1, 2, 3, 40, 49, 300, 5000, 16_384, 16_385, 60_000]


def _mixture(rng, size):
    clustered = 0.5 + 1e-9 * rng.standard_normal(size // 2)
    return np.concatenate([clustered, np.exp(600 * (2 * rng.random(size - size // 2) - 1))])


SCORES = {
    "uniform": lambda rng, size: rng.random(size),
    "float32": lambda rng, size: rng.standard_normal(size, dtype=np.float32),
    "lognormal": lambda rng, size: np.exp(3 * rng.standard_normal(size)),
    "all magnitudes": lambda rng, size: np.exp(600 * (2 * rng.random(size) - 1)),
    "ten values": lambda rng, size: rng.integers(0, 10, size) / 10,
    "one value": lambda rng, size: np.full(size, 0.1),
    "a cluster and outliers": lambda rng, size: np.append(0.5 + 1e-9 * rng.standard_normal(size - 1), 1e300),
    "neighbours": lambda rng, size: 1 + rng.integers(0, 50, size) * 2.0**-52,
    "denormals": lambda rng, size: rng.integers(-50, 50, size) * 5e-324,
    "signed zeros": lambda rng, size: np.where(rng.random(size) < 0.5, -0.0, 0.0),
    "both ends": lambda rng, size: np.where(rng.random(size) < 0.5, -1.7e308, 1.7e308),
    "integers": lambda rng, size: rng.integers(-1000, 1000, size),
    "integers beyond 2**53": lambda rng, size: rng.integers(0, 50, size) + 2**60,
    "mixture": _mixture,
    "sorted": lambda rng, size: np.sort(rng.random(size)),
    "falling": lambda rng, size: -np.sort(rng.random(size)),
}


def _area_of(counts):
    """Weight of ordered pairs from cumulative counts, ties as halves."""
    negatives, positives = np.concatenate([[[0.0, 0.0]], counts]).T
    return float(np.sum(np.diff(negatives) * (positives[1:] + positives[:-1]) / 2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", SCORES)
def test_ranked_groups_equals_the_twin(rng, kind, size):
    scores = SCORES[kind](rng, size)
    for num_codes in (2, 4):
        codes, weights = rng.integers(0, num_codes, size).astype(np.uint8), rng.random(size)
        got, want = ranked_groups(scores, codes, num_codes), reference.ranked_groups(scores, codes, num_codes)
        assert got[0].dtype == scores.dtype
        assert got[1].dtype == np.int64
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])
        got = ranked_groups(scores, codes, num_codes, weights)
        want = reference.ranked_groups(scores, codes, num_codes, weights)
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_allclose(got[1], want[1], rtol=1e-13)
        assert (np.diff(got[1], axis=0) >= 0).all()


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("kind", [kind for kind in SCORES if not kind.startswith("integers")])
def test_roc_area_equals_the_twin(rng, kind, size):
    scores = SCORES[kind](rng, size)
    labels, weights = rng.integers(0, 2, size), rng.random(size)
    labels[:2] = 0, 1
    plain, weighted = roc_area(labels, scores), roc_area(labels, scores, weights)
    assert plain.status == weighted.status == kernel.FINE
    assert plain.negatives + plain.positives == size
    assert plain.area == _area_of(reference.ranked_groups(scores, labels.astype(np.uint8))[1])
    want = _area_of(reference.ranked_groups(scores, labels.astype(np.uint8), 2, weights)[1])
    assert weighted.area == pytest.approx(want, rel=1e-13)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool, np.int8])
@pytest.mark.parametrize("size", [100, 40_000])
def test_roc_area_takes_labels_of_any_integer_type(rng, dtype, size):
    labels, scores = rng.integers(0, 2, size), rng.random(size)
    assert roc_area(labels.astype(dtype), scores) == roc_area(labels, scores)


@pytest.mark.parametrize("size", [100, 40_000])
def test_roc_area_strided_input_equals_contiguous(rng, size):
    labels, scores, weights = rng.integers(0, 2, 2 * size), rng.random(2 * size), rng.random(2 * size)
    got = roc_area(labels[::2], scores[::-2], weights[1::2])
    assert got == roc_area(labels[::2].copy(), scores[::-2].copy(), weights[1::2].copy())


@pytest.mark.parametrize("size", [10, 40_000])
@pytest.mark.parametrize(
    "change, status",
    [
        (("labels", 2), kernel.OTHER_CODE),
        (("labels", -1), kernel.OTHER_CODE),
        (("scores", np.nan), kernel.NOT_FINITE),
        (("scores", np.inf), kernel.NOT_FINITE),
        (("scores", -np.inf), kernel.NOT_FINITE),
        (("weights", np.nan), kernel.NOT_FINITE),
        (("weights", np.inf), kernel.NOT_FINITE),
        (("weights", -1.0), kernel.NEGATIVE_WEIGHT),
    ],
)
def test_roc_area_says_what_is_wrong(rng, size, change, status):
    given = {"labels": rng.integers(0, 2, size), "scores": rng.random(size), "weights": rng.random(size)}
    given[change[0]][size // 2] = change[1]
    assert roc_area(**given).status == status


def test_roc_area_threads_change_no_bit(rng):
    labels, scores, weights = rng.integers(0, 2, 300_000), rng.random(300_000), rng.random(300_000)
    many = roc_area(labels, scores, weights), ranked_groups(scores, labels.astype(np.uint8), 2, weights)
    with fastcore.num_threads(1):
        one = roc_area(labels, scores, weights), ranked_groups(scores, labels.astype(np.uint8), 2, weights)
    assert many[0] == one[0]
    np.testing.assert_array_equal(many[1][0], one[1][0])
    np.testing.assert_array_equal(many[1][1], one[1][1])


def test_roc_area_input_is_not_changed(rng):
    given = rng.integers(0, 2, 40_000), rng.random(40_000), rng.random(40_000)
    copies = [x.copy() for x in given]
    for x in given:
        x.flags.writeable = False
    roc_area(*given)
    ranked_groups(given[1], given[0].astype(np.uint8), 2, given[2])
    for x, copy in zip(given, copies):
        np.testing.assert_array_equal(x, copy)
