"""What the metrics of clusterings take, and how they refuse the rest; contingency matrices."""

import warnings

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import cluster as sklearn_cluster

from fastcore import metrics

SCORES = [
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "completeness_score",
    "fowlkes_mallows_score",
    "homogeneity_completeness_v_measure",
    "homogeneity_score",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "pair_confusion_matrix",
    "rand_score",
    "v_measure_score",
]


def readonly(y):
    y = y.copy()
    y.flags.writeable = False
    return y


# Labels 0 to 7 in containers that keep their order.
KINDS = {
    "int8": lambda y: y.astype(np.int8),
    "uint16": lambda y: y.astype(np.uint16),
    "int32": lambda y: y.astype(np.int32),
    "uint64 beyond int64": lambda y: y.astype(np.uint64) + 2**63,
    "float16": lambda y: y.astype(np.float16),
    "float64": lambda y: y.astype(float) - 3,
    "big-endian": lambda y: y.astype(">i4"),
    "wide range": lambda y: y * 10**17,
    "strided": lambda y: np.repeat(y, 3)[::3],
    "backwards": lambda y: y[::-1].copy()[::-1],
    "readonly": readonly,
    "list": lambda y: y.tolist(),
    "tuple": lambda y: tuple(y.tolist()),
    "strings": lambda y: np.array([f"label {i}" for i in y]),
    "list of strings": lambda y: [chr(97 + i) for i in y],
    "objects": lambda y: np.array([f"label {i}" for i in y], dtype=object),
    "integer objects": lambda y: y.astype(object),
    "series": lambda y: pandas.Series(y, index=y[::-1]),
    "nullable series": lambda y: pandas.Series(y, dtype="Int64"),
    "categorical": lambda y: pandas.Categorical([chr(97 + i) for i in y]),
    "dates": lambda y: y.astype("M8[s]"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [11, 20_000])
def test_scores_container_does_not_matter(rng, kind, size):
    """To the last bit: the labels are numbered in order, whatever they are."""
    true, pred = rng.integers(0, 8, size), rng.integers(0, 5, size)
    for name in SCORES:
        want = getattr(metrics, name)(true, pred)
        got = getattr(metrics, name)(KINDS[kind](true), KINDS[kind](pred))
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(getattr(metrics, name)(KINDS[kind](true), pred), want)
        np.testing.assert_array_equal(getattr(metrics, name)(true, KINDS[kind](pred)), want)
    assert metrics.entropy(KINDS[kind](true)) == metrics.entropy(true)
    np.testing.assert_array_equal(
        metrics.contingency_matrix(KINDS[kind](true), pred), sklearn_cluster.contingency_matrix(true, pred)
    )


def test_scores_of_bools_equal_those_of_integers(rng):
    true, pred = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    for name in SCORES:
        np.testing.assert_array_equal(getattr(metrics, name)(true == 1, pred == 1), getattr(metrics, name)(true, pred))


@pytest.mark.parametrize("name", SCORES)
def test_scores_do_not_change_labels(rng, name):
    true, pred = rng.integers(0, 9, 100), rng.integers(0, 9, 100)
    kept = true.copy(), pred.copy()
    getattr(metrics, name)(true, pred)
    np.testing.assert_array_equal((true, pred), kept)


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_fractions_warn(name):
    true, pred = [0.5, 0.5, 1.0], [0, 1, 1]
    message = "expects discrete values but received continuous values for label, and binary values for target"
    with pytest.warns(UserWarning, match=message) as caught:
        got = getattr(metrics, name)(true, pred)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(got, getattr(metrics, name)([0, 0, 1], pred))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(metrics, name)([1.0, 2.0, -3.0], [1.0, 1.0, 1e15])


WRONG = [
    (([0, 1], [1, 1, 1]), ValueError, r"inconsistent numbers of samples: \[2, 3\]"),
    ((np.zeros(2, int), np.zeros(3, int)), ValueError, r"inconsistent numbers of samples: \[2, 3\]"),
    (([[0, 1], [1, 0]], [1, 1]), ValueError, r"labels_true must be 1D: shape is \(2, 2\)"),
    (([0, 1], np.zeros((2, 1), int)), ValueError, r"labels_pred must be 1D: shape is \(2, 1\). Pass labels_pred.ravel"),
    ((np.array(3), [1]), ValueError, r"labels_true must be 1D: shape is \(\)"),
    ((np.zeros((2, 2, 2)), [0, 1]), ValueError, "Found array with dim 3, while dim <= 2 is required"),
    (([0, 1], [np.nan, 1]), ValueError, "Input contains NaN"),
    (([0, 1], [np.inf, 1]), ValueError, "Input contains infinity"),
    (([0, 1], np.array(["a", np.nan], dtype=object)), ValueError, "Input contains NaN"),
    (([0, 1j], [0, 1]), ValueError, "Complex data not supported"),
    (([b"a", b"b"], [0, 1]), TypeError, "labels represented as bytes"),
    ((["a", None], [0, 1]), TypeError, "not supported between instances"),
    ((3, [1]), TypeError, "The 'labels_true' parameter of {} must be an array-like. Got 3 instead"),
    (([1], None), ValueError, "The 'labels_pred' parameter of {} must be an array-like. Got None instead"),
    (("ab", [1, 2]), ValueError, "The 'labels_true' parameter of {} must be an array-like. Got 'ab' instead"),
    ((sparse.csr_matrix([[1]]), [1]), ValueError, "The 'labels_true' parameter of {} must be an array-like"),
]


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("arguments, error, message", WRONG)
def test_scores_wrong_labels_raise_as_scikit_learn(name, arguments, error, message):
    with pytest.raises(error, match=message.format(name)):
        getattr(metrics, name)(*arguments)
    with pytest.raises(error):
        getattr(sklearn_cluster, name)(*arguments)


@pytest.mark.parametrize(
    "name, option, value, message",
    [
        ("v_measure_score", "beta", -1, r"The 'beta' parameter of v_measure_score must be a float in the range \[0"),
        ("homogeneity_completeness_v_measure", "beta", None, "The 'beta' parameter of homogeneity_completeness_v_mea"),
        ("adjusted_mutual_info_score", "average_method", "mean", "must be a str among {.*'geometric'.*}. Got 'mean'"),
        ("normalized_mutual_info_score", "average_method", None, "The 'average_method' parameter of normalized_mutual"),
        ("contingency_matrix", "eps", -0.1, r"The 'eps' parameter of contingency_matrix must be .*\[0"),
        ("contingency_matrix", "eps", "x", r"The 'eps' parameter of contingency_matrix must be .*\[0"),
        ("contingency_matrix", "sparse", 3, "The 'sparse' parameter of contingency_matrix must be an instance of 'bo"),
        ("contingency_matrix", "dtype", np.float16, "scipy.sparse does not support dtype float16"),
        ("contingency_matrix", "dtype", object, "scipy.sparse does not support dtype object"),
        ("mutual_info_score", "contingency", 3, "The 'contingency' parameter of mutual_info_score must be an array-"),
        ("mutual_info_score", "contingency", [1, 2], "Expected 2D array, got 1D array instead"),
        ("mutual_info_score", "contingency", [[np.nan, 1], [2, 3]], "contains NaN"),
        ("mutual_info_score", "contingency", np.zeros((0, 2)), r"Found array with 0 sample\(s\)"),
        ("mutual_info_score", "contingency", sparse.csr_matrix((0, 2)), r"Found array with 0 sample\(s\)"),
    ],
)
def test_scores_wrong_option_raises_as_scikit_learn(name, option, value, message):
    for module in (metrics, sklearn_cluster):
        with pytest.raises(ValueError, match=message if module is metrics else None):
            getattr(module, name)([0, 1], [0, 1], **{option: value})
    if message.startswith("The '"):
        with pytest.raises(TypeError):
            getattr(metrics, name)([0, 1], [0, 1], **{option: value})


# --- contingency matrices -----------------------------------------------------------------------------------------


@st.composite
def labels(draw):
    size = draw(st.integers(1, 60))
    element = draw(st.sampled_from([st.integers(-3, 3), st.sampled_from("abc"), st.sampled_from([0.5, np.nan, -0.0])]))
    return np.array(draw(st.lists(element, min_size=size, max_size=size)))


@given(labels(), st.integers(0, 2**32), st.sampled_from([np.int64, np.int8, np.uint16, np.float32, bool, complex]))
def test_contingency_matrix_equals_scikit_learns(true, seed, dtype):
    pred = np.random.default_rng(seed).integers(0, 40, len(true))
    got, want = (m.contingency_matrix(true, pred, dtype=dtype) for m in (metrics, sklearn_cluster))
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    got, want = (m.contingency_matrix(true, pred, sparse=True, dtype=dtype) for m in (metrics, sklearn_cluster))
    assert type(got) is type(want)
    assert got.has_canonical_format
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(got, part), getattr(want, part), strict=True)
    got, want = (m.contingency_matrix(true, pred, eps=0.25) for m in (metrics, sklearn_cluster))
    np.testing.assert_array_equal(got, want, strict=True)


