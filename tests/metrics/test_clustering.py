"""Metrics of two clusterings against scikit-learn and their twins."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import cluster as sklearn_cluster

import fastcore
from fastcore import metrics
from fastcore.reference import metrics_clustering as reference

SCORES = [
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "completeness_score",
    "fowlkes_mallows_score",
    "homogeneity_completeness_v_measure",
    "homogeneity_score",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "rand_score",
    "v_measure_score",
]
AVERAGES = ["arithmetic", "geometric", "max", "min"]


def theirs(name, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(sklearn_cluster, name)(*arguments, **options)


def condition(true, pred, average="arithmetic"):
    """By how much the adjusted score multiplies an error of what it is made of."""
    matrix = reference.contingency_matrix(true, pred)
    if 0 in matrix.shape or 1 in matrix.shape:
        return 1.0
    expected = metrics.expected_mutual_information(matrix, len(true))
    most = reference.average(reference.entropy(true), reference.entropy(pred), average)
    return 1.0 / max(most - expected, 1e-300)


@st.composite
def clusterings(draw, most=200):
    """Two label arrays: few or many clusters, gaps in the numbering, related or not."""
    size = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    true = rng.integers(0, draw(st.integers(1, size)), size) * draw(st.sampled_from([1, 7, 10**12])) - 3
    if draw(st.booleans()):
        pred = np.where(rng.random(size) < draw(st.sampled_from([0.0, 0.1, 0.9])), 0, true // draw(st.integers(1, 3)))
    else:
        pred = rng.integers(0, draw(st.integers(1, size)), size)
    return true, pred


@given(clusterings(), st.sampled_from(SCORES))
@example((np.arange(4), np.arange(4)), "adjusted_mutual_info_score")
@example((np.zeros(3, int), np.arange(3)), "v_measure_score")
def test_scores_equal_scikit_learns(pair, name):
    got, want = getattr(metrics, name)(*pair), theirs(name, *pair)
    assert type(got) is type(want)
    # What scikit-learn's own expected information is off by, 1e-14 here, is multiplied; where it is all there is
    # (each sample a cluster of its own), test_adjusted_mutual_info_of_single_samples_is_exact judges.
    amplified = 1e-14 * condition(*pair) if name == "adjusted_mutual_info_score" else 0.0
    if amplified < 1e-3:
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 + amplified)


@given(clusterings(), st.sampled_from(AVERAGES), st.sampled_from(["adjusted", "normalized"]))
def test_averages_equal_scikit_learns(pair, average, kind):
    name = f"{kind}_mutual_info_score"
    amplified = 1e-14 * condition(*pair, average) if kind == "adjusted" else 0.0
    if amplified < 1e-3:
        got, want = (f(*pair, average_method=average) for f in (getattr(metrics, name), getattr(sklearn_cluster, name)))
        assert got == pytest.approx(want, rel=0, abs=1e-12 + amplified)


@given(clusterings(), st.sampled_from([0.0, 0.3, 1.0, 5.0]))
def test_v_measure_weights_equal_scikit_learns(pair, beta):
    got = metrics.homogeneity_completeness_v_measure(*pair, beta=beta)
    assert got == (*got[:2], metrics.v_measure_score(*pair, beta=beta))
    assert got[:2] == (metrics.homogeneity_score(*pair), metrics.completeness_score(*pair))
    if beta or got[1]:
        np.testing.assert_allclose(got, theirs("homogeneity_completeness_v_measure", *pair, beta=beta), atol=1e-12)
    else:  # where scikit-learn raises ZeroDivisionError
        assert got[2] == 0.0


@given(clusterings())
def test_scores_equal_the_twins(pair):
    for name in ("mutual_info_score", "rand_score", "adjusted_rand_score", "fowlkes_mallows_score"):
        np.testing.assert_allclose(getattr(metrics, name)(*pair), getattr(reference, name)(*pair), atol=1e-12)
    np.testing.assert_array_equal(metrics.pair_confusion_matrix(*pair), reference.pair_confusion_matrix(*pair))
    np.testing.assert_array_equal(metrics.contingency_matrix(*pair), reference.contingency_matrix(*pair))
    assert metrics.entropy(pair[0]) == pytest.approx(reference.entropy(pair[0]), abs=1e-13)
    got, want = (m.homogeneity_completeness_v_measure(*pair, beta=0.5) for m in (metrics, reference))
    np.testing.assert_allclose(got, want, atol=1e-12)


@given(clusterings(most=60), st.sampled_from(AVERAGES))
def test_averages_equal_the_twins(pair, average):
    got, want = (m.normalized_mutual_info_score(*pair, average_method=average) for m in (metrics, reference))
    assert got == pytest.approx(want, abs=1e-12)
    if condition(*pair, average) < 1e8:
        got, want = (m.adjusted_mutual_info_score(*pair, average_method=average) for m in (metrics, reference))
        assert got == pytest.approx(want, abs=1e-11 + 1e-13 * condition(*pair, average))


@given(clusterings(), st.sampled_from(SCORES))
def test_scores_of_equal_clusterings_are_exactly_one(pair, name):
    got = np.array(getattr(metrics, name)(pair[0], 5 - pair[0]))
    if name == "mutual_info_score":
        assert got == metrics.entropy(pair[0])
    elif name == "fowlkes_mallows_score" and len(np.unique(pair[0])) == len(pair[0]):
        assert got == 0.0  # no pair is together
    else:
        assert (got == 1.0).all()


@given(clusterings())
def test_scores_of_a_refinement_are_exact(pair):
    """Clusters inside of classes explain all of them."""
    finer = np.unique(np.stack(pair), axis=1, return_inverse=True)[1].reshape(-1)
    assert metrics.homogeneity_score(pair[0], finer) == 1.0
    assert metrics.completeness_score(finer, pair[0]) == 1.0
    assert metrics.mutual_info_score(pair[0], finer) == metrics.entropy(pair[0])


@pytest.mark.parametrize("size", [2, 3, 10, 1000, 20_000])
def test_adjusted_mutual_info_of_single_samples_is_exact(rng, size):
    """What is expected is the information itself: 0, but 1 by 0 / 0 where the least entropy is the most there can be.

    scikit-learn has 1000 samples a cluster each at 0.99999999997, and min between -7 and 7 by what rounding left.
    """
    alone, other = np.arange(size), np.arange(size) // 2
    assert metrics.adjusted_mutual_info_score(alone, alone[::-1]) == 1.0
    for average in AVERAGES:
        got = metrics.adjusted_mutual_info_score(alone, other, average_method=average)
        if size > 2:
            assert got == 1.0 if average == "min" else 0.0 < got < 1e-13


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_independent_clusterings_are_zero(name):
    true, pred = np.divmod(np.arange(60), 12)
    got = getattr(metrics, name)(true, pred)
    if name in ("rand_score", "adjusted_rand_score", "adjusted_mutual_info_score"):
        assert got == pytest.approx(theirs(name, true, pred), abs=1e-12)
    else:
        assert np.all(np.array(got) == 0.0)


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_nothing_one_sample_and_one_cluster(name):
    for pair in ([], []), ([5], [7]), ([2, 2, 2], [1, 1, 1]), ([2, 2, 2], [1, 2, 3]), ([3, 4, 5], [1, 1, 1]):
        if name == "mutual_info_score" and not pair[0]:
            assert metrics.mutual_info_score(*pair) == 0.0  # scikit-learn: "math domain error"
        else:
            assert getattr(metrics, name)(*pair) == theirs(name, *pair)


# Counted in a matrix and by sorting, small and beyond, with narrow and with wide ranges of labels, by threads.
SIZES = [(1000, 3, 1), (1000, 500, 1), (1000, 9, 10**9), (40_000, 10, 1), (40_000, 300, 1), (40_000, 20_000, 10**9)]


@pytest.mark.parametrize("size, clusters, step", SIZES)
def test_scores_of_large_clusterings_equal_scikit_learns(rng, size, clusters, step):
    true, pred = (rng.integers(0, clusters, size) * step for _ in range(2))
    pred[: size // 2] = true[: size // 2]
    for name in SCORES:
        if name == "adjusted_mutual_info_score" and clusters > 10:
            continue  # scikit-learn takes minutes
        np.testing.assert_allclose(getattr(metrics, name)(true, pred), theirs(name, true, pred), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(
        metrics.pair_confusion_matrix(true, pred), theirs("pair_confusion_matrix", true, pred)
    )


@pytest.mark.parametrize("size, clusters, step", SIZES)
def test_scores_one_thread_equals_many(rng, size, clusters, step):
    true, pred = (rng.integers(0, clusters, size) * step for _ in range(2))
    many = [getattr(metrics, name)(true, pred) for name in SCORES]
    with fastcore.num_threads(1):
        assert [getattr(metrics, name)(true, pred) for name in SCORES] == many


def test_scores_of_squares_beyond_int64():
    """2**32 samples, as a contingency matrix has them: what 5 GB of labels would give."""
    from fastcore.metrics import agreement, contingency
    from fastcore.metrics.kernels import cluster_comparison as kernels

    cells = np.array([[2**31, 5], [7, 2**31 - 12]])
    found = kernels.compare(kernels.pairs_in(cells), int(cells.sum()), kernels.EXPECTED)
    python = [[int(x) for x in row] for row in cells]
    squares = sum(x * x for row in python for x in row)
    assert found.squares == squares > 2**62
    assert found.squares_true == sum(sum(row) ** 2 for row in python)
    ((neither, only_pred), (only_true, both)) = contingency.pair_counts(found)
    assert neither + only_pred + only_true + both == 2**32 * (2**32 - 1)
    assert both == squares - 2**32
    assert found.mutual == pytest.approx(reference.mutual_information_of(cells), abs=1e-14)
    assert agreement._homogeneity(found) == pytest.approx(1.0, abs=1e-7)
    assert found.expected == pytest.approx(1 / 2**33, abs=1e-15)
