"""Silhouettes against scikit-learn and the plain twin."""

import os
import subprocess
import sys

import hypothesis
import numpy as np
import pytest
import scipy.sparse
from hypothesis import strategies as st
from sklearn import metrics as theirs

import fastcore
from fastcore.metrics import silhouette_samples, silhouette_score
from fastcore.reference import metrics_silhouette as reference

METRICS = ["euclidean", "sqeuclidean", "manhattan", "cosine"]
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def blobs(rng, points, size, clusters):
    """Points around centres, and labels that are not sorted."""
    labels = rng.integers(0, clusters, points)
    return rng.standard_normal((points, size)) + rng.normal(0, 2, (clusters, size))[labels], labels


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "points, size, clusters",
    [(3, 1, 2), (10, 2, 3), (65, 3, 2), (200, 1, 60), (300, 16, 8), (700, 5, 300), (1000, 17, 5), (530, 130, 4)],
)
def test_silhouette_matches_scikit_learn(metric, points, size, clusters, rng):
    x, labels = blobs(rng, points, size, clusters)
    labels[:3] = 0, 1, 0
    expected = theirs.silhouette_samples(x, labels, metric=metric)
    np.testing.assert_allclose(silhouette_samples(x, labels, metric=metric), expected, **TOLERANCE)
    score = silhouette_score(x, labels, metric=metric)
    assert type(score) is float
    assert score == pytest.approx(expected.mean(), abs=1e-10)


def test_silhouette_of_thousands_matches_scikit_learn(rng):
    x, labels = blobs(rng, 5000, 3, 9)
    expected = theirs.silhouette_samples(x, labels)
    np.testing.assert_allclose(silhouette_samples(x, labels), expected, **TOLERANCE)


@hypothesis.given(data=st.data(), metric=st.sampled_from(METRICS[:3]))
def test_silhouette_agrees_with_the_twin_and_scikit_learn(data, metric):
    points = data.draw(st.integers(3, 40))
    size = data.draw(st.integers(1, 5))
    values = st.integers(-3, 3) if data.draw(st.booleans()) else st.floats(-1e3, 1e3, width=32)
    x = np.array(data.draw(st.lists(st.lists(values, min_size=size, max_size=size), min_size=points, max_size=points)))
    clusters = data.draw(st.integers(2, points - 1))
    labels = np.array(data.draw(st.lists(st.integers(0, clusters - 1), min_size=points, max_size=points)))
    if not 1 < len(set(labels)) < points:
        with pytest.raises(ValueError, match=f"Number of labels is {len(set(labels))}"):
            silhouette_samples(x, labels, metric=metric)
        return
    got = silhouette_samples(x, labels, metric=metric)
    np.testing.assert_allclose(got, reference.silhouette_samples(x, labels, metric=metric), atol=1e-6)
    if metric != "euclidean":  # scikit-learn's cancels
        np.testing.assert_allclose(got, theirs.silhouette_samples(x, labels, metric=metric), **TOLERANCE)


def test_silhouette_far_from_the_origin_is_right(rng):
    """1e8 away all squares of points agree in 16 digits: scikit-learn's score is 1.0, or anything."""
    near = rng.integers(0, 64, (400, 2)) / 64.0 + np.repeat([[0.0, 0.0], [3.0, 1.0]], 200, axis=0)
    labels = np.repeat([0, 1], 200)
    right = theirs.silhouette_score(near, labels)
    far = near + 2.0**27  # exact: the grid is of 2**-6
    assert silhouette_score(far, labels) == pytest.approx(right, abs=1e-12)
    assert abs(theirs.silhouette_score(far, labels) - right) > 1e-3
    assert silhouette_score(near.astype(np.float32) + np.float32(2.0**17), labels) == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e200, 2.0**-1060])
@pytest.mark.parametrize("metric", METRICS[:3])
def test_silhouette_has_no_unit(scale, metric, rng):
    x, labels = blobs(rng, 50, 3, 3)
    x = np.round(x * 64)
    np.testing.assert_allclose(
        silhouette_samples(x * scale, labels, metric=metric), silhouette_samples(x, labels, metric=metric), atol=1e-12
    )