def test_contingency_matrix_of_nothing():
    assert metrics.contingency_matrix([], []).shape == (0, 0)
    assert metrics.contingency_matrix([], [], sparse=True).shape == (0, 0)
    assert metrics.contingency_matrix([], []).dtype == np.int64
    assert metrics.entropy([]) == 1.0


@pytest.mark.parametrize("pair", [([0, 1], [0]), ([[0], [1]], [0, 1]), (None, None), (3, [1])])
def test_contingency_matrix_wrong_labels_raise(pair):
    with pytest.raises(ValueError, match=r"inconsistent|must be 1D|must be an array-like"):
        metrics.contingency_matrix(*pair)
    with pytest.raises(ValueError, match="Cannot set 'eps' when sparse=True"):
        metrics.contingency_matrix([0, 1], [0, 1], eps=0.1, sparse=True)


def test_contingency_matrix_of_tens_of_thousands_of_clusters_is_sparse(rng):
    """A dense one would have 72 GB."""
    true, pred = rng.permutation(np.arange(200_000) // 2), rng.integers(0, 90_000, 200_000)
    got = metrics.contingency_matrix(true, pred, sparse=True)
    want = sklearn_cluster.contingency_matrix(true, pred, sparse=True)
    assert abs(got - want).max() == 0
    assert metrics.mutual_info_score(true, pred) == pytest.approx(
        sklearn_cluster.mutual_info_score(true, pred), rel=0, abs=1e-12
    )
    # What is expected takes the distinct sizes of clusters only: 1 x 12 of them.
    score = metrics.adjusted_mutual_info_score(true, pred)
    assert abs(score) < 0.01
    expected = metrics.expected_mutual_information(got, len(true))
    assert metrics.mutual_info_score(None, None, contingency=got) == pytest.approx(expected, rel=1e-3)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6))
