"""Precision, recall, F scores and accuracy against scikit-learn, over kinds of labels, weights, options, containers."""

import hypothesis
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import UndefinedMetricWarning

from fastcore import metrics
from fastcore.reference import metrics_classification as reference

SCORES = ["precision_score", "recall_score", "f1_score", "fbeta_score"]
AVERAGES = ["binary", "micro", "macro", "weighted", "samples", None]
# Kinds of labels: from integers 0, 1, ... to the labels of y_true and of y_pred.
KINDS = {
    "int64": lambda x: x,
    "int8": lambda x: x.astype(np.int8),
    "uint64": lambda x: x.astype(np.uint64) + np.uint64(1 << 63),
    "far": lambda x: x * 10**15 - 3,
    "bool": lambda x: x % 2 == 0,
    "float": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "fixed strings": lambda x: np.array(["spam", "a", "üñí", "b" * 9, ""])[x],
    "object strings": lambda x: np.array(["spam", "a", "üñí", "b" * 9, ""], object)[x],
    "list": lambda x: x.tolist(),
    "list of strings": lambda x: [f"label {i}" for i in x],
    "categorical": lambda x: pd.Series(pd.Categorical(np.array(["x", "y", "z", "u", "v"])[x])),
    "series": lambda x: pd.Series(x),
    "nullable": lambda x: pd.array(x, dtype="Int64"),
    "column": lambda x: x.reshape(-1, 1),
    "big endian": lambda x: x.astype(">i4"),
    "strided": lambda x: np.repeat(x, 3)[::3],
    "dates": lambda x: np.datetime64("2020-01-01") + x,
}


def options_of(name, options):
    return {**options, "beta": 0.7} if name == "fbeta_score" else options


def pair(score):
    return getattr(metrics, score), getattr(sklearn.metrics, score)


@st.composite
def problems(draw):
    """Labels below a number of classes, weights or none."""
    size, classes = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(0, classes, size), rng.integers(0, draw(st.integers(1, 5)), size)
    weights = draw(st.sampled_from(["none", "none", "float64", "float32", "int", "zeros"]))
    given_weights = {
        "none": None,
        "float64": rng.uniform(0.1, 3, size),
        "float32": rng.uniform(0.1, 3, size).astype(np.float32),
        "int": rng.integers(1, 5, size),
        "zeros": rng.integers(0, 2, size) * 1.5,
    }[weights]
    return y_true, y_pred, given_weights


@pytest.mark.parametrize("score", SCORES)
@hypothesis.given(
    problem=problems(),
    kind=st.sampled_from(sorted(KINDS)),
    average=st.sampled_from(AVERAGES),
    zero_division=st.sampled_from(["warn", 0, 1.0, np.nan]),
)
def test_scores_are_scikit_learns(assert_same_outcome, score, problem, kind, average, zero_division):
    y_true, y_pred, weights = problem
    y_true, y_pred = KINDS[kind](y_true), KINDS[kind](y_pred)
    options = options_of(score, {"average": average, "zero_division": zero_division, "sample_weight": weights})
    assert_same_outcome(*pair(score), y_true, y_pred, **options)


@hypothesis.given(
    problem=problems(),
    labels=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    average=st.sampled_from(AVERAGES),
    kind=st.sampled_from(["int64", "float", "list of strings"]),
    zero_division=st.sampled_from(["warn", 1, np.nan]),
)
def test_labels_choose_and_order(assert_same_outcome, problem, labels, average, kind, zero_division):
    y_true, y_pred, weights = problem
    labels = KINDS[kind](np.array(labels))
    y_true, y_pred = KINDS[kind](y_true), KINDS[kind](y_pred)
    options = {"average": average, "labels": labels, "sample_weight": weights, "zero_division": zero_division}
    assert_same_outcome(*pair("f1_score"), y_true, y_pred, **options)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(
    "true_kind, pred_kind", [("bool", "int64"), ("int8", "float"), ("fixed strings", "object strings")]
)
def test_two_kinds_of_one_label(assert_same_outcome, rng, average, true_kind, pred_kind):
    x, y = rng.integers(0, 2, (2, 50))
    for score in SCORES:
        arguments = KINDS[true_kind](x), KINDS[pred_kind](y)
        pos_label = "spam" if "strings" in pred_kind else 1
        options = options_of(score, {"average": average, "pos_label": pos_label})
        assert_same_outcome(*pair(score), *arguments, **options)


