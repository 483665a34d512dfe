"""Confusion matrices against scikit-learn and the twins."""

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies as st
from scipy import sparse

from fastcore import metrics
from fastcore.reference import metrics_classification as reference

CONFUSION = metrics.confusion_matrix, sklearn.metrics.confusion_matrix
MULTILABEL = metrics.multilabel_confusion_matrix, sklearn.metrics.multilabel_confusion_matrix


def weights_of(kind, size, rng):
    return {
        "none": None,
        "float": rng.uniform(-1, 2, size),
        "int": rng.integers(-2, 5, size),
        "bool": rng.integers(0, 2, size) == 1,
        "float32": rng.uniform(0, 1, size).astype(np.float32),
    }[kind]


@hypothesis.given(
    size=st.integers(1, 40),
    classes=st.integers(1, 5),
    kind=st.sampled_from(["int", "shifted", "bool", "float", "strings", "objects"]),
    weights=st.sampled_from(["none", "float", "int", "bool", "float32"]),
    labels=st.none() | st.lists(st.integers(0, 6), max_size=4, unique=True),
    normalize=st.sampled_from([None, "true", "pred", "all"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_confusion_matrix_is_scikit_learns(assert_same_outcome, size, classes, kind, weights, labels, normalize, seed):
    rng = np.random.default_rng(seed)
    as_kind = {
        "int": lambda x: np.asarray(x, int),
        "shifted": lambda x: np.asarray(x, int) * 7 - 3,
        "bool": lambda x: np.asarray(x, int) > 0,
        "float": lambda x: np.asarray(x, float),
        "strings": lambda x: np.array([f"l{i}" for i in x]),
        "objects": lambda x: np.array([f"l{i}" for i in x], object),
    }[kind]
    y_true, y_pred = as_kind(rng.integers(0, classes, size)), as_kind(rng.integers(0, classes, size))
    options = {
        "labels": None if labels is None else as_kind(labels),
        "sample_weight": weights_of(weights, size, rng),
        "normalize": normalize,
        "tolerance": 1e-12 if weights != "float32" else 1e-6,
    }
    matrix = assert_same_outcome(*CONFUSION, y_true, y_pred, **options)
    if matrix is not None:
        expected = np.float64 if normalize or "float" in weights else np.int64
        assert matrix.dtype == expected


@pytest.mark.parametrize(
    "arguments, options",
    [
        (([0, 1], [0, 1]), {"labels": []}),
        (([0, 1], [0, 1]), {"labels": [5]}),
        (([0, 1], [0, 1]), {"labels": ["a"]}),
        (([0, 1], [0, 1]), {"normalize": "rows"}),
        (([[0, 1], [1, 0]], [[0, 1], [1, 0]]), {}),
        (([], []), {}),
        (([], []), {"sample_weight": []}),
        (([0.5, 1], [0, 1]), {}),
        (([0, 1], [0, 1, 1]), {}),
    ],
    ids=str,
)
def test_confusion_matrix_wrong_arguments_raise(assert_same_outcome, arguments, options):
    assert assert_same_outcome(*CONFUSION, *arguments, **options) is None


def test_confusion_matrix_of_one_label_warns_the_caller():
    with pytest.warns(UserWarning, match="A single label was found") as caught:
        np.testing.assert_array_equal(metrics.confusion_matrix([1, 1], [1, 1]), [[2]])
    assert caught[0].filename == __file__


def test_confusion_matrix_integer_weights_beyond_float64_are_exact():
    big = 2**62 + 1
    matrix = metrics.confusion_matrix([0, 1, 1], [0, 1, 0], sample_weight=np.array([big, 3, 1]))
    assert matrix.tolist() == [[big, 0], [1, 3]]


def test_confusion_matrix_few_labels_of_many(rng):
    y_true, y_pred = rng.integers(0, 40_000, (2, 50_000)) * 1_000_003
    y_pred[::2] = y_true[::2]
    labels = y_true[:5]
    got = metrics.confusion_matrix(y_true, y_pred, labels=labels)
    np.testing.assert_array_equal(got, reference.confusion_matrix(y_true, y_pred, labels=labels))
    with pytest.raises(ValueError, match="labels a side is too large"):
        metrics.confusion_matrix(np.arange(40_000) * 7, np.arange(40_000) * 11)


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
def test_matrices_are_the_twins(rng, normalize):
    y_true, y_pred, weights = rng.integers(0, 4, 50), rng.integers(0, 4, 50), rng.uniform(0, 1, 50)
    options = {"sample_weight": weights, "normalize": normalize}
    np.testing.assert_allclose(
        metrics.confusion_matrix(y_true, y_pred, **options),
        reference.confusion_matrix(y_true, y_pred, **options),
        rtol=1e-12,
    )
    for labels in (None, [3, 1]):
        options = {"sample_weight": weights, "labels": labels}
        np.testing.assert_allclose(
            metrics.multilabel_confusion_matrix(y_true, y_pred, **options),
            reference.multilabel_confusion_matrix(y_true, y_pred, **options),
            rtol=1e-12,
            atol=1e-13,
        )


@pytest.mark.parametrize("weights", ["none", "float", "int"])
@pytest.mark.parametrize("samplewise", [False, True])
@pytest.mark.parametrize("labels", [None, [0], [2, 1], [1, 1, 0], [7]], ids=str)
def test_multilabel_confusion_matrix_is_scikit_learns(assert_same_outcome, rng, weights, samplewise, labels):
    options = {"sample_weight": weights_of(weights, 15, rng), "samplewise": samplewise, "labels": labels}
    one_label = rng.integers(0, 3, (2, 15))
    assert_same_outcome(*MULTILABEL, *one_label, **options)
    true, pred = rng.integers(0, 2, (2, 15, 3))
    for arguments in [(true, pred), (true.tolist(), pred > 0), (sparse.csr_matrix(true), sparse.csc_array(pred))]:
        assert_same_outcome(*MULTILABEL, *arguments, **options)


def test_matrices_need_no_memory_for_all_labels(rng):
    """2e4 labels have 4e8 pairs, which are not counted one by one."""
    y_true, y_pred = rng.permutation(20_000), rng.permutation(20_000)
    matrices = metrics.multilabel_confusion_matrix(y_true, y_pred)
    assert matrices.shape == (20_000, 2, 2)
    np.testing.assert_array_equal(matrices.sum((1, 2)), 20_000)