def test_mutual_info_of_a_contingency_matrix_equals_scikit_learns(seed, rows, cols):
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 4, (rows, cols))
    cells[rng.integers(rows)] *= rng.integers(0, 2)
    cells[0, 0] += 1
    want = sklearn_cluster.mutual_info_score(None, None, contingency=cells)
    for kind in (np.asarray, np.float64, np.ndarray.tolist, np.asfortranarray, sparse.csr_matrix, sparse.coo_array):
        got = metrics.mutual_info_score(None, None, contingency=kind(cells))
        assert type(got) is float
        assert got == pytest.approx(want, rel=0, abs=1e-12)


def test_mutual_info_of_odd_contingency_matrices():
    doubled = sparse.coo_array(([1, 2, 3, 0], ([0, 0, 1, 1], [1, 1, 0, 1])), shape=(2, 2))
    want = metrics.mutual_info_score(None, None, contingency=[[0, 3], [3, 0]])
    assert metrics.mutual_info_score(None, None, contingency=doubled) == want == np.log(2)
    assert np.isnan(metrics.mutual_info_score(None, None, contingency=[[-1, 2], [3, 4]]))  # as scikit-learn
    assert metrics.mutual_info_score(None, None, contingency=[[0, 0], [0, 0]]) == 0.0  # there "math domain error"
    got = metrics.mutual_info_score(None, None, contingency=[[1.7, 2], [3, 4]])
    assert got == metrics.mutual_info_score(None, None, contingency=[[1, 2], [3, 4]])
