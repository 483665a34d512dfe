"""The rows of docs/metrics.md that say what scikit-learn does and what fastcore does instead."""

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as theirs
from scipy import sparse
from sklearn.metrics import cluster

from fastcore import metrics as ours

NAN = np.nan
POINTS = np.array([[0.0, 0.0], [0.5, 0.25], [1.0, 0.5], [2.0, 2.5], [2.5, 2.0], [3.0, 4.0]])
CLUSTERS = [0, 0, 1, 1, 0, 1]

DIFFERENT: dict[str, Callable] = {}
ELSEWHERE = {  # row -> file::test, where it takes more than a few lines
    "2**31 rows and more": "test_regression.py::test_more_rows_than_int32_counts",
    "2**31 labels and more": "test_binary_counts.py::test_count_beyond_2_to_the_31_labels_does_not_overflow",
    "float32 R² of 2e7 rows around 1000": "test_regression.py::test_r2_of_float32_far_from_zero_is_right",
    "targets of 1e8 with a spread of 1e-6": "test_regression.py::test_r2_of_nearly_constant_targets_is_right",
    "up to 128 rows, squared and absolute errors": (
        "test_regression.py::test_errors_of_few_rows_are_scikit_learns_to_the_bit"
    ),
    "log loss of nearly right predictions": "test_probability.py::test_log_loss_of_good_predictions_keeps_its_digits",
    "expected mutual information": "test_expected_mutual_information.py::test_expected_mutual_information_is_exact",
    "tens of thousands of clusters a side": (
        "test_clustering_inputs.py::test_contingency_matrix_of_tens_of_thousands_of_clusters_is_sparse"
    ),
    "outcomes far from zero, 1e12 + noise": "test_treatment_effect.py::test_effect_far_from_zero_keeps_its_digits",
    "outcomes around 1e200": "test_treatment_effect.py::test_effect_squares_beyond_float64",
    "a group of one row, or one pair": "test_treatment_effect.py::test_effect_group_of_one_row_has_no_interval",
}


def row(words):
    def add(check):
        DIFFERENT[words] = check
        return check

    return add


def raises(kind, match, function, *arguments, **options):
    with pytest.raises(kind, match=match):
        function(*arguments, **options)


def undefined(function, *arguments, **options):
    with pytest.warns(ours.UndefinedMetricWarning):
        return function(*arguments, **options)


# --- labels ---------------------------------------------------------------------------------------------------------


@row("weights that sum to 0, some negative")
def _():
    for name in ("accuracy_score", "log_loss", "mean_squared_error"):
        arguments = ([0, 1], [0.0, 1.0] if name != "accuracy_score" else [0, 1])
        raises(ZeroDivisionError, "sum to zero", getattr(theirs, name), *arguments, sample_weight=[1, -1])
        raises(ZeroDivisionError, "sum to zero", getattr(ours, name), *arguments, sample_weight=[1, -1])
    raises(ValueError, "sum to zero", ours.log_loss, [0, 1], [0.0, 1.0], sample_weight=[1, -1])


@row('labels=["1"] of integer targets')
def _():
    assert theirs.precision_score([1, 2], [1, 1], labels=["1"], average="macro") == 0.5
    raises(ValueError, "Mix of label", ours.precision_score, [1, 2], [1, 1], labels=["1"], average="macro")


@row("stored zeros of sparse indicators")
def _():
    stored = sparse.csr_matrix(np.array([[1, 1], [1, 0]]))
    stored.data[0] = 0
    pred = sparse.csr_matrix([[0, 1], [1, 0]])
    assert (stored.toarray() == pred.toarray()).all()
    assert theirs.recall_score(stored, pred, average="macro") == 0.75
    assert ours.recall_score(stored, pred, average="macro") == 1.0


@row("masked arrays")
def _():
    masked, plain = np.ma.array([0, 1], mask=[0, 1]), np.ma.array([0, 1])
    raises(TypeError, "unhashable", theirs.f1_score, masked, [0, 1])
    assert theirs.f1_score(plain, [0, 1]) == 1.0
    for y in (masked, plain):
        raises(TypeError, "compressed", ours.f1_score, y, [0, 1])


@row("None or NaN among strings")
def _():
    for odd in (None, NAN):
        y, pred = np.array(["a", odd], object), np.array(["a", "a"], object)
        raises(TypeError, "not supported between", theirs.f1_score, y, pred, average="macro")
        raises(TypeError, "must be of one kind that can be sorted", ours.f1_score, y, pred, average="macro")


@row("no predicted, or no true positives: lift")
def _():
    for y, pred in (([0, 1], [0, 0]), ([0, 0], [0, 1])):
        assert undefined(ours.lift_score, y, pred) == 0.0
        assert ours.lift_score(y, pred, zero_division=1) == 1.0


@row("equal scores: lift curve")
def _():
    fraction, lift, thresholds = ours.lift_curve([0, 1, 1], [0.5, 0.5, 0.2])
    assert (fraction[0], lift[0], list(thresholds)) == (2 / 3, 0.75, [0.5, 0.2])