@pytest.mark.parametrize("true_kind", ["int64", "float", "bool", "fixed strings", "object strings", "list"])
@pytest.mark.parametrize("pred_kind", ["fixed strings", "object strings", "int64", "float"])
def test_strings_do_not_mix_with_numbers(assert_same_outcome, true_kind, pred_kind):
    x = np.array([0, 1, 1, 0])
    arguments = KINDS[true_kind](x), KINDS[pred_kind](x)
    for score in ("precision_score", "accuracy_score"):
        options = {"average": "macro"} if score == "precision_score" else {}
        assert_same_outcome(*pair(score), *arguments, words=True, **options)


@pytest.mark.parametrize(
    "labels", [(0, 1), (-1, 1), (0, 2), (1, 2), (1, 1), (0, 0), (True, False), ("no", "yes")], ids=str
)
@pytest.mark.parametrize("pos_label", [1, 0, 2, -1, True, 1.0, "yes", "maybe", None, [1]], ids=str)
def test_pos_label(assert_same_outcome, labels, pos_label):
    y_true, y_pred = np.array(labels)[[0, 1, 1, 0, 1]], np.array(labels)[[1, 1, 0, 0, 1]]
    for score in SCORES:
        options = options_of(score, {"pos_label": pos_label})
        assert_same_outcome(*pair(score), y_true, y_pred, words=pos_label is not None, **options)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 2, np.inf])
@pytest.mark.parametrize("average", ["binary", "macro", None])
def test_fbeta(assert_same_outcome, rng, beta, average):
    y_true, y_pred = rng.integers(0, 2, (2, 30))
    assert_same_outcome(*pair("fbeta_score"), y_true, y_pred, beta=beta, average=average)
    assert_same_outcome(*pair("fbeta_score"), y_true * 0, y_pred * 0, beta=beta, average=average)


INDICATORS = {
    "dense": lambda x: x,
    "list": lambda x: x.tolist(),
    "bool": lambda x: x == 1,
    "float": lambda x: x.astype(np.float64),
    "of 7": lambda x: x * 7,
    "csr": sparse.csr_matrix,
    "csc array": sparse.csc_array,
    "coo": sparse.coo_matrix,
    "lil": sparse.lil_matrix,
    "frame": lambda x: pd.DataFrame(x),
}


@pytest.mark.parametrize("true_kind", INDICATORS)
@pytest.mark.parametrize("pred_kind", ["dense", "csr", "bool"])
@pytest.mark.parametrize("weighted", [False, True])
def test_indicators(assert_same_outcome, rng, true_kind, pred_kind, weighted):
    true, pred = rng.integers(0, 2, (2, 12, 4))
    true[:2], pred[1:4], pred[:, 2] = 0, 0, 0
    arguments = INDICATORS[true_kind](true), INDICATORS[pred_kind](pred)
    weights = rng.uniform(0.5, 2, 12) if weighted else None
    for average in AVERAGES:
        for labels in (None, [2, 0], [3, 3, 1], [4], [-1]) if true_kind == "dense" else (None, [2, 0]):
            for score, zero_division in (("precision_score", "warn"), ("f1_score", np.nan)):
                options = {"average": average, "labels": labels, "sample_weight": weights}
                assert_same_outcome(*pair(score), *arguments, zero_division=zero_division, **options)
    if {true_kind, pred_kind} != {"bool"}:  # scikit-learn's sparse bools do not subtract
        for normalize in (True, False):
            options = {"sample_weight": weights, "normalize": normalize}
            assert_same_outcome(*pair("accuracy_score"), *arguments, **options)


