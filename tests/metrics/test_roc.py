"""ROC curves and areas against scikit-learn and the twin."""

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore.metrics import auc, roc_auc_score, roc_curve
from fastcore.metrics.warning import UndefinedMetricWarning
from fastcore.reference import metrics_ranking as reference
from tests.metrics.ranking_cases import CONTAINERS, LABELS, WEIGHTS, assert_same, cases, contained, outcome, scores_of

AVERAGES = ("macro", "weighted", "micro", "samples", None)


def inputs_of(case):
    """Labels, scores, options: weights and pos_label."""
    rng = np.random.default_rng(case["seed"])
    make, pos_label = LABELS[case["labels"]]
    y = make(rng.integers(0, 2, case["size"]))
    weights = WEIGHTS[case["weights"]](rng, case["size"])
    y, scores, weights = (
        contained(*pair) for pair in zip((y, scores_of(rng, case), weights), case["containers"], strict=True)
    )
    return y, scores, {"sample_weight": weights} if weights is not None else {}, pos_label


@given(cases, st.sampled_from((None, 1.0, 0.5, 0.1, 0.001, 0, 1.5)))
def test_roc_auc_score_of_two_classes_matches_scikit_learn(case, max_fpr):
    y, scores, options, _ = inputs_of(case)
    assert_same(roc_auc_score, theirs.roc_auc_score, y, scores, max_fpr=max_fpr, **options)


@given(cases, st.booleans())
def test_roc_curve_matches_scikit_learn(case, drop):
    y, scores, options, pos_label = inputs_of(case)
    drop = drop and case["weights"] not in ("floats", "float32")  # rounding decides which points lie in line
    assert_same(roc_curve, theirs.roc_curve, y, scores, pos_label=pos_label, drop_intermediate=drop, **options)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("size", [10, 100])
def test_roc_auc_score_of_any_container_is_bitwise_the_same(rng, container, size):
    y, scores = rng.integers(0, 2, size), rng.random(size)
    assert roc_auc_score(contained(y, container), contained(scores, container)) == roc_auc_score(y, scores)


@pytest.mark.parametrize(
    "dtype", ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "g", ">i4", ">f8"]
)
def test_roc_auc_score_of_any_dtype(rng, dtype):
    y, scores = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    expected = theirs.roc_auc_score(y, scores)
    assert roc_auc_score(y.astype(dtype), scores) == pytest.approx(expected, abs=1e-15)
    assert roc_auc_score(y, scores.astype(dtype)) == pytest.approx(expected, abs=1e-15)


def test_roc_auc_score_of_integers_beyond_2_53_is_exact():
    scores = np.array([2**53, 2**53 + 1, 2**53 + 2, 2**53 + 3])
    assert roc_auc_score([0, 1, 0, 1], scores) == 0.75
    assert roc_auc_score([0, 1, 0, 1], scores.astype(np.uint64) + 2**63) == 0.75


def test_roc_auc_score_signed_zeros_tie():
    assert roc_auc_score(np.array([0, 1]), np.array([0.0, -0.0])) == 0.5
    assert roc_auc_score(np.array([0, 1]), np.array([-0.0, 0.0])) == 0.5


@pytest.mark.parametrize("weights", [None, "floats"])
def test_roc_auc_score_of_a_million(rng, weights):
    y, scores = rng.integers(0, 2, 1_000_000), np.round(rng.random(1_000_000), 5)
    weights = None if weights is None else rng.random(len(y))
    expected = theirs.roc_auc_score(y, scores, sample_weight=weights)
    assert roc_auc_score(y, scores, sample_weight=weights) == pytest.approx(expected, abs=1e-12)
    with fastcore.num_threads(1):
        alone = roc_auc_score(y, scores, sample_weight=weights)
    assert alone == roc_auc_score(y, scores, sample_weight=weights)


# --- several classes, and indicators ----------------------------------------------------------------------------------


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((3, 4, 11)),
    st.sampled_from((12, 50, 300)),
    st.sampled_from(("ovr", "ovo", "raise")),
    st.sampled_from(AVERAGES),
    st.sampled_from(("int", "str", "float")),
    st.sampled_from(("none", "floats", "some_zero")),
    st.sampled_from(("none", "given", "more", "unordered", "double")),
)
def test_roc_auc_score_of_several_classes_matches_scikit_learn(
    seed, classes, size, multi_class, average, kind, weights, labels
):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, size)
    scores = rng.dirichlet(np.ones(classes), size).astype(rng.choice(["f4", "f8"]))
    names = {"int": np.arange(classes) * 3 - 1, "str": np.array(list("abcdefghijk")), "float": np.arange(classes) * 2.0}
    names = names[kind][:classes]
    if labels == "more":
        y[y == 1] = 0
    given = {"none": None, "unordered": names[::-1].copy(), "double": names[[0, 0, *range(2, classes)]]}.get(
        labels, names
    )
    options = {"multi_class": multi_class, "average": average, "labels": given}
    weights = WEIGHTS[weights](rng, size)
    options |= {} if weights is None else {"sample_weight": weights}
    assert_same(roc_auc_score, theirs.roc_auc_score, names[y], scores, **options)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((2, 3, 9)),
    st.sampled_from((2, 10, 100)),
    st.sampled_from(AVERAGES),
    st.sampled_from(("none", "floats", "integers")),
    st.sampled_from((None, 0.3)),
)
def test_roc_auc_score_of_indicators_matches_scikit_learn(seed, labels, size, average, weights, max_fpr):
    rng = np.random.default_rng(seed)
    y, scores = rng.integers(0, 2, (size, labels)), np.round(rng.random((size, labels)), 1)
    options = {"average": average, "max_fpr": max_fpr}
    weights = WEIGHTS[weights](rng, size)
    options |= {} if weights is None else {"sample_weight": weights}
    assert_same(roc_auc_score, theirs.roc_auc_score, y, scores, **options)


