"""Lift against its definition, and where it has none."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn.metrics import precision_score, roc_curve

from fastcore import metrics
from fastcore.reference import metrics_classification as reference


@hypothesis.given(size=st.integers(2, 60), weighted=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_lift_score_is_precision_over_the_proportion_of_positives(size, weighted, seed):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(0, 2, (2, size))
    y_true[0] = y_pred[-1] = 1
    weights = rng.uniform(0.1, 2, size) if weighted else None
    got = metrics.lift_score(y_true, y_pred, sample_weight=weights)
    precision = precision_score(y_true, y_pred, sample_weight=weights)
    assert got == pytest.approx(precision / np.average(y_true, weights=weights), rel=1e-12)
    assert got == pytest.approx(reference.lift_score(y_true, y_pred, sample_weight=weights), rel=1e-12)
    assert type(got) is float
    for y in (y_true.tolist(), y_true.astype(float), y_true > 0, np.repeat(y_true, 2)[::2]):
        assert metrics.lift_score(y, y_pred, sample_weight=weights) == got
    names = np.array(["no", "yes"])
    for kind in (names, names.astype(object)):
        other = metrics.lift_score(kind[y_true], kind[y_pred], pos_label="yes", sample_weight=weights)
        assert other == pytest.approx(got, rel=1e-12)


def test_lift_score_known():
    """mlxtend's documentation: of 8 samples 5 are positive, 3 of 4 picks."""
    y_true, y_pred = [0, 0, 1, 0, 0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert metrics.lift_score(y_true, y_pred) == pytest.approx((2 / 3) / (6 / 10), rel=1e-15)
    assert metrics.lift_score([0, 1, 0, 1], [0, 1, 0, 1]) == 2.0
    assert metrics.lift_score([0, 1, 0, 1], [1, 0, 1, 0]) == 0.0


@pytest.mark.parametrize(
    "y_true, y_pred, what", [([0, 1], [0, 0], "predicted"), ([0, 0], [0, 1], "true"), ([0], [0], "predicted")]
)
def test_lift_score_undefined(y_true, y_pred, what):
    with pytest.warns(metrics.UndefinedMetricWarning, match=f"Lift is ill-defined.* no {what} samples") as caught:
        assert metrics.lift_score(np.array(y_true), np.array(y_pred)) == 0.0
    assert caught[0].filename == __file__
    assert metrics.lift_score(y_true, y_pred, zero_division=1) == 1.0
    assert np.isnan(metrics.lift_score(y_true, y_pred, zero_division=np.nan))


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([0, 1, 2], [0, 1, 2]), {}, "Target is multiclass"),
        (([0, 2], [0, 2]), {}, "pos_label=1 is not a valid label"),
        (([0, 1], [0, 1, 1]), {}, "inconsistent numbers of samples"),
        (([], []), {}, "Found empty input array"),
        (([0, 1], [0.5, 1]), {}, "mix of binary and continuous"),
        (([0, 1], [0, 1]), {"zero_division": 3}, "'zero_division' parameter of lift_score"),
        (([0, 1], [0, 1]), {"sample_weight": [0, 0]}, "at least one non-zero"),
    ],
)
def test_lift_score_wrong_arguments_raise(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        metrics.lift_score(*arguments, **options)


@hypothesis.given(
    size=st.integers(1, 60), weighted=st.booleans(), seed=st.integers(0, 2**32 - 1), distinct=st.integers(1, 60)
)
def test_lift_curve_is_the_twin(size, weighted, seed, distinct):
    rng = np.random.default_rng(seed)
    y_true, score = rng.integers(0, 2, size), rng.integers(0, distinct, size) / 7
    y_true[0] = 1
    weights = rng.uniform(0.1, 2, size) * rng.integers(0, 2, size) if weighted else None
    if weighted:
        weights[0] = 1.0
    got = metrics.lift_curve(y_true, score, sample_weight=weights)
    for mine, other in zip(got, reference.lift_curve(y_true, score, sample_weight=weights)):
        np.testing.assert_allclose(mine, other, rtol=1e-12)
    assert got[0][-1] == got[1][-1] == 1.0


def test_lift_curve_times_fraction_is_recall(rng):
    y_true, score = rng.integers(0, 2, 500), rng.integers(0, 90, 500)
    fraction, lift, thresholds = metrics.lift_curve(y_true, score)
    _, recall, same = roc_curve(y_true, score, drop_intermediate=False)
    np.testing.assert_allclose(lift * fraction, recall[1:], rtol=1e-12)
    np.testing.assert_array_equal(thresholds, same[1:])
    for threshold in (thresholds[0], thresholds[40]):  # and each point is the score of that threshold
        at = np.flatnonzero(thresholds == threshold)[0]
        assert lift[at] == pytest.approx(metrics.lift_score(y_true, score >= threshold), rel=1e-13)


def test_lift_curve_takes_labels_of_any_kind(rng):
    y_true, score = rng.integers(0, 2, 50), rng.uniform(0, 1, 50)
    expected = metrics.lift_curve(y_true, score)
    for labels, pos_label in ((y_true.tolist(), None), (y_true * 2 - 1, None), (np.array(["n", "p"])[y_true], "p")):
        for mine, other in zip(metrics.lift_curve(labels, score, pos_label=pos_label), expected):
            np.testing.assert_array_equal(mine, other)


def test_lift_curve_without_positives_is_nan():
    with pytest.warns(metrics.UndefinedMetricWarning, match="No positive samples") as caught:
        fraction, lift, _ = metrics.lift_curve([0, 0, 0], [1.0, 2.0, 2.0])
    assert caught[0].filename == __file__
    np.testing.assert_allclose(fraction, [2 / 3, 1])
    assert np.isnan(lift).all()


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([0, 1, 2], [1, 2, 3]), {}, "multiclass format is not supported"),
        (([0, 2], [1, 2]), {}, "pos_label is not specified"),
        (([0, 1], [1, np.nan]), {}, "Input y_score contains NaN"),
        (([0, 1], [1, 2, 3]), {}, "inconsistent numbers"),
        (([0, 1], [1, 2]), {"sample_weight": [1, -1]}, "Negative values"),
        (([0, 1], [1, 2]), {"pos_label": [1]}, "'pos_label' parameter of lift_curve"),
    ],
)
def test_lift_curve_wrong_arguments_raise(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        metrics.lift_curve(*arguments, **options)