def test_indicators_stored_zeros_are_zeros():
    stored = sparse.csr_matrix((np.array([1, 0, 1]), np.array([0, 1, 1]), np.array([0, 2, 3])), shape=(2, 2))
    assert metrics.f1_score(stored, stored.toarray(), average="micro") == 1.0
    assert stored.nnz == 3


@hypothesis.given(problem=problems(), kind=st.sampled_from(sorted(KINDS)), normalize=st.booleans())
def test_accuracy_is_scikit_learns(assert_same_outcome, problem, kind, normalize):
    y_true, y_pred, weights = problem
    arguments = KINDS[kind](y_true), KINDS[kind](y_pred)
    tolerance = 1e-12 if weights is None or weights.dtype != np.float32 else 1e-6  # ours are summed in float64
    options = {"normalize": normalize, "sample_weight": weights, "tolerance": tolerance}
    assert_same_outcome(*pair("accuracy_score"), *arguments, **options)


WRONG = {
    "lengths": ([0, 1], [0, 1, 1]),
    "empty": ([], []),
    "continuous": ([0.5, 1], [0, 1]),
    "nan": ([0, 1.0], [np.nan, 1]),
    "infinity": ([np.inf, 1], [0, 1]),
    "multioutput": ([[0, 1], [2, 3]], [[0, 1], [2, 3]]),
    "indicator and labels": ([[0, 1], [1, 0]], [0, 1]),
    "widths": ([[0, 1], [1, 0]], [[0, 1, 1], [1, 0, 1]]),
    "none": (None, [0, 1]),
    "scalar": (1, 1),
    "bytes": (np.array([b"a"]), np.array([b"a"])),
    "objects": (np.array([1, 2], object), np.array([1, 2], object)),
    "mixed objects": (np.array(["a", 2], object), np.array(["a", 2], object)),
    "none among strings": (np.array(["a", None], object), np.array(["a", "a"], object)),
    "ragged": ([[1], [2, 3]], [[1], [2]]),
    "sparse labels": (sparse.csr_matrix([[0], [1]]), sparse.csr_matrix([[0], [1]])),
    "three axes": (np.zeros((2, 2, 2)), np.zeros((2, 2, 2))),
    "complex": ([1j], [1j]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_targets_raise_as_scikit_learns(assert_same_outcome, name):
    for average in ("binary", "macro", "samples"):
        assert assert_same_outcome(*pair("f1_score"), *WRONG[name], average=average) is None
    assert assert_same_outcome(*pair("accuracy_score"), *WRONG[name]) is None


@pytest.mark.parametrize(
    "options",
    [
        {"average": "median"},
        {"average": 1},
        {"zero_division": 2},
        {"zero_division": "raise"},
        {"beta": -1},
        {"beta": None},
        {"sample_weight": [1]},
        {"sample_weight": [0, 0, 0]},
        {"sample_weight": [1, np.nan, 1]},
        {"sample_weight": [[1, 1, 1]]},
    ],
    ids=str,
)
def test_wrong_options_raise_as_scikit_learns(assert_same_outcome, options):
    arguments = np.array([0, 1, 1]), np.array([1, 1, 0])
    assert assert_same_outcome(*pair("fbeta_score"), *arguments, **{"beta": 1, **options}) is None


def test_labels_of_another_kind_raise():
    """scikit-learn compares 1 with '1' as strings."""
    with pytest.raises(ValueError, match="Mix of label input types"):
        metrics.f1_score([0, 1], [0, 1], labels=["1"], average="macro")


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("weighted", [False, True])
def test_containers_agree_to_the_last_bit(rng, score, weighted):
    for size in (1, 10, 1000):
        y_true, y_pred = rng.integers(0, 2, (2, size))
        y_true[0] = y_pred[0] = 1
        weights = rng.uniform(0.5, 2, size) if weighted else None
        function, options = getattr(metrics, score), options_of(score, {})
        first = function(y_true, y_pred, sample_weight=weights, **options)
        strided = np.repeat(y_true, 2)[::2], np.repeat(y_pred, 3)[::3]
        read_only = y_true.copy()
        read_only.flags.writeable = False
        for arguments in [
            (y_true.tolist(), y_pred.tolist()),
            (pd.Series(y_true), y_pred),
            (y_true.astype(float), y_pred.astype(float)),
            (y_true.astype(bool), y_pred.astype(bool)),
            (y_true.astype(bool), y_pred),
            strided,
            (read_only, y_pred.astype(">i8")),
        ]:
            assert function(*arguments, sample_weight=weights, **options) == first


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("score", SCORES)
def test_scores_are_the_twins(rng, score, average):
    y_true, y_pred = rng.integers(0, 2, (2, 30, 3) if average == "samples" else (2, 30))
    options = options_of(score, {"average": average, "sample_weight": rng.uniform(0.5, 2, 30), "zero_division": 0})
    np.testing.assert_allclose(
        getattr(metrics, score)(y_true, y_pred, **options),
        getattr(reference, score)(y_true, y_pred, **options),
        rtol=1e-13,
    )
    assert metrics.accuracy_score(y_true, y_pred) == pytest.approx(reference.accuracy_score(y_true, y_pred), 1e-13)


def test_undefined_scores_warn_the_caller():
    with pytest.warns(UndefinedMetricWarning, match="F-score is ill-defined and being set to 0.0 due to no") as caught:
        assert metrics.f1_score(np.zeros(3, int), np.zeros(3, int)) == 0.0
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="pos_label .set to 2. is ignored") as caught:
        metrics.f1_score([0, 1], [0, 1], average="macro", pos_label=2)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", ["int64", "fixed strings", "object strings", "float"])
def test_many_labels(assert_same_outcome, rng, kind):
    y_true, y_pred = rng.integers(0, 3000, (2, 5000))
    if kind.endswith("strings"):
        dtype = object if kind == "object strings" else "<U6"
        y_true, y_pred = y_true.astype("<U6").astype(dtype), y_pred.astype("<U6").astype(dtype)
    else:
        y_true, y_pred = y_true.astype(kind), y_pred.astype(kind)
    y_pred[::3] = y_true[::3]
    for average in ("micro", "macro", "weighted", None):
        for weights in (None, rng.uniform(0, 1, 5000)):
            options = {"average": average, "sample_weight": weights, "zero_division": 0}
            assert_same_outcome(*pair("f1_score"), y_true, y_pred, **options)


def test_targets_are_not_changed(rng):
    y_true, y_pred, weights = rng.integers(0, 3, 20), rng.integers(0, 3, 20), rng.uniform(0, 1, 20)
    before = [x.copy() for x in (y_true, y_pred, weights)]
    for average in ("micro", "macro", "weighted", None):
        metrics.f1_score(y_true, y_pred, average=average, sample_weight=weights)
    for x, y in zip(before, (y_true, y_pred, weights)):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("kind", ["<U3", "<U30", object])
@pytest.mark.parametrize("size", [1, 10, 101, 3000])
@pytest.mark.parametrize("third", [False, True])
def test_binary_strings(assert_same_outcome, rng, kind, size, third):
    names = np.array(["no", "yes", "?"], kind)
    y_true, y_pred = names[rng.integers(0, 2, size)], names[rng.integers(0, 2, size)]
    y_pred[-1] = "?" if third else "yes"
    for score in ("precision_score", "f1_score"):
        for arguments in [(y_true, y_pred), (y_true.tolist(), y_pred), (np.repeat(y_true, 2)[::2], y_pred)]:
            for pos_label in ("yes", "maybe"):
                assert_same_outcome(*pair(score), *arguments, words=True, pos_label=pos_label)


@pytest.mark.parametrize("name", ["accuracy_score", "f1_score", "confusion_matrix", "multilabel_confusion_matrix"])
def test_dates_beside_integers_are_refused_in_words(name):
    dates = np.array(["2020", "2021", "2020"], "M8[D]")
    for y_true, y_pred in ((dates, [0, 1, 1]), ([0, 1, 1], dates)):
        with pytest.raises(TypeError, match=r"Labels in y_true and y_pred must be of one kind.*Convert both to"):
            getattr(metrics, name)(y_true, y_pred)