# --- scores ---------------------------------------------------------------------------------------------------------


@row("NaN or infinity among scores or targets")
def _():
    for odd in (NAN, np.inf):
        for name in ("roc_auc_score", "mean_squared_error"):
            data = ([0, 1], [odd, 1.0]) if name == "roc_auc_score" else ([odd, 1.0], [0, 1])
            raises(ValueError, "Input contains", getattr(theirs, name), *data)
            raises(ValueError, "Input y_(score|true) contains", getattr(ours, name), *data)


@row("float32 probabilities")
def _():
    y, p = np.zeros(1000, int), np.full(1000, 0.1, np.float32)
    right = -np.log(float(np.float32(1) - p[0]))  # 1 - p is rounded to float32 in both
    assert abs(ours.log_loss(y, p, labels=[0, 1]) / right - 1) < 1e-14
    assert abs(theirs.log_loss(y, p, labels=[0, 1]) / right - 1) > 1e-9


@row("float32 probabilities of the other byte order")
def _():
    y, native = [0, 1], np.array([0, 1], "=f4")
    swapped = native.astype(native.dtype.newbyteorder())
    assert theirs.log_loss(y, native) > 1e8 * theirs.log_loss(y, swapped)
    assert ours.log_loss(y, native) == ours.log_loss(y, swapped)


@row("scores of another shape than the indicators")
def _():
    y = np.array([[1, 0], [0, 1]])
    raises(IndexError, "out of bounds", theirs.roc_auc_score, y, np.ones((2, 3)))
    assert theirs.roc_auc_score(y, np.array([[0.1], [0.2]])) == 0.0
    for columns in (1, 3):
        raises(ValueError, "must have the shape of y_true", ours.roc_auc_score, y, np.ones((2, columns)))


@row("average precision of several classes, scores in lists")
def _():
    y, scores = [0, 1, 2], [[0.5, 0.2, 0.3], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]]
    raises(AttributeError, "shape", theirs.average_precision_score, y, scores)
    assert ours.average_precision_score(y, scores) == 1.0


@row("one-vs-one area: type of the result")
def _():
    y, scores = [0, 1, 2], [[0.5, 0.2, 0.3], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]]
    results = [library.roc_auc_score(y, scores, multi_class="ovo") for library in (theirs, ours)]
    assert [type(result) for result in results] == [np.float64, float]
    assert results[0] == results[1]


# --- regression -----------------------------------------------------------------------------------------------------


@row("float32 targets")
def _():
    y, p = np.random.default_rng(0).random((2, 200_000, 3), np.float32) + np.float32(1000)
    right = np.square(y.astype(float) - p).mean()
    assert abs(theirs.mean_squared_error(y, p) / right - 1) > 1e-5
    assert abs(ours.mean_squared_error(y, p) / right - 1) < 1e-12
    assert ours.mean_squared_error(y, p, multioutput="raw_values").dtype == np.float32


@row("float16 targets")
def _():
    y, p = (np.random.default_rng(0).random((2, 1000)) * 100).astype(np.float16)
    with np.errstate(all="ignore"):
        assert np.isnan(theirs.r2_score(y, p))
    assert abs(ours.r2_score(y, p) - theirs.r2_score(y.astype(float), p.astype(float))) < 1e-12


@row("constant targets, wrong predictions: R², explained variance")
def _():
    for name in ("r2_score", "explained_variance_score"):
        their, our = getattr(theirs, name), getattr(ours, name)
        assert their([2.0, 2.0], [1.0, 2.0]) == our([2.0, 2.0], [1.0, 2.0]) == 0.0
        assert their([0.1] * 3, [0.2, 0.3, 0.2]) < -1e30
        assert our([0.1] * 3, [0.2, 0.3, 0.2]) == 0.0


@row("target of 0 in float16, mean absolute percentage error")
def _():
    y, p = np.array([0, 1], np.float16), np.array([1, 1], np.float16)
    with np.errstate(all="ignore"):
        assert np.isinf(theirs.mean_absolute_percentage_error(y, p))
    assert ours.mean_absolute_percentage_error(y, p) == 2.0**51


@row("target of 0, mean_percentage_error")
def _():
    raises(ValueError, "zero_target", ours.mean_percentage_error, [0.0, 2], [1.0, 1])
    found = [ours.mean_percentage_error([0.0, 2], [1.0, 1], zero_target=x) for x in ("skip", "epsilon", "nan")]
    assert found[:2] == [0.5, (0.5 - 2.0**52) / 2]
    assert np.isnan(found[2])
    assert np.isnan(undefined(ours.mean_percentage_error, [0.0], [1.0], zero_target="skip"))


@row("unsigned integers, 1 against 2: max_error")
def _():
    y, p = np.array([1], np.uint8), np.array([2], np.uint8)
    assert (theirs.max_error(y, p), ours.max_error(y, p)) == (255.0, 1.0)


