"""Precision, recall, F score and support at once, against scikit-learn and the twin."""

import numpy as np
import pytest
import sklearn.metrics

from fastcore import metrics
from fastcore.reference import metrics_classification as reference

OURS, THEIRS = metrics.precision_recall_fscore_support, sklearn.metrics.precision_recall_fscore_support


@pytest.mark.parametrize("average", ["binary", "micro", "macro", "weighted", "samples", None])
@pytest.mark.parametrize("beta", [0, 0.5, 1.0, np.inf])
@pytest.mark.parametrize("zero_division", ["warn", 0, 1, np.nan], ids=str)
def test_all_at_once_is_scikit_learns(assert_same_outcome, rng, average, beta, zero_division):
    options = {"average": average, "beta": beta, "zero_division": zero_division}
    binary = rng.integers(0, 2, (2, 20))
    assert_same_outcome(OURS, THEIRS, *binary, **options)
    assert_same_outcome(OURS, THEIRS, [0, 1, 2, 0], [0, 1, 0, 0], **options)
    assert_same_outcome(OURS, THEIRS, *(rng.integers(0, 2, (2, 6, 3)) * [1, 0, 1]), **options)
    assert_same_outcome(OURS, THEIRS, [0, 0], [0, 0], **options)


@pytest.mark.parametrize(
    "warn_for", [(), ("precision",), ["recall"], {"f-score"}, ("precision", "recall"), "all", None]
)
def test_warn_for_chooses_warnings(assert_same_outcome, warn_for):
    assert_same_outcome(OURS, THEIRS, [0, 0], [0, 0], average="binary", warn_for=warn_for)


@pytest.mark.parametrize("average", ["binary", "micro", "macro", "weighted", None])
def test_all_at_once_is_the_twin(rng, average):
    y_true, y_pred = rng.integers(0, 2, (2, 30))
    options = {"average": average, "beta": 2.0, "sample_weight": rng.uniform(0.5, 2, 30)}
    got, want = OURS(y_true, y_pred, **options), reference.precision_recall_fscore_support(y_true, y_pred, **options)
    for mine, other in zip(got, want):
        assert (mine is None) == (other is None)
        if other is not None:
            np.testing.assert_allclose(mine, other, rtol=1e-13)


def test_each_score_is_the_one_of_its_function(rng):
    y_true, y_pred = rng.integers(0, 4, (2, 50))
    for average in ("micro", "macro", "weighted"):
        precision, recall, f1, support = OURS(y_true, y_pred, average=average)
        assert precision == metrics.precision_score(y_true, y_pred, average=average)
        assert recall == metrics.recall_score(y_true, y_pred, average=average)
        assert f1 == metrics.f1_score(y_true, y_pred, average=average)
        assert support is None


def test_support_counts_samples_or_weights(rng):
    y_true = rng.integers(0, 3, 40)
    assert OURS(y_true, y_true)[3].dtype == np.int64
    weights = rng.uniform(0, 1, 40)
    np.testing.assert_allclose(OURS(y_true, y_true, sample_weight=weights)[3], np.bincount(y_true, weights), rtol=1e-13)