@pytest.mark.parametrize("order", ["C", "F"])
def test_roc_auc_score_of_many_rows_and_classes(rng, order):
    y = rng.integers(0, 10, 20_000)
    scores = rng.dirichlet(np.ones(10), len(y))
    expected = theirs.roc_auc_score(y, scores, multi_class="ovr", average=None)
    found = roc_auc_score(y, np.asarray(scores, order=order), multi_class="ovr", average=None)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# --- what is undefined, and errors ------------------------------------------------------------------------------------


def test_roc_auc_score_of_one_class_warns_and_is_nan():
    with pytest.warns(UndefinedMetricWarning, match="Only one class is present in y_true. ROC AUC score"):
        assert np.isnan(roc_auc_score(np.zeros(5, int), np.arange(5.0)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "function", ["roc_auc_score", "roc_curve", "precision_recall_curve", "average_precision_score"]
)
def test_scores_that_are_not_finite_raise(function, bad):
    scores = np.array([0.1, bad, 0.3, 0.2])
    with pytest.raises(ValueError, match=r"Input.*contains"):
        getattr(fastcore.metrics, function)(np.array([0, 1, 1, 0]), scores)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"average": "mean"}, "The 'average' parameter of roc_auc_score must be"),
        ({"max_fpr": 0}, "The 'max_fpr' parameter of roc_auc_score must be"),
        ({"max_fpr": "1"}, "The 'max_fpr' parameter of roc_auc_score must be"),
        ({"multi_class": "all"}, "The 'multi_class' parameter of roc_auc_score must be"),
        ({"sample_weight": 1.0}, "The 'sample_weight' parameter of roc_auc_score must be"),
        ({"sample_weight": [1.0, 2.0]}, "Found input variables with inconsistent numbers of samples"),
        ({"labels": 3}, "The 'labels' parameter of roc_auc_score must be"),
    ],
)
def test_roc_auc_score_wrong_option_raises(options, message):
    with pytest.raises(ValueError, match=message):
        roc_auc_score(np.array([0, 1, 0]), np.array([0.1, 0.2, 0.3]), **options)


def test_roc_auc_score_sparse_raises():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed"):
        roc_auc_score(np.array([0, 1]), sparse.csr_array(np.eye(2)))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), max_size=20), st.sampled_from((1, -1, 0)))
def test_auc_matches_scikit_learn(points, direction):
    x, y = np.array(points).reshape(-1, 2).T
    x = np.sort(x)[::direction] if direction else x
    assert_same(auc, theirs.auc, x, y)
    assert_same(auc, theirs.auc, x.tolist(), y[:-1].tolist())


def test_auc_of_integers_that_fall():
    assert auc(np.array([3, 1, 0], np.uint8), [1, 1, 2]) == theirs.auc(np.array([3, 1, 0]), [1, 1, 2])


@pytest.mark.parametrize("weighted", [False, True])
def test_roc_matches_its_twin(rng, weighted):
    y, scores = rng.integers(0, 2, 500).astype(np.uint8), np.round(rng.random(500), 2)
    weights = rng.integers(1, 4, 500).astype(float) if weighted else None
    assert roc_auc_score(y, scores, sample_weight=weights) == pytest.approx(reference.roc_auc_score(y, scores, weights))
    for mine, plain in zip(
        roc_curve(y, scores, sample_weight=weights), reference.roc_curve(y, scores, weights), strict=True
    ):
        np.testing.assert_allclose(mine, plain, rtol=1e-15)


def test_roc_inputs_are_not_written(rng):
    y, scores, weights = rng.integers(0, 2, 300), rng.random(300), rng.random(300)
    before = [x.copy() for x in (y, scores, weights)]
    outcome(roc_auc_score, y, scores, sample_weight=weights, max_fpr=0.2)
    outcome(roc_curve, y, scores, sample_weight=weights)
    for x, same in zip((y, scores, weights), before, strict=True):
        np.testing.assert_array_equal(x, same)


@pytest.mark.parametrize("size", [300, 60_000])
@pytest.mark.parametrize("dtype", [">i8", "<i8", "u8", ">i4"])
def test_roc_labels_of_either_byte_order(rng, dtype, size):
    y, scores = rng.integers(0, 2, size), rng.random(size)
    assert roc_auc_score(y.astype(dtype), scores.astype(">f8")) == roc_auc_score(y, scores)
    assert roc_auc_score(y.astype(dtype), scores) == roc_auc_score(y, scores)


@pytest.mark.parametrize("scale", [1e-300, 1e-162, 1e160, 1e300])
@pytest.mark.parametrize("size", [50, 40_000])
def test_roc_auc_score_weights_of_any_magnitude(rng, size, scale):
    y, score, weights = rng.integers(0, 2, size), rng.random(size), rng.random(size)
    got = roc_auc_score(y, score, sample_weight=weights * scale)
    assert got == pytest.approx(roc_auc_score(y, score, sample_weight=weights), rel=1e-12)