@row("bools: max_error, median_absolute_error")
def _():
    y, p = np.array([True, False]), np.array([True, True])
    raises(TypeError, "boolean subtract", theirs.max_error, y, p)
    assert (ours.max_error(y, p), ours.median_absolute_error(y, p)) == (1.0, 0.5)


@row("int64 differences beyond int64: max_error")
def _():
    y, p = [-(2**63)], [2**62]
    assert theirs.max_error(y, p) == 2.0**62
    assert ours.max_error(y, p) == 3 * 2.0**62


# --- clusterings ----------------------------------------------------------------------------------------------------


@row("equal clusterings, refinements")
def _():
    rng = np.random.default_rng(0)
    pairs = [(x, 10 * x + rng.integers(0, 3, 50)) for x in rng.integers(0, 7, (100, 50))]
    assert any(theirs.homogeneity_score(*pair) != 1 for pair in pairs)
    assert all(ours.homogeneity_score(*pair) == 1 for pair in pairs)
    for name in ("adjusted_mutual_info_score", "normalized_mutual_info_score", "v_measure_score"):
        assert all(getattr(ours, name)(x, x + 1) == 1 for x, _ in pairs)


@row("each sample a cluster of its own")
def _():
    n = np.arange(20)
    found = [library.adjusted_mutual_info_score(n, n // 2) for library in (theirs, ours)]
    assert 1e-14 < abs(found[0]) < 1e-12
    assert abs(found[1]) < 1e-14


@row("mutual information of no labels, or of empty cells alone")
def _():
    none = np.zeros((2, 2))
    raises(ValueError, "math domain error", theirs.mutual_info_score, [], [])
    raises(ValueError, "math domain error", theirs.mutual_info_score, None, None, contingency=none)
    assert ours.mutual_info_score([], []) == ours.mutual_info_score(None, None, contingency=none) == 0.0


@row("v_measure_score, beta=0, one class and two clusters")
def _():
    raises(ZeroDivisionError, "division by zero", theirs.v_measure_score, [0, 0], [0, 1], beta=0)
    assert ours.v_measure_score([0, 0], [0, 1], beta=0) == 0.0


@row("expected_mutual_information: too few samples, negative sums")
def _():
    for cells, samples in (([[3, 2], [1, 4]], 4), ([[3, -4], [1, 4]], 10)):
        table = np.array(cells)
        with np.errstate(all="ignore"):
            assert np.isfinite(cluster.expected_mutual_information(table, samples))
        raises(ValueError, "n_samples must|must hold counts", ours.expected_mutual_information, table, samples)


@row("entropy of NaN labels")
def _():
    with pytest.warns(FutureWarning):
        assert cluster.entropy([0.0, NAN, NAN]) == pytest.approx(np.log(3))
    raises(ValueError, "NaN", ours.entropy, [0.0, NAN, NAN])


# --- silhouettes ----------------------------------------------------------------------------------------------------


@row("points far from the origin, 2**27")
def _():
    right = theirs.silhouette_score(POINTS, CLUSTERS)
    assert abs(theirs.silhouette_score(POINTS + 2.0**27, CLUSTERS) - right) > 1e-3
    assert abs(ours.silhouette_score(POINTS + 2.0**27, CLUSTERS) - right) < 1e-12


@row("points of 1e200 or 1e-200")
def _():
    right = theirs.silhouette_score(POINTS, CLUSTERS)
    for scale in (1e200, 1e-200):
        with np.errstate(all="ignore"):
            assert theirs.silhouette_score(POINTS * scale, CLUSTERS) == 0.0
        assert abs(ours.silhouette_score(POINTS * scale, CLUSTERS) - right) < 1e-12


@row("float32 points")
def _():
    points = (POINTS + 1000).astype(np.float32)
    right = ours.silhouette_score(points.astype(float), CLUSTERS)
    assert ours.silhouette_score(points, CLUSTERS) == right
    assert ours.silhouette_samples(points, CLUSTERS).dtype == np.float32
    assert ours.silhouette_samples(points, CLUSTERS, metric="manhattan").dtype == np.float64


@row("sparse points, squared Euclidean")
def _():
    points = sparse.csr_matrix(POINTS)
    raises(TypeError, "sparse", theirs.silhouette_score, points, CLUSTERS, metric="sqeuclidean")
    dense = theirs.silhouette_score(POINTS, CLUSTERS, metric="sqeuclidean")
    assert abs(ours.silhouette_score(points, CLUSTERS, metric="sqeuclidean") - dense) < 1e-12


@row("sample_size=True")
def _():
    raises(ValueError, "Number of labels is 1", theirs.silhouette_score, POINTS, CLUSTERS, sample_size=True)
    raises(ValueError, "sample_size", ours.silhouette_score, POINTS, CLUSTERS, sample_size=True)


@row("squared=True with the Euclidean metric")
def _():
    assert theirs.silhouette_score(POINTS, CLUSTERS, squared=True) == pytest.approx(
        theirs.silhouette_score(POINTS, CLUSTERS, metric="sqeuclidean")
    )
    raises(TypeError, "squared", ours.silhouette_score, POINTS, CLUSTERS, squared=True)