@pytest.mark.parametrize("metric", [*METRICS, "precomputed"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, bool, object, ">f8"])
def test_silhouette_dtypes_are_scikit_learns(metric, dtype, rng):
    x = rng.integers(0, 4, (40, 5))
    if metric == "precomputed":
        x = np.abs(x[:, None] - x[None]).sum(axis=2)
    labels = rng.integers(0, 3, 40)
    x = x.astype(dtype)
    expected = theirs.silhouette_samples(x, labels, metric=metric)
    got = silhouette_samples(x, labels, metric=metric)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, atol=1e-5 if expected.dtype == np.float32 else 1e-10)


def test_silhouette_of_float32_sums_in_float64(rng):
    x, labels = blobs(rng, 600, 4, 3)
    x = x.astype(np.float32)
    score = silhouette_score(x, labels)
    assert score == pytest.approx(reference.silhouette_score(x, labels), abs=1e-12)


@pytest.mark.parametrize("points", [40, 600, 4200])
def test_silhouette_does_not_depend_on_threads(points, rng):
    for clusters in (3, points // 3):
        x, labels = blobs(rng, points, 3, clusters)
        expected = silhouette_samples(x, labels)
        with fastcore.num_threads(1):
            np.testing.assert_array_equal(silhouette_samples(x, labels), expected)


@pytest.mark.parametrize("points", [50, 150])
def test_silhouette_containers_give_the_same_bits(points, rng):
    pandas = pytest.importorskip("pandas")
    x, labels = blobs(rng, points, 3, 3)
    expected = silhouette_samples(x, labels)
    wide = np.zeros((2 * points, 6))
    wide[::2, ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for same in (x.tolist(), np.asfortranarray(x), wide[::2, ::2], frozen, pandas.DataFrame(x)):
        np.testing.assert_array_equal(silhouette_samples(same, labels), expected)
    names = np.array(["a", "b", "c"])[labels]
    for kind in (
        labels.tolist(),
        labels.astype(np.int8),
        labels.astype(np.uint64) + 2**63,
        labels * 10**15,
        labels - 7.5,
        names,
        names.astype(object),
        pandas.Series(names),
        pandas.Series(names, dtype="category"),
        np.array([None, "a", "b"])[labels],
    ):
        np.testing.assert_allclose(silhouette_samples(x, kind), expected, rtol=1e-13)


def test_silhouette_of_bool_labels_matches(rng):
    x, labels = blobs(rng, 50, 3, 2)
    np.testing.assert_array_equal(silhouette_samples(x, labels == 1), silhouette_samples(x, labels))


def test_silhouette_of_lonely_and_equal_points():
    x = np.array([[0.0], [1.0], [1.0], [2.0], [3.0], [3.0]])
    np.testing.assert_array_equal(silhouette_samples(x, [0, 1, 1, 1, 2, 2]), [0, 0.5, 0.5, 0, 1, 1])
    assert not silhouette_samples(np.ones((6, 2)), [0, 0, 1, 1, 2, 2]).any()


@pytest.mark.parametrize("zeros", [1, 7, 20])
@pytest.mark.parametrize("clusters", [2, 12])
def test_silhouette_of_zero_rows_by_cosine(zeros, clusters, rng):
    x, labels = blobs(rng, 60, 3, clusters)
    x[rng.permutation(60)[:zeros]] = 0.0
    x[labels == 1] = 0.0
    x[labels == 0] = x[labels == 0] * 1e-300 + 1e-300
    expected = theirs.silhouette_samples(x, labels, metric="cosine")
    np.testing.assert_allclose(silhouette_samples(x, labels, metric="cosine"), expected, **TOLERANCE)


@pytest.mark.parametrize("points", [2, 31, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_silhouette_of_given_distances(points, dtype, rng):
    x, labels = blobs(rng, points + 1, 3, 2)
    labels[:3] = 0, 1, 1
    apart = np.round(10 * reference.distances(x, "euclidean")).astype(dtype)
    expected = theirs.silhouette_samples(apart, labels, metric="precomputed")
    for given in (apart, np.asfortranarray(apart), np.repeat(apart, 2, axis=1)[:, ::2]):
        np.testing.assert_allclose(silhouette_samples(given, labels, metric="precomputed"), expected, atol=1e-6)
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_matrix, scipy.sparse.lil_matrix):
        got = silhouette_samples(kind(apart), labels, metric="precomputed")
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_silhouette_of_given_distances_refuses_what_is_none(rng):
    x, labels = blobs(rng, 20, 3, 2)
    apart = reference.distances(x, "euclidean")
    with pytest.raises(ValueError, match="contains non-zero elements on the diagonal"):
        silhouette_score(apart + 1, labels, metric="precomputed")
    negative = apart.copy()
    negative[2, 3] = -1
    for given in (negative, scipy.sparse.csr_matrix(negative)):
        with pytest.raises(ValueError, match="Negative values in data passed to `pairwise_distances`"):
            silhouette_score(given, labels, metric="precomputed")
    with pytest.raises(ValueError, match=r"shape \(n_queries, n_indexed\)\. Got \(20, 12\) for 20 indexed"):
        silhouette_score(apart[:, :12], labels, metric="precomputed")
    with pytest.raises(TypeError, match="unexpected keyword argument 'p'"):
        silhouette_score(apart, labels, metric="precomputed", p=3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("wide", [False, True])
def test_silhouette_of_sparse_points(metric, wide, rng, monkeypatch):
    if wide:
        monkeypatch.setattr("fastcore.metrics.silhouette._DENSE_BYTES", 0)
        monkeypatch.setattr("fastcore.metrics.silhouette_distances._BLOCK_BYTES", 8000)
    x = rng.standard_normal((90, 30)) * (rng.random((90, 30)) < 0.1)
    labels = rng.integers(0, 4, 90)
    expected = silhouette_samples(x, labels, metric=metric)
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.dok_matrix):
        np.testing.assert_allclose(silhouette_samples(kind(x), labels, metric=metric), expected, **TOLERANCE)
    assert silhouette_samples(scipy.sparse.csr_matrix(x.astype(np.float32)), labels).dtype == np.float32


OTHERS = {
    "chebyshev": {},
    "correlation": {},
    "canberra": {},
    "braycurtis": {},
    "hamming": {},
    "minkowski": {"p": 3},
    "seuclidean": {},
    "mahalanobis": {},
    "nan_euclidean": {},
    "jaccard": {},
    "yule": {},
    "dice": {},
    "sqeuclidean": {"w": np.arange(1.0, 5)},
}


@pytest.mark.parametrize("metric", OTHERS)
@pytest.mark.filterwarnings("ignore:Data was converted to boolean")
def test_silhouette_by_metrics_of_scipy(metric, rng, monkeypatch):
    monkeypatch.setattr("fastcore.metrics.silhouette_distances._BLOCK_BYTES", 8000)
    x = np.round(rng.standard_normal((70, 4)))
    labels = rng.integers(0, 3, 70)
    expected = theirs.silhouette_samples(x, labels, metric=metric, **OTHERS[metric])
    np.testing.assert_allclose(silhouette_samples(x, labels, metric=metric, **OTHERS[metric]), expected, **TOLERANCE)


def test_silhouette_by_haversine_and_callables(rng):
    x = rng.uniform(-1.5, 1.5, (40, 2))
    labels = rng.integers(0, 3, 40)

    def skewed(a, b, factor=1.0):
        return float(abs(a - factor * b).sum())

    for metric, options in (("haversine", {}), (skewed, {}), (skewed, {"factor": 0.5})):
        for points in (x, x.astype(np.float32)):
            expected = theirs.silhouette_samples(points, labels, metric=metric, **options)
            got = silhouette_samples(points, labels, metric=metric, **options)
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-6 if got.dtype == np.float32 else 1e-10, atol=1e-6)
    with pytest.raises(ValueError, match="only valid in 2 dimensions"):
        silhouette_score(np.ones((4, 3)), [0, 0, 1, 1], metric="haversine")
    with pytest.raises(TypeError, match="do not support sparse matrices"):
        silhouette_score(scipy.sparse.csr_matrix(x), labels, metric="chebyshev")


def test_silhouette_of_a_sample_is_scikit_learns(rng):
    x, labels = blobs(rng, 200, 3, 4)
    apart = reference.distances(x, "euclidean")
    for size in (20, 60, 1000):
        for state in (0, np.int64(3), np.random.RandomState(5)):
            again = np.random.RandomState(5) if isinstance(state, np.random.RandomState) else state
            for points, metric in ((x, "euclidean"), (apart, "precomputed"), (scipy.sparse.csc_matrix(x), "manhattan")):
                options = {"metric": metric, "sample_size": size}
                expected = theirs.silhouette_score(points, labels, random_state=again, **options)
                assert silhouette_score(points, labels, random_state=state, **options) == pytest.approx(
                    expected, abs=1e-10
                )
    np.random.seed(7)  # noqa: NPY002, the generator of random_state=None
    expected = theirs.silhouette_score(x, labels, sample_size=50)
    np.random.seed(7)  # noqa: NPY002
    assert silhouette_score(x, labels, sample_size=50) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sample_size": 0}, r"'sample_size' parameter of silhouette_score must be an int in the range \[1, inf\)"),
        ({"sample_size": 2.5}, "'sample_size' parameter of silhouette_score must be an int"),
        ({"random_state": "a"}, "'random_state' parameter of silhouette_score must be an int in the range"),
        ({"metric": "foo"}, "'metric' parameter of silhouette_score must be a str among"),
        ({"metric": 3}, "'metric' parameter of silhouette_score must be a str among"),
        ({"X": None}, "'X' parameter of silhouette_score must be an array-like or a sparse"),
        ({"labels": None}, "'labels' parameter of silhouette_score must be an array-like"),
        ({"X": np.full((6, 2), np.nan)}, "Input X contains NaN"),
        ({"X": np.full((6, 2), np.inf)}, "Input X contains infinity"),
        ({"X": np.full((6, 2), np.nan), "metric": "cosine"}, "Input X contains NaN"),
        ({"labels": [0, 1, np.nan, 0, 1, 1]}, "Input y contains NaN"),
        ({"X": np.ones(6)}, "Expected 2D array, got 1D array instead"),
        ({"X": np.ones((6, 0))}, r"Found array with 0 feature\(s\)"),
        ({"X": np.ones((0, 2)), "labels": []}, r"Found array with 0 sample\(s\)"),
        ({"X": scipy.sparse.csr_matrix((0, 2)), "labels": []}, r"Found array with 0 sample\(s\)"),
        ({"X": np.ones((5, 2))}, r"inconsistent numbers of samples: \[5, 6\]"),
        ({"labels": np.arange(6)}, r"Number of labels is 6\. Valid values are 2 to n_samples - 1 \(inclusive\)"),
        ({"labels": np.zeros(6)}, r"Number of labels is 1\. Valid values are 2 to n_samples - 1 \(inclusive\)"),
        ({"labels": np.array([1, "a"] * 3, object)}, r"uniformly strings or numbers\. Got \['int', 'str'\].*Convert"),
        ({"X": np.ones((6, 2)) * 1j}, "Complex data not supported"),
        ({"foo": 3}, "unexpected keyword argument 'foo'"),
    ],
)
def test_silhouette_refuses_as_scikit_learn_does(change, words):
    arguments = {"X": np.arange(12.0).reshape(6, 2), "labels": np.array([0, 0, 1, 1, 0, 1]), **change}
    with pytest.raises((ValueError, TypeError)) as caught:
        theirs.silhouette_score(**arguments)
    with pytest.raises((ValueError, TypeError), match=words) as ours:
        silhouette_score(**arguments)
    assert isinstance(ours.value, ValueError | TypeError)
    assert isinstance(ours.value, ValueError) == isinstance(caught.value, ValueError)


