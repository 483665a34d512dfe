"""Precision over recall against scikit-learn and the twin."""

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st

from fastcore.metrics import average_precision_score, precision_recall_curve
from fastcore.metrics.kernels import ranking_curves
from fastcore.reference import metrics_ranking as reference
from tests.metrics.ranking_cases import CONTAINERS, WEIGHTS, assert_same, cases, contained
from tests.metrics.test_roc import AVERAGES, inputs_of


@given(cases, st.booleans())
def test_precision_recall_curve_matches_scikit_learn(case, drop):
    y, scores, options, pos_label = inputs_of(case)
    drop = drop and case["weights"] not in ("floats", "float32")
    options |= {"pos_label": pos_label, "drop_intermediate": drop}
    assert_same(precision_recall_curve, theirs.precision_recall_curve, y, scores, **options)


@given(cases)
def test_average_precision_score_of_two_classes_matches_scikit_learn(case):
    y, scores, options, pos_label = inputs_of(case)
    options |= {} if pos_label is None else {"pos_label": pos_label}
    assert_same(average_precision_score, theirs.average_precision_score, y, scores, **options)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((2, 3, 9)),
    st.sampled_from((1, 10, 100)),
    st.sampled_from(AVERAGES),
    st.sampled_from(("none", "floats", "integers")),
    st.booleans(),
)
def test_average_precision_score_of_indicators_and_classes_matches_scikit_learn(
    seed, labels, size, average, weights, is_indicator
):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random((size, labels)), 1)
    y = rng.integers(0, 2, (size, labels)) if is_indicator else rng.integers(0, labels, size)
    weights = WEIGHTS[weights](rng, size)
    options = {"average": average} | ({} if weights is None else {"sample_weight": weights})
    assert_same(average_precision_score, theirs.average_precision_score, y, scores, **options)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("size", [10, ranking_curves.FEW, ranking_curves.FEW + 1, 1000])
def test_average_precision_score_of_any_container_is_bitwise_the_same(rng, container, size):
    y, scores = rng.integers(0, 2, size), np.round(rng.random(size), 2)
    expected = average_precision_score(y, scores)
    assert average_precision_score(contained(y, container), contained(scores, container)) == expected
    assert average_precision_score(y.astype(np.uint8), scores) == expected


def test_average_precision_score_of_a_million(rng):
    y, scores = rng.integers(0, 2, 1_000_000), rng.random(1_000_000)
    found = average_precision_score(y, scores)
    assert found == pytest.approx(theirs.average_precision_score(y, scores), abs=1e-12)


def test_average_precision_score_without_positives_warns_and_is_zero():
    with pytest.warns(UserWarning, match="No positive class found in y_true"):
        assert average_precision_score(np.zeros(4, int), np.arange(4.0)) == 0.0


def test_precision_recall_curve_keeps_the_dtype_of_scores():
    for dtype in ("f2", "f4", "f8", "i1", "u8", "?"):
        scores = np.array([0, 1, 1, 0]).astype(dtype)
        assert precision_recall_curve([0, 1, 0, 1], scores)[2].dtype == scores.dtype


@pytest.mark.parametrize("weighted", [False, True])
def test_precision_recall_matches_its_twin(rng, weighted):
    y, scores = rng.integers(0, 2, 500).astype(np.uint8), np.round(rng.random(500), 2)
    weights = rng.integers(1, 4, 500).astype(float) if weighted else None
    found = average_precision_score(y, scores, sample_weight=weights)
    assert found == pytest.approx(reference.average_precision_score(y, scores, weights), abs=1e-15)
    curve = precision_recall_curve(y, scores, sample_weight=weights)
    for mine, plain in zip(curve, reference.precision_recall_curve(y, scores, weights), strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-15)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"average": "mean"}, "The 'average' parameter of average_precision_score must be"),
        ({"pos_label": None}, "The 'pos_label' parameter of average_precision_score must be"),
        ({"pos_label": 2}, "pos_label=2 is not a valid label. It should be one of"),
        ({"sample_weight": [0.0, 0.0, 0.0]}, "Sample weights must contain at least one non-zero number"),
    ],
)
def test_average_precision_score_wrong_option_raises(options, message):
    with pytest.raises(ValueError, match=message):
        average_precision_score(np.array([0, 1, 0]), np.array([0.1, 0.2, 0.3]), **options)