def test_silhouette_warns_of_columns_and_truth_values(rng):
    from sklearn.exceptions import DataConversionWarning

    x, labels = blobs(rng, 30, 2, 3)
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        column = silhouette_samples(x, labels[:, None])
    np.testing.assert_array_equal(column, silhouette_samples(x, labels))
    with pytest.warns(DataConversionWarning, match="Data was converted to boolean for metric dice"):
        silhouette_samples(x, labels, metric="dice")


def test_silhouette_does_not_write_to_its_arguments(rng):
    x, labels = blobs(rng, 50, 3, 3)
    before = x.copy(), labels.copy()
    for metric in METRICS:
        silhouette_samples(x, labels, metric=metric)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(labels, before[1])


WITHOUT_JIT = """
import numpy as np
from fastcore.metrics import silhouette_samples
from fastcore.reference import metrics_silhouette as reference

rng = np.random.default_rng(0)
for points, clusters in ((20, 3), (140, 2), (140, 60)):
    labels, x = rng.integers(0, clusters, points), rng.standard_normal((points, 2))
    for metric in ("euclidean", "manhattan", "cosine"):
        expected = reference.silhouette_samples(x, labels, metric=metric)
        np.testing.assert_allclose(silhouette_samples(x, labels, metric=metric), expected, atol=1e-12)
    apart = reference.distances(x, "euclidean")
    expected = reference.silhouette_samples(apart, labels, metric="precomputed")
    np.testing.assert_allclose(silhouette_samples(apart, labels, metric="precomputed"), expected, atol=1e-12)
"""


def test_silhouette_bodies_run_without_the_compiler():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", WITHOUT_JIT], env=environment, check=True)
